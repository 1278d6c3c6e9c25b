"""What admins are told about connected accounts: why one can't be renewed, and what ends soon. Each thing once."""

from datetime import datetime

from sqlalchemy import select, update

from mail.decide.oauth import is_about_registration
from mail.decide.token_life import days_left, is_long
from mail.errors import MailError
from mail.settings.notices import tell_admins
from mail.transport.oauth_http import OauthAddressNotAllowed, OauthCertificateRefused, OauthNameNotFound
from mail.transport.sasl import AccountUnreadable
from models import OauthAccount, OauthProvider, change_rows, db, reading

ACCOUNT, REGISTRATION = "/admin/connected-accounts/details?id=%s", "/admin/app-registrations/edit?id=%s"
# Time may help here as well, but a person more likely.
AT_ONCE = (AccountUnreadable, OauthAddressNotAllowed, OauthCertificateRefused, OauthNameNotFound)
AWAY = "away"


def tell_of_failure(account: OauthAccount, error: MailError, moment: datetime) -> None:
    """Tell the admins of a renewal that failed, where a person has to do something or it has failed for long.

    What was told is not told again until the account works; the caller commits.
    """
    code = error.why["code"]
    needs_person = not error.retry or isinstance(error, AT_ONCE)
    matter, told = code if needs_person else AWAY, account.told or []
    if matter in told or not (needs_person or is_long(account.retries)):
        return
    account.told = [*told, matter]
    values = {"account": account.address, "provider": account.provider.name, "reason": error.why}
    notice = "notice_account_ended" if account.state == "refused" else "notice_account_stuck"
    at_registration = is_about_registration(code, account.provider.kind)
    link = REGISTRATION % account.provider_id if at_registration else ACCOUNT % account.id
    tell_admins(notice, values, link, moment)


def warn_of_ends(moment: datetime) -> None:
    """Tell the admins, once for each, of permissions and client secrets that end within two weeks; commits."""
    account, provider = OauthAccount, OauthProvider
    with reading():
        # The first renewal shows whether the end moves with each of them; before it nobody knows.
        accounts = db.session.execute(
            select(account.id, account.refresh_expires_at, account.warned_of, account.address, provider.name)
            .join(provider)
            .where(account.state == "connected", account.refreshed_at > account.connected_at)
        ).all()
        secrets = db.session.execute(
            select(provider.id, provider.secret_expires_at, provider.warned_of, provider.name)
        ).all()
    for id, end, warned_of, address, name in accounts:
        _warn(account, id, end, warned_of, {"account": address, "provider": name}, moment)
    for id, end, warned_of, name in secrets:
        _warn(provider, id, end, warned_of, {"provider": name}, moment)


def _warn(
    table: type[OauthAccount] | type[OauthProvider],
    id: int,
    end: datetime | None,
    warned_of: datetime | None,
    values: dict[str, str],
    moment: datetime,
) -> None:
    days = days_left(end, moment)
    if days is None or end is None or warned_of == end:
        return
    mark = update(table).where(table.id == id, table.warned_of.is_distinct_from(end)).values(warned_of=end)
    if change_rows(mark):  # no other worker was quicker
        what, link = ("account", ACCOUNT) if table is OauthAccount else ("secret", REGISTRATION)
        code = f"notice_{what}_ends" if days else f"notice_{what}_is_over"
        tell_admins(code, {**values, "days": days, "on": f"{end:%Y-%m-%d}"}, link % id, moment)
    db.session.commit()
