"""Tests of servers that a person asked for, step by step while the worker does them, and whether a worker is there."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, abort, get_template_attribute, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from markupsafe import Markup
from sqlalchemy import Select, delete, func, select

from mail.decide.self_test import PATIENCE as PATIENCE_OF_PARTS
from mail.incoming import server_rules as mailbox_rules
from mail.outgoing import server_rules
from mail.queue.lease import LEASE
from mail.sentences import Why, say, why
from mail.settings import office
from mail.settings.clock import now
from mail.settings.wake import wake
from models import IncomingServer, OutgoingServer, ServerCheck, User, Worker, database_clock, db
from webapp import auth, self_test_table, sessions

blueprint = Blueprint("checks", __name__, url_prefix="/checks")

PATIENCE = timedelta(seconds=10)  # after which a page says that nobody has taken the test up
MOST_TOGETHER = 500  # as many as a page of a list can tick
TITLES = {
    "outgoing_test": _l("Test Connection"),
    "outgoing_mail": _l("Test email"),
    "self_test": _l("Last test"),
    "incoming_test": _l("TEST & CONFIRM"),
    "fetch": _l("Last fetch"),
    "arrival": _l("Last test"),
}
OUTGOING = ("outgoing_test", "outgoing_mail", "self_test")
USES = {
    "filter": _l("in FROM Filtering"),
    "domain": _l("for a domain in FROM Filtering"),
    "colleague": _l("for your colleagues"),
    "default": _l("default address"),
    "bounce": _l("bounce address"),
    "you": _l("your address"),
}
NOT_TRIED = ("test_not_tried", "test_out_of_time")
CELLS = {
    "ok": ("good", _l("accepted")),
    "warning": ("doubt", _l("refused")),
    "failed": ("bad", _l("refused")),
}


def ask(kind: str, server_id: int) -> int:
    """Ask the worker for a test or a fetch and return its number; commits."""
    check = ServerCheck(kind=kind, server_id=server_id, requested_by_id=current_user.id, requested_at=now(), steps=[])
    db.session.add(check)
    db.session.commit()
    wake("check")
    return check.id


def latest(kinds: Collection[str], server_ids: Collection[int] | Select[tuple[int]]) -> dict[int, ServerCheck]:
    """Return the last test of each of these servers, among tests of these kinds."""
    newest = (
        select(func.max(ServerCheck.id))
        .where(ServerCheck.kind.in_(kinds), ServerCheck.server_id.in_(server_ids))
        .group_by(ServerCheck.server_id)
    )
    found = db.session.scalars(select(ServerCheck).where(ServerCheck.id.in_(newest)))
    return {check.server_id: check for check in found}


def forget(kinds: Collection[str], server_id: int) -> None:
    """Remove the tests of a server that was deleted: another one may get its number. Commits."""
    db.session.execute(delete(ServerCheck).where(ServerCheck.kind.in_(kinds), ServerCheck.server_id == server_id))
    db.session.commit()


def failure_of(check: ServerCheck) -> Why | None:
    """Return why a test failed, None when it did not."""
    if check.state != "failed":
        return None
    return next((step["why"] for step in check.steps if step["state"] == "failed"), None)


def is_outdated(check: ServerCheck) -> bool:
    """Whether the settings that were tested are not those that are saved now: the result says nothing any more."""
    if check.state not in ("done", "failed") or check.kind in ("fetch", "arrival"):
        return False
    return check.tested != _tested_now(check.kind, check.server_id)


def _tested_now(kind: str, server_id: int) -> str:
    server = _server(kind, server_id)
    if isinstance(server, IncomingServer):
        return mailbox_rules.tested_key(server)
    return server_rules.tested_key(server) if server or not server_id else ""


def _server(kind: str, server_id: int) -> OutgoingServer | IncomingServer | None:
    if kind in OUTGOING:
        return db.session.get(OutgoingServer, server_id)
    return db.session.get(IncomingServer, server_id)


def offered_certificate(check: ServerCheck) -> str:
    """Return the fingerprint of a certificate that was refused and that an admin may trust by hand, "" for none."""
    if check.state != "failed" or not check.server_id or is_outdated(check):
        return ""
    shown = (step["why"] for step in check.steps if step["name"] == "certificate")
    return next((str(reason["values"].get("fingerprint", "")) for reason in shown), "")


# --- the worker


@dataclass(frozen=True)
class WorkerState:
    """How many workers show signs of life now, and when the last one did; ``seen_at`` None: there never was one."""

    alive: int
    seen_at: datetime | None


def worker_state() -> WorkerState:
    """Return whether a worker is there, by the database's clock."""
    silence = (database_clock() - Worker.seen_at).label("silence")
    rows = db.session.execute(select(silence, Worker.ended).order_by(Worker.seen_at.desc()).limit(50)).all()
    alive = sum(1 for row in rows if not row.ended and row.silence <= LEASE)
    seen_at = now() - timedelta(seconds=max(rows[0].silence, 0)) if rows else None
    return WorkerState(alive, seen_at)


# --- pages


@blueprint.get("/<int:check_id>")
@auth.roles_required("admin")
def show(check_id: int) -> ResponseReturnValue:
    """Answer how far a test is, for the page that shows it."""
    check = db.session.get(ServerCheck, check_id)
    if check is None or check.kind not in TITLES:
        abort(404)
    return str(steps_of(check))


@blueprint.post("/<int:check_id>/trust")
@auth.roles_required("admin")
@sessions.fresh_login
def trust(check_id: int) -> ResponseReturnValue:
    """Trust the very certificate that this test was shown, and test again."""
    check = db.session.get(ServerCheck, check_id) or abort(404)
    server, fingerprint = _server(check.kind, check.server_id), offered_certificate(check)
    if server is None or not fingerprint:
        abort(404)
    server.trusted_certificate = fingerprint
    db.session.commit()
    office.forget()
    ask(check.kind, server.id)
    page = "outgoing_servers.edit_view" if check.kind == "outgoing_test" else "incoming_servers.edit_view"
    return redirect(url_for(page, id=server.id))


