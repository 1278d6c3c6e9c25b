"""No number, character or address that somebody may send makes a page fail: it is refused with a page of ours."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.integration.frontdesk import FrontDesk
from tests.web import Visitor
from webapp import auth

# What has nothing to do with databases.
ONE_DATABASE = pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)

ODD = (str(2**63), "9" * 5000, "٣" * 30, "a\0b")
BRIEF = {"Accept": "application/json"}  # an answer of two lines where there is no page
SOURCES = Path(__file__).resolve().parents[2] / "webapp"
NAMES = sorted(
    {
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r'request\.(?:args|form)\.get(?:list)?\(\s*"(\w+)"', path.read_text())
    }
)
FIELD = re.compile(r'<(?:input|select|textarea)[^>]*\bname="([^"]+)"[^>]*?(?:value="([^"]*)")?[^>]*>')
FORMS = (
    "/admin/outgoing-servers/new",
    "/admin/incoming-servers/new",
    "/admin/aliases/new",
    "/admin/document-types/new",
    "/admin/users/new",
    "/admin/contacts/new",
    "/admin/mailing-lists/new",
    "/admin/scheduled-actions/edit?id=1",
    "/admin/document-types/edit?id=1",
    "/mailings/new",
    "/account",
    "/settings/",
)


def address(rule: Rule, value: str) -> str:
    """Return the address of a route with an odd value in place of each argument."""
    return re.sub(r"<(?:\w+:)?(\w+)>", quote(value, safe=""), rule.rule)


@pytest.mark.heavy
@pytest.mark.parametrize("value", ODD, ids=lambda value: ascii(value)[:12])
def test_every_address_takes_every_value(pages: Flask, admin: Visitor, value: str) -> None:
    token, failed = admin.token(), []
    for rule in list(pages.url_map.iter_rules()):
        for path in {address(rule, value), address(rule, "1")}:
            answers = [admin.get(path, query_string=dict.fromkeys(NAMES, value), headers=BRIEF)] if reads(rule) else []
            if "POST" in (rule.methods or ()) and rule.rule != "/logout":
                given = {**dict.fromkeys(NAMES, value), "csrf_token": token}
                answers.append(admin.client.post(path, data=given, headers=BRIEF))
            failed += [(path[:80], answer.status_code) for answer in answers if answer.status_code >= 500]
    assert failed == []


def reads(rule: Rule) -> bool:
    return "GET" in (rule.methods or ()) and rule.endpoint != "static"


@pytest.mark.parametrize("form", FORMS)
def test_every_field_takes_every_value(admin: Visitor, form: str) -> None:
    admin.post("/developer-mode", {"on": "1"})
    page = admin.get(form)
    assert page.status_code == 200
    usual = {name: value or "1" for name, value in FIELD.findall(page.text.partition("<main")[2])}
    assert len(usual) > 2
    failed = []
    for name in usual:
        for value in (str(2**63), "9" * 5000, "x" * 5000):
            answer = admin.client.post(form, data={**usual, name: value}, headers=BRIEF)
            if answer.status_code >= 500:
                failed.append((name, value[:20], answer.status_code))
    assert failed == []


@pytest.mark.parametrize("name", ["\0", "a\0b"])
def test_names_of_fields_and_of_files_are_looked_at_too(admin: Visitor, name: str) -> None:
    assert admin.get("/inbox", query_string={name: "x"}).status_code == 400
    assert admin.post("/account", {name: "x"}).status_code == 400
    assert admin.get(f"/documents/{quote(name)}").status_code == 404


# --- where an address in a form may lead

OWN = ("/inbox", "/documents/x?search=a%20b#post-3", "/for sale/ü", "/a//b")
STRANGE = (
    "https://evil.test/",
    "//evil.test",
    "///evil.test",
    "/\\evil.test",
    "\\\\evil.test",
    "/\t/evil.test",
    "/\n/evil.test",
    "/\r/evil.test",
    "\t//evil.test",
    " //evil.test",
    "/\x0b/evil.test",
    "/\x00/evil.test",
    "/a\r\nSet-Cookie: x=y",
    "/\x7f/evil.test",
    "javascript:alert(1)",
    "/a\\..\\..\\evil.test",
    "inbox",
    "",
)


@pytest.mark.parametrize("address", OWN)
def test_a_page_of_ours_is_one(address: str) -> None:
    assert auth.own_page(address) == address


@pytest.mark.parametrize("address", STRANGE, ids=repr)
@ONE_DATABASE
def test_no_other_address_is_gone_to(admin: Visitor, address: str) -> None:
    assert auth.own_page(address) == ""
    token = admin.token()
    for path, fields in (("/developer-mode", {"on": "1"}), ("/login", {}), ("/verify", {"password": "x"})):
        for query, form in (({}, {"next": address}), ({"next": address}, {})):
            data = {"csrf_token": token, **fields, **form}
            answer = admin.client.post(path, query_string=query, data=data, headers=BRIEF)
            assert answer.status_code < 500, path
            assert re.match(r"(http://localhost)?/(?![/\\])", answer.headers.get("Location", "/")), (
                path,
                answer.location,
            )
            assert "evil" not in answer.headers.get("Location", "").partition("?")[0], (path, answer.location)


# --- emails with what no database takes


HEADERS = (
    "From", "To", "Cc", "Reply-To", "Sender", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
    "Return-Path", "Delivered-To", "X-Original-To", "List-Id", "Auto-Submitted", "Content-Type", "X-CoquiMail-Id",
    "X-Failed-Recipients",
)  # fmt: skip
OF_REPORT = (
    "Reporting-MTA", "Final-Recipient", "Original-Recipient", "Action", "Status", "Diagnostic-Code",
    "X-Original-Message-ID", "Original-Envelope-Id",
)  # fmt: skip
OF_RETURNED = ("Message-ID", "From", "To", "Subject", "X-CoquiMail-Id", "References")
HOSTILE = (b"\0", b"\xed\xa0\x80", b"\xff", b"=?utf-8?q?=00?=", b"=?utf-8?q?=ED=A0=80?=", "\u202e\ufffe".encode())


def usual(headers: dict[str, bytes], body: bytes) -> bytes:
    return b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in headers.items()) + b"\r\n" + body


def odd_mail(name: str, odd: bytes) -> bytes:
    headers = {
        "From": b"Zoe <zoe@zed.test>", "To": b"sales@office.test", "Subject": b"A question",
        "Message-ID": b"<1@zed.test>", "In-Reply-To": b"<2@zed.test>", "References": b"<3@zed.test> <2@zed.test>",
    }  # fmt: skip
    value = headers.get(name, b"x@office.test")
    return usual(headers | {name: value[:4] + odd + value[4:]}, b"How much?\r\n")


def odd_report(name: str, odd: bytes, returned: bool) -> bytes:
    fields = {
        "Reporting-MTA": b"dns; mx.zed.test", "Final-Recipient": b"rfc822; gone@zed.test", "Action": b"failed",
        "Status": b"5.1.1", "Diagnostic-Code": b"smtp; 550 5.1.1 no such user",
    }  # fmt: skip
    message = {"Message-ID": b"<4@zed.test>", "From": b"clerk@office.test", "To": b"gone@zed.test", "Subject": b"Offer"}
    part = message if returned else fields
    value = part.get(name, b"rfc822; x@zed.test")
    part[name] = value[:6] + odd + value[6:]
    status = usual({"Reporting-MTA": fields.pop("Reporting-MTA")}, b"") + usual(fields, b"")
    kind = b'multipart/report; report-type=delivery-status; boundary="b"'
    headers = {"From": b"MAILER-DAEMON@zed.test", "To": b"bounce@office.test", "Subject": b"Undelivered",
               "MIME-Version": b"1.0", "Content-Type": kind}  # fmt: skip
    parts = (
        (b"text/plain", b"Sorry.\r\n"),
        (b"message/delivery-status", status),
        (b"message/rfc822", usual(message, b"")),
    )
    body = b"".join(b"--b\r\nContent-Type: %s\r\n\r\n%s\r\n" % part for part in parts)
    return usual(headers, body + b"--b--\r\n")


@pytest.mark.heavy
@pytest.mark.parametrize("odd", HOSTILE)
def test_an_email_with_what_no_database_takes_is_understood(app: Flask, odd: bytes) -> None:
    desk = FrontDesk(app)
    mails = [odd_mail(name, odd) for name in HEADERS]
    mails += [odd_report(name, odd, returned=False) for name in OF_REPORT]
    mails += [odd_report(name, odd, returned=True) for name in OF_RETURNED]
    rows = desk.receive(*mails)
    assert len(rows) == len(mails)
    codes = {step["code"] for row in rows for step in row.decision or []}
    assert not codes & {"process_failed", "process_gave_up"}, [row.decision for row in rows]
