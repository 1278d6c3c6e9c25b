"""Where a password is not taken any more the page leads to the switch, and an account that does not work is seen."""

from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from mail.sentences import why
from models import IncomingServer, OauthAccount, OauthProvider, OutgoingServer, ServerCheck, db
from tests.web import Visitor, words

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
OFF = {"host": "smtp.office365.com", "user": "ann@x.test", "reply": "535 5.7.139 basic authentication is disabled."}

HINT = "Save it, then press Connect here."


def add(app: Flask, *rows: Any) -> list[int]:
    with app.app_context():
        db.session.add_all(rows)
        db.session.commit()
        return [row.id for row in rows]


def outgoing(**more: object) -> OutgoingServer:
    return OutgoingServer(**{"name": "Provider", "host": OFF["host"], "user": "ann@x.test", "password": "x"} | more)


def incoming(**more: object) -> IncomingServer:
    given = {"name": "Box", "host": "imap.gmail.com", "user": "ann@gmail.com", "password": "x", "state": "confirmed"}
    return IncomingServer(**given | more)


def account(**more: object) -> OauthAccount:
    provider = OauthProvider(kind="microsoft", name="Our app", client_id="id", tenant="t")
    given = {"provider": provider, "address": "ann@x.test", "state": "connected", "connected_at": NOW}
    return OauthAccount(**given | more)


def test_a_failed_test_leads_to_the_form_with_the_sign_in_chosen(pages: Flask, admin: Visitor) -> None:
    (server,) = add(pages, outgoing())
    step = {"name": "login", "state": "failed", "why": why("password_login_off", **OFF), "seconds": 0.1}
    step |= {"address": "", "uses": []}
    add(pages, ServerCheck(kind="outgoing_test", server_id=server, requested_at=NOW, finished_at=NOW, state="failed",
                           steps=[step]))  # fmt: skip
    page = admin.get(f"/admin/outgoing-servers/edit?id={server}")
    link = f"/admin/outgoing-servers/edit?id={server}&amp;authentication=oauth2"
    assert "Sign in with Microsoft" in words(page) and link in page.text
    assert HINT not in words(page)
    form = admin.get(f"/admin/outgoing-servers/edit?id={server}&authentication=oauth2")
    assert HINT in words(form) and '<option selected value="oauth2">' in form.text


def test_a_mailbox_whose_password_is_not_taken_leads_there_too(pages: Flask, admin: Visitor) -> None:
    refused = why("mailbox_app_password_wanted", host="imap.gmail.com", user="ann@gmail.com", reply="no")
    (box,) = add(pages, incoming(why=refused, last_failure_at=NOW))
    assert "Sign in with Google" in words(admin.get(f"/admin/incoming-servers/edit?id={box}"))
    form = admin.get(f"/admin/incoming-servers/edit?id={box}&authentication=oauth2")
    assert HINT in words(form) and '<option selected value="oauth2">' in form.text


def test_a_wrong_password_elsewhere_does_not(pages: Flask, admin: Visitor) -> None:
    refused = why("mailbox_login_refused", host="mail.x.test", user="ann", reply="no")
    (box,) = add(pages, incoming(host="mail.x.test", why=refused, last_failure_at=NOW))
    assert "authentication=oauth2" not in admin.get(f"/admin/incoming-servers/edit?id={box}").text


@pytest.mark.parametrize(
    ("values", "badge", "said"),
    [
        ({"state": "refused", "why": why("sign_in_again", said="invalid_grant")}, "connect again", "invalid_grant"),
        ({"why": why("oauth_unreachable", host="login.x.test", detail="timed out")}, "not renewed", "login.x.test"),
        ({}, "", ""),
    ],
)
def test_lists_and_pages_say_what_an_account_lacks(
    pages: Flask, admin: Visitor, values: dict[str, object], badge: str, said: str
) -> None:
    (one,) = add(pages, account(**values))
    servers = {
        "outgoing-servers": add(pages, outgoing(authentication="oauth2", oauth_account_id=one))[0],
        "incoming-servers": add(pages, incoming(authentication="oauth2", oauth_account_id=one))[0],
    }
    for path, server in servers.items():
        listed = admin.get(f"/admin/{path}/")
        shown = [word for word in ("connect again", "not renewed", "not connected") if word in words(listed)]
        assert shown == ([badge] if badge else []) and said in listed.text
        page = admin.get(f"/admin/{path}/edit?id={server}")
        assert said in words(page) and "Connect again" in words(page)


def test_a_new_secret_lets_failed_renewals_be_tried_at_once(pages: Flask, admin: Visitor) -> None:
    one = account(retry_at=datetime(2099, 1, 1, tzinfo=UTC), retries=4)
    (number,) = add(pages, one)
    with pages.app_context():
        provider = db.session.get_one(OauthAccount, number).provider_id
    form = {"name": "Our app", "client_id": "id", "tenant": "t", "client_secret": "a new one"}
    assert admin.post(f"/admin/app-registrations/edit?id={provider}", form).status_code == 302
    with pages.app_context():
        row = db.session.get_one(OauthAccount, number)
        assert (row.retry_at, row.retries, row.provider.client_secret) == (None, 0, "a new one")


def test_an_account_can_be_connected_again_from_its_own_page(pages: Flask, admin: Visitor) -> None:
    (number,) = add(pages, account(state="refused", why=why("sign_in_again", said="x")))
    answer = admin.post("/admin/connected-accounts/press/connect", {"id": str(number)})
    assert answer.status_code == 302 and answer.location.startswith("/sign-in/")
