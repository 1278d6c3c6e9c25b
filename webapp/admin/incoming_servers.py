"""Incoming servers: the mailboxes that are fetched, and what happens to their mail."""

from dataclasses import replace
from typing import Any

from flask import flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import Select, select

from mail.decide.believed_results import is_named
from mail.decide.sender_proof import LEAST_SEEN, believed_server
from mail.incoming import mailbox_notices, server_rules
from mail.incoming.position import leave_behind
from mail.sentences import say
from mail.settings.clock import now
from models import DocumentType, IncomingServer, ReceivedMail, ScheduledAction, ServerCheck, db
from models.slices import cut_from
from webapp import checks, sign_in_words, template_helpers
from webapp.admin import servers
from webapp.admin.base import AdminView, Button, ChoiceFilter, Empty, FieldGroup, YesNo, action, expose
from webapp.admin.outgoing_servers import badge
from webapp.pages import sign_in as sign_in_panel

PORTS = {
    "imap tls": 993,
    "imap starttls": 143,
    "imap none": 143,
    "pop3 tls": 995,
    "pop3 starttls": 110,
    "pop3 none": 110,
}
TESTS = ("incoming_test", "fetch")


def _active_types(rows: Select[Any]) -> Select[Any]:
    return rows.where(DocumentType.active)


