"""What people ask for: Test Connection, TEST & CONFIRM, Fetch now, Check now of a domain; each step shows at once."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import TimeoutError as StillRunning
from functools import partial

from flask import Flask
from sqlalchemy import select, update

from mail.decide.senders import TestedSender
from mail.errors import JournalFailed, MailError
from mail.incoming import position
from mail.incoming import server_rules as mailbox_rules
from mail.maintenance import arrival_test, self_test_rows
from mail.message.address import wire_address
from mail.outgoing import mail_to_me, server_rules, tried_once
from mail.queue.connections import default_target, target_of_record
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import ended, why
from mail.settings import office, rehearsal
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.wake import wake
from mail.transport import mailbox_open, smtp_check
from mail.transport.mailbox import MailboxTarget
from mail.transport.smtp_session import Transcript
from mail.transport.steps import ConnectionStep, StepState
from models import Event, IncomingServer, OutgoingServer, ServerCheck, User, change_rows, db, reading
from scheduler import domain_checks
from scheduler.fetching import Fetcher
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow, database_away
from scheduler.recovery import lose_check
from scheduler.self_tests import SelfTests

log = logging.getLogger("coquimail.checks")

MOST = 6  # tests at the same time: a slow server must not hold up the test of another one
# Of them checks of DNS, for many domains may have changed at once, and self-tests, each of which waits for minutes.
MOST_OF_KIND = {"domain": 2, self_test_rows.KIND: 2}
FETCH_PATIENCE = 20.0  # seconds that the page is kept waiting; a longer fetch goes on without it


class Checks:
    """The loop that takes the requests and does each in a thread of its own."""

    def __init__(self, app: Flask, identity: WorkerIdentity, fetcher: Fetcher) -> None:
        self._app, self._identity, self._fetcher = app, identity, fetcher
        self._free = threading.Semaphore(MOST)
        self._left: set[int] = set()  # whose end could not be written down
        self._running: Counter[str] = Counter()  # of each kind
        self._lock = threading.Lock()
        self._self_tests = SelfTests(identity, fetcher)

    def work(self) -> bool:
        """Take the oldest request, if there is one; returns whether it did."""
        for left in list(self._left):
            _lose(left)
            self._left.discard(left)
        with reading():
            row = ServerCheck
            waiting = select(row.id, row.kind).where(row.state == "waiting").order_by(row.id).limit(1)
            enough = [kind for kind, most in MOST_OF_KIND.items() if self._running[kind] >= most]
            if enough:
                waiting = waiting.where(row.kind.not_in(enough))
            found = db.session.execute(waiting).first()
        if found is None or not self._free.acquire(blocking=False):
            return False
        check_id, kind = found
        if not _claim(check_id, self._identity.current()):
            self._free.release()
            return True
        self._count(kind, 1)  # before its thread runs: the next one may be claimed at once
        try:
            threading.Thread(target=self._run, args=(check_id, kind), name=f"check-{check_id}", daemon=True).start()
        except RuntimeError:  # the system gives no further thread
            self._is_over(kind)
            self._left.add(check_id)
            raise
        return True

    def _count(self, kind: str, change: int) -> None:
        with self._lock:
            self._running[kind] += change

    def _run(self, check_id: int, kind: str) -> None:
        try:
            with self._app.app_context(), self._identity.work(may_be_cut=True):
                self._do(check_id)
        except NotNow:
            return
        except Exception as error:
            if not database_away(error):
                raise
            log.warning("test %s was left: the database is away", check_id)
            self._left.add(check_id)
        finally:
            self._is_over(kind)

    def _is_over(self, kind: str) -> None:
        self._count(kind, -1)
        self._free.release()

    def _do(self, check_id: int) -> None:
        check = db.session.get(ServerCheck, check_id)
        if check is None:
            return
        kind, server_id, user_id, domain = check.kind, check.server_id, check.requested_by_id, check.domain
        worker_id = check.worker_id or 0
        check.tested = check.tested or _tested(kind, server_id)  # one that goes on began with those
        db.session.commit()
        db.session.rollback()
        if kind == self_test_rows.KIND:
            self._self_tests.run(check_id, worker_id)
            return
        transcript = Transcript()
        failed = False
        steps: list[ConnectionStep] = []
        of_server = partial(self._steps, check_id, kind, server_id, user_id, transcript)
        try:
            for step in domain_checks.steps_of(domain, user_id) if domain else of_server():
                steps.append(step)
                failed = failed or step.state == "failed"
                _tell(check_id, steps)
        except NotNow:
            failed = True
            steps.append(ConnectionStep("lost", "failed", why("check_lost"), 0.0))
        except MailError as error:
            failed = True
            steps.append(ConnectionStep("server", "failed", ended(error.why), 0.0))
        except Exception as error:
            if database_away(error):
                raise
            log.exception("test %s failed", check_id)
            failed = True
            reason = why("unexpected_failure", error=type(error).__name__, detail=str(error)[:300])
            steps.append(ConnectionStep("server", "failed", reason, 0.0))
            db.session.rollback()
        _tell(check_id, steps, "failed" if failed else "done", transcript.take())
        log.info("%s of server %s: %s (test %s)", kind, server_id, "failed" if failed else "done", check_id)

    def _steps(
        self, check_id: int, kind: str, server_id: int, user_id: int | None, transcript: Transcript
    ) -> Iterator[ConnectionStep]:
        if kind == "outgoing_test":
            return _test_outgoing(server_id, user_id, transcript)
        if kind == "outgoing_mail":
            return iter(self._mail_to_me(check_id, server_id, user_id))
        if kind == "incoming_test":
            return _test_incoming(server_id)
        return arrival_test.steps(check_id) if kind == "arrival" else self._fetch(server_id)

    def _mail_to_me(self, check_id: int, server_id: int, user_id: int | None) -> list[ConnectionStep]:
        """Send a real email to the person who asked, through this very server."""
        with self._identity.claiming() as held:
            try:
                with Journal.open(settings().journal_folder, held.id, f"check-{check_id}") as journal:
                    return _send_to_me(check_id, server_id, user_id, journal, held)
            except JournalFailed as error:  # nothing is claimed
                return [ConnectionStep("decision", "failed", error.why, 0.0)]

    def _fetch(self, server_id: int) -> Iterator[ConnectionStep]:
        server = db.session.get(IncomingServer, server_id)
        if server is None:
            yield _gone()
            return
        yield ConnectionStep("fetch", "ok", why("fetch_started", name=server.name), 0.0)
        db.session.rollback()
        try:
            fetched = self._fetcher.start(server_id).result(FETCH_PATIENCE)
        except StillRunning:
            yield ConnectionStep("fetch", "ok", why("fetch_goes_on"), FETCH_PATIENCE)
            return
        if fetched.why:
            yield ConnectionStep("fetch", "failed", fetched.why, 0.0)
        else:
            yield ConnectionStep("fetch", "ok", why("fetch_done", mails=fetched.mails), 0.0)
            if fetched.remark:
                yield ConnectionStep("acknowledge", "warning", fetched.remark, 0.0)


def _send_to_me(
    check_id: int, server_id: int, user_id: int | None, journal: Journal, held: WorkerLease
) -> list[ConnectionStep]:
    try:
        mail = mail_to_me.begin(server_id, user_id, held, lambda mail: _note_steps(check_id, [_decided(mail)]))
    except MailError as error:  # nothing is claimed
        journal.remove()
        return [ConnectionStep("decision", "failed", error.why, 0.0)]
    started = time.monotonic()
    outcome = tried_once.deliver(mail, journal, held)
    journal.remove()
    accepted = "mail_to_me_in_practice" if office.is_practice(server_id) else "mail_to_me_accepted"
    accepted = "mail_to_me_in_rehearsal" if rehearsal.is_on() else accepted
    said = f"{outcome.code} {outcome.text}"
    reason = outcome.why or why(accepted, address=mail.line.address, reply=said)
    state: StepState = "ok" if outcome.accepted else "failed"
    return [_decided(mail), ConnectionStep("handover", state, reason, round(time.monotonic() - started, 3))]


def _decided(mail: tried_once.TriedOnce) -> ConnectionStep:
    about = {"sender": mail.decision.from_after, "bounce": mail.decision.envelope_sender}
    return ConnectionStep("decision", "ok", why("mail_to_me_from", **about, line=mail.line.id), 0.0)


def _test_outgoing(server_id: int, user_id: int | None, transcript: Transcript) -> Iterator[ConnectionStep]:
    """Try an outgoing server (0: the default server) as every address that it would send as."""
    server = db.session.get(OutgoingServer, server_id) if server_id else None
    if server_id and server is None:
        yield _gone()
        return
    target = target_of_record(server) if server else default_target()
    tested = server_rules.tested_key(server)
    user = db.session.get(User, user_id) if user_id else None
    me = user.email if user else ""
    senders = server_rules.senders_of_test(server) or ([TestedSender(me, ("you",))] if me else [])
    db.session.rollback()
    well = True
    tried = {_on_the_wire(one.address): one for one in senders if not one.unused}
    for step in smtp_check.test_steps(target, list(tried), _on_the_wire(me), transcript):
        told = _about_sender(step, tried.get(step.address))
        well = well and all(step.state != "failed" for step in told)
        yield from told
    for one in senders:
        if one.unused and one.note:
            yield ConnectionStep("note", "skipped", one.note, 0.0, one.address, one.uses)
    if not senders:
        yield ConnectionStep("sender", "warning", why("check_no_sender"), 0.0)
    if well and server_id:
        yield from _activate(server_id, tested)


def _on_the_wire(address: str) -> str:
    """Return an address as a delivery would say it; one that can't be said is shown with the reason by its step."""
    try:
        return wire_address(address, smtputf8=True)
    except MailError:
        return address


