"""Pure: reports in plain words, and only in mail that a machine sent: who is meant, and whether it is too late.

Readers stand in an ordered table. The detectors of flufl.bounce are one of them, guarded: they know many old forms.
"""

import email
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from importlib import import_module

from mail.decide.delivery_report import STATUS_CODE, failed_in_header, told_on
from mail.decide.failure import FailureKind, is_telling, kind_in_report
from mail.decide.named import Surety, named_recipients
from mail.decide.own_words import OwnWords, about_recipients, own_words
from mail.decide.reported import MOST_RECIPIENTS, SCANNED, About, Report, Reported, short
from mail.decide.returned import (
    answers_for_somebody,
    from_machine,
    has_machine_voice,
    is_certain,
    is_challenge,
    is_report,
    may_be_machine,
    returned_ids,
    returned_recipients,
)
from mail.message.address import normalise
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

DETECTORS_MISSING = "bounce_detectors_missing"

# flufl.bounce logs every step, and tracebacks with addresses; what it fails on is noted in the report instead.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


@dataclass
class _Words:
    """A report in words, while its readers look at it."""

    message: IncomingMessage
    own: OwnWords
    ids: tuple[str, ...]
    certain: bool
    problem: Why | None = None

    @cached_property
    def nobody(self) -> frozenset[str]:
        """What looks like a recipient and is none: who reports and who reads it, and the ids in the report."""
        readers = {key for address in self.message.recipients if (key := normalise(address))}
        return frozenset((self.message.from_key, *readers, *(id.strip("<>").lower() for id in self.ids)))

    @cached_property
    def named(self) -> tuple[Surety, list[str]]:
        """Whom its words name, and how surely."""
        return named_recipients(about_recipients(self.own.said), self.nobody)


def report_in_words(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    """Return what a mail from a machine reports in words; None for a mail from a person.

    What certainly is a report stays one even if nothing can be read from it. An automatic answer is none, wherever it
    was sent: there only what the detectors find counts, since some reports call themselves answers. Nor is what
    answers a mail as nobody, under a person's name, and tells of no failure: programs do that for who is away.
    """
    if message.content_type == "multipart/report" and not is_report(message):
        return None  # reports about TLS or DMARC
    machine = from_machine(message)
    if not (machine or is_report(message) or may_be_machine(message)):
        return None
    own = own_words(message.text)
    certain = is_certain(message, own, at_bounce_address)
    if not (certain or machine or at_bounce_address):
        return None
    ids = returned_ids(message, at_bounce_address or certain)
    if is_challenge(own):
        return Report(About.CHALLENGE, (), ids, "words", short(own.said))
    answers = machine and not has_machine_voice(message) and answers_for_somebody(message, own)
    at_home = at_bounce_address and (bool(ids) or machine) and not answers
    return _read(_Words(message, own, ids, certain), at_home)


def _read(words: _Words, at_home: bool) -> Report | None:
    said = words.own.said
    if words.certain and _has_arrived(said):
        return Report(About.DELIVERED, (), words.ids, "words", short(said))
    late = _is_late(words.message.subject, said)
    found = next((named for read in _READERS if (named := read(words))), [])[:MOST_RECIPIENTS]
    problems = (words.problem,) if words.problem else ()
    if found:
        recipients = _said_about(found, said, FailureKind.DELAY if late else None)
        return Report(About.DELAY if late else About.BOUNCE, recipients, words.ids, "words", short(said), "", problems)
    message = words.message
    by_server = from_machine(message) or is_report(message) or message.from_ is None
    if (words.certain and by_server) or (at_home and not message.is_auto_reply):
        about = About.DELAY if late else About.UNREADABLE
        return Report(about, (), words.ids, "", short(said), "", problems, is_certain=words.certain)
    return None


# --- who is meant


def _in_header(words: _Words) -> list[str]:
    return failed_in_header(words.message)


def _surely_named(words: _Words) -> list[str]:
    surety, named = words.named if words.certain else (Surety.NO, [])
    return named if surety is Surety.SURELY else []


def _reader_named(words: _Words) -> list[str]:
    """Who wrote to themselves, or is named in the header of the report as its recipient: if nobody else is meant."""
    if not words.certain:
        return []
    surety, named = named_recipients(about_recipients(words.own.said), {words.message.from_key})
    return named if surety >= Surety.PROBABLY else []


_MOST_LINES, _LONGEST_LINE = 4000, 2000  # what the detectors look at: each tries many patterns on each line


def _few_lines(raw: bytes) -> bytes:
    """The beginning of a mail without blank lines in a row: each block of a status part becomes an object."""
    lines = raw[:SCANNED].splitlines()
    pairs = zip([b"-", *lines], lines, strict=False)
    return b"\n".join([line[:_LONGEST_LINE] for before, line in pairs if line or before][:_MOST_LINES])


def _by_detectors(words: _Words) -> list[str]:
    """What flufl.bounce finds; whatever it raises is a note, not an accident."""
    message = words.message
    if message.is_auto_reply and not has_machine_voice(message):
        return []  # somebody is away, whatever their note quotes
    if not words.certain and message.is_answer and not from_machine(message):
        return []  # somebody passes a report on
    try:
        detectors = import_module("flufl.bounce")  # loaded by the first report, not by every process
        tree = _without_returned(email.message_from_bytes(_few_lines(message.raw)))
        temporary, permanent = detectors.all_failures(tree)
    except ImportError:
        words.problem = why(DETECTORS_MISSING)
        return []
    except Exception as error:  # its detectors are many and old: any of them may fail on a mail they never saw
        words.problem = why("bounce_detector_failed", error=type(error).__name__)
        return []
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in permanent or temporary]
    return sorted({key for text in texts if (key := normalise(text)) and key not in words.nobody})


