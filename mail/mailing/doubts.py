"""What people decide about recipients of a mailing of whom nobody knows whether they got it."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import case, or_, update

from mail.mailing.ready import NotReady
from mail.sentences import why
from mail.settings.wake import wake
from models import Mailing, Trace, User, change_rows, db

Answer = Literal["again", "leave", "arrived"]


def resolve_doubts(mailing_id: int, what: Answer, now: datetime, user: User | None = None, trace_id: int = 0) -> int:
    """Decide about the recipients in doubt, or about one of them; returns how many. Commits.

    ``again``: it is sent once more, under the same Message-ID, and a mailing that was done goes on. ``arrived``: they
    count as sent. ``leave``: it stays unknown, and says who left it. Raises ``NotReady`` for a cancelled mailing.
    """
    by = user.name if user else ""
    doubtful = update(Trace).where(Trace.mailing_id == mailing_id, Trace.state == "unknown")
    if trace_id:
        doubtful = doubtful.where(Trace.id == trace_id)
    if what == "leave":  # what was left before stays as it was left
        doubtful = doubtful.where(or_(Trace.why.is_(None), Trace.why["code"].as_string() != "doubt_left"))
    resolved = change_rows(doubtful.values(_columns(what, by, now)))
    if resolved and what == "arrived":
        Mailing.change(mailing_id, {"unknown": Mailing.unknown - resolved, "sent": Mailing.sent + resolved})
    if resolved and what == "again":
        _go_on(mailing_id, resolved)
    Mailing.tell(mailing_id, now)
    db.session.commit()
    wake("mailings")
    return resolved


def _columns(what: Answer, by: str, now: datetime) -> dict[str, Any]:
    if what == "arrived":
        return {"why": why("line_arrived", user=by), "state": "sent", "sent_at": now}
    if what == "again":
        return {"why": why("doubt_sent_again", user=by), "state": "deferred", "first_try_at": now, "next_try_at": now}
    return {"why": why("doubt_left", user=by)}


def _go_on(mailing_id: int, resolved: int) -> None:
    values: dict[str, Any] = {
        "unknown": Mailing.unknown - resolved,
        "deferred": Mailing.deferred + resolved,
        "state": case((Mailing.state == "done", "sending"), else_=Mailing.state),
        "ended_at": None,
    }
    alive = update(Mailing).where(Mailing.id == mailing_id, Mailing.state.in_(("sending", "paused", "done")))
    if not change_rows(alive.values(values)):
        db.session.rollback()
        raise NotReady([why("mailing_cancelled_for_good")])
