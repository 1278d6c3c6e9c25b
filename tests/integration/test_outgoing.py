"""Mail out, to a real receiving server: who gets it, as whom, what is retried, and what a dead worker leaves behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event, select, update

from mail.message.compose import File
from mail.outgoing import deliver, enqueue, lines, waiting
from mail.outgoing.delivery import Try, not_tried
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue import waits
from mail.queue.concurrency import ServerConcurrency
from mail.queue.connections import Connections
from mail.queue.journal import Journal, read_folder
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import office, parameters
from models import (
    Bounce,
    Contact,
    DeliveryAttempt,
    Document,
    DocumentType,
    Notification,
    OutgoingMail,
    OutgoingServer,
    Post,
    Recipient,
    Thread,
    User,
    db,
)
from models.outgoing import claim, due_servers
from tests.servers.postfix import Postfix

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Desk:
    """An office with one outgoing server, and a sending thread that runs when the test says so."""

    def __init__(self, app: Flask, postfix: Postfix, folder: Path) -> None:
        self.app, self.postfix, self.journals = app, postfix, folder / "journal"
        with app.app_context():
            parameters.put("mail.catchall.domain", "mycompany.test", NOW)
            parameters.put("mail.default.from", "notifications", NOW)
            self.server_id = self.add_server("main", postfix.port, "mycompany.test")
            db.session.commit()
        self.worker = self.register()
        self.slots = ServerConcurrency()

    def register(self) -> WorkerLease:
        with self.app.app_context():
            return WorkerLease.register(NOW)

    def add_server(self, name: str, port: int, from_filter: str = "", priority: int = 10) -> int:
        server = OutgoingServer(
            name=name, host="127.0.0.1", port=port, encryption="none", authentication="none", from_filter=from_filter,
            priority=priority,
        )  # fmt: skip
        db.session.add(server)
        db.session.flush()
        return server.id

    def mail(self, *to: str, author: str = "Clerk <clerk@home.test>", subject: str = "Hello", **more: object) -> int:
        with self.app.app_context():
            draft = OutgoingDraft(kind="test", author=author, subject=subject, html="<p>Hello</p>", **more)
            mail = enqueue.enqueue(draft, [To(address) for address in to], datetime.now(UTC))
            db.session.commit()
            return mail.id

    @contextmanager
    def sending(self) -> Iterator[Callable[[], int]]:
        with (
            self.app.app_context(),
            Connections(self.slots) as connections,
            Journal.open(self.journals, self.worker.id, "one") as journal,
        ):
            yield lambda: deliver.send_some(self.worker, connections, journal)

    def send_all(self) -> int:
        with self.sending() as send_some:
            total = 0
            while taken := send_some():
                total += taken
            return total

    def states(self) -> dict[str, str]:
        with self.app.app_context():
            return {line.address: line.state for line in db.session.scalars(select(Recipient).order_by(Recipient.id))}

    def line(self, address: str) -> Recipient:
        line = db.session.scalar(select(Recipient).where(Recipient.address == address))
        assert line is not None
        return line


@pytest.fixture
def desk(app: Flask, postfix: Postfix, tmp_path: Path) -> Desk:
    return Desk(app, postfix, tmp_path)


def test_a_mail_arrives_as_decided(desk: Desk) -> None:
    desk.mail(
        "ann@x.test", subject="Grüße", reply_to="sales@mycompany.test", files=[File("a.txt", "text/plain", b"hi")]
    )
    assert desk.send_all() == 1
    mail = desk.postfix.wait_for("ann@x.test")[0]
    assert str(mail.message["From"]) == "Clerk <notifications@mycompany.test>"
    assert mail.envelope_sender == "bounce@mycompany.test"
    assert mail.message["Reply-To"] == "sales@mycompany.test"
    assert mail.message["To"] == "ann@x.test"
    assert mail.subject == "Grüße"
    assert mail.message["Message-ID"].endswith("@mycompany.test>")
    assert [part.get_filename() for part in mail.message.iter_attachments()] == ["a.txt"]
    assert desk.states() == {"ann@x.test": "sent"}


def test_each_recipient_gets_a_mail_of_their_own_under_one_message_id(desk: Desk) -> None:
    desk.mail("ann@x.test", "bob@x.test")
    desk.send_all()
    ann, bob = desk.postfix.wait_for("ann@x.test")[0], desk.postfix.wait_for("bob@x.test")[0]
    assert (ann.message["To"], bob.message["To"]) == ("ann@x.test", "bob@x.test")
    assert ann.message["Message-ID"] == bob.message["Message-ID"]
    assert ann.message["X-CoquiMail-Id"] != bob.message["X-CoquiMail-Id"]


def test_a_refused_recipient_does_not_stop_the_others(desk: Desk) -> None:
    desk.postfix.refuse("bad@x.test", "550 5.1.1 no such user")
    desk.mail("bad@x.test", "good@x.test")
    desk.send_all()
    assert desk.states() == {"bad@x.test": "failed", "good@x.test": "sent"}
    with desk.app.app_context():
        bad = desk.line("bad@x.test")
        assert (bad.code, bad.enhanced) == (550, "5.1.1")
        assert "no such user" in bad.reply
        assert say(bad.why)
        bounce = db.session.scalar(select(Bounce))
        assert (bounce.address_key, bounce.kind, bounce.counted) == ("bad@x.test", "hard", True)


def test_a_deferred_recipient_is_tried_again_by_the_schedule(desk: Desk) -> None:
    desk.postfix.defer("busy@x.test")
    desk.mail("busy@x.test")
    before = datetime.now(UTC)
    assert desk.send_all() == 1
    with desk.app.app_context():
        line = desk.line("busy@x.test")
        assert (line.state, line.wait, line.attempts, line.code) == ("queued", "retry", 1, 450)
        assert before <= line.next_try_at - timedelta(minutes=1) <= datetime.now(UTC)
        line.next_try_at = datetime.now(UTC)
        db.session.commit()
    desk.postfix.accept("busy@x.test")
    assert desk.send_all() == 1
    assert desk.states() == {"busy@x.test": "sent"}


def test_after_two_days_it_is_given_up(desk: Desk) -> None:
    desk.postfix.defer("busy@x.test")
    desk.mail("busy@x.test")
    with desk.app.app_context():
        desk.line("busy@x.test").first_try_at = datetime.now(UTC) - timedelta(hours=48)
        db.session.commit()
    desk.send_all()
    with desk.app.app_context():
        assert desk.line("busy@x.test").state == "failed"
        assert "48 hours" in say(desk.line("busy@x.test").why)


def test_a_server_that_is_away_fails_nobody_and_holds_up_no_other_server(desk: Desk) -> None:
    with desk.app.app_context():
        desk.add_server("away", 9, "away.test")
        db.session.commit()
    desk.mail("ann@x.test", "bob@x.test", author="a@away.test")
    desk.mail("cat@x.test")
    assert desk.send_all() == 3
    assert desk.states() == {"ann@x.test": "queued", "bob@x.test": "queued", "cat@x.test": "sent"}
    with desk.app.app_context():
        assert desk.line("bob@x.test").why["code"] == "connection_refused"
    desk.mail("dog@x.test", author="a@away.test")
    assert desk.send_all() == 0, "a server that was just away is left alone for a while"


def test_no_server_at_all_is_said_on_the_line(desk: Desk) -> None:
    desk.mail("ann@x.test", forced_server_id=desk.server_id)
    with desk.app.app_context():
        db.session.execute(update(OutgoingServer).values(active=False))
        db.session.commit()
    desk.send_all()
    desk.send_all()
    with desk.app.app_context():
        line = desk.line("ann@x.test")
        assert (line.state, line.why["code"]) == ("failed", "server_off")


def test_when_the_chosen_server_goes_another_is_chosen(desk: Desk, second_postfix: Postfix) -> None:
    desk.mail("ann@x.test")
    with desk.app.app_context():
        db.session.execute(update(OutgoingServer).values(active=False))
        desk.add_server("other", second_postfix.port, "other.test")
        parameters.put("mail.default.from", "desk@other.test", NOW)
        db.session.commit()
    desk.send_all()
    mail = second_postfix.wait_for("ann@x.test")[0]
    assert str(mail.message["From"]) == "Clerk <desk@other.test>"
    assert not desk.postfix.delivered_to("ann@x.test")


def test_a_deleted_server_is_not_taken_for_the_default_server(desk: Desk, second_postfix: Postfix) -> None:
    desk.mail("ann@x.test")
    with desk.app.app_context():
        desk.add_server("other", second_postfix.port)
        db.session.delete(db.session.get(OutgoingServer, desk.server_id))
        db.session.commit()
    desk.send_all()
    assert second_postfix.wait_for("ann@x.test")


def test_an_unusable_address_and_a_mail_that_is_too_large_say_so(desk: Desk) -> None:
    with desk.app.app_context():
        parameters.put("mail.max_size", "1", NOW)
        db.session.commit()
    desk.mail("not an address", "ann@x.test")
    desk.mail("bob@x.test", files=[File("big.bin", "application/octet-stream", b"x" * 1_000_000)])
    with desk.app.app_context():
        reasons = {line.address: line.why and line.why["code"] for line in db.session.scalars(select(Recipient))}
    assert reasons == {
        "not an address": "address_unusable",
        "ann@x.test": None,
        "bob@x.test": "larger_than_allowed",
    }
    with desk.app.app_context():
        again = lines.retry([desk.line("bob@x.test").id], NOW, "Bob")
        assert again.queued == 0 and again.failed and again.failed["code"] == "larger_than_allowed"


def test_what_a_dead_worker_held_is_recovered_by_its_journal(desk: Desk) -> None:
    desk.mail("sent@x.test", "doubt@x.test", "untouched@x.test")
    with desk.app.app_context():
        dead = desk.register()
        held = deliver.claim(dead.id, desk.server_id, datetime.now(UTC), 10)
        ids = {line.address: line.id for line in held}
        with Journal.open(desk.journals, dead.id, "one") as journal:
            journal.begin(f"l{ids['sent@x.test']}")
            journal.ok(f"l{ids['sent@x.test']}")
            journal.begin(f"l{ids['doubt@x.test']}")
        counts = deliver.recover_lines(dead.id, read_folder(desk.journals, dead.id), datetime.now(UTC))
        db.session.commit()
        assert counts == {"sent": 1, "in doubt": 1, "queued": 1, "failed": 0}
        doubtful = desk.line("doubt@x.test")
        assert (doubtful.state, doubtful.doubts) == ("queued", 1), "sent again automatically, with the same Message-ID"
        assert desk.line("untouched@x.test").first_try_at is None, "its time has not begun"
    assert desk.send_all() == 2
    assert set(desk.states().values()) == {"sent"}
    assert not desk.postfix.delivered_to("sent@x.test"), "it had been sent before"


def test_a_second_doubt_waits_for_a_person(desk: Desk) -> None:
    desk.mail("ann@x.test")
    for expected in ("queued", "unknown"):
        with desk.app.app_context():
            dead = desk.register()
            assert deliver.claim(dead.id, desk.server_id, datetime.now(UTC), 10)
            deliver.recover_lines(dead.id, None, datetime.now(UTC))
            db.session.commit()
        assert desk.states() == {"ann@x.test": expected}
    with desk.app.app_context():
        assert lines.retry([desk.line("ann@x.test").id], datetime.now(UTC), "Bob").queued == 1
        db.session.commit()
    desk.send_all()
    assert desk.states() == {"ann@x.test": "sent"}


def test_a_line_is_given_to_one_worker_only(desk: Desk) -> None:
    desk.mail(*(f"p{number}@x.test" for number in range(30)))
    other = desk.register()
    with desk.app.app_context():
        first = deliver.claim(desk.worker.id, desk.server_id, datetime.now(UTC), 20)
        second = deliver.claim(other.id, desk.server_id, datetime.now(UTC), 20)
    assert len({line.id for line in first} | {line.id for line in second}) == 30
    assert (len(first), len(second)) == (20, 10)


def test_a_worker_that_was_taken_over_writes_nothing(desk: Desk) -> None:
    """Its claim is gone: a result that arrives late must not overwrite what the next worker did."""
    desk.mail("ann@x.test")
    with desk.sending() as send_some:
        held = deliver.claim(desk.worker.id, desk.server_id, datetime.now(UTC), 10)
        waiting.hand_back([line.id for line in held], desk.worker.id)
        assert send_some() == 1
        with Journal.open(desk.journals, desk.worker.id, "two") as journal:
            late = deliver.LineBatch(desk.server_id, held, desk.worker, journal)
            late.note(held[0], Try(not_tried({"code": "timed_out", "values": {}})))
            late.record()
    assert desk.states() == {"ann@x.test": "sent"}


def test_cancel_correct_and_retry(desk: Desk) -> None:
    desk.postfix.refuse("typo@x.test")
    desk.mail("cancelled@x.test", "typo@x.test")
    with desk.app.app_context():
        assert lines.cancel([desk.line("cancelled@x.test").id], datetime.now(UTC), "Bob") == (1, 0)
        db.session.commit()
    desk.send_all()
    assert desk.states() == {"cancelled@x.test": "cancelled", "typo@x.test": "failed"}
    with desk.app.app_context():
        line = desk.line("typo@x.test")
        for wrong in ("nonsense", "cancelled@x.test"):
            with pytest.raises(lines.NotCorrected):
                lines.correct_address(line.id, wrong, datetime.now(UTC), "Bob")
        lines.correct_address(line.id, "right@x.test", datetime.now(UTC), "Bob")
        db.session.commit()
    desk.send_all()
    assert desk.states() == {"cancelled@x.test": "cancelled", "right@x.test": "sent"}


def test_a_scheduled_mail_waits(desk: Desk) -> None:
    with desk.app.app_context():
        draft = OutgoingDraft(kind="test", author="a@mycompany.test", subject="Later", html="<p>x</p>")
        enqueue.enqueue(draft, [To("ann@x.test")], NOW, scheduled_at=datetime.now(UTC) + timedelta(hours=1))
        db.session.commit()
    assert desk.send_all() == 0
    with desk.app.app_context():
        assert desk.line("ann@x.test").wait == "schedule"


def test_a_scheduled_mail_waits_for_its_time_also_without_a_server(desk: Desk) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    with desk.app.app_context():
        parameters.put("mail.live", "1", NOW)
        db.session.execute(update(OutgoingServer).values(active=False))
        db.session.commit()
        office.forget()
        draft = OutgoingDraft(kind="test", author="a@mycompany.test", subject="Later", html="<p>x</p>")
        enqueue.enqueue(draft, [To("ann@x.test")], NOW, scheduled_at=at)
        waits.bring_forward(datetime.now(UTC))
        line = desk.line("ann@x.test")
        assert (line.why["code"], line.wait, line.next_try_at) == ("no_server", "schedule", at)
        waiting.free_waiting(datetime.now(UTC))  # there is one again
        db.session.refresh(line)
        assert (line.why, line.wait, line.next_try_at) == (None, "schedule", at)


def test_the_dialogue_is_kept(desk: Desk) -> None:
    desk.mail("ann@x.test")
    desk.send_all()
    with desk.app.app_context():
        attempt = db.session.scalar(select(DeliveryAttempt))
        assert attempt.phase == "end"
        assert "RCPT TO:<ann@x.test>" in attempt.transcript


def test_a_failure_marks_the_document_and_tells_the_author(desk: Desk) -> None:
    desk.postfix.refuse("bad@x.test")
    with desk.app.app_context():
        contact = Contact(name="Clerk", address="clerk@home.test", address_key="clerk@home.test")
        thread = Thread()
        db.session.add_all([contact, thread])
        db.session.flush()
        user = User(contact_id=contact.id, email="clerk@home.test", fs_uniquifier="u")
        type_ = DocumentType(code="x", name="X", plural="Xs", number_pattern="X/{number}")
        db.session.add(type_)
        db.session.flush()
        document = Document(type_id=type_.id, number="X/1", thread_id=thread.id, title="T", created_at=NOW)
        post = Post(thread_id=thread.id, kind="message", author_contact_id=contact.id, message_key="k", at=NOW)
        db.session.add_all([user, document, post])
        db.session.flush()
        draft = OutgoingDraft(kind="post", author="Clerk <clerk@home.test>", subject="S", html="<p>x</p>")
        ready = enqueue.prepare(draft, [To("bad@x.test")], datetime.now(UTC))
        enqueue.enqueue_many([ready.of_post(post.id)], datetime.now(UTC))
        db.session.commit()
    desk.send_all()
    with desk.app.app_context():
        assert db.session.scalar(select(Document.failure_unread)) is True
        told = db.session.execute(
            select(Notification.kind, User.email).join(User, User.id == Notification.user_id)
        ).all()
        assert [tuple(row) for row in told] == [("failure", "clerk@home.test")]


def test_statements_per_line_are_few(desk: Desk) -> None:
    desk.mail("first@x.test")  # what a process asks once is asked
    desk.send_all()
    desk.mail(*(f"p{number}@x.test" for number in range(20)))
    count = 0

    def tick(*_: object) -> None:
        nonlocal count
        count += 1

    with desk.sending() as send_some:
        event.listen(db.engine, "before_cursor_execute", tick)
        send_some()
        event.remove(db.engine, "before_cursor_execute", tick)
    assert count <= 20, "one claim and one record for twenty lines"


def test_no_message_id_twice_for_a_post(desk: Desk) -> None:
    first, second = desk.mail("ann@x.test"), desk.mail("ann@x.test")
    with desk.app.app_context():
        ids = db.session.scalars(select(OutgoingMail.message_id).where(OutgoingMail.id.in_([first, second]))).all()
    assert len(set(ids)) == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_next_lines_are_found_without_sorting_the_queue(app: Flask) -> None:
    with app.app_context():
        asked: list[tuple[str, object]] = []
        event.listen(
            db.engine, "before_cursor_execute", lambda _c, _k, words, values, *_: asked.append((words, values))
        )
        due_servers(NOW)
        claim(1, 1, NOW, 20)
        searching = [(words, values) for words, values in asked if "queued" in words and "next_try_at" in words]
        assert len(searching) == 2
        for words, values in searching:
            plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {words}", values).all()
            assert "ix_outgoing_recipient_due" in str(plan) and "TEMP B-TREE" not in str(plan)
