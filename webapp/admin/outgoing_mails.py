"""Outgoing mails: a line per recipient, and of each mail why it went this way."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import abort, flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from markupsafe import Markup
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from mail.decide.sender import Decision
from mail.errors import ChangeRefused
from mail.outgoing import another_server, lines
from mail.outgoing.lines import Again
from mail.outgoing.timeline import TimelineEntry, last_try_at, timeline
from mail.sentences import Why, say, why
from mail.settings import rehearsal
from mail.settings.clock import now
from mail.settings.config import PRACTICE_NAME
from mail.settings.wake import wake
from models import Document, Post, Recipient, db
from models.outgoing import LINE_STATES
from webapp import template_helpers
from webapp.admin.base import AdminView, ChoiceFilter, Empty, action, expose
from webapp.pages import simulators


class OutgoingMailView(AdminView):
    model, page, path = Recipient, "outgoing_mails", "outgoing-mails"
    title, one = _l("Outgoing emails"), _l("outgoing email")
    lead = _l("Every email to every recipient: its status, and why it was sent this way.")
    trail = (_l("Settings"), _l("Technical"), _l("Email"))
    icon = "mail-forward"
    can_create = can_edit = can_delete = False
    columns = ("mail.subject", "state", "address", "why", "mail.server", "next_try_at")
    details = ("state",)
    exported = ("id", "state", "mail.subject", "address", "attempts", "code", "enhanced", "reply", "sent_at")
    eager = (Recipient.mail,)
    searchable = ("address", "name")
    filters = (
        ChoiceFilter("state", _l("State"), tuple((state, template_helpers.STATES[state][1]) for state in LINE_STATES)),
    )
    default_sort = "-id"
    labels = {
        "mail.subject": _l("Subject"),
        "address": _l("Recipient"),
        "why": _l("Reason"),
        "mail.server": _l("Server"),
        "next_try_at": _l("When"),
    }
    formats = {
        "state": lambda view, line: template_helpers.state(line.state),
        "address": lambda view, line: _column(line.address),
        "why": lambda view, line: _column(say(line.why)),
        "mail.server": lambda view, line: _server(line),
        "next_try_at": lambda view, line: _moment(line),
    }
    details_template = "admin/outgoing_mail.html"
    empty = Empty("mail-forward", _l("No emails sent yet"), _l("Post a message on a document that has followers."))

    def title_of(self, row: Any) -> str:
        return str(row.mail.subject or gettext("Email without a subject"))

    # --- the page of one mail

    def decision_of(self, line: Recipient) -> Decision:
        """Return the stored choice of the server and the From."""
        return Decision.from_json(line.mail.decision or {})

    def lines_of(self, line: Recipient) -> Sequence[Recipient]:
        """Return all recipients of the mail of this line."""
        query = select(Recipient).where(Recipient.mail_id == line.mail_id).options(joinedload(Recipient.contact))
        return db.session.scalars(query.order_by(Recipient.id)).all()

    def timeline_of(self, line: Recipient) -> list[TimelineEntry]:
        """Return what happened to this line, the newest first."""
        return timeline(line)

    def waits(self, line: Recipient) -> bool:
        """Say whether a line in the queue is not to be sent yet."""
        return line.next_try_at > now()

    def gives_up(self, line: Recipient) -> datetime | None:
        """Return when a line that is tried again and again is given up."""
        return last_try_at(line, now())

    def document_of(self, line: Recipient) -> Document | None:
        """Return the document that this mail belongs to."""
        if line.mail.post_id is None:
            return None
        query = select(Document).join(Post, Post.thread_id == Document.thread_id).where(Post.id == line.mail.post_id)
        return db.session.scalar(query)

    def simulator_of(self, line: Recipient, decision: Decision, document: Document | None) -> str:
        """Return where to see what would be decided about this mail now."""
        return simulators.link_for(line.mail, decision, document)

    def say(self, reason: Why | None) -> str:
        """Return the sentence of a step."""
        return say(reason)

    # --- what can be done to many

    @action("retry", _l("Send again"), _l("Send the selected emails again?"))
    def retry(self, ids: list[str]) -> None:
        """Queue lines again where that may help; say how many were skipped, and why."""
        again = lines.retry([line.id for line in self.chosen(ids)], now(), current_user.name)
        db.session.commit()
        wake()
        show_again(again)

    @action("send_now", _l("Send now"))
    def send_now(self, ids: list[str]) -> None:
        """Have scheduled lines leave before their time."""
        leaving = lines.send_now([line.id for line in self.chosen(ids)], now(), current_user.name)
        db.session.commit()
        wake()
        if leaving:
            flash(ngettext("%(num)s email is being sent.", "%(num)s emails are being sent.", leaving), "success")
        if leaving < len(ids):
            flash(say(why("again_not_scheduled", count=len(ids) - leaving)), "info")

    @action("arrived", _l("It arrived"))
    def arrived(self, ids: list[str]) -> None:
        """Take lines in doubt as sent, because somebody knows that they arrived."""
        arrived = lines.settle_arrived([line.id for line in self.chosen(ids)], now(), current_user.name)
        db.session.commit()
        if arrived:
            flash(
                ngettext("%(num)s email is marked as sent.", "%(num)s emails are marked as sent.", arrived), "success"
            )
        if arrived < len(ids):
            flash(say(why("again_known", count=len(ids) - arrived)), "info")

    @action("server", _l("Choose another server"))
    def another_server(self, ids: list[str]) -> ResponseReturnValue:
        """Ask through which server."""
        return redirect(self.get_url(".server_view", id=ids))

    @expose("/server", methods=("GET", "POST"))
    def server_view(self) -> ResponseReturnValue:
        """Show what each server would change, and send the chosen emails through one of them."""
        chosen = self.chosen(request.values.getlist("id")[: self.rows_per_page]) or abort(404)
        if request.method == "POST":
            return self._through(chosen, request.form.get("server", -1, type=int))
        mails = list({line.mail_id: line.mail for line in chosen}.values())
        with_them = select(func.count()).where(
            Recipient.mail_id.in_([mail.id for mail in mails]), Recipient.state == "queued",
            Recipient.id.not_in([line.id for line in chosen]),
        )  # fmt: skip
        answer: str = self.render(
            "admin/another_server.html",
            row=chosen[0] if len(chosen) == 1 else None,
            chosen=chosen,
            mails=mails,
            options=another_server.options(mails),
            with_them=db.session.scalar(with_them),
            in_doubt=another_server.in_doubt([line.id for line in chosen], [mail.id for mail in mails]),
        )
        return answer

    def _through(self, chosen: Sequence[Recipient], server_id: int) -> ResponseReturnValue:
        ids = [line.id for line in chosen]
        try:
            again = another_server.choose(ids, server_id, now(), current_user.name)
        except ChangeRefused as error:
            db.session.rollback()
            for reason in error.errors.values():
                flash(say(reason), "error")
            return redirect(self.get_url(".server_view", id=ids))
        db.session.commit()
        wake()
        show_again(again)
        return redirect(self.row_url(chosen[0]) if len(ids) == 1 else self.get_url(".index_view"))

    @action("cancel", _l("Cancel"), _l("Cancel the selected emails? Waiting emails will not be sent."))
    def cancel(self, ids: list[str]) -> None:
        """Take waiting lines out of the queue."""
        cancelled = lines.cancel([line.id for line in self.chosen(ids)], now(), current_user.name)
        db.session.commit()
        if cancelled.unsent:
            words = ngettext("%(num)s email was cancelled.", "%(num)s emails were cancelled.", cancelled.unsent)
            flash(words, "success")
        if cancelled.in_doubt:
            words = ngettext(
                "%(num)s email will not be sent again, but an earlier attempt may have arrived.",
                "%(num)s emails will not be sent again, but earlier attempts may have arrived.",
                cancelled.in_doubt,
            )
            flash(words, "info")
        if sum(cancelled) < len(ids):
            flash(say(why("cancel_too_late", count=len(ids) - sum(cancelled))), "error")

    @action("delete", _l("Delete"))
    def action_delete(self, ids: list[str]) -> None:
        """Mails are kept: what was sent stays explained."""

    def is_action_allowed(self, name: str) -> bool:
        return name != "delete"


def show_again(again: Again) -> None:
    """Say on the next page what became of the wish to send emails again."""
    if again.queued:
        flash(ngettext("%(num)s email is queued again.", "%(num)s emails are queued again.", again.queued), "success")
    for reason in again.skipped:
        flash(say(reason), "error" if not again.queued else "info")
    if again.failed:
        flash(say(again.failed), "error")


def _column(words: str) -> str:
    """Words with a long address in them, which must not push the last columns out of sight."""
    return Markup('<span class="wrap-column">{}</span>').format(words) if words else ""


def _server(line: Recipient) -> Any:
    found = rehearsal.current()
    if found is not None and line.state == "sent" and line.mail_id > found.mails:  # whichever server was chosen
        return PRACTICE_NAME
    return (line.mail.decision or {}).get("server_name") or Markup('<span class="text-secondary">–</span>')


def _moment(line: Recipient) -> Markup:
    if line.is_held:
        return Markup("–")
    if line.state == "queued" and line.wait == "limit":
        said = gettext("until %(time)s", time=template_helpers.until(line.next_try_at))
        return Markup("<div>" + said + "</div>")  # noqa: S704 - a time
    if line.state == "queued":
        when = template_helpers.due(line.next_try_at)
        return Markup(gettext("Scheduled for %(time)s.", time=when)) if line.wait == "schedule" else when  # noqa: S704
    return template_helpers.ago(line.sent_at or line.bounced_at or line.next_try_at)
