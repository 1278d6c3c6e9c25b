"""A verdict on a piece of DNS, with its words and the record that makes it good. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mail.dns_answers import DnsAnswer
from mail.sentences import Why, why

State = Literal["good", "warning", "bad", "unknown"]
About = Literal["spf", "dkim", "dmarc", "mx", "ptr", "passes"]
LONGEST_STRING = 255  # octets in one string of a TXT record (RFC 1035, 3.3.14)

_ORDER: tuple[State, ...] = ("good", "unknown", "warning", "bad")


@dataclass(frozen=True, slots=True)
class RecordToPaste:
    """A DNS record as a person enters it. ``replaces``: the values of today that it stands in for, () if it is new.

    ``quoted`` is the value as zone files want it, in strings of at most 255 octets. ``changes``: what it adds to
    today's record, what it leaves out, and what to think of before it is pasted.
    """

    name: str
    kind: Literal["TXT", "PTR"]
    value: str
    replaces: tuple[str, ...] = ()
    quoted: str = ""
    changes: tuple[Why, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """``sentences``: what is so, what it means and who can fix it. ``subject``: the selector, address or server."""

    about: About
    state: State
    sentences: tuple[Why, ...]
    record: RecordToPaste | None = None
    subject: str = ""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key that signs as a domain. ``public_key``: its ``p=`` if it is ours, "" if only a provider knows it."""

    domain: str
    selector: str
    algorithm: Literal["rsa", "ed25519"] = "rsa"
    public_key: str = ""


def worst(verdicts: Iterable[Verdict]) -> State:
    """Return the worst state of several verdicts.

    >>> worst([Verdict("mx", "good", ()), Verdict("ptr", "unknown", ())]), worst([])
    ('unknown', 'good')
    """
    return max((verdict.state for verdict in verdicts), key=_ORDER.index, default="good")


def not_known(about: About, name: str, answer: DnsAnswer, subject: str = "") -> Verdict:
    """Return the verdict where DNS did not say: never that something is missing.

    >>> not_known("mx", "acme.com", DnsAnswer("silent", said="192.0.2.53: no response")).state
    'unknown'
    """
    return Verdict(about, "unknown", (why(f"dns_{answer.outcome}", name=name, said=answer.said),), subject=subject)


def txt_record(name: str, value: str, replaces: Iterable[str] = (), changes: tuple[Why, ...] = ()) -> RecordToPaste:
    """Return a TXT record to paste.

    >>> txt_record("acme.com", "v=spf1 -all").quoted
    '"v=spf1 -all"'
    >>> [len(string) for string in txt_record("acme.com", "a" * 300).quoted.split(" ")]
    [257, 47]
    """
    strings = [value[start : start + LONGEST_STRING] for start in range(0, len(value), LONGEST_STRING)]
    quoted = " ".join('"{}"'.format(string.replace("\\", "\\\\").replace('"', '\\"')) for string in strings)
    return RecordToPaste(name, "TXT", value, tuple(replaces), quoted, changes)
