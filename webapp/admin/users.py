"""Accounts: who may log in, with which role."""

from typing import Any
from zoneinfo import available_timezones

from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from markupsafe import Markup
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, InputRequired, Length

from mail.documents.contacts import find_or_make
from mail.settings.clock import now
from models import User, db
from webapp import auth, template_helpers
from webapp.admin.base import ActionRefused, AdminView, ChoiceFilter, FieldGroup, YesNo
from webapp.fields import SecretField
from webapp.passwords import AccountError, hash_checked

ROLES = (("user", _l("User")), ("marketing", _l("Marketing")), ("admin", _l("Admin")))
NOTIFY = (("mail", _l("By email")), ("inbox", _l("In the CoquiMail inbox")))
DIGEST = _l(
    "A daily email about messages that were not delivered, and for administrators about emails in quarantine. "
    "Nothing is sent when nothing is new."
)
EMPTY_PASSWORD = _l("Set an initial password.")


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
                self.hashed = hash_checked(self.data)
            except AccountError as error:
                raise ValueError(str(error)) from error

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.hashed:
            auth.set_password(obj, self.hashed)


class UserView(AdminView):
    """The accounts of the office."""

    model, page, path = User, "users", "users"
    title, one = _l("Users"), _l("account")
    lead = _l(
        "People who can log in. Users work on documents, Marketing also sends mailings, Admins manage all settings."
    )
    trail = (_l("Settings"),)
    small = fresh_login = True
    columns = ("name", "email", "role", "notify", "active")
    sortable, searchable = ("email", "role"), ("email",)
    filters = (ChoiceFilter("role", _l("Role"), ROLES), YesNo("active", _l("Active")))
    default_sort = "email"
    eager = (User.contact,)
    labels = {
        "email": _l("Email address"),
        "notify": _l("Notifications"),
        "zone": _l("Time zone"),
        "digest": _l("Daily digest"),
    }
    groups = (
        FieldGroup(_l("Person"), ("name", "email")),
        FieldGroup(_l("Access"), ("role", "active", "password")),
        FieldGroup(_l("Preferences"), ("notify", "digest", "zone"), _l("People can change these under My account.")),
    )
    help = {
        "email": _l("Used for logging in and for notifications."),
        "role": _l("Each role includes the permissions of the previous ones."),
        "active": _l("Off: this account can't log in, and its sessions end."),
        "password": _l("At least %(number)s characters. A new password ends all sessions of the account.", number=10),
        "digest": DIGEST,
        "notify": _l("Where this person is notified of messages on documents they follow."),
    }
    examples = {"email": "clerk@mycompany.com"}
    choices = {"role": ROLES, "notify": NOTIFY}
    formats = {"name": lambda view, row: Markup("{} {}").format(template_helpers.person(row.name), row.name)}
    form_extra_fields = {
        "name": NameField(_l("Name"), [DataRequired(), Length(max=200)]),
        "email": StringField(_l("Email address"), [InputRequired(), Length(max=320)]),
        "password": PasswordField(_l("Password")),
        "zone": SelectField(_l("Time zone"), choices=zones, default="UTC", render_kw={"data-search": "1"}),
    }

    def edit_form(self, obj: Any = None) -> Any:
        form = super().edit_form(obj)
        del form["email"]  # mails and documents are known by it: another address is another account
        return form

    def before_save(self, form: Any, row: Any, is_new: bool) -> None:
        try:
            if is_new:
                self._begin(form, row)
            auth.assert_access_stays(row, current_user)
        except AccountError as error:
            raise ActionRefused(str(error)) from error
        row.contact.name = form.name.data.strip()

    @staticmethod
    def _begin(form: Any, row: Any) -> None:
        if not form.password.hashed:
            raise ActionRefused(str(EMPTY_PASSWORD))
        row.email = auth.new_address(form.email.data)
        row.contact = find_or_make(row.email, form.name.data, now())

    def why_not_delete(self, row: Any) -> str:
        if row.id == current_user.id:
            return gettext("You can't delete your own account.")
        return ""
