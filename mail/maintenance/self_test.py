"""FLOW of a server's self-test: write to a mailbox of ours -> wait -> answer -> provoke a report -> try a plus.

Each step is in its row before the next one is taken: when a worker dies, another one goes on from there.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from flask_babel import gettext
from sqlalchemy import select, update

from mail.decide.domains import without_tag
from mail.decide.self_test import (
    PartResult,
    SentPart,
    authenticated,
    is_no_such,
    not_sent,
    refused,
    shows_no_plus,
    verdict,
)
from mail.decide.self_test_mails import NOBODY
from mail.decide.verp import PLACE, PLUS_TEST
from mail.errors import NotHandedOver
from mail.maintenance.self_test_rows import (
    FINAL,
    KIND,
    MOST_MAILBOXES,
    end_part,
    fetched,
    finish,
    parts_of,
    stored_why,
    tell,
)
from mail.message.address import domain_of, first_address, normalise, show_address
from mail.outgoing import server_rules, tried_once, unique_senders
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import Why, why
from mail.settings import office, rehearsal
from mail.settings.clock import now
from mail.settings.config import settings
from mail.transport.smtp import Outcome
from models import (
    Alias,
    IncomingServer,
    OutgoingMail,
    OutgoingServer,
    ReceivedMail,
    Recipient,
    SelfTestPart,
    ServerCheck,
    User,
    change_rows,
    db,
    reading,
)

LOST = "test_email_lost"  # why a line failed whose worker died before it sent anything


# --- send


def resume(check_id: int) -> None:
    """Find out what became of emails whose worker ended while it sent them; commits."""
    for part in parts_of(check_id, to_change=True).values():
        if part.state == "sending":
            _resume(part, db.session.scalar(select(Recipient).where(Recipient.mail_id == part.mail_id)))
    db.session.commit()


def _resume(part: SelfTestPart, line: Recipient | None) -> None:
    lost = why(LOST)
    if line is not None and line.state == "queued":  # it would go out some time: it is sent anew, now
        taken_back = update(Recipient).where(Recipient.id == line.id, Recipient.state == "queued")
        if not change_rows(taken_back.values(state="failed", wait="", why=lost)):
            part.state, part.sent_at = "sent", now()
            return
        line = None
    if line is None or (line.why or {}).get("code") == lost["code"]:
        part.state, part.mail_id = "waiting", None
    elif line.state == "failed":
        end_part(part, refused(part.name, part.address, "", stored_why(line.why) or lost, line.reply, False))
    else:
        part.state, part.sent_at = "sent", line.sent_at or now()


def next_to_send(check_id: int) -> str:
    """Return the part whose email is to be sent now, "" for none; those that can't be tried end here. Commits."""
    with reading():
        parts = parts_of(check_id)
        delivery = parts["delivery"]
        waiting = [name for name in ("delivery", "bounce", "plus", "reply") if parts[name].state == "waiting"]
        untried = _untried(delivery, waiting)
        may_reply = delivery.state in FINAL or _has_arrived(delivery)
    if untried:
        parts = parts_of(check_id, to_change=True)
        for name, ended in untried.items():
            end_part(parts[name], ended)
        tell(check_id)
        db.session.commit()
    return next((name for name in waiting if name not in untried and (name != "reply" or may_reply)), "")


def _untried(delivery: SelfTestPart, waiting: Sequence[str]) -> dict[str, PartResult]:
    """The parts that make no sense after the first email."""
    if delivery.state not in FINAL:
        return {}
    if delivery.mail_id is None:
        reason = stored_why(delivery.why) or why(LOST)
        return {name: not_sent(name, reason["values"].get("because", reason)) for name in waiting}
    if delivery.sent_at is None:
        return dict.fromkeys(waiting, PartResult("skipped", why("self_test_server_failed")))
    if "reply" in waiting and not _has_arrived(delivery):
        return {"reply": PartResult("skipped", why("self_test_needs_delivery"))}
    return {}


def _was_accepted(delivery: SelfTestPart) -> bool:
    """Whether a server takes emails of the test at all: else a refusal says nothing about one address."""
    return delivery.sent_at is not None and (delivery.why or {}).get("code") != "self_test_refused"


def _has_arrived(part: SelfTestPart) -> bool:
    return part.seen is not None and part.seen["how"] == "arrived"


