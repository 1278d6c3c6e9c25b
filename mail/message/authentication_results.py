"""What a receiving server wrote about a sender: Authentication-Results (RFC 8601), its ARC copy, Received-SPF. Pure.

Read as servers write it: Microsoft names no server, others leave out the semicolons. Whether such a line can be
believed is not decided here: anybody can write one.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from mail.message.pasted_header import HeaderLine, PastedMail
from mail.message.structure import StructureReader
from mail.message.words import one_line

MOST_RESULTS = 100  # of one line
LONGEST_LINE = 64 * 1024  # characters
LONGEST_VALUE = 500

_PIECE = re.compile(r'"((?:[^"\\]|\\.)*+)"|\\.|[();]|[^"\\();]++|["\\]', re.DOTALL)
_IN_COMMENT = re.compile(r"\\.|[()]|[^\\()]++|\\", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PAIR = re.compile(
    r"(?<![a-z0-9_.-])([a-z0-9][a-z0-9_.-]*+)(?:\s*+/\s*+\d++)?\s*+="
    r"(?:\s++(?!(?:smtp|header|body|policy)\.))?+(\0[^\0]*+\0[^\s\0]*+|[^\s\0]*+)",
    re.IGNORECASE,
)
_SPACED_PROPERTY = re.compile(r"\b(smtp|header|body|policy)\s++\.\s*+|\b(smtp|header|body|policy)\.\s++", re.IGNORECASE)
_METHODS = frozenset(("spf", "dkim", "dmarc", "arc", "iprev", "compauth", "sender-id", "domainkeys"))


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What one method found: ``spf``, ``pass``, and what it looked at (``smtp.mailfrom``, ``header.d``)."""

    method: str
    result: str
    properties: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    comment: str = ""

    def domain(self, *names: str) -> str:
        """Return the domain of the first of these properties that is there, lower-case; "" for none.

        >>> MethodResult("spf", "pass", {"smtp.mailfrom": "Ann@Example.com"}).domain("smtp.mailfrom")
        'example.com'
        """
        found = next((value for name in names if (value := self.properties.get(name))), "")
        return found.rpartition("@")[2].strip("<>. ").lower()


@dataclass(frozen=True, slots=True)
class AuthenticationResults:
    """One such line: the server that wrote it ("" if it names none) and what it found; ``instance``: ARC's number."""

    server: str = ""
    results: tuple[MethodResult, ...] = ()
    instance: int = 0

    def of(self, method: str) -> list[MethodResult]:
        """Return what one method found; DKIM may have several, one for each signature."""
        return [one for one in self.results if one.method == method]

    def word(self, method: str) -> str:
        """Return the result of a method in one word, "pass" if one of several passed; "" if it is not there."""
        words = [one.result for one in self.of(method)]
        return "pass" if "pass" in words else next(iter(words), "")


def read_results(value: str) -> AuthenticationResults:
    """Return what the value of an Authentication-Results line says; never raises.

    >>> line = 'mx.example; spf=pass (allowed) smtp.mailfrom=a@b.example; dkim=fail reason="bad; key" header.d=b'
    >>> found = read_results(line)
    >>> found.server, found.word("spf"), found.of("spf")[0].comment, found.of("dkim")[0].reason
    ('mx.example', 'pass', 'allowed', 'bad; key')
    >>> read_results("spf=fail (sender IP is 192.0.2.1) smtp.mailfrom=b.example;dkim=none").server
    ''
    """
    server, instance = "", 0
    results: list[MethodResult] = []
    for number, (text, comment) in enumerate(_segments(value[:LONGEST_LINE])):
        text = _SPACED_PROPERTY.sub(lambda found: f"{found[1] or found[2]}.", text)
        first = _PAIR.search(text)
        words = text[: first.start() if first else None].split()
        if number <= 1 and not server and not results and words and words[0].lower() != "none":
            server = _plain(words[0]).strip('".').lower()
        found = list(_results(text, comment))
        if not results and [one.method for one in found] == ["i"] and found[0].result.isdecimal():
            instance = int(found[0].result[:3])
            continue
        results += found[: MOST_RESULTS - len(results)]
    return AuthenticationResults(server, tuple(results), instance)


def read_received_spf(value: str) -> MethodResult | None:
    """Return what a Received-SPF line (RFC 7208 9.1) says; None if it begins with no result.

    >>> read_received_spf("Pass (mx.example: allowed) client-ip=192.0.2.1; envelope-from=a@b.example;").properties
    {'client-ip': '192.0.2.1', 'smtp.mailfrom': 'a@b.example'}
    """
    segments = list(_segments(value[:LONGEST_LINE]))
    text = " ".join(text for text, _comment in segments)
    result = re.match(r"\s*+([a-z]++)(?=\s|$)", text, re.IGNORECASE)
    if result is None:
        return None
    pairs = {_SPF_NAMES.get(name, name): value for name, value in _pairs(text)}
    return MethodResult("spf", result[1].lower(), pairs, comment=segments[0][1])


