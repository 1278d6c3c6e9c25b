"""Whose word on a sender counts in a header: that of the server that took the email at the end of its way. Pure.

Its lines stand at the top. Whatever stands below the line where the email came in can have come with it, also if it
names that server; only the large receivers are known to remove such lines.
"""

from dataclasses import dataclass, replace
from typing import Literal

from mail.decide.alignment import organisation_of
from mail.message.authentication_results import (
    AuthenticationResults,
    MethodResult,
    read_received_spf,
    read_results,
    read_together,
)
from mail.message.domains import wire_domain
from mail.message.pasted_header import PastedMail
from mail.message.received_lines import MOST_HOPS, read_received
from mail.sentences import Why, why

MOST_RESULT_LINES = 50  # that are looked at
_RESULTS = "authentication-results"

# Domains of one operator. These receivers remove what came along in their name.
_MICROSOFT, _APPLE = "outlook.com", "icloud.com"
_OPERATORS = {
    **dict.fromkeys(("outlook.com", "office365.com", "exchangelabs.com", "office365.us", "outlook.cn"), _MICROSOFT),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com", "apple.com"), _APPLE),
    **dict.fromkeys(("google.com", "googlemail.com", "gmail.com"), "google.com"),
    **dict.fromkeys(("yahoo.com", "yahoodns.net"), "yahoo.com"),
    "messagingengine.com": "messagingengine.com",
}
_LARGE = frozenset(_OPERATORS.values())


@dataclass(frozen=True, slots=True)
class Believed:
    """Results and how far they can be believed, in words; ``results`` is None if there are none.

    ``is_named``: they name the server that took the email, so nobody made them up to make it look bad.
    """

    state: Literal["good", "warning", "unknown"]
    sentences: tuple[Why, ...]
    results: AuthenticationResults | None = None
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class _Receiver:
    """Who took the email, the number of the line where it came in, and of the next one that a server before wrote."""

    operators: frozenset[str]
    came_in: int
    end: int


def believed(mail: PastedMail) -> Believed:
    """Return the results that are used: those of the server that took the email, else the first, with a warning."""
    receiver = _receiver(mail)
    found = _results(mail, _limit(mail, receiver))
    own = [(number, one) for number, one in found if number < receiver.end and _is_own(one.server, receiver)]
    used = [one for number, one in own if number < receiver.came_in or _operator(one.server) in _LARGE]
    if used and _operator(used[0].server) != _APPLE:
        del used[1:]
    left = len(found) - max(len(used), 1)
    more = (why("header_results_more", count=left),) if left > 0 else ()
    if used:
        whole = _joined(used)
        server = whole.server if len(used) == 1 else organisation_of(whole.server)
        words = why("header_results_by", server=server) if server else why("header_results_by_microsoft")
        return Believed("good", (words, *more), whole, is_named=True)
    if found:
        first = own[0][1] if own else found[0][1]
        code = "header_results_below" if own else "header_results_doubtful"
        words = why(code if receiver.operators else "header_results_unplaced", server=first.server)
        return Believed("warning", (words if first.server else why("header_results_nobody"), *more), first, bool(own))
    return _by_received_spf(mail, receiver) or Believed("unknown", (why("header_results_none"),))


# --- what one server wrote


def results_by(mail: PastedMail, server: str) -> AuthenticationResults | None:
    """Return what the server of this name, or one below it, found out when it took a mail; None if it wrote nothing.

    The topmost counts, and only where nobody outside can have written it.
    """
    found = [one for one in _out_of_reach(mail) if is_named(one.server, server)]
    return _joined(found) if found else None


def last_server(mail: PastedMail) -> str:
    """Return the name of the server whose results stand on top, "" if none wrote any where others can't.

    Of the large receivers it is the domain: many machines of theirs write in turn.
    """
    found = next(iter(_out_of_reach(mail)), None)
    if found is None:
        return ""
    operator = _operator(found.server)
    return operator if operator in _LARGE else found.server


def is_from_outside(mail: PastedMail) -> bool:
    """Say whether a mail came to the server that took it from another one, and not from somebody who logged in there.

    >>> from mail.message.authentication_results import header_of
    >>> [is_from_outside(header_of(b"Received: from x ([192.0.2.1]) by mx.acme.com with %b" % how))
    ...  for how in (b"ESMTPS", b"ESMTPSA")]
    [True, False]
    """
    came_in = _receiver(mail).came_in
    return came_in < len(mail.lines) and not read_received(mail.lines[came_in].value).protocol.endswith("A")


