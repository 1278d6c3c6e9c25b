"""FLOW: documents and what is said in them: posts, followers, who is told by which way, envelopes, failure marks.

Nothing here commits but ``post_from_browser``: a person's click and a received mail end in the same lines, each in a
transaction of its own caller.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from flask_babel import gettext
from markupsafe import escape
from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import aliased

from mail.message.address import show_address
from mail.message.compose import File
from mail.message.html import clean_html, text_of_html, with_images
from mail.outgoing import delivery_state, enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.tokens import TokenKind
from mail.settings.wake import wake
from models import (
    Attachment,
    Blob,
    Contact,
    Document,
    DocumentType,
    Event,
    Follower,
    Notification,
    Post,
    Stage,
    Thread,
    User,
    change_rows,
    db,
)
from models.store import upsert

LONGEST_SUBJECT = 500


# --- where a post goes, and who hears of it


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
    why: Why | None


@dataclass(slots=True)
class ThreadView:
    """A thread as a post needs it: its document (if it has one) and its followers. Read many with ``thread_views``."""

    thread_id: int
    root_message_id: str | None = None
    document_id: int | None = None
    type_id: int | None = None
    type_name: str = ""
    number: str = ""
    title: str = ""
    followers: list[FollowerView] = field(default_factory=list)
    parent_id: int | None = None  # the last thing that was said, by a person
    parent_message_id: str | None = None

    def follows(self, contact_id: int) -> bool:
        """Say whether this contact is among the followers."""
        return any(follower.contact_id == contact_id for follower in self.followers)


@dataclass(frozen=True, slots=True)
class NotificationTarget:
    """Somebody who will be told of a post: by mail, or in the inbox of the browser, and why."""

    contact_id: int
    name: str
    address: str
    channel: Literal["mail", "inbox"]
    why: Why
    user_id: int | None = None


def thread_views(thread_ids: Collection[int]) -> dict[int, ThreadView]:
    """Return what posts in these threads need to know, in one statement."""
    found: dict[int, ThreadView] = {}
    if not thread_ids:
        return found
    last = aliased(Post)
    last_id = (
        select(func.max(Post.id))
        .where(Post.thread_id == Thread.id, Post.kind.in_(("message", "note")))
        .correlate(Thread)
        .scalar_subquery()
    )
    rows = db.session.execute(
        select(
            Thread.id.label("thread_id"),
            Thread.root_message_id,
            last.id.label("parent_id"),
            last.message_id.label("parent_message_id"),
            Document.id.label("document_id"),
            Document.type_id,
            Document.number,
            Document.title,
            DocumentType.name.label("type_name"),
            Follower.why,
            Contact.id.label("contact_id"),
            Contact.name,
            Contact.address,
            Contact.address_key,
            Contact.active,
            User.id.label("user_id"),
            User.active.label("user_active"),
            User.notify,
        )
        .outerjoin(last, last.id == last_id)
        .select_from(Thread)
        .outerjoin(Document, Document.thread_id == Thread.id)
        .outerjoin(DocumentType, DocumentType.id == Document.type_id)
        .outerjoin(Follower, Follower.thread_id == Thread.id)
        .outerjoin(Contact, Contact.id == Follower.contact_id)
        .outerjoin(User, User.contact_id == Contact.id)
        .where(Thread.id.in_(thread_ids))
        .order_by(Thread.id, Follower.id)
    )
    for row in rows:
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
                parent_id=row.parent_id,
                parent_message_id=row.parent_message_id,
            )
        if row.contact_id is not None:
            place.followers.append(
                FollowerView(
                    contact_id=row.contact_id,
                    name=row.name,
                    address=row.address or "",
                    address_key=row.address_key or "",
                    active=row.active,
                    user_id=row.user_id,
                    user_active=bool(row.user_active),
                    notify=row.notify or "mail",
                    why=row.why,
                )
            )
    return found


def audience(
    thread_id: int, kind: str, author_contact_id: int | None, skip_addresses: Collection[str] = ()
) -> list[NotificationTarget]:
    """Return who will be told of such a post, by which way and why; the page shows it before posting.

    ``skip_addresses``: keys of addresses that have the mail already, because they stood in its To or Cc.
    """
    place = thread_views([thread_id]).get(thread_id)
    return notification_targets(place, kind, author_contact_id, skip_addresses) if place else []


def notification_targets(
    place: ThreadView, kind: str, author_contact_id: int | None, skip_addresses: Collection[str] = ()
) -> list[NotificationTarget]:
    """Return those of a place's followers who will be told: the decision of ``audience``, without a look-up."""
    if kind not in ("message", "note"):
        return []
    told = []
    for follower in place.followers:
        is_user = follower.user_id is not None
        if not follower.active or follower.contact_id == author_contact_id or follower.address_key in skip_addresses:
            continue
        if is_user and not follower.user_active:
            continue  # somebody who left the office
        if kind == "note" and not is_user:
            continue  # a note never leaves to people who are not users
        by_inbox = is_user and follower.notify == "inbox"
        if not by_inbox and not follower.address_key:
            continue
        told.append(
            NotificationTarget(
                contact_id=follower.contact_id,
                name=follower.name,
                address=follower.address,
                channel="inbox" if by_inbox else "mail",
                why=follower.why or why("follows"),
                user_id=follower.user_id,
            )
        )
    return told


