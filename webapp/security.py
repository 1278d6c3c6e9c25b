"""What every answer carries: a strict Content-Security-Policy and the headers that keep a page to itself."""

import json
import logging
import re

from flask import Blueprint, Flask, Response, abort, request
from flask_wtf.csrf import CSRFProtect
from werkzeug.routing import IntegerConverter, ValidationError

from webapp import errors

log = logging.getLogger("coquimail.security")

# No inline script and no foreign host on any page; a page that needs an exception sets the header itself.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "report-uri /csp-report",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
A_YEAR = 365 * 24 * 3600
LONGEST_REPORT = 16_384  # octets

# No column holds it, and no person types it: the character that ends strings, or a number of a thousand digits.
UNSTORABLE = re.compile(r"\0|\A\s*[-+]?\d{1000}")
LARGEST_ID = 2**63 - 1

blueprint = Blueprint("security_headers", __name__)


class RowIdConverter(IntegerConverter):
    """``<int:…>`` in an address: a number that an id can be; any other leads to no page."""

    regex = "[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        number: int = super().to_python(value)
        if number > LARGEST_ID:
            raise ValidationError
        return number


def refuse_the_unstorable() -> None:
    """Refuse a request that holds what no database stores, before a page stumbles over it."""
    if "\0" in request.path:
        abort(404)
    given = [*request.args.items(multi=True), *request.form.items(multi=True)]
    given += [(name, file.filename or "") for name, file in request.files.items(multi=True)]
    if any(UNSTORABLE.search(text) for pair in given for text in pair):
        raise errors.Unstorable


@blueprint.post("/csp-report")
def csp_report() -> tuple[str, int]:
    """Take what a browser blocked and log it: directive and address, nothing of the page."""
    if (request.content_length or 0) > LONGEST_REPORT:
        return "", 413
    try:
        report = json.loads(request.get_data()).get("csp-report", {})
    except (ValueError, AttributeError):
        return "", 400
    log.warning(
        "csp_report directive=%.80r blocked=%.200r page=%.200r",
        report.get("effective-directive") or report.get("violated-directive"),
        report.get("blocked-uri"),
        report.get("document-uri"),
    )
    return "", 204


def add_headers(response: Response) -> Response:
    """Give an answer our headers; what a page has set itself stays."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={A_YEAR}")
    if request.endpoint == "static" and "v" in request.args:
        response.headers["Cache-Control"] = f"public, max-age={A_YEAR}, immutable"
    elif response.mimetype == "text/html":
        response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


def init_app(app: Flask, csrf: CSRFProtect) -> None:
    """Teach the application the headers and the address that reports go to."""
    app.before_request(refuse_the_unstorable)
    app.after_request(add_headers)
    app.register_blueprint(blueprint)
    csrf.exempt(blueprint)