def send(check_id: int, name: str, journal: Journal, worker: WorkerLease) -> None:
    """Send the email of a part through the server under test and note how that went; commits."""

    def taken(mail: tried_once.TriedOnce) -> None:
        part = parts_of(check_id)[name]
        part.state, part.mail_id, part.address = "sending", mail.line.mail_id, mail.line.address
        tell(check_id)

    check = db.session.get_one(ServerCheck, check_id)
    server_id, user_id = check.server_id, check.requested_by_id
    db.session.rollback()
    office.forget()  # a test takes minutes
    with reading():
        rehearses = rehearsal.is_on()
    if rehearses:
        _note(check_id, name, not_sent(name, why("self_test_rehearses")))
        return
    try:
        mail = tried_once.begin(
            server_id,
            lambda server: _write(check_id, name, server, user_id),
            worker,
            taken,
            returns_to="unique" if name == "plus" else "plain",
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
        address = f"{NOBODY}{secrets.token_hex(8)}@{domain_of(delivery.address)}"
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
        tell(check_id)
        db.session.commit()
        return
    reply, returns_to = f"{outcome.code} {outcome.text}", without_tag(mail.decision.envelope_sender)
    refuses = unique_senders.refuses(outcome)
    if name == "plus" and refuses == "sender" and "+" in mail.decision.envelope_sender:
        if _is_as_tested(db.session.get_one(ServerCheck, check_id)):
            unique_senders.turn_off(mail.server_id, now())
        end_part(part, PartResult("warning", why("self_test_plus_no_sender", address=returns_to, reply=reply)))
        tell(check_id)
        db.session.commit()
        return
    reason = outcome.why or why("check_lost")
    no_such = refuses == "recipient" and _was_accepted(parts_of(check_id)["delivery"]) and is_no_such(reason)
    if no_such and name == "bounce":
        wanted = update(Recipient).where(Recipient.id == mail.line.id)
        db.session.execute(wanted.values(why=why("line_self_test", reply=reply)))
    if name == "delivery" and outcome.phase in ("rcpt", "data", "content", "end"):
        part.sent_at = now()  # the server works: the other parts can be tried
    end_part(part, refused(name, part.address, returns_to, reason, reply, no_such))
    tell(check_id)
    db.session.commit()


def _note(check_id: int, name: str, found: PartResult) -> None:
    end_part(parts_of(check_id)[name], found)
    tell(check_id)
    db.session.commit()


# --- judge


def judge(check_id: int, moment: datetime) -> bool:
    """Write down which parts have ended, and the end of the test after the last one; return whether it has. Commits."""
    with reading():
        parts = parts_of(check_id)
        found = _results(parts, moment)
        is_over = all(part.state in FINAL or name in found for name, part in parts.items())
        unseen = {name for name, part in parts.items() if part.seen is None}
    if not found and not is_over:
        return False
    parts = parts_of(check_id, to_change=True)
    if any(parts[name].seen is not None for name in unseen):
        db.session.rollback()  # something came in between
        return False
    for name, ended in found.items():
        end_part(parts[name], ended)
    tell(check_id)
    if is_over:
        _decide_about_plus(check_id, parts)
        finish(check_id, parts, moment)
    db.session.commit()
    return is_over


def _results(parts: Mapping[str, SelfTestPart], moment: datetime) -> dict[str, PartResult]:
    found = {name: ended for name, part in parts.items() if (ended := _verdict(part, moment))}
    delivery, sender = parts["delivery"], parts["authentication"]
    if sender.state not in FINAL and (delivery.state in FINAL or "delivery" in found):
        missing = PartResult("skipped", why("self_test_needs_delivery"))
        wrote = delivery.seen if _has_arrived(delivery) else None
        found["authentication"] = missing if wrote is None else authenticated(wrote.get("sender"))
    return found


def _decide_about_plus(check_id: int, parts: Mapping[str, SelfTestPart]) -> None:
    plus = parts["plus"]
    if shows_no_plus(plus.state, stored_why(plus.why), parts["bounce"].state):
        _forget_plus(without_tag(plus.address))
    elif plus.state == "ok":
        check = db.session.get_one(ServerCheck, check_id)
        mail = db.session.get(OutgoingMail, plus.mail_id) if plus.mail_id else None
        is_as_tested = _is_as_tested(check)
        if is_as_tested and mail is not None and PLACE in mail.envelope_sender:
            unique_senders.turn_on(check.server_id, now())
        if is_as_tested:
            _keep_tests(check)


def _verdict(part: SelfTestPart, moment: datetime) -> PartResult | None:
    if part.state != "sent":
        return None
    mail = db.session.get(OutgoingMail, part.mail_id) if part.mail_id else None
    sent_at = part.sent_at or moment
    servers = db.session.scalars(fetched().limit(1 if part.incoming_server_id else MOST_MAILBOXES)).all()
    mailbox, failure = ("", None) if part.seen is not None else _failing(part, servers, sent_at)
    return verdict(
        SentPart(
            part.name,
            part.address,
            without_tag(mail.envelope_sender) if mail else "",
            waited=moment - sent_at,
            seen=part.seen,
            seconds=((part.seen_at or moment) - sent_at).total_seconds(),
            fetches=bool(servers),
            mailbox=mailbox,
            mailbox_failure=failure,
            from_unique=mail is not None and PLACE in mail.envelope_sender,
        )
    )


def _failing(part: SelfTestPart, servers: Sequence[IncomingServer], sent_at: datetime) -> tuple[str, Why | None]:
    """The mailbox that keeps a part from being seen, and why: that of its address, or else one of all."""
    chosen = db.session.get(IncomingServer, part.incoming_server_id) if part.incoming_server_id else None
    if chosen is not None and not (chosen.active and chosen.state == "confirmed"):
        return chosen.name, why("self_test_mailbox_off")
    for server in [chosen] if chosen is not None else servers:
        failed_at, worked_at = server.last_failure_at, server.last_success_at
        if server.why and failed_at and failed_at >= sent_at and (worked_at is None or worked_at < failed_at):
            return server.name, stored_why(server.why)
    return "", None


def _forget_plus(bounce_address: str) -> None:
    """A bounce address that takes no additions is used without them: reports would be lost."""
    bounce = Alias.role == "bounce", Alias.address_key == bounce_address
    db.session.execute(update(Alias).where(*bounce).values(plus_at=None))


def _is_as_tested(check: ServerCheck) -> bool:
    """Say whether a server is still the one that is tested: of another host nothing is known."""
    server = db.session.get(OutgoingServer, check.server_id, populate_existing=True) if check.server_id else None
    office.forget()
    return check.tested in (server_rules.tested_key(server), server_rules.tested_key(server, verp=False))


def _keep_tests(check: ServerCheck) -> None:
    """Unique bounce addresses that this very test has tried do not make the tests of its server outdated."""
    server = db.session.get(OutgoingServer, check.server_id) if check.server_id else None
    office.forget()
    of_server = ServerCheck.server_id == check.server_id, ServerCheck.kind.in_(("outgoing_test", KIND))
    same = update(ServerCheck).where(*of_server, ServerCheck.tested == check.tested)
    db.session.execute(same.values(tested=server_rules.tested_key(server)))
