"""A DMARC aggregate report (RFC 7489 7.2 and appendix C, RFC 9990): who sent as a domain, and what became of it. Pure.

Read as reporters write it: with and without a namespace, under old names, with blanks around values. A document type
is refused, so no entity can be declared; nothing is kept but what is counted. The parser itself keeps each name that it
meets, and a whole tag until it ends: these are bounded, too.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from xml.parsers import expat  # a document type is refused: no entity can be declared

from mail.message.domains import normalise_domain
from mail.message.words import one_line
from mail.sentences import Why, why

MOST_SOURCES = 1000  # rows of one report that are kept
MOST_DEPTH = 20
MOST_NAMES = 200  # different ones, of elements and attributes
MOST_ELEMENTS = 600_000  # a report of 10 MB has 450,000
LONGEST_TAG = 64 * 1024  # octets
PIECE = 16 * 1024
LONGEST_VALUE = 500
MOST_COUNT = 1_000_000_000
MOST_SIGNATURES = 10


@dataclass(frozen=True, slots=True)
class ReportedSource:
    """Emails from one address with one outcome. ``dkim`` and ``spf``: passed *for the From domain*.

    ``signed_by``: the domains whose signatures were right; ``spf_domain``: that of the envelope sender;
    ``reason``: why the receiver did not do as the policy says (forwarded, mailing_list, local_policy …).
    """

    address: str
    count: int
    dkim: bool
    spf: bool
    disposition: str = ""
    header_from: str = ""
    signed_by: str = ""
    spf_domain: str = ""
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the email passed DMARC."""
        return self.dkim or self.spf


@dataclass(slots=True)
class AggregateReport:
    """What one receiver saw of one domain in one span of time, mostly a day."""

    domain: str
    organisation: str
    report_id: str
    begin: datetime
    end: datetime
    policy: str = ""
    sources: list[ReportedSource] = field(default_factory=list)
    emails: int = 0
    failed: int = 0  # emails
    left_out: int = 0  # emails of sources beyond those that are kept

    @property
    def failing_sources(self) -> int:
        """How many addresses sent emails that did not pass."""
        return len({source.address for source in self.sources if not source.passed})


class NotAReport(Exception):
    """It can't be read as a report; ``why`` says for what reason."""

    def __init__(self, reason: Why) -> None:
        super().__init__(reason["code"])
        self.why = reason


