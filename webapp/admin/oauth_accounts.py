"""Connected accounts: the mailboxes that signed in at a provider, how long that holds, and which servers use them."""

from typing import Any

from flask import flash, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import select

from mail.sentences import say
from models import IncomingServer, OauthAccount, OutgoingServer, db
from webapp import sign_in_words, template_helpers
from webapp.admin.base import AdminView, Button, Empty
from webapp.admin.outgoing_servers import badge


class OauthAccountView(AdminView):
    """List of connected accounts, and the page of each."""

    model, page, path = OauthAccount, "oauth_accounts", "connected-accounts"
    title, one = _l("Connected Accounts"), _l("connected account")
    lead = _l("Mailboxes that sign in with Google, Microsoft or another provider instead of a password.")
    trail = (_l("Settings"), _l("Technical"), _l("Email"))
    icon = "link"
    small = fresh_login = True
    can_create = can_edit = can_export = False
    details_template = "admin/oauth_account.html"
    columns = ("address", "provider", "state", "holds", "used_by")
    details = ("address", "provider", "state", "why", "holds", "connected_at", "refreshed_at", "used_by")
    eager = (OauthAccount.provider,)
    default_sort = "address"
    labels = {
        "address": _l("Mailbox"),
        "provider": _l("App registration"),
        "why": _l("Reason"),
        "holds": _l("Access lasts"),
        "used_by": _l("Used by"),
        "connected_at": _l("Connected"),
        "refreshed_at": _l("Last renewed"),
    }
    formats = {
        "state": lambda view, row: view.state_of(row),
        "why": lambda view, row: say(row.why),
        "holds": lambda view, row: sign_in_words.holds(row),
        "used_by": lambda view, row: view.used_by(row),
        "connected_at": lambda view, row: template_helpers.ago(row.connected_at),
        "refreshed_at": lambda view, row: template_helpers.ago(row.refreshed_at),
    }
    buttons = (Button("connect", _l("Connect again"), "refresh", look="primary"),)
    empty = Empty(
        "link",
        _l("No connected accounts yet"),
        _l(
            "On the page of an outgoing or incoming server, choose “Sign in with Google, Microsoft or another "
            "provider” as authentication, save, and press Connect."
        ),
    )

    def state_of(self, row: OauthAccount) -> Markup:
        """Return whether an account can be used."""
        return badge(*sign_in_words.state_of(row), say(row.why))  # type: ignore[arg-type]

    def used_by(self, row: OauthAccount) -> Any:
        """Return links to the servers that sign in with an account."""
        places: tuple[tuple[Any, str], ...] = (
            (OutgoingServer, "outgoing_servers"),
            (IncomingServer, "incoming_servers"),
        )
        found = [
            Markup('<a href="{}">{}</a>').format(url_for(f"{page}.edit_view", id=server.id), server.name)
            for model, page in places
            for server in db.session.scalars(select(model).where(model.oauth_account_id == row.id).order_by(model.id))
        ]
        return Markup(", ").join(found) if found else gettext("no server")

    def press_connect(self, row: OauthAccount) -> Any:
        """Begin a new sign-in for the same mailbox, in the same way."""
        from webapp.pages import sign_in

        return sign_in.begin(row, row.flow, self.row_url(row))

    def withdrawal(self, row: OauthAccount) -> str:
        """Return where the permission of an account is withdrawn at its provider."""
        return sign_in_words.withdrawal(row)

    def before_delete(self, row: OauthAccount) -> None:
        if words := sign_in_words.withdrawal(row):
            flash(words, "info")

    def why_not_delete(self, row: OauthAccount) -> str:
        for model in (OutgoingServer, IncomingServer):
            name = db.session.scalar(select(model.name).where(model.oauth_account_id == row.id).limit(1))
            if name is not None:
                return gettext("The server %(name)s signs in with it. Change its authentication first.", name=name)
        return ""
