"""Bounces: how well reports are read, beside flufl.bounce alone: python -m benchmarks.bounces [--misses] [folder]

A folder holds mails and their ``labels.json`` (see ``tests/data/bounces/README.md``).
"""

import argparse
import email
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from flufl.bounce import all_failures

from mail.decide.failure import FailureKind
from mail.decide.report import About, read_report
from mail.message.address import normalise
from mail.message.parse import parse

SAMPLES = Path(__file__).resolve().parents[1] / "tests" / "data" / "bounces"
ARRIVED = datetime(2026, 11, 1, tzinfo=UTC)
ROUNDS = 3  # of the clock; the best one counts, noise only ever adds


class Found(NamedTuple):
    """What a reader says of one mail: each failed and each late recipient with all their names, and what it is."""

    failed: Sequence[frozenset[str]] = ()
    late: Sequence[frozenset[str]] = ()
    hard: frozenset[str] = frozenset()
    about: str = ""

    @property
    def names(self) -> set[str]:
        """All names of all recipients that it tells of."""
        return set().union(*self.failed, *self.late)


@dataclass
class Mail:
    """A mail with its label."""

    file: str
    raw: bytes
    kind: str
    failed: list[set[str]]
    late: list[set[str]]
    hard: dict[str, bool]

    @property
    def names(self) -> set[str]:
        """All names of all recipients that a reader may name."""
        return set().union(*self.failed, *self.late)


@dataclass
class Score:
    """Counts over a set of mails; shares are in percent."""

    counts: dict[str, list[int]] = field(default_factory=dict)
    misses: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, name: str, hit: bool) -> None:
        """Count one case of a kind."""
        hits = self.counts.setdefault(name, [0, 0])
        hits[0] += hit
        hits[1] += 1

    def share(self, name: str) -> str:
        """Return the hits of a kind as a percentage, or as a count where each one matters."""
        hits, of = self.counts.get(name, [0, 0])
        if name in COUNTED:
            return f"{hits}/{of}"
        return f"{100 * hits / of:.1f} %" if of else "–"


COUNTED = {
    "ordinary taken for a bounce",
    "other kinds taken for one",
    "exceptions",
    "feedback",
    "names nobody, kept so",
}
ROWS = (
    ("recall", "≥ 98.5"),
    ("exact", "≥ 98"),
    ("kind", "≥ 97"),
    ("hard or soft", "≥ 92"),
    ("false hard", "≤ 3"),
    ("names nobody, kept so", ""),
    ("ordinary taken for a bounce", "0"),
    ("other kinds taken for one", "0"),
    ("automatic replies", "≥ 90"),
    ("feedback", "all"),
    ("exceptions", "0"),
)

# --- the readers


def ours(raw: bytes, at_bounce_address: bool = False) -> Found:
    """Read a mail as the product does."""
    message = parse(raw, ARRIVED)
    report = read_report(message, at_bounce_address)
    if report is None:
        return Found(about="autoreply" if message.is_auto_reply else "")
    late = [frozenset(one.addresses) for one in report.recipients if one.kind is FailureKind.DELAY]
    failed = [frozenset(one.addresses) for one in report.failures]
    hard = (name for one in report.failures if one.kind is FailureKind.HARD for name in one.addresses)
    return Found(failed, late, frozenset(hard), _ABOUT.get(report.about, report.about.value))


_ABOUT = {
    About.COMPLAINT: "feedback",
    About.FEEDBACK: "feedback",
    About.CHALLENGE: "autoreply",
    About.RECEIPT: "mdn",
}


def flufl(raw: bytes) -> Found:
    """Read a mail with flufl.bounce alone; what it calls permanent is all it says about hard and soft."""
    temporary, permanent = all_failures(email.message_from_bytes(raw))
    failed = [frozenset([_plain(address)]) for address in permanent]
    late = [frozenset([_plain(address)]) for address in temporary - permanent]
    return Found(failed, late, frozenset().union(*failed))


def _plain(address: bytes | str) -> str:
    text = address.decode("utf-8", "replace") if isinstance(address, bytes) else address
    return normalise(text) or text.lower()


# --- the labels


def load(folder: Path) -> list[Mail]:
    """Return the labelled mails of a folder."""
    labels = json.loads((folder / "labels.json").read_text())["mails"]
    return [_mail(folder, label) for label in labels]


def _mail(folder: Path, label: dict[str, Any]) -> Mail:
    told = [_names(one) for one in label["recipients"]]
    late = [_names(one) for one in label.get("delayed", ())]
    is_delay = label["kind"] == "delay"
    hard = {name: one["hard"] for one in label["recipients"] if one.get("hard") is not None for name in _names(one)}
    raw = (folder / label["file"]).read_bytes()
    failed = told if label["kind"] == "bounce" else []
    return Mail(label["file"], raw, label["kind"], failed, late + (told if is_delay else []), hard)


def _names(one: dict[str, Any] | str) -> set[str]:
    names = [one] if isinstance(one, str) else [one["address"], *one.get("also", ())]
    return {form for name in names for form in (name.lower(), normalise(name) or name.lower())}


# --- scoring


def score(mails: Iterable[Mail], read: Callable[[bytes], Found]) -> Score:
    """Compare what a reader says with the labels."""
    result = Score()
    for mail in mails:
        try:
            found = read(mail.raw)
            result.add("exceptions", False)
        except Exception as error:
            found = Found(about=type(error).__name__)
            result.add("exceptions", True)
        wrong = _compare(result, mail, found)
        if wrong:
            expected = ", ".join(sorted(next(iter(sorted(names))) for names in (*mail.failed, *mail.late)))
            got = ", ".join(sorted(found.names))
            result.misses.append((f"{wrong}: {mail.file}", f"{mail.kind} {expected}", f"{found.about} {got}"))
    return result


