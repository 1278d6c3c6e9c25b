"""The rows of self-tests: where one can write to, how it is asked for and given on, and how its parts end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update

from mail.decide.self_test import PartResult
from mail.message.address import normalise
from mail.sentences import Why
from mail.settings.clock import now
from models import (
    SELF_TEST_PARTS,
    Alias,
    Event,
    IncomingServer,
    Recipient,
    SelfTestPart,
    ServerCheck,
    db,
    reading,
)

KIND = "self_test"
FINAL = ("ok", "warning", "failed", "skipped")
_IN_ORDER = (IncomingServer.priority, IncomingServer.id)
MOST_MAILBOXES = 20  # that are fetched while a test waits


@dataclass(frozen=True, slots=True)
class Target:
    """An address of ours that a self-test can write to, and the mailbox that is known to get its mail."""

    address: str
    mailbox: str = ""
    server_id: int | None = None


def targets() -> list[Target]:
    """Return where a self-test can write to: the mailboxes that are fetched, then the aliases."""
    mailboxes = db.session.scalars(fetched())
    found = [Target(key, one.name, one.id) for one in mailboxes if (key := normalise(one.user))]
    aliases = select(Alias.address_key).where(Alias.role == "alias", Alias.state == "active").order_by(Alias.id)
    known = {one.address for one in found}
    return found + [Target(key) for key in db.session.scalars(aliases.limit(200)) if key not in known]


def ask(server_id: int, target: Target, user_id: int | None, moment: datetime) -> ServerCheck:
    """Ask the worker for a self-test of a server (0: the default server); the caller commits and wakes it.

    Raises ``IntegrityError`` while there is one that goes on.
    """
    check = ServerCheck(kind=KIND, server_id=server_id, requested_by_id=user_id, requested_at=moment, steps=[])
    db.session.add(check)
    db.session.flush()
    for name in SELF_TEST_PARTS:
        part = SelfTestPart(check_id=check.id, name=name)
        if name == "delivery":
            part.address, part.incoming_server_id = target.address, target.server_id
        db.session.add(part)
    return check


def parts_of(check_id: int, to_change: bool = False) -> dict[str, SelfTestPart]:
    """Return the parts of a test by their names, in their order; ``to_change``: nobody else changes them meanwhile."""
    rows_of_test = select(SelfTestPart).where(SelfTestPart.check_id == check_id).order_by(SelfTestPart.id)
    rows = db.session.scalars(rows_of_test.with_for_update() if to_change else rows_of_test)
    found = {row.name: row for row in rows}
    return {name: found[name] for name in SELF_TEST_PARTS if name in found}


def mailboxes(check_id: int) -> list[int]:
    """Return the incoming servers that are fetched while a test waits: that of its address first."""
    with reading():
        chosen = db.session.scalar(
            select(SelfTestPart.incoming_server_id).where(
                SelfTestPart.check_id == check_id, SelfTestPart.incoming_server_id.is_not(None)
            )
        )
        of_test = fetched().order_by(None).order_by(IncomingServer.id != (chosen or 0), *_IN_ORDER)
        return [server.id for server in db.session.scalars(of_test.limit(MOST_MAILBOXES))]


def fetched() -> Select[IncomingServer]:
    """Return the query of the incoming servers that are fetched, in their order."""
    server = IncomingServer
    return select(server).where(server.active, server.state == "confirmed").order_by(*_IN_ORDER)


# --- when a worker ends


def is_held(check_id: int, worker_id: int) -> bool:
    """Say whether a test is this worker's: another one may have been given it."""
    with reading():
        held = select(ServerCheck.id).where(ServerCheck.id == check_id, ServerCheck.worker_id == worker_id)
        return db.session.scalar(held.where(ServerCheck.state == "running")) is not None


def hand_back(check_id: int, worker_id: int) -> None:
    """Let another worker, or this one later, go on with a test; commits."""
    held = update(ServerCheck).where(ServerCheck.id == check_id, ServerCheck.worker_id == worker_id)
    db.session.execute(held.where(ServerCheck.state == "running").values(state="waiting", worker_id=None))
    db.session.commit()


def lines_of(worker_id: int) -> set[int]:
    """Return the lines of self-tests that a worker may have been sending: nobody sends them later."""
    of_worker = select(ServerCheck.id).where(ServerCheck.worker_id == worker_id, ServerCheck.kind == KIND)
    sending = select(SelfTestPart.mail_id).where(SelfTestPart.check_id.in_(of_worker), SelfTestPart.state == "sending")
    return set(db.session.scalars(select(Recipient.id).where(Recipient.mail_id.in_(sending))))


def abandon(check_id: int, reason: Why, moment: datetime) -> None:
    """End a test that can't go on: what has not ended was not tested. The caller commits."""
    parts = parts_of(check_id)
    for part in parts.values():
        if part.state not in FINAL:
            end_part(part, PartResult("failed" if part.name == "delivery" else "skipped", reason))
    finish(check_id, parts, moment)


# --- how it ends


def finish(check_id: int, parts: Mapping[str, SelfTestPart], moment: datetime) -> None:
    """End a test whose parts have ended; the caller commits."""
    has_failed = any(part.state == "failed" for part in parts.values())
    running = update(ServerCheck).where(ServerCheck.id == check_id, ServerCheck.state == "running")
    db.session.execute(running.values(state="failed" if has_failed else "done", finished_at=moment))
    tell(check_id)


def end_part(part: SelfTestPart, found: PartResult) -> None:
    """Write down how a part ended; the caller commits."""
    part.state, part.why = found.state, dict(found.why)


def stored_why(stored: dict[str, Any] | None) -> Why | None:
    """Return an explanation of a row."""
    return Why(code=stored["code"], values=stored["values"]) if stored else None


def tell(check_id: int) -> None:
    """Let the open page see what changed; the caller commits."""
    Event.add([f"check:{check_id}"], now())