class IncomingServerView(AdminView):
    """List and form of incoming servers."""

    model, page, path = IncomingServer, "incoming_servers", "incoming-servers"
    title, one = _l("Incoming Mail Servers"), _l("incoming mail server")
    lead = _l("The mailboxes that CoquiMail reads: one per alias, or one for all of them.")
    trail = (_l("Settings"), _l("Technical"), _l("Email"))
    icon = "inbox"
    small = fresh_login = True
    stays = _l("Emails fetched from it stay here, and those in the mailbox stay there.")
    columns = ("name", "host", "state", "last_success_at", "trouble", "priority")
    sortable, searchable = ("name", "priority", "last_success_at"), ("name", "host", "user")
    filters = (
        ChoiceFilter("state", _l("State"), (("draft", _l("Draft")), ("confirmed", _l("Confirmed")))),
        YesNo("active", _l("Active")),
    )
    default_sort = "priority"
    exported = ("name", "kind", "host", "port", "encryption", "user", "folder", "state", "active", "last_success_at")
    list_template = "admin/servers.html"
    create_template = edit_template = "admin/incoming_server.html"
    labels = {
        "kind": _l("Server type"),
        "host": _l("Server name"),
        "encryption": _l("Encryption"),
        "port": _l("Port"),
        "authentication": _l("Authentication"),
        "user": _l("User"),
        "shared_mailbox": _l("Shared mailbox"),
        "folder": _l("Folder"),
        "address": _l("Address of this mailbox"),
        "action_type_id": _l("Actions to Perform on Incoming Mails"),
        "keep_attachments": _l("Keep attachments"),
        "keep_original": _l("Keep the original"),
        "after_fetch": _l("After fetching"),
        "move_to": _l("Move to the folder"),
        "fetch_existing": _l("Also fetch existing messages"),
        "verify_tls": _l("Verify the server certificate"),
        "sender_checks": _l("Sender checks"),
        "checked_by": _l("Checked by"),
        "priority": _l("Priority"),
        "last_success_at": _l("Last success"),
        "trouble": _l("Last failure"),
    }
    groups = (
        FieldGroup(
            _l("Server"),
            ("name", "kind", "host", "encryption", "port"),
            _l("Your email provider calls these “IMAP settings” or “POP settings”."),
        ),
        FieldGroup(
            _l("Login"),
            ("authentication", "user", "password", "shared_mailbox"),
            _l("The password is stored encrypted and is never shown again."),
        ),
        FieldGroup(
            _l("Processing of emails"),
            ("action_type_id", "folder", "after_fetch", "move_to", "fetch_existing", "keep_attachments",
             "keep_original", "address"),
        ),
        FieldGroup(
            _l("Whom to believe"),
            ("sender_checks", "checked_by"),
            _l("Your mail server checks the sender of each email and notes the result in its header."),
        ),
        FieldGroup(_l("Fetching"), ("priority", "active")),
        FieldGroup(_l("Details"), ("verify_tls",), developer=True),
    )  # fmt: skip
    choices = {
        "kind": (("imap", "IMAP"), ("pop3", "POP3")),
        "encryption": (servers.ENCRYPTIONS[1], servers.ENCRYPTIONS[0], servers.ENCRYPTIONS[2]),
        "authentication": (("password", _l("User and password")), ("oauth2", servers.SIGN_IN)),
        "sender_checks": (
            ("learn", _l("Learn the server from the emails")),
            ("set", _l("Use those of one server")),
            ("off", _l("Do not use them")),
        ),
        "after_fetch": (
            ("mark_read", _l("Keep it there (IMAP: marked as read)")),
            ("move", _l("Move it to a folder")),
            ("delete", _l("Delete it on the server")),
        ),
    }
    references = {
        "action_type_id": {
            "model": DocumentType,
            "only": _active_types,
            "text": lambda row: gettext("Create a new %(type)s", type=row.name),
            "blank": "",
        }
    }
    help = {
        "name": _l("Your own name for this mailbox."),
        "kind": _l("IMAP is recommended: emails stay on the server, in folders. Use POP3 for servers without IMAP."),
        "host": _l("The server name given by the provider."),
        "encryption": _l("Sets the usual port: 993 or 143 for IMAP, 995 or 110 for POP3."),
        "authentication": _l("To sign in with a provider, save first, then press Connect at the top of the page."),
        "user": _l("Often the full email address. After changing server, port, user, password or folder, test again."),
        "password": _l("Many providers require a special password for programs (“app password”)."),
        "action_type_id": _l(
            "Leave blank: aliases and replies decide where each email goes. With an action, other emails create a new "
            "document of this type instead of waiting in quarantine."
        ),
        "shared_mailbox": _l(
            "Only to read a mailbox that is shared with this user, such as info@mycompany.com. Leave empty to read the "
            "user's own mailbox. With Microsoft, sign in as yourself: you need full access to the shared mailbox."
        ),
        "address": _l(
            "Emails that name none of your addresses, such as blind copies, count as sent to this address. Leave empty "
            "if it is the user or the shared mailbox."
        ),
        "folder": _l("The folder to read."),
        "after_fetch": _l(
            "What happens on the server after an email is stored here. It never happens earlier, so nothing is lost."
        ),
        "move_to": _l("A folder on the server; it is created if it does not exist."),
        "fetch_existing": _l(
            "Off: only emails that arrive after the confirmation are fetched. On: everything in the "
            "folder is fetched, including emails that were read long ago."
        ),
        "keep_attachments": _l("Off: only the text of an email is kept."),
        "keep_original": _l("Off: the original is deleted once the email has been filed or discarded."),
        "sender_checks": _l(
            "If an email claims to be from a colleague or one of your addresses and the check failed, it is marked as "
            "possibly forged and not treated as that person's. Without results, such emails are marked “Not checked”."
        ),
        "checked_by": _l(
            "The first word of the topmost Authentication-Results line in the emails of this mailbox. Only what this "
            "server itself added at the top is believed."
        ),
        "priority": _l("The lowest number is fetched first."),
        "active": _l("Off: this mailbox is not fetched."),
        "verify_tls": _l("Turn this off only for your own server whose certificate you trust."),
    }
    examples = {
        "name": "sales@",
        "host": "imap.mycompany.com",
        "user": "sales@mycompany.com",
        "folder": "INBOX",
        "move_to": "Done",
        "checked_by": "mx.mycompany.com",
    }
    form_args = {
        "name": servers.words(most=120),
        "host": servers.HOST,
        "port": servers.port(),
        "user": servers.words(most=320),
        "shared_mailbox": servers.words(most=320, required=False),
        "address": servers.words(most=320, required=False),
        "folder": servers.words(most=255, required=False),
        "move_to": servers.words(most=255, required=False),
        "checked_by": servers.words(most=255, required=False),
        "priority": servers.number(-10_000, 10_000, _l("A whole number from -10,000 to 10,000; usually 10.")),
    }
    formats = {
        "host": lambda view, row: view.host_of(row),
        "state": lambda view, row: view.state_of(row),
        "trouble": lambda view, row: view.trouble_of(row),
    }
    buttons = (
        Button("test", _l("TEST & CONFIRM"), "test-pipe", save_first=True),
        Button(
            "distrust", _l("Stop trusting its certificate"), "shield", when=lambda row: bool(row.trusted_certificate)
        ),
        Button("fetch", _l("Fetch now"), "download", when=lambda row: row.state == "confirmed" and row.active),
    )
    empty = Empty(
        "inbox",
        _l("No mailboxes yet"),
        _l(
            "Create the addresses of your aliases at your email provider (catchall@, bounce@, sales@ …), then add "
            "their mailboxes here. A single mailbox that receives the emails of all of them works as well."
        ),
    )

    # --- the list

    def host_of(self, row: IncomingServer) -> Markup:
        """Return host, port and encryption, with a warning when nobody checks who is listening there."""
        found = Markup('<span class="wrap-anywhere">{}:{}</span> <span class="text-secondary">{}</span>').format(
            row.host, row.port, f"{row.kind.upper()}, {servers.ENCRYPTION_WORDS[row.encryption]}"
        )
        if row.encryption != "none" and not row.verify_tls:
            found += Markup(" ") + badge("doubt", gettext("certificate not verified"))
        return found

    def trouble_of(self, row: IncomingServer) -> Any:
        """Return why the last fetch failed, "" when it went well."""
        if not row.why:
            return ""
        return Markup('{}<small class="row-help trouble">{}</small>').format(
            template_helpers.ago(row.last_failure_at), self.say(row)
        )

    def state_of(self, row: IncomingServer) -> Markup:
        """Return the state, whether the mailbox is switched off, and what its account lacks."""
        off = Markup(" ") + badge("off", gettext("turned off")) if not row.active else Markup("")
        found = template_helpers.state(row.state) + off + sign_in_words.badge_of(row)
        if self.waits(row):
            found += Markup('<small class="row-help">{}</small>').format(gettext("Connected, waiting for emails"))
        return found

    def waits(self, row: IncomingServer) -> bool:
        """Say whether the worker is connected to a mailbox and is told of each email that arrives."""
        if "workers" not in g:
            g.workers = checks.worker_state().alive
        return row.idle_since is not None and bool(g.workers)

    def why_not_waiting(self, row: IncomingServer) -> str:
        """Return why it is not."""
        return say(row.idle_why)  # type: ignore[arg-type]

    def row_tools(self, row: IncomingServer) -> Markup:
        """Return the button that fetches a mailbox, or tests one that is no more than a draft."""
        if row.state == "confirmed" and row.active:
            url = self.get_url(".press", button="fetch")
            return checks.button_of_row(url, gettext("Fetch now"), "download", row.id)
        url = self.get_url(".press", button="test")
        return checks.button_of_row(url, gettext("TEST & CONFIRM"), "test-pipe", row.id)

    @action("fetch", _l("Fetch now"))
    def action_fetch(self, ids: list[str]) -> ResponseReturnValue | None:
        """Fetch the ticked mailboxes and show how each goes."""
        chosen = self.chosen(ids)
        ready = [row.id for row in chosen if row.state == "confirmed" and row.active]
        if len(ready) < len(chosen):
            flash(gettext("Only mailboxes that are confirmed and active can be fetched."), "warning")
        if not ready:
            return None
        return redirect(url_for("checks.together", id=[checks.ask("fetch", number) for number in ready]))

    def sender_checks_of(self, row: IncomingServer) -> str:
        """Return whose checks of senders are believed, and how that is known."""
        if row.sender_checks == "off":
            return gettext("not used")
        seen = row.checks_seen or {}
        name, count = believed_server(row.sender_checks, row.checked_by, seen), sum(seen.values())
        if row.sender_checks == "set":
            if count >= LEAST_SEEN and not any(is_named(one, name) for one in seen):
                return gettext(
                    "by %(server)s, but none of the last %(count)s emails has a result of it at the top",
                    server=name,
                    count=count,
                )
            return gettext("by %(server)s", server=name)
        if name:
            return gettext("by %(server)s, learned from the emails of this mailbox", server=name)
        if count < LEAST_SEEN:
            return gettext("not known yet: the first emails of this mailbox will show it")
        return gettext("none seen: the emails of this mailbox have no results of a server that always checks them")

    # --- the form

    def create_form(self, obj: Any = None) -> Any:
        return self._dressed(super().create_form(obj))

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj))

    def _dressed(self, form: Any) -> Any:
        for field in (form.kind, form.encryption):
            servers.picks_port(field, PORTS, "kind encryption")
        form.password.shown_if = "authentication=password"
        form.folder.shown_if = "kind=imap"
        form.move_to.shown_if = "after_fetch=move"
        form.after_fetch.choices = [
            replace(choice, render_kw={"data-shown-if": "kind=imap"}) if choice.value == "move" else choice
            for choice in form.after_fetch.choices
        ]
        form.checked_by.shown_if = "sender_checks=set"
        sign_in_words.preselect(form)
        return form

    @property
    def usual_ports(self) -> tuple[int, ...]:
        """The ports that the form offers."""
        return (993, 143, 995, 110)

    def check_of(self, row: IncomingServer) -> ServerCheck | None:
        """Return the last test or fetch of this mailbox that a person asked for."""
        return checks.latest(TESTS, [row.id]).get(row.id)

    def panel_of(self, check: ServerCheck | None) -> Markup:
        """Return the card of a test or fetch."""
        return checks.panel(check)

    def sign_in_of(self, row: IncomingServer) -> Markup:
        """Return the card of the account that the mailbox signs in with, "" for a password."""
        return sign_in_panel.panel("incoming", row)

    def next_fetch(self) -> ScheduledAction | None:
        """Return the action that fetches all mailboxes."""
        if "fetching" not in g:
            g.fetching = db.session.scalar(select(ScheduledAction).where(ScheduledAction.code == "fetch"))
        found: ScheduledAction | None = g.fetching
        return found

    @expose("/<int:number>/state")
    def state_view(self, number: int) -> ResponseReturnValue:
        """Answer the state of a mailbox alone, for an open page."""
        answer: str = self.render("admin/incoming_server_state.html", row=self._row(str(number)), say=say)
        return answer

    def say(self, row: IncomingServer) -> str:
        """Return why the last fetch failed."""
        return say(row.why)  # type: ignore[arg-type]

    def before_save(self, form: Any, row: IncomingServer, is_new: bool) -> None:
        """Check what belongs together; another mailbox has to be tested anew."""
        with servers.rules_of(form), servers.account_noticed(row):
            follows = server_rules.check(row, password_given=bool(form.password.data))
        if "tested_anew" in follows and request.form.get("_then") != "test":
            flash(
                gettext("Server, login or folder has changed: press TEST & CONFIRM. Nothing is fetched until then."),
                "warning",
            )
        if "another_mailbox" in follows and not row.fetch_existing:
            flash(
                gettext(
                    "This is now treated as a different mailbox: existing messages are not fetched, unless you turn on "
                    "“Also fetch existing messages”."
                ),
                "warning",
            )
        if "left_behind" in follows:
            flash(
                gettext(
                    "Some emails that were fetched from the previous mailbox could not be marked as read, moved or "
                    "deleted there. They stay there as they are."
                ),
                "warning",
            )

    def press_test(self, server: IncomingServer) -> ResponseReturnValue:
        """Ask the worker to test the mailbox and to confirm it."""
        checks.ask("incoming_test", server.id)
        return redirect(self.row_url(server))

    def press_distrust(self, server: IncomingServer) -> None:
        """Ask the public authorities about the certificate again."""
        server.trusted_certificate = ""
        db.session.commit()

    def press_fetch(self, server: IncomingServer) -> ResponseReturnValue:
        """Ask the worker to fetch the mailbox now."""
        checks.ask("fetch", server.id)
        return redirect(self.row_url(server))

    def before_delete(self, row: IncomingServer) -> None:
        leave_behind(row.source)
        cut_from(ReceivedMail.incoming_server_id, row.id)
        mailbox_notices.is_over(row.id, now())

    def after_delete(self, row: IncomingServer) -> None:
        checks.forget(TESTS, row.id)
