"""Outgoing servers: the mail servers that take our mail, which From each of them may send, and whether it works."""

from typing import Any

from flask import flash, g, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup, escape
from sqlalchemy import select

from mail.deliverability.requests import ask_where_changed
from mail.outgoing import another_server, server_rules
from mail.queue import connections, quota
from mail.sentences import say
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.providers import PROVIDERS, Provider, at
from mail.settings.wake import wake
from models import OutgoingServer, ServerCheck, db
from webapp import checks, sign_in_words, template_helpers, waiting_words
from webapp.admin import provider_words, server_notes, servers
from webapp.admin.base import AdminView, Button, Empty, FieldGroup, YesNo
from webapp.fields import SecretTextField
from webapp.pages import sign_in as sign_in_panel

PORTS = {"tls": 465, "starttls": 587, "none": 25}
PORTS_WITHOUT_25 = {"tls": 465, "starttls": 587, "none": 2525}
OFFERED_PORTS = (465, 587, 2525)
FILLED = (
    "name",
    "host",
    "port",
    "encryption",
    "authentication",
)  # the fields that a provider fills in, besides its limits
LIMITS = ("per_second", "per_minute", "per_hour", "per_day", "per_connection")
MOST_CONNECTIONS = 1_000
NOT_A_LIMIT = _l("A whole number from 1 to 10,000,000, or empty for no limit.")


