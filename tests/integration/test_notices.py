"""What admins are told although nobody wrote it: in the inbox of each of them, with the way to what it is about."""

from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select

from mail.settings.notices import tell_admins
from models import Event, Notification, User, db
from tests.web import Visitor, account, words

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.fixture
def app(pages) -> Flask:
    return pages


def tell(app: Flask, link: str = "/settings") -> None:
    with app.app_context():
        tell_admins("no_server", {}, link, NOW)
        db.session.commit()


def test_each_active_admin_is_told_and_nobody_else(app, admin):
    gone = account(app, "admin", "gone@home.test")
    for role in ("marketing", "user"):
        account(app, role)
    with app.app_context():
        db.session.scalar(select(User).where(User.email == gone)).active = False
        db.session.commit()
    tell(app)
    with app.app_context():
        told = db.session.scalars(select(Notification)).all()
        reader = db.session.scalar(select(User.id).where(User.email == "admin@home.test"))
        assert [(one.user_id, one.kind, one.post_id) for one in told] == [(reader, "notice", None)]
        assert db.session.scalar(select(Event.topic).where(Event.topic.startswith("inbox:"))) == f"inbox:{reader}"


def test_a_notice_says_what_it_is_about_and_leads_there(app, admin):
    tell(app)
    page = admin.get("/inbox")
    assert "For administrators No mail server is left to send through." in words(page)
    with app.app_context():
        notice = db.session.scalar(select(Notification.id))
    opened = admin.post(f"/inbox/{notice}/open")
    assert (opened.status_code, opened.location) == (302, "/settings")
    assert "You're all caught up" in words(admin.get("/inbox"))
    assert "For administrators" in words(admin.get("/inbox?all=1"))
    assert Visitor(app).as_role("user").post(f"/inbox/{notice}/open").status_code == 404