def is_named(server: str, name: str) -> bool:
    """Say whether a server that wrote results is the one of this name, or of this domain.

    >>> is_named("mx2.office.example", "office.example"), is_named("office.example.evil.example", "office.example")
    (True, False)
    >>> is_named("", "outlook.com"), is_named("mx.example", "")  # Microsoft leaves its name out
    (True, False)
    """
    server, name = server or _MICROSOFT, name.strip().rstrip(".").lower()
    return bool(name) and (server == name or server.endswith(f".{name}"))


def _out_of_reach(mail: PastedMail) -> list[AuthenticationResults]:
    """What stands above the line where the mail came in; below it only what large receivers write there themselves.

    Where no line says that it came from outside, the last server's own lines stand above the topmost one.
    """
    receiver = _receiver(mail)
    limit, is_microsoft = _limit(mail, receiver), _MICROSOFT in receiver.operators
    return [
        one if number < limit else _without_login(one)
        for number, one in _results(mail, limit)
        if (number < limit or (number < receiver.end and _is_own_and_large(one.server, receiver)))
        and (one.server or is_microsoft)
    ]


def _limit(mail: PastedMail, receiver: _Receiver) -> int:
    if receiver.came_in < len(mail.lines):
        return receiver.came_in
    return next((number for number, line in enumerate(mail.lines) if line.name == "received"), 0)


def _without_login(one: AuthenticationResults) -> AuthenticationResults:
    """The results of a mail from another server, whose sender can't have logged in: such a word is his own."""
    return replace(one, results=tuple(result for result in one.results if result.method != "auth"))


def _is_own_and_large(server: str, receiver: _Receiver) -> bool:
    return _operator(server) in _LARGE and _is_own(server, receiver)


def _joined(used: list[AuthenticationResults]) -> AuthenticationResults:
    """The topmost; Apple alone calls each method by a name of its own."""
    if _operator(used[0].server) != _APPLE:
        return used[0]
    results = list[MethodResult]()
    for one in used:  # from the top down: what an upper line says of a method, no lower one changes
        known = {result.method for result in results}
        results += [result for result in one.results if result.method not in known]
    return replace(used[0], results=tuple(results))


# --- the header


def _results(mail: PastedMail, came_in: int) -> list[tuple[int, AuthenticationResults]]:
    """The results with the numbers of their lines; where the sender's own may stand none is added to another."""
    lines, count = list[tuple[str, str]](), 0
    for line in mail.lines:
        count += line.name == _RESULTS
        lines.append((line.name, line.value) if count <= MOST_RESULT_LINES else ("", ""))
    above = read_together(lines[:came_in])
    below = ((came_in + number, line) for number, line in enumerate(lines[came_in:]))
    return above + [(number, read_results(value)) for number, (name, value) in below if name == _RESULTS]


def _receiver(mail: PastedMail) -> _Receiver:
    """Who took the email: the hosts from the top down to the one where it came in from outside."""
    operators = set[str]()
    came_in, hops = None, 0
    for number, line in enumerate(mail.lines):
        if line.name != "received":
            continue
        hops += 1
        if came_in is not None or hops > MOST_HOPS:
            return _Receiver(frozenset(operators), number if came_in is None else came_in, number)
        hop = read_received(line.value)
        by = _operator(hop.by)
        if "." in hop.by:
            operators.add(by)
        # What it calls itself counts for nothing, but for servers of Microsoft and the like among themselves.
        before = hop.seen_as or (hop.sender if by in _LARGE or hop.is_handed_on else "")
        if "may be forged" in line.value:  # sendmail: nothing but the address says that this is its name
            before = ""
        if not hop.inside and not (before and _operator(before) == by):
            came_in = number
    end = len(mail.lines)
    return _Receiver(frozenset(operators), end if came_in is None else came_in, end)


def _is_own(server: str, receiver: _Receiver) -> bool:
    return _operator(server) in receiver.operators


def _operator(host: str) -> str:
    """Who runs a host; Microsoft alone leaves its name out of its results."""
    if not host:
        return _MICROSOFT
    name = organisation_of(host)
    name = wire_domain(name) or host.lower()
    return _OPERATORS.get(name, name)


def _by_received_spf(mail: PastedMail, receiver: _Receiver) -> Believed | None:
    for number, line in enumerate(mail.lines[: receiver.end]):
        spf = read_received_spf(line.value) if line.name == "received-spf" else None
        if spf is None:
            continue
        named = spf.domain("receiver")
        if "." in named and _operator(named) not in receiver.operators:
            continue
        is_own = number < receiver.came_in and receiver.operators
        words = why("header_results_spf_only") if is_own else why("header_results_spf_below")
        return Believed("good" if is_own else "warning", (words,), AuthenticationResults(results=(spf,)), is_named=True)
    return None
