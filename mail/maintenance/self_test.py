"""FLOW of a server's self-test: write to a mailbox of ours -> wait -> answer -> provoke a report -> try a plus.

Each step is in its row before the next one is taken: when a worker dies, another one goes on from there.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext
from sqlalchemy import Select, select, update

from mail.decide.domains import without_tag
from mail.decide.self_test import PartResult, SentPart, authenticated, not_sent, refused, shows_no_plus, verdict
from mail.decide.verp import PLUS_TEST
from mail.errors import NotHandedOver
from mail.message.address import domain_of, first_address, normalise, show_address
from mail.outgoing import tried_once
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import settings
from mail.transport.smtp import Outcome
from models import (
    SELF_TEST_PARTS,
    Alias,
    Event,
    IncomingServer,
    OutgoingMail,
    OutgoingServer,
    ReceivedMail,
    Recipient,
    SelfTestPart,
    ServerCheck,
    User,
    db,
    reading,
)

KIND = "self_test"
FINAL = ("ok", "warning", "failed", "skipped")
MOST_MAILBOXES = 20  # that are fetched while a test waits
LOST = "test_email_lost"  # why a line failed whose worker died before it sent anything


@dataclass(frozen=True, slots=True)
class Target:
    """An address of ours that a self-test can write to, and the mailbox that is known to get its mail."""

    address: str
    mailbox: str = ""
    server_id: int | None = None


def targets() -> list[Target]:
    """Return where a self-test can write to: the mailboxes that are fetched, then the aliases."""
    mailboxes = db.session.scalars(_fetched())
    found = [Target(key, one.name, one.id) for one in mailboxes if (key := normalise(one.user))]
    aliases = select(Alias.address_key).where(Alias.role == "alias", Alias.state == "active").order_by(Alias.id)
    known = {one.address for one in found}
    return found + [Target(key) for key in db.session.scalars(aliases.limit(200)) if key not in known]


def ask(server_id: int, target: Target, user_id: int | None, moment: datetime) -> ServerCheck:
    """Ask the worker for a self-test of a server (0: the default server); the caller commits and wakes it."""
    check = ServerCheck(kind=KIND, server_id=server_id, requested_by_id=user_id, requested_at=moment, steps=[])
    db.session.add(check)
    db.session.flush()
    for name in SELF_TEST_PARTS:
        part = SelfTestPart(check_id=check.id, name=name)
        if name == "delivery":
            part.address, part.incoming_server_id = target.address, target.server_id
        db.session.add(part)
    return check


def parts_of(check_id: int) -> dict[str, SelfTestPart]:
    """Return the parts of a test by their names, in their order."""
    rows = db.session.scalars(select(SelfTestPart).where(SelfTestPart.check_id == check_id))
    found = {row.name: row for row in rows}
    return {name: found[name] for name in SELF_TEST_PARTS if name in found}


def mailboxes() -> list[int]:
    """Return the incoming servers that are fetched while a test waits."""
    with reading():
        return [server.id for server in db.session.scalars(_fetched().limit(MOST_MAILBOXES))]


def _fetched() -> Select[IncomingServer]:
    server = IncomingServer
    return select(server).where(server.active, server.state == "confirmed").order_by(server.priority, server.id)


# --- send


def resume(check_id: int) -> None:
    """Find out what became of emails whose worker ended while it sent them; commits."""
    for part in parts_of(check_id).values():
        if part.state != "sending":
            continue
        line = db.session.scalar(select(Recipient).where(Recipient.mail_id == part.mail_id))
        if line is None or (line.why or {}).get("code") == LOST:
            part.state, part.mail_id = "waiting", None
        elif line.state in ("sent", "unknown", "bounced"):
            part.state, part.sent_at = "sent", line.sent_at or now()
        else:
            _end(part, refused(part.name, part.address, "", _why(line.why) or why("check_lost"), line.reply, False))
    db.session.commit()


def next_to_send(check_id: int) -> str:
    """Return the part whose email is to be sent now, "" for none; those that can't be tried end here. Commits."""
    parts = parts_of(check_id)
    delivery = parts["delivery"]
    waiting = [name for name in ("delivery", "bounce", "plus", "reply") if parts[name].state == "waiting"]
    if delivery.state not in FINAL:
        return next((name for name in waiting if name != "reply" or _has_arrived(delivery)), "")
    if delivery.mail_id is None or delivery.sent_at is None:
        for name in waiting:
            _end(parts[name], PartResult("skipped", why("self_test_server_failed")))
    elif "reply" in waiting and not _has_arrived(delivery):
        _end(parts["reply"], PartResult("skipped", why("self_test_needs_delivery")))
    db.session.commit()
    return next((name for name in waiting if parts[name].state == "waiting"), "")


