"""The blacklist on both databases: the rule, complaints, what people do, and the log it leaves."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from mail.documents import contacts
from mail.errors import InvalidAddress
from mail.mailing import blacklist, mailing, traces
from mail.outgoing import failures
from mail.sentences import say, why
from mail.settings import parameters
from models import AddressHealth, BlacklistedAddress, Contact, Post, Trace, db
from tests.integration.mass import NOW, add_contacts, add_server, draft, prepare, states

ANN = "ann@example.test"


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def bounced(address: str, *dates: datetime, kind: str = "hard", of_mailing: bool = True) -> None:
    """Record that mails to an address bounced at these times, each the trace of a mailing of its own."""
    contact = contacts.find_or_make(address, "", NOW)
    for date in dates:
        trace_id = None
        if of_mailing:
            trace = Trace(mailing_id=draft(), contact_id=contact.id, address=address, state="sent")
            db.session.add(trace)
            db.session.flush()
            trace_id = trace.id
        failures.record([failures.Failure(address, kind, "5.1.1", "No such user", trace_id=trace_id)], date)
    db.session.commit()


def due(now: datetime = NOW) -> bool:
    return bool(blacklist.consider([ANN], None, now))


@pytest.mark.parametrize(
    ("days_ago", "kind", "listed"),
    [
        ((10, 8, 6, 4, 2), "hard", True),
        ((10, 8, 6, 4, 2), "soft", True),
        ((10, 8, 6, 4, 2), "full", True),
        ((10, 8, 6, 4, 2), "blocked", False),
        ((10, 8, 6, 4, 2), "delay", False),
        ((10, 8, 6, 4), "hard", False),
        ((6.9, 6, 4, 2, 0), "hard", False),
        ((7, 6, 4, 2, 0), "hard", True),
        ((30, 8, 6, 4, 2), "hard", True),
        ((30.01, 8, 6, 4, 2), "hard", False),
        ((60, 50, 40, 35, 31), "hard", False),
    ],
)
def test_the_rule(app, days_ago, kind, listed):
    with app.app_context():
        bounced(ANN, *(ago(days) for days in days_ago), kind=kind)
        assert due() is listed
        assert (entry() is not None) is listed


def test_bounces_of_personal_mail_do_not_count_for_the_rule(app):
    with app.app_context():
        bounced(ANN, *(ago(days) for days in (10, 8, 6, 4, 2)), of_mailing=False)
        assert not due()


def test_one_mail_counts_once(app):
    with app.app_context():
        bounced(ANN, *(ago(days) for days in (10, 8, 6, 4)))
        trace_id = db.session.scalars(select(Trace.id).order_by(Trace.id)).first()
        for day in (3, 2, 1):
            again = failures.record([failures.Failure(ANN, "hard", "5.1.1", "again", trace_id=trace_id)], ago(day))
            assert again == []
        db.session.commit()
        assert not due()
        assert blacklist.arithmetic(ANN, NOW).count == 4


def test_the_numbers_are_parameters(app):
    with app.app_context():
        for key, value in (("bounces", "2"), ("days", "3"), ("spread_days", "1")):
            parameters.put(f"mail.blacklist.{key}", value, NOW)
        bounced(ANN, ago(2), ago(1))
        assert due()


def test_the_arithmetic_is_said(app):
    with app.app_context():
        bounced(ANN, ago(6), ago(4), ago(2))
        found = blacklist.arithmetic(f"Ann <{ANN.upper()}>", NOW)
        assert say(found.why) == "3 of 5 bounces in 30 days, 4 of 7 days apart."


def logs(thread_id: int | None) -> list[str]:
    found = db.session.scalars(
        select(Post.why).where(Post.thread_id == thread_id, Post.kind == "log").order_by(Post.id)
    )
    return [reason["code"] for reason in found]


def entry() -> BlacklistedAddress | None:
    return db.session.scalar(select(BlacklistedAddress))


def contact() -> Contact:
    return db.session.scalars(select(Contact).where(Contact.address_key == ANN)).one()


def test_a_log_note_stands_on_the_entry_and_on_the_contact(app):
    with app.app_context():
        bounced(ANN, *(ago(days) for days in (10, 8, 6, 4, 2)))
        assert due()
        db.session.commit()
        assert logs(entry().thread_id) == ["blacklist_due"]
        assert logs(contact().thread_id) == ["blacklist_due"]
        assert entry().thread_id != contact().thread_id
        assert not due() or len(logs(entry().thread_id)) == 1  # asked again, it says nothing new


def test_without_a_contact_the_entry_alone_has_the_note(app):
    with app.app_context():
        blacklist.add("Stranger@Example.test", "manual", NOW)
        db.session.commit()
        assert entry().address_key == "stranger@example.test"
        assert logs(entry().thread_id) == ["blacklist_manual"]
        with pytest.raises(InvalidAddress):
            blacklist.add("nobody", "manual", NOW)


def test_after_a_removal_only_later_bounces_count_and_the_log_goes_on(app):
    with app.app_context():
        bounced(ANN, *(ago(days) for days in (10, 8, 6, 4, 2)))
        assert due()
        db.session.commit()
        thread = entry().thread_id
        assert blacklist.remove(ANN, "She called: the mailbox works again", None, NOW)
        assert not blacklist.remove(ANN, "twice", None, NOW)
        db.session.commit()
        assert entry() is None
        assert not due(), "what was before the removal does not count"
        assert logs(contact().thread_id) == ["blacklist_due", "blacklist_removed"]

        later = [NOW + timedelta(days=day) for day in (1, 3, 5, 7, 9)]
        bounced(ANN, *later)
        assert due(later[-1])
        db.session.commit()
        assert entry().thread_id == thread
        assert logs(thread) == ["blacklist_due", "blacklist_removed", "blacklist_due"]


def test_a_complaint_blacklists_at_once(app):
    with app.app_context():
        bounced(ANN)
        blacklist.complain({ANN: None}, NOW)
        db.session.commit()
        assert entry().reason == "complaint"
        assert logs(contact().thread_id) == ["blacklist_complaint"]


def test_a_report_marks_the_trace_and_the_fifth_blacklists(app):
    """What the incoming flow does with a report about a mailing, five times within ten days."""
    with app.app_context():
        add_server(2525)
        list_id = add_contacts(1)
        for number, day in enumerate((9, 7, 5, 2, 0), 1):
            id = draft(list_id)
            mailing.send(id, ago(day))
            prepare(id, ago(day))
            trace = db.session.scalars(select(Trace).where(Trace.mailing_id == id)).one()
            reason = why("recipient_refused", address=trace.address, reply="550 5.1.1 No such user")
            assert traces.bounce_trace(trace.id, reason, "5.1.1", "No such user", ago(day))
            assert not traces.bounce_trace(trace.id, reason, "5.1.1", "No such user", ago(day)), "red already"
            risen = failures.record(
                [failures.Failure(trace.address, "hard", "5.1.1", "…", trace_id=trace.id)], ago(day)
            )
            assert blacklist.consider(risen, id, ago(day)) == (["r0@example.test"] if number == 5 else [])
            db.session.commit()
            assert states(id) == {"bounced": 1}
        assert entry().mailing_id == id
        assert db.session.get(AddressHealth, "r0@example.test").bounces == 5
        last = draft(list_id)
        mailing.send(last, NOW)
        prepare(last, NOW)
        assert states(last) == {"cancelled": 1}
        assert (
            db.session.scalars(select(Trace.why).where(Trace.mailing_id == last)).one()["code"]
            == "left_out_blacklisted"
        )