def _about_sender(step: ConnectionStep, sender: TestedSender | None) -> list[ConnectionStep]:
    """Return a step with what its address is used for, and with a note where a refusal does no harm."""
    if sender is None:
        return [step]
    step = step._replace(address=sender.address, uses=sender.uses)
    if step.state != "failed" or sender.is_needed or sender.note is None:
        return [step]
    return [
        step._replace(state="warning"),
        ConnectionStep("note", "skipped", sender.note, 0.0, step.address, step.uses),
    ]


def _tested(kind: str, server_id: int) -> str:
    """What stands for the settings that are about to be tested."""
    if kind in ("outgoing_test", "outgoing_mail", self_test_rows.KIND):
        server = db.session.get(OutgoingServer, server_id) if server_id else None
        return server_rules.tested_key(server) if server or not server_id else ""
    mailbox = db.session.get(IncomingServer, server_id)
    return mailbox_rules.tested_key(mailbox) if mailbox else ""


def _activate(server_id: int, tested: str) -> Iterator[ConnectionStep]:
    """Put a new server to use that passed its test, unless it was changed meanwhile."""
    server = db.session.get(OutgoingServer, server_id)
    if server is not None and server.draft and server_rules.tested_key(server) == tested:
        server_rules.activate(server)
        Event.add(["outgoing_servers"], now())
        db.session.commit()
        wake()
        yield ConnectionStep("confirm", "ok", why("check_activated"), 0.0)
    db.session.rollback()


