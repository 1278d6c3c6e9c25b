"""Rehearsal mode: turn it on, see what it holds back, and say what becomes of that when it ends."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user
from sqlalchemy import func, select

from mail.maintenance import rehearsal as flow
from mail.maintenance.rehearsal_steps import to_do
from mail.queue import lease
from mail.sentences import why
from mail.settings import installation, rehearsal
from mail.settings.clock import now
from models import Mailing, Recipient, db
from models.base import holds
from webapp import auth, sessions

blueprint = Blueprint("rehearsal", __name__, url_prefix="/settings/rehearsal")

CHOICES = {"send": True, "leave": False}


@blueprint.get("")
@auth.roles_required("admin")
def index() -> ResponseReturnValue:
    """Show the rehearsal that goes on, or what one would do."""
    return _page("rehearsal_state" if request.args.get("part") else "rehearsal")


def _page(template: str = "rehearsal") -> ResponseReturnValue:
    found = rehearsal.current()
    halts = found is not None and found.halts
    waits = select(func.count(Recipient.id)).where(holds(Recipient.state, "queued"))
    runs = select(func.count(Mailing.id)).where(Mailing.state.in_(("sending", "scheduled")))
    return render_template(
        f"pages/{template}.html",
        found=found,
        left=flow.left(found) if found and not halts else None,
        to_do=to_do(found) if found and halts else None,
        worker_at_work=bool(lease.alive_ids()),
        place=installation.here().place,
        waiting=db.session.scalar(waits),
        mailings=db.session.scalar(runs),
    )


@blueprint.post("/begin")
@auth.roles_required("admin")
@sessions.fresh_login
def begin() -> ResponseReturnValue:
    """Let nothing leave from now on."""
    if not rehearsal.is_on():
        flow.begin(why("rehearsal_by", user=current_user.name), now(), current_user.id)
        flash(gettext("The rehearsal begins: from now on all emails go to the practice mailbox."), "success")
    return redirect(url_for(".index"))


@blueprint.post("/end")
@auth.roles_required("admin")
@sessions.fresh_login
def end() -> ResponseReturnValue:
    """Send emails for real again, once what waits has gone the way that was chosen: the worker does that."""
    found = rehearsal.current()
    if found is None or found.end:
        return redirect(url_for(".index"))
    left = flow.left(found)
    held, written = (CHOICES.get(request.form.get(name, "")) for name in ("held", "written"))
    if (left.held and held is None) or (left.written and written is None):
        flash(gettext("The rehearsal goes on: choose first what happens to the emails."), "error")
        return _page()
    flow.end(bool(held), bool(written), now(), current_user.id, current_user.name)
    flash(gettext("The rehearsal ends: the worker now does what you chose."), "success")
    return redirect(url_for(".index"))
