"""From the server's answer to the row: what becomes of a line after a try to deliver it."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, update

from mail.decide.retry import gave_up, next_try
from mail.outgoing.delivery import Try
from mail.queue import outages
from mail.sentences import ended, why
from models import Recipient
from models.outgoing import Claimed

DOUBT_WAITS = timedelta(minutes=15)  # at most, for its server to accept another mail


def result_of(line: Claimed, outcome: Any, now: datetime) -> dict[str, Any]:
    """Return the columns of a line after a try, as ``RESULT`` takes them."""
    result: dict[str, Any] = {
        "line_id": line.id,
        "state": "sent",
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "reply": outcome.text,
        "why": outcome.why,
        "next_try_at": now,
        "wait": "",
        "doubts": line.doubts,
        "sent_at": now if outcome.accepted else None,
    }
    if outcome.accepted:
        return result
    if outcome.in_doubt:
        waits = {"why": why("doubt_waits"), "next_try_at": now + DOUBT_WAITS} if line.doubts == 0 else {}
        return result | doubt_of(line.doubts, now) | waits
    again = next_try(line.attempts, line.first_try_at, now, outages.known()) if outcome.temporary else None
    if again:
        return result | {"state": "queued", "wait": "retry", "next_try_at": again}
    reason = gave_up(outcome.why) if outcome.temporary else outcome.why
    return result | {"state": "failed", "why": reason and ended(reason)}


def attempt_of(line: Claimed, tried: Try, now: datetime, server_name: str, *, is_gone: bool) -> dict[str, Any]:
    """Return the row of a try in the history of its line; ``is_gone``: the record of its server was deleted."""
    return {
        "recipient_id": line.id,
        "at": now,
        "server_id": None if is_gone else line.chosen or None,
        "server_name": server_name,
        "phase": tried.outcome.phase,
        "code": tried.outcome.code,
        "seconds": tried.seconds,
        "why": tried.outcome.why or tried.remark,
        "transcript": tried.transcript,
        "signed": tried.signed,
    }


def doubt_of(doubts: int, now: datetime, once: bool = False) -> dict[str, Any]:
    """Return what becomes of a line whose answer nobody saw: once it is sent again, then a person decides.

    ``once``: a test email is never sent again, the person decides at once.
    """
    if once:
        reason = why("unknown_test_email")
        return {"state": "unknown", "wait": "", "next_try_at": now, "doubts": doubts + 1, "why": reason}
    if doubts == 0:
        return {"state": "queued", "wait": "retry", "next_try_at": now, "doubts": 1, "why": why("unknown_once")}
    return {"state": "unknown", "wait": "", "next_try_at": now, "doubts": doubts + 1, "why": why("unknown_final")}


_LINE: Any = Recipient.__table__
RESULT = (
    update(_LINE)
    .where(_LINE.c.id == bindparam("line_id"), _LINE.c.worker_id == bindparam("holder"), _LINE.c.state == "sending")
    .values(
        {
            name: bindparam(name)
            for name in ("state", "wait", "next_try_at", "doubts", "code", "enhanced", "reply", "why", "sent_at")
        }
    )
)
