"""When waiting emails will have gone, by the limits of their server: before a mailing, while it is sent, on servers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from mail.mailing import mailing
from mail.outgoing import forecast
from mail.queue import quota
from mail.settings import parameters
from models import Blob, Mailing, OutgoingMail, OutgoingServer, Recipient, SlowedDomain, Trace, User, db
from models.store import pack
from tests.integration.mass import add_contacts, add_server, draft, prepare, standing_clock
from tests.web import Visitor, web_app, words

NOW = datetime(2026, 11, 27, 13, 45, tzinfo=UTC)
SERVERS = "/admin/outgoing-servers"


@pytest.fixture
def moment(pages: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time at which people look."""
    standing_clock(monkeypatch, NOW)
    with pages.app_context():
        parameters.put("company.address", "1 Rain Forest Road, San Juan", NOW)
        parameters.put("web.base.url", "https://mail.office.test", NOW)
        db.session.commit()


def server(name: str, used: int = 0, **values: Any) -> int:
    number = add_server(2525, name, **values)
    db.session.commit()
    if used:
        quota.reserve(number, used, NOW)
        db.session.commit()
    return number


def waiting_lines(server_id: int, count: int) -> None:
    [content] = Blob.keep([pack(b"x")])
    mail = OutgoingMail(kind="test", message_id=f"<{server_id}@x.test>", content_blob_id=content, created_at=NOW)
    db.session.add(mail)
    db.session.flush()
    for number in range(count):
        address = f"w{number}@x.test"
        values = {"address": address, "address_key": address, "next_try_at": NOW, "server_id": server_id}
        db.session.add(Recipient(mail_id=mail.id, **values))
    db.session.commit()


@pytest.mark.usefixtures("moment")
def test_before_a_mailing_is_sent_its_end_is_shown_and_who_has_room(pages: Flask, admin: Visitor) -> None:
    with pages.app_context():
        db.session.execute(update(User).values(zone="Europe/Berlin"))
        first = server("Main", 143, from_filter="mycompany.test", per_day=200, per_hour=150)
        server("Mass", from_filter="ann@mycompany.test", per_day=5000, priority=20)
        server("Small", from_filter="mycompany.test", per_day=100, priority=20)
        server("Other", from_filter="other.test", priority=20)
        server("Off", from_filter="mycompany.test", active=False, priority=20)
        waiting_lines(first, 30)
        waiting_lines(server("Busy", from_filter="mycompany.test", per_day=310, priority=20), 20)
        id = draft(add_contacts(300), forced_server_id=first)
    page = words(admin.get(f"/mailings/{id}"))
    assert "“Main”: 143 of 150 used this hour, 143 of 200 used today (since 00:00 UTC)." in page
    assert "Within these limits, the mailing would end Nov 29, 00:00 UTC (01:00 your time) ." in page
    assert "30 other emails wait for the same server and may go first." in page
    assert "Another server can send it and has room now: Mass." in page
    editor = admin.get(f"/mailings/{id}/edit")
    assert "would end Nov 29, 00:00 UTC (01:00 your time) ." in words(editor) and "has room now: Mass." in words(editor)
    with pages.app_context():
        db.session.execute(update(Recipient).values(state="sent"))
        db.session.execute(update(OutgoingServer).values(per_hour=None, per_day=1000))
        db.session.commit()
    page = words(admin.get(f"/mailings/{id}"))
    assert "143 of 1,000 used today (since 00:00 UTC). This mailing fits within its limits." in page
    assert "may go first" not in page and "has room" not in page


@pytest.mark.usefixtures("moment")
def test_a_running_mailing_says_when_it_ends_by_its_limits(pages: Flask, admin: Visitor) -> None:
    with pages.app_context():
        server("Main", 190, from_filter="", per_day=200)
        id = draft(add_contacts(300))
        mailing.send(id, NOW)
        prepare(id, NOW)
    assert "Within these limits, the mailing ends Nov 29, 00:00 UTC ." in words(admin.get(f"/mailings/{id}"))
    with pages.app_context():
        db.session.execute(update(OutgoingServer).values(per_day=None))
        db.session.commit()
    assert "Within these limits" not in words(admin.get(f"/mailings/{id}"))


@pytest.mark.usefixtures("moment")
def test_a_running_mailing_says_which_of_its_domains_wait(pages: Flask, admin: Visitor) -> None:
    with pages.app_context():
        number = server("Main", from_filter="")
        id = draft(add_contacts(3))
        mailing.send(id, NOW)
        prepare(id, NOW)
        reason = {"code": "domain_greylisted", "values": {"server": "Main", "domain": "example.test"}}
        until = NOW + timedelta(minutes=5)
        db.session.execute(update(Trace).values(state="deferred", why=reason, next_try_at=until))
        db.session.execute(update(Mailing).values(deferred=3))
        for domain in ("example.test", "elsewhere.test"):
            row = SlowedDomain(server_id=number, domain=domain, steps=1, until=until, code="domain_greylisted")
            db.session.add(row)
        db.session.commit()
    page = words(admin.get(f"/mailings/{id}"))
    assert "Emails to example.test wait until 13:50 UTC . example.test accepts emails from new senders only at" in page
    assert "elsewhere.test" not in page and "Only deferred recipients are left" in page
    assert "Waiting" in page and "waits until 13:50 UTC" in page


@pytest.mark.usefixtures("moment")
def test_the_form_of_a_server_says_what_waits_for_it(pages: Flask, admin: Visitor) -> None:
    with pages.app_context():
        number = server("Main", 200, from_filter="", per_day=200)
        waiting_lines(number, 201)
        for domain, minutes in (("busy.test", 5), ("past.test", -5)):
            until = NOW + timedelta(minutes=minutes)
            row = SlowedDomain(server_id=number, domain=domain, steps=3, until=until, code="domain_slowed")
            db.session.add(row)
        until = NOW + timedelta(minutes=2)
        db.session.add(SlowedDomain(server_id=number, domain="", steps=1, until=until, code="server_slowed"))
        db.session.commit()
    page = words(admin.get(f"{SERVERS}/edit?id={number}"))
    assert "All emails wait until 13:47 UTC . “Main” asked for fewer emails at a time." in page
    assert "201 emails wait. Within these limits, the last one goes out Nov 29, 00:00 UTC ." in page
    assert (
        "Emails to busy.test wait until 13:50 UTC . “Main” was told to send fewer emails to busy.test at a time."
        in page
    )
    assert "past.test" not in page


def test_the_default_server_says_that_its_raise_ends_before(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_clock(monkeypatch, NOW)
    app = web_app(database, tmp_path, MAIL_SERVER="smtp.x.test", COQUI_HOSTING="online")
    with app.app_context():
        for key, value in {"": "500", ".until": "2026-11-28"}.items():
            parameters.put(f"mail.daily_limit{key}", value, NOW)
        db.session.commit()
        waiting_lines(0, 400)
        assert not forecast.of_server(0, "default", NOW).waits
        quota.reserve(0, 400, NOW)
        db.session.commit()
        assert forecast.of_server(0, "default", NOW).ends_at == datetime(2026, 11, 28, tzinfo=UTC)
        assert not forecast.of_server(0, "default", NOW).raise_ends
        waiting = {"prepared": True, "state": "sending", "created_at": NOW}
        db.session.add(Mailing(total=301, **waiting))
        db.session.commit()
    page = words(Visitor(app).as_role("admin").get("/settings/"))
    assert "701 emails wait. Within these limits, the last one goes out Nov 29, 00:00 UTC" in page
    assert "The raised daily limit ends before that, so it may take longer." in page
    with app.app_context():
        db.engine.dispose()
