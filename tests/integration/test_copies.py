"""Moving on a server without MOVE, a real Dovecot: each mail is in the folder once, whenever the worker is killed."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import imapclient
import pytest
from flask import Flask

from mail.errors import MailboxRefused
from mail.incoming import flow
from mail.incoming.flow import FetchResult
from mail.transport import imap_copies
from mail.transport.imap import ImapConnection
from mail.transport.imap_mailbox import ImapMailbox
from mail.transport.mailbox import MailboxTarget, Position
from models import db
from tests.integration.frontdesk import mail
from tests.integration.test_fetch import Fetching
from tests.integration.test_not_now import Office, by_imap, mails, target
from tests.servers.dovecot import Dovecot
from tests.servers.misbehaving import misbehaving
from tests.servers.process import HOST
from tests.servers.scripted import LOST, NOT_NOW, Fault, ScriptedImap, none, refuse

ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what has nothing to do with databases

FOLDER = "Done.Büro 処理"
ON_DISK = "Done.B&APw-ro &UeZ0Bg-"
WITH_UIDPLUS, BARE = (b"IMAP4REV1", b"UIDPLUS"), (b"IMAP4REV1",)

Step = Callable[[ImapConnection], object]


class Killed(BaseException):
    """Stands for the end of the process."""


def die(*_args: object) -> None:
    raise Killed


def copied_and_killed(session: ImapConnection) -> None:
    copy = session.copy
    session.copy = lambda *args: die(copy(*args))


def copied_in_part(session: ImapConnection) -> None:
    copy = session.copy
    session.copy = lambda uids, folder: die(copy(uids[:1], folder))


def killed_before(session: ImapConnection) -> None:
    session.copy = die


class Moving(Fetching):
    """An office that moves what it has fetched, by a server without MOVE."""

    offers = WITH_UIDPLUS

    def run(self, step: Step = lambda session: None) -> FetchResult:
        """Fetch once, with something done to the connection first."""

        def open_mailbox(target: MailboxTarget) -> ImapMailbox:
            box = ImapMailbox(target)
            box.session._cached_capabilities = self.offers
            step(box.session)
            return box

        with self.app.app_context():
            return flow.fetch(self.server_id, self.desk.worker, self.desk.now, open_mailbox)

    def cut_off(self, step: Step = copied_and_killed) -> None:
        with pytest.raises(Killed):
            self.run(step)
        with self.app.app_context():
            db.session.rollback()
            self.desk.worker = self.desk.hire()

    def put(self, *raws: bytes, folder: str = "INBOX") -> None:
        for raw in raws:
            self.dovecot.append(self.user, raw, folder=folder)

    def moved(self) -> Counter[bytes]:
        """Return what is in the folder; nothing may be left in the inbox."""
        assert not self.dovecot.mails(self.user)
        return self.inside()

    def delete_copies(self) -> None:
        """What a person's mail program does: the mails stay until it removes them."""
        with imapclient.IMAPClient(HOST, self.dovecot.port("imap"), ssl=False) as person:
            person.login(self.user, self.dovecot.password)
            person.select_folder(FOLDER)
            person.delete_messages(person.search())

    def inside(self) -> Counter[bytes]:
        return Counter(stored.raw for stored in self.dovecot.mails(self.user, ON_DISK))


@pytest.fixture
def moving(app: Flask, dovecot: Dovecot, mailbox: str) -> Moving:
    office = Moving(app, dovecot, mailbox, "imap")
    office.confirm()
    office.set(after_fetch="move", move_to=FOLDER)
    return office


def letter(number: int, text: str = "Hello") -> bytes:
    sender = f"c{number}@customer.test"
    return mail(sender, subject=f"mail {number}", message_id=f"<{sender}>", text=text)


NAMELESS = [f"From: meter{n}@customer.test\n\n{n}{n}\n".encode() for n in range(3)]  # as long as each other
TWINS = [letter(1), letter(1), letter(2)]


@pytest.mark.parametrize("offers", [WITH_UIDPLUS, BARE])
@pytest.mark.parametrize("step", [copied_and_killed, copied_in_part, killed_before])
@pytest.mark.parametrize(
    "raws", [[letter(1)], [letter(n) for n in range(60)], TWINS, NAMELESS], ids=["one", "many", "twins", "nameless"]
)
def test_a_kill_around_the_copy_leaves_each_mail_once(
    moving: Moving, raws: list[bytes], step: Step, offers: tuple[bytes, ...]
) -> None:
    moving.offers = offers
    moving.put(*raws)
    moving.cut_off(step)
    assert bool(moving.inside()) == (step is not killed_before)
    assert moving.run().remark is None
    assert moving.moved() == Counter(raws)
    moving.put(letter(99))
    moving.run()
    assert moving.moved() == Counter([*raws, letter(99)])


def test_kills_in_a_row_leave_each_mail_once(moving: Moving) -> None:
    moving.put(*TWINS)
    moving.cut_off(killed_before)
    moving.cut_off(copied_and_killed)
    moving.put(letter(3))
    moving.cut_off(copied_and_killed)
    moving.run()
    assert moving.moved() == Counter([*TWINS, letter(3)])


def test_only_the_same_content_is_a_copy(moving: Moving) -> None:
    moving.put(letter(1, "Send 10 of them"))
    moving.run()
    moving.put(letter(1, "Send 99 of them"))
    moving.cut_off(killed_before)
    moving.run()
    assert moving.moved() == Counter([letter(1, "Send 10 of them"), letter(1, "Send 99 of them")])