def follow(thread_id: int, contact_id: int, reason: Why | None = None) -> None:
    """Make a contact a follower; one that follows already stays as it is. The caller commits."""
    row = {"thread_id": thread_id, "contact_id": contact_id, "why": reason or why("follow_added")}
    db.session.execute(upsert(Follower).values(row).on_conflict_do_nothing())


def unfollow(thread_id: int, contact_id: int) -> None:
    """Take a contact out of the followers; the caller commits."""
    found = db.session.scalar(
        select(Follower).where(Follower.thread_id == thread_id, Follower.contact_id == contact_id)
    )
    if found is not None:
        db.session.delete(found)


# --- documents


def start_document(
    type_: DocumentType,
    title: str,
    now: datetime,
    *,
    sender: str = "",
    contact_id: int | None = None,
    responsible: User | None = None,
    author_contact_id: int | None = None,
    defaults: Mapping[str, Any] | None = None,
    origin_key: str | None = None,
) -> Document:
    """Return a new document with its thread, number and first stage, flushed; the caller commits.

    ``sender`` is "Name <address>" of the mail that opens it. ``defaults`` are an alias' values: ``title``,
    ``priority``, ``stage_id``, ``responsible_id``. Followers: the contact, the responsible person and the author.
    """
    defaults = defaults or {}
    document = new_document(
        type_.id,
        type_.take_number(),
        str(defaults.get("title") or title),
        now,
        sender=sender,
        contact_id=contact_id,
        responsible_id=responsible.id if responsible else defaults.get("responsible_id"),
        stage_id=defaults.get("stage_id") or first_stages([type_.id]).get(type_.id),
        priority=priority_of(defaults),
        origin_key=origin_key,
    )
    db.session.flush()
    followers: dict[int, Why] = {}
    if contact_id is not None:
        followers[contact_id] = why("follow_contact")
    if document.responsible_id is not None:
        chosen = responsible or db.session.get(User, document.responsible_id)
        if chosen is not None:
            followers.setdefault(chosen.contact_id, why("follow_responsible"))
    if author_contact_id is not None:
        followers.setdefault(author_contact_id, why("follow_opened"))
    for follower_id, reason in followers.items():
        follow(document.thread_id, follower_id, reason)
    Event.add([f"documents:{type_.id}"], now)
    return document


def new_document(
    type_id: int,
    number: str,
    title: str,
    now: datetime,
    *,
    sender: str = "",
    contact_id: int | None = None,
    responsible_id: int | None = None,
    stage_id: int | None = None,
    priority: int = 0,
    origin_key: str | None = None,
    root_message_id: str | None = None,
) -> Document:
    """Return a document and its thread, added to the session and not yet flushed: many of them cost few statements."""
    thread = Thread(root_message_id=root_message_id, last_post_at=now)
    document = Document(
        type_id=type_id,
        number=number,
        thread=thread,
        title=" ".join(title.split())[:LONGEST_SUBJECT] or number,
        sender=sender[:400],
        contact_id=contact_id,
        responsible_id=responsible_id,
        stage_id=stage_id,
        priority=priority,
        origin_key=origin_key,
        created_at=now,
    )
    db.session.add(document)
    return document


def first_stages(type_ids: Collection[int]) -> dict[int, int]:
    """Return the first stage of each of these document types that has one, in one statement."""
    if not type_ids:
        return {}
    rows = db.session.execute(
        select(Stage.type_id, Stage.id)
        .where(Stage.type_id.in_(type_ids))
        .order_by(Stage.type_id, Stage.position.desc())
    )
    return {row.type_id: row.id for row in rows}  # the last one seen of each type is the first by position


def priority_of(defaults: Mapping[str, Any]) -> int:
    """Return the priority that an alias' default values give; what is no number counts as 0."""
    value = str(defaults.get("priority", "")).strip()
    return int(value) if value.isdecimal() and len(value) < 6 else 0