def _has_arrived(part: SelfTestPart) -> bool:
    return part.seen is not None and part.seen["how"] == "arrived"


def send(check_id: int, name: str, journal: Journal, worker: WorkerLease) -> None:
    """Send the email of a part through the server under test and note how that went; commits."""

    def taken(mail: tried_once.TriedOnce) -> None:
        part = parts_of(check_id)[name]
        part.state, part.mail_id, part.address = "sending", mail.line.mail_id, mail.line.address
        _tell(check_id)

    check = db.session.get_one(ServerCheck, check_id)
    server_id, user_id = check.server_id, check.requested_by_id
    db.session.rollback()
    office.forget()  # a test takes minutes
    try:
        mail = tried_once.begin(
            server_id, lambda server: _write(check_id, name, server, user_id), worker, taken, verp=False
        )
    except _Nowhere as nowhere:
        _note(check_id, name, PartResult("skipped", nowhere.why))
        return
    except NotHandedOver as error:
        _note(check_id, name, not_sent(name, error.why))
        return
    outcome = tried_once.deliver(mail, journal, worker, counts=False)
    _note_outcome(check_id, name, mail, outcome)


class _Nowhere(NotHandedOver):
    """There is no address that the email of a part could go to."""


def _write(check_id: int, name: str, server: OutgoingServer | None, user_id: int | None) -> tuple[OutgoingDraft, To]:
    parts = parts_of(check_id)
    delivery, user = parts["delivery"], db.session.get(User, user_id) if user_id else None
    author = show_address(user.name, user.email) if user else office.mailbox()
    used = server.name if server else settings().default_server.name
    first = db.session.get(OutgoingMail, delivery.mail_id) if delivery.mail_id else None
    references: Sequence[str] = ()
    if name == "delivery":
        address, subject = delivery.address, gettext("Test of “%(server)s”", server=used)
    elif name == "reply":
        found = first_address(first.reply_to) if first else None
        if found is None or not office.comes_back(found.key):
            raise _Nowhere(why("self_test_reply_nowhere"))
        address, subject = found.address, gettext("Re: Test of “%(server)s”", server=used)
        author, references = delivery.address, [_id_of_arrived(delivery, first)]
    elif name == "bounce":
        local = f"no-such-mailbox-{secrets.token_hex(4)}"
        address = f"{local}@{domain_of(delivery.address)}"
        subject = gettext("Test of “%(server)s”: an address that does not exist", server=used)
    else:
        address = _with_plus(without_tag(first.envelope_sender) if first else "")
        subject = gettext("Test of “%(server)s”: an address with a plus", server=used)
    draft = OutgoingDraft(
        kind="test", author=author, subject=subject, text=_words(used), references=references,
        has_document=name == "delivery", title=gettext("Test"), auto_submitted="auto-generated",
    )  # fmt: skip
    return draft, To(address)


def _words(server: str) -> str:
    text: str = gettext(
        "This email was sent by a test of the outgoing server “%(server)s” (“Test sending and receiving”). Nobody has "
        "to do anything with it, and it can be deleted.\n",
        server=server,
    )
    return text


def _id_of_arrived(delivery: SelfTestPart, first: OutgoingMail | None) -> str:
    """The Message-ID that a reply names: as it arrived, for some relays give another one."""
    arrived = select(ReceivedMail.message_id).where(ReceivedMail.id == delivery.received_mail_id)
    return str(db.session.scalar(arrived) or (first.message_id if first else ""))


def _with_plus(envelope_sender: str) -> str:
    """The address that shows whether a bounce address takes additions: that of this server, if it is one of ours."""
    known = office.load().office
    ours = [one for domain in (known.first, *known.domains) if (one := domain.bounce_address)]
    if not ours:
        raise _Nowhere(why("self_test_plus_nowhere"))
    tried = normalise(envelope_sender)
    address = tried if tried in ours else ours[0]
    return address.replace("@", f"{PLUS_TEST}@")


def _note_outcome(check_id: int, name: str, mail: tried_once.TriedOnce, outcome: Outcome) -> None:
    part = parts_of(check_id)[name]
    if outcome.accepted or outcome.in_doubt:
        part.state, part.sent_at = "sent", now()
        _tell(check_id)
        db.session.commit()
        return
    reply, returns_to = f"{outcome.code} {outcome.text}", without_tag(mail.decision.envelope_sender)
    about_recipient = tried_once.refuses_recipient(outcome)
    if about_recipient and name == "bounce":
        wanted = update(Recipient).where(Recipient.id == mail.line.id)
        db.session.execute(wanted.values(why=why("line_self_test", reply=reply)))
    reason = outcome.why or why("check_lost")
    if name == "delivery" and outcome.phase in ("rcpt", "data", "content", "end"):
        part.sent_at = now()  # the server works: the other parts can be tried
    _end(part, refused(name, part.address, returns_to, reason, reply, about_recipient))
    _tell(check_id)
    db.session.commit()


