"""Long work leaves room for short work: who waits for SQLite's write lock is seen, and comes next."""

import itertools
import threading
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import func, select

from mail.documents.threads import thread_views
from mail.incoming import intake, lookup, put_off
from mail.incoming.known_ids import KnownIds, known_ids
from mail.mailing import blacklist, chunks, mailing
from mail.outgoing import delivery_state, failures
from mail.queue.lease import WorkerLease
from models import Blob, IncomingServer, Mailing, ReceivedMail, SystemParameter, Trace, db, slices, sqlite
from models.slices import GAP, TURN, SliceSize, by_hundreds
from models.store import pack
from scheduler.sending import MassSenders
from tests.integration.mass import add_contacts, draft, prepare
from tests.waiting import wait_until

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def write(app, key, patient):
    with app.app_context(), sqlite.patiently() if patient else nullcontext():
        db.session.add(SystemParameter(key=key, value="1"))
        db.session.commit()


def patience_of(place, name, monkeypatch):
    """Note with each call of a function whether it is made patiently."""
    noted, function = [], getattr(place, name)

    def note(*given, **named):
        noted.append(sqlite._patient.get())
        return function(*given, **named)

    monkeypatch.setattr(place, name, note)
    return noted


@only_sqlite
def test_who_waits_is_seen_until_it_had_its_turn(app):
    with app.app_context():
        for patient in (False, True):
            assert not sqlite.someone_waits(db.engine, patient)
            db.session.connection()  # the write lock is ours
            waiter = threading.Thread(target=write, args=(app, f"waited{patient}", patient))
            waiter.start()
            wait_until(lambda patient=patient: sqlite.someone_waits(db.engine, patient))
            assert not sqlite.someone_waits(db.engine, not patient)
            db.session.rollback()
            waiter.join()
            assert not sqlite.someone_waits(db.engine, patient)
            written = select(SystemParameter.value).where(SystemParameter.key == f"waited{patient}")
            assert db.session.scalar(written) == "1"
            db.session.rollback()


def test_what_names_a_row_that_is_to_be_deleted_is_cut_from_it_in_short_transactions(app, monkeypatch):
    monkeypatch.setattr(slices, "_cutting", SliceSize(2, least=2, most=2))
    with app.app_context():
        gone, other = IncomingServer(name="gone", host="a.test"), IncomingServer(name="other", host="b.test")
        db.session.add_all((gone, other))
        db.session.flush()
        same = {"source": "x", "size": 1, "received_at": NOW}
        rows = [ReceivedMail(source_key=str(n), incoming_server_id=gone.id, **same) for n in range(5)]
        db.session.add_all((*rows, ReceivedMail(source_key="other", incoming_server_id=other.id, **same)))
        db.session.commit()
        gaps = []
        monkeypatch.setattr(slices, "give_way", gaps.append)
        slices.cut_from(ReceivedMail.incoming_server_id, gone.id)
        assert len(gaps) == 3
        assert db.session.scalars(select(ReceivedMail.source_key).where(ReceivedMail.incoming_server_id > 0)).all() == [
            "other"
        ]


@only_sqlite
@pytest.mark.parametrize(
    ("hurried", "patient", "turns", "least", "most"),
    [
        ([False], [False], 0, 0, 0),
        ([True], [False], 5, 0, 0),
        ([False], [True, False], 0, 5, 5),
        ([True, False], [True, False], 3, 5, 5),
        ([True], [True], 5, 5, 10**6),
    ],
)
def test_a_mailing_that_is_queued_makes_a_gap_after_each_slice_while_somebody_waits(
    app, monkeypatch, hurried, patient, turns, least, most
):
    gaps, answers = [], {False: itertools.cycle(hurried), True: itertools.cycle(patient)}
    begun = patience_of(sqlite, "begin_writing", monkeypatch)
    monkeypatch.setattr("models.slices.time.sleep", gaps.append)
    monkeypatch.setattr(sqlite, "someone_waits", lambda _engine, patient: next(answers[patient]))
    monkeypatch.setattr(mailing, "_preparing", SliceSize(100, least=100, most=100))
    with app.app_context():
        number = draft(add_contacts(450))
        mailing.send(number, NOW)
        prepare(number, NOW)  # it goes on though somebody always waits
        assert db.session.scalar(select(func.count()).select_from(Trace)) == 450
        assert db.session.get(Mailing, number).prepared
    assert begun.count(True) == 5, "each slice waits patiently itself"
    assert gaps.count(TURN) == turns
    assert least <= gaps.count(GAP) <= most


def test_what_sends_mailings_waits_patiently(monkeypatch):
    monkeypatch.setattr(chunks, "send_some", lambda *_, **__: True)
    noted = patience_of(chunks, "send_some", monkeypatch)
    assert MassSenders("mass", "mass", 1, None, None, bool).send(None, None)
    assert noted == [True]
    assert not sqlite._patient.get()


@pytest.mark.parametrize(
    ("took", "rows"),
    [
        ([0.020], 2_000),
        ([0.040], 1_000),
        ([0.010], 4_000),
        ([0.001], 4_000),
        ([0.001, 0.001], 8_000),
        ([5.0], 200),
        ([5.0, 0.010], 400),
        ([0.0], 4_000),
        ([0.001] * 10, 20_000),
        ([0.001] * 10 + [0.020], 20_000),
        ([0.021], 1_800),
    ],
)
def test_how_many_rows_a_slice_takes(took, rows):
    size = SliceSize(2_000, least=200, most=20_000)
    for seconds in took:
        size.learn(seconds, 0.020)
    assert size.rows == rows


def test_more_contents_than_one_statement_can_name(app):
    contents = [b"%d" % number for number in range(1_203)]
    with app.app_context():
        packed = [pack(content) for content in contents]
        first = Blob.keep(packed)
        db.session.commit()
        assert Blob.keep(packed) == first
        assert sorted(Blob.read_all(first).values()) == sorted(contents)
        assert [len(some) for some in by_hundreds(first)] == [500, 500, 203]


MANY = 75_000  # more than the parameters that either database takes


@pytest.mark.heavy
def test_no_statement_names_more_than_a_database_takes(app: Flask) -> None:
    ids, keys = range(1, MANY + 1), [f"r{number}@example.test" for number in range(MANY)]
    with app.app_context():
        assert delivery_state.envelopes(ids) == {}
        delivery_state.mark_failures(ids, NOW)
        delivery_state.show_progress(ids, NOW)
        assert (
            failures._counted([failures.Failure(None, "hard", "", "", recipient_id=one) for one in ids], NOW) == set()
        )
        failures.heard_from(keys)
        assert thread_views(ids) == {}
        assert lookup._follows(set(ids), [1]) == {}
        assert known_ids([f"<{key}>" for key in keys]) == KnownIds()
        assert blacklist.consider(keys, None, NOW) == []
        db.session.commit()
        put_off._ids.update(ids)
        try:
            assert intake.claim(WorkerLease.register(NOW), 0, 10) == []
            assert intake.claim_put_off(WorkerLease.register(NOW)) == []
        finally:
            put_off._ids.clear()
