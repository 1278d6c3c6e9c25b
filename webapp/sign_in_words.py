"""Connected accounts in words: whether they can be used, and for how long."""

from datetime import datetime
from typing import Any

from flask import request
from flask_babel import format_date, gettext, ngettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup

from mail.sentences import say
from mail.settings.clock import now
from models import IncomingServer, OauthAccount, OutgoingServer

STATES: dict[str, tuple[str, Any]] = {  # look and word of a badge
    "new": ("wait", _l("not connected")),
    "connected": ("good", _l("connected")),
    "refused": ("bad", _l("connect again")),
}
NOT_RENEWED = ("doubt", _l("not renewed"))
FLOWS = {
    "code": _l("In this browser"),
    "device": _l("With a code, in any browser"),
    "client": _l("As the app itself (shared mailboxes)"),
}


def ends_at(account: OauthAccount) -> datetime | None:
    """Return when an account stops working, as far as that is known: its permission, or the secret of the app."""
    return min(filter(None, (account.refresh_expires_at, account.provider.secret_expires_at)), default=None)


def holds(account: OauthAccount) -> str:
    """Return how long an account works without anybody doing something."""
    if account.state != "connected" or (account.why or {}).get("code") == "account_unreadable":
        return "–"
    end = ends_at(account)
    if end is None:
        return gettext("until it is revoked")
    on, days = format_date(end), (end - now()).days
    if days < 0:
        return gettext("ended on %(date)s", date=on)
    return ngettext("until %(date)s (%(num)s day left)", "until %(date)s (%(num)s days left)", days, date=on)


def withdrawal(account: OauthAccount) -> str:
    """Return where the permission of an account is withdrawn at its provider, "" if it was never connected."""
    if not account.connected_at:
        return ""
    values = {"address": account.address, "provider": account.provider.name}
    if account.provider.kind == "google":
        return gettext(
            "Deleting the account here does not withdraw the permission at Google. To do so, sign in to Google as "
            "%(address)s, open myaccount.google.com/connections and remove the app.",
            **values,
        )
    if account.provider.kind == "microsoft" and account.flow == "client":
        return gettext(
            "Deleting the account here does not withdraw the permission at Microsoft. An administrator of the "
            "organization can do so in the Microsoft Entra admin center: Enterprise applications, the app, Permissions."
        )
    if account.provider.kind == "microsoft":
        return gettext(
            "Deleting the account here does not withdraw the permission at Microsoft. To do so, sign in to "
            "myapps.microsoft.com as %(address)s and remove the app, or ask an administrator of the organization "
            "(Microsoft Entra admin center, Enterprise applications, the app, Permissions).",
            **values,
        )
    return gettext(
        "Deleting the account here does not withdraw the permission at %(provider)s. To do so, sign in there as "
        "%(address)s and remove the app in the settings of the account.",
        **values,
    )


def state_of(account: OauthAccount | None) -> tuple[str, Any]:
    """Return look and word of the state of an account, or of none."""
    if account and account.state == "connected" and account.why:
        return NOT_RENEWED
    return STATES[account.state if account else "new"]


def badge_of(server: OutgoingServer | IncomingServer) -> Markup:
    """Return what keeps a server from signing in with its account, as a badge for lists, "" where nothing does."""
    if server.authentication != "oauth2":
        return Markup("")
    account = server.oauth_account
    look, word = state_of(account)
    if account and account.state == "connected" and not account.why:
        return Markup("")
    reason = say(account.why) if account else ""  # type: ignore[arg-type]
    return Markup(' <span class="state state-{}" title="{}">{}</span>').format(look, reason, word)


def preselect(form: Any) -> None:
    """Choose the sign-in in the form of a server, when a link to it asks for that."""
    if request.method == "GET" and request.args.get("authentication") == "oauth2":
        form.authentication.data = "oauth2"