def _compare(result: Score, mail: Mail, found: Found) -> str:
    """Count one mail; return what is wrong with it, "" if nothing is."""
    if mail.kind in ("bounce", "delay"):
        return _compare_report(result, mail, found)
    taken = bool(found.failed)
    result.add("ordinary taken for a bounce" if mail.kind == "ordinary" else "other kinds taken for one", taken)
    if mail.kind in ("autoreply", "feedback"):
        result.add("automatic replies" if mail.kind == "autoreply" else "feedback", found.about == mail.kind)
        if found.about != mail.kind:
            return "not recognised"
    return "false positive" if taken else ""


def _compare_report(result: Score, mail: Mail, found: Found) -> str:
    wanted = [*mail.failed, *mail.late]
    named = found.names
    if not wanted:
        result.add("names nobody, kept so", not named)
        return "names somebody" if named else ""
    recall = all(names & named for names in wanted)
    exact = recall and named <= mail.names
    failed, late = set().union(*found.failed), set().union(*found.late)
    kind = recall and all(names & failed for names in mail.failed) and all(names & late for names in mail.late)
    for name, hit in (("recall", recall), ("exact", exact), ("kind", kind)):
        result.add(name, hit)
    wrong_hard = _compare_hard(result, mail, found)
    if not recall:
        return "missed"
    return "not exact" if not exact else "kind" if not kind else wrong_hard


def _compare_hard(result: Score, mail: Mail, found: Found) -> str:
    wrong = ""
    failed = set().union(*found.failed)
    for names in mail.failed:
        label = next((mail.hard[name] for name in names if name in mail.hard), None)
        if label is None or not names & failed:
            continue
        told = bool(names & found.hard)
        result.add("hard or soft", told is label)
        result.add("false hard", told and not label)
        if told is not label:
            wrong = "called hard" if told else "called soft"
    return wrong


# --- speed


def speed(mails: Sequence[bytes], read: Callable[[bytes], Found]) -> float:
    """Return how many mails are read a second."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for raw in mails:
            _quietly(read, raw)
        best = min(best, time.perf_counter() - started)
    return len(mails) / best


def _quietly(read: Callable[[bytes], Found], raw: bytes) -> None:
    try:
        read(raw)
    except Exception:
        return  # counted elsewhere; here only the time matters


def large_mail() -> bytes:
    """Return an ordinary mail of 3 MB."""
    head = b"From: Ann <ann@x.test>\r\nTo: sales@we.test\r\nSubject: Log\r\nMessage-ID: <1@x.test>\r\n\r\n"
    return head + b"ann@x.test wrote: the message to bob@y.test was not delivered yet.\r\n" * 45_000


# --- the table


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table, for each folder below and for all of them."""
    options = argparse.ArgumentParser(prog="benchmarks.bounces")
    options.add_argument("folder", nargs="?", type=Path, default=SAMPLES)
    options.add_argument("--misses", action="store_true", help="list what is read otherwise than labelled")
    options.add_argument("--bounce-address", action="store_true", help="as if all of it came to the bounce address")
    given = options.parse_args(arguments)
    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    mails = load(given.folder)

    def read(raw: bytes) -> Found:
        return ours(raw, given.bounce_address)

    everything = score(mails, read)
    _print_table(f"all {len(mails)} mails", everything, score(mails, flufl))
    for name in sorted({mail.file.partition("/")[0] for mail in mails}):
        some = [mail for mail in mails if mail.file.startswith(f"{name}/")]
        _print_line(name, len(some), score(some, read), score(some, flufl))
    _print_speeds(mails, read)
    if given.misses:
        for wrong, expected, got in sorted(everything.misses):
            print(f"{wrong}\n    expected {expected}\n    got      {got}")


def _print_table(title: str, mine: Score, other: Score) -> None:
    print(f"{title:32}{'CoquiMail':>12}{'flufl.bounce':>14}{'goal':>9}")
    for name, goal in ROWS:
        print(f"{name:32}{mine.share(name):>12}{other.share(name):>14}{goal:>9}")


def _print_line(name: str, count: int, mine: Score, other: Score) -> None:
    parts = [
        " / ".join(one.share(row).removesuffix(" %") for row in ("recall", "exact", "kind")) for one in (mine, other)
    ]
    print(f"{name:12}{count:4} mails, recall / exact / kind: {parts[0]}; flufl.bounce {parts[1]}")


def _print_speeds(mails: Sequence[Mail], read: Callable[[bytes], Found]) -> None:
    reports = [mail.raw for mail in mails if mail.kind in ("bounce", "delay")]
    ordinary = [mail.raw for mail in mails if mail.kind == "ordinary"]
    for name, raws, goal in (("reports", reports, "≥ 500/s"), ("ordinary", ordinary, "≥ 400/s")):
        if raws:
            print(f"{name:32}{speed(raws, read):>10.0f}/s{speed(raws, flufl):>12.0f}/s{goal:>9}")
    large = [large_mail()]
    print(f"{'a mail of 3 MB':32}{1 / speed(large, read):>10.2f} s{1 / speed(large, flufl):>12.2f} s{'< 0.5 s':>9}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
