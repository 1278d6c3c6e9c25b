"""Whom a mail names in its To and Cc, and beside its sender, as people read it. Pure."""

from typing import Any

from mail.message.address import LONGEST_MAILBOX, parse_addresses

MOST_NAMED = 50  # of each header


def addressed(to: str, cc: str, from_: str = "") -> dict[str, Any] | None:
    """Return whom these headers name, by ``to`` and ``cc``; None for a mail that names one address alone.

    Who wrote it together with its sender (From may name several) is to hear of the reply, too: they come with the Cc.
    Of very many the first ones are named; ``more`` says how many others there are.

    >>> addressed("sales@office.example", '"Bob" <bob@example.com>')
    {'to': ['sales@office.example'], 'cc': ['"Bob" <bob@example.com>']}
    >>> addressed("sales@office.example", "") is None
    True
    >>> addressed("sales@office.example", "", "Ann <ann@example.com>, Bob <bob@example.com>")["cc"]
    ['"Bob" <bob@example.com>']
    >>> addressed(", ".join(f"a{n}@example.com" for n in range(60)), "bob@example.com")["more"]
    10
    """
    cc = ", ".join(filter(None, [*_named(from_)[1:], cc]))
    named = {"to": _named(to), "cc": _named(cc)}
    if len(named["to"]) + len(named["cc"]) < 2:
        return None
    more = sum(max(len(people) - MOST_NAMED, 0) for people in named.values())
    return {header: people[:MOST_NAMED] for header, people in named.items()} | ({"more": more} if more else {})


def _named(header: str) -> list[str]:
    return list({one.key: str(one)[:LONGEST_MAILBOX] for one in parse_addresses(header)}.values())