@blueprint.get("/together")
@auth.roles_required("admin")
def together() -> ResponseReturnValue:
    """Show several tests or fetches that were asked for at once (``?id=3&id=4``)."""
    ids = request.args.getlist("id", type=int)[:MOST_TOGETHER]
    found = db.session.scalars(select(ServerCheck).where(ServerCheck.id.in_(ids)).order_by(ServerCheck.id)).all()
    if not found:
        abort(404)
    return render_template(
        "pages/checks.html", checks=[(check, _name_of(check)) for check in found], panel=panel, titles=TITLES
    )


def _name_of(check: ServerCheck) -> str:
    server = _server(check.kind, check.server_id)
    return str(server) if server is not None else "–"


def panels(server_id: int) -> Markup:
    """Return the cards of the last test of an outgoing server and of the last test email through it."""
    found = [latest((kind,), [server_id]).get(server_id) for kind in ("outgoing_test", "outgoing_mail")]
    return Markup().join(panel(check) for check in found)


def panel(check: ServerCheck | None, title: str = "") -> Markup:
    """Return the card of a test: it stays true while the test goes on. "" without a test."""
    if check is None:
        return Markup("")
    asker = db.session.get(User, check.requested_by_id) if check.requested_by_id else None
    return Markup(  # noqa: S704  a template of ours, which escapes
        render_template(
            "pages/checks_panel.html",
            check=check,
            title=title or TITLES[check.kind],
            asker=asker,
            steps=steps_of(check),
        )
    )


def steps_of(check: ServerCheck) -> Markup:
    """Return the inside of a test's card."""
    waits = check.state == "waiting"
    before, senders, after = told(check.steps)
    ignored = waits and now() - check.requested_at > PATIENCE
    return Markup(  # noqa: S704  a template of ours, which escapes
        render_template(
            "pages/checks_steps.html",
            check=check,
            steps=before,
            senders=senders,
            after=after,
            cell_of=cell_of,
            say=say,
            ignored=ignored,
            worker=worker_state() if ignored else None,
            outdated=is_outdated(check),
            certificate=offered_certificate(check),
            in_use=check.state == "failed" and check.kind == "outgoing_test" and _is_active(check.server_id),
            parts=self_test_table.rows_of(check.id) if check.kind == "self_test" else (),
            patience=PATIENCE_OF_PARTS.seconds,
        )
    )


def _is_active(server_id: int | None) -> bool:
    """Whether mail goes through an outgoing server already."""
    server = db.session.get(OutgoingServer, server_id) if server_id else None
    return server is not None and server.active


@dataclass(frozen=True)
class SenderRow:
    """What the test of an outgoing server found about an address: a cell for each step, and what there is to say."""

    address: str
    uses: str
    cells: dict[str, Any]
    said: list[Any]

    @property
    def is_refused(self) -> bool:
        """Whether the server can't be used as long as it refuses this address."""
        return any(step["state"] == "failed" and step["why"]["code"] != "test_ran_out" for step in self.said)


def told(steps: list[Any]) -> tuple[list[Any], list[SenderRow], list[Any]]:
    """Return the steps of a test before those of the senders, a row for each sender, and the steps after them.

    Senders that were not tried at all, because an earlier step failed, are steps like others.
    """
    if not any(step.get("address") and step["why"]["code"] not in NOT_TRIED for step in steps):
        return shortened(steps), [], []
    of_senders = [step for step in steps if step.get("address")]
    first = steps.index(of_senders[0])
    rows = [_row([step for step in of_senders if step["address"] == one]) for one in _addresses(of_senders)]
    return steps[:first], rows, [step for step in steps[first:] if not step.get("address")]


def _addresses(steps: list[Any]) -> list[str]:
    return list(dict.fromkeys(step["address"] for step in steps))


def _row(steps: list[Any]) -> SenderRow:
    cells = {step["name"]: step for step in steps if step["name"] != "note"}
    uses = ", ".join(str(USES.get(use, use)) for use in steps[0]["uses"])
    said = [step for step in steps if step["state"] in ("failed", "warning") or step["name"] == "note"]
    if not said and all(step["state"] == "skipped" for step in steps):
        said = steps[:1]  # why it was not tried
    return SenderRow(steps[0]["address"], uses, cells, said)


def cell_of(step: Any) -> tuple[str, Any]:
    """Return the look and the word of a cell."""
    if step is None or step["state"] == "skipped" or step["why"]["code"] == "test_ran_out":
        return "off", _l("not tried")
    if step["why"]["code"] == "test_sender_deferred":
        return "doubt", _l("not now")
    return CELLS[step["state"]]


def shortened(steps: list[Any]) -> list[Any]:
    """Return the steps of a test with those that were not tried, because an earlier one failed, as one line."""
    skipped = [step for step in steps if step["why"]["code"] in NOT_TRIED]
    if len(skipped) < 2:
        return steps
    tried = [step for step in steps if step not in skipped]
    return [*tried, {"state": "skipped", "why": why("test_rest_not_tried", number=len(skipped)), "seconds": None}]


def button_of_row(url: str, label: str, picture: str, server_id: int, confirm: str = "") -> Markup:
    """Return a small button for the end of a line in a list; it posts the number of its row."""
    make = get_template_attribute("parts/ui.html", "post_button")
    values = {"id": server_id}
    return Markup(make(url, label, picture, values=values, confirm=confirm, icon_only=True, small=True))  # noqa: S704