# --- posts


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that comes with a post. ``cid`` names an image that the text shows."""

    name: str
    type: str
    content: bytes
    cid: str | None = None


def add_post(
    thread_id: int,
    kind: str,
    now: datetime,
    *,
    html: str = "",
    text: str = "",
    subject: str = "",
    fold: int | None = None,
    author_contact_id: int | None = None,
    author_address: str = "",
    attachments: Iterable[NewFile] = (),
    message_id: str | None = None,
    message_key: str | None = None,
    parent_id: int | None = None,
    received_mail_id: int | None = None,
    reason: Why | None = None,
) -> Post | None:
    """Put something into a thread and return the post, flushed; None if the thread has this very mail already.

    ``html`` must have been cleaned (``body.clean_html``). Nobody is told yet: that is ``notify``. The caller commits.
    """
    if message_key is not None and db.session.scalar(
        select(exists().where(Post.thread_id == thread_id, Post.message_key == message_key))
    ):
        return None
    post = Post(
        thread_id=thread_id,
        kind=kind,
        author_contact_id=author_contact_id,
        author_address=author_address[:400],
        subject=subject[:LONGEST_SUBJECT],
        html=html,
        text=text,
        fold_at=fold,
        why=reason,
        message_id=message_id[:1000] if message_id else None,
        message_key=message_key or new_key(),
        parent_id=parent_id,
        received_mail_id=received_mail_id,
        at=now,
    )
    files = list(attachments)
    blobs = Blob.keep_all([file.content for file in files])
    post.attachments = [attachment_of(file, blob_id) for file, blob_id in zip(files, blobs, strict=True)]
    db.session.add(post)
    db.session.flush()
    touched: dict[str, Any] = {"last_post_at": now}
    if kind == "message":
        touched["root_message_id"] = func.coalesce(Thread.root_message_id, message_id or own_message_id(post.id))
    db.session.execute(update(Thread).where(Thread.id == thread_id).values(touched))
    Event.add([f"thread:{thread_id}"], now)
    return post


def attachment_of(file: NewFile, blob_id: int) -> Attachment:
    """Return the row of a file whose bytes are kept."""
    return Attachment(
        name=file.name[:255], type=file.type[:120], cid=(file.cid or None), blob_id=blob_id, size=len(file.content)
    )


def add_log(thread_id: int, reason: Why, now: datetime) -> Post:
    """Put a line of the system into a thread: a code with values, shown as its sentence. The caller commits."""
    post = add_post(thread_id, "log", now, reason=reason)
    assert post is not None  # a log line has a key of its own
    return post


def new_key() -> str:
    """Return a message key for a post that is no mail."""
    return secrets.token_hex(32)


def post_from_browser(
    user: User,
    thread_id: int,
    html: str,
    kind: str,
    files: Sequence[NewFile],
    now: datetime,
) -> Post:
    """Put what a user wrote into a thread, tell the followers, commit, and wake the worker.

    ``kind`` is "message" or "note". Raises ``LookupError`` if there is no such thread, ``ValueError`` if nothing was
    written.
    """
    if kind not in ("message", "note"):
        raise ValueError(kind)
    html = clean_html(html)  # before the transaction: nothing is rendered while others wait for the database
    text = text_of_html(html)
    if not text and "<img" not in html and not files:
        raise ValueError("nothing was written")
    place = thread_views([thread_id]).get(thread_id)
    if place is None:
        raise LookupError(f"thread {thread_id}")
    post = add_post(
        thread_id,
        kind,
        now,
        html=html,
        text=text,
        subject=reply_subject(place.title, place.parent_id is not None),
        author_contact_id=user.contact_id,
        author_address=show_address(user.contact.name, user.email),
        attachments=files,
        parent_id=place.parent_id,
    )
    assert post is not None  # what a person writes has a key of its own
    if not place.follows(user.contact_id):
        follow(thread_id, user.contact_id, why("follow_posted"))
    notify(
        post,
        now,
        place=place,
        references=reply_references(place.root_message_id, place.parent_id, place.parent_message_id),
        files=[File(file.name, file.type, file.content, file.cid or "") for file in files],
    )
    db.session.commit()
    wake()
    return post


def own_message_id(post_id: int) -> str:
    """Return the Message-ID under which a post goes out by mail."""
    return office.tokens().message_id(TokenKind.POST, post_id, office.load().message_domain)


def reply_references(root: str | None, parent_id: int | None, parent_message_id: str | None) -> list[str]:
    """Return the ids that an answer names: the thread's first mail, and its parent under each id that people have it.

    Whoever wrote the parent has it under the id of his own mail, the others under the one that we sent it as.
    """
    ids = [root, own_message_id(parent_id) if parent_id is not None else None, parent_message_id]
    return list(dict.fromkeys(id for id in ids if id))


def reply_subject(title: str, is_reply: bool) -> str:
    """Return the subject of a post about a document.

    >>> reply_subject("Need a quote", True), reply_subject("Re: Need a quote", True), reply_subject("Hello", False)
    ('Re: Need a quote', 'Re: Need a quote', 'Hello')
    """
    title = " ".join(title.split())
    return title if not is_reply or title[:3].lower() == "re:" else f"Re: {title}"


# --- telling the followers


class NotifiedPost(Protocol):
    """What ``notify`` needs of a post; a row of ``Post`` has it."""

    @property
    def id(self) -> Any: ...
    @property
    def thread_id(self) -> Any: ...
    @property
    def kind(self) -> Any: ...
    @property
    def author_contact_id(self) -> Any: ...
    @property
    def author_address(self) -> Any: ...
    @property
    def subject(self) -> Any: ...
    @property
    def html(self) -> Any: ...
    @property
    def text(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class PostNotification:
    """What ``announce`` tells: a flushed post, where it stands, and who has it already.

    ``references`` come from ``reply_references``; ``skip_addresses`` are keys.
    """

    post: NotifiedPost
    place: ThreadView
    skip_addresses: Collection[str] = ()
    references: Sequence[str] = ()
    files: Sequence[File] = ()


def notify(
    post: NotifiedPost,
    now: datetime,
    skip_addresses: Collection[str] = (),
    *,
    place: ThreadView | None = None,
    references: Sequence[str] = (),
    files: Sequence[File] = (),
) -> bool:
    """Tell the followers of a post: one mail with a line for each, or a notification in the browser's inbox.

    Nobody is told twice: not the author, nor ``skip_addresses``, who have the mail already. Notes go to users only. The
    post must be flushed; ``place`` spares its look-up when it is known; ``references`` come from ``reply_references``.
    Returns whether a mail goes out; the caller commits, then calls ``wake()``.
    """
    if place is None:
        place = thread_views([post.thread_id])[post.thread_id]
    return notify_many([PostNotification(post, place, skip_addresses, references, files)], now)


def notify_many(news: Sequence[PostNotification], now: datetime) -> bool:
    """Tell the followers of many posts, as ``notify`` does of one, in few statements."""
    mails: list[tuple[OutgoingDraft, Sequence[To]]] = []
    inboxes: list[tuple[int, int]] = []
    for one in news:
        told = notification_targets(one.place, one.post.kind, one.post.author_contact_id, one.skip_addresses)
        inboxes += [(one.post.id, to.user_id) for to in told if to.channel == "inbox" and to.user_id is not None]
        by_mail = [To(to.address, to.name, to.contact_id) for to in told if to.channel == "mail"]
        if by_mail:
            mails.append((_draft(one), by_mail))
    delivery_state.notify_inboxes(inboxes, "post", now)
    if mails:
        enqueue.enqueue_many(mails, now)
    return bool(mails)


def _draft(news: PostNotification) -> OutgoingDraft:
    post, place = news.post, news.place
    html, text = notification_bodies(post, place)
    return OutgoingDraft(
        kind="post",
        post_id=post.id,
        author=post.author_address,
        subject=post.subject or place.title,
        html=html,
        text=text,
        files=news.files,
        references=news.references,
        type_id=place.type_id,
        title=place.title,
        has_document=place.document_id is not None,
    )


def notification_bodies(post: NotifiedPost, place: ThreadView) -> tuple[str, str]:
    """Return HTML and text of the mail that tells of a post: the post with all it quotes, and a small footer."""
    company = parameters.COMPANY_NAME.get()
    about = " ".join(part for part in (place.type_name, place.number) if part)
    footer = " · ".join(part for part in (company, about) if part)
    if post.kind == "note":
        footer = " · ".join(part for part in (gettext("Internal note"), footer) if part)
    html = with_images(post.html, lambda cid: f"cid:{cid}", remote=True) if post.html else ""
    text = post.text
    if footer:
        if html:
            html += f'<p style="color:#6b7280;font-size:12px;margin-top:24px">{escape(footer)}</p>'
        text = f"{text.rstrip()}\n\n-- \n{footer}\n"
    return html, text


# --- reading


def mark_read(user_id: int, thread_id: int, now: datetime) -> None:
    """Take what was said in a thread out of a user's inbox; the caller commits."""
    of_thread = select(Post.id).where(Post.thread_id == thread_id)
    read = change_rows(
        update(Notification)
        .where(Notification.user_id == user_id, Notification.read_at.is_(None), Notification.post_id.in_(of_thread))
        .values(read_at=now)
    )
    if read:
        Event.add([f"inbox:{user_id}"], now)
