"""FLOW: what is said in threads: posts, their files and followers. A person's click is a batch of one.

Nothing here commits but ``post_from_browser``: a click and a batch of received mails end in the same lines, each in a
transaction of its own caller.
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, exists, func, select, update

from mail.decide.large_files import size_as_sent
from mail.documents import others
from mail.documents.file_links import MEGABYTE, is_small, link_large_files, most_octets, octets_of
from mail.documents.notify import PostNotification, notify, own_message_id, prepare, reply_references
from mail.documents.threads import NewFile, PostDraft, ThreadView, thread_views
from mail.errors import NothingWritten, PostTooLarge, WordsTooLarge
from mail.message.address import show_address
from mail.message.html import clean_html, text_of_html
from mail.sentences import Why, why
from mail.settings.wake import wake
from models import (
    Attachment,
    Blob,
    Event,
    Follower,
    Notification,
    Post,
    Thread,
    User,
    change_rows,
    db,
    reading,
    writing,
)
from models.store import insert_rows

LONGEST_SUBJECT = 500


def post_from_browser(
    user: User,
    thread_id: int,
    html: str,
    kind: str,
    files: Sequence[NewFile],
    now: datetime,
    also: Sequence[str] = (),
    scheduled_at: datetime | None = None,
    unread: bool = False,
) -> int:
    """Put what a user wrote into a thread, tell the followers, commit, and wake the worker; return the post's number.

    ``kind`` is "message" or "note"; a message goes to the people in ``also``, too. With ``scheduled_at`` it is in the
    thread at once, and its emails leave then. ``unread``: what was said before waits in the user's inbox, and is read
    by now. Raises ``LookupError`` if there is no such thread, ``NothingWritten`` if nothing was written,
    ``PostTooLarge`` if the email would be larger than allowed, ``InvalidAddress``. Call it with nothing to be written:
    all that takes time is done while nobody waits for the database. All is one transaction: after a failure nobody has
    to guess how much of it was saved.
    """
    if kind not in ("message", "note"):
        raise ValueError(kind)
    with reading():
        html = clean_html(html)
        place = thread_views([thread_id]).get(thread_id)
        if place is None:
            raise LookupError(f"thread {thread_id}")
        post, author = _written_by(user, place, html, kind, files, now), user.contact_id
        people = others.chosen(also) if kind == "message" else []
        told = PostNotification(post, place, references=reply_references(place, kind), others=people)
        ready = prepare([told], now, scheduled_at)
    with writing():
        if unread:
            mark_read(user.id, thread_id, now)
        add_posts([post], now)
        if not place.follows(author):
            follow(thread_id, author, why("follow_posted"))
        notify(ready, now)
        db.session.commit()
    wake()
    return post.id


def _written_by(
    user: User, place: ThreadView, html: str, kind: str, files: Sequence[NewFile], now: datetime
) -> PostDraft:
    text = text_of_html(html)
    if not text and "<img" not in html and not files:
        raise NothingWritten
    parent = place.parent_of(kind)
    post = PostDraft(
        place.thread_id,
        kind,
        now,
        html=html,
        text=text,
        subject=reply_subject(place.title, place.last_said is not None),
        author_contact_id=user.contact_id,
        author_address=show_address(user.contact.name, user.email),
        files=files,
        parent_id=parent.id if parent else None,
        has_root=place.root_message_id is not None,
    )
    _assert_sendable(post)
    return post


def _assert_sendable(post: PostDraft) -> None:
    """Raise ``PostTooLarge`` when the email of a post is larger than allowed, although large files leave as links."""
    link_large_files(post)
    words, files = octets_of(post)
    size = size_as_sent(words, files)
    if not is_small(size) and size > (most := most_octets()):
        refused = PostTooLarge if files else WordsTooLarge
        raise refused(size=round(size / MEGABYTE + 0.05, 1), limit=f"{most / MEGABYTE:.1f}".removesuffix(".0"))


def reply_subject(title: str, is_reply: bool) -> str:
    """Return the subject of a post about a document.

    >>> reply_subject("Need a quote", True), reply_subject("Re: Need a quote", True), reply_subject("Hello", False)
    ('Re: Need a quote', 'Re: Need a quote', 'Hello')
    """
    title = " ".join(title.split())
    return title if not is_reply or title[:3].lower() == "re:" else f"Re: {title}"


# --- posts


def add_posts(posts: Sequence[PostDraft], now: datetime) -> None:
    """Put posts into their threads, in four statements however many, and give them their numbers. The caller commits.

    Nobody is told yet: that is ``notify``. A thread that has this very mail already makes all of them fail.
    """
    if not posts:
        return
    for post in posts:
        post.message_key = post.message_key or secrets.token_hex(32)
    rows = insert_rows(Post, [_row(post) for post in posts], "id", "thread_id", "message_key")
    ids = {(row.thread_id, row.message_key): row.id for row in rows}
    for post in posts:
        post.id = ids[post.thread_id, post.message_key]
    _attach(posts)
    _touch_threads(posts, now)
    Event.add([f"thread:{post.thread_id}" for post in posts], now)


def add_log(thread_id: int, reason: Why, now: datetime) -> None:
    """Put a line of the system into a thread: a code with values, shown as its sentence. The caller commits."""
    add_posts([PostDraft(thread_id, "log", now, why=reason)], now)


def _row(post: PostDraft) -> dict[str, Any]:
    return {
        "thread_id": post.thread_id,
        "kind": post.kind,
        "author_contact_id": post.author_contact_id,
        "author_address": post.author_address[:400],
        "subject": post.subject[:LONGEST_SUBJECT],
        "html": post.html,
        "text": post.text,
        "fold_at": post.fold,
        "why": post.why,
        "mark": post.mark,
        "mark_why": post.mark_why,
        "sealed": post.sealed,
        "addressed": post.addressed,
        "message_id": post.message_id[:1000] if post.message_id else None,
        "message_key": post.message_key,
        "parent_id": post.parent_id,
        "received_mail_id": post.received_mail_id,
        "at": post.at,
    }


def _attach(posts: Sequence[PostDraft]) -> None:
    of_posts = [(post, place, file) for post in posts for place, file in enumerate(post.files)]
    blobs = Blob.keep([file.packed for _, _, file in of_posts])
    rows = [
        {
            "post_id": post.id,
            "name": file.name[:255],
            "type": file.type[:120],
            "cid": file.cid[:255] or None,
            "blob_id": blob_id,
            "size": len(file.content),
            "link_id": post.linked.get(place),
        }
        for (post, place, file), blob_id in zip(of_posts, blobs, strict=True)
    ]
    insert_rows(Attachment, rows)


def _touch_threads(posts: Sequence[PostDraft], now: datetime) -> None:
    """Note when something was said last, and under which id a thread began: its first message, never a note."""
    changes: dict[str, Any] = {"last_post_at": now}
    roots: dict[int, str] = {}
    for post in posts:
        if post.kind == "message" and not post.has_root:
            roots.setdefault(post.thread_id, post.message_id or own_message_id(post))
    if roots:
        changes["root_message_id"] = func.coalesce(Thread.root_message_id, case(roots, value=Thread.id))
    touched = select(Thread.id).where(Thread.id.in_({post.thread_id for post in posts}))
    # Two that touch the same threads wait for each other, never in a ring; both hold a key share by their posts.
    in_order = touched.order_by(Thread.id).with_for_update(key_share=True)
    db.session.execute(update(Thread).where(Thread.id.in_(in_order)).values(changes))


# --- followers


def follow(thread_id: int, contact_id: int, reason: Why | None = None) -> None:
    """Make a contact a follower; one that follows already stays as it is. The caller commits."""
    follow_all([(thread_id, contact_id, reason or why("follow_added"))])


def follow_all(followers: Iterable[tuple[int, int, Why]]) -> None:
    """Make contacts followers of threads, as ``follow`` does, in one statement."""
    rows = [{"thread_id": thread, "contact_id": contact, "why": reason} for thread, contact, reason in followers]
    insert_rows(Follower, rows, skip_known=True)


def unfollow(thread_id: int, contact_id: int) -> None:
    """Take a contact out of the followers; the caller commits."""
    found = db.session.scalar(
        select(Follower).where(Follower.thread_id == thread_id, Follower.contact_id == contact_id)
    )
    if found is not None:
        db.session.delete(found)


# --- reading


def has_unread(user_id: int, thread_id: int) -> bool:
    """Return whether something said in a thread waits in a user's inbox."""
    mine = exists().where(Notification.user_id == user_id, Notification.read_at.is_(None))
    return bool(db.session.scalar(select(mine.where(Notification.post_id == Post.id, Post.thread_id == thread_id))))


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
