"""Faults of a mailbox in the middle of a fetch, with a real Dovecot: no mail is lost, none comes twice."""

import socket
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from mail.errors import ConnectionLost
from mail.incoming import flow
from mail.sentences import say
from mail.transport import imap_mailbox
from mail.transport.imap_mailbox import ImapMailbox
from mail.transport.mailbox import After, FetchedBatch
from models import MailboxState, ReceivedMail, db
from scheduler import open_mailboxes
from tests.integration.frontdesk import mail
from tests.integration.test_fetch import Fetching
from tests.integration.test_idle import Desk, letter
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.heavy
# A mailbox takes 2 KB, whatever is in it already; a server without MOVE copies, and a copy needs room.
QUOTA = """
mail_plugins = acl quota
imap_capability = IMAP4rev1 UIDPLUS
plugin {
  quota = maildir:Everything
  quota_rule = *:bytes=2K
}
"""
ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def fetching(app: Flask, dovecot: Dovecot, mailbox: str) -> Fetching:
    made = Fetching(app, dovecot, mailbox, "imap")
    made.confirm()
    return made


class CutBeforeTheFlag(ImapMailbox):
    """A mailbox whose connection is cut when its mails have come and are to be flagged."""

    def acknowledge(self, keys: Sequence[str], how: After, folder: str = "") -> Collection[str]:
        assert self.line.socket is not None
        self.line.socket.shutdown(socket.SHUT_RDWR)
        return super().acknowledge(keys, how, folder)


@pytest.mark.parametrize(("after", "left"), [("mark_read", 2), ("move", 0), ("delete", 0)])
def test_a_cut_between_the_mail_and_its_flag_is_caught_up(fetching: Fetching, after: str, left: int) -> None:
    fetching.set(after_fetch=after, move_to="Done")
    fetching.arrive("one", "two")
    with fetching.app.app_context():
        cut = flow.fetch(fetching.server_id, fetching.desk.worker, fetching.desk.now, CutBeforeTheFlag)
    assert cut.counts == Counter(processed=2) and cut.remark["code"] == "mailbox_connection_lost"  # type: ignore[index]
    assert [one.seen for one in fetching.dovecot.mails(fetching.user)] == [False, False]
    again = fetching.fetch()
    assert (again.kept, again.why, again.remark) == (0, None, None)
    stored = fetching.dovecot.mails(fetching.user)
    assert len(stored) == left and all(one.seen for one in stored)
    assert sorted(fetching.titles()) == ["one", "two"]


def test_a_full_disk_of_ours_leaves_the_mails_where_they_are(fetching: Fetching) -> None:
    fetching.arrive("one", "two")

    def no_room(*arguments: object) -> None:
        if "INSERT INTO received_mail" in str(arguments[2]):
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    with fetching.app.app_context():
        engine = db.engine
        event.listen(engine, "before_cursor_execute", no_room)
        try:
            with pytest.raises(OperationalError):
                flow.fetch(fetching.server_id, fetching.desk.worker, fetching.desk.now)
        finally:
            event.remove(engine, "before_cursor_execute", no_room)
            db.session.rollback()
    assert not any(one.seen for one in fetching.dovecot.mails(fetching.user))
    assert fetching.fetch().counts == Counter(processed=2)
    assert fetching.fetch().listed == 0


@ONE_DATABASE
def test_a_mailbox_over_its_quota_is_fetched_and_tidied_once_there_is_room(app: Flask, authority: Authority) -> None:
    server = Dovecot(authority, settings=QUOTA)
    try:
        fetching = Fetching(app, server, server.add_mailbox("full@office.test"), "imap")
        fetching.confirm()
        fetching.set(after_fetch="move", move_to="Done")
        server.append(fetching.user, mail("big@customer.test", subject="big", text="x" * 3000))
        full = fetching.fetch()
        assert (full.kept, full.why, fetching.titles()) == (1, None, ["big"])
        assert full.remark is not None
        assert "could not be moved to the folder “Done”: “[OVERQUOTA] Quota exceeded" in say(full.remark)
        assert len(server.mails(fetching.user)) == 1
        configuration = server.folder / "dovecot.conf"
        configuration.write_text(configuration.read_text().replace("bytes=2K", "bytes=2M"))
        server.kill()
        server.start()
        room = fetching.fetch()
        assert (room.kept, room.why, room.remark) == (0, None, None)
        assert (len(server.mails(fetching.user)), len(server.mails(fetching.user, "Done"))) == (0, 1)
    finally:
        server.close()


