"""What the ids of received mails name: messages that we sent under signed ids, mails that came in under their own."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select

from mail.decide.facts import KnownMessage, SelfTestMail
from mail.incoming.case import storable
from mail.message.address import normalise
from mail.settings import office
from mail.settings.tokens import Named, TokenKind
from mail.transport.relay_ids import lookup_keys
from models import Document, Mailing, OutgoingMail, Post, Recipient, RelayId, SelfTestPart, Trace, db
from models.slices import by_hundreds

LINE_KINDS = (TokenKind.LINE, TokenKind.LINE_BOUNCE)
TRACE_KINDS = (TokenKind.TRACE, TokenKind.TRACE_BOUNCE, TokenKind.UNSUBSCRIBE)
SAME_ID = 100  # mails stored under one id that are looked at: the first ones


@dataclass(frozen=True)
class KnownIds:
    """What is known of some ids, as ``Facts`` has it."""

    signed: dict[str, KnownMessage] = field(default_factory=dict)
    stored: dict[str, list[KnownMessage]] = field(default_factory=dict)
    rejections: frozenset[str] = frozenset()
    arrivals: frozenset[str] = frozenset()

    def is_note(self, id: str) -> bool:
        """Say whether an id names an internal note."""
        found = [self.signed[id]] if id in self.signed else self.stored.get(id, [])
        return any(known.is_note for known in found)


def known_ids(ids: Collection[str]) -> KnownIds:
    """Return the messages that these ids name, in six statements at most; for each five hundred of them."""
    found = KnownIds()
    clean = {id: storable(id) for id in ids}  # as they were stored, and as a database can be asked
    for some in by_hundreds(set(clean.values())):
        more = _known_ids(some)
        found = KnownIds(
            found.signed | more.signed,
            found.stored | more.stored,
            found.rejections | more.rejections,
            found.arrivals | more.arrivals,
        )
    return KnownIds(
        {id: found.signed[name] for id, name in clean.items() if name in found.signed},
        {id: found.stored[name] for id, name in clean.items() if name in found.stored},
        frozenset(id for id, name in clean.items() if name in found.rejections),
        frozenset(id for id, name in clean.items() if name in found.arrivals),
    )


def _known_ids(ids: Iterable[str]) -> KnownIds:
    named: dict[str, Named] = {}
    foreign: set[str] = set()
    read = office.tokens()
    for id in ids:
        found = read.from_message_id(id) if "@" in id else read.read(id)
        if found is None:
            foreign.add(id)
        else:
            named[id] = found
    relayed = _relayed(foreign)
    by_kind = _by_kind([*named.values(), *relayed.values()])
    mails = _mails({id for id, one in named.items() if one.kind is TokenKind.MAIL})
    signed = dict(mails)
    for id, one in (named | relayed).items():
        message = by_kind.get(one.kind, {}).get(one.id)
        if message is not None:
            signed[id] = message
    rejections = frozenset(id for id, one in named.items() if one.kind is TokenKind.LOOP)
    signed |= _of_self_tests(signed)
    arrivals = frozenset(id for id, one in named.items() if one.kind is TokenKind.ARRIVAL)
    return KnownIds(signed, _stored(foreign), rejections, arrivals)


def _relayed(ids: set[str]) -> dict[str, Named]:
    """Which of these ids a relay gave to emails of ours."""
    keys: dict[str, str] = {}
    for id in ids:
        keys |= dict.fromkeys(lookup_keys(id), id)
    if not keys:
        return {}
    rows = db.session.execute(
        select(RelayId.name, RelayId.recipient_id, RelayId.trace_id).where(RelayId.name.in_(keys)).order_by(RelayId.id)
    )
    return {
        keys[row.name]: Named(TokenKind.LINE, row.recipient_id)
        if row.recipient_id
        else Named(TokenKind.TRACE, row.trace_id)
        for row in rows
    }


def _by_kind(named: Iterable[Named]) -> dict[TokenKind, dict[int, KnownMessage]]:
    """The messages behind tokens: by their kind and number."""
    numbers: dict[TokenKind, set[int]] = {}
    for one in named:
        numbers.setdefault(one.kind, set()).add(one.id)
    posts = _posts(numbers.get(TokenKind.POST, set()))
    lines = _lines(set().union(*(numbers.get(kind, set()) for kind in LINE_KINDS)))
    traces = _traces(set().union(*(numbers.get(kind, set()) for kind in TRACE_KINDS)))
    return {TokenKind.POST: posts, **dict.fromkeys(LINE_KINDS, lines), **dict.fromkeys(TRACE_KINDS, traces)}


# --- what we sent


_POST = (
    Post.id.label("post_id"),
    Post.thread_id,
    Post.kind,
    Document.type_id,
    OutgoingMail.id.label("mail_id"),
    OutgoingMail.kind.label("mail_kind"),
    OutgoingMail.from_header,
)


def _posts(ids: set[int]) -> dict[int, KnownMessage]:
    if not ids:
        return {}
    rows = db.session.execute(
        select(*_POST)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .outerjoin(OutgoingMail, OutgoingMail.post_id == Post.id)
        .where(Post.id.in_(ids))
    )
    return {row.post_id: _known(row) for row in rows}


def _lines(ids: set[int]) -> dict[int, KnownMessage]:
    if not ids:
        return {}
    rows = db.session.execute(
        select(Recipient.id, *_POST)
        .join(OutgoingMail, OutgoingMail.id == Recipient.mail_id)
        .outerjoin(Post, Post.id == OutgoingMail.post_id)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .where(Recipient.id.in_(ids))
    )
    return {row.id: _known(row) for row in rows}


def _mails(message_ids: set[str]) -> dict[str, KnownMessage]:
    """Mails of the system itself (a digest, a test), which belong to no thread."""
    if not message_ids:
        return {}
    rows = db.session.execute(
        select(
            OutgoingMail.message_id,
            OutgoingMail.id.label("mail_id"),
            OutgoingMail.kind.label("mail_kind"),
            OutgoingMail.from_header,
        ).where(OutgoingMail.message_id.in_(message_ids))
    )
    return {
        row.message_id: KnownMessage(
            order=0.0,
            sender=normalise(row.from_header) or "",
            mail_id=row.mail_id,
            self_test=_perhaps_self_test(row.mail_kind),
        )
        for row in rows
    }


def _traces(ids: set[int]) -> dict[int, KnownMessage]:
    if not ids:
        return {}
    rows = db.session.execute(
        select(Trace.id, Mailing.from_address).join(Mailing, Mailing.id == Trace.mailing_id).where(Trace.id.in_(ids))
    )
    # Of two messages that an answer names, one in a thread came after the mailing that began it all.
    return {
        row.id: KnownMessage(order=row.id * 1e-12, sender=normalise(row.from_address) or "", trace_id=row.id)
        for row in rows
    }


def _known(row: Any) -> KnownMessage:
    return KnownMessage(
        order=float(row.post_id or 0),
        sender=(normalise(row.from_header) or "") if row.from_header else "",
        thread_id=row.thread_id,
        type_id=row.type_id,
        post_id=row.post_id,
        is_note=row.kind == "note",
        mail_id=row.mail_id,
        self_test=_perhaps_self_test(row.mail_kind),
    )


def _perhaps_self_test(mail_kind: str | None) -> SelfTestMail | None:
    """A test email may be one of a self-test: which one, if any, ``_of_self_tests`` asks."""
    return SelfTestMail(0, "") if mail_kind == "test" else None


def _of_self_tests(signed: Mapping[str, KnownMessage]) -> dict[str, KnownMessage]:
    """Fill in which test emails belong to a self-test; one statement where there are any, none for other mail."""
    tests = {id: known for id, known in signed.items() if known.self_test}
    if not tests:
        return {}
    part = SelfTestPart
    rows = db.session.execute(
        select(part.mail_id, part.id, part.name).where(part.mail_id.in_({known.mail_id for known in tests.values()}))
    )
    parts = {row.mail_id: SelfTestMail(row.id, row.name) for row in rows}
    without = {known.mail_id for known in tests.values()} - parts.keys()
    if without:
        rows = db.session.execute(select(OutgoingMail.id, OutgoingMail.decision).where(OutgoingMail.id.in_(without)))
        parts |= {row.id: SelfTestMail(0, "") for row in rows if _is_for_self_test(row.decision or {})}
    return {id: replace(known, self_test=parts.get(known.mail_id)) for id, known in tests.items()}


def _is_for_self_test(decision: Mapping[str, Any]) -> bool:
    return any(step["code"] == "sent_for_self_test" for step in decision.get("steps", ()))


def self_tests_to(addresses: Collection[str]) -> dict[str, KnownMessage]:
    """Return the emails of self-tests that were sent to these addresses, by them."""
    rows = db.session.execute(
        select(Recipient.address_key, OutgoingMail.id)
        .join(OutgoingMail, OutgoingMail.id == Recipient.mail_id)
        .where(Recipient.address_key.in_(addresses), OutgoingMail.kind == "test")
    )
    found = {row.address_key: KnownMessage(0.0, mail_id=row.id, self_test=SelfTestMail(0, "")) for row in rows}
    return _of_self_tests(found)


# --- what came in


def _stored(message_ids: set[str]) -> dict[str, list[KnownMessage]]:
    """The mails that came in under these Message-IDs; whoever knows an id can send more of them."""
    found: dict[str, list[KnownMessage]] = {}
    if not message_ids:
        return found
    rows = db.session.execute(
        select(Post.id, Post.thread_id, Post.kind, Post.message_id, Document.type_id)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .where(Post.message_id.in_(message_ids))
        .order_by(Post.id)
    )
    for row in rows:
        of_id = found.setdefault(row.message_id, [])
        if len(of_id) < SAME_ID:
            of_id.append(
                KnownMessage(
                    order=float(row.id),
                    thread_id=row.thread_id,
                    type_id=row.type_id,
                    post_id=row.id,
                    is_note=row.kind == "note",
                )
            )
    return found
