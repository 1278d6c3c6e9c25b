"""Whom a mail names in its To and Cc, as people read it. Pure."""

from mail.message.address import LONGEST_MAILBOX, parse_addresses

MOST_NAMED = 50  # of each header


def addressed(to: str, cc: str) -> dict[str, list[str]] | None:
    """Return whom these headers name, by ``to`` and ``cc``; None for a mail that names one address alone.

    >>> addressed("sales@office.example", '"Bob" <bob@example.com>')
    {'to': ['sales@office.example'], 'cc': ['"Bob" <bob@example.com>']}
    >>> addressed("sales@office.example", "") is None
    True
    """
    found = {"to": _named(to), "cc": _named(cc)}
    return found if len(found["to"]) + len(found["cc"]) > 1 else None


def _named(header: str) -> list[str]:
    named = {one.key: str(one)[:LONGEST_MAILBOX] for one in parse_addresses(header)[: 2 * MOST_NAMED]}
    return list(named.values())[:MOST_NAMED]