_SPF_NAMES = {"envelope-from": "smtp.mailfrom", "helo": "smtp.helo"}


_BETWEEN = frozenset(("received-spf", "dkim-filter", "dmarc-filter"))  # what filters write beside their results


def read_together(lines: Iterable[tuple[str, str]]) -> list[tuple[int, AuthenticationResults]]:
    """Return the Authentication-Results in a header (names and values from the top), each with the number of its line.

    A server may check by several programs that write a line each (OpenDKIM, OpenDMARC, policyd-spf): such neighbours
    are one. Of a method that stands in several of them the topmost counts, for it was written last.

    >>> names = ("received", "authentication-results", "authentication-results", "received", "authentication-results")
    >>> values = ("by b", "b.example; spf=softfail", "b.example; dkim=pass; spf=pass", "by a", "b.example; dmarc=pass")
    >>> [(at, [f"{one.method}={one.result}" for one in found.results]) for at, found in
    ...  read_together(zip(names, values, strict=True))]
    [(1, ['spf=softfail', 'dkim=pass']), (4, ['dmarc=pass'])]
    """
    together: list[tuple[int, AuthenticationResults]] = []
    neighbour = False
    for number, (name, value) in enumerate(lines):
        if name != "authentication-results":
            neighbour = neighbour and name in _BETWEEN
            continue
        found = read_results(value)
        if neighbour and found.server and together[-1][1].server == found.server:
            at, above = together[-1]
            known = {one.method for one in above.results}
            more = tuple(one for one in found.results if one.method not in known)
            together[-1] = at, replace(above, results=(above.results + more)[:MOST_RESULTS])
        else:
            together.append((number, found))
        neighbour = True
    return together


def results_in(raw: bytes) -> list[AuthenticationResults]:
    """Return who wrote Authentication-Results into a mail, the topmost first: the lower ones may have come with it.

    >>> [found.server for found in results_in(b"Authentication-Results: mx.example; none\\r\\n\\r\\nHello")]
    ['mx.example']
    """
    return [found for _number, found in read_together((line.name, line.value) for line in header_of(raw).lines)]


def header_of(raw: bytes) -> PastedMail:
    r"""Return the fields of a mail as it came in, from the top down; what stands below them is not read.

    >>> header_of(b"Received: from a\r\n by b\r\nSubject: x\r\n\r\nHello").lines[0]
    HeaderLine(name='received', value='from a by b')
    """
    lines, _body = StructureReader(raw, []).header_lines(0, len(raw))
    return PastedMail(tuple(HeaderLine(name, value) for name, value in lines))


def _segments(value: str) -> Iterator[tuple[str, str]]:
    """The text between semicolons and the comments that stood in it; a quoted string is set between two NULs."""
    value, position, depth = value.replace("\0", " "), 0, 0
    text, comment = list[str](), list[str]()
    while piece := (_IN_COMMENT if depth else _PIECE).match(value, position):
        mark, position = piece[0], piece.end()
        if mark == "(":
            depth += 1
            (text if depth == 1 else comment).append(" " if depth == 1 else mark)
        elif mark == ")" and depth:
            depth -= 1
            comment.append(mark if depth else " ")
        elif depth:
            comment.append(mark)
        elif mark == ";":
            yield "".join(text), _shown("".join(comment))
            text, comment = [], []
        else:
            text.append(mark if piece[1] is None else "\0" + _ESCAPED.sub(r"\1", piece[1]) + "\0")
    yield "".join(text), _shown("".join(comment))


def _results(text: str, comment: str) -> Iterator[MethodResult]:
    """What stands between two semicolons: one method with its properties, of some servers several."""
    method, result, reason, properties = "", "", "", dict[str, str]()
    for name, value in _pairs(text):
        if not method or (name in _METHODS and name != method):
            if method:
                yield MethodResult(method, result, properties, reason, comment)
            method, result, reason, properties = name, value.lower().rstrip(","), "", {}
        elif name == "reason":
            reason = reason or value
        else:
            properties.setdefault(name, value)
    if method and result:
        yield MethodResult(method, result, properties, reason, comment)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for found in _PAIR.finditer(text):
        yield found[1].lower(), _shown(_plain(found[2]))


def _plain(text: str) -> str:
    return text.replace("\0", "")


def _shown(text: str) -> str:
    return one_line(text)[:LONGEST_VALUE]
