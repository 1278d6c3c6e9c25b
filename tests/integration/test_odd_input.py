"""No number, character or address that somebody may send makes a page fail: it is refused with a page of ours."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.web import Visitor
from webapp import auth

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
