"""Received mails: the ledger of everything that reached us, why it went where it went, and the quarantine."""

from collections.abc import Sequence
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import format_decimal, gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import ColumnElement, func, select

from mail.incoming import forwarding, totals
from mail.incoming.adviser import IS_UNKNOWN
from mail.incoming.forwarding import OpenRequest
from mail.incoming.reader import look_at
from mail.message.authentication_results import results_in
from mail.message.parse import IncomingMessage, message_key
from mail.sentences import Why, say
from models import (
    Blob,
    Bounce,
    Document,
    IncomingServer,
    ReceivedMail,
    Recipient,
    RouteResult,
    SelfTestPart,
    ServerCheck,
    Trace,
    db,
)
from models.incoming import RECEIVED_STATES
from webapp import template_helpers
from webapp.admin.base import ChoiceFilter, Empty, action, expose
from webapp.admin.quarantine_pages import QuarantinePages

RESULTS = {
    "document": _l("New document"),
    "reply": _l("Reply"),
    "bounce": _l("Bounce"),
    "dmarc": _l("DMARC report"),
    "forwarding": _l("Forwarding to confirm"),
    "forwarding_done": _l("Forwarding request, done"),
    "auto_reply": _l("Automatic reply"),
    "complaint": _l("Complaint"),
    "receipt": _l("Receipt"),
    "challenge": _l("Challenge"),
    "unsubscribed": _l("Unsubscribed"),
    "self_test": _l("Test"),
    "delay": _l("Delay"),
    "delivered": _l("Delivered"),
    "feedback": _l("Report from a provider"),
    "unreadable": _l("Report that names no address"),
    "not_brought": _l("Not handed out by its server"),
    "left_alone": _l("Left in its mailbox"),
}

REPORTED = {
    "hard": _l("bounced: the mailbox does not exist"),
    "soft": _l("bounced"),
    "blocked": _l("bounced: refused because of the content or the sender"),
    "full": _l("bounced: the mailbox is full"),
    "delay": _l("delayed"),
    "complaint": _l("complained"),
}  # of an address, in a report

STATE_WORDS = {
    "received": _l("waiting"),
    "processed": _l("processed"),
    "duplicate": _l("duplicate"),
    "ignored": _l("ignored"),
    "rejected": _l("rejected"),
    "quarantined": _l("in quarantine"),
}  # as parts of a sum


class UnknownAddressFilter(ChoiceFilter):
    """Offers the one address that the page of unknown addresses asked for: there may be very many."""

    def options(self) -> Sequence[tuple[str, Any]]:
        asked = request.args.get(self.name, "")
        return ((asked, asked),) if asked else ()

    def clause(self, column: Any, value: str) -> ColumnElement[bool]:
        return IS_UNKNOWN & (column == value)


class ReceivedMailView(QuarantinePages):
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
        UnknownAddressFilter("unknown_address", _l("Sent to")),
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

    @expose("/details")
    def details_view(self) -> ResponseReturnValue:
        """Show one email, or only what changes for a page that is open while it waits."""
        if request.headers.get("X-Fragment"):
            row = self._row(request.args.get("id", ""))
            answer: str = self.render("admin/received_mail_live.html", row=row, message=self.message_of(row))
            return answer
        return super().details_view()

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

    def delivered_to(self, message: IncomingMessage) -> list[str]:
        """Return the recipients that To and Cc do not name, as of a blind copy."""
        return [address for address in message.delivered_to if address not in (*message.to, *message.cc)]

    def reported_domain(self, row: ReceivedMail) -> str:
        """Return the domain that a DMARC report is about, "" for any other mail."""
        steps = (row.decision or []) if row.result == "dmarc" else []
        return next((str(step["values"]["domain"]) for step in steps if step["code"] == "route_dmarc"), "")

    def reported_of(self, row: ReceivedMail) -> Sequence[Any]:
        """Return what was recorded of a report: addresses (None: no recipient of ours), and what was sent to them."""
        recorded = select(Bounce.address_key, Bounce.kind, Bounce.recipient_id, Trace.mailing_id)
        recorded = recorded.outerjoin(Trace, Trace.id == Bounce.trace_id).where(Bounce.received_mail_id == row.id)
        return db.session.execute(recorded.order_by(Bounce.id)).all()

    def reported_as(self, kind: str) -> Any:
        """Return what a report says of an address, in words."""
        return REPORTED[kind]

    def request_of(self, row: ReceivedMail) -> OpenRequest | None:
        """Return what an email asks to confirm, as long as nobody did."""
        return forwarding.open_request(row)

    def tested_server(self, row: ReceivedMail) -> int | None:
        """Return the server (0: the default server) whose test this mail belongs to."""
        if row.result != "self_test":
            return None
        query = select(ServerCheck.server_id).join(SelfTestPart, SelfTestPart.check_id == ServerCheck.id)
        return db.session.scalar(query.where(SelfTestPart.received_mail_id == row.id).limit(1))

    def documents_of(self, row: ReceivedMail, message: IncomingMessage | None) -> Sequence[Document]:
        """Return the documents that this mail opened or was posted on, or that it had reached before."""
        came = RouteResult.received_mail_id == row.id
        if row.state == "duplicate" and message is not None:
            came = RouteResult.message_key == message_key(message)
        query = select(Document).join(RouteResult, RouteResult.document_id == Document.id)
        return db.session.scalars(query.where(came).distinct()).all()

    def reply_of(self, row: ReceivedMail) -> Recipient | None:
        """Return the line of the email that told the sender why theirs is rejected."""
        if row.answer_id is None:
            return None
        return db.session.scalars(select(Recipient).where(Recipient.mail_id == row.answer_id).limit(1)).first()

    def source_of(self, row: ReceivedMail) -> str | Markup:
        """Return by what way a mail came: the mailbox, as a link to it, or the door of this machine."""
        door, _colon, rest = row.source.partition(":")
        if door != "server":
            return {
                "practice": gettext("Practice mailbox"),
                "lmtp": gettext("the listener (LMTP)"),
                "smtp": gettext("the listener (SMTP)"),
                "pipe": gettext("the receive command"),
                "http": gettext("the web address for emails"),
            }.get(door, door)
        server = db.session.get(IncomingServer, int(rest.partition(":")[0]))
        if server is None:
            return gettext("a deleted incoming server")
        return Markup('<a href="{}">{}</a>').format(url_for("incoming_servers.edit_view", id=server.id), server)

    # --- sums

    @expose("/totals")
    def totals(self) -> ResponseReturnValue:
        """Show how many emails came to each state and result; the sums add up."""
        answer: str = self.render(
            "admin/received_totals.html",
            found=totals.totals(),
            results=RESULTS,
            state_words=STATE_WORDS,
            number=format_decimal,
        )
        return answer

    @expose("/totals.json")
    def totals_json(self) -> ResponseReturnValue:
        """Answer the same for programs."""
        return totals.as_json(totals.totals())

    @action("delete", _l("Delete"))
    def action_delete(self, ids: list[str]) -> None:
        """The ledger keeps everything."""

    def is_action_allowed(self, name: str) -> bool:
        return name != "delete"
