"""App registrations: how this office is known at Google, Microsoft and other providers, step by step."""

import re
from typing import Any

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from mail.decide import oauth as rules
from mail.queue import access_tokens
from mail.settings import office, sign_in_rules
from models import OauthAccount, OauthProvider, db
from models.oauth import OAUTH_KINDS
from webapp import template_helpers
from webapp.admin import servers
from webapp.admin.base import AdminView, Empty, FieldGroup

NAMES = {"google": "Google", "microsoft": "Microsoft", "other": ""}
KIND_WORDS = {"google": "Google", "microsoft": "Microsoft 365", "other": _l("Other provider")}
FORM_OF_SERVER = re.compile(r"/admin/(outgoing|incoming)-servers/edit\?id=\d+")
WHAT_LEADS = {
    "google": _l("client ID"),
    "microsoft": _l("client ID or the tenant ID"),
    "other": _l("client ID or the issuer address"),
}
FIELDS_OF = {"google": (), "microsoft": ("tenant",), "other": ("issuer", "scopes")}


class OauthProviderView(AdminView):
    """List and form of app registrations."""

    model, page, path = OauthProvider, "oauth_providers", "app-registrations"
    title, one = _l("App Registrations"), _l("app registration")
    lead = _l("How your provider knows CoquiMail. You need one per provider before a mailbox can sign in.")
    trail = (_l("Settings"), _l("Technical"), _l("Email"))
    icon = "key"
    small = fresh_login = True
    can_export = False
    columns = ("name", "kind", "client_id", "secret_expires_at")
    default_sort = "name"
    create_template = edit_template = "admin/oauth_provider.html"
    labels = {
        "kind": _l("Provider"),
        "client_id": _l("Client ID"),
        "client_secret": _l("Client secret"),
        "tenant": _l("Directory (tenant) ID"),
        "issuer": _l("Issuer address"),
        "scopes": _l("Scopes"),
        "secret_expires_at": _l("Secret expires"),
    }
    groups = (
        FieldGroup(
            _l("What the provider shows"),
            ("name", "client_id", "client_secret", "secret_expires_at", "tenant", "issuer", "scopes"),
            _l("The client secret is stored encrypted and is never shown again."),
        ),
    )
    help = {
        "name": _l("Your own name for this registration."),
        "client_secret": _l("Copy the value, not the ID. The provider shows it only once."),
        "secret_expires_at": _l("CoquiMail warns you 14 days before. Leave empty if it does not expire."),
        "tenant": _l("On the overview page of the app. For mailboxes of Outlook.com, enter consumers."),
        "issuer": _l("Where the provider describes itself (OpenID Connect Discovery)."),
        "scopes": _l("What the provider calls access to email by IMAP, POP3 and SMTP. Leave empty to use the default."),
    }
    examples = {
        "issuer": "https://login.provider.com",
        "scopes": "openid email offline_access mail",
    }
    form_args = {
        "name": servers.words(most=120),
        "client_id": servers.words(most=255),
        "tenant": servers.words(most=255, required=False),
        "issuer": servers.words(most=500, required=False),
        "scopes": servers.words(most=1000, required=False),
    }
    formats = {
        "kind": lambda view, row: KIND_WORDS[row.kind],
        "secret_expires_at": lambda view, row: template_helpers.at(row.secret_expires_at),
    }
    empty = Empty(
        "key",
        _l("No app registrations yet"),
        _l(
            "Google and Microsoft let a program sign in only if it is registered with them. The form guides you "
            "through it, step by step. It takes about ten minutes, once per provider."
        ),
    )

    def create_form(self, obj: Any = None) -> Any:
        form = self._dressed(super().create_form(obj), self.kind_of(None))
        if request.method == "GET":
            form.name.data = NAMES[self.kind_of(None)]
        return form

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj), self.kind_of(obj))

    def _dressed(self, form: Any, kind: str) -> Any:
        if kind == "microsoft":
            form.client_id.description = gettext("Microsoft calls it “Application (client) ID”.")
        for name in ("tenant", "issuer", "scopes"):
            if name not in FIELDS_OF[kind]:
                del form[name]
        if kind == "google":
            del form.secret_expires_at
        return form

    def kind_of(self, row: OauthProvider | None) -> str:
        """Return the kind of a registration, or of the one that is being made."""
        if row is not None:
            return row.kind
        asked = request.args.get("kind", "")
        return asked if asked in OAUTH_KINDS else "google"

    @property
    def kinds(self) -> dict[str, Any]:
        """The kinds to choose from, in words."""
        return KIND_WORDS

    @property
    def redirect_address(self) -> str:
        """The redirect address that has to be registered at the provider."""
        return rules.redirect_address(office.base_url())

    @property
    def is_pasted(self) -> bool:
        """Whether browsers can't come back automatically: this office has no address that providers accept."""
        return not self.redirect_address.startswith(office.base_url().rstrip("/"))

    @property
    def scopes(self) -> dict[str, list[str]]:
        """What is asked for at each kind of provider."""
        return {kind: words.split() for kind, words in rules.SCOPES.items()}

    def warning_of(self, row: OauthProvider) -> str:
        """Return what follows for its mailboxes if a registration is changed, "" where it has none."""
        connected = sign_in_rules.connected_by(row)
        words = ngettext(
            "%(num)s mailbox is connected with this registration. If you change the %(what)s, it must be connected "
            "again.",
            "%(num)s mailboxes are connected with this registration. If you change the %(what)s, they must be "
            "connected again.",
            connected,
            what=WHAT_LEADS[row.kind],
        )
        return words if connected else ""

    def before_save(self, form: Any, row: OauthProvider, is_new: bool) -> None:
        """Check what belongs together."""
        if is_new:
            row.kind = self.kind_of(None)
        with servers.rules_of(form):
            forgotten = sign_in_rules.check_provider(row)
        if forgotten:
            words = ngettext(
                "This is another app or provider now: %(num)s mailbox must be connected again (Connected Accounts).",
                "This is another app or provider now: %(num)s mailboxes must be connected again (Connected Accounts).",
                forgotten,
            )
            flash(words, "warning")
        if not is_new:
            access_tokens.try_again(row.id)

    def _next_page(self, row: OauthProvider, words: str) -> ResponseReturnValue:
        """Lead back to the server whose page lacked the registration."""
        page = request.args.get("server", "")
        if FORM_OF_SERVER.fullmatch(page):
            flash(gettext("Registered. Now press Connect."), "success")
            return redirect(page)
        return super()._next_page(row, words)

    def why_not_delete(self, row: OauthProvider) -> str:
        used = db.session.scalar(select(OauthAccount.address).where(OauthAccount.provider_id == row.id).limit(1))
        if used is None:
            return ""
        return gettext("%(address)s is connected by it. Remove that account first.", address=used)
