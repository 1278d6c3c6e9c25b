"""Who hears of a post, by which way and why; and the mails and inbox notices that tell them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from flask_babel import gettext
from markupsafe import escape

from mail.decide.sender import AuthorIs
from mail.documents.file_links import link_large_files, links_to, mailed_files
from mail.documents.threads import PostDraft, ThreadView, thread_views
from mail.message.address import Address
from mail.message.compose import File, clean_id, html_to_text
from mail.message.html import with_images
from mail.outgoing import delivery_state, enqueue
from mail.outgoing.enqueue import OutgoingDraft, ReadyMail, To
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.tokens import TokenKind

MOST_REFERENCES = 12  # ids that a relayed mail repeats: the first ones of its thread and the last ones


@dataclass(frozen=True, slots=True)
class NotificationTarget:
    """Somebody who will be told of a post: by mail, or in the inbox of the browser, and why."""

    contact_id: int
    name: str
    address: str
    channel: Literal["mail", "inbox"]
    why: Why
    user_id: int | None = None

    @property
    def shown(self) -> str:
        """The name, or the address of somebody without one."""
        return self.name or self.address


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


# --- what the mail that tells of a post refers to


def own_message_id(post: PostDraft) -> str:
    """Return the Message-ID under which a post goes out by mail."""
    return office.tokens().message_id(TokenKind.POST, post.id, post.domain or office.load().message_domain)


def reply_references(place: ThreadView, kind: str) -> list[str]:
    """Return the ids that an answer names: the thread's first mail, and its parent under each id that people have it.

    Whoever wrote the parent has it under the id of his own mail, the others under the one that we sent it as.
    """
    parent = place.parent_of(kind)
    ids = [place.root_message_id]
    if parent is not None:
        ids += [parent.sent_as, parent.message_id]
    return list(dict.fromkeys(id for id in ids if id))


def relayed_references(root: str | None, named: Sequence[str], notes: Collection[str] = ()) -> list[str]:
    """Return the ids that the relay of a received mail names: its own, in their order, the thread's first mail first.

    Of a long thread the first ones and the last ones stay (RFC 5322 3.6.4). ``notes``: ids of internal notes, which
    are left out, because the relay goes to everybody.

    >>> relayed_references("<a@x>", ["<b@x>", "<n@x>", "<c@x>"], notes={"<n@x>"})
    ['<a@x>', '<b@x>', '<c@x>']
    """
    ids = [id for id in [root, *named] if id and id not in notes]
    known = list(dict.fromkeys(known for id in ids if (known := clean_id(id))))
    if len(known) > MOST_REFERENCES:
        known = [*known[:2], *known[2 - MOST_REFERENCES :]]
    return known


# --- telling them


@dataclass(frozen=True, slots=True)
class PostNotification:
    """What ``prepare`` makes ready to be told: a post, where it stands, and who has it already.

    ``skip_addresses`` are keys. ``named``: users in whose name it claims to come, who find it in their inbox.
    ``others`` get a message besides the followers.
    """

    post: PostDraft
    place: ThreadView
    skip_addresses: Collection[str] = ()
    references: Sequence[str] = ()
    named: Collection[int] = ()
    others: Sequence[Address] = ()


@dataclass(frozen=True, slots=True)
class ReadyNotification:
    """Who finds a post in the inbox of the browser, and the mail that tells the others, if there are any."""

    post: PostDraft
    inboxes: Sequence[int]
    mail: ReadyMail | None


def prepare(
    news: Sequence[PostNotification], now: datetime, scheduled_at: datetime | None = None
) -> list[ReadyNotification]:
    """Decide who is told of posts, and compose the mails: to be done before the transaction that stores the posts.

    The mails wait until ``scheduled_at``, if that is given.
    Nobody is told twice: not the author, nor ``skip_addresses``, who have the mail already. Notes go to users only.
    """
    ready = []
    for one in news:
        told = notification_targets(one.place, one.post.kind, one.post.author_contact_id, one.skip_addresses)
        users = [to.user_id for to in told if to.channel == "inbox" and to.user_id is not None]
        by_mail = [To(to.address, to.name, to.contact_id) for to in told if to.channel == "mail"]
        if one.post.kind == "message":
            by_mail += [To(other.address, other.name) for other in one.others]
        if by_mail:
            link_large_files(one.post)
        else:
            one.post.linked = {}
        mail = enqueue.prepare(_draft(one, scheduled_at or now), by_mail, now, scheduled_at) if by_mail else None
        one.post.domain = mail.domain if mail else ""
        ready.append(ReadyNotification(one.post, [*users, *one.named], mail))
    return ready


def notify(ready: Sequence[ReadyNotification], now: datetime) -> bool:
    """Tell of posts that have their numbers: one mail each with a line for each reader, or a notice in the inbox.

    Returns whether a mail goes out; the caller commits, then calls ``wake()``.
    """
    inboxes = dict.fromkeys((one.post.id, user_id) for one in ready for user_id in one.inboxes)
    delivery_state.notify_inboxes(list(inboxes), "post", now)
    mails = [one.mail.of_post(one.post.id) for one in ready if one.mail is not None]
    if mails:
        enqueue.enqueue_many(mails, now)
    return bool(mails)


def _draft(news: PostNotification, leaves_at: datetime) -> OutgoingDraft:
    post, place = news.post, news.place
    html, text = notification_bodies(post, place, links_to(post, leaves_at))
    return OutgoingDraft(
        kind="post",
        author=post.author_address,
        author_is=_author_is(post),
        subject=post.subject or place.title,
        html=html,
        text=text,
        files=[File(file.name, file.type, file.content, file.cid) for file in mailed_files(post)],
        references=news.references,
        type_id=place.type_id,
        title=place.title,
        has_document=place.type_id is not None,
    )


def _author_is(post: PostDraft) -> AuthorIs:
    if post.received_mail_id is None:
        return "verified"
    if post.mark in DOUBTS:
        return "not_checked"
    return "verified" if post.mark == "verified" else "received"


DOUBTS = ("not_checked", "forged")  # marks of a mail that names one of us, and nothing proves it
REMARKS = (*DOUBTS, "from_outside")


def mark_reasons(mark: str, author: str, reason: Why | None) -> list[Why]:
    """Return what a mark on a post means, and why it is there; nothing for a post that needs no such words."""
    if mark not in REMARKS:
        return []
    return [why(f"mark_{mark}", author=author), *([reason] if reason and mark in DOUBTS else [])]


def _text_of(post: PostDraft) -> str:
    """The text part of a post: as its writer's program made it, else of the HTML."""
    return html_to_text(post.html) if post.derives_text else post.text


