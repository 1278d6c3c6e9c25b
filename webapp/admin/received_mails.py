"""Received mails: the ledger of everything that reached us, why it went where it went, and the quarantine."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import func, select

from mail.incoming import quarantine
from mail.incoming.quarantine import HeldGroup
from mail.incoming.reader import look_at
from mail.message.authentication_results import results_in
from mail.message.parse import IncomingMessage
from mail.sentences import Why, say
from mail.settings.clock import now
from mail.settings.wake import wake
from models import (
    Alias,
    Blob,
    Document,
    DocumentType,
    IncomingServer,
    ReceivedMail,
    RouteResult,
    SelfTestPart,
    ServerCheck,
    db,
)
from models.incoming import RECEIVED_STATES
from webapp import template_helpers
from webapp.admin.base import AdminView, ChoiceFilter, Empty, action, expose

RESULTS = {
    "document": _l("New document"),
    "reply": _l("Reply"),
    "bounce": _l("Bounce"),
    "dmarc": _l("DMARC report"),
    "auto_reply": _l("Automatic reply"),
    "complaint": _l("Complaint"),
    "receipt": _l("Receipt"),
    "challenge": _l("Challenge"),
    "unsubscribed": _l("Unsubscribed"),
    "self_test": _l("Test"),
}


class ReceivedMailView(AdminView):
    model, page, path = ReceivedMail, "received_mails", "received-mails"
    title, one = _l("Received emails"), _l("received email")
    lead = _l("Every email received so far, each with its status. Nothing is discarded silently.")
    trail = (_l("Settings"), _l("Technical"), _l("Email"))
    icon = "inbox"
    can_create = can_edit = can_delete = False
    columns = ("subject", "state", "from_text", "to_text", "result", "received_at")
    details = ("state",)
    exported = ("id", "state", "result", "subject", "from_text", "to_text", "received_at", "message_id")
    searchable = ("subject", "from_text", "to_text")
    filters = (
        ChoiceFilter(
            "state", _l("State"), tuple((state, template_helpers.STATES[state][1]) for state in RECEIVED_STATES)
        ),
    )
    default_sort = "-id"
    labels = {"from_text": _l("From"), "to_text": _l("To"), "result": _l("Result"), "received_at": _l("When")}
    formats = {
        "state": lambda view, row: template_helpers.state(row.state),
        "subject": lambda view, row: row.subject or gettext("No subject"),
        "from_text": lambda view, row: template_helpers.correspondent(row.from_text),
        "to_text": lambda view, row: template_helpers.correspondent(row.to_text, names=False),
        "result": lambda view, row: RESULTS.get(row.result, row.result or "–"),
    }
    list_template = "admin/received_mails.html"
    details_template = "admin/received_mail.html"
    empty = Empty(
        "inbox",
        _l("No emails received yet"),
        _l("Add an incoming server, or write to yourself from the practice mailbox."),
    )

    def title_of(self, row: Any) -> str:
        return str(row.subject or gettext("No subject"))

    def waiting(self) -> int:
        """Return how many mails are in quarantine."""
        query = select(func.count()).select_from(ReceivedMail).where(ReceivedMail.state == "quarantined")
        return db.session.scalar(query) or 0

    # --- the page of one mail

    def say(self, reason: Why | None) -> str:
        """Return the sentence of a step."""
        return say(reason)

    def message_of(self, row: ReceivedMail) -> IncomingMessage | None:
        """Return the mail, read anew from its bytes; None when the original was not kept."""
        return look_at(Blob.read(row.blob_id), row.received_at) if row.blob_id else None

    def checks_of(self, message: IncomingMessage) -> str:
        """Return what the last server that checked a mail says of its sender, "" if none says anything."""
        top = next((found for found in results_in(message.raw) if found.results), None)
        words = {method: top.word(method) for method in ("spf", "dkim", "dmarc")} if top else {}
        said = ", ".join(f"{method.upper()} {word}" for method, word in words.items() if word)
        return f"{top.server}: {said}" if top and top.server and said else said

    def reported_domain(self, row: ReceivedMail) -> str:
        """Return the domain that a DMARC report is about, "" for any other mail."""
        steps = (row.decision or []) if row.result == "dmarc" else []
        return next((str(step["values"]["domain"]) for step in steps if step["code"] == "route_dmarc"), "")

    def tested_server(self, row: ReceivedMail) -> int | None:
        """Return the server (0: the default server) whose test this mail belongs to."""
        if row.result != "self_test":
            return None
        query = select(ServerCheck.server_id).join(SelfTestPart, SelfTestPart.check_id == ServerCheck.id)
        return db.session.scalar(query.where(SelfTestPart.received_mail_id == row.id).limit(1))

    def documents_of(self, row: ReceivedMail) -> Sequence[Document]:
        """Return the documents that this mail opened or was posted on."""
        query = select(Document).join(RouteResult, RouteResult.document_id == Document.id)
        return db.session.scalars(query.where(RouteResult.received_mail_id == row.id).distinct()).all()

    def source_of(self, row: ReceivedMail) -> str | Markup:
        """Return by what way a mail came: the mailbox, as a link to it, or the door of this machine."""
        door, _colon, rest = row.source.partition(":")
        if door != "server":
            return {"practice": gettext("Practice mailbox"), "pipe": gettext("the receive command")}.get(door, door)
        server = db.session.get(IncomingServer, int(rest.partition(":")[0]))
        if server is None:
            return gettext("a deleted incoming server")
        return Markup('<a href="{}">{}</a>').format(url_for("incoming_servers.edit_view", id=server.id), server)

    def types(self) -> Sequence[DocumentType]:
        """Return the types that a mail from quarantine can become."""
        return db.session.scalars(select(DocumentType).where(DocumentType.active).order_by(DocumentType.position)).all()

    # --- quarantine

    def unknown_address(self, row: ReceivedMail) -> str:
        """Return the address of our domain that a mail in quarantine was written to and that nobody has, else ""."""
        last = row.decision[-1] if row.decision else None
        return str(last["values"]["address"]) if last and last["code"] == "route_unknown_address" else ""

    @expose("/decide", methods=("POST",))
    def decide(self) -> ResponseReturnValue:
        """Do with a mail from quarantine what the person chose."""
        row = self._row(request.form.get("id", ""))
        back = redirect(self.row_url(row))
        try:
            state = self._decided(row.id, request.form.get("what", ""))
        except quarantine.NotInQuarantine:
            flash(gettext("Someone else was faster: this email is no longer in quarantine."), "error")
            return back
        except LookupError:
            flash(gettext("This document does not exist. Document numbers look like OPP/00012."), "error")
            return back
        if state == quarantine.ASKED:
            flash(gettext("The server is asked for this email again. Reload this page in a moment."), "success")
            return back
        wake()
        if state == "quarantined":
            flash(gettext("Nothing has changed: this email stays in quarantine, for the reason below."), "error")
        else:
            words = gettext("Done. The email is now: %(state)s.", state=template_helpers.STATES[state][1])
            flash(words, "success")
        return back

    def _decided(self, mail_id: int, what: str) -> str:
        match what:
            case "retry":
                return quarantine.retry(mail_id, now())
            case "type":
                return quarantine.route_to_type(mail_id, request.form.get("type", 0, type=int), now())
            case "document":
                number = request.form.get("document", "").strip()
                found = db.session.scalar(select(Document.id).where(func.lower(Document.number) == number.lower()))
                return quarantine.route_to_document(mail_id, found or 0, now())
            case "reject":
                return quarantine.reject(mail_id, request.form.get("text", ""), now())
            case "drop":
                return quarantine.drop(mail_id, now())
        raise LookupError(what)

    # --- what loop protection holds

    def held(self) -> Sequence[HeldGroup]:
        """Return the groups of emails that look like a loop."""
        return quarantine.held_groups()

    def place_of(self, group: HeldGroup) -> str:
        """Return where the emails of a group would have gone."""
        kind, _colon, number = group.held.partition(":")
        if kind == "alias":
            return db.session.scalar(select(Alias.address_key).where(Alias.id == int(number))) or gettext("an alias")
        if kind == "thread":
            document = db.session.scalar(select(Document).where(Document.thread_id == int(number)))
            return str(document or gettext("a document"))
        return db.session.scalar(select(DocumentType.plural).where(DocumentType.id == int(number))) or "–"

    @expose("/held", methods=("POST",))
    def decide_held(self) -> ResponseReturnValue:
        """Take or discard a whole group that loop protection holds."""
        sender, place = request.form.get("sender", ""), request.form.get("place", "")
        if request.form.get("what") == "take":
            count = quarantine.take_all(sender, place, now())
            wake("received")
            said = ngettext("%(num)s email is being processed.", "%(num)s emails are being processed.", count)
        else:
            count = quarantine.drop_all(sender, place, now())
            said = ngettext("%(num)s email discarded.", "%(num)s emails discarded.", count)
        flash(said, "success")
        return redirect(self.get_url(".index_view"))

    @action("retry", _l("Retry"), _l("Route the selected quarantined emails again?"))
    def retry(self, ids: list[str]) -> None:
        """Route mails of the quarantine again, by the rules as they are now."""
        self._each(ids, quarantine.retry)

    @action(
        "drop",
        _l("Discard"),
        _l("Discard the selected quarantined emails? They stay under Received emails as ignored."),
    )
    def drop(self, ids: list[str]) -> None:
        """Take mails out of quarantine for good."""
        self._each(ids, quarantine.drop)

    def _each(self, ids: list[str], do: Callable[[int, Any], str]) -> None:
        states = []
        for mail_id in [row.id for row in self.chosen(ids) if row.state == "quarantined"]:
            try:
                states.append(do(mail_id, now()))
            except quarantine.NotInQuarantine:
                continue
        wake()
        self._tell(states)

    @staticmethod
    def _tell(states: list[str]) -> None:
        """Say how many emails left the quarantine, and that the others did not."""
        stayed, asked = states.count("quarantined"), states.count(quarantine.ASKED)
        if released := len(states) - stayed - asked:
            words = ngettext("%(num)s email left the quarantine.", "%(num)s emails left the quarantine.", released)
            flash(words, "success")
        if asked:
            words = ngettext(
                "The server is asked again for %(num)s email.", "The server is asked again for %(num)s emails.", asked
            )
            flash(words, "success")
        if stayed or not states:
            words = ngettext(
                "Nothing has changed for %(num)s email: it stays in quarantine. Open it to see the reason.",
                "Nothing has changed for %(num)s emails: they stay in quarantine. Open one to see the reason.",
                stayed,
            )
            flash(words if stayed else gettext("None of the selected emails is in quarantine."), "error")

    @action("delete", _l("Delete"))
    def action_delete(self, ids: list[str]) -> None:
        """The ledger keeps everything."""

    def is_action_allowed(self, name: str) -> bool:
        return name != "delete"