class OutgoingServerView(AdminView):
    """List and form of outgoing servers."""

    model, page, path = OutgoingServer, "outgoing_servers", "outgoing-servers"
    title, one = _l("Outgoing Email Servers"), _l("outgoing email server")
    lead = _l("The mail servers that send your emails. The From address decides which one is used, then the priority.")
    trail = (_l("Settings"), _l("Technical"))
    icon = "server"
    small = fresh_login = True
    columns = ("name", "host", "from_filter", "priority", "active", "last_test")
    sortable, searchable = ("name", "priority"), ("name", "host", "from_filter", "comment")
    filters = (YesNo("active", _l("Active")),)
    default_sort, eager = "priority", (OutgoingServer.oauth_account,)
    exported = ("name", "host", "port", "encryption", "authentication", "user", "from_filter", "priority", "sends_from",
                "active")  # fmt: skip
    list_template = "admin/servers.html"
    create_template = edit_template = "admin/outgoing_server.html"
    labels = {
        "host": _l("SMTP server"),
        "encryption": _l("Encryption"),
        "port": _l("Port"),
        "authentication": _l("Authentication"),
        "user": _l("User"),
        "client_certificate": _l("Client certificate"),
        "client_key": _l("Certificate key"),
        "from_filter": _l("FROM Filtering"),
        "priority": _l("Priority"),
        "sends_from": _l("Sends from"),
        "per_second": _l("Emails per second"),
        "per_minute": _l("Emails per minute"),
        "per_hour": _l("Emails per hour"),
        "per_day": _l("Emails per day"),
        "connections": _l("Connections at once"),
        "per_connection": _l("Emails per connection"),
        "rewrite": _l("Other From addresses"),
        "verify_tls": _l("Verify the server certificate"),
        "helo": _l("HELO name"),
        "headers": _l("Extra headers"),
        "verp": _l("Unique bounce addresses"),
        "dkim": _l("DKIM signature"),
        "last_test": _l("Last test"),
    }
    groups = (
        FieldGroup(
            _l("Server"),
            ("name", "host", "encryption", "port"),
            _l("Your email provider calls these “SMTP settings”."),
        ),
        FieldGroup(
            _l("Login"),
            ("authentication", "user", "password", "client_certificate", "client_key"),
            _l("Passwords and keys are stored encrypted and are never shown again."),
        ),
        FieldGroup(_l("Emails sent through this server"), ("from_filter", "priority", "sends_from", "active")),
        FieldGroup(
            _l("Limits"),
            (*LIMITS[:4], "connections", "per_connection"),
            _l("What your provider allows. What exceeds a limit waits for the next window; nothing is lost."),
        ),
        FieldGroup(_l("Details"), ("rewrite", "dkim", "verify_tls", "helo", "headers", "verp"), developer=True),
        FieldGroup(_l("Notes"), ("comment",)),
    )
    choices = {
        "encryption": servers.ENCRYPTIONS,
        "authentication": (
            ("password", _l("User and password")),
            ("oauth2", servers.SIGN_IN),
            ("certificate", _l("Client certificate")),
            ("none", _l("None")),
        ),
        "rewrite": servers.REWRITES,
        "dkim": servers.SIGNERS,
        "verp": servers.UNIQUE_BOUNCES,
    }
    help = {
        "name": _l("Your own name for this server, shown where CoquiMail explains why an email was sent this way."),
        "host": _l("The server name given by the provider."),
        "encryption": _l("Sets the usual port."),
        "port": _l("465 for TLS, 587 for STARTTLS; 2525 where the network blocks those."),
        "authentication": _l("To sign in with a provider, save first, then press Connect at the top of the page."),
        "user": _l("Often the full email address."),
        "password": _l("Many providers require a special password for programs (“app password”)."),
        "client_certificate": _l("The certificate as PEM text: the lines from BEGIN CERTIFICATE to END CERTIFICATE."),
        "client_key": _l("The private key as PEM text, without a password."),
        "from_filter": _l(
            "The domains and addresses that this server may send from, separated by commas. Emails from one of them "
            "use this server; other From addresses are replaced by the default address when this server has to send "
            "them. Leave empty to use it for every From address; external addresses are "
            "then replaced by the default address, unless Other From addresses (developer mode) says otherwise. "
            "example.com does not include mail.example.com. This field "
            "applies to this server only; the system parameter mail.default.from_filter applies to the default server "
            "only."
        ),
        "priority": _l("If several servers match, the lowest number is used first."),
        "sends_from": _l(
            "Only for the check of your DNS (Email ‣ Deliverability). The public IP addresses that receivers see, or "
            "the name that the provider tells you to include in SPF, such as spf.provider.com. Enter it for a server "
            "in your own network, and for a provider that CoquiMail does not know; otherwise leave it empty."
        ),
        "active": _l("Off: this server sends nothing."),
        "per_second": _l("Leave a field empty for no limit."),
        "per_day": _l("A day begins at 00:00 UTC."),
        "connections": _l(
            "At most this many, all workers together. From 2 on, one is kept for personal emails; with 1, mailings "
            "give way to them."
        ),
        "per_connection": _l("After that many emails, CoquiMail opens a new connection."),
        "rewrite": _l(
            "Applies only without FROM Filtering. External domains may not allow us to send from their addresses: "
            "choose whether these are replaced by the default address. The name is kept, and replies still reach the "
            "author."
        ),
        "verify_tls": _l("Turn this off only for your own server whose certificate you trust."),
        "helo": _l("The name this server introduces itself with. Leave empty to use its own name."),
        "headers": _l(
            "Added to every email sent through this server, one per line. Some providers read options or tags from "
            "them. Recipients can read them."
        ),
        "verp": _l(
            "A bounce address of its own for each email names the recipient of a returned one. Choose No for a "
            "provider that refuses or replaces them. The system parameter mail.bounce.verp turns them on or off "
            "everywhere."
        ),
        "dkim": _l(
            "Providers with DKIM records of their own sign emails themselves. For other servers CoquiMail signs, with "
            "the key that you create on the page Deliverability."
        ),
        "comment": _l("For you and your colleagues: account numbers, contacts, limits."),
    }
    examples = {
        "name": "Postmark, transactional",
        "host": "smtp.mycompany.com",
        "user": "notifications@mycompany.com",
        "from_filter": "mycompany.com, sales@mycompany.net",
        "priority": "10",
        "sends_from": "203.0.113.7",
        "headers": "X-SES-CONFIGURATION-SET: office",
    }
    form_overrides = {"client_key": SecretTextField}
    form_args = {
        "name": servers.words(most=120),
        "host": servers.HOST,
        "port": servers.port(servers.an_open_port),
        "user": servers.words(most=320, required=False),
        "from_filter": {"validators": [servers.a_filter]},
        "sends_from": {"filters": [servers.trimmed], "validators": [servers.at_most(1000), servers.a_place]},
        "priority": servers.number(-10_000, 10_000, _l("A whole number from -10,000 to 10,000; usually 10, then 20.")),
        **dict.fromkeys(LIMITS, servers.optional_number(1, 10_000_000, NOT_A_LIMIT)),
        "connections": servers.optional_number(
            1, MOST_CONNECTIONS, _l("A whole number from 1 to 1,000, or empty for no limit.")
        ),
        "helo": servers.words(most=255, required=False),
        "headers": {"render_kw": {"rows": 3, "spellcheck": "false"}},
        "comment": {"render_kw": {"rows": 3}},
    }
    formats = {
        "host": lambda view, row: view.host_of(row),
        "from_filter": lambda view, row: view.filter_of(row),
        "active": lambda view, row: view.active_of(row),
        "last_test": lambda view, row: view.last_test_of(row),
    }
    provider_words = provider_words
    buttons = (
        Button("test", _l("Test Connection"), "test-pipe", save_first=True),
        Button("mail", _l("Send me a test email"), "send", save_first=True, later=True),
        Button("self_test", _l("Test sending and receiving"), "refresh"),
        Button(
            "use",
            _l("Use it anyway"),
            "player-play",
            confirm=_l("Use this server although no test has passed? What it refuses is marked as failed."),
            when=lambda row: row.draft,
        ),
        Button(
            "distrust", _l("Stop trusting its certificate"), "shield", when=lambda row: bool(row.trusted_certificate)
        ),
    )
    empty = Empty(
        "server",
        _l("No servers yet"),
        _l(
            "Until you add one, emails go through the default server, or to the practice mailbox if there is none. "
            "Add a server to send through your own provider: choose it from the list, and only user and password are "
            "left to enter."
        ),
    )

    # --- the list

    def host_of(self, row: OutgoingServer) -> Markup:
        """Return host, port and encryption, with a warning when nobody checks who is listening there."""
        found = Markup('<span class="wrap-anywhere">{}:{}</span> <span class="text-secondary">{}</span>').format(
            row.host, row.port, servers.ENCRYPTION_WORDS[row.encryption]
        )
        if row.encryption != "none" and not row.verify_tls:
            found += Markup(" ") + badge("doubt", gettext("certificate not verified"))
        return found

    def filter_of(self, row: OutgoingServer) -> Any:
        """Return the filter, or the words for none."""
        if not row.from_filter.strip():
            return Markup('<span class="text-secondary">{}</span>').format(gettext("every From address"))
        return row.from_filter

    def active_of(self, row: OutgoingServer) -> Markup:
        """Return whether a server sends, that a new one has yet to pass its test, and what its account lacks."""
        state = badge("wait", gettext("draft")) if row.draft else template_helpers.yes_no(row.active)
        return state + sign_in_words.badge_of(row)

    def last_test_of(self, row: OutgoingServer) -> Markup:
        """Return how the last test of a server ended."""
        check = self._tests().get(row.id)
        if check is None:
            return badge("doubt", gettext("never tested"))
        if checks.is_outdated(check):
            words = badge("off", gettext("outdated"), gettext("The settings have changed since this test. Test again."))
        elif check.state == "failed":
            words = badge("bad", gettext("failed"), say(checks.failure_of(check)))
        elif check.state == "done":
            words = badge("good", gettext("OK"))
        else:
            words = badge("busy", gettext("test in progress"))
        return words + Markup(" ") + template_helpers.ago(check.requested_at)

    def _tests(self) -> dict[int, ServerCheck]:
        if "tests_of_outgoing" not in g:
            g.tests_of_outgoing = checks.latest(("outgoing_test",), select(OutgoingServer.id))
        found: dict[int, ServerCheck] = g.tests_of_outgoing
        return found

    def row_tools(self, row: OutgoingServer) -> Markup:
        """Return the buttons for a server in the list: to test it, and to use a draft without that."""
        tools = Markup()
        for button in self.buttons_of(row):
            if button.name in ("test", "use"):
                url = self.get_url(".press", button=button.name)
                tools += checks.button_of_row(url, button.label, button.icon, row.id, button.confirm)
        return tools

    # --- the form

    def create_form(self, obj: Any = None) -> Any:
        form = self._dressed(super().create_form(obj), None)
        provider = self.provider_of(None)
        if provider and request.method == "GET":
            for name in FILLED:
                form[name].data = getattr(provider, name)
            for name, most in provider.filled_limits().items():
                form[name].data = most
        return form

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj), obj)

    def provider_of(self, row: OutgoingServer | None) -> Provider | None:
        """Return the provider whose advice the form shows: the chosen one, later the one of the host."""
        return at(row.host) if row else PROVIDERS.get(request.args.get("provider", ""))

    def _dressed(self, form: Any, row: OutgoingServer | None) -> Any:
        if row is None or row.draft or "as_draft" in request.form:  # its test may have passed while the form was open
            del form.active  # the test decides, or "Use it anyway"
        ports = PORTS_WITHOUT_25 if settings().hosting == "online" else PORTS
        servers.picks_port(form.encryption, ports)
        form.user.shown_if, form.password.shown_if = "authentication=password,oauth2", "authentication=password"
        form.client_certificate.shown_if = form.client_key.shown_if = "authentication=certificate"
        sign_in_words.preselect(form)
        provider = self.provider_of(row)
        if provider:
            form.host.description = provider.choose
            form.user.description, form.password.description = provider.user, provider.password
        return form

    @property
    def usual_ports(self) -> tuple[int, ...]:
        """The ports that the form offers."""
        return OFFERED_PORTS

    def panel_of(self, row: OutgoingServer) -> Markup:
        """Return the cards of the server's last test and of the last test email."""
        return checks.panels(row.id)

    def sign_in_of(self, row: OutgoingServer) -> Markup:
        """Return the card of the account that the server signs in with, "" for other ways."""
        return sign_in_panel.panel("outgoing", row)

    def domains_of(self, row: OutgoingServer) -> list[str]:
        """Return the domains that this server sends as, whose DNS is checked."""
        return server_notes.domains(row)

    def notes_of(self, row: OutgoingServer) -> list[str]:
        """Return how much of each limit is used, and what sending taught us about this server."""
        return [*server_notes.usage(row), *waiting_words.of_server(row.id, row.name), *server_notes.learned(row)]

    def warnings_of(self, row: OutgoingServer) -> list[str]:
        """Return what an admin should know about this server as it is saved."""
        return server_notes.warnings(row)

    def before_save(self, form: Any, row: OutgoingServer, is_new: bool) -> None:
        """Check what belongs together; a new server is a draft until its test passes."""
        with servers.rules_of(form), servers.account_noticed(row):
            server_rules.check(row, password_given=bool(form.password.data))
        if is_new:
            row.draft, row.active = True, False

    def after_save(self, row: OutgoingServer, is_new: bool) -> None:
        ask_where_changed(now())
        wake()  # what waits for a server may go now

    def press_test(self, server: OutgoingServer) -> ResponseReturnValue:
        """Ask the worker to test the server as every address that it would send as."""
        checks.ask("outgoing_test", server.id)
        return redirect(self.row_url(server))

    def press_mail(self, server: OutgoingServer) -> ResponseReturnValue:
        """Ask the worker to send a real email through the server to the person who is here."""
        checks.ask("outgoing_mail", server.id)
        return redirect(self.row_url(server))

    def press_self_test(self, server: OutgoingServer) -> ResponseReturnValue:
        """Show the page of the test from end to end."""
        return redirect(self.get_url("self_test.show", server_id=server.id))

    def press_use(self, server: OutgoingServer) -> None:
        """Put a new server to use although no test has passed."""
        server_rules.activate(server)
        db.session.commit()
        wake()
        flash(gettext("%(name)s is active now.", name=server.name), "success")

    def press_distrust(self, server: OutgoingServer) -> None:
        """Ask the public authorities about the certificate again."""
        server.trusted_certificate = ""
        db.session.commit()

    # --- deleting

    def why_not_delete(self, row: OutgoingServer) -> str:
        return say(server_rules.in_use(row))

    def before_delete(self, row: OutgoingServer) -> None:
        another_server.prepare_deletion(row, now())

    def after_delete(self, row: OutgoingServer) -> None:
        checks.forget(checks.OUTGOING, row.id)
        quota.forget(row.id)
        connections.forget_learned(row.id)
        ask_where_changed(now())


def badge(look: str, words: str, title: str = "") -> Markup:
    """Return a badge in one of the looks of states."""
    return Markup('<span class="state state-{}"{}>{}</span>').format(
        look, Markup(' title="{}"').format(title) if title else "", escape(words)
    )
