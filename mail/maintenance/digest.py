"""The daily digest: an email to each author about their messages that were not delivered since the last one.

It says the same as the red envelope: the reason, and who can fix it. It belongs to no message, so that its own failure
is never the subject of another one. Administrators are told as well, every day, what is in quarantine.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from flask_babel import force_locale, get_locale, gettext, ngettext
from markupsafe import Markup
from sqlalchemy import ColumnElement, and_, bindparam, exists, func, not_, or_, select, update
from sqlalchemy.exc import DBAPIError

from mail.decide.advice import told_fixer
from mail.errors import MailError, NotHandedOver
from mail.message.address import show_address
from mail.message.compose import html_to_text
from mail.outgoing import enqueue
from mail.outgoing.delivery_state import FAILED, Envelope, envelopes
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.sentences import Why, say
from mail.settings import office
from models import (
    Document,
    Notification,
    OutgoingMail,
    Post,
    ReceivedMail,
    Recipient,
    User,
    change_rows,
    db,
    reading,
    writing,
)
from models.base import holds

log = logging.getLogger("coquimail.digest")

MOST_TOLD = 1_000  # failures of one account; what is left is told the next day
MOST_COUNTED = 1_000  # emails in quarantine
MOST_POSTS = 20
MOST_RECIPIENTS = 10  # of one post
FIRST = timedelta(days=2)  # how far the first digest of an account looks back

# A person may have found that it arrived, or sent it again: then it is no news, though the notification is unread.
_LEFT = exists().where(Recipient.mail_id == OutgoingMail.id, Recipient.state.in_((*FAILED, "unknown")))
_STILL_FAILED = exists().where(
    OutgoingMail.post_id == Notification.post_id, or_(OutgoingMail.bounce_why.is_not(None), _LEFT)
)
_NOTE: Any = Notification.__table__
_TOLD = (
    update(_NOTE)  # one that was noted anew meanwhile, with another time, is told tomorrow
    .where(_NOTE.c.id == bindparam("notification"), _NOTE.c.at == bindparam("noted"))
    .values(told_at=bindparam("told_at"))
)

_BOX = "border:1px solid #d9dfdb;border-radius:8px;padding:12px 16px;margin:0 0 12px"
_SMALL = "color:#5c6862;font-size:13px;margin:4px 0 0"


@dataclass(frozen=True, slots=True)
class _Failed:
    """A message that was not delivered to everybody."""

    post_id: int
    at: datetime
    title: str
    text: str
    document_id: int | None
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class _News:
    """What somebody is told: what failed since the last digest, and how much else waits to be looked at.

    ``failed`` are the first of ``number``; ``told`` are the notifications with their times, to be told no second time.
    """

    failed: Sequence[_Failed]
    number: int
    told: Sequence[tuple[int, datetime]]
    older: int
    quarantined: int


def send_all(now: datetime) -> Iterator[int]:
    """Send everybody who wants one their digest, if something failed since the last; yields each account that got it.

    Each is committed for itself. What one account can't be told keeps nobody else from theirs; it is raised at the end.
    """
    with reading():
        unread = exists().where(
            Notification.user_id == User.id, Notification.kind == "failure", Notification.read_at.is_(None),
            Notification.told_at.is_(None),
        )  # fmt: skip
        wanted = select(User.id).where(User.active, User.digest, or_(unread, User.role == "admin"))
        accounts = db.session.scalars(wanted.order_by(User.id)).all()
    failed: Exception | None = None
    for account in accounts:
        try:
            sent = _send(account, now)
        except DBAPIError:
            raise
        except Exception as error:
            db.session.rollback()
            log.error("no digest for account %s", account, exc_info=not isinstance(error, MailError))
            sent, failed = False, error
        if sent:
            yield account
    if failed:
        raise failed


def _send(user_id: int, now: datetime) -> bool:
    with reading():
        user = db.session.get_one(User, user_id)
        before, since = user.digested_at, user.digested_at or now - FIRST
        news = _news(user, since)
        if not news.number and not news.quarantined:
            return False
        ready = enqueue.prepare(_draft(user, news), [To(user.email, user.name, user.contact_id)], now)
    if ready.failure and not enqueue.waits_for_server(ready.failure):
        raise NotHandedOver(ready.failure)  # and nothing counts as told
    with writing():
        same = User.digested_at.is_(None) if before is None else User.digested_at == before
        if not change_rows(update(User).where(User.id == user_id, same).values(digested_at=now)):
            db.session.rollback()
            return False
        if before is None:
            older = update(Notification).where(*_unread(user_id), Notification.at <= since)
            change_rows(older.values(told_at=now))
        if news.told:
            told = [{"notification": number, "noted": at, "told_at": now} for number, at in news.told]
            db.session.connection().execute(_TOLD, told)
        enqueue.enqueue_many([ready], now)
        db.session.commit()
    return True


def _news(user: User, since: datetime) -> _News:
    """What there is to tell: failures that no digest told of and that still are some, the newest first."""
    unread = and_(*_unread(user.id), _STILL_FAILED)
    new: ColumnElement[bool] = Notification.told_at.is_(None)
    if user.digested_at is None:
        new = and_(new, Notification.at > since)
    rows = db.session.execute(
        select(Notification.id, Notification.at, Notification.post_id, func.count().over().label("number"))
        .where(unread, new)
        .order_by(Notification.id.desc())
        .limit(MOST_TOLD)
    ).all()
    older = db.session.scalar(select(func.count()).select_from(Notification).where(unread, not_(new))) or 0
    first = {row.post_id: row.at for row in rows[:MOST_POSTS]}
    return _News(
        _failed(first), rows[0].number if rows else 0, [(row.id, row.at) for row in rows], older,
        _quarantined(user),
    )  # fmt: skip


def _unread(user_id: int) -> tuple[ColumnElement[bool], ...]:
    return Notification.user_id == user_id, Notification.kind == "failure", Notification.read_at.is_(None)


def _failed(posts: Mapping[int, datetime]) -> list[_Failed]:
    """Posts with the time of their failure, in the same order, as the digest tells of them."""
    found = envelopes(posts)
    rows = db.session.execute(
        select(Post.id, Post.subject, Post.text, Document)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .where(Post.id.in_(found))
    ).all()
    order = list(posts)
    return [
        _Failed(
            row.id, posts[row.id], str(row.Document) if row.Document else row.subject, row.text,
            row.Document.id if row.Document else None, found[row.id],
        )
        for row in sorted(rows, key=lambda row: order.index(row.id))
    ]  # fmt: skip


def _quarantined(user: User) -> int:
    """How many emails are in quarantine, for those who decide about them: each of them waits for a person."""
    if user.role != "admin":
        return 0
    held = holds(ReceivedMail.state, "quarantined")
    some = select(ReceivedMail.id).where(held).limit(MOST_COUNTED).subquery()
    return db.session.scalar(select(func.count()).select_from(some)) or 0


# --- what it says


def _draft(user: User, news: _News) -> OutgoingDraft:
    number = news.number
    with force_locale(user.language):
        html = _html(user, news)
        subject = ngettext(
            "%(num)s of your emails needs your attention", "%(num)s of your emails need your attention", number
        )
        if not number:
            subject = _in_quarantine(news.quarantined)
    return OutgoingDraft(
        kind="digest", author=office.mailbox(), subject=subject, html=str(html), text=html_to_text(str(html)),
        auto_submitted="auto-generated",
    )  # fmt: skip


def _in_quarantine(number: int) -> str:
    words: str = ngettext("%(num)s email is in quarantine", "%(num)s emails are in quarantine", number)
    return words


def _html(user: User, news: _News) -> Markup:
    """The digest, with links where they can be followed from elsewhere."""
    url = office.base_url() if office.links_lead_here() else ""
    parts = _failures(user, news, url) if news.number else []
    if news.quarantined:
        words = f"{_in_quarantine(news.quarantined)}."
        path = f"{url}/admin/received-mails/?state=quarantined"
        parts.append(Markup("<p>{}</p>").format(_link(path, words) if url else words))
    off = gettext("You get this email once a day at most. Turn it off under My account ‣ Daily digest.")
    parts.append(Markup('<p style="{}">{}</p>').format(_SMALL, _link(f"{url}/account", off) if url else off))
    return Markup("\n").join(parts)


def _failures(user: User, news: _News, url: str) -> list[Markup]:
    words = ngettext(
        "This message did not reach everyone, or it is unknown whether it did:",
        "These messages did not reach everyone, or it is unknown whether they did:",
        news.number,
    )
    parts = [Markup("<p>{}</p>").format(words)]
    parts += [_post(user, one, url) for one in news.failed]
    rest = news.number - len(news.failed)
    if rest > 0:
        parts.append(_paragraph(ngettext("%(num)s more is in your inbox.", "%(num)s more are in your inbox.", rest)))
    if news.older:
        words = ngettext(
            "%(num)s older failure is still unread in your inbox.",
            "%(num)s older failures are still unread in your inbox.",
            news.older,
        )
        parts.append(_paragraph(words))
    if url:
        parts.append(Markup("<p>{}</p>").format(_link(f"{url}/inbox", gettext("Open your inbox"))))
    return parts


def _post(user: User, one: _Failed, url: str) -> Markup:
    zone = ZoneInfo(user.zone)
    moment = format_datetime(one.at, "medium", tzinfo=zone, locale=get_locale() or "en")
    city = user.zone.rpartition("/")[2].replace("_", " ")
    title = one.title or gettext("Message without a title")
    if url and one.document_id is not None:
        title = _link(f"{url}/document/{one.document_id}#post-{one.post_id}", title)
    parts = [Markup("<strong>{}</strong>").format(title)]
    parts.append(_paragraph(gettext("%(time)s (%(zone)s)", time=moment, zone=city)))
    if begins := " ".join(one.text.split())[:140]:
        parts.append(_paragraph(f"“{begins}”"))
    if one.envelope.why:
        parts.append(Markup("<p>{}</p>").format(say(one.envelope.why)))
    lines = one.envelope.failed
    for line in lines[:MOST_RECIPIENTS]:
        reason: Why | None = line.why  # type: ignore[assignment]
        fixer = say(told_fixer(reason, has_ended=True, to_administrator=user.role == "admin"))
        to = show_address(line.name or (line.contact.name if line.contact else ""), line.address)
        parts.append(Markup("<p><b>{}</b><br>{}<br><i>{}</i></p>").format(to, say(reason), fixer))
    rest = len(lines) - MOST_RECIPIENTS
    if rest > 0:
        parts.append(_paragraph(ngettext("%(num)s more recipient", "%(num)s more recipients", rest)))
    return Markup('<div style="{}">{}</div>').format(_BOX, Markup("").join(parts))


def _paragraph(words: str) -> Markup:
    return Markup('<p style="{}">{}</p>').format(_SMALL, words)


def _link(url: str, words: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(url, words)
