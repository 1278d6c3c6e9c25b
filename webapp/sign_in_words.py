"""Connected accounts in words: whether they can be used, and for how long."""

from datetime import datetime
from typing import Any

from flask_babel import format_date, gettext, ngettext
from flask_babel import lazy_gettext as _l

from mail.settings.clock import now
from models import OauthAccount

STATES: dict[str, tuple[str, Any]] = {  # look and word of a badge
    "new": ("wait", _l("not connected")),
    "connected": ("good", _l("connected")),
    "refused": ("bad", _l("connect again")),
}
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
    if account.state != "connected":
        return "–"
    end = ends_at(account)
    if end is None:
        return gettext("until it is revoked")
    days = max((end - now()).days, 0)
    on = format_date(end, "medium")
    return ngettext("until %(date)s (%(num)s day left)", "until %(date)s (%(num)s days left)", days, date=on)