@pytest.mark.parametrize("change", ["numbers", "more numbers", "uidvalidity"])
def test_new_numbers_hide_no_mail_and_bring_nothing_old_even_if_the_first_run_is_cut(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """RFC 3501 forbids it, servers that were restored do it: the same UIDVALIDITY, and the numbers from one on."""
    fetching.set(confirmed_at=datetime.now(UTC))
    later = max(datetime.now(UTC), fetching.desk.now) + timedelta(seconds=5)

    def arrive(subject: str, when: datetime = later) -> None:
        raw = mail(f"{subject}@customer.test", subject=subject, message_id=f"<{subject}@customer.test>")
        fetching.dovecot.append(fetching.user, raw, arrived=when)

    def run_that_is_cut(numbers: int) -> None:
        """Bring no more than the mails of so many numbers."""
        take, taken = flow._Run.take, list[FetchedBatch]()

        def once(run: flow._Run, batch: FetchedBatch) -> None:
            if len(taken) == numbers:
                raise ConnectionLost(host="imap.test")
            taken.append(batch)
            take(run, batch)

        with monkeypatch.context() as patch:
            patch.setattr(imap_mailbox, "WINDOW", 1)
            patch.setattr(flow._Run, "take", once)
            assert fetching.fetch().why is not None

    for subject in ("one", "two", "three"):
        arrive(subject)
    assert fetching.fetch().counts == Counter(processed=3)
    with fetching.app.app_context():
        uidvalidity = db.session.scalars(select(MailboxState.uidvalidity)).one()
    fetching.dovecot.remove_mailbox(fetching.user)
    fetching.dovecot.add_mailbox(fetching.user)
    long_ago = later - timedelta(days=400)
    arrive("four")
    arrive("before-us", long_ago)
    if change == "more numbers":  # than we had fetched before: the next one is above ours
        for subject in ("six", "seven"):
            arrive(subject)
    if change != "uidvalidity":
        fetching.dovecot.count_anew(fetching.user, uidvalidity)
        run_that_is_cut(0)
    else:
        arrive("before-us-too", long_ago)
        fetching.dovecot.count_anew(fetching.user, uidvalidity + 1)
        run_that_is_cut(1)
    fetching.fetch()
    arrive("five")
    arrive("moved-here", long_ago)
    assert fetching.fetch().counts == Counter(processed=2)
    assert fetching.fetch().listed == 0
    more = ["seven", "six"] if change == "more numbers" else []
    assert sorted(fetching.titles()) == sorted(["five", "four", "moved-here", "one", "three", "two", *more])


@ONE_DATABASE
def test_a_password_that_is_changed_while_it_waits(
    app: Flask, dovecot: Dovecot, mailbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_mailboxes, "RECONNECT_AFTER", (0.1,))
    desk = Desk(app)
    server_id = desk.add(dovecot.port("imap"), mailbox, dovecot.password)
    desk.until(lambda: desk.waits(server_id))
    dovecot.set_password(mailbox, "another one")
    dovecot.kill()
    desk.until(lambda: not len(desk.mailboxes))
    dovecot.append(mailbox, letter(1))
    dovecot.start()
    desk.until(lambda: (desk.row(server_id).why or {}).get("code") == "mailbox_login_refused")
    desk.rest()
    desk.look()
    assert not desk.mailboxes.due(), "more tries would only lock the account"
    desk.set(server_id, password="another one")
    desk.until(lambda: desk.waits(server_id))
    assert desk.arrived() == 1 and desk.row(server_id).why is None
    desk.idler.close()
    desk.rest()


@ONE_DATABASE
def test_a_mailbox_that_is_made_anew_while_it_waits(app: Flask, dovecot: Dovecot, mailbox: str) -> None:
    desk = Desk(app)
    dovecot.append(mailbox, letter(1))
    server_id = desk.add(dovecot.port("imap"), mailbox, dovecot.password)
    desk.until(lambda: desk.waits(server_id) and desk.arrived() == 1)
    dovecot.remove_mailbox(mailbox)
    dovecot.add_mailbox(mailbox)
    dovecot.append(mailbox, letter(2))
    desk.rest()
    wait_until(lambda: desk.fetcher.start(server_id).result(60).why is None or None)
    desk.until(lambda: desk.arrived() == 2)
    with app.app_context():
        assert len(db.session.scalars(select(ReceivedMail)).all()) == 2
    desk.idler.close()
    desk.rest()
