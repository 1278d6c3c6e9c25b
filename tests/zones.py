"""The table of zones in ``tests/data/zones``: what DNS says of a domain, and what should come of it.

A file has the zone's lines; in its comments: ``servers`` (those below, by name), ``server`` and ``key`` (others, as
JSON), ``expect`` (states), ``says`` (words that must be there), ``paste`` (the records to paste: name, type, value),
``then`` (the state after pasting, if that is not all), ``without`` (common lines that this zone does not have),
``domain``. Nothing to paste and not good: ``paste: none``.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.zone

from mail.decide.deliverability import Judgement, SendingDomain, SendingServer
from mail.decide.verdicts import DkimKey, Verdict
from mail.dns_answers import DnsAnswer, Question
from mail.sentences import say

FOLDER = Path(__file__).parent / "data" / "zones"
DOMAIN = "acme.example"
FILES = sorted(FOLDER.glob("*.zone"))

SERVERS = {
    "Office": {"host": "smtp.post.example", "include": "spf.post.example"},
    "Bulk": {"host": "smtp.bulk.example", "include": "spf.bulk.example"},
    "Cloud": {"host": "smtp.cloud.example", "include": "spf.cloud.example"},
    "Own": {"host": "mail.own.example"},
    "Own6": {"host": "mail.six.example"},
}


@dataclass(frozen=True)
class ZoneCase:
    """One file."""

    name: str
    text: str

    @classmethod
    def read(cls, file: Path, domain: str = DOMAIN) -> "ZoneCase":
        """Return the case of a file, for another domain if one is given."""
        return cls(file.stem, file.read_text().replace(DOMAIN, domain))

    def notes(self, key: str) -> list[str]:
        """Return what the comments with a key say."""
        start = f"; {key}: "
        return [line.removeprefix(start) for line in self.text.splitlines() if line.startswith(start)]

    def sending(self, domain: str = DOMAIN) -> SendingDomain:
        """Return the domain with its servers and keys."""
        name = next(iter(self.notes("domain")), domain)
        listed = [{"name": one, **SERVERS[one]} for note in self.notes("servers") for one in note.split(", ")]
        servers = [self._server(entry, name) for entry in [*listed, *map(json.loads, self.notes("server"))]]
        keys = [DkimKey(**json.loads(note)) for note in self.notes("key")]
        return SendingDomain(name, servers, keys, reports_to=f"dmarc@{domain}")

    def _server(self, entry: dict[str, object], domain: str) -> SendingServer:
        addresses = {"from_address": f"hello@{domain}", "envelope_sender": f"bounce@{domain}"}
        values = {"id": 1, **addresses, **entry}
        if "selectors" in values:
            values["selectors"] = tuple(values["selectors"])  # type: ignore[arg-type]
        return SendingServer(**values)  # type: ignore[arg-type]

    @cached_property
    def pasted(self) -> list[tuple[str, str, str]]:
        """The records that should be offered: name, type and value."""
        found = [note.split(" ", 2) for note in self.notes("paste") if note != "none"]
        return [(name.removesuffix("."), kind, value) for name, kind, value in found]

    def lines(self, domain: str = DOMAIN) -> list[str]:
        """Return the records of the zone and those that all zones have."""
        own = [line for line in self.text.splitlines() if line and not line.startswith(";")]
        taken = {tuple(line.split()[0:3:2]) for line in own} | {tuple(note.split()) for note in self.notes("without")}
        common = (FOLDER / "common.txt").read_text().replace(DOMAIN, domain).splitlines()
        kept = [line for line in common if not line.startswith(";") and tuple(line.split()[0:3:2]) not in taken]
        return own + kept


class ZoneFile:
    """What a name server would say that has these lines."""

    def __init__(self, lines: list[str]) -> None:
        head = "@ 60 IN SOA ns.invalid. admin.invalid. 1 60 60 60 60\n@ 60 IN NS ns.invalid.\n"
        text = head + "\n".join(dict.fromkeys(line.replace(" IN ", " 60 IN ", 1) for line in lines))
        self.zone = dns.zone.from_text(text, dns.name.root, relativize=False)

    def ask(self, question: Question) -> DnsAnswer:
        """Return the answer to a question, following aliases."""
        labels = question.name.split(".")
        if any(not 0 < len(label) < 64 for label in labels):
            return DnsAnswer("no_name")
        name, aliases = dns.name.Name([*(label.encode() for label in labels), b""]), []
        while alias := self.zone.get_rdataset(name, dns.rdatatype.CNAME):
            name = alias[0].target
            aliases.append(name.to_text(omit_final_dot=True))
        found = self.zone.get_rdataset(name, question.kind)
        if found is None:
            below = any(other.is_subdomain(name) for other in self.zone.nodes)
            return DnsAnswer("no_record" if below else "no_name", aliases=tuple(aliases))
        return DnsAnswer("found", tuple(self._text(record, question.kind) for record in found), 60, tuple(aliases))

    def _text(self, record: object, kind: str) -> str:
        if kind == "TXT":
            return b"".join(record.strings).decode()  # type: ignore[attr-defined]
        return record.to_text().removesuffix(".").lower()  # type: ignore[attr-defined]


def states(judgement: Judgement) -> dict[str, str]:
    """Return the states of all verdicts by the names that ``expect`` uses."""
    found = {"spf": judgement.spf.state, "dmarc": judgement.dmarc.state, "mx": judgement.mx.state}
    found |= {f"dkim {verdict.subject}": verdict.state for verdict in judgement.dkim}
    for server in judgement.servers:
        found |= {server.name: server.spf.state, f"passes {server.name}": server.passes.state}
        found |= {f"ptr {verdict.subject}": verdict.state for verdict in server.reverse}
    return found


def words(judgement: Judgement) -> str:
    """Return all that is said, a sentence a line."""
    changes = [change for verdict in offered(judgement) for change in verdict.record.changes]  # type: ignore[union-attr]
    sentences = [sentence for verdict in judgement.verdicts for sentence in verdict.sentences]
    return "\n".join(say(sentence) for sentence in [*sentences, *changes])


def offered(judgement: Judgement) -> list[Verdict]:
    """Return the verdicts that have a record to paste."""
    return [verdict for verdict in judgement.verdicts if verdict.record]


def after_pasting(lines: list[str], judgement: Judgement) -> list[str]:
    """Return the lines of a zone in which every record that is offered was pasted."""
    for verdict in offered(judgement):
        assert verdict.record is not None
        name, kind, replaces = f"{verdict.record.name}.", verdict.record.kind, verdict.record.replaces
        gone = [line for line in lines if line.split()[0] == name and _holds(line, kind, replaces)]
        lines = [line for line in lines if line not in gone] + [f"{name} IN {kind} {verdict.record.quoted}"]
    return lines


def _holds(line: str, kind: str, replaces: tuple[str, ...]) -> bool:
    """Say whether a line is one of the records that make room."""
    _, _, found, value = line.split(" ", 3)
    plain = value.replace('" "', "").replace("\\;", ";").strip('"').removesuffix(".")
    return found in (kind, "CNAME") and plain in replaces
