"""What every answer carries: a strict Content-Security-Policy and the headers that keep a page to itself."""

import json
import logging
import re

from flask import Blueprint, Flask, Request, Response, abort, request
from flask_wtf.csrf import CSRFProtect
from werkzeug.routing import IntegerConverter, ValidationError

from mail.message.parse import LARGEST_MAIL
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
PRIVATE_PAGES = {"security.login", "security.verify", "first_start.first_start", "account.index"}
A_YEAR = 365 * 24 * 3600
LARGEST_POST = 64 * 2**20  # octets, of a message with its files: what is too large for an email leaves as a link
LARGEST_BODIES = {  # octets; of pages that are open to all less than of others
    "documents.write": LARGEST_POST,
    "security_headers.csp_report": 16_384,
    "security.login": 2**20,
    "first_start.first_start": 2**20,
    "public.unsubscribe_now": 2**20,
    "inbound.take": LARGEST_MAIL,
}
RAW_BODIES = {"inbound.take"}  # whatever type their sender gives them
REPORTED = ("effective-directive", "violated-directive", "blocked-uri", "document-uri")

# No column holds it, and no person types it: the character that ends strings, or a number of a thousand digits.
UNSTORABLE = re.compile(r"\0|\A\s*[-+]?\d{1000}")
LARGEST_ID = 2**63 - 1

blueprint = Blueprint("security_headers", __name__)


class PageRequest(Request):
    """A request whose body is a form only where a page has forms: an email stays the bytes that it is."""

    @property
    def want_form_data_parsed(self) -> bool:
        return self.endpoint not in RAW_BODIES and super().want_form_data_parsed


class RowIdConverter(IntegerConverter):
    """``<int:…>`` in an address: a number that an id can be; any other leads to no page."""

    regex = "[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        number: int = super().to_python(value)
        if number > LARGEST_ID:
            raise ValidationError
        return number


def bound_the_body() -> None:
    """Let nobody send more than a page takes, also when the request does not say how long it is."""
    request.max_content_length = LARGEST_BODIES.get(request.endpoint or "", request.max_content_length)


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
    try:
        report = json.loads(request.get_data())["csp-report"]
        named = {name: report[name] for name in REPORTED if report.get(name)}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", 400
    log.warning("csp_report %.400s", ascii(named))
    return "", 204


def add_headers(response: Response) -> Response:
    """Give an answer our headers; what a page has set itself stays."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={A_YEAR}")
    if request.endpoint == "static" and "v" in request.args:
        response.headers["Cache-Control"] = f"public, max-age={A_YEAR}, immutable"
    elif request.endpoint in PRIVATE_PAGES or "Content-Disposition" in response.headers:
        response.headers["Cache-Control"] = "no-store"
    elif response.mimetype == "text/html":
        response.headers.setdefault("Cache-Control", "private, no-cache")
    else:
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def init_app(app: Flask, csrf: CSRFProtect) -> None:
    """Teach the application the headers and the address that reports go to."""
    app.before_request(refuse_the_unstorable)  # after the token of the form was checked
    app.after_request(add_headers)
    app.register_blueprint(blueprint)
    csrf.exempt(blueprint)
