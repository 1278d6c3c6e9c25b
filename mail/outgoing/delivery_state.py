"""The envelope of a post: what became of its mail, in one colour, and who must hear of a failure.

Read by the pages, written by the two flows that learn of failures: sending (a refusal) and receiving (a report).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import exists, select, update
from sqlalchemy.orm import joinedload

from mail.sentences import Why, why
from models import Document, Event, Notification, OutgoingMail, Post, ReceivedMail, Recipient, User, db
from models.slices import listed
from models.store import upsert

SENDING = ("queued", "sending")
FAILED = ("failed", "bounced")
STRANDED = "stranded"  # queued, and no server is left to send it through

Colour = Literal["grey", "green", "red", "amber"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What became of a mailed post: one colour, and the lines behind it. ``why`` is a report that names nobody."""

    colour: Colour
    lines: list[Recipient]
    why: Why | None = None

    @property
    def unseen(self) -> bool:
        """Whether a failure waits for somebody to look at it."""
        return any(line.state in FAILED and line.seen_at is None for line in self.lines)

    @property
    def failed(self) -> list[Recipient]:
        """The recipients who did not get it, or of whom nobody knows whether they did."""
        return [line for line in self.lines if line.state in (*FAILED, "unknown")]

    @property
    def limited(self) -> list[Recipient]:
        """The recipients whose email waits for a limit, or until their domain accepts more."""
        return [line for line in self.lines if line.state == "queued" and line.wait == "limit"]

    @property
    def scheduled(self) -> list[Recipient]:
        """The recipients whose email waits for the time that its author chose."""
        return [line for line in self.lines if line.state == "queued" and line.wait == "schedule" and not line.is_held]

    @property
    def stranded(self) -> bool:
        """Whether it waits for a server, as none is left."""
        return self.colour == "amber" and any(_state_of(line) == STRANDED for line in self.lines)


def _state_of(line: Recipient) -> str:
    waits = line.state == "queued" and line.why is not None and line.why["code"] == "no_server"
    return STRANDED if waits else line.state


def colour_of(states: Collection[str], is_marked: bool = False) -> Colour:
    """Return the colour of an envelope from the states of its lines: the worst of them shows.

    >>> colour_of(["sent", "bounced", "queued"]), colour_of(["sent", "unknown"]), colour_of(["sent", "queued"])
    ('red', 'amber', 'grey')
    >>> colour_of(["sent", "cancelled"]), colour_of(["sent", "stranded"])
    ('green', 'amber')
    """
    if is_marked or any(state in FAILED for state in states):
        return "red"
    if "unknown" in states or STRANDED in states:
        return "amber"
    if any(state in SENDING for state in states) or "sent" not in states:
        return "grey"
    return "green"


def envelopes(post_ids: Collection[int]) -> dict[int, Envelope]:
    """Return the envelope of each of these posts that was mailed; two statements, however many posts."""
    if not post_ids:
        return {}
    mails = db.session.execute(
        select(OutgoingMail.id, OutgoingMail.post_id, OutgoingMail.bounce_why).where(
            OutgoingMail.post_id.in_(listed(post_ids))
        )
    ).all()
    if not mails:
        return {}
    post_of = {mail.id: mail.post_id for mail in mails}
    marks = {mail.post_id: mail.bounce_why for mail in mails if mail.bounce_why}
    lines: dict[int, list[Recipient]] = {mail.post_id: [] for mail in mails}
    found = select(Recipient).where(Recipient.mail_id.in_(listed(post_of))).options(joinedload(Recipient.contact))
    for line in db.session.scalars(found.order_by(Recipient.id)):
        lines[post_of[line.mail_id]].append(line)
    return {
        post_id: Envelope(
            colour_of({_state_of(line) for line in of_post}, post_id in marks), of_post, marks.get(post_id)
        )
        for post_id, of_post in lines.items()
    }


def mark_failures(post_ids: Collection[int], now: datetime) -> None:
    """Mark posts whose delivery failed: on their documents, in the inbox of their authors, in open pages.

    Three statements at most, however many posts; the caller commits.
    """
    if not post_ids:
        return
    rows = db.session.execute(
        select(Post.id, Post.thread_id, Document.id.label("document_id"), Document.type_id, User.id.label("user_id"))
        .select_from(Post)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .outerjoin(User, User.contact_id == Post.author_contact_id)
        .where(Post.id.in_(listed(post_ids)))
    ).all()
    documents = {row.document_id for row in rows if row.document_id is not None}
    if documents:
        db.session.execute(
            update(Document)
            .where(Document.id.in_(listed(documents)), Document.failure_unread.is_(False))
            .values(failure_unread=True)
        )
    notify_inboxes([(row.id, row.user_id) for row in rows if row.user_id is not None], "failure", now)
    Event.add(thread_topics(rows), now)


