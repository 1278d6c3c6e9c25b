"""Who sends as a domain of ours: what receivers reported, in words."""

from datetime import timedelta

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import format_number
from flask_babel import lazy_gettext as _l
from sqlalchemy import exists, select

from mail.deliverability import reported, senders
from mail.incoming import aggregates
from mail.sentences import say
from mail.settings.clock import now
from models import DmarcReport, db
from webapp import auth

blueprint = Blueprint("who_sends", __name__, url_prefix="/deliverability")

DAYS = (7, 30, 90, 365)
KINDS = {  # kind of sender -> the look of its badge and its word
    "own": ("good", _l("Yours")),
    "own_failing": ("bad", _l("Yours, failing")),
    "service": ("good", _l("Allowed")),
    "forwarded": ("doubt", _l("Forwarded")),
    "provider": ("doubt", _l("Perhaps yours")),
    "stranger": ("bad", _l("Stranger")),
}


@blueprint.get("/<domain>/senders")
@auth.roles_required("admin")
def show(domain: str) -> ResponseReturnValue:
    """Show who sent as a domain in the last days (``?days=``), by the reports of receivers."""
    if domain not in senders.sending_domains() and not _is_reported(domain):
        abort(404)
    days = request.args.get("days", 30, type=int)
    days = days if days in DAYS else 30
    since = now() - timedelta(days=days)
    template = "pages/who_sends_live.html" if request.headers.get("X-Fragment") else "pages/who_sends.html"
    return render_template(
        template,
        domain=domain,
        days=days,
        all_days=DAYS,
        summary=reported.summary(domain, since),
        found=reported.reported_senders(domain, since),
        reports=reported.latest_reports(domain, since),
        reports_to=senders.reports_to(domain),
        kinds=KINDS,
        number=format_number,
        topic=aggregates.TOPIC,
        say=say,
    )


def _is_reported(domain: str) -> bool:
    return bool(db.session.scalar(select(exists().where(DmarcReport.domain == domain))))
