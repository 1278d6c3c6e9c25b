"""The practice mailbox: read what was sent, and answer, bounce or write as somebody outside would."""

from collections.abc import Mapping
from typing import Any

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
from models import Blob, Document, DocumentType, Mailing, OutgoingMail, Post, PracticeMail, Trace, db
from webapp.auth import roles_required
from webapp.pages.bodies import as_download, of_mail

blueprint = Blueprint("practice", __name__, url_prefix="/practice")

PAGE = 50
SEVERAL = _l("Not sent: enter one sender and one recipient. For another recipient, send another email.")
INCOMPLETE = _l("Enter both addresses in full, such as ann@customer.test and sales@office.test.")


_BOUNCES = ("bounce", "full", "blocked", "odd-bounce")
_RED = _l("The delivery report is on its way: the envelope of the message turns red.")
SAID = dict.fromkeys(_BOUNCES, _RED) | {
    "delay": _l("The report is on its way: it says that the email is late, so it is not marked as failed."),
    "complaint": _l("The complaint is on its way: the address is put on the blacklist."),
    "out-of-office": _l("The automatic reply is on its way: it becomes a note on the document, and nobody is emailed."),
}
_SEEN_IN_LEDGER = _l("It is on its way: Received emails shows the result.")
SAID_WITHOUT_DOCUMENT = SAID | dict.fromkeys((*_BOUNCES, "out-of-office"), _SEEN_IN_LEDGER)
SAID_OF_MAILING = SAID_WITHOUT_DOCUMENT | dict.fromkeys(
    _BOUNCES, _l("The delivery report is on its way: the mailing shows this recipient as bounced.")
)
NO_RETURN_PATH = _l("Nothing was sent: this email has no return address, so no mail server reports about it.")
ADDRESSES = (
    ("refuse-550@customer.test", _l("refused for good: the envelope turns red at once")),
    ("refuse-451@customer.test", _l("refused for now: the email waits and is tried again")),
    ("slow-30s@customer.test", _l("accepted after 30 seconds: other emails do not wait for it")),
    ("bounce@customer.test", _l("accepted and then returned: the address does not exist")),
    ("full@customer.test", _l("returned because the mailbox is full")),
    ("blocked@customer.test", _l("returned as spam: this does not count against the address")),
    ("odd-bounce@customer.test", _l("returned with a report that follows no standard")),
    ("delay@customer.test", _l("a warning that the email is late: this is not a failure")),
    ("complaint@customer.test", _l("reported as spam: the address is put on the blacklist")),
    ("out-of-office@customer.test", _l("answered automatically: a note on the document")),
)


def _assert_there() -> None:
    """Where all emails are sent for real there is nothing to see, unless some came in practice or in a rehearsal."""
    if not practice.takes_mail() and db.session.scalar(select(PracticeMail.id).limit(1)) is None:
        abort(404)


def _assert_open() -> None:
    """What a recipient does comes in as real mail: not in an office that sends all of its emails for real."""
    if not practice.takes_mail():
        abort(404)


@blueprint.get("")
@roles_required("admin")
def index() -> ResponseReturnValue:
    """Show what was sent, newest first, as the recipients have it."""
    _assert_there()
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
        is_open=practice.takes_mail(),
        addresses=ADDRESSES,
        aliases=sorted(office.load().addresses),
    )


@blueprint.post("/write")
@roles_required("admin")
def write() -> ResponseReturnValue:
    """Send a mail to the office, as a customer would."""
    _assert_open()
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
    _assert_there()
    return db.session.get(PracticeMail, mail_id) or abort(404)


@blueprint.get("/<int:mail_id>")
@roles_required("admin")
def show(mail_id: int) -> ResponseReturnValue:
    """Show one mail as its recipient has it."""
    mail = _mail(mail_id)
    message = practice.read(mail)
    return render_template(
        "pages/practice_mail.html",
        mail=mail,
        message=message,
        document=_document_of(message),
        mailing=_mailing_of(mail),
        is_open=practice.takes_mail(),
    )


def _document_of(message: IncomingMessage) -> Document | None:
    """Return the document that a mail was written on; None for a mailing."""
    query = (
        select(Document)
        .join(Post, Post.thread_id == Document.thread_id)
        .join(OutgoingMail, OutgoingMail.post_id == Post.id)
        .where(OutgoingMail.message_id == message.message_id)
    )
    return db.session.scalar(query)


def _mailing_of(mail: PracticeMail) -> Mailing | None:
    if mail.trace_id is None:
        return None
    return db.session.scalar(
        select(Mailing).join(Trace, Trace.mailing_id == Mailing.id).where(Trace.id == mail.trace_id)
    )


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
    mail = _mail(mail_id)
    _assert_open()
    words = request.form.get("words", "").strip()
    if not words:
        flash(gettext("Write a reply first."), "error")
        return redirect(url_for(".show", mail_id=mail_id))
    practice.answer(mail_id, words, now())
    is_seen_there = _document_of(practice.read(mail)) is not None
    seen = gettext("The reply is being sent: look at the document it belongs to.")
    flash(seen if is_seen_there else str(_SEEN_IN_LEDGER), "success")
    return redirect(url_for(".show", mail_id=mail_id))


@blueprint.post("/<int:mail_id>/act")
@roles_required("admin")
def act(mail_id: int) -> ResponseReturnValue:
    """Do with the mail what a mail server or another recipient would do; it comes in by the real pipeline."""
    mail = _mail(mail_id)
    _assert_open()
    action = request.form.get("action", "")
    if action not in SAID:
        abort(400)
    done = practice.act(mail_id, action, now())
    flash(str(_said_of(mail)[action] if done else NO_RETURN_PATH), "success" if done else "error")
    return redirect(url_for(".show", mail_id=mail_id))


def _said_of(mail: PracticeMail) -> Mapping[str, Any]:
    """Return what is said after each action: where its effect shows depends on what the mail belongs to."""
    if _mailing_of(mail) is not None:
        return SAID_OF_MAILING
    return SAID if _document_of(practice.read(mail)) is not None else SAID_WITHOUT_DOCUMENT
