"""Simulators: what would happen to an email, decided by the same functions as for a real one, without any effect."""

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import Form, SelectField, StringField
from wtforms.fields.choices import SelectChoice

from mail.decide.header_story import duration
from mail.decide.sender import Decision
from mail.maintenance import explain_header
from mail.maintenance.simulate import SimulatedMail, explained, simulate
from mail.message.pasted_header import LARGEST_PASTE
from mail.sentences import say
from models import Blob, Document, DocumentType, OutgoingMail, OutgoingServer, ReceivedMail, db
from webapp import auth

blueprint = Blueprint("simulators", __name__, url_prefix="/simulators")

KINDS = [
    SelectChoice("document", _l("Message on a document")),
    SelectChoice("alone", _l("Email that belongs to no document")),
    SelectChoice("mailing", _l("Mailing")),
]
AUTHORS = [
    SelectChoice("verified", _l("Written here by a user")),
    SelectChoice("received", _l("Received by email, relayed to the followers")),
    SelectChoice("not_checked", _l("Received, uses one of our addresses, sender not verified")),
]
NO_TYPE, NO_SERVER = SelectChoice(0, _l("A type without an alias")), SelectChoice(0, _l("Chosen automatically"))


class OutgoingForm(Form):
    """An email that nobody has written."""

    author = StringField(_l("From"), default="")
    kind = SelectField(_l("Kind of email"), choices=KINDS, default="document")
    type_id = SelectField(_l("Document type"), coerce=int, default=0)
    title = StringField(_l("Title of the document"), default="")
    author_is = SelectField(_l("Author"), choices=AUTHORS, default="verified")
    server_id = SelectField(_l("Outgoing server"), coerce=int, default=0)
    reply_to = StringField(_l("Reply-To"), default="")
    return_path = StringField(_l("Return-Path"), default="")


def _form() -> OutgoingForm:
    form = OutgoingForm(request.args)
    types = db.session.execute(select(DocumentType.id, DocumentType.name).order_by(DocumentType.position)).all()
    servers = db.session.execute(select(OutgoingServer).order_by(OutgoingServer.priority, OutgoingServer.id)).scalars()
    form.type_id.choices = [*(SelectChoice(one.id, one.name) for one in types), NO_TYPE]
    form.server_id.choices = [NO_SERVER, *(SelectChoice(one.id, one.name) for one in servers)]
    if not request.args and types:
        form.type_id.data = types[0].id
    form.type_id.shown_if = form.title.shown_if = "kind=document"
    form.author_is.shown_if = form.return_path.shown_if = "kind=document,alone"
    return form


def _asked(form: OutgoingForm) -> SimulatedMail:
    numbers = {name: form[name].data or None for name in ("type_id", "server_id")}
    return SimulatedMail(**form.data | numbers)


@blueprint.get("/outgoing")
@auth.roles_required("admin")
def outgoing() -> ResponseReturnValue:
    """Ask which server would send an email, as whom, and where failures and replies would go; and answer it."""
    form = _form()
    asked = bool(request.args)
    decision = simulate(_asked(form)) if asked and form.validate() else None
    return render_template("pages/simulator_outgoing.html", form=form, decision=decision, say=say)


@blueprint.get("/outgoing.json")
@auth.roles_required("admin")
def outgoing_json() -> ResponseReturnValue:
    """Answer the same for programs: codes, values and sentences; 400 with the fields that can't be used."""
    form = _form()
    if not form.validate():
        return {"errors": form.errors}, 400
    return explained(simulate(_asked(form)))


def link_for(mail: OutgoingMail, decision: Decision, document: Document | None) -> str:
    """Return the address of the simulator with the values of an email that was sent or is to be."""
    given = any(step["code"] == "reply_to_given" for step in decision.steps)
    return url_for(
        "simulators.outgoing",
        author=mail.author,
        kind="document" if document else "alone",
        type_id=document.type_id if document else None,
        title=document.title if document else None,
        author_is=decision.author_is,
        server_id=mail.forced_server_id,
        reply_to=decision.reply_to if given else None,
        return_path=mail.return_path or None,
    )


# --- the header of an email that somebody received


@blueprint.route("/headers", methods=("GET", "POST"))
@auth.roles_required("admin")
def headers() -> ResponseReturnValue:
    """Explain a header: pasted, from a file, or of a received email (``?received=``). What is given is not stored."""
    is_asked = request.method == "POST" or "received" in request.args
    given = _given_header() if request.method == "POST" else _stored_header(request.args.get("received", 0, type=int))
    found = explain_header.explain(given) if is_asked else None
    pasted = request.form.get("header", "")
    return render_template(
        "pages/simulator_headers.html", found=found, pasted=pasted, say=say, duration=duration, link=_link(found)
    )


@blueprint.post("/headers.json")
@auth.roles_required("admin")
def headers_json() -> ResponseReturnValue:
    """Answer the same for programs; 400 with the reason if there is no header in what was given."""
    found = explain_header.explain(_given_header())
    return explain_header.as_json(found), 400 if found.problem else 200


def _given_header() -> bytes:
    file = request.files.get("file")
    if file is not None and file.filename:
        return file.stream.read(LARGEST_PASTE + 1)
    return request.form.get("header", "").encode("utf-8", "surrogateescape")


def _stored_header(received_id: int) -> bytes:
    row = db.session.get(ReceivedMail, received_id)
    return Blob.read(row.blob_id)[:LARGEST_PASTE] if row is not None and row.blob_id else b""


def _link(found: explain_header.ExplainedHeader | None) -> str:
    """Return where the email of ours is shown that a header belongs to."""
    sent = found.sent_here if found else None
    if sent is None:
        return ""
    if sent.kind == "line":
        return url_for("outgoing_mails.details_view", id=sent.id)
    return url_for("mailings.show", mailing_id=sent.id, search=sent.address)
