"""The inbox of a person: what was said where they follow, failures of their own mail, and notices for admins."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user, login_required
from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from mail.documents.notify import DOUBTS
from mail.incoming import named
from mail.outgoing import waiting
from mail.outgoing.delivery_state import Envelope, envelopes
from mail.sentences import say
from mail.settings.clock import now
from models import Document, Event, Notification, Post, db

FAILURES = {  # what became of an email whose author was told of a failure
    "red": _l("One of your emails was not delivered"),
    "amber": _l("One of your emails may not have arrived"),
    "grey": _l("One of your emails is being sent again"),
    "green": _l("One of your emails was sent after all"),
}

blueprint = Blueprint("inbox", __name__, url_prefix="/inbox")

MOST = 100  # notices of one page
MOST_RECIPIENTS = 3  # of one email that failed
MOST_WAITING = 10  # own emails that wait for a limit


@blueprint.get("")
@login_required
def index() -> ResponseReturnValue:
    """Show what waits to be read, or with ``?all=1`` what was read as well."""
    everything, before = request.args.get("all") == "1", request.args.get("before", 0, type=int)
    query = (
        select(Notification, Document)
        .select_from(Notification)
        .outerjoin(Post, Post.id == Notification.post_id)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .where(Notification.user_id == current_user.id)
        .options(joinedload(Notification.post).joinedload(Post.author))
        .order_by(Notification.id.desc())
        .limit(MOST + 1)
    )
    if before:
        query = query.where(Notification.id < before)
    if not everything:
        query = query.where(Notification.read_at.is_(None))
    template = "pages/inbox_live.html" if request.headers.get("X-Fragment") else "pages/inbox.html"
    found = db.session.execute(query).all()
    older = found[MOST - 1][0].id if len(found) > MOST else None
    return render_template(
        template,
        notices=found[:MOST],
        everything=everything,
        title=_title,
        most_recipients=MOST_RECIPIENTS,
        older=older,
        envelopes=_envelopes([notice for notice, _ in found[:MOST]]),
        waiting=_waiting() if not before else [],
        say=say,
    )


def _envelopes(notices: list[Notification]) -> dict[int, Envelope]:
    """What became of the posts that failed, by notice."""
    failed = {notice.id: notice.post_id for notice in notices if notice.kind == "failure" and notice.post_id}
    of_posts = envelopes(set(failed.values()))
    return {notice_id: of_posts[post_id] for notice_id, post_id in failed.items() if post_id in of_posts}


def _waiting() -> list[tuple[Post, Document | None, Envelope]]:
    """The last posts of the reader whose email waits for a limit."""
    posts = waiting.limited_posts(current_user.contact_id, MOST_WAITING)
    of_posts = envelopes(posts)
    query = select(Post, Document).outerjoin(Document, Document.thread_id == Post.thread_id).where(Post.id.in_(posts))
    found = db.session.execute(query.order_by(Post.id.desc())).all()
    return [(post, document, of_posts[post.id]) for post, document in found if of_posts[post.id].limited]


def _title(notice: Notification, envelope: Envelope | None = None) -> str:
    if notice.kind == "failure":
        waits = envelope is not None and envelope.stranded
        return str(FAILURES["grey" if waits else envelope.colour if envelope else "red"])
    if notice.post is None:
        if notice.why and notice.why["code"] == named.CODE:
            return gettext("An email in your name was rejected")
        return gettext("For administrators")
    if notice.post.mark in DOUBTS and notice.post.author_contact_id == current_user.contact_id:
        if notice.post.mark == "forged":
            return gettext("An email in your name that may be forged")
        return gettext("An email in your name. Did you write it?")
    return str(notice.post.author or notice.post.author_address or gettext("Unknown sender"))


@blueprint.post("/<int:notice_id>/open")
@login_required
def open_notice(notice_id: int) -> ResponseReturnValue:
    """Mark something as read and go to where it was said, or to what it is about."""
    found = db.session.execute(
        select(Notification, Document.id)
        .select_from(Notification)
        .outerjoin(Post, Post.id == Notification.post_id)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .where(Notification.id == notice_id, Notification.user_id == current_user.id)
    ).first()
    if found is None:
        abort(404)
    notice, document_id = found
    notice.read_at = notice.read_at or now()
    Event.add([f"inbox:{current_user.id}"], now())
    db.session.commit()
    if document_id is None:
        return redirect(notice.link or url_for(".index"))
    return redirect(url_for("documents.show", document_id=document_id, _anchor=f"post-{notice.post_id}"))


@blueprint.post("/read")
@login_required
def read_all() -> ResponseReturnValue:
    """Mark everything as read."""
    db.session.execute(
        update(Notification)
        .where(Notification.user_id == current_user.id, Notification.read_at.is_(None))
        .values(read_at=now())
    )
    Event.add([f"inbox:{current_user.id}"], now())
    db.session.commit()
    return redirect(url_for(".index"))