def test_a_copy_that_a_person_has_deleted_does_not_stand_for_the_mail(moving: Moving) -> None:
    moving.put(letter(1))
    moving.cut_off()
    moving.delete_copies()
    moving.run()
    assert moving.moved() == Counter({letter(1): 2})


def test_the_copies_are_found_above_what_was_in_the_folder(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_copies, "NEWEST", 2)
    moving.put(*(letter(n) for n in range(3)))
    moving.run()
    moving.put(letter(3), letter(4))
    moving.cut_off()
    moving.run()
    assert moving.moved() == Counter(letter(n) for n in range(5))


def test_a_folder_that_only_takes_mails_gets_a_second_copy(moving: Moving) -> None:
    moving.put(letter(1))
    moving.run()
    moving.dovecot.allow(moving.user, "lip", ON_DISK)
    moving.put(letter(2))
    moving.cut_off()
    assert moving.run().remark is None
    assert moving.moved() == Counter({letter(1): 1, letter(2): 2})


def test_mails_stay_where_they_are_when_they_are_to_be_moved_there(moving: Moving) -> None:
    moving.set(move_to="INBOX")
    moving.put(letter(1))
    for _ in range(2):
        assert moving.run().remark["code"] == "mailbox_moved_to_itself"
        assert [stored.raw for stored in moving.dovecot.mails(moving.user)] == [letter(1)]


# --- what only a scripted server does


def lost_after_copy(server: ScriptedImap) -> Fault:
    """Copy, and hang up in place of the OK."""

    def fault(command: str) -> bytes | None:
        if "COPY" in command and server.answer(command, server.mails):
            return LOST
        return None

    return fault


@contextmanager
def copied_unheard(app: Flask) -> Iterator[tuple[ScriptedImap, Office]]:
    """A server whose OK to a copy of three mails got lost."""
    server = ScriptedImap(mails(), offers="IMAP4rev1 UIDPLUS")
    server.fault = lost_after_copy(server)
    with by_imap(app, server, after_fetch="move", move_to="Done") as office:
        assert office.fetch().remark is not None
        assert len(server.done) == 3
        server.heard.clear()
        server.fault = none
        yield server, office


def test_the_folder_is_looked_into_only_after_a_run_that_was_cut_off(app: Flask) -> None:
    with copied_unheard(app) as (server, office):
        office.fetch()
        assert len([line for line in server.heard if line.startswith("EXAMINE")]) == 1
        assert not [line for line in server.heard if "COPY" in line]
        server.heard.clear()
        server.mails |= {number: raw for number, raw in mails(5).items() if number > 3}
        office.fetch()
        assert not [line for line in server.heard if line.startswith("EXAMINE")]
        assert Counter(server.copied) == Counter(range(1, 6))
        assert not server.mails


@pytest.mark.parametrize("reply", [*NOT_NOW, ""])
@pytest.mark.parametrize("step", ["EXAMINE", "MESSAGE-ID", r"BODY.PEEK\[\]", "SELECT"])
@pytest.mark.heavy
@ONE_DATABASE
def test_not_now_while_it_looks_for_copies_makes_no_second_one(app: Flask, step: str, reply: str) -> None:
    with copied_unheard(app) as (server, office):
        refusals = [2 if step == "SELECT" else 1]  # the first SELECT opens the mailbox

        def fault(command: str) -> bytes | None:
            if not re.search(step, command) or not refusals[0]:
                return None
            refusals[0] -= 1
            if step == "SELECT" and refusals[0]:
                return None
            return b"%t " + reply.encode() + b"\r\n" if reply else LOST

        server.fault = fault
        server.mails |= {4: mails(4)[4]}
        result = office.fetch()
        assert not refusals[0]
        assert "illegal" not in str(result.why), "nothing is said once the mailbox is not open any more"
        office.fetch()
        assert Counter(server.copied) == Counter(range(1, 5))
        assert not server.mails
        assert office.states() == Counter(processed=4)


def test_a_list_that_is_refused_while_it_looks_for_copies_makes_no_second_one() -> None:
    """A mailbox that stayed open after a run that was refused: a mail that is only found has no size to compare."""
    server, keys = ScriptedImap(mails(), offers="IMAP4rev1 UIDPLUS"), ["7.1", "7.2", "7.3"]
    with misbehaving(server.talk) as port, ImapMailbox(target(port, server)) as box:
        list(box.batches(Position(again=True)))
        server.answer("UID COPY 1,2,3 Done", server.mails)
        box.perhaps_copied.update(keys)
        server.fault = refuse("SIZE", "NO cannot", times=1)
        with pytest.raises(MailboxRefused):
            box.acknowledge(keys, "move", "Done")
        box.acknowledge(keys, "move", "Done")
    assert Counter(server.copied) == Counter(range(1, 4))
    assert not server.mails


def test_a_folder_that_is_never_opened_gets_a_second_copy(app: Flask) -> None:
    with copied_unheard(app) as (server, office):
        server.fault = refuse("EXAMINE", "NO cannot")
        assert office.fetch().remark is None
        assert Counter(server.copied) == Counter({1: 2, 2: 2, 3: 2})
        assert not server.mails


def test_new_numbers_while_it_looks_for_copies_delete_nothing(app: Flask) -> None:
    with copied_unheard(app) as (server, office):
        opened = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\n* OK [UIDNEXT 4] x\r\n%t OK done\r\n"
        examined = lambda: any(line.startswith("EXAMINE") for line in server.heard)  # noqa: E731
        told = []

        def fault(command: str) -> bytes | None:
            if "STORE" in command:
                told.append(office.states().total())
            return opened if command.startswith("SELECT") and examined() else None

        server.fault = fault
        office.fetch()
        assert told == [6], "deleted only when they were stored under their new numbers"
