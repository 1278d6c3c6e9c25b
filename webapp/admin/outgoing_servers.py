"""Outgoing servers: the mail servers that take our mail, which From each of them may send, and whether it works."""

from typing import Any

from flask import g, redirect
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup, escape
from sqlalchemy import inspect, select
from wtforms import Field, Form
from wtforms.validators import ValidationError

from mail.decide.servers import FilterError, parse_filter, read_filter
from mail.outgoing import usage
from mail.sentences import say
from mail.settings import office
from mail.settings.config import settings
from mail.settings.parameters import DEFAULT_FROM_FILTER
from mail.settings.wake import wake
from models import OutgoingServer, ServerCheck
from webapp import checks, template_helpers
from webapp.admin import servers
from webapp.admin.base import AdminView, Button, Empty, FieldGroup, YesNo
from webapp.fields import SecretTextField

PORTS = {"tls": 465, "starttls": 587, "none": 25}
PORTS_WITHOUT_25 = {"tls": 465, "starttls": 587, "none": 2525}
OFFERED_PORTS = (465, 587, 2525)
TESTS = ("outgoing_test",)


def an_open_port(form: Form, field: Field) -> None:
    """Refuse port 25 where it is blocked."""
    if field.data == 25 and settings().hosting == "online":
        raise ValidationError(
            gettext(
                "Port 25 is blocked here for security reasons: it is the port of unencrypted mail between servers, and "
                "of spam. Use 465, 587 or 2525; your provider offers at least one of them."
            )
        )


def a_filter(form: Form, field: Field) -> None:
    """Refuse a From filter that could never match."""
    try:
        parse_filter(field.data)
    except FilterError as error:
        raise ValidationError(str(error)) from error