def mark_untold(line_ids: Collection[int]) -> None:
    """Note that replies of the system failed: the emails that they were to answer are not rejected but ignored.

    The caller commits.
    """
    if not line_ids:
        return
    answers = select(Recipient.mail_id).where(Recipient.id.in_(listed(line_ids)))
    untold = select(ReceivedMail).where(ReceivedMail.answer_id.in_(answers), ReceivedMail.state == "rejected")
    for row in db.session.scalars(untold):
        row.state, row.decision = "ignored", [*(row.decision or []), why("unanswered_failed")]


def mark_doubts(post_ids: Collection[int], now: datetime) -> None:
    """Tell the authors of posts that nobody knows whether a recipient got them; the caller commits."""
    if not post_ids:
        return
    authors = select(Post.id, User.id).join(User, User.contact_id == Post.author_contact_id)
    rows = db.session.execute(authors.where(Post.id.in_(listed(post_ids)))).all()
    notify_inboxes([(row[0], row[1]) for row in rows], "failure", now)


def show_progress(post_ids: Collection[int], now: datetime) -> None:
    """Tell open pages that the envelopes of these posts changed colour; the caller commits."""
    if post_ids:
        rows = db.session.execute(select(Post.thread_id).where(Post.id.in_(listed(post_ids))).distinct())
        Event.add([f"thread:{row.thread_id}" for row in rows], now)


def thread_topics(rows: Iterable[Any]) -> list[str]:
    """Return the topics of open pages that show these threads (rows with ``thread_id`` and ``type_id``)."""
    topics = []
    for row in rows:
        topics.append(f"thread:{row.thread_id}")
        if row.type_id is not None:
            topics.append(f"documents:{row.type_id}")
    return topics


def mark_seen(post_id: int, now: datetime) -> None:
    """Take note of a post's failures ("ignore"): they stay red, but no list warns of them any more. Commit yourself."""
    of_post = select(OutgoingMail.id).where(OutgoingMail.post_id == post_id)
    db.session.execute(
        update(Recipient)
        .where(Recipient.mail_id.in_(of_post), Recipient.state.in_(FAILED), Recipient.seen_at.is_(None))
        .values(seen_at=now)
    )
    db.session.execute(
        update(Notification)
        .where(Notification.post_id == post_id, Notification.kind == "failure", Notification.read_at.is_(None))
        .values(read_at=now)
    )
    thread_id = db.session.scalar(select(Post.thread_id).where(Post.id == post_id))
    if thread_id is not None:
        close_failures([thread_id], now)


def sent_again(post_ids: Collection[int], now: datetime) -> None:
    """Emails of these posts are queued again: their documents are marked no more, unless something else failed there.

    The caller commits.
    """
    threads = db.session.scalars(select(Post.thread_id).where(Post.id.in_(listed(post_ids))).distinct()).all()
    close_failures(threads, now)


def close_failures(thread_ids: Collection[int], now: datetime) -> None:
    """Take the failure mark from documents none of whose failures waits to be seen; the caller commits."""
    unseen = (
        exists()
        .where(Recipient.mail_id == OutgoingMail.id, Recipient.state.in_(FAILED), Recipient.seen_at.is_(None))
        .where(OutgoingMail.post_id == Post.id, Post.thread_id == Document.thread_id)
    )
    cleared = db.session.execute(
        update(Document)
        .where(Document.thread_id.in_(listed(thread_ids)), Document.failure_unread, ~unseen)
        .values(failure_unread=False)
        .returning(Document.thread_id, Document.type_id)
    ).all()
    Event.add([*(f"thread:{thread_id}" for thread_id in thread_ids), *thread_topics(cleared)], now)


def notify_inboxes(pairs: Sequence[tuple[int, int]], kind: str, now: datetime) -> None:
    """Put posts (post id, user id) into the inboxes of users, unread again if they are there; the caller commits."""
    if not pairs:
        return
    rows = [{"post_id": post_id, "user_id": user_id, "kind": kind, "at": now} for post_id, user_id in pairs]
    statement = upsert(Notification).values(rows)
    db.session.execute(
        statement.on_conflict_do_update(
            index_elements=["post_id", "user_id", "kind"],
            set_={"read_at": None, "told_at": None, "at": statement.excluded.at},
        )
    )
    Event.add([f"inbox:{user_id}" for _, user_id in pairs], now)
