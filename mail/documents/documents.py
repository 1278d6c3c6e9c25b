"""FLOW: new documents with their threads, numbers, stages and first followers. One made by hand is a batch of one."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import select, update

from mail.documents.posts import LONGEST_SUBJECT, follow_all
from mail.documents.threads import FollowerView, ThreadView, users
from mail.sentences import Why, why
from models import Document, DocumentType, Event, Stage, Thread, User, db
from models.store import insert_rows


@dataclass(frozen=True, slots=True)
class TypeView:
    """A document type, as its new documents need it: ``stage_id`` is its first stage.

    ``numbers`` are those that come next, as long as nobody else opens a document of this type.
    """

    id: int
    name: str
    number_pattern: str
    stage_id: int | None
    numbers: Iterator[int]


class NumberTaken(Exception):
    """Somebody else opened a document of this type meanwhile: what names its number is to be composed again."""


@dataclass
class DocumentDraft:
    """A document to be opened. ``sender`` is "Name <address>" of the mail that opens it.

    ``defaults`` are an alias' values: ``title``, ``priority``, ``stage_id``. ``followers`` says why each contact
    follows; the responsible person is added. ``place`` is what a first post needs to know, once it is foreseen.
    """

    type: TypeView
    title: str
    sender: str = ""
    contact_id: int | None = None
    responsible: FollowerView | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    followers: dict[int, Why] = field(default_factory=dict)
    origin_key: str | None = None
    root_message_id: str | None = None
    place: ThreadView = field(default_factory=lambda: ThreadView(0))


def start_document(
    type_: DocumentType,
    title: str,
    now: datetime,
    *,
    sender: str = "",
    contact_id: int | None = None,
    responsible: User | None = None,
    author_contact_id: int | None = None,
) -> Document:
    """Return a new document with its thread, number and first stage; the caller commits.

    Followers: the contact, the responsible person and the author.
    """
    draft = DocumentDraft(types([type_.id])[type_.id], title, sender, contact_id)
    if responsible is not None:
        draft.responsible = users([responsible.id]).get(responsible.id)
    if contact_id is not None:
        draft.followers[contact_id] = why("follow_contact")
    if author_contact_id is not None:
        draft.followers.setdefault(author_contact_id, why("follow_opened"))
    open_documents([draft], now)
    return db.session.get_one(Document, draft.place.document_id)


def foresee(drafts: Sequence[DocumentDraft]) -> None:
    """Fill in what posts say of documents that are about to be opened, with the numbers that come next."""
    for draft in drafts:
        _describe(draft)
        draft.place.number = draft.type.number_pattern.format(number=next(draft.type.numbers))
        draft.place.root_message_id = draft.root_message_id
        if draft.responsible is not None:
            draft.place.followers.append(draft.responsible)


def _describe(draft: DocumentDraft) -> None:
    place = draft.place
    place.type_id, place.type_name = draft.type.id, draft.type.name
    place.title = " ".join(str(draft.defaults.get("title") or draft.title).split())[:LONGEST_SUBJECT]


def open_documents(drafts: Sequence[DocumentDraft], now: datetime) -> None:
    """Open documents, in five statements however many (one more for each further type). The caller commits.

    Raises ``NumberTaken`` when another one got a number that was foreseen for one of these.
    """
    if not drafts:
        return
    numbers = _take_numbers(drafts)
    for draft in drafts:
        foreseen, draft.place.number = draft.place.number, numbers[draft.type.id].pop(0)
        if foreseen not in ("", draft.place.number):
            raise NumberTaken
    _make_threads(drafts, now)
    rows = []
    for draft in drafts:
        _describe(draft)
        if draft.responsible is not None:
            draft.followers.setdefault(draft.responsible.contact_id, why("follow_responsible"))
        rows.append(_row(draft, now))
    ids = {row.thread_id: row.id for row in insert_rows(Document, rows, "id", "thread_id")}
    for draft in drafts:
        draft.place.document_id = ids[draft.place.thread_id]
    follow_all(
        (draft.place.thread_id, contact_id, reason)
        for draft in drafts
        for contact_id, reason in draft.followers.items()
    )
    Event.add([f"documents:{draft.type.id}" for draft in drafts], now)


def _row(draft: DocumentDraft, now: datetime) -> dict[str, Any]:
    place, defaults = draft.place, draft.defaults
    return {
        "type_id": draft.type.id,
        "number": place.number,
        "thread_id": place.thread_id,
        "title": place.title or place.number,
        "contact_id": draft.contact_id,
        "sender": draft.sender[:400],
        "responsible_id": draft.responsible.user_id if draft.responsible else None,
        "stage_id": whole_number(defaults.get("stage_id")) or draft.type.stage_id,
        "priority": whole_number(defaults.get("priority")),
        "origin_key": draft.origin_key,
        "created_at": now,
    }


def _make_threads(drafts: Sequence[DocumentDraft], now: datetime) -> None:
    new = insert_rows(
        Thread, [{"root_message_id": draft.root_message_id, "last_post_at": now} for draft in drafts],
        "id", "root_message_id",
    )  # fmt: skip
    ids: dict[str | None, list[int]] = {}
    for row in sorted(new, key=lambda row: -row.id):
        ids.setdefault(row.root_message_id, []).append(row.id)
    for draft in drafts:
        draft.place.thread_id, draft.place.root_message_id = ids[draft.root_message_id].pop(), draft.root_message_id


def _take_numbers(drafts: Sequence[DocumentDraft]) -> dict[int, list[str]]:
    """Return numbers for new documents of each type; no other transaction gets the same."""
    numbers: dict[int, list[str]] = {}
    wanted = Counter(draft.type.id for draft in drafts)
    patterns = {draft.type.id: draft.type.number_pattern for draft in drafts}
    for type_id, many in sorted(wanted.items()):
        after = db.session.scalar(
            update(DocumentType)
            .where(DocumentType.id == type_id)
            .values(next_number=DocumentType.next_number + many)
            .returning(DocumentType.next_number)
        )
        assert after is not None
        numbers[type_id] = [patterns[type_id].format(number=number) for number in range(after - many, after)]
    return numbers


def types(type_ids: Collection[int]) -> dict[int, TypeView]:
    """Return these document types, in one statement."""
    if not type_ids:
        return {}
    first = select(Stage.id).where(Stage.type_id == DocumentType.id).order_by(Stage.position).limit(1)
    rows = db.session.execute(
        select(
            DocumentType.id,
            DocumentType.name,
            DocumentType.number_pattern,
            DocumentType.next_number,
            first.correlate(DocumentType).scalar_subquery().label("stage_id"),
        ).where(DocumentType.id.in_(type_ids))
    )
    return {
        row.id: TypeView(row.id, row.name, row.number_pattern, row.stage_id, count(row.next_number)) for row in rows
    }


def whole_number(value: object) -> int:
    """Return the number that a default value of an alias is; what is no number counts as 0.

    >>> whole_number("2"), whole_number(3), whole_number("high"), whole_number(None)
    (2, 3, 0, 0)
    """
    text = str(value if value is not None else "").strip()
    return int(text) if text.isdecimal() and len(text) < 16 else 0
