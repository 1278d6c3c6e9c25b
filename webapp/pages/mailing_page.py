"""The page of one mailing: how far it is, who gets it and who is left out, and what happened to each recipient."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import format_number, format_timedelta, gettext, ngettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from mail.decide.sender import Decision
from mail.documents import contacts
from mail.mailing import ready
from mail.mailing.rendered import decide_for
from mail.outgoing import forecast
from mail.outgoing.forecast import Forecast
from mail.sentences import why
from mail.settings import parameters
from mail.settings.clock import now
from models import Mailing, Trace, User, db
from webapp import waiting_words
from webapp.pages.mailing_editor import SAMPLES, letter_of
from webapp.pages.mailings import PARTS, blueprint, find_mailing, page_words

TRACES = 25  # recipients of one page
FINISHED = ("done", "cancelled")

# code of the reason -> how the number of those who are left out is said
LEFT_OUT = {
    "left_out_unsubscribed": _l("unsubscribed"),
    "left_out_blacklisted": _l("on the blacklist"),
    "left_out_pending": _l("not confirmed yet"),
    "left_out_archived": _l("archived"),
    "left_out_no_address": _l("without an email address"),
}


@blueprint.get("/<int:mailing_id>")
def show(mailing_id: int) -> ResponseReturnValue:
    """Show a mailing; ``?part=`` answers a part of the page alone, for a page that is open."""
    row = find_mailing(mailing_id)
    part = request.args.get("part", "") if request.headers.get("X-Fragment") else ""
    match part:
        case "state":
            return render_template("pages/mailing_state.html", row=row, **_state_of(row), **page_words())
        case "buttons":
            return render_template("pages/mailing_buttons.html", row=row, **_before_sending(row), **page_words())
        case "traces":
            return render_template("pages/mailing_traces.html", row=row, **_traces(row), **page_words())
    author = db.session.get(User, row.created_by_id) if row.created_by_id else None
    return render_template(
        "pages/mailing.html",
        row=row,
        author=author,
        decision=decide_for(row) if row.state == "draft" else Decision.from_json(row.decision or {}),
        server_gone=row.state not in ("draft", *FINISHED) and row.server_id is None and not _by_default(row),
        **_state_of(row),
        **_before_sending(row),
        **_traces(row),
        **page_words(),
    )


def _by_default(row: Mailing) -> bool:
    return Decision.from_json(row.decision or {}).is_default_server


def _state_of(row: Mailing) -> dict[str, Any]:
    """How far a mailing is, how fast it goes, and why it does not."""
    moment = now()
    pace = Trace.pace(row.id, moment) if row.state == "sending" else 0.0
    left = row.queued + row.deferred
    waits = row.state == "sending" and row.next_try_at is not None and row.next_try_at > moment
    sends = row.state == "sending" and row.prepared and left > 0
    return {
        "waits": waits,
        "rate": _rate(pace) if pace and row.queued else "",
        "time_left": format_timedelta(timedelta(seconds=left / pace), threshold=1.1) if pace and row.queued else "",
        "final": row.total - left,
        "forecast": _forecast_of_rest(row, left, moment) if sends else None,
        "slowed": waiting_words.of_mailing(row, _server_name(row)) if sends and row.deferred else [],
    }


def _server_name(row: Mailing) -> str:
    return Decision.from_json(row.decision or {}).server_name


def _forecast_of_rest(row: Mailing, left: int, moment: datetime) -> Forecast | None:
    """When a mailing that is being sent ends by the limits of its server, if it waits for one."""
    found = forecast.of_mailing(row, Decision.from_json(row.decision or {}), left, moment)
    return found if found and found.waits else None


def _rate(pace: float) -> str:
    if pace >= 1:
        return gettext("%(number)s per second", number=format_number(round(pace)))
    return gettext("%(number)s per minute", number=format_number(round(pace * 60)))


def _before_sending(row: Mailing) -> dict[str, Any]:
    """Who would get a mailing that has not begun, who is left out, and what has to be fixed first."""
    if row.state not in ("draft", "scheduled"):
        nothing: dict[str, Any] = {
            "problems": [],
            "warnings": [],
            "question": "",
            "mail_size": None,
            "forecast_before": None,
        }
        return nothing | {"expected": Counter()}
    expected = ready.expected(row)
    problems = ready.problems(row) if row.state == "draft" else []
    recipients = expected[""]
    if not problems and not recipients and row.state == "draft":
        problems = [why("mailing_all_left_out")]
    question = ngettext(
        "Send this mailing to %(number)s recipient?",
        "Send this mailing to %(number)s recipients?",
        recipients,
        number=format_number(recipients),
    )
    if left_out := _left_out(expected):
        question += " " + gettext("Excluded: %(reasons)s.", reasons=left_out)
    return {
        "expected": expected,
        "left_out": [(label, expected[code]) for code, label in LEFT_OUT.items() if expected[code]],
        "problems": problems,
        "warnings": _warnings(),
        "question": question,
        "mail_size": _size(row) if not problems else None,
        "forecast_before": _forecast_before(row, recipients) if not problems else None,
    }


def _forecast_before(row: Mailing, recipients: int) -> Forecast | None:
    """When a mailing would end that begins now, or when it is scheduled; and the servers that have more room."""
    moment = max(row.scheduled_at or now(), now()) if row.state == "scheduled" else now()
    return ready.forecast_of(row, decide_for(row), recipients, moment)


def _left_out(expected: Counter[str]) -> str:
    said = (f"{format_number(expected[code])} {label}" for code, label in LEFT_OUT.items() if expected[code])
    return ", ".join(said)


def _warnings() -> list[str]:
    if parameters.COMPANY_ADDRESS.get():
        return []
    return [
        gettext(
            "Your company's postal address is not set. Many countries require it by law in every mailing; enter it "
            "under Email Marketing ‣ Settings."
        )
    ]


def _size(row: Mailing) -> int | None:
    letter = letter_of(row, decide_for(row))
    return len(letter.mail_to(SAMPLES["full"], now())) if letter else None


def _traces(row: Mailing) -> dict[str, Any]:
    """One page of recipients: by keyset over the index of their state, or over that of all."""
    state, words = request.args.get("state", ""), request.args.get("search", "").strip()
    query = select(Trace).where(Trace.mailing_id == row.id).options(joinedload(Trace.contact))
    mark = Trace.id if state in PARTS else Trace.contact_id
    if state in PARTS:
        query = query.where(Trace.state == state)
    if words:
        contact = contacts.find(words)
        query = query.where(Trace.contact_id == (contact.id if contact else 0))
    if after := request.args.get("after", 0, type=int):
        query = query.where(mark > after)
    found = db.session.scalars(query.order_by(mark).limit(TRACES + 1)).all() if row.total else []
    more = len(found) > TRACES
    return {
        "traces": found[:TRACES],
        "further": getattr(found[TRACES - 1], mark.key) if more else None,
        "state_shown": state if state in PARTS else "",
        "search": words,
        "tabs": [(name, getattr(row, name)) for name in PARTS if getattr(row, name) > 0],
        "arguments": {name: value for name, value in request.args.to_dict().items() if name != "part"},
    }
