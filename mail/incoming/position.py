"""How far a mailbox was read, and what was there before us."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select

from mail.incoming.case import Retention
from mail.sentences import why
from mail.settings.config import settings
from mail.transport.mailbox import Mailbox, MailboxTarget, Position
from models import (
    IncomingServer,
    MailboxState,
    ReceivedMail,
    db,
    reading,
)
from models.store import insert_rows, upsert

RECENT = timedelta(days=1)  # a mail that should have been deleted and is still there is taken again for so long


def target_of(server: IncomingServer) -> MailboxTarget:
    """Return where the mailbox of an incoming server is and how to open it."""
    return MailboxTarget(
        name=server.name,
        kind=server.kind,  # type: ignore[arg-type]
        host=server.host,
        port=server.port,
        encryption=server.encryption,  # type: ignore[arg-type]
        user=server.user,
        password=server.password or "",
        folder=server.folder or "INBOX",
        verify_tls=server.verify_tls,
        trusted_certificate=server.trusted_certificate,
        allow_local=settings().allow_local,
    )


@dataclass(frozen=True)
class ServerView:
    """An incoming server without its row. ``states``: of each uidvalidity, how far it was read and where we began."""

    id: int
    source: str
    target: MailboxTarget
    states: dict[int, tuple[int, int]]
    confirmed_at: datetime | None
    fetch_existing: bool
    after_fetch: str
    move_to: str
    keeps: Retention

    @property
    def is_imap(self) -> bool:
        return self.target.kind == "imap"


def load_server(server_id: int) -> ServerView | None:
    with reading():
        row = db.session.get(IncomingServer, server_id)
        if row is None or row.state != "confirmed" or not row.active:
            return None
        target = target_of(row)
        states = db.session.execute(
            select(MailboxState.uidvalidity, MailboxState.last_uid, MailboxState.start_uid).where(
                MailboxState.incoming_server_id == server_id, MailboxState.folder == target.folder
            )
        )
        return ServerView(
            id=row.id,
            source=row.source,
            target=target,
            states={state.uidvalidity: (state.last_uid, state.start_uid) for state in states},
            confirmed_at=row.confirmed_at,
            fetch_existing=row.fetch_existing,
            after_fetch=row.after_fetch,
            move_to=row.move_to,
            keeps=Retention(row.action_type_id, row.keep_attachments, row.keep_original),
        )


# --- how far a mailbox was read


def position_in(server: ServerView, mailbox: Mailbox, now: datetime) -> Position:
    """Return where to go on in a mailbox."""
    if not server.is_imap:
        return Position(unknown=lambda keys: _unknown(server, keys, now))
    uidvalidity = mailbox.uidvalidity
    if uidvalidity in server.states:
        last, start = server.states[uidvalidity]
        # Whoever asks for the old mails afterwards gets them; those that are here already are not kept twice.
        return Position(uidvalidity, 0 if server.fetch_existing and start else last)
    if server.fetch_existing:
        return Position(uidvalidity, 0)
    if server.states:  # all numbers are new: the date of arrival tells what was there before us
        return Position(uidvalidity, 0, since=server.confirmed_at)
    start = max(mailbox.look().uidnext - 1, 0)
    begin_after(server.id, server.target.folder, uidvalidity, start)
    db.session.commit()
    return Position(uidvalidity, start)


def begin_after(server_id: int, folder: str, uidvalidity: int, uid: int) -> None:
    """Note what was in a folder before us; in one that we know already we stay where we are."""
    row = {
        "incoming_server_id": server_id,
        "folder": folder,
        "uidvalidity": uidvalidity,
        "last_uid": uid,
        "start_uid": uid,
    }
    db.session.execute(upsert(MailboxState).values(row).on_conflict_do_nothing())


def go_on_after(server: ServerView, position: Position) -> None:
    """Note how far a folder was read. Its server was told before: a crash in between repeats a batch, harmlessly."""
    if not server.is_imap:
        return
    row = {
        "incoming_server_id": server.id,
        "folder": server.target.folder,
        "uidvalidity": position.uidvalidity,
        "last_uid": position.last_uid,
        "start_uid": 0,
    }
    statement = upsert(MailboxState).values(row)
    changes: dict[str, Any] = {"last_uid": statement.excluded.last_uid}
    if server.fetch_existing:
        changes["start_uid"] = 0
    db.session.execute(
        statement.on_conflict_do_update(index_elements=["incoming_server_id", "folder", "uidvalidity"], set_=changes)
    )
    db.session.commit()


def leave_alone(server: IncomingServer, keys: Iterable[str], now: datetime) -> None:
    """Note mails of a POP3 mailbox that were there before us: its server tells neither an order nor a date."""
    note = {
        "source": server.source,
        "incoming_server_id": server.id,
        "size": 0,
        "state": "ignored",
        "result": "left_alone",
        "decision": [why("left_alone")],
        "received_at": now,
        "processed_at": now,
    }
    insert_rows(ReceivedMail, [{**note, "source_key": key[:255]} for key in keys], skip_known=True)


def _unknown(server: ServerView, keys: Sequence[str], now: datetime) -> Collection[str]:
    """Return which of these UIDLs are not here yet; with *delete* also those that should be gone and are not."""
    here = select(ReceivedMail.source_key).where(ReceivedMail.source == server.source)
    if server.fetch_existing:
        here = here.where(ReceivedMail.result != "left_alone")
    if server.after_fetch == "delete":
        here = here.where(or_(ReceivedMail.result == "left_alone", ReceivedMail.received_at < now - RECENT))
    known: set[str] = set()
    with reading():
        for start in range(0, len(keys), 500):
            known.update(db.session.scalars(here.where(ReceivedMail.source_key.in_(keys[start : start + 500]))))
    return [key for key in keys if key not in known]