def _note(check_id: int, name: str, found: PartResult) -> None:
    _end(parts_of(check_id)[name], found)
    _tell(check_id)
    db.session.commit()


# --- judge


def judge(check_id: int, moment: datetime) -> bool:
    """Write down which parts have ended, and the end of the test after the last one; return whether it has. Commits."""
    with reading():
        parts = parts_of(check_id)
        found = {name: ended for name, part in parts.items() if (ended := _verdict(part, moment))}
    for name, ended in found.items():
        _end(parts[name], ended)
    changed = _judge_sender(parts) or bool(found)
    if not all(part.state in FINAL for part in parts.values()):
        if changed:
            _tell(check_id)
        db.session.commit()
        return False
    _forget_plus(parts)
    _finish(check_id, parts, moment)
    db.session.commit()
    return True


def _verdict(part: SelfTestPart, moment: datetime) -> PartResult | None:
    if part.state != "sent":
        return None
    mail = db.session.get(OutgoingMail, part.mail_id) if part.mail_id else None
    sent_at = part.sent_at or moment
    fetched = db.session.scalars(_fetched().limit(MOST_MAILBOXES)).all()
    mailbox, failure = ("", None) if part.seen is not None else _failing(part, fetched, sent_at)
    return verdict(
        SentPart(
            part.name,
            part.address,
            without_tag(mail.envelope_sender) if mail else "",
            waited=moment - sent_at,
            seen=part.seen,
            seconds=((part.seen_at or moment) - sent_at).total_seconds(),
            fetches=bool(fetched),
            mailbox=mailbox,
            mailbox_failure=failure,
        )
    )


def _failing(part: SelfTestPart, fetched: Sequence[IncomingServer], sent_at: datetime) -> tuple[str, Why | None]:
    """The mailbox that keeps a part from being seen, and why: that of its address, or else one of all."""
    chosen = db.session.get(IncomingServer, part.incoming_server_id) if part.incoming_server_id else None
    if chosen is not None and chosen not in fetched:
        return chosen.name, why("self_test_mailbox_off")
    for server in [chosen] if chosen is not None else fetched:
        failed_at, worked_at = server.last_failure_at, server.last_success_at
        if server.why and failed_at and failed_at >= sent_at and (worked_at is None or worked_at < failed_at):
            return server.name, _why(server.why)
    return "", None


def _judge_sender(parts: Mapping[str, SelfTestPart]) -> bool:
    """Say what the receiver wrote of the sender, as soon as the first email is there or is not expected any more."""
    delivery, sender = parts["delivery"], parts["authentication"]
    if sender.state in FINAL or delivery.state not in FINAL:
        return False
    if delivery.seen is not None and _has_arrived(delivery):
        _end(sender, authenticated(delivery.seen.get("sender")))
    else:
        _end(sender, PartResult("skipped", why("self_test_needs_delivery")))
    return True


def _forget_plus(parts: Mapping[str, SelfTestPart]) -> None:
    """A bounce address that takes no additions any more is used without them: reports would be lost."""
    plus = parts["plus"]
    if shows_no_plus(plus.state, _why(plus.why), parts["bounce"].state):
        bounce = Alias.role == "bounce", Alias.address_key == without_tag(plus.address)
        db.session.execute(update(Alias).where(*bounce).values(plus_at=None))


def _finish(check_id: int, parts: Mapping[str, SelfTestPart], moment: datetime) -> None:
    has_failed = any(part.state == "failed" for part in parts.values())
    running = update(ServerCheck).where(ServerCheck.id == check_id, ServerCheck.state == "running")
    db.session.execute(running.values(state="failed" if has_failed else "done", finished_at=moment))
    _tell(check_id)


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
            _end(part, PartResult("failed" if part.name == "delivery" else "skipped", reason))
    _finish(check_id, parts, moment)


def _end(part: SelfTestPart, found: PartResult) -> None:
    part.state, part.why = found.state, dict(found.why)


def _why(stored: dict[str, Any] | None) -> Why | None:
    return Why(code=stored["code"], values=stored["values"]) if stored else None


def _tell(check_id: int) -> None:
    Event.add([f"check:{check_id}"], now())