class OutgoingServerView(AdminView):
    """List and form of outgoing servers."""

    model, page, path = OutgoingServer, "outgoing_servers", "outgoing-servers"
    title, one = _l("Outgoing Email Servers"), _l("outgoing email server")
    lead = _l(
        "The mail servers that take your mail. Which one sends a mail is decided by its From address, then by priority."
    )
    trail = (_l("Settings"), _l("Technical"))
    icon = "server"
    small = True
    columns = ("name", "host", "from_filter", "priority", "active", "last_test")
    sortable, searchable = ("name", "priority"), ("name", "host", "from_filter", "comment")
    filters = (YesNo("active", _l("Active")),)
    default_sort = "priority"
    exported = ("name", "host", "port", "encryption", "authentication", "user", "from_filter", "priority", "active")
    list_template = "admin/servers.html"
    create_template = edit_template = "admin/outgoing_server.html"
    labels = {
        "host": _l("SMTP server"),
        "encryption": _l("Encryption"),
        "port": _l("Port"),
        "authentication": _l("Authentication"),
        "user": _l("User"),
        "client_certificate": _l("Client certificate"),
        "client_key": _l("Key of the certificate"),
        "from_filter": _l("FROM Filtering"),
        "priority": _l("Priority"),
        "rewrite": _l("From without a filter"),
        "verify_tls": _l("Check the certificate of the server"),
        "helo": _l("HELO name"),
        "last_test": _l("Last test"),
    }
    groups = (
        FieldGroup(
            _l("Server"),
            ("name", "host", "encryption", "port"),
            _l("What your mail provider calls “SMTP settings”, in the form it gives them."),
        ),
        FieldGroup(
            _l("Log-in"),
            ("authentication", "user", "password", "client_certificate", "client_key"),
            _l("Passwords and keys are kept encrypted and are never shown again."),
        ),
        FieldGroup(_l("Which mail it sends"), ("from_filter", "priority", "active")),
        FieldGroup(_l("Details"), ("rewrite", "verify_tls", "helo"), developer=True),
        FieldGroup(_l("Notes"), ("comment",)),
    )
    choices = {
        "encryption": servers.ENCRYPTIONS,
        "authentication": (
            ("password", _l("User and password")),
            ("certificate", _l("Client certificate")),
            ("none", _l("None")),
        ),
        "rewrite": (
            ("not_ours", _l("Rewrite what is not ours")),
            ("never", _l("Keep every From as it is")),
            ("always", _l("Rewrite every From")),
        ),
    }
    help = {
        "name": _l("Your own name for it; it appears where CoquiMail explains why a mail went this way."),
        "host": _l("The name of the server as the provider writes it."),
        "encryption": _l("Choosing one fills in its usual port."),
        "port": _l("465 for TLS, 587 for STARTTLS; 2525 where the network blocks those."),
        "user": _l("Often the whole mail address."),
        "password": _l("Many providers want a special password for programs (“app password”)."),
        "client_certificate": _l("The certificate as PEM text: the lines from BEGIN CERTIFICATE to END CERTIFICATE."),
        "client_key": _l("The private key as PEM text, without a password."),
        "from_filter": _l(
            "The domains and addresses that this server may send as, separated by commas. A mail whose From is one of "
            "them goes this way; any other From is replaced by the default address when this server has to send it. "
            "Empty: it takes every From. example.com does not cover mail.example.com. Only this field counts here: a "
            "server of your own never looks at the system parameter mail.default.from_filter."
        ),
        "priority": _l("If several servers fit, the lowest number goes first."),
        "active": _l("A server that is switched off sends nothing."),
        "rewrite": _l(
            "Counts only without FROM Filtering. Whether the From of a stranger, whose domain may forbid that we send "
            "as it, is replaced by the default address; the name stays and answers still reach the author."
        ),
        "verify_tls": _l("Switch this off only for a server of your own whose certificate you know to be in order."),
        "helo": _l("The name this machine introduces itself with. Empty: its own name."),
        "comment": _l("For you and your colleagues: account numbers, whom to call, limits."),
    }
    examples = {
        "name": "Postmark, transactional",
        "host": "smtp.mycompany.com",
        "user": "notifications@mycompany.com",
        "from_filter": "mycompany.com, sales@mycompany.net",
        "priority": "10",
    }
    form_overrides = {"client_key": SecretTextField}
    form_args = {
        "name": servers.words(most=120),
        "host": servers.HOST,
        "port": servers.port(an_open_port),
        "user": servers.words(most=320, required=False),
        "from_filter": {"validators": [a_filter]},
        "priority": servers.number(0, 10_000, _l("A whole number from 0 to 10,000; usual is 10, then 20.")),
        "helo": servers.words(most=255, required=False),
        "comment": {"render_kw": {"rows": 3}},
    }
    formats = {
        "host": lambda view, row: view.host_of(row),
        "from_filter": lambda view, row: view.filter_of(row),
        "last_test": lambda view, row: view.last_test_of(row),
    }
    buttons = (Button("test", _l("Test Connection"), "test-pipe", save_first=True),)
    empty = Empty(
        "server",
        _l("No server of your own yet"),
        _l(
            "Mail goes through the default server, which is set up already. Add one if your mail has to leave through "
            "your own mail provider, or mailings through another one."
        ),
    )

    # --- the list

    def host_of(self, row: OutgoingServer) -> Markup:
        """Return host, port and encryption, with a warning when nobody checks who is listening there."""
        found = Markup('<span class="wrap-anywhere">{}:{}</span> <span class="text-secondary">{}</span>').format(
            row.host, row.port, servers.ENCRYPTION_WORDS[row.encryption]
        )
        if row.encryption != "none" and not row.verify_tls:
            found += Markup(" ") + badge("doubt", gettext("certificate not checked"))
        return found

    def filter_of(self, row: OutgoingServer) -> Any:
        """Return the filter, or the words for none."""
        if not row.from_filter.strip():
            return Markup('<span class="text-secondary">{}</span>').format(gettext("every From"))
        return row.from_filter

    def last_test_of(self, row: OutgoingServer) -> Markup:
        """Return how the last test of a server ended."""
        check = self._tests().get(row.id)
        if check is None:
            return badge("doubt", gettext("never tested"))
        if check.state == "failed":
            words = badge("bad", gettext("failed"), say(checks.failure_of(check)))
        elif check.state == "done":
            words = badge("good", gettext("OK"))
        else:
            words = badge("busy", gettext("being tested"))
        return words + Markup(" ") + template_helpers.ago(check.requested_at)

    def _tests(self) -> dict[int, ServerCheck]:
        if "tests_of_outgoing" not in g:
            g.tests_of_outgoing = checks.latest(TESTS, select(OutgoingServer.id))
        found: dict[int, ServerCheck] = g.tests_of_outgoing
        return found

    def row_tools(self, row: OutgoingServer) -> Markup:
        """Return the button that tests a server from the list."""
        url = self.get_url(".press", button="test")
        return checks.button_of_row(url, gettext("Test Connection"), "test-pipe", row.id)

    # --- the form

    def create_form(self, obj: Any = None) -> Any:
        return self._dressed(super().create_form(obj))

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj))

    def _dressed(self, form: Any) -> Any:
        ports = PORTS_WITHOUT_25 if settings().hosting == "online" else PORTS
        servers.picks_port(form.encryption, ports)
        form.user.shown_if = form.password.shown_if = "authentication=password"
        form.client_certificate.shown_if = form.client_key.shown_if = "authentication=certificate"
        return form

    @property
    def usual_ports(self) -> tuple[int, ...]:
        """The ports that the form offers."""
        return OFFERED_PORTS

    def panel_of(self, row: OutgoingServer) -> Markup:
        """Return the card of the server's last test."""
        return checks.panel(self._tests().get(row.id))

    def warnings_of(self, row: OutgoingServer) -> list[str]:
        """Return what an admin should know about this server as it is saved."""
        known = office.load().office
        found = []
        filters, general = read_filter(row.from_filter), read_filter(DEFAULT_FROM_FILTER.get())
        if not known.custom_servers:
            found.append(
                gettext(
                    "Custom Email Servers are switched off under General Settings: this server sends nothing but "
                    "mailings that name it."
                )
            )
        if filters and general and set(filters) != set(general):
            found.append(
                gettext(
                    "The system parameter mail.default.from_filter says “%(general)s”, this server says “%(own)s”. "
                    "Both are right where they stand: the parameter counts for the default server only, this server "
                    "looks at its own field alone.",
                    general=DEFAULT_FROM_FILTER.get(),
                    own=row.from_filter,
                )
            )
        default = known.default_address
        if filters and default and default not in filters and default.rpartition("@")[2] not in filters:
            found.append(
                gettext(
                    "When this server has to send another From, the default address %(address)s takes its place, and "
                    "that is not in FROM Filtering either: the server may refuse the mail. Add it here, or change the "
                    "system parameter mail.default.from.",
                    address=default,
                )
            )
        if row.encryption != "none" and not row.verify_tls:
            found.append(
                gettext(
                    "The certificate of this server is not checked: anybody who stands between could read passwords "
                    "and mails. The switch is under Details, in developer mode."
                )
            )
        if row.encryption == "none" and row.authentication == "password":
            found.append(gettext("User and password travel unencrypted. Choose STARTTLS or TLS if the server has it."))
        return found

    def before_save(self, form: Any, row: OutgoingServer, is_new: bool) -> None:
        """Check what belongs together; a server in use stays on."""
        row.from_filter = row.from_filter.strip()
        if row.authentication == "password":
            if not row.user:
                servers.refuse(form.user, gettext("Write the user, or choose another authentication."))
            if not row.password:
                servers.refuse(form.password, gettext("Write the password, or choose another authentication."))
        if row.authentication == "certificate":
            if row.encryption == "none":
                servers.refuse(form.encryption, gettext("A certificate can only be shown over STARTTLS or TLS."))
            if not row.client_certificate or not row.client_key:
                servers.refuse(form.client_certificate, gettext("Paste both: the certificate and its key."))
        if not is_new and not row.active and inspect(row).attrs.active.history.has_changes():
            reason = self._in_use(row)
            if reason:
                servers.refuse(form.active, reason)

    def after_save(self, row: OutgoingServer, is_new: bool) -> None:
        office.forget()
        wake()  # what waits for a server may go now

    def press_test(self, server: OutgoingServer) -> ResponseReturnValue:
        """Ask the worker to test the server as every address that it would send as."""
        checks.ask("outgoing_test", server.id)
        return redirect(self.row_url(server))

    # --- deleting

    def why_not_delete(self, row: OutgoingServer) -> str:
        return self._in_use(row)

    def _in_use(self, row: OutgoingServer) -> str:
        places = usage.of_server(row.id)
        if not places:
            return ""
        return gettext(
            "“%(server)s” can't be deleted or switched off: %(places)s. Choose another server there first.",
            server=row.name,
            places="; ".join(say(place) for place in places),
        )

    def after_delete(self, row: OutgoingServer) -> None:
        checks.forget(TESTS, row.id)
        office.forget()


def badge(look: str, words: str, title: str = "") -> Markup:
    """Return a badge in one of the looks of states."""
    return Markup('<span class="state state-{}"{}>{}</span>').format(
        look, Markup(' title="{}"').format(title) if title else "", escape(words)
    )