def read_aggregate(pieces: Iterable[bytes]) -> AggregateReport:
    """Return the report that an XML file in pieces is; raises ``NotAReport``."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    unread, moved = 0, 0  # octets since the parser last told of something
    try:
        for piece in _small(pieces):
            parser.Parse(piece, False)
            unread, moved = (unread + len(piece) if moved == reader.moved else 0), reader.moved
            if unread > LONGEST_TAG:
                raise NotAReport(why("dmarc_too_much"))
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise NotAReport(why("dmarc_not_xml", error=str(error)[:200])) from error
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise NotAReport(why("dmarc_not_xml", error=str(error)[:200])) from error
    return reader.report()


def _small(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for number, piece in enumerate(pieces):
        piece = piece if number else piece.lstrip()
        yield from (piece[at : at + PIECE] for at in range(0, len(piece), PIECE))


def _refuse(*_declaration: object) -> None:
    raise NotAReport(why("dmarc_has_doctype"))


_OF_REPORT = frozenset((
    "/report_metadata/org_name", "/report_metadata/email", "/report_metadata/report_id",
    "/report_metadata/date_range/begin", "/report_metadata/date_range/end",
    "/policy_published/domain", "/policy_published/p",
))  # fmt: skip
_OF_RECORD = {
    f"/record/{path}": path.replace("identities/", "identifiers/")
    for path in (
        "row/source_ip", "row/count", "row/policy_evaluated/disposition", "row/policy_evaluated/dkim",
        "row/policy_evaluated/spf", "row/policy_evaluated/reason/type", "identifiers/header_from",
        "identities/header_from",
    )
}  # fmt: skip
_OF_RESULT = {
    f"/record/auth_results/{kind}/{name}": (kind, name)
    for kind, name in (("dkim", "domain"), ("dkim", "result"), ("spf", "domain"), ("spf", "scope"))
}
_RESULTS = {"/record/auth_results/dkim": "dkim", "/record/auth_results/spf": "spf"}
_READ = _OF_REPORT | _OF_RECORD.keys() | _OF_RESULT.keys()
_ON_THE_WAY = {path[: end.start()] for path in _READ for end in re.finditer("/", path)}
_ELSEWHERE = "?"


class _Reader:
    """Collects the values of a report while its elements go by; of others nothing is kept."""

    def __init__(self) -> None:
        self.moved = 0  # how often the parser told of something
        self._paths: list[str] = []
        self._names: set[str] = set()
        self._elements = 0
        self._text: list[str] = []
        self._length = 0
        self._values: dict[str, str] = {}  # of the report
        self._record: dict[str, str] = {}
        self._results: dict[str, list[dict[str, str]]] = {}  # of this record: each signature, each kind of sender
        self._sources: dict[ReportedSource, int] = {}
        self._passing: list[ReportedSource] = []  # of these
        self._emails = self._failed = self._left_out = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.moved += 1
        self._elements += 1
        self._names.add(name)
        self._names.update(attributes)
        if len(self._names) > MOST_NAMES or self._elements > MOST_ELEMENTS:
            raise NotAReport(why("dmarc_too_much"))
        name = name.rpartition(":")[2].lower()[:50]
        if self._elements == 1 and name != "feedback":
            raise NotAReport(why("dmarc_other_root", name=name))
        if len(self._paths) >= MOST_DEPTH:
            raise NotAReport(why("dmarc_too_deep"))
        path = f"{self._paths[-1]}/{name}" if self._paths else ""
        self._paths.append(path if path in _ON_THE_WAY or path in _READ else _ELSEWHERE)
        self._text, self._length = [], 0
        if path == "/record":
            self._record, self._results = {}, {}
        elif path in _RESULTS:
            self._results.setdefault(_RESULTS[path], []).append({})

    def text(self, words: str) -> None:
        self.moved += 1
        if self._length < LONGEST_VALUE and self._paths[-1] in _READ:
            self._text.append(words)
            self._length += len(words)

    def end(self, _name: str) -> None:
        self.moved += 1
        path = self._paths.pop()
        if path == "/record":
            self._count()
        elif path in _READ:
            value = one_line("".join(self._text))[:LONGEST_VALUE]
            if path in _OF_REPORT:
                self._values.setdefault(path[1:], value)
            elif path in _OF_RECORD:
                self._record.setdefault(_OF_RECORD[path], value)
            else:
                kind, name = _OF_RESULT[path]
                self._results[kind][-1].setdefault(name, value)
        self._text, self._length = [], 0

    def _count(self) -> None:
        source = _source(self._record, self._results)
        self._emails += source.count
        self._failed += 0 if source.passed else source.count
        key = replace(source, count=0)
        if key not in self._sources:
            if len(self._sources) >= MOST_SOURCES and not source.passed and self._passing:
                self._left_out += self._sources.pop(self._passing.pop())  # what failed is worth more
            if len(self._sources) >= MOST_SOURCES:
                self._left_out += source.count
                return
            if source.passed:
                self._passing.append(key)
        self._sources[key] = self._sources.get(key, 0) + source.count

    def report(self) -> AggregateReport:
        values = self._values
        domain = _domain(values.get("policy_published/domain", ""))
        report_id = values.get("report_metadata/report_id", "")
        organisation = values.get("report_metadata/org_name") or values.get("report_metadata/email", "")
        if not domain or not organisation:
            raise NotAReport(why("dmarc_incomplete"))
        begin, end = (_moment(values.get(f"report_metadata/date_range/{name}", "")) for name in ("begin", "end"))
        if begin is None or end is None:
            raise NotAReport(why("dmarc_incomplete"))
        return AggregateReport(
            domain=domain,
            organisation=organisation[:200],
            report_id=(report_id or f"{begin.isoformat()} {end.isoformat()}")[:300],
            begin=min(begin, end),
            end=max(begin, end),
            policy=values.get("policy_published/p", "").lower()[:20],
            sources=[replace(key, count=count) for key, count in self._sources.items()],
            emails=self._emails,
            failed=self._failed,
            left_out=self._left_out,
        )


def _source(record: dict[str, str], results: dict[str, list[dict[str, str]]]) -> ReportedSource:
    def first(name: str, longest: int = 20) -> str:
        return record.get(name, "").lower()[:longest]

    passed = [one for one in results.get("dkim", ())[:MOST_SIGNATURES] if one.get("result", "").lower() == "pass"]
    signed_by = dict.fromkeys(_domain(one["domain"]) for one in passed if "domain" in one)
    senders = sorted(results.get("spf", ()), key=lambda one: one.get("scope", "").lower() == "helo")
    return ReportedSource(
        address=_address(first("row/source_ip", 60)),
        count=_number(first("row/count")),
        dkim=first("row/policy_evaluated/dkim") == "pass",
        spf=first("row/policy_evaluated/spf") == "pass",
        disposition=first("row/policy_evaluated/disposition"),
        header_from=_domain(first("identifiers/header_from", 255)),
        signed_by=", ".join(signed_by)[:300],
        spf_domain=_domain(next((one["domain"] for one in senders if "domain" in one), "")[:255]),
        reason=first("row/policy_evaluated/reason/type", 40),
    )


def _domain(text: str) -> str:
    text = text.strip().strip(".").lower()
    return (normalise_domain(text) or text)[:255]


def _address(text: str) -> str:
    text = text.strip("[] ").partition("%")[0]  # the rest is the name of a network card, of any length
    try:
        return ip_address(text).compressed
    except ValueError:
        return text[:45]


def _number(text: str) -> int:
    return min(int(text), MOST_COUNT) if text.isascii() and text.isdecimal() else 1


def _moment(text: str) -> datetime | None:
    """The standard has seconds since 1970; some write the date itself."""
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # also where only the hour of its zone leads out of the calendar
        return None
