"""My account: name, time zone, how notifications come, a new password."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from wtforms import BooleanField, PasswordField, RadioField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, EqualTo, InputRequired, Length

from models import User, db
from webapp import auth, sessions
from webapp.admin.users import DIGEST, NOTIFY, zones
from webapp.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD, AccountError, hash_checked

blueprint = Blueprint("account", __name__, url_prefix="/account")


class ProfileForm(FlaskForm):
    """What others see of somebody, and what that somebody likes."""

    name = StringField(_l("Name"), [DataRequired(), Length(max=200)], description=_l("Shown as the sender name."))
    zone = SelectField(
        _l("Time zone"),
        choices=zones,
        description=_l("Used for all times."),
        render_kw={"data-search": "1"},
    )
    notify = RadioField(
        _l("Notifications"),
        choices=[SelectChoice(value=value, label=label) for value, label in NOTIFY],
        description=_l("Where you are notified of messages on documents you follow."),
    )
    digest = BooleanField(_l("Daily digest"), description=DIGEST)


class PasswordForm(FlaskForm):
    """A new password."""

    present = PasswordField(_l("Current password"), [InputRequired()], render_kw={"autocomplete": "current-password"})
    new = PasswordField(
        _l("New password"),
        [InputRequired(), Length(max=LONGEST_PASSWORD)],
        description=_l("At least %(number)s characters. All your other sessions end.", number=SHORTEST_PASSWORD),
        render_kw={"autocomplete": "new-password"},
    )
    again = PasswordField(
        _l("Confirm new password"),
        [InputRequired(), EqualTo("new", _l("The passwords do not match."))],
        render_kw={"autocomplete": "new-password"},
    )


@blueprint.get("")
@login_required
def index() -> ResponseReturnValue:
    """Show both forms."""
    return _page(ProfileForm(obj=current_user), PasswordForm())


@blueprint.post("")
@login_required
def save() -> ResponseReturnValue:
    """Save name, time zone and how notifications come."""
    form = ProfileForm()
    if not form.validate():
        return _page(form, PasswordForm())
    current_user.contact.name = form.name.data.strip()
    current_user.zone, current_user.notify = form.zone.data, form.notify.data
    current_user.digest = form.digest.data
    db.session.commit()
    flash(gettext("Saved."), "success")
    return redirect(url_for("account.index"))


@blueprint.post("/password")
@login_required
def change_password() -> ResponseReturnValue:
    """Change the password; this session goes on, all others end."""
    form = PasswordForm()
    if not form.validate():
        return _page(ProfileForm(formdata=None, obj=current_user), form)
    number, words = current_user.id, (current_user.name, current_user.email)
    problem = sessions.password_problem(current_user, form.present.data)
    try:
        if problem:
            raise AccountError(problem)
        hashed = hash_checked(form.new.data, *words)
    except AccountError as error:
        flash(str(error), "error")
        return redirect(url_for("account.index"))
    user = db.session.get_one(User, number)
    auth.set_password(user, hashed)
    db.session.commit()
    sessions.start(user)
    flash(gettext("Password changed; your other sessions have ended."), "success")
    return redirect(url_for("account.index"))


def _page(profile: Any, password: Any) -> ResponseReturnValue:
    code = 200 if request.method == "GET" else 422
    return render_template("pages/account.html", profile=profile, password=password), code


@blueprint.post("/zone")
@login_required
def zone() -> ResponseReturnValue:
    """Take the zone of the browser for an account that has none yet, and say so on the next page."""
    given = request.form.get("zone", "")
    if current_user.zone == "UTC" and given in {choice.value for choice in zones()}:
        current_user.zone = given
        db.session.commit()
        city = given.rpartition("/")[2].replace("_", " ")
        flash(gettext("Times are shown in %(zone)s time. You can change this under My account.", zone=city), "info")
    return "", 204
