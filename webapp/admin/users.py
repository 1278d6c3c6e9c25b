"""Accounts: who may log in, with which role."""

from typing import Any
from zoneinfo import available_timezones

from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from markupsafe import Markup
from sqlalchemy import func, select
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from mail.documents.contacts import find_or_make
from mail.message.address import normalise
from mail.settings.clock import now
from models import User, db
from webapp import auth, template_helpers
from webapp.admin.base import ActionRefused, AdminView, ChoiceFilter, FieldGroup, YesNo
from webapp.fields import SecretField

ROLES = (("user", _l("User")), ("marketing", _l("Marketing")), ("admin", _l("Admin")))
NOTIFY = (("mail", _l("By mail")), ("inbox", _l("In the inbox of CoquiMail")))
EMPTY_PASSWORD = _l("Give the account a first password.")


def zones() -> list[SelectChoice]:
    """Return the time zones that somebody may live in."""
    names = sorted(
        name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix", "right"))
    )
    return [SelectChoice(value=name, label=name.replace("_", " ")) for name in ["UTC", *names]]


class NameField(StringField):
    """The name of the account's contact."""

    def populate_obj(self, obj: Any, name: str) -> None:
        """The contact has it; ``before_save`` hands it over."""


class PasswordField(SecretField):
    """A new password, hashed as it comes in: that is slow on purpose and must not hold a transaction."""

    hashed = ""

    def process_formdata(self, valuelist: list[str]) -> None:
        super().process_formdata(valuelist)
        if self.data:
            db.session.rollback()
            try:
                self.hashed = auth.hash_checked(self.data)
            except auth.AccountError as error:
                raise ValueError(str(error)) from error

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.hashed:
            auth.set_password(obj, self.hashed)


class UserView(AdminView):
    """The accounts of the office."""

    model, page, path = User, "users", "users"
    title, one = _l("Users"), _l("account")
    lead = _l("Who may log in. Users work on documents, Marketing also sends mailings, Admins set everything up.")
    trail = (_l("Settings"),)
    small = True
    columns = ("name", "email", "role", "notify", "active")
    sortable, searchable = ("email", "role"), ("email",)
    filters = (ChoiceFilter("role", _l("Role"), ROLES), YesNo("active", _l("Active")))
    default_sort = "email"
    eager = (User.contact,)
    labels = {"email": _l("Mail address"), "notify": _l("Notifications"), "zone": _l("Time zone")}
    groups = (
        FieldGroup(_l("Person"), ("name", "email")),
        FieldGroup(_l("Access"), ("role", "active", "password")),
        FieldGroup(_l("Preferences"), ("notify", "zone"), _l("People change these themselves under My account.")),
    )
    help = {
        "email": _l("They log in with it, and notifications go there."),
        "role": _l("A role has all that the ones before it have."),
        "active": _l("Switched off: nobody can log in with it, and its sessions end."),
        "password": _l("%(number)s characters or more. A new one ends all sessions of the account.", number=10),
        "notify": _l("Where this person hears of messages on documents they follow."),
    }
    examples = {"email": "clerk@mycompany.com"}
    choices = {"role": ROLES, "notify": NOTIFY}
    formats = {"name": lambda view, row: Markup("{} {}").format(template_helpers.person(row.name), row.name)}
    form_extra_fields = {
        "name": NameField(_l("Name"), [InputRequired(), Length(max=200)]),
        "email": StringField(_l("Mail address"), [InputRequired(), Length(max=320)]),
        "password": PasswordField(_l("Password")),
        "zone": SelectField(_l("Time zone"), choices=zones, default="UTC", render_kw={"data-search": "1"}),
    }

    def edit_form(self, obj: Any = None) -> Any:
        form = super().edit_form(obj)
        del form["email"]  # mails and documents are known by it: another address is another account
        return form

    def before_save(self, form: Any, row: Any, is_new: bool) -> None:
        moment = now()
        if is_new:
            self._begin(form, row)
            row.contact = find_or_make(row.email, form.name.data, moment)
        row.contact.name = form.name.data.strip()
        if row.id is not None and row.id == current_user.id and (row.role != "admin" or not row.active):
            raise ActionRefused(gettext("You can't take away your own access. Ask another admin to do it."))

    @staticmethod
    def _begin(form: Any, row: Any) -> None:
        key = normalise(form.email.data)
        if key is None:
            raise ActionRefused(gettext("%(address)s is not a mail address.", address=form.email.data))
        if not form.password.hashed:
            raise ActionRefused(str(EMPTY_PASSWORD))
        if db.session.scalar(select(func.count()).select_from(User).where(User.email == key)):
            raise ActionRefused(gettext("There is an account for %(address)s already.", address=key))
        row.email = key

    def why_not_delete(self, row: Any) -> str:
        if row.id == current_user.id:
            return gettext("You can't delete your own account.")
        return ""