def notification_bodies(post: PostDraft, place: ThreadView, links: tuple[str, str] = ("", "")) -> tuple[str, str]:
    """Return HTML and text of the mail that tells of a post: the post with all it quotes, links, and a small footer.

    The footer says as well that nothing proves who wrote it: the name in the From is all that the mail came with.
    """
    company = parameters.COMPANY_NAME.get()
    about = " ".join(part for part in (place.type_name, place.number) if part)
    footer = " · ".join(part for part in (company, about) if part)
    if post.kind == "note":
        footer = " · ".join(part for part in (gettext("Internal note"), footer) if part)
    if post.mark in DOUBTS:
        doubt = gettext("received by email, sender not checked")
        if post.mark == "forged":
            doubt = gettext("received by email, sender not verified: may be forged")
        footer = " · ".join(part for part in (footer, doubt) if part)
    html = with_images(post.html, lambda cid: f"cid:{cid}", remote=True) if post.html else ""
    text = _text_of(post)
    if links[1]:
        html, text = (html and html + links[0]), f"{text.rstrip()}\n\n{links[1]}\n"
    if footer:
        text = f"{text.rstrip()}\n\n-- \n{footer}\n"
        if html:
            html += f'<p style="color:#6b7280;font-size:12px;margin-top:24px">{escape(footer)}</p>'
    return html, text
