"""Pure: reports in plain words, by the detectors of flufl.bounce, and only in mail that a machine sent."""

import email
import logging
import re
from collections.abc import Iterable, Sequence
from email.message import Message
from importlib import import_module
from importlib.util import find_spec

from mail.decide.delivery_report import STATUS_CODE
from mail.decide.failure import FailureKind, is_telling, kind_of
from mail.decide.reported import MOST_RECIPIENTS, SCANNED, About, Report, Reported, short
from mail.decide.returned import from_machine, from_mailer_daemon, is_challenge, is_report, may_be_machine, returned_ids
from mail.message.address import normalise
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

if find_spec("flufl") is None or find_spec("flufl.bounce") is None:
    raise ImportError("flufl.bounce is missing: install requirements.txt, or half of all bounces would not be noticed")

# flufl.bounce logs every step, and tracebacks with addresses; what it fails on is noted in the report instead.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


def report_in_words(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    """Return what flufl.bounce recognises in a mail from a machine; None for a mail from a person.

    What certainly is a report stays one even if nothing can be read from it. An automatic answer is none, wherever it
    was sent: there only what the detectors find counts, since some reports call themselves answers.
    """
    if message.content_type == "multipart/report" and not is_report(message):
        return None  # reports about TLS or DMARC
    certain = from_mailer_daemon(message) or is_report(message)
    if not (certain or from_machine(message) or (at_bounce_address and may_be_machine(message))):
        return None
    ids = returned_ids(message, at_bounce_address)
    words = _own_words(message)
    if is_challenge(message):
        return Report(About.CHALLENGE, (), ids, "words", short(words))
    late = bool(_ONLY_WARNING.search(words) or (_LATE.search(words) and not _FINAL.search(words)))
    temporary, permanent, problems = _flufl(message, ids)
    if certain and not (temporary or permanent):
        permanent = _addresses_in(words, message, ids)
    if late:
        temporary, permanent = temporary | permanent, set()
    recipients = _said_about(permanent, words, None) + _said_about(temporary - permanent, words, FailureKind.DELAY)
    if recipients:
        about = About.BOUNCE if permanent else About.DELAY
        return Report(about, recipients, ids, "words", short(words), problems=problems)
    at_home = at_bounce_address and (from_machine(message) or bool(ids)) and not message.is_auto_reply
    if certain or at_home:
        return Report(About.DELAY if late else About.UNREADABLE, (), ids, "", short(words), problems=problems)
    return None


def _addresses_in(words: str, message: IncomingMessage, ids: Sequence[str]) -> set[str]:
    """The last reader, for what certainly is a report: the addresses that it names, less its own and its reader's."""
    found = {key for match in _ADDRESS.finditer(words) if (key := normalise(match[0]))}
    readers = {key for address in message.recipients if (key := normalise(address))}
    return found - readers - _nobody(message, ids)


_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:@]{1,64}@[\w-]+(?:\.[\w-]+)+")
_ONLY_WARNING = re.compile(
    r"warning (?:message )?only|this is (?:just |only )?a warning|(?:do(?:es)? not|don't|no) need to (?:re-?send|retry)"
    r"|(?:will|shall) (?:be|keep) (?:re-?)?tr(?:ied|ying)",
    re.IGNORECASE,
)
_LATE = re.compile(
    r"still (?:being tried|trying|attempting)|not yet been delivered|could not be delivered (?:yet|so far)"
    r"|(?:delivery|it|attempts?) (?:attempts )?will (?:continue|be (?:made|attempted|retried))"
    r"|(?:is|was|has been|been|message|delivery) (?:temporarily )?delayed",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"giving up|given up|retry timeout exceeded|retry time not reached|permanent(?:ly)?|fatal|no further attempts"
    r"|will not be (?:re-?tried|delivered)|undeliverable|expired|returned to (?:the )?sender"
    r"|has been (?:rejected|returned)",
    re.IGNORECASE,
)


def _said_about(addresses: set[str], words: str, kind: FailureKind | None) -> tuple[Reported, ...]:
    """Recipients with what the report says after each of their addresses, and the kind which that means."""
    lowered = words.lower()
    places = sorted((lowered.find(address), address) for address in list(addresses)[:MOST_RECIPIENTS])
    found = []
    for number, (start, address) in enumerate(places):
        end = places[number + 1][0] if number + 1 < len(places) else len(words)
        said = words[start:end][:600] if start >= 0 else words
        status = match[0] if (match := STATUS_CODE.search(said)) else ""
        reason = kind or kind_of(status, said.lower().replace(address, ""))
        if reason is FailureKind.SOFT and len(places) == 1 and not is_telling(status):
            reason = kind_of(status, lowered.replace(address, ""))
        found.append(Reported(address, reason, status, short(said)))
    return tuple(found)


def _flufl(message: IncomingMessage, ids: Sequence[str]) -> tuple[set[str], set[str], tuple[Why, ...]]:
    """Temporary and permanent failures by flufl.bounce; whatever it raises is a note, not an accident."""
    try:
        detectors = import_module("flufl.bounce")  # loaded by the first report, not by every process
        tree = _without_returned(email.message_from_bytes(message.raw[:SCANNED]))
        temporary, permanent = detectors.all_failures(tree)
    except Exception as error:  # its detectors are many and old: any of them may fail on a mail they never saw
        return set(), set(), (why("bounce_detector_failed", error=type(error).__name__),)
    nobody = _nobody(message, ids)
    return _addresses(temporary) - nobody, _addresses(permanent) - nobody, ()


def _nobody(message: IncomingMessage, ids: Sequence[str]) -> set[str]:
    """What looks like a recipient and is none: who reports, and the ids that stand in the report."""
    return {message.from_key, *(id.strip("<>").lower() for id in ids)}


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


def _addresses(found: Iterable[bytes | str]) -> set[str]:
    texts = (item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in found)
    return {key for text in texts if (key := normalise(text))}


def _own_words(message: IncomingMessage) -> str:
    """The words of a report without the mail that it returns as text below them."""
    text = message.text[:20_000]
    match = _RETURNED_BELOW.search(text)
    return text[: match.start()] if match else text[:4000]


_RETURNED_BELOW = re.compile(
    r"^[ \t]*(?:-{2,}[^\n]{0,60}(?:copy of|original|returned|headers|unsent|unmodified)|Return-Path:|Received: )"
    r"|^--- Below this line is a copy|^-{2,} ?Transcript of session",
    re.IGNORECASE | re.MULTILINE,
)
