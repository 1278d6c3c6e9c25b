"""What a post needs to know of its thread: the document, the followers, what was said last; and the post itself."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import aliased

from mail.sentences import Why
from models import Contact, Document, DocumentType, Follower, OutgoingMail, Post, Thread, User, db
from models.slices import by_hundreds
from models.store import Packed, pack

LARGEST_DERIVED = 200_000  # characters of HTML from which a text part is made


@dataclass(frozen=True, slots=True)
class FollowerView:
    """A follower of a thread, with what decides how it is told. ``user_id`` is None for people outside the office."""

    contact_id: int
    name: str
    address: str
    address_key: str
    active: bool
    user_id: int | None
    user_active: bool
    notify: str
    why: Why | None = None


@dataclass(frozen=True, slots=True)
class ParentPost:
    """The post that a new one answers, and the ids under which it came in and was sent, if it was."""

    id: int
    message_id: str | None
    sent_as: str | None


@dataclass(slots=True)
class ThreadView:
    """A thread as a post needs it: its document (if it has one) and its followers. Read many with ``thread_views``.

    ``last_message`` is the last thing that was said to everybody, ``last_said`` may be a note.
    """

    thread_id: int
    root_message_id: str | None = None
    document_id: int | None = None
    type_id: int | None = None
    type_name: str = ""
    number: str = ""
    title: str = ""
    followers: list[FollowerView] = field(default_factory=list)
    last_message: ParentPost | None = None
    last_said: ParentPost | None = None

    def follows(self, contact_id: int) -> bool:
        """Say whether this contact is among the followers."""
        return any(follower.contact_id == contact_id for follower in self.followers)

    def parent_of(self, kind: str) -> ParentPost | None:
        """Return what a new post answers; a message never answers a note, because its ids go to everybody."""
        return self.last_said if kind == "note" else self.last_message


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that comes with a post, packed as it is stored. ``cid`` names an image that the text shows."""

    name: str
    type: str
    content: bytes
    cid: str
    packed: Packed

    @classmethod
    def of(cls, name: str, type: str, content: bytes, cid: str = "") -> "NewFile":
        """Return a file with its bytes packed: to be done before a transaction begins."""
        return cls(name, type, content, cid, pack(content))


@dataclass
class PostDraft:
    """Something to be said in a thread: by a person, a mail, or the system (``kind`` as in ``Post``).

    ``html`` must have been cleaned (``html.clean_html``). ``add_posts`` fills in ``id``, ``notify.prepare`` the domain
    of the Message-ID that it goes out under, and ``linked``: the numbers of the files that leave as links, by position.
    """

    thread_id: int
    kind: str
    at: datetime
    html: str = ""
    text: str = ""
    has_text: bool = False  # the writer's program made the text, too; else it is the words of the HTML
    subject: str = ""
    fold: int | None = None
    author_contact_id: int | None = None
    author_address: str = ""
    files: Sequence[NewFile] = ()
    message_id: str | None = None
    message_key: str = ""  # "": it is no mail
    parent_id: int | None = None
    received_mail_id: int | None = None
    why: Why | None = None
    mark: str = ""
    mark_why: Why | None = None
    sealed: str = ""
    addressed: dict[str, Any] | None = None
    linked: dict[int, int] = field(default_factory=dict)
    has_root: bool = False  # the thread knows its first message already
    id: int = 0
    domain: str = ""

    @property
    def derives_text(self) -> bool:
        """Whether the text part of its mail is made of its HTML, with its paragraphs and links."""
        return not self.has_text and 0 < len(self.html) <= LARGEST_DERIVED


_FOLLOWER = (
    Contact.id.label("contact_id"),
    Contact.name,
    Contact.address,
    Contact.address_key,
    Contact.active,
    User.id.label("user_id"),
    User.active.label("user_active"),
    User.notify,
)


def thread_views(thread_ids: Collection[int]) -> dict[int, ThreadView]:
    """Return what posts in these threads need to know, in one statement for some hundred of them."""
    found: dict[int, ThreadView] = {}
    for row in _rows_of(thread_ids):
        place = found.get(row.thread_id)
        if place is None:
            place = found[row.thread_id] = ThreadView(
                row.thread_id,
                row.root_message_id,
                row.document_id,
                row.type_id,
                row.type_name or "",
                row.number or "",
                row.title or "",
                last_message=_parent(row.message_post, row.message_id, row.message_sent),
                last_said=_parent(row.said_post, row.said_id, row.said_sent),
            )
        follower = _follower(row, row.why)
        if follower is not None:
            place.followers.append(follower)
    return found


def _parent(id: int | None, message_id: str | None, sent_as: str | None) -> ParentPost | None:
    return ParentPost(id, message_id, sent_as) if id else None


def _rows_of(thread_ids: Collection[int]) -> Iterator[Row[Any]]:
    for some in by_hundreds(thread_ids):  # of ids in one parameter PostgreSQL expects so many that it reads all posts
        yield from db.session.execute(_threads_with_followers().where(Thread.id.in_(some)))


@cache  # to build it takes longer than to ask
def _threads_with_followers() -> Select[*tuple[Any, ...]]:
    message, said = aliased(Post), aliased(Post)
    return (
        select(
            Thread.id.label("thread_id"),
            Thread.root_message_id,
            message.id.label("message_post"),
            message.message_id.label("message_id"),
            _sent_as(message).label("message_sent"),
            said.id.label("said_post"),
            said.message_id.label("said_id"),
            _sent_as(said).label("said_sent"),
            Document.id.label("document_id"),
            Document.type_id,
            Document.number,
            Document.title,
            DocumentType.name.label("type_name"),
            Follower.why,
            *_FOLLOWER,
        )
        .select_from(Thread)
        .outerjoin(message, message.id == _last("message"))
        .outerjoin(said, said.id == _last("message", "note"))
        .outerjoin(Document, Document.thread_id == Thread.id)
        .outerjoin(DocumentType, DocumentType.id == Document.type_id)
        .outerjoin(Follower, Follower.thread_id == Thread.id)
        .outerjoin(Contact, Contact.id == Follower.contact_id)
        .outerjoin(User, User.contact_id == Contact.id)
        .order_by(Thread.id, Follower.id)
    )


def _last(*kinds: str) -> Any:
    last = select(func.max(Post.id)).where(Post.thread_id == Thread.id, Post.kind.in_(kinds))
    return last.correlate(Thread).scalar_subquery()


def _sent_as(post: Any) -> Any:
    sent = select(OutgoingMail.message_id).where(OutgoingMail.post_id == post.id).order_by(OutgoingMail.id).limit(1)
    return sent.correlate(post).scalar_subquery()


def users(user_ids: Iterable[int]) -> dict[int, FollowerView]:
    """Return these users as followers would be."""
    wanted = set(user_ids)
    if not wanted:
        return {}
    query = select(*_FOLLOWER).select_from(User).join(Contact, Contact.id == User.contact_id)
    rows = db.session.execute(query.where(User.id.in_(wanted)))
    return {row.user_id: found for row in rows if (found := _follower(row)) is not None}


def _follower(row: Any, reason: Why | None = None) -> FollowerView | None:
    if row.contact_id is None:
        return None
    return FollowerView(
        contact_id=row.contact_id,
        name=row.name,
        address=row.address or "",
        address_key=row.address_key or "",
        active=row.active,
        user_id=row.user_id,
        user_active=bool(row.user_active),
        notify=row.notify or "mail",
        why=reason,
    )
