"""Odd and broken mails, one file each in ``tests/data/odd``, and what must come out of them (incoming.md 4)."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mail.decide.author import authorship
from mail.message.address import Address
from mail.message.html import clean_html, text_of_html
from mail.message.parse import IncomingMessage, parse
from mail.sentences import say

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
OURS = {"sales@office.test"}
FOLDER = Path(__file__).parents[1] / "data" / "odd"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "expected.toml").read_text())
DEFAULTS: dict[str, Any] = {
    "subject": "Order 42", "author": "Ann <ann@customer.test>", "date": "2026-11-02T09:00:00Z",
    "id": "<1@customer.test>", "text": "Please send two.", "attachments": [], "notes": [],
}  # fmt: skip


def test_every_file_has_its_line() -> None:
    assert set(EXPECTED) == {file.stem for file in FOLDER.glob("*.eml")}
    assert len(EXPECTED) >= 120


@pytest.mark.parametrize("name", EXPECTED)
def test_an_odd_mail_is_read_as_far_as_it_goes(name: str) -> None:
    message = parse((FOLDER / f"{name}.eml").read_bytes(), NOW)
    expected = DEFAULTS | EXPECTED[name]
    assert {what: found for what, found in read(message).items() if what in expected} == expected
    assert message.too_much is None
    assert all("%(" not in say(problem) for problem in message.problems)


def read(message: IncomingMessage) -> dict[str, Any]:
    """What a person gets to see of a mail, and who is taken for its author."""
    html = clean_html(message.html) if message.html is not None else ""
    who = authorship(message, OURS)
    return {
        "subject": message.subject,
        "author": mailbox(who.author),
        "answers": mailbox(who.answer_to),
        "date": message.date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "id": message.message_id or "",
        "text": (text_of_html(html) if html else message.text).strip(),
        "plain": message.text.strip(),
        "attachments": [
            f"{part.name} {len(part.content)}{' inline' if part.inline else ''}" for part in message.attachments
        ],
        "notes": [problem["code"].removeprefix("parse_") for problem in message.problems],
        "references": message.references,
        "recipients": message.recipients,
    }


def mailbox(found: Address | None) -> str:
    if found is None:
        return ""
    return f"{found.name} <{found.key}>" if found.name else found.key