def _test_incoming(server_id: int) -> Iterator[ConnectionStep]:
    """Try an incoming server; when every step went well it is confirmed, and mail is fetched from now on."""
    server = db.session.get(IncomingServer, server_id)
    if server is None:
        yield _gone()
        return
    target = position.target_of(server)
    db.session.rollback()
    well = True
    for step in mailbox_open.test_steps(position.usable(target)):
        well = well and step.state != "failed"
        yield step
    if well:
        yield _confirm(server_id, target)


def _confirm(server_id: int, target: MailboxTarget) -> ConnectionStep:
    with mailbox_open.open_mailbox(target) as opened:
        look = opened.look()
    server = db.session.get(IncomingServer, server_id)
    if server is None:
        return _gone()
    if position.target_of(server) != target:
        db.session.rollback()
        return ConnectionStep("confirm", "failed", why("check_changed"), 0.0)
    moment = now()
    position.confirm(server, look, moment)
    Event.add(["incoming_servers"], moment)
    said = why("check_confirmed_all" if server.fetch_existing else "check_confirmed")
    db.session.commit()
    return ConnectionStep("confirm", "ok", said, 0.0)


def _gone() -> ConnectionStep:
    return ConnectionStep("server", "failed", why("check_server_gone"), 0.0)


def _claim(check_id: int, lease: WorkerLease) -> bool:
    taken = change_rows(
        update(ServerCheck)
        .where(ServerCheck.id == check_id, ServerCheck.state == "waiting")
        .values(state="running", worker_id=lease.id, steps=[])
    )
    Event.add([f"check:{check_id}"], now())
    db.session.commit()
    return bool(taken)


def _tell(check_id: int, steps: list[ConnectionStep], state: str = "running", transcript: str = "") -> None:
    """Write down the steps so far, and let the open page see them."""
    _note_steps(check_id, steps, state, transcript)
    db.session.commit()


def _note_steps(check_id: int, steps: list[ConnectionStep], state: str = "running", transcript: str = "") -> None:
    moment = now()
    values: dict[str, object] = {"steps": [step.as_json() for step in steps]}
    if state != "running":
        values |= {"state": state, "finished_at": moment, "transcript": transcript}
    db.session.execute(
        update(ServerCheck).where(ServerCheck.id == check_id, ServerCheck.state == "running").values(values)
    )
    Event.add([f"check:{check_id}"], moment)


def _lose(check_id: int) -> None:
    """End a test whose end could not be written down; what it had told stays."""
    moment = now()
    check = db.session.scalar(select(ServerCheck).where(ServerCheck.id == check_id, ServerCheck.state == "running"))
    if check is not None and check.kind == self_test_rows.KIND:
        check.state, check.worker_id = "waiting", None  # it goes on from where it was
    elif check is not None:
        lose_check(check, moment)
        Event.add([f"check:{check_id}"], moment)
    db.session.commit()
