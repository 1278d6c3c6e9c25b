"""Documents: the list and board of a type, the page of one document with its chatter, and what people do there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user, login_required
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.datastructures import FileStorage

from mail.documents import contacts
from mail.documents import posts as documents_posts
from mail.documents.documents import start_document
from mail.documents.notify import NotificationTarget, audience, mark_reason
from mail.documents.threads import NewFile
from mail.errors import NothingWritten
from mail.message.address import first_address, show_address
from mail.outgoing import delivery_state, lines
from mail.outgoing.lines import NotCorrected
from mail.sentences import Why, say, why
from mail.settings import office
from mail.settings.clock import now
from mail.settings.wake import wake
from models import (
    Document,
    DocumentType,
    Event,
    Follower,
    OutgoingMail,
    Post,
    Recipient,
    Stage,
    User,
    db,
)
from webapp.auth import own_page
from webapp.pages.plain_text import html_of_words
from webapp.template_helpers import PRIORITIES, priority_name

blueprint = Blueprint("documents", __name__)

PAGE = 50  # documents of one list page
BOARD = 30  # cards of one column of the board
POSTS = 40  # posts shown at first
WITHOUT_VALUES = {"", "0", None}


# --- the list and the board of a type


@blueprint.get("/documents/<code>")
@login_required
def index(code: str) -> ResponseReturnValue:
    """Show the documents of a type, as a list or as a board by stage."""
    type_ = _type(code)
    template = "pages/documents_live.html" if request.headers.get("X-Fragment") else "pages/documents.html"
    board = request.args.get("view") == "board"
    found = _board(type_) if board else _list(type_)
    return render_template(
        template,
        type=type_,
        board=board,
        stage=request.args.get("stage", 0, type=int),
        failed="failed" in request.args,
        mine="mine" in request.args,
        search=request.args.get("search", ""),
        alias=office.load().type_aliases.get(type_.id),
        narrowed=any(request.args.get(name) for name in ("stage", "failed", "mine", "search", "before")),
        arguments=request.args.to_dict(),
        **found,
    )


def _type(code: str) -> DocumentType:
    type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == code))
    return type_ or abort(404)


def _wanted(type_: DocumentType) -> Any:
    query = select(Document).where(Document.type_id == type_.id).order_by(Document.id.desc())
    query = query.options(joinedload(Document.contact), joinedload(Document.stage), joinedload(Document.thread))
    query = query.options(joinedload(Document.responsible))
    if stage := request.args.get("stage", 0, type=int):
        query = query.where(Document.stage_id == stage)
    if "failed" in request.args:
        query = query.where(Document.failure_unread)
    if "mine" in request.args:
        query = query.where(Document.responsible_id == current_user.id)
    if words := request.args.get("search", "").strip():
        query = query.where(Document.matches(words))
    return query


def _list(type_: DocumentType) -> dict[str, Any]:
    query = _wanted(type_)
    if before := request.args.get("before", 0, type=int):
        query = query.where(Document.id < before)
    found = db.session.scalars(query.limit(PAGE + 1)).unique().all()
    return {"documents": found[:PAGE], "older": found[PAGE - 1].id if len(found) > PAGE else None}


@dataclass(frozen=True)
class Column:
    """A column of the board: a stage and its newest documents."""

    stage: Stage
    documents: Sequence[Document]
    more: bool


def _board(type_: DocumentType) -> dict[str, Any]:
    columns = []
    for stage in type_.stages:
        found = db.session.scalars(_wanted(type_).where(Document.stage_id == stage.id).limit(BOARD + 1)).unique().all()
        columns.append(Column(stage, found[:BOARD], len(found) > BOARD))
    return {"columns": columns}


@blueprint.route("/documents/<code>/new", methods=("GET", "POST"))
@login_required
def new(code: str) -> ResponseReturnValue:
    """Make a document by hand."""
    type_ = _type(code)
    if request.method == "POST":
        title = " ".join(request.form.get("title", "").split())
        sender = request.form.get("customer", "").strip()
        address = first_address(sender)
        if not title:
            flash(gettext("Enter a title: it is the subject of the document's emails."), "error")
        elif sender and address is None:
            flash(
                gettext("“%(text)s” is not an email address. Enter it as Name <name@company.com>.", text=sender),
                "error",
            )
        else:
            contact = contacts.find_or_make(address.address, address.name, now()) if address else None
            document = start_document(
                type_,
                title,
                now(),
                sender=show_address(address.name, address.address) if address else "",
                contact_id=contact.id if contact else None,
                responsible=current_user,
            )
            db.session.commit()
            return redirect(url_for("documents.show", document_id=document.id))
    return render_template("pages/document_new.html", type=type_)


# --- one document


def _document(document_id: int) -> Document:
    query = select(Document).where(Document.id == document_id)
    query = query.options(joinedload(Document.type).selectinload(DocumentType.stages), joinedload(Document.contact))
    return db.session.scalar(query.options(joinedload(Document.thread), joinedload(Document.stage))) or abort(404)


@blueprint.get("/document/<int:document_id>")
@login_required
def show(document_id: int) -> ResponseReturnValue:
    """Show a document with its chatter."""
    document = _document(document_id)
    return render_template(
        "pages/document.html",
        document=document,
        users=sorted(db.session.scalars(select(User).where(User.active)), key=lambda user: user.name.casefold()),
        alias=office.load().type_aliases.get(document.type_id),
        priorities=PRIORITIES,
        **_chatter(document),
    )


@blueprint.get("/document/<int:document_id>/chatter")
@login_required
def chatter(document_id: int) -> ResponseReturnValue:
    """Answer the chatter alone, for an open page."""
    document = _document(document_id)
    return render_template("pages/chatter.html", document=document, **_chatter(document))


@blueprint.get("/document/<int:document_id>/followers")
@login_required
def followers(document_id: int) -> ResponseReturnValue:
    """Answer the followers alone, for an open page."""
    document = _document(document_id)
    return render_template(
        "pages/followers.html",
        document=document,
        followers=_followers(document.thread_id),
        colleagues=_colleagues(),
        say=say,
    )


def _chatter(document: Document) -> dict[str, Any]:
    limit = min(request.args.get("posts", POSTS, type=int), 1000)
    query = select(Post).where(Post.thread_id == document.thread_id).order_by(Post.id.desc())
    query = query.options(joinedload(Post.author), selectinload(Post.attachments))
    posts = db.session.scalars(query.limit(limit + 1)).unique().all()
    return {
        "posts": posts[:limit],
        "more": limit + POSTS if len(posts) > limit else None,
        "envelopes": delivery_state.envelopes([post.id for post in posts]),
        "followers": _followers(document.thread_id),
        "colleagues": _colleagues(),
        "told": {kind: _told(document, kind) for kind in ("message", "note")},
        "say": say,
        "mark_reason": mark_reason,
        "words": words_of,
    }


def _followers(thread_id: int) -> Sequence[Follower]:
    query = select(Follower).where(Follower.thread_id == thread_id).options(joinedload(Follower.contact))
    return db.session.scalars(query.order_by(Follower.id)).all()


def _colleagues() -> frozenset[int]:
    """Return the contacts that have an account: all others are outside and look different."""
    return frozenset(db.session.scalars(select(User.contact_id)))


def _told(document: Document, kind: str) -> list[NotificationTarget]:
    return audience(document.thread_id, kind, current_user.contact_id)


def words_of(post: Post) -> Markup:
    """Return a post that was written here as HTML for the page; what came by mail has a frame of its own."""
    return Markup(post.html)  # noqa: S704 - cleaned by an allow-list before it was stored


@blueprint.post("/document/<int:document_id>")
@login_required
def edit(document_id: int) -> ResponseReturnValue:
    """Save what the form beside the chatter says, and note in the chatter what changed."""
    document = _document(document_id)
    changes = _changes(document)
    title = " ".join(request.form.get("title", "").split())
    if not title:
        flash(gettext("The title can't be empty."), "error")
        return redirect(url_for(".show", document_id=document_id))
    if changes or title != document.title:
        if title != document.title:
            changes.append(why("changed_title", before=document.title, after=title))
            document.title = title[:500]
        for change in changes:
            documents_posts.add_log(
                document.thread_id, change | {"values": change["values"] | {"who": current_user.name}}, now()
            )
        Event.add([f"documents:{document.type_id}", f"thread:{document.thread_id}"], now())
        db.session.commit()
        flash(gettext("Saved."), "success")
    return redirect(url_for(".show", document_id=document_id))


def _changes(document: Document) -> list[Any]:
    changes = []
    stage = db.session.get(Stage, request.form.get("stage", 0, type=int))
    if stage is not None and stage.type_id == document.type_id and stage.id != document.stage_id:
        before = document.stage.name if document.stage else "–"
        changes.append(why("changed_stage", before=before, after=stage.name))
        document.stage_id = stage.id
    priority = request.form.get("priority", document.priority, type=int)
    if priority != document.priority and 0 <= priority < len(PRIORITIES):
        before, after = priority_name(document.priority), priority_name(priority)
        changes.append(why("changed_priority", before=before, after=after))
        document.priority = priority
    chosen = request.form.get("responsible", 0, type=int)
    if "responsible" in request.form and chosen != (document.responsible_id or 0):
        user = db.session.get(User, chosen) if chosen else None
        changes.append(_assigned(document.responsible, user))
        document.responsible_id = user.id if user else None
        if user:
            documents_posts.follow(document.thread_id, user.contact_id, why("follow_responsible"))
    return changes


def _assigned(before: User | None, after: User | None) -> Why:
    if before and after:
        return why("changed_responsible", before=before.name, after=after.name)
    return (
        why("responsible_removed", before=before.name) if before else why("responsible_set", after=after and after.name)
    )


@blueprint.post("/document/<int:document_id>/stage")
@login_required
def move(document_id: int) -> ResponseReturnValue:
    """Move a document to another stage, from the bar above it or from the board."""
    document = _document(document_id)
    for change in _changes(document):
        documents_posts.add_log(
            document.thread_id, change | {"values": change["values"] | {"who": current_user.name}}, now()
        )
        Event.add([f"documents:{document.type_id}", f"thread:{document.thread_id}"], now())
    db.session.commit()
    return redirect(own_page(request.form.get("next", "")) or url_for(".show", document_id=document_id))


# --- writing


@blueprint.post("/document/<int:document_id>/posts")
@login_required
def write(document_id: int) -> ResponseReturnValue:
    """Post what the person wrote: a message to the followers or a note to colleagues."""
    document = _document(document_id)
    kind = "note" if request.form.get("kind") == "note" else "message"
    files = [_file(file) for file in request.files.getlist("files") if file.filename]
    try:
        documents_posts.post_from_browser(
            current_user, document.thread_id, html_of_words(request.form.get("words", "")), kind, files, now()
        )
    except NothingWritten as error:
        flash(say(error.why), "error")
    return redirect(url_for(".show", document_id=document_id) + "#chatter")


def _file(file: FileStorage) -> NewFile:
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    return NewFile.of(name, file.mimetype or "application/octet-stream", file.read())


# --- followers


@blueprint.post("/document/<int:document_id>/follow")
@login_required
def follow(document_id: int) -> ResponseReturnValue:
    """Add a follower by mail address (or oneself, without one)."""
    document = _document(document_id)
    text = request.form.get("address", "").strip()
    contact = current_user.contact
    if text:
        address = first_address(text)
        if address is None:
            flash(
                gettext("“%(text)s” is not an email address. Enter it as Name <name@company.com>.", text=text), "error"
            )
            return redirect(url_for(".show", document_id=document_id))
        if address.key in _own_addresses():
            flash(
                gettext("%(address)s is one of our own addresses: it would write to itself.", address=address.key),
                "error",
            )
            return redirect(url_for(".show", document_id=document_id))
        contact = contacts.find_or_make(address.address, address.name, now())
    documents_posts.follow(document.thread_id, contact.id, why("follow_added"))
    Event.add([f"thread:{document.thread_id}"], now())
    db.session.commit()
    flash(gettext("%(name)s is now following this document.", name=str(contact)), "success")
    return redirect(url_for(".show", document_id=document_id))


def _own_addresses() -> set[str | None]:
    known = office.load().office
    return {known.catchall_address, known.bounce_address, known.default_address, *office.load().type_aliases.values()}


@blueprint.post("/document/<int:document_id>/unfollow/<int:contact_id>")
@login_required
def unfollow(document_id: int, contact_id: int) -> ResponseReturnValue:
    """Take somebody out of the followers."""
    document = _document(document_id)
    documents_posts.unfollow(document.thread_id, contact_id)
    Event.add([f"thread:{document.thread_id}"], now())
    db.session.commit()
    return redirect(url_for(".show", document_id=document_id))


# --- the red envelope: what can be done about a recipient


def _line(line_id: int) -> tuple[Recipient, int]:
    """A recipient line and the document it belongs to."""
    found = db.session.execute(
        select(Recipient, Document.id)
        .select_from(Recipient)
        .join(OutgoingMail, Recipient.mail_id == OutgoingMail.id)
        .join(Post, OutgoingMail.post_id == Post.id)
        .join(Document, Document.thread_id == Post.thread_id)
        .where(Recipient.id == line_id)
    ).first()
    return (found[0], found[1]) if found else abort(404)


@blueprint.post("/lines/<int:line_id>/retry")
@login_required
def retry(line_id: int) -> ResponseReturnValue:
    """Send to this recipient again."""
    _, document_id = _line(line_id)
    lines.retry([line_id], now())
    _settle(document_id)
    flash(gettext("The email is being sent again."), "success")
    return redirect(url_for(".show", document_id=document_id))


@blueprint.post("/lines/<int:line_id>/correct")
@login_required
def correct(line_id: int) -> ResponseReturnValue:
    """Send to another address instead."""
    line, document_id = _line(line_id)
    before = line.address
    try:
        lines.correct_address(line_id, request.form.get("address", ""), now())
    except NotCorrected as error:
        db.session.rollback()
        flash(str(error), "error")
        return redirect(url_for(".show", document_id=document_id))
    document = _document(document_id)
    change = why("address_corrected", before=before, after=line.address)
    documents_posts.add_log(document.thread_id, change, now())
    _settle(document_id)
    flash(say(change), "success")
    return redirect(url_for(".show", document_id=document_id))


def _settle(document_id: int) -> None:
    delivery_state.close_failures(_document(document_id).thread_id, now())
    db.session.commit()
    wake()


@blueprint.post("/lines/<int:line_id>/cancel")
@login_required
def cancel(line_id: int) -> ResponseReturnValue:
    """Take a waiting recipient out of the queue."""
    _, document_id = _line(line_id)
    if lines.cancel([line_id], now()):
        flash(gettext("The email was cancelled and will not be sent."), "success")
    else:
        flash(gettext("It is too late: the email is already being sent."), "error")
    db.session.commit()
    return redirect(url_for(".show", document_id=document_id))


@blueprint.post("/posts/<int:post_id>/seen")
@login_required
def seen(post_id: int) -> ResponseReturnValue:
    """Ignore the failures of a post: they stay red on it, and no list warns of them any more."""
    document_id = db.session.scalar(
        select(Document.id).join(Post, Post.thread_id == Document.thread_id).where(Post.id == post_id)
    )
    if document_id is None:
        abort(404)
    delivery_state.mark_seen(post_id, now())
    db.session.commit()
    return redirect(url_for(".show", document_id=document_id))