def _named(words: _Words) -> list[str]:
    """The last reader, for what certainly is a report: the addresses that it names, less its own and its reader's."""
    return words.named[1] if words.certain else []


def _in_returned(words: _Words) -> list[str]:
    """Whom the returned mail was for, if for one alone."""
    found = [key for key in returned_recipients(words.message, words.own.returned) if key not in words.nobody]
    return found if words.certain and len(found) == 1 else []


_READERS: tuple[Callable[[_Words], list[str]], ...] = (
    _in_header,
    _surely_named,
    _by_detectors,
    _named,
    _reader_named,
    _in_returned,
)


def _without_returned(tree: Message) -> Message:
    """Empty the attached mails: what they hold is not what this report says."""
    for part in tree.walk():
        if part.get_content_type() in ("message/rfc822", "message/partial") and part is not tree:
            del part["Content-Type"]
            part["Content-Type"] = "text/rfc822-headers"
            part.set_payload("")
    if not str(tree["From"] or "").strip():  # one of the detectors looks for an address in it
        del tree["From"]
        tree["From"] = "unknown@invalid"
    return tree


# --- what it says


def _is_late(subject: str, said: str) -> bool:
    """Say whether the mail is still being tried."""
    text = " ".join(f"{subject}\n{said}".split())
    return bool(_ONLY_WARNING.search(text) or (_LATE.search(text) and not _FINAL.search(text)))


def _has_arrived(said: str) -> bool:
    """Say whether a report tells of success alone, as servers did when somebody asked for a receipt."""
    return bool(_ARRIVED.search(said)) and not _NOT_ALL.search(said)


_ARRIVED = re.compile(
    r"successful(?:ly)? (?:been )?deliver(?:ed|y)|deliver(?:ed|y was) successful|erfolgreich zugestellt"
    r"|delivery report that you requested",
    re.IGNORECASE,
)
_NOT_ALL = re.compile(  # a warning that a mail filter puts in says "do not click", too
    r"fail|undeliver|\bunable|(?:\bnot|n['’]t) (?:\w{1,12} ){0,4}(?:deliver|sen[dt]|reach|accept|found|exist)"
    r"|\bnicht (?:\w{1,20} )?(?:zugestellt|erreicht|gefunden)|error|reject|refus|unknown|\b[45]\d\d\b",
    re.IGNORECASE,
)


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_ONLY_WARNING = _any_of(
    r"warning (?:message )?only|this is (?:just |only )?a warning",
    r"(?:do(?:es)? not|don't|no) need to (?:re-?send|retry|do anything)",
    r"(?:will|shall) (?:be|keep) (?:re-?)?tr(?:ied|ying)|will (?:re-?try|try again) (?:for|until|every)",
    r"only a temporary failure|temporary failure report|temporary problem delivering",
    r"will continue (?:to (?:re-?)?(?:try|attempt)|(?:re-?)?(?:try|attempt)ing)",
    r"noch nicht zugestellt|wird weiter versucht|n'a pas encore été remis|aún no se ha (?:podido )?entrega",
)
_LATE = _any_of(
    r"still (?:being tried|trying|attempting|in (?:the )?(?:\w+ )?queue|undelivered)",
    r"remains in (?:the )?(?:\w+ )?queue",
    r"n(?:o|')t yet (?:been )?(?:successfully )?delivered|n(?:o|')t been delivered yet",
    r"could not be delivered (?:yet|so far)",
    r"(?:delivery|it|attempts?) (?:attempts )?will (?:continue|be (?:made|attempted|retried))",
    r"(?:is|was|has been|been|message|delivery|mail) (?:being |temporarily )?delayed|\(delay\)|delayed (?:e-?)?mail",
    r"warning: (?:could not|message|mail|delivery)",
    r"verzögert|retardé|différée|retrasad|atrasad|ritardat|vertraagd|opóźni|försenad|遅延|задержк",
)
_FINAL = _any_of(
    r"giving up|given up|retry timeout exceeded|retry time not reached|permanent(?:ly)?|fatal|no further attempts",
    r"will not be (?:re-?tried|delivered)|undeliverable|expired|returned to (?:the )?sender",
    r"has been (?:rejected|returned)",
)


_FOOTER = re.compile(r"\n(?:-- ?|_{8,}[^\n]*)\n")  # of a scanner, which speaks of spam and viruses in every mail


def _said_about(addresses: Collection[str], words: str, kind: FailureKind | None) -> tuple[Reported, ...]:
    """Recipients with what the report says after each of their addresses, and the kind which that means."""
    lowered = words.lower()
    places = sorted((_place_of(address, lowered), address) for address in addresses)
    found = []
    for number, (start, address) in enumerate(places):
        end = places[number + 1][0] if number + 1 < len(places) else len(words)
        said = _FOOTER.split(words[start:end][:600], maxsplit=1)[0] if start >= 0 else words
        status = match[0] if (match := STATUS_CODE.search(said)) else ""
        status, told = told_on(status, said)
        reason = kind or kind_in_report(status, told.lower().replace(address, ""), words)
        if reason is FailureKind.SOFT and len(places) == 1 and not is_telling(status):
            reason = kind_in_report(status, lowered.replace(address, ""), words)
        found.append(Reported(address, reason, status, short(said)))
    return tuple(found)


def _place_of(address: str, words: str) -> int:
    """Where an address stands, with the bracket before it; -1 if it does not."""
    found = words.find(address)
    return found - 1 if words[max(found - 1, 0) : found] == "<" else found
