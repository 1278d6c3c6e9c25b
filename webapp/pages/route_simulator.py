"""The route simulator: what would become of an email that arrived now. Nothing that is given is stored."""

from dataclasses import replace

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import Form, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice

from mail.maintenance.simulate_arrival import (
    GivenMail,
    SimulatedArrival,
    as_json,
    given_from_ledger,
    simulate_arrival,
)
from mail.sentences import say
from mail.settings.clock import now
from models import IncomingServer, ReceivedMail, db
from webapp import auth

blueprint = Blueprint("route_simulator", __name__, url_prefix="/simulators")

NO_SERVER = SelectChoice(0, _l("None (redirected or forwarded here)"))


class ArrivalForm(Form):
    """An email that has not arrived: as a whole, or what its header would say."""

    mail = TextAreaField(_l("Whole email or header"), default="", render_kw={"rows": 8, "spellcheck": "false"})
    sender = StringField(_l("From"), default="")
    to = StringField(_l("To"), default="")
    subject = StringField(_l("Subject"), default="")
    in_reply_to = StringField(_l("In reply to"), default="")
    server_id = SelectField(_l("Incoming server"), coerce=int, default=0)
    envelope_to = StringField(_l("Envelope recipient"), default="")
    envelope_from = StringField(_l("Envelope sender"), default="")


def _form() -> ArrivalForm:
    form = ArrivalForm(request.form)
    servers = db.session.execute(select(IncomingServer.id, IncomingServer.name).order_by(IncomingServer.name)).all()
    form.server_id.choices = [NO_SERVER, *(SelectChoice(one.id, one.name) for one in servers)]
    return form


def _fill(form: ArrivalForm, given: GivenMail, found: SimulatedArrival) -> None:
    """Let the form say what the header of a received email says, so that a person can change it and ask again."""
    form.server_id.data = given.server_id or 0
    form.to.data = ", ".join(found.recipients)
    for name in ("sender", "subject", "in_reply_to", "envelope_from"):
        form[name].data = getattr(found, name)


def _given(form: ArrivalForm) -> GivenMail:
    values = dict(form.data)
    pasted = values.pop("mail").encode("utf-8", "surrogateescape")
    file = request.files.get("file")
    raw = file.stream.read() if file is not None and file.filename else pasted
    given = GivenMail(raw, **values | {"server_id": values["server_id"] or None})
    return replace(given, sender="", to="", subject="", in_reply_to="") if raw.strip() else given


@blueprint.route("/incoming", methods=("GET", "POST"))
@auth.roles_required("admin")
def incoming() -> ResponseReturnValue:
    """Say what would become of an email: pasted, from a file, described, or of the ledger (``?received=``)."""
    received = db.session.get(ReceivedMail, request.args.get("received", 0, type=int))
    stored = given_from_ledger(received.id) if received is not None and request.method == "GET" else None
    form = _form()
    found = None
    if request.method == "POST" and form.validate():
        found = simulate_arrival(_given(form), now())
    elif stored is not None:
        found = simulate_arrival(stored, now())
        _fill(form, stored, found)
    return render_template(
        "pages/simulator_incoming.html",
        form=form,
        found=found,
        received_id=received.id if received is not None and request.method == "GET" else None,
        is_gone=request.method == "GET" and "received" in request.args and stored is None,
        say=say,
    )


@blueprint.post("/incoming.json")
@auth.roles_required("admin")
def incoming_json() -> ResponseReturnValue:
    """Answer the same for programs; 400 with the reason if there is nothing to simulate."""
    form = _form()
    if not form.validate():
        return {"errors": form.errors}, 400
    found = simulate_arrival(_given(form), now())
    return as_json(found), 400 if found.problem else 200
