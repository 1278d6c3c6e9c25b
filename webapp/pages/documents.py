"""Documents: the list and board of a type, the page of one document with its chatter, and what people do there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user, login_required
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.datastructures import FileStorage, MultiDict

from mail.documents import changes, file_links, others
from mail.documents import posts as documents_posts
from mail.documents.changes import DocumentEdit
from mail.documents.notify import mark_reasons, notification_targets
from mail.documents.threads import NewFile, thread_views
from mail.errors import ChangeRefused, InvalidAddress, NothingWritten, PostTooLarge
from mail.message.address import normalise
from mail.message.html import shown_ids
from mail.outgoing import delivery_state
from mail.sentences import say
from mail.settings import office
from mail.settings.clock import now
from models import Attachment, Document, DocumentType, Event, Follower, Post, ReceivedMail, Stage, User, db
from models.slices import listed
from webapp import searching
from webapp.auth import own_page
from webapp.fields import moment_of
from webapp.pages import bodies
from webapp.pages.plain_text import html_of_words
from webapp.security import LARGEST_POST
from webapp.template_helpers import PRIORITIES, priority_name

blueprint = Blueprint("documents", __name__)

PAGE = 50  # documents of one list page
BOARD = 30  # cards of one column of the board
POSTS = 40  # posts shown at first
LATEST = timedelta(days=366)  # for which a message can be scheduled: a year that was mistyped is none


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
    query = select(Document).where(Document.type_id == type_.id)
    if stage := request.args.get("stage", 0, type=int):
        query = query.where(Document.stage_id == stage)
    if "failed" in request.args:
        query = query.where(Document.failure_unread)
    if "mine" in request.args:
        query = query.where(Document.responsible_id == current_user.id)
    if words := request.args.get("search", "").strip():
        columns = (Document.title, Document.number, Document.sender)
        query = query.where(searching.found(words, *columns, among=query))
    query = query.options(joinedload(Document.contact), joinedload(Document.stage), joinedload(Document.thread))
    return query.options(joinedload(Document.responsible)).order_by(Document.id.desc())


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
    columns, wanted = [], _wanted(type_)
    for stage in type_.stages:
        found = db.session.scalars(wanted.where(Document.stage_id == stage.id).limit(BOARD + 1)).unique().all()
        columns.append(Column(stage, found[:BOARD], len(found) > BOARD))
    return {"columns": columns}


@blueprint.route("/documents/<code>/new", methods=("GET", "POST"))
@login_required
def new(code: str) -> ResponseReturnValue:
    """Make a document by hand."""
    type_ = _type(code)
    if request.method == "POST":
        typed = request.form.get("title", ""), request.form.get("customer", "")
        try:
            document = changes.start(type_, *typed, current_user, now())
        except ChangeRefused as refused:
            flash(str(refused), "error")
        else:
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
    return _page(_document(document_id))


def _page(
    document: Document,
    typed: str = "",
    kind: str = "message",
    ticked: Sequence[str] | None = None,
    later: str = "",
) -> ResponseReturnValue:
    return render_template(
        "pages/document.html",
        document=document,
        users=sorted(db.session.scalars(select(User).where(User.active)), key=lambda user: user.name.casefold()),
        alias=office.load().type_aliases.get(document.type_id),
        priorities=PRIORITIES,
        typed=typed,
        typed_kind=kind,
        later=later,
        most_octets=file_links.most_octets(),
        links_lead_here=office.links_lead_here(),
        most_upload=LARGEST_POST,
        **(_chatter(document) | _audience(document, ticked)),
    )


@blueprint.get("/document/<int:document_id>/chatter")
@login_required
def chatter(document_id: int) -> ResponseReturnValue:
    """Answer the chatter alone, for an open page."""
    document = _document(document_id)
    return render_template("pages/chatter.html", document=document, **_chatter(document))


@blueprint.get("/document/<int:document_id>/audience")
@login_required
def audience(document_id: int) -> ResponseReturnValue:
    """Answer who will get what is written now, for an open page."""
    document = _document(document_id)
    return render_template("pages/audience.html", document=document, **_audience(document))


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
        "say": say,
        "mark_reasons": mark_reasons,
        "unread": documents_posts.has_unread(current_user.id, document.thread_id),
        "words": words_of,
        "files": files_of,
        "originals": _originals(posts[:limit]),
        "folded": bodies.folded,
        "link_days": file_links.LINK_DAYS,
    }


def _originals(posts: Sequence[Post]) -> Sequence[int]:
    """Return which received emails among these posts can be saved as they came: admins may, as long as it is kept."""
    received = [post.received_mail_id for post in posts if post.received_mail_id is not None]
    if current_user.role != "admin" or not received:
        return ()
    kept = select(ReceivedMail.id).where(ReceivedMail.id.in_(listed(received)), ReceivedMail.blob_id.is_not(None))
    return db.session.scalars(kept).all()


def _audience(document: Document, ticked: Sequence[str] | None = None) -> dict[str, Any]:
    """Who will get a message or a note, and who is offered besides; ``ticked``: who was chosen before."""
    place = thread_views([document.thread_id])[document.thread_id]
    told = {kind: notification_targets(place, kind, current_user.contact_id) for kind in ("message", "note")}
    keys = {key for one in told["message"] if (key := normalise(one.address))}
    found, left_out = others.offered(place, keys)
    chosen = {one.key for one in found if (one.ticked if ticked is None else one.written in ticked)}
    return {"told": told, "offered": found, "left_out": left_out, "ticked": chosen, "say": say}


def _followers(thread_id: int) -> Sequence[Follower]:
    query = select(Follower).where(Follower.thread_id == thread_id).options(joinedload(Follower.contact))
    return db.session.scalars(query.order_by(Follower.id)).all()


def _colleagues() -> frozenset[int]:
    """Return the contacts that have an account: all others are outside and look different."""
    return frozenset(db.session.scalars(select(User.contact_id)))


def words_of(post: Post) -> Markup:
    """Return a post that was written here as HTML for the page; what came by mail has a frame of its own."""
    return Markup(post.html)  # noqa: S704 - cleaned by an allow-list before it was stored


def files_of(post: Post) -> list[Attachment]:
    """Return the files of a post that are not images which its text shows in place."""
    pictures = bodies.pictures(post)
    shown = shown_ids(post.html) if pictures else set()
    return [file for file in post.attachments if file.cid not in shown or pictures.get(file.cid) is not file]


@blueprint.post("/document/<int:document_id>")
@login_required
def edit(document_id: int) -> ResponseReturnValue:
    """Save what the form beside the chatter says, and note in the chatter what changed."""
    document = _document(document_id)
    try:
        if changes.edit(document, _wanted_edit(document), current_user, now()):
            db.session.commit()
            flash(gettext("Saved."), "success")
    except ChangeRefused as refused:
        db.session.rollback()
        flash(str(refused), "error")
    return redirect(url_for(".show", document_id=document_id))


def _wanted_edit(document: Document) -> DocumentEdit:
    """What the person changed: a field that says what it said when the page was loaded undoes nobody's change."""
    given = MultiDict((name, value) for name, value in request.form.items() if value != request.form.get(f"{name}_was"))
    priority = given.get("priority", document.priority, type=int)
    known = priority != document.priority and 0 <= priority < len(PRIORITIES)
    return DocumentEdit(
        title=given.get("title"),
        stage_id=given.get("stage", type=int),
        responsible_id=given.get("responsible", type=int),
        priority=(priority, priority_name(document.priority), priority_name(priority)) if known else None,
    )


