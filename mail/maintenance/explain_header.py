"""A pasted header, explained: what ``header_story`` reads in it, and which email of ours it is. Nothing is stored."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import select

from mail.decide.header_story import Finding, HeaderStory, tell
from mail.message.address import normalise, parse_addresses
from mail.message.parse import OWN_ID_HEADER
from mail.message.pasted_header import LARGEST_PASTE, PastedMail, read_pasted
from mail.sentences import Why, say, why
from mail.settings import office
from mail.settings.tokens import Named, TokenKind
from mail.transport.relay_ids import lookup_keys
from models import Mailing, OutgoingMail, Recipient, RelayId, Trace, db

_OUTLOOK_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ID = re.compile(r"<[^<>\s]{1,500}>")
LONGEST_REFERENCES = 20_000  # characters
_LINES = (TokenKind.LINE, TokenKind.LINE_BOUNCE)
_TRACES = (TokenKind.TRACE, TokenKind.TRACE_BOUNCE)


@dataclass(frozen=True, slots=True)
class SentHere:
    """The email of ours that a header belongs to: one of its lines, or a recipient of a mailing."""

    kind: Literal["line", "mailing"]
    id: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedHeader:
    """All that can be said about a header; ``problem``: why nothing can."""

    story: HeaderStory | None = None
    origin: Finding = field(default_factory=lambda: Finding("unknown", ()))
    sent_here: SentHere | None = None
    problem: Why | None = None


def explain(raw: bytes) -> ExplainedHeader:
    """Return what a header or a whole mail tells."""
    if not raw.strip():
        return ExplainedHeader(problem=why("header_not_given"))
    if raw.startswith(_OUTLOOK_FILE):
        return ExplainedHeader(problem=why("header_is_outlook_file"))
    if len(raw) > LARGEST_PASTE:
        return ExplainedHeader(problem=why("header_paste_too_large", limit=LARGEST_PASTE // 1048576))
    mail = read_pasted(raw)
    if not any(line.name in _TELLING for line in mail.lines):
        return ExplainedHeader(problem=why("header_not_found"))
    origin, sent_here = _origin(mail)
    return ExplainedHeader(tell(mail), origin, sent_here)


_TELLING = frozenset(("received", "from", "message-id", "return-path", "authentication-results", "date", "subject"))


# --- did it come from us


def _origin(mail: PastedMail) -> tuple[Finding, SentHere | None]:
    for code, named in _ids(mail):
        found = _sent(named, mail.first("message-id"), mail)
        if code == "header_known_by_own_id" and found is not None and _is_answer(mail, found[1]):
            return Finding("unknown", (why("header_reply_to_ours"),)), found[0]
        known_by = why(code, name=OWN_ID_HEADER)
        if found is None:
            gone = "header_rejection_of_ours" if named.kind is TokenKind.LOOP else "header_from_us_gone"
            return Finding("good", (why(gone), known_by)), None
        return Finding("good", (found[2], known_by, why("header_id_can_be_copied"))), found[0]
    for id in _ID.findall(f"{mail.first('in-reply-to')} {mail.first('references')}"[:LONGEST_REFERENCES]):
        answered = office.tokens().from_message_id(id)
        if answered is not None:
            found = _sent(answered, id, mail)
            return Finding("unknown", (why("header_reply_to_ours"),)), found[0] if found else None
    sender = _sender(mail)
    if sender and (sender in office.own_addresses() or _is_our_domain(sender)):
        return Finding("warning", (why("header_claims_us", sender=sender),)), None
    return Finding("unknown", (why("header_not_from_us"),)), None


def _ids(mail: PastedMail) -> Iterator[tuple[str, Named]]:
    """What the ids of a mail name that only we can have made, the one that names a single recipient first."""
    tokens, message_id = office.tokens(), mail.first("message-id")
    own = mail.first(OWN_ID_HEADER.lower()).strip()
    token = mail.first("return-path").partition("@")[0].partition("+")[2]
    by_message_id = tokens.from_message_id(message_id)
    known = (
        ("header_known_by_own_id" if by_message_id is None else "header_known_by_message_id", tokens.read(own)),
        ("header_known_by_bounce_address", tokens.read(token)),
        ("header_known_by_message_id", by_message_id),
        ("header_known_by_relay", _by_relay(message_id)),
    )
    yield from ((code, named) for code, named in known if named is not None)


def _by_relay(message_id: str) -> Named | None:
    names = [name for name in lookup_keys(message_id.strip()) if name and len(name) <= 420]
    row = db.session.execute(
        select(RelayId.recipient_id, RelayId.trace_id).where(RelayId.name.in_(names)).order_by(RelayId.id)
    ).first()
    if row is None:
        return None
    return Named(TokenKind.LINE, row.recipient_id) if row.recipient_id else Named(TokenKind.TRACE, row.trace_id)


def _sent(named: Named, message_id: str, mail: PastedMail) -> tuple[SentHere, str, Why] | None:
    """The email of ours that a token names, the address that it was sent as, and the sentence for it."""
    if named.kind in _TRACES:
        return _sent_by_mailing(named.id)
    query = select(Recipient.id, Recipient.address, OutgoingMail.from_header).join(
        OutgoingMail, OutgoingMail.id == Recipient.mail_id
    )
    if named.kind in _LINES:
        query = query.where(Recipient.id == named.id)
    elif named.kind is TokenKind.POST:
        query = query.where(OutgoingMail.post_id == named.id)
    else:
        query = query.where(OutgoingMail.message_id == message_id.strip())
    rows = db.session.execute(query.order_by(Recipient.id).limit(1000)).all()
    if not rows:
        return None
    to = {found.key for found in parse_addresses(mail.first("to"))}
    row = next((row for row in rows if normalise(row.address) in to), rows[0])
    words = why("header_from_us", address=row.address, sender=row.from_header)
    return SentHere("line", row.id, row.address), normalise(row.from_header) or "", words


def _sent_by_mailing(trace_id: int) -> tuple[SentHere, str, Why] | None:
    row = db.session.execute(
        select(Trace.address, Mailing.id, Mailing.subject, Mailing.from_address)
        .join(Mailing, Mailing.id == Trace.mailing_id)
        .where(Trace.id == trace_id)
    ).first()
    if row is None:
        return None
    words = why("header_from_us_mailing", address=row.address, mailing=row.subject)
    return SentHere("mailing", row.id, row.address), normalise(row.from_address) or "", words


def _is_answer(mail: PastedMail, sent_as: str) -> bool:
    """Say whether a mail with our id header is an answer by a program that keeps such headers."""
    sender = _sender(mail)
    return bool(sender) and bool(sent_as) and sender != sent_as


def _sender(mail: PastedMail) -> str:
    found = parse_addresses(mail.first("from"))
    return found[0].key if found else ""


def _is_our_domain(sender: str) -> bool:
    return sender.rpartition("@")[2] in {domain.name for domain in office.load().office.all_domains}


# --- for programs and for a terminal


def as_json(found: ExplainedHeader) -> dict[str, Any]:
    """Return an explanation for JSON: each sentence with its code and values."""
    if found.story is None:
        return {"error": _said(found.problem)}
    story = found.story
    return {
        "names": asdict(story.names),
        "origin": _finding(found.origin),
        "sent_here": asdict(found.sent_here) if found.sent_here else None,
        "hops": [asdict(hop) | {"at": hop.at.isoformat() if hop.at else None} for hop in story.hops],
        "slowest": story.slowest,
        "way": [_finding(one) for one in story.way],
        "source": _finding(story.source),
        "checks": [_finding(one) for one in story.checks],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return asdict(replace(one, sentences=())) | {"sentences": [_said(reason) for reason in one.sentences]}


def _said(reason: Why | None) -> dict[str, Any]:
    return {**reason, "sentence": say(reason)} if reason else {}


def in_words(found: ExplainedHeader) -> list[str]:
    """Return an explanation as lines of text."""
    if found.story is None:
        return [say(found.problem)]
    story, names = found.story, found.story.names
    lines = [
        f"From:            {names.sender or '-'}",
        f"Envelope sender: {names.envelope or '-'}",
        f"To:              {names.to or '-'}",
        f"Subject:         {names.subject or '-'}",
        *_lines(found.origin),
    ]
    for number, hop in enumerate(story.hops, 1):
        at = f"{hop.at:%Y-%m-%d %H:%M:%S} UTC" if hop.at else "-"
        delay = "" if hop.delay is None else f" ({hop.delay:+.0f} s)"
        lines.append(
            f"{number}. {at}{delay}  {hop.by or '-'} from {hop.sender or '-'} {hop.address} {hop.protocol} {hop.tls}"
        )
    for one in (*story.way, story.source, *story.checks):
        lines += _lines(one)
    return lines


def _lines(one: Finding) -> list[str]:
    head = f"{one.about}: {one.result}. " if one.about and one.result else ""
    return [f"[{one.state}] {head}{' '.join(say(reason) for reason in one.sentences)}"]
