"""The form of a mailing: its fields, what they offer, and the mailing that it describes."""

from collections.abc import Sequence

from flask import request
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from sqlalchemy import select
from wtforms import Field, Form, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.validators import Length, ValidationError

from mail.message.address import Address
from mail.message.pasted import one_person
from mail.settings import parameters
from mail.settings.clock import now
from models import Mailing, MailingList, OutgoingServer, Subscription, db
from webapp import meanwhile
from webapp.pages.mailings import capped

LARGEST_WORDS = 1_000_000  # characters of HTML: more is a mistake


def a_mailbox(form: Form, field: Field) -> None:
    """Refuse what does not hold exactly one address."""
    if field.data and not isinstance(one_person(field.data), Address):
        raise ValidationError(gettext("Enter an address, such as News <news@mycompany.com>."))


def _trimmed(text: str | None) -> str:
    return (text or "").strip()


class MailingForm(FlaskForm):
    """What a draft consists of."""

    subject = StringField(_l("Subject"), [Length(max=500)], filters=[_trimmed])
    preview = StringField(_l("Preview text"), [Length(max=300)], filters=[_trimmed])
    from_address = StringField(_l("From"), [Length(max=400), a_mailbox], filters=[_trimmed])
    reply_to = StringField(_l("Reply-To"), [Length(max=400), a_mailbox], filters=[_trimmed])
    lists = SelectMultipleField(_l("Recipients"), coerce=int)
    server = SelectField(_l("Outgoing server"), coerce=int, default=0)
    html = TextAreaField(_l("HTML"), [Length(max=LARGEST_WORDS)])


def mailing_form(row: Mailing | None = None) -> MailingForm:
    """Return the form of a mailing, or of a new one, with the lists and servers that can be chosen."""
    form = MailingForm(obj=row)
    lists = _offered_lists(row)
    counts = Subscription.subscribed(one.id for one in lists)
    form.lists.choices = [(one.id, f"{one.name} ({capped(counts[one.id])})") for one in lists]
    servers = select(OutgoingServer.id, OutgoingServer.name).where(OutgoingServer.active)
    found = db.session.execute(servers.order_by(OutgoingServer.priority, OutgoingServer.id)).all()
    form.server.choices = [(0, _usual_server()), *((server.id, server.name) for server in found)]
    if row is not None and row.forced_server is not None and not row.forced_server.active:
        form.server.choices.append((row.forced_server.id, row.forced_server.name))
    if row is not None:
        meanwhile.holds(form.lists, [one.id for one in row.lists], request.method == "GET")
        meanwhile.holds(form.server, row.forced_server_id or 0, request.method == "GET")
    return form


def _offered_lists(row: Mailing | None) -> Sequence[MailingList]:
    chosen = [one.id for one in row.lists] if row is not None else []
    query = select(MailingList).where(MailingList.active | MailingList.id.in_(chosen))
    return db.session.scalars(query.order_by(MailingList.name)).all()


def _usual_server() -> str:
    """The words for "no server of its own": what the settings make of it."""
    dedicated = parameters.DEDICATED_SERVER.get()
    name = db.session.scalar(select(OutgoingServer.name).where(OutgoingServer.id == dedicated)) if dedicated else None
    if name:
        return gettext("Default: the Dedicated Server %(name)s", name=name)
    return gettext("Chosen by the From address, as for other emails")


def fill(form: MailingForm, row: Mailing) -> None:
    """Give a mailing what the form says."""
    row.subject, row.preview = form.subject.data or "", form.preview.data or ""
    row.from_address, row.reply_to = form.from_address.data or "", form.reply_to.data or ""
    row.html = (form.html.data or "").replace("\r\n", "\n")
    row.forced_server_id = form.server.data or None
    chosen = select(MailingList).where(MailingList.id.in_(form.lists.data or []))
    row.lists = list(db.session.scalars(chosen.order_by(MailingList.name)))


def unsaved(form: MailingForm) -> Mailing:
    """A mailing as the editor shows it, which the database does not know."""
    with db.session.no_autoflush:
        row = Mailing(created_at=now())
        fill(form, row)
        return row
