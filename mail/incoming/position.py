"""How far a mailbox was read, and what was there before us."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from mail.errors import MailboxSecretUnreadable, MailError
from mail.incoming import mailbox_notices
from mail.incoming.case import Retention
from mail.incoming.totals import LEFT_ALONE
from mail.message.arrival import top_received
from mail.queue.access_tokens import AccountTokens
from mail.sentences import Why, why
from mail.settings import rehearsal
from mail.settings.config import settings
from mail.transport import imap_numbers
from mail.transport.imap_numbers import KnownMail
from mail.transport.mailbox import (
    After,
    FetchedBatch,
    FetchedMail,
    Look,
    Mailbox,
    MailboxTarget,
    Position,
    translate,
)
from mail.transport.sasl import AccountMissing
from models import (
    IncomingServer,
    MailboxState,
    ReceivedMail,
    Unreadable,
    change_rows,
    db,
    reading,
)
from models.slices import SliceSize, by_hundreds
from models.store import insert_rows, upsert

LAST_UID = 2**32 - 1  # RFC 3501 2.3.1.1
LAST_NUMBERS = 10  # that are looked at in each run
REFUSED = ("mailbox_refused", "mailbox_later")  # the last run ended because the server did not give a mail
NOT_BROUGHT = "not_brought"  # the result of a mail that is listed and did not come
IS_LEFT_ALONE = (ReceivedMail.state == "ignored", ReceivedMail.result == LEFT_ALONE)  # as the index has it
_forgotten = SliceSize(200, least=20, most=2_000)


def target_of(server: IncomingServer) -> MailboxTarget:
    """Return where the mailbox of an incoming server is and how to open it."""
    account = server.oauth_account if server.authentication == "oauth2" else None
    # Microsoft lets a person sign in as a mailbox that is shared with them; elsewhere it lies in a namespace.
    signs_in_as = server.shared_mailbox if account and account.provider.kind == "microsoft" else ""
    return MailboxTarget(
        name=server.name,
        kind=server.kind,  # type: ignore[arg-type]
        host=server.host,
        port=server.port,
        encryption=server.encryption,  # type: ignore[arg-type]
        user=signs_in_as or server.user or (account.address if account else ""),
        password="" if server.password is None else server.password,
        auth=server.authentication,  # type: ignore[arg-type]
        tokens=AccountTokens(account.id) if account else None,
        folder=server.folder or "INBOX",
        shared="" if signs_in_as else server.shared_mailbox,
        move_to=server.move_to if server.after_fetch == "move" else "",
        spool=str(settings().data),
        verify_tls=server.verify_tls,
        trusted_certificate=server.trusted_certificate,
        allow_local=settings().allow_local,
        read_only=rehearsal.is_on(),
    )


def usable(target: MailboxTarget) -> MailboxTarget:
    """Return the target; raises ``MailboxSecretUnreadable`` when its password was stored under another key, and
    ``AccountMissing`` when it wants a token and nobody connected an account.
    """
    if target.auth == "password" and isinstance(target.password, Unreadable):
        raise MailboxSecretUnreadable(server=target.name)
    if target.auth == "oauth2" and target.tokens is None:
        raise translate(AccountMissing(server=target.name))
    return target


@dataclass(frozen=True)
class ServerView:
    """An incoming server without its row. ``states``: of each uidvalidity, how far it was read and where we began."""

    id: int
    mailbox: str
    source: str
    target: MailboxTarget
    states: dict[int, tuple[int, int]]
    confirmed_at: datetime | None
    read_at: datetime | None  # until then all was read that there was
    fetch_existing: bool
    after_fetch: After
    move_to: str
    failed: str  # why the last run did, as a code
    keeps: Retention
    learns: bool  # which server checks senders
    checks_seen: dict[str, int] | None
    is_left_alone: bool = False

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
            mailbox=row.mailbox,
            source=row.source,
            target=target,
            states={state.uidvalidity: (state.last_uid, state.start_uid) for state in states},
            confirmed_at=row.confirmed_at,
            read_at=max(filter(None, (row.confirmed_at, row.last_success_at)), default=None),
            fetch_existing=row.fetch_existing,
            after_fetch=row.after_fetch,  # type: ignore[arg-type]
            move_to=row.move_to,
            failed=(row.why or {}).get("code", ""),
            keeps=Retention.of(row),
            learns=row.sender_checks != "off",
            checks_seen=row.checks_seen,
            is_left_alone=target.kind == "pop3" and _is_perhaps_a_copy(),
        )


class LeftAlone(MailError):  # a copy would lock it, or use up what the real office has not fetched yet
    code, retry = "rehearsal_leaves_pop3", True


def to_fetch(server: ServerView) -> MailboxTarget:
    """Return the mailbox to fetch; raises what ``usable`` does, and ``LeftAlone`` for POP3 in what may be a copy."""
    if server.is_left_alone:
        raise LeftAlone()
    return usable(server.target)


def _is_perhaps_a_copy() -> bool:
    found = rehearsal.current()
    return found is not None and found.may_be_a_copy


# --- how far a mailbox was read


def confirm(server: IncomingServer, look: Look, now: datetime) -> None:
    """Turn a tested server from draft into confirmed; the caller commits.

    What is in its mailbox at the first time is left alone, unless the admin asked for it (``fetch_existing``). What
    came between a change of the password and the next test is not: it is fetched, whatever numbers it has by then.
    """
    first = server.confirmed_at is None
    mailbox_notices.is_over(server.id, now)
    server.state, server.confirmed_at, server.why = "confirmed", server.confirmed_at or now, None
    if first and server.kind == "imap":
        begin_after(server.id, server.folder or "INBOX", look.uidvalidity, max(look.uidnext - 1, 0))
    elif first and not server.fetch_existing:
        leave_alone(server, look.keys, now, why("left_alone"))


def as_numbered_now(server: ServerView, mailbox: Mailbox) -> ServerView:
    """Return a server as its mailbox numbers its mails now; commits.

    A mailbox that was restored may count from one again, or from where it was when it was saved, and keep its
    UIDVALIDITY, although no server may do that (RFC 3501, 2.3.1.1). Then its numbers mean other mails than those that
    we have: it becomes another mailbox for us.
    """
    last, _ = server.states.get(mailbox.uidvalidity, (0, 0))
    counts_on = not mailbox.uidnext or mailbox.uidnext > last
    if counts_on and not imap_numbers.stand_for_others(mailbox, _last_known(server, mailbox.uidvalidity, last)):
        return server
    row = db.session.get(IncomingServer, server.id, with_for_update=True, populate_existing=True)
    if row is None or row.mailbox != server.mailbox:
        db.session.rollback()
        return server
    confirmed_at = row.confirmed_at
    leave_behind(row.source)
    row.become_another()
    row.confirmed_at = confirmed_at  # what arrived before is still not ours
    return _tell_by_date(replace(server, mailbox=row.mailbox, source=row.source, states={}), mailbox)


def _last_known(server: ServerView, uidvalidity: int, last: int) -> list[KnownMail]:
    """Return the mails that came under the last numbers; of those that were given twice they are the end."""
    keys = [f"{uidvalidity}.{uid}" for uid in range(max(last - LAST_NUMBERS, 0) + 1, last + 1)]
    row = ReceivedMail
    came = (row.source == server.source, row.source_key.in_(keys), row.message_id.is_not(None))
    found = select(row.source_key, row.size, row.message_id, row.received_at).where(*came)
    with reading():
        rows = db.session.execute(found).all() if keys else ()
    return [KnownMail(int(key.partition(".")[2]), size, id or "", at) for key, size, id, at in rows]


def _tell_by_date(server: ServerView, mailbox: Mailbox) -> ServerView:
    """Note that all numbers are new: up to the last of now, the date of arrival tells what was there before us.

    It is noted before the first mail comes, so that a run which ends early does not take the rest for new. Commits.
    """
    start = mailbox.uidnext - 1 if mailbox.uidnext else LAST_UID
    begin_after(server.id, server.target.folder, mailbox.uidvalidity, 0, start)
    db.session.commit()
    return replace(server, states={**server.states, mailbox.uidvalidity: (0, start)})


def position_in(server: ServerView, mailbox: Mailbox) -> Position:
    """Return where to go on in a mailbox."""
    return replace(_position(server, mailbox), again=server.failed in REFUSED)


def _position(server: ServerView, mailbox: Mailbox) -> Position:
    if not server.is_imap:
        return _position_by_uidl(server, mailbox.look().keys)
    uidvalidity = mailbox.uidvalidity
    if server.fetch_existing and uidvalidity not in server.states:
        return Position(uidvalidity, 0)
    if server.states and uidvalidity not in server.states:
        server = _tell_by_date(server, mailbox)
    if uidvalidity in server.states:
        last, start = server.states[uidvalidity]
        if server.fetch_existing and start:
            # Whoever asks for the old mails afterwards gets them; those that are here already are not kept twice.
            return Position(uidvalidity, 0)
        return Position(uidvalidity, last, old=(start, server.confirmed_at) if server.confirmed_at else None)
    start = max(mailbox.look().uidnext - 1, 0)
    begin_after(server.id, server.target.folder, uidvalidity, start)
    db.session.commit()
    return Position(uidvalidity, start)


def begin_after(server_id: int, folder: str, uidvalidity: int, uid: int, start: int | None = None) -> None:
    """Note what was in a folder before us; in one that we know already we stay where we are.

    ``start``: above ``uid`` and up to there, only the date of arrival tells it.
    """
    row = {
        "incoming_server_id": server_id,
        "folder": folder,
        "uidvalidity": uidvalidity,
        "last_uid": uid,
        "start_uid": uid if start is None else start,
    }
    db.session.execute(upsert(MailboxState).values(row).on_conflict_do_nothing())


def go_on_after(server: ServerView, position: Position) -> None:
    """Note how far a folder was read; the caller commits, together with the mails up to there.

    When the server leads to another mailbox since, the numbers are none of its: it is read from its own beginning.
    """
    if not server.is_imap or not _is_still_read(server):
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


def _is_still_read(server: ServerView) -> bool:
    """Whether nobody made the server lead to another mailbox; nobody does until the caller commits."""
    same = select(IncomingServer.mailbox).where(IncomingServer.id == server.id).with_for_update(read=True)
    return db.session.scalar(same) == server.mailbox


def leave_behind(source: str) -> None:
    """Note that mails which a mailbox did not give out can't be asked for any more: it is no more, or another one.

    The caller commits.
    """
    waits = (ReceivedMail.source == source, ReceivedMail.state == "quarantined", ReceivedMail.result == NOT_BROUGHT)
    left = {"result": "", "decision": [why("mailbox_mail_left_behind")]}
    db.session.execute(update(ReceivedMail).where(*waits).values(left))


# --- POP3: its server tells neither an order nor a date, and a mail is known by its UIDL alone


def leave_alone(server: IncomingServer | ServerView, keys: Iterable[str], now: datetime, reason: Why) -> None:
    """Note mails of a mailbox that were there before us."""
    note = {
        "source": server.source,
        "incoming_server_id": server.id,
        "size": 0,
        "state": "ignored",
        "result": LEFT_ALONE,
        "decision": [reason],
        "received_at": now,
        "processed_at": now,
    }
    insert_rows(ReceivedMail, [{**note, "source_key": key[:255]} for key in keys], skip_known=True)


def without_old(server: ServerView, batch: FetchedBatch, now: datetime) -> Sequence[FetchedMail]:
    """Return the mails of a batch but for those that were there before us: these are noted. The caller commits."""
    before = batch.position.old_before
    if before is None:
        return batch.mails
    old = {mail.source_key for mail in batch.mails if (arrived := top_received(mail.raw)) and arrived < before}
    leave_alone(server, old, now, why("left_alone_again"))
    return [mail for mail in batch.mails if mail.source_key not in old]


def forget_former(server: ServerView) -> None:
    """Forget what was left alone under UIDLs that no mail has any more; commits."""
    which = (*IS_LEFT_ALONE, ReceivedMail.source == server.source, ReceivedMail.received_at <= server.read_at)
    former = select(ReceivedMail.id).where(*which)
    while True:
        with _forgotten.slice() as size:
            done = change_rows(delete(ReceivedMail).where(ReceivedMail.id.in_(former.limit(size))))
            db.session.commit()
        if done < size:
            return


def _position_by_uidl(server: ServerView, listed: Sequence[str]) -> Position:
    """Return which of these mails are not here yet.

    If none of all that we knew is there any more, the mailbox may have moved to another server, which gave every mail
    a new UIDL: then the date of arrival tells what was there before us, until all of it was read once.
    """
    here: dict[str, datetime] = {}
    found = select(ReceivedMail.source_key, ReceivedMail.received_at).where(ReceivedMail.source == server.source)
    if server.fetch_existing:
        found = found.where(ReceivedMail.result != LEFT_ALONE)
    with reading():
        for some in by_hundreds(listed):
            rows = db.session.execute(found.where(ReceivedMail.source_key.in_(some)))
            here |= {row.source_key: row.received_at for row in rows}
        is_another = server.read_at is not None and not any(at <= server.read_at for at in here.values())
        had_others = is_another and listed and db.session.execute(found.where(*IS_LEFT_ALONE).limit(1)).first()
    old_before = server.confirmed_at if had_others else None
    return Position(unknown=lambda keys: [key for key in keys if key not in here], old_before=old_before)
