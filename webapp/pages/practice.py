"""The practice mailbox: read what was sent, and answer, bounce or write as somebody outside would."""

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup, escape
from sqlalchemy import select

from mail.maintenance import practice
from mail.message.address import Address, normalise
from mail.message.parse import IncomingMessage
from mail.message.pasted import one_person
from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import settings
from models import Blob, Document, DocumentType, OutgoingMail, Post, PracticeMail, db
from webapp.auth import roles_required
from webapp.pages.bodies import as_download, of_mail

blueprint = Blueprint("practice", __name__, url_prefix="/practice")

PAGE = 50
SEVERAL = _l("Not sent: enter one sender and one recipient. For another recipient, send another email.")
INCOMPLETE = _l("Enter both addresses in full, such as ann@customer.test and sales@office.test.")


def _only_in_practice() -> None:
    """With a real mail server there is no practice mailbox to play in."""
    if not settings().default_server.practice:
        abort(404)


@blueprint.get("")
@roles_required("admin")
def index() -> ResponseReturnValue:
    """Show what was sent, newest first, as the recipients have it."""
    _only_in_practice()
    return _page()


def _page() -> ResponseReturnValue:
    query = select(PracticeMail).order_by(PracticeMail.id.desc()).limit(PAGE + 1)
    if before := request.args.get("before", 0, type=int):
        query = query.where(PracticeMail.id < before)
    if recipient := request.args.get("recipient", ""):
        query = query.where(PracticeMail.recipient == recipient)
    found = db.session.scalars(query).all()
    template = "pages/practice_live.html" if request.headers.get("X-Fragment") else "pages/practice.html"
    return render_template(
        template,
        mails=found[:PAGE],
        older=found[PAGE - 1].id if len(found) > PAGE else None,
        recipient=recipient,
        is_live=office.is_live(),
        aliases=sorted(office.load().addresses),
    )


@blueprint.post("/write")
@roles_required("admin")
def write() -> ResponseReturnValue:
    """Send a mail to the office, as a customer would."""
    _only_in_practice()
    sender, to = one_person(request.form.get("from", "")), one_person(request.form.get("to", ""))
    if not isinstance(sender, Address) or not isinstance(to, Address):
        several = any(isinstance(one, dict) and one["code"] == "import_several" for one in (sender, to))
        flash(str(SEVERAL if several else INCOMPLETE), "error")
        return _page()
    words = request.form.get("words", "").strip() or gettext("Hello!")
    practice.write_new(str(sender), to.address, request.form.get("subject", ""), words, now())
    flash(_on_its_way(to.address), "success")
    return redirect(url_for(".index"))


def _on_its_way(address: str) -> Markup:
    """Return what becomes of a mail to an address, with the way to where it will be seen."""
    link = Markup('<a href="{}">{}</a>')
    type_ = db.session.get(DocumentType, office.load().addresses.get(normalise(address) or "", 0))
    if type_ is not None and type_.active:
        place = link.format(url_for("documents.index", code=type_.code), type_.plural)
        return escape(gettext("The email is being sent; it appears under %(place)s.")) % {"place": place}
    place = link.format(url_for("received_mails.index_view"), gettext("Received emails"))
    return escape(gettext("The email is being sent; %(place)s shows the result.")) % {"place": place}


def _mail(mail_id: int) -> PracticeMail:
    _only_in_practice()
    return db.session.get(PracticeMail, mail_id) or abort(404)


@blueprint.get("/<int:mail_id>")
@roles_required("admin")
def show(mail_id: int) -> ResponseReturnValue:
    """Show one mail as its recipient has it."""
    mail = _mail(mail_id)
    message = practice.read(mail)
    return render_template("pages/practice_mail.html", mail=mail, message=message, document=_document_of(message))


def _document_of(message: IncomingMessage) -> Document | None:
    """Return the document that a mail was written on; None for a mailing."""
    query = (
        select(Document)
        .join(Post, Post.thread_id == Document.thread_id)
        .join(OutgoingMail, OutgoingMail.post_id == Post.id)
        .where(OutgoingMail.message_id == message.message_id)
    )
    return db.session.scalar(query)


@blueprint.get("/<int:mail_id>/body")
@roles_required("admin")
def body(mail_id: int) -> Response:
    """Answer the text of the mail, for its frame."""
    mail = _mail(mail_id)
    return of_mail(Blob.read(mail.blob_id), mail.at)


@blueprint.get("/<int:mail_id>/original")
@roles_required("admin")
def original(mail_id: int) -> Response:
    """Answer the mail as it was received, to be saved."""
    return as_download(Blob.read(_mail(mail_id).blob_id), f"practice-{mail_id}.eml")


@blueprint.post("/<int:mail_id>/answer")
@roles_required("admin")
def answer(mail_id: int) -> ResponseReturnValue:
    """Answer as the recipient: the answer comes in by the real pipeline."""
    _mail(mail_id)
    words = request.form.get("words", "").strip()
    if not words:
        flash(gettext("Write a reply first."), "error")
        return redirect(url_for(".show", mail_id=mail_id))
    practice.answer(mail_id, words, now())
    flash(gettext("The reply is being sent: look at the document it belongs to."), "success")
    return redirect(url_for(".show", mail_id=mail_id))


@blueprint.post("/<int:mail_id>/bounce")
@roles_required("admin")
def bounce(mail_id: int) -> ResponseReturnValue:
    """Return the mail as a server does that does not know the recipient."""
    _mail(mail_id)
    practice.bounce(mail_id, now())
    flash(gettext("The delivery report is being sent: the envelope of the message turns red."), "success")
    return redirect(url_for(".show", mail_id=mail_id))
