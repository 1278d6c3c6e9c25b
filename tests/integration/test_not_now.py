"""Servers that refuse a step of a fetch: nothing counts as fetched that is not stored, and all of it comes later."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import update

from mail import errors
from mail.incoming import by_hand, flow, intake, quarantine, server_rules
from mail.incoming.flow import FetchResult
from mail.sentences import say
from mail.transport import mailbox
from mail.transport.mailbox import FetchedBatch, MailboxTarget, Position
from mail.transport.mailbox_open import open_mailbox, test_steps
from models import IncomingServer, ReceivedMail, db
from tests.integration.frontdesk import NOW, FrontDesk, mail
from tests.servers.misbehaving import misbehaving, says
from tests.servers.process import HOST
from tests.servers.scripted import LOST, NOT_NOW, Fault, ScriptedImap, ScriptedPop3, none, refuse

ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what has nothing to do with databases

Server = ScriptedImap | ScriptedPop3


def mails(count: int = 3) -> dict[int, bytes]:
    return {
        n: mail(f"c{n}@customer.test", subject=f"mail {n}", message_id=f"<{n}@customer.test>").replace(b"\n", b"\r\n")
        for n in range(1, count + 1)
    }


def target(port: int, server: Server, **changes: object) -> MailboxTarget:
    kind = "imap" if isinstance(server, ScriptedImap) else "pop3"
    made = MailboxTarget("Odd", kind, HOST, port, "none", "u", "p", timeout_read=5, allow_local=True)
    return replace(made, **changes)  # type: ignore[arg-type]


def fetched(server: Server, again: bool = False) -> tuple[list[FetchedBatch], errors.MailError | None]:
    """Return what one run brings, and why it ended before its time."""
    batches: list[FetchedBatch] = []
    with misbehaving(server.talk) as port:
        try:
            with open_mailbox(target(port, server)) as box:
                for batch in box.batches(Position(again=again)):
                    batches.append(batch)
        except errors.MailError as error:
            return batches, error
    return batches, None


def brought(batches: list[FetchedBatch]) -> dict[str, bool]:
    """Return the keys of mails, and whether their content is here."""
    return {mail.source_key: mail.problem is None for batch in batches for mail in batch.mails}


# --- "not now" at every step

STEPS = [r"^LOGIN", r"^SELECT", r"RFC822\.SIZE", r"BODY\.PEEK"]


@pytest.mark.heavy
@pytest.mark.parametrize("reply", NOT_NOW)
@pytest.mark.parametrize("step", STEPS)
def test_an_imap_server_that_refuses_ends_the_run_and_brings_nothing(step: str, reply: str) -> None:
    server = ScriptedImap(mails(), refuse(step, reply))
    batches, error = fetched(server)
    assert brought(batches) == {}
    assert error is not None
    words = reply.partition(" ")[2]
    assert words in say(error.why), "the server's own words"
    server.fault = refuse("nothing", "")
    assert list(brought(fetched(server)[0]).values()) == [True] * 3, "and the next run asks again"


POP3_NOT_NOW = [
    "-ERR [SYS/TEMP] Backend is down", "-ERR [IN-USE] Locked", "-ERR [LOGIN-DELAY] Wait", "-ERR [sys/temp] x",
    "-ERR Too many requests", "-ERR try again later", "-ERR temporarily unavailable", "-ERR cannot", "-ERR",
]  # fmt: skip


@pytest.mark.parametrize("reply", POP3_NOT_NOW)
@pytest.mark.parametrize("step", ["^PASS", "^UIDL", "^LIST", "^RETR"])
def test_a_pop3_server_that_refuses_ends_the_run_and_brings_nothing(step: str, reply: str) -> None:
    server = ScriptedPop3(mails(), refuse(step, reply))
    batches, error = fetched(server)
    assert brought(batches) == {}
    assert error is not None
    assert reply.removeprefix("-ERR").strip() in say(error.why)
    server.fault = refuse("nothing", "")
    assert list(brought(fetched(server)[0]).values()) == [True] * 3


@pytest.mark.parametrize("reply", ["NO [CORRUPTION] damaged", "NO [NONEXISTENT] x", "NO [CANNOT] x", "NO [NOPERM] x"])
def test_a_mail_that_never_comes_is_set_aside_at_once(reply: str) -> None:
    batches, error = fetched(ScriptedImap(mails(), refuse(r"FETCH (\d,)*2(,\d)* .UID BODY", reply)))
    assert (brought(batches), error) == ({"7.1": True, "7.2": False, "7.3": True}, None)
    for answer in ("-ERR [SYS/PERM] damaged", "+OK\r\n."):
        batches, error = fetched(
            ScriptedPop3(mails(), lambda said, answer=answer: f"{answer}\r\n".encode() if said == "RETR 2" else None)
        )
        assert (brought(batches), error) == ({"id1": True, "id2": False, "id3": True}, None)


@pytest.mark.parametrize(
    ("refused", "brings", "ends"),
    [
        ({2}, {1: True, 2: False, 3: True, 4: True, 5: True, 6: True}, False),
        ({1, 2}, {1: False, 2: False, 3: True, 4: True, 5: True, 6: True}, False),
        ({6}, {1: True, 2: True, 3: True, 4: True, 5: True, 6: False}, False),  # no code, the second time
        ({4, 5, 6}, {1: True, 2: True, 3: True}, True),  # it is the server, not the mails
        ({1, 2, 3, 4, 5, 6}, {}, True),
        ({1, 3, 5}, {1: False, 2: True, 3: False, 4: True, 5: False, 6: True}, False),
    ],
)
def test_the_second_time_mails_are_asked_for_one_by_one(refused: set[int], brings: dict[int, bool], ends: bool) -> None:
    numbers = "|".join(map(str, refused))
    batches, error = fetched(
        ScriptedImap(mails(6), refuse(rf"FETCH ([\d,]+,)?({numbers})(,[\d,]+)? .UID BODY", "NO x")), True
    )
    assert brought(batches) == {f"7.{n}": whole for n, whole in brings.items()}
    assert (error is not None) == ends
    batches, error = fetched(ScriptedPop3(mails(6), refuse(rf"RETR ({numbers})$", "-ERR x")), True)
    assert brought(batches) == {f"id{n}": whole for n, whole in brings.items()}
    assert (error is not None) == ends


@pytest.mark.parametrize("skipped", [{1}, {2}, {3}, {1, 2, 3}])
def test_a_mail_that_its_server_leaves_out_of_its_lists_comes_too(skipped: set[int]) -> None:
    assert brought(fetched(ScriptedImap(mails(), skipped=skipped))[0]) == dict.fromkeys(("7.1", "7.2", "7.3"), True)
    batches, error = fetched(ScriptedImap(mails(), skipped=skipped, hidden={2}))
    assert (brought(batches), error) == ({"7.1": True, "7.2": False, "7.3": True}, None)
    refuses = ScriptedImap(mails(), refuse("^UID SEARCH", "BAD unknown"))
    assert list(brought(fetched(refuses)[0]).values()) == [True] * 3, "a server that can't search"
    empty = b'* 2 FETCH (UID 2 BODY[] "")\r\n%t OK done\r\n'
    nothing = ScriptedImap(mails(), lambda said: empty if said.startswith("UID FETCH 2 (UID BODY") else None, {2})
    nothing.skipped = {2}
    assert brought(fetched(nothing)[0]) == {"7.1": True, "7.2": False, "7.3": True}, "no empty mail to be deleted"


def test_a_mail_that_spoils_the_list_does_not_stop_the_others() -> None:
    spoilt = r"FETCH (1:3|([\d,]+,)?2(,[\d,]+)?) .UID (RFC822|BODY)"
    server = ScriptedImap(mails(), refuse(spoilt, "NO The requested message could not be converted"))
    assert brought(fetched(server)[0]) == {}
    batches, error = fetched(server, again=True)
    assert (brought(batches), error) == ({"7.1": True, "7.2": False, "7.3": True}, None)
    server.fault = refuse(spoilt + "|SEARCH", "NO cannot")
    batches, error = fetched(server, again=True)
    assert (batches, error is None) == ([], False), "the position stays where nothing can be known"


# --- the same from the mailbox to the ledger


class Office:
    """An office that fetches a scripted mailbox."""

    def __init__(self, app: Flask, server: Server, port: int, **values: object) -> None:
        self.app, self.desk, self.server = app, FrontDesk(app), server
        with app.app_context():
            kind = "imap" if isinstance(server, ScriptedImap) else "pop3"
            row = IncomingServer(name="Odd", kind=kind, host=HOST, port=port, encryption="none", user="u", password="p",
                                 fetch_existing=True, state="confirmed", confirmed_at=NOW, **values)  # fmt: skip
            db.session.add(row)
            db.session.commit()
            self.id = row.id

    def fetch(self) -> FetchResult:
        """One run; what was listed is in the ledger or gone from the mailbox, whatever happened."""
        self.desk.later(minutes=5)
        with self.app.app_context():
            result = flow.fetch(self.id, self.desk.worker, self.desk.now)
        assert result.listed == result.kept + result.known + result.gone
        return result

    def states(self) -> Counter[str]:
        return self.desk.states()


@pytest.fixture(params=["imap", "pop3"])
def office(request: pytest.FixtureRequest, app: Flask) -> Iterator[Office]:
    server: Server = ScriptedImap(mails()) if request.param == "imap" else ScriptedPop3(mails())
    with misbehaving(server.talk) as port:
        yield Office(app, server, port)


@contextmanager
def by_imap(app: Flask, server: ScriptedImap, **values: object) -> Iterator[Office]:
    with misbehaving(server.talk) as port:
        yield Office(app, server, port, **values)


def test_not_now_leaves_everything_at_its_server(office: Office) -> None:
    later = "NO [LIMIT] later" if isinstance(office.server, ScriptedImap) else "-ERR [SYS/TEMP] later"
    office.server.fault = refuse("BODY|RETR", later)
    for _ in range(4):
        result = office.fetch()
        assert result.why is not None
        assert result.why["code"] == "mailbox_later"
        assert office.states() == Counter()
    assert not [line for line in office.server.heard if "STORE" in line or "DELE" in line]
    office.server.fault = refuse("nothing", "")
    assert office.fetch().counts == Counter(processed=3)
    with office.app.app_context():
        row = db.session.get(IncomingServer, office.id)
        assert row is not None
        assert row.why is None


def test_what_is_listed_and_not_given_is_a_row_and_comes_later(app: Flask) -> None:
    server = ScriptedImap(mails(), hidden={2})
    with by_imap(app, server) as office:
        result = office.fetch()
        assert (result.listed, result.kept, result.why) == (3, 3, None)
        assert office.states() == Counter(processed=2, quarantined=1)
        (row,) = [row for row in office.desk.ledger() if row.state == "quarantined"]
        assert (row.source_key, row.decision) == ("7.2", [{"code": "mailbox_mail_missing", "values": {}}])
        office.fetch()
        assert office.states() == Counter(processed=2, quarantined=1)
        server.hidden = set()
        assert office.fetch().counts == Counter(processed=1)
        assert [document.title for document in office.desk.documents()] == ["mail 1", "mail 3", "mail 2"]
        assert office.fetch().listed == 0


def test_retry_fetches_a_mail_anew(app: Flask) -> None:
    server = ScriptedImap(mails(), refuse("FETCH 2 .UID BODY|FETCH 1,2,3 .UID BODY", "NO [CORRUPTION] damaged"))
    with by_imap(app, server) as office:
        office.fetch()
        assert office.states() == Counter(processed=2, quarantined=1)
        (row,) = [row for row in office.desk.ledger() if row.state == "quarantined"]
        with app.app_context():
            db.session.query(ReceivedMail).filter_by(id=row.id).update({"attempts": intake.MOST_ASKED - 2})
            db.session.commit()
        said = ["mailbox_mail_unreadable", "mailbox_mail_no_longer_asked"]
        for ends in (said[:1], said):
            office.fetch()
            assert [step["code"] for step in office.desk.ledger([row.id])[0].decision or []] == ends
        server.fault = refuse("nothing", "")
        office.fetch()
        assert office.states()["quarantined"] == 1, "after so many times only a person asks again"
        with app.app_context():
            task = by_hand.to_type(office.desk.types["task"])
            assert quarantine.decide(row.id, task, NOW) == "quarantined", "there is nothing to file yet"
            assert quarantine.decide_later(row.id, task, NOW) == "quarantined"
            assert quarantine.retry(row.id, NOW) == quarantine.ASKED
        assert office.fetch().counts == Counter(processed=1)
        assert office.states() == Counter(processed=3)


def test_retry_says_that_a_mail_was_left_behind_in_another_mailbox(app: Flask) -> None:
    with by_imap(app, ScriptedImap(mails(), hidden={2})) as office:
        office.fetch()
        (row,) = [row for row in office.desk.ledger() if row.state == "quarantined"]
        with app.app_context():
            server = db.session.get_one(IncomingServer, office.id)
            server.user = "somebody.else"
            assert "another_mailbox" in server_rules.check(server, password_given=True)
            db.session.commit()
            said = db.session.get_one(ReceivedMail, row.id, populate_existing=True).decision or []
            assert [step["code"] for step in said] == ["mailbox_mail_left_behind"], "nobody asks for it any more"
            for retry in (quarantine.retry, quarantine.retry, quarantine.retry_later):
                assert retry(row.id, NOW) in ("quarantined", "received")
                flow.process_waiting(NOW, office.desk.worker)
                after = db.session.get_one(ReceivedMail, row.id, populate_existing=True)
                assert after.state == "quarantined"
                assert "mailbox_mail_left_behind" in [step["code"] for step in after.decision or []]


def test_what_is_deleted_between_search_and_fetch_is_gone_and_no_row(app: Flask) -> None:
    server = ScriptedImap(mails())

    def fault(command: str) -> None:
        if "BODY" in command:
            server.mails.pop(2, None)

    server.fault = fault
    with by_imap(app, server) as office:
        result = office.fetch()
        assert (result.listed, result.kept, result.gone) == (3, 2, 1)
        assert office.states() == Counter(processed=2)


def test_a_mail_that_did_not_come_and_is_gone_now_is_said_to_be_gone(app: Flask) -> None:
    server = ScriptedImap(mails(), hidden={2})
    with by_imap(app, server) as office:
        office.fetch()
        del server.mails[2]
        assert office.fetch().gone == 1
        assert office.states() == Counter(processed=2, ignored=1)
        assert office.desk.ledger()[1].decision == [{"code": "mailbox_mail_gone", "values": {}}]


@pytest.mark.parametrize(("column", "value"), [("folder", "Orders"), ("user", "another")])
def test_a_mailbox_that_is_chosen_while_another_one_is_fetched_is_read_from_its_beginning(
    app: Flask, column: str, value: str
) -> None:
    server = ScriptedImap(mails())
    with by_imap(app, server) as office:

        def change(command: str) -> None:
            if "BODY" in command:
                server.fault = none
                with app.app_context():
                    row = db.session.get_one(IncomingServer, office.id)
                    setattr(row, column, value)
                    server_rules.check(row, password_given=False)
                    db.session.commit()

        server.fault = change
        assert office.fetch().kept == 3
        with app.app_context():
            assert db.session.get_one(IncomingServer, office.id).state == "draft"
            db.session.execute(update(IncomingServer).values(state="confirmed", confirmed_at=NOW))
            db.session.commit()
        assert office.fetch().kept == 3
        assert office.fetch().listed == 0


@pytest.mark.heavy
@pytest.mark.parametrize("after_fetch", ["mark_read", "move", "delete"])
@pytest.mark.parametrize("reply", ["NO [OVERQUOTA] full", "NO [NOPERM] no right", "NO no", "BAD no", "NO [LIMIT] wait"])
@ONE_DATABASE
def test_a_server_that_cannot_mark_move_or_delete_stops_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch, after_fetch: str, reply: str
) -> None:
    monkeypatch.setattr(mailbox, "BATCH_MAILS", 5)
    monkeypatch.setattr(intake, "ASKED_AT_ONCE", 5)
    server = ScriptedImap(mails(12), refuse("STORE|MOVE|CREATE", reply))
    with by_imap(app, server, after_fetch=after_fetch, move_to="Done") as office:
        result = office.fetch()
        assert (result.kept, result.why) == (12, None)
        assert result.remark is not None
        assert reply.partition(" ")[2] in say(result.remark)
        told = len([line for line in server.heard if "STORE" in line or "MOVE" in line or "CREATE" in line])
        assert told <= 2, "tried once a run"
        assert office.fetch().kept == 0, "what is stored counts as read"
        server.fault = refuse("nothing", "")
        result = office.fetch()
        assert (result.kept, result.remark) == (0, None)
        caught_up = [line for line in server.heard if "STORE" in line or "UID MOVE" in line][-1]
        assert re.search(r"\b12\b", caught_up)
        server.heard.clear()
        office.fetch()
        assert not [line for line in server.heard if "STORE" in line or "MOVE" in line], "once is enough"


@pytest.mark.heavy
@pytest.mark.parametrize("offers", ["IMAP4rev1", "IMAP4rev1 UIDPLUS"])
@pytest.mark.parametrize(
    "fault",
    [
        refuse("STORE", "NO [NOPERM] no right"),
        refuse("EXPUNGE", "NO [NOPERM] no right"),
        refuse("EXPUNGE", "BAD no"),
        refuse("STORE", "NO [LIMIT] wait"),
        lambda command: LOST if "STORE" in command else None,
        lambda command: LOST if "EXPUNGE" in command else None,
    ],
)
def test_a_mail_that_is_copied_and_cannot_be_deleted_is_not_copied_again(app: Flask, fault: Fault, offers: str) -> None:
    server = ScriptedImap(mails(), fault, offers=offers)
    with by_imap(app, server, after_fetch="move", move_to="Done") as office:
        for _ in range(3):
            assert office.fetch().remark is not None
        server.mails |= {number: raw for number, raw in mails(5).items() if number > 3}
        office.fetch()
        server.fault = none
        office.fetch()
        assert Counter(server.copied) == Counter(range(1, 6))
        assert not server.mails
        assert office.states() == Counter(processed=5)
        server.heard.clear()
        office.fetch()
        assert not [line for line in server.heard if "STORE" in line or "COPY" in line]


@pytest.mark.parametrize(
    ("marks", "after_fetch", "said"),
    [
        (r"\Seen", "move", "mailbox_no_delete"),
        (r"\Seen", "delete", "mailbox_no_delete"),
        (r"\Deleted \*", "mark_read", "mailbox_no_mark"),
        ("", "mark_read", "mailbox_no_mark"),
        (r"\seen \DELETED", "mark_read", None),
        (r"\seen \DELETED", "move", None),
    ],
)
def test_a_mark_that_its_server_would_forget_is_not_taken_for_done(
    app: Flask, marks: str, after_fetch: str, said: str | None
) -> None:
    server = ScriptedImap(mails(), offers="IMAP4rev1 UIDPLUS")
    opened = f"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n* OK [PERMANENTFLAGS ({marks})] x\r\n"
    server.fault = lambda command: opened.encode() + b"%t OK done\r\n" if command.startswith("SELECT") else None
    with by_imap(app, server, after_fetch=after_fetch, move_to="Done") as office:
        result = office.fetch()
        assert (result.kept, result.why) == (3, None)
        assert (result.remark and result.remark["code"]) == said
        assert bool(server.seen or server.copied or server.deleted) == (said is None)


def test_what_was_copied_is_only_deleted_by_a_server_that_has_learned_to_move(app: Flask) -> None:
    server = ScriptedImap(mails(), refuse("STORE", "NO no right"), offers="IMAP4rev1 UIDPLUS")
    with by_imap(app, server, after_fetch="move", move_to="Done") as office:
        office.fetch()
        server.fault, server.offers = none, "IMAP4rev1 UIDPLUS MOVE"
        office.fetch()
        assert Counter(server.copied) == Counter(range(1, 4))
        assert not server.mails


# --- what else a server may ask for or be


def test_the_server_is_told_who_we_are_before_a_folder_is_opened() -> None:
    server = ScriptedImap(mails(), offers="IMAP4rev1 ID")
    fetched(server)
    names = [line.split()[0] for line in server.heard]
    assert names.index("LOGIN") < names.index("ID") < names.index("SELECT")
    assert '"CoquiMail"' in next(line for line in server.heard if line.startswith("ID"))
    server.fault = refuse("^ID", "NO never heard of it")
    assert len(brought(fetched(server)[0])) == 3


@pytest.mark.parametrize(
    ("folders", "code"),
    [
        (("INBOX", "Sent"), "mailbox_folder_refused"),
        (("INBOX",), "mailbox_folder_refused"),
        (("Sent",), "mailbox_folder_refused"),  # INBOX is always there
    ],
)
def test_a_refused_folder_is_shown_with_the_words_of_the_server(folders: tuple[str, ...], code: str) -> None:
    reply = "NO SELECT Unsafe Login. Please contact kefu@188.com for help"
    _, error = fetched(ScriptedImap(mails(), refuse("^SELECT", reply), folders=folders))
    assert error is not None
    assert error.why["code"] == code
    assert "kefu@188.com" in say(error.why)


@pytest.mark.parametrize("kind", ["imap", "pop3"])
@pytest.mark.parametrize(
    "banner",
    [
        b"SSH-2.0-secret\r\n", b"HTTP/1.1 400 secret\r\n\r\n", b"secret\r\n", b"\x00\xffsecret\r\n", b"* secret\r\n",
        b"+secret\r\n", b"-secret\r\n", b"$5\r\nsecret\r\n", b"{\"secret\": 1}\r\n", b"secret",
    ],
)  # fmt: skip
def test_what_a_foreign_service_says_is_not_repeated(kind: str, banner: bytes) -> None:
    with misbehaving(says(banner)) as port:
        odd = MailboxTarget("Odd", kind, HOST, port, "none", "u", "p", timeout_connect=1, timeout_read=1,  # type: ignore[arg-type]
                            allow_local=True)  # fmt: skip
        steps = list(test_steps(odd))
    assert "secret" not in str([step.as_json() for step in steps])
    assert [step.name for step in steps if step.state == "failed"] == ["greeting"]


def test_only_a_dot_between_two_ends_of_line_ends_a_mail() -> None:
    raw = b"Subject: dots\r\n\r\none\n.\ntwo\n.\r\nthree\r\n.four\r\n"
    batches, error = fetched(ScriptedPop3({1: raw}))
    assert error is None
    assert [mail.raw for batch in batches for mail in batch.mails] == [raw]


def test_a_mailbox_that_can_only_be_read_is_fetched_all_the_same(app: Flask) -> None:
    opened = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 4] ok\r\n%t OK [READ-ONLY] done\r\n"
    server = ScriptedImap(mails(), lambda command: opened if command.startswith("SELECT") else None)
    with by_imap(app, server) as office:
        result = office.fetch()
        assert (result.kept, result.why) == (3, None)
        assert result.remark is not None
        assert result.remark["code"] == "mailbox_read_only"
        assert office.fetch().kept == 0
        with app.app_context():
            row = db.session.get(IncomingServer, office.id)
            assert row is not None
            assert row.why == result.remark
            assert row.last_success_at == office.desk.now
        assert not [line for line in server.heard if "STORE" in line]


@pytest.mark.parametrize(
    ("prefix", "separator", "typed", "there", "used", "made"),
    [
        ("INBOX.", ".", "Processed", (), "INBOX.Processed", True),
        ("INBOX.", ".", "Processed", ("INBOX.Processed",), "INBOX.Processed", False),
        ("INBOX.", ".", "INBOX.Processed", (), "INBOX.Processed", True),
        ("INBOX.", ".", "inbox.Processed", (), "inbox.Processed", True),
        ("INBOX.", ".", "Done/2026", (), "INBOX.Done.2026", True),
        ("INBOX/", "/", "Processed", (), "INBOX/Processed", True),
        ("INBOX/", "/", "Done/2026", (), "INBOX/Done/2026", True),
        ("INBOX/", "/", "Processed", ("Processed",), "Processed", False),
        ("", "/", "Processed", (), "Processed", True),
        ("", "/", "Processed", ("INBOX/Processed",), "INBOX/Processed", False),
        ("", ".", "Done/2026", (), "Done.2026", True),
        ("", ".", "Done.2026", ("Done.2026",), "Done.2026", False),
        ("", "/", "Erledigt für Büro", (), "Erledigt f&APw-r B&APw-ro", True),
        ("INBOX.", ".", "処理済み", (), "INBOX.&UeZ0Bm4IMH8-", True),
        ("", "/", "My archive", (), "My archive", True),
    ],
)
def test_the_folder_for_fetched_mails_is_found_or_made_below_the_namespace(
    prefix: str, separator: str, typed: str, there: tuple[str, ...], used: str, made: bool
) -> None:
    server = ScriptedImap(mails(), offers="IMAP4rev1 NAMESPACE MOVE")

    def fault(command: str) -> bytes | None:
        name = command.rpartition('"')[0].rpartition('"')[2]
        if command == "NAMESPACE":
            return f'* NAMESPACE (("{prefix}" "{separator}")) NIL NIL\r\n%t OK done\r\n'.encode()
        if command.startswith("LIST"):
            return (f'* LIST () "{separator}" "{name}"\r\n' if name in there else "").encode() + b"%t OK done\r\n"
        if command.startswith("CREATE") and prefix and not name.upper().startswith(prefix):
            return b"%t NO Invalid mailbox name\r\n"
        return None

    server.fault = fault
    with misbehaving(server.talk) as port, open_mailbox(target(port, server)) as box:
        box.acknowledge(["7.1"], "move", typed)
    assert server.heard[-1] == "LOGOUT"
    assert next(line for line in server.heard if "UID MOVE" in line).endswith(f'"{used}"')
    assert any(line.startswith("CREATE") for line in server.heard) == made


@pytest.mark.parametrize(
    ("read", "typed"),
    [("INBOX", "inbox"), ("INBOX.Done", "Done"), ("INBOX.Done", "INBOX/Done"), ("INBOX.処理", "処理")],
)
def test_mails_are_not_moved_into_the_folder_that_is_read(read: str, typed: str) -> None:
    server = ScriptedImap(mails(), offers="IMAP4rev1 NAMESPACE MOVE")

    def fault(command: str) -> bytes | None:
        if command == "NAMESPACE":
            return b'* NAMESPACE (("INBOX." ".")) NIL NIL\r\n%t OK done\r\n'
        return b"%t OK done\r\n" if command.startswith("LIST") else None

    server.fault = fault
    with (
        misbehaving(server.talk) as port,
        open_mailbox(replace(target(port, server), folder=read)) as box,
        pytest.raises(errors.FolderMovedToItself),
    ):
        box.acknowledge(["7.1"], "move", typed)
    assert not any(line.startswith(("UID MOVE", "CREATE")) for line in server.heard)
