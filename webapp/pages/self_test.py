"""Test sending and receiving: an outgoing server writes to a mailbox of ours, and the page shows what comes back."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy.exc import IntegrityError

from mail.maintenance import self_test_rows
from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.wake import wake
from models import OutgoingServer, db
from webapp import auth, checks

STILL_RUNNING = _l("The test is still running.")

blueprint = Blueprint("self_test", __name__, url_prefix="/self-test")


@blueprint.get("/<int:server_id>")
@auth.roles_required("admin")
def show(server_id: int) -> ResponseReturnValue:
    """Show how the last test of an outgoing server (0: the default server) ended, and offer another one."""
    name = _name_of(server_id)
    last = checks.latest((self_test_rows.KIND,), [server_id]).get(server_id)
    found = self_test_rows.targets()
    return render_template(
        "pages/self_test.html",
        server_id=server_id,
        name=name,
        targets=found,
        fetches=db.session.scalar(self_test_rows.fetched().limit(1)) is not None,
        chosen=_chosen_before(last.id) if last else "",
        is_practice=office.is_practice(server_id),
        panel=checks.panel(last),
    )


@blueprint.post("/<int:server_id>")
@auth.roles_required("admin")
def start(server_id: int) -> ResponseReturnValue:
    """Ask the worker for a test that writes to the chosen address."""
    _name_of(server_id)
    page = redirect(url_for(".show", server_id=server_id))
    address = request.form.get("address", "")
    target = next((one for one in self_test_rows.targets() if one.address == address), None)
    last = checks.latest((self_test_rows.KIND,), [server_id]).get(server_id)
    if last is not None and last.state in ("waiting", "running"):
        flash(STILL_RUNNING, "info")
    elif office.is_practice(server_id):
        abort(404)
    elif target is None:
        flash(gettext("Choose an address that is still fetched here."), "error")
    else:
        try:
            self_test_rows.ask(server_id, target, current_user.id, now())
            db.session.commit()
        except IntegrityError:  # somebody else, or a second click
            db.session.rollback()
            flash(STILL_RUNNING, "info")
        wake("check")
    return page


def _name_of(server_id: int) -> str:
    """The name of a server; there is no page for one that is gone."""
    if not server_id:
        return settings().default_server.name
    server = db.session.get(OutgoingServer, server_id) or abort(404)
    return server.name


def _chosen_before(check_id: int) -> str:
    part = self_test_rows.parts_of(check_id).get("delivery")
    return part.address if part else ""
