"""Mailings: the list, and what all pages of mailings share. The editor and the page of one have files of their own."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import format_number, gettext
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from mail.errors import MergeError
from mail.mailing.merge_fields import FIELDS, parse
from mail.sentences import say
from models import Mailing, db
from models.contact import MOST_COUNTED
from models.mailing import MAILING_STATES
from webapp import auth, searching, template_helpers

blueprint = Blueprint("mailings", __name__, url_prefix="/mailings")

PAGE = 30  # mailings of one list page
# The order in which a mailing's recipients are counted and drawn: what is good first, what waits last.
PARTS = ("sent", "bounced", "failed", "unknown", "deferred", "cancelled", "queued")
NARROWEST = 0.6  # percent of a bar: nothing is so small that it can't be seen


@blueprint.before_request
def only_marketing() -> ResponseReturnValue | None:
    """Let in those who may send to many."""
    return None if auth.role() in ("marketing", "admin") else auth.not_for_you()


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Show the mailings, the newest first."""
    query = select(Mailing).options(selectinload(Mailing.lists)).order_by(Mailing.id.desc())
    state = request.args.get("state", "")
    if state in MAILING_STATES:
        query = query.where(Mailing.state == state)
    if words := request.args.get("search", "").strip():
        query = query.where(searching.found(words, Mailing.subject))
    if before := request.args.get("before", 0, type=int):
        query = query.where(Mailing.id < before)
    found = db.session.scalars(query.limit(PAGE + 1)).unique().all()
    template = "pages/mailings_live.html" if request.headers.get("X-Fragment") else "pages/mailings.html"
    return render_template(
        template,
        mailings=found[:PAGE],
        older=found[PAGE - 1].id if len(found) > PAGE else None,
        states=MAILING_STATES,
        narrowed=any(request.args.get(name) for name in ("state", "search", "before")),
        arguments=request.args.to_dict(),
        **page_words(),
    )


def page_words() -> dict[str, Any]:
    """Return what the templates of mailings say things with."""
    return {
        "say": say,
        "number": format_number,
        "capped": capped,
        "parts_of": parts_of,
        "label_of": label_of,
        "subject_of": subject_of,
        "label_of_part": label_of_part,
        "badge": badge,
    }


def capped(count: int) -> str:
    """Return a number that was counted up to a limit only: "10,000+" beyond it."""
    if count > MOST_COUNTED:
        return gettext("%(number)s+", number=format_number(MOST_COUNTED))
    return str(format_number(count))


def subject_of(row: Mailing) -> str:
    """Return the subject as a title, with merge fields as their labels.

    >>> subject_of(Mailing(subject='News for {{ contact.first_name or "you" }}'))
    'News for [First name]'
    """
    try:
        pieces = parse(row.subject, "Subject", FIELDS)
    except MergeError:
        return row.subject
    return "".join(piece if isinstance(piece, str) else f"[{FIELDS[piece.field]}]" for piece in pieces)


def label_of(state: str) -> Any:
    """Return the word for a state of a mailing."""
    return template_helpers.STATES[state][1]


def label_of_part(state: str) -> Any:
    """Return the word for a state of recipients: who is left out and who was not reached got no mail."""
    return gettext("Not sent") if state == "cancelled" else template_helpers.STATES[state][1]


def badge(state: str) -> Markup:
    """Return the badge of a recipient's state."""
    look = template_helpers.STATES[state][0]
    return Markup('<span class="state state-{}">{}</span>').format(look, label_of_part(state))


@dataclass(frozen=True)
class MailingPart:
    """A piece of the bar of a mailing: how many, and where it is drawn, in percent."""

    state: str
    count: int
    start: float
    width: float


def parts_of(row: Mailing) -> list[MailingPart]:
    """Return the pieces of a mailing's bar; nothing is so small that it can't be seen, and all fit into it."""
    counts = {state: count for state in PARTS if (count := getattr(row, state)) > 0}
    widths = {state: max(100 * count / sum(counts.values()), NARROWEST) for state, count in counts.items()}
    scale, start, parts = 100 / sum(widths.values()) if widths else 1, 0.0, []
    for state, count in counts.items():
        parts.append(MailingPart(state, count, round(start, 2), round(widths[state] * scale, 2)))
        start += widths[state] * scale
    return parts


def find_mailing(mailing_id: int) -> Mailing:
    """Return a mailing with its lists; answers 404 when there is none."""
    query = select(Mailing).where(Mailing.id == mailing_id).options(selectinload(Mailing.lists))
    return db.session.scalar(query) or abort(404)
