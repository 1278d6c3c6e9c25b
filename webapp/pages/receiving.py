"""Settings ‣ Receive by push: where other servers hand emails to us, what to redirect there, and a test of it."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user
from sqlalchemy import select

from mail.decide.reception import Reception
from mail.incoming import forwarding, push
from mail.message.address import local_part
from mail.queue.lease import LEASE
from mail.sentences import Why, say
from mail.settings import office, push_address
from mail.settings.clock import now
from mail.settings.config import settings
from models import Alias, Worker, database_clock, db
from webapp import auth, checks, sessions

LOOP = "receive "  # how the worker's loops that listen are called, before their address

blueprint = Blueprint("receiving", __name__, url_prefix="/settings/receiving")


@dataclass(frozen=True)
class RunningListener:
    """An address at which a worker receives, and why it does not at the moment."""

    address: str
    host: str
    why: Why | None
    is_starting: bool

    @property
    def is_open(self) -> bool:
        return self.why is None and not self.is_starting

    @property
    def is_closed_on_purpose(self) -> bool:
        return self.why is not None and self.why["code"] == "listener_rehearses"


@dataclass(frozen=True)
class Redirect:
    """An address of ours whose mail arrives elsewhere, and where that must be redirected to."""

    address: str
    target: str


@blueprint.get("/")
@auth.roles_required("admin")
def index() -> ResponseReturnValue:
    """Show what receives."""
    return _page()


def _page(secret: str = "") -> str:
    found, workers = _listeners()
    reception = push.reception()
    is_open = any(one.is_open for one in found)
    check = checks.latest(("arrival",), [0]).get(0)
    return render_template(
        "pages/receiving.html",
        listeners=found,
        workers=workers,
        is_open=is_open,
        is_online=settings().hosting == "online",
        receiving_domain=reception.receiving_domain,
        redirects=_redirects(reception) if is_open else [],
        takes_unknown=push.takes_unknown(),
        requests=forwarding.open_requests(),
        panel=checks.panel(check),
        say=say,
        address_created_at=push_address.created_at(),
        new_address=f"{office.base_url()}{url_for('inbound.take', token=secret)}" if secret else "",
        address_pattern=f"{office.base_url()}{url_for('inbound.take', token='…')}",  # noqa: S106
    )


def _listeners() -> tuple[list[RunningListener], int]:
    """What the workers say that are alive: their listeners, and how many workers there are."""
    alive = select(Worker.host, Worker.loops).where(Worker.ended.is_(False), Worker.seen_at > database_clock() - LEASE)
    rows = db.session.execute(alive.order_by(Worker.id)).all()
    found: dict[tuple[str, str], RunningListener] = {}
    for row in rows:
        for name, said in row.loops.items():
            if name.startswith(LOOP):
                one = RunningListener(name.removeprefix(LOOP), row.host, said["why"], said["state"] == "starting")
                known = found.get((one.address, one.host))
                if known is None or not known.is_open:  # several workers of a machine share one address
                    found[one.address, one.host] = one
    return list(found.values()), len(rows)


def closed_listeners() -> list[RunningListener]:
    """Return the listeners that should be open and are not, for the banner of admins."""
    if auth.role() != "admin":
        return []
    return [one for one in _listeners()[0] if not one.is_open and not one.is_starting and not one.is_closed_on_purpose]


def _redirects(reception: Reception) -> list[Redirect]:
    """Where mail to each address of ours must be redirected to; none if all of it arrives here already."""
    aliases = db.session.execute(
        select(Alias.address_key, Alias.one_domain)
        .where(Alias.role == "alias", Alias.state == "active")
        .order_by(Alias.address_key)
    ).all()
    found: dict[str, str] = {}
    for domain in office.load().office.all_domains:
        addresses = [domain.catchall_address or "", domain.bounce_address or ""]
        addresses += [f"{local_part(row.address_key)}@{domain.name}" for row in aliases if not row.one_domain]
        addresses += [row.address_key for row in aliases if row.address_key.endswith(f"@{domain.name}")]
        found |= {address: reception.target_of(address) for address in addresses if address}
    return [Redirect(address, target) for address, target in found.items() if target]


@blueprint.post("/test")
@auth.roles_required("admin")
def test() -> ResponseReturnValue:
    """Ask the worker to send an email to its own listener."""
    last = checks.latest(("arrival",), [0]).get(0)
    if last is not None and last.state in ("waiting", "running"):
        flash(gettext("The test is still running."), "info")
    else:
        checks.ask("arrival", 0)
    return redirect(url_for(".index", _anchor="listener"))


@blueprint.post("/forwarding/<int:received_id>/done")
@auth.roles_required("admin")
def forwarding_done(received_id: int) -> ResponseReturnValue:
    """Take a request to confirm forwarding from the list: it was confirmed, or is not wanted."""
    if forwarding.mark_done(received_id, current_user.name, now()):
        flash(gettext("The request is done."), "success")
    else:
        flash(gettext("This request was already done."), "info")
    if "email" in request.form:
        return redirect(url_for("received_mails.details_view", id=received_id))
    return redirect(url_for(".index"))


@blueprint.post("/address")
@auth.roles_required("admin")
@sessions.fresh_login
def address() -> ResponseReturnValue:
    """Create a web address, which is shown in this one answer, or remove the present one."""
    values: dict[str, Any] = {"now": now(), "user_id": current_user.id}
    if "remove" in request.form:
        push_address.remove(**values)
        db.session.commit()
        flash(gettext("The address was removed. It takes no more emails."), "success")
        return redirect(url_for(".index", _anchor="web"))
    secret = push_address.create(**values)
    db.session.commit()
    return _page(secret), 200, {"Cache-Control": "no-store"}