@blueprint.post("/document/<int:document_id>/stage")
@login_required
def move(document_id: int) -> ResponseReturnValue:
    """Move a document to another stage, from the bar above it or from the board."""
    wanted = DocumentEdit(stage_id=request.form.get("stage", type=int))
    changes.edit(_document(document_id), wanted, current_user, now())
    db.session.commit()
    return redirect(own_page(request.form.get("next", "")) or url_for(".show", document_id=document_id))


@blueprint.post("/document/<int:document_id>/read")
@login_required
def read(document_id: int) -> ResponseReturnValue:
    """Take what was said here out of the reader's inbox: asked by a page that is open and seen."""
    documents_posts.mark_read(current_user.id, _document(document_id).thread_id, now())
    db.session.commit()
    return "", 204


# --- writing


@blueprint.post("/document/<int:document_id>/posts")
@login_required
def write(document_id: int) -> ResponseReturnValue:
    """Post what the person wrote: a message to the followers or a note to colleagues."""
    document = _document(document_id)
    kind = "note" if request.form.get("kind") == "note" else "message"
    files = [_file(file) for file in request.files.getlist("files") if file.filename]
    words = request.form.get("words", "")
    also, later = request.form.getlist("also"), request.form.get("later", "") if kind == "message" else ""
    at = moment_of(later)
    if later and (at is None or not now() < at < now() + LATEST):
        flash(gettext("Choose a time within the next year, or leave it empty to send the message now."), "error")
        return _page(document, words, kind, also, later)
    try:
        html, thread = html_of_words(words), document.thread_id
        unread = documents_posts.has_unread(current_user.id, thread)
        documents_posts.post_from_browser(current_user, thread, html, kind, files, now(), also, at, unread)
    except (NothingWritten, PostTooLarge, InvalidAddress) as error:
        flash(say(error.why), "error")
        return _page(document, words, kind, also, later)
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
    contact = current_user.contact
    if typed := request.form.get("address", "").strip():
        try:
            contact = changes.add_follower(document, typed, now())
        except ChangeRefused as refused:
            flash(str(refused), "error")
            return redirect(url_for(".show", document_id=document_id))
    else:
        documents_posts.follow(document.thread_id, contact.id)
    Event.add([f"thread:{document.thread_id}"], now())
    db.session.commit()
    flash(gettext("%(name)s is now following this document.", name=str(contact)), "success")
    return redirect(url_for(".show", document_id=document_id))


@blueprint.post("/document/<int:document_id>/unfollow/<int:contact_id>")
@login_required
def unfollow(document_id: int, contact_id: int) -> ResponseReturnValue:
    """Take somebody out of the followers."""
    document = _document(document_id)
    documents_posts.unfollow(document.thread_id, contact_id)
    Event.add([f"thread:{document.thread_id}"], now())
    db.session.commit()
    return redirect(url_for(".show", document_id=document_id))
