"""The menu has the labels of the documentation word for word, and everybody sees what is for them."""

import pytest

from webapp.menu import MENU, MenuEntry, visible


def paths(entries: tuple[MenuEntry, ...], above: str = "") -> list[str]:
    """Return the menu as lines such as ``Settings ‣ General Settings``, pages only."""
    found = []
    for entry in entries:
        path = f"{above}{entry.label}"
        if entry.endpoint:
            found.append(path)
        found += paths(entry.children, f"{path} ‣ ")
    return found


MARKETING = [
    "Email Marketing ‣ Mailings",
    "Email Marketing ‣ Mailing Lists",
    "Email Marketing ‣ Contacts",
    "Email Marketing ‣ Configuration ‣ Blacklisted Email Addresses",
    "Email Marketing ‣ Settings",
]
TECHNICAL = [
    "Settings ‣ Technical ‣ Outgoing email servers",
    "Settings ‣ Technical ‣ Email ‣ Incoming",
    "Settings ‣ Technical ‣ Email ‣ Connected accounts",
    "Settings ‣ Technical ‣ Email ‣ App registrations",
    "Settings ‣ Technical ‣ Email ‣ Aliases",
    "Settings ‣ Technical ‣ Email ‣ Domains",
    "Settings ‣ Technical ‣ Email ‣ Deliverability",
    "Settings ‣ Technical ‣ Email ‣ Outgoing emails",
    "Settings ‣ Technical ‣ Email ‣ Received emails",
    "Settings ‣ Technical ‣ Parameters ‣ System Parameters",
    "Settings ‣ Technical ‣ Automation ‣ Scheduled Actions",
]
EVERYDAY = [
    "Email ‣ Received emails",
    "Email ‣ Outgoing emails",
    "Email ‣ Aliases",
    "Email ‣ Domains",
    "Email ‣ Deliverability",
]
SETTINGS = [
    "Settings ‣ General Settings",
    "Settings ‣ Receive by push",
    "Settings ‣ Users",
    "Settings ‣ Practice mailbox",
    "Settings ‣ Rehearsal mode",
    "Settings ‣ Simulators",
]


@pytest.mark.parametrize(
    ("role", "developer", "seen"),
    [
        ("user", False, ["Inbox"]),
        ("user", True, ["Inbox"]),
        ("marketing", False, ["Inbox", *MARKETING]),
        ("marketing", True, ["Inbox", *MARKETING]),
        ("admin", False, ["Inbox", *MARKETING, *EVERYDAY, *SETTINGS]),
        ("admin", True, ["Inbox", *MARKETING, *SETTINGS, *TECHNICAL]),
        ("", True, []),
    ],
)
def test_everybody_sees_what_is_for_them(role, developer, seen):
    assert paths(visible(MENU, role, developer)) == seen


def test_a_page_that_is_not_there_is_not_announced_and_an_empty_group_neither():
    pages = frozenset({"inbox.index", "aliases.index_view"})
    assert paths(visible(MENU, "admin", True, pages)) == ["Inbox", "Settings ‣ Technical ‣ Email ‣ Aliases"]


@pytest.mark.parametrize(
    ("current", "is_open"), [((), False), (("inner",), True), (("outer",), True), (("elsewhere",), False)]
)
def test_a_group_is_open_when_the_page_shown_is_in_it(current, is_open):
    inner = MenuEntry("Inner", "inner.index", current="inner" in current)
    outer = MenuEntry("Outer", current="outer" in current, children=(MenuEntry("Group", children=(inner,)),))
    assert outer.open is is_open
