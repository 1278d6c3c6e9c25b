"""What may be saved of a server that signs in with a connected account, and of an app registration."""

from sqlalchemy import func, select, update
from sqlalchemy.orm.attributes import flag_modified

from mail.decide import oauth as rules
from mail.errors import ChangeRefused
from mail.message.address import normalise
from mail.sentences import Why, why
from mail.settings import sign_in
from mail.settings.clock import now
from models import Event, IncomingServer, OauthAccount, OauthProvider, OauthSignIn, OutgoingServer, change_rows, db
from models.base import was_changed

NEEDED = {"microsoft": ("tenant",), "other": ("issuer",)}
PASTED = ("client_id", "client_secret", "tenant", "scopes", "issuer")
ANOTHER_APP = ("issuer", "client_id", "tenant")


def check(server: OutgoingServer | IncomingServer) -> dict[str, Why]:
    """Return what is wrong with the fields of a server that signs in with an account.

    Another user is another mailbox: the account is let go of, and the password that was stored before is not kept.
    """
    errors = {}
    address = normalise(server.user)
    if not address:
        errors["user"] = why("oauth_user_needed")
    elif server.oauth_account and server.oauth_account.address != address:
        server.oauth_account = None
    if server.encryption == "none":
        errors["encryption"] = why("oauth_needs_tls")
    server.password = None
    return errors


def end_sign_ins(server: OutgoingServer | IncomingServer, moved: bool) -> None:
    """Let no sign-in under way connect a server that is another one when it is saved; the caller commits.

    ``moved``: its password would leave for somebody else.
    """
    if not (moved or was_changed(server, "user") or was_changed(server, "authentication")):
        return
    column = OauthSignIn.outgoing_server_id if isinstance(server, OutgoingServer) else OauthSignIn.incoming_server_id
    with db.session.no_autoflush:  # whoever called still has to see what was changed
        sign_in.end_open(column == server.id, why("sign_in_server_changed"), now())
    if server.oauth_account is None:
        flag_modified(server, "oauth_account_id")  # one that ended since this row was read may have connected it


def check_provider(provider: OauthProvider) -> int:
    """Check an app registration before it is saved; raises ``ChangeRefused``. The caller commits.

    Returns how many accounts have to be connected again. A secret is never sent to another place than the one that it
    was typed for, and tokens go to nobody but who gave them.
    """
    for name in PASTED:
        typed = getattr(provider, name)
        if isinstance(typed, str) and typed != rules.pasted(typed):
            setattr(provider, name, rules.pasted(typed))
    errors = {name: why("oauth_field_needed") for name in NEEDED.get(provider.kind, ()) if not getattr(provider, name)}
    if provider.kind == "other" and provider.issuer and not provider.issuer.startswith("https://"):
        errors["issuer"] = why("oauth_not_https", url=provider.issuer[:200])
    if provider.kind == "google" and not provider.client_secret:
        errors["client_secret"] = why("oauth_field_needed")
    moved = was_changed(provider, "issuer")
    if moved and provider.client_secret and not was_changed(provider, "client_secret"):
        errors["client_secret"] = why("oauth_secret_again")
    for name in PASTED[:-1]:
        typed = getattr(provider, name)
        if isinstance(typed, str) and (odd := rules.odd_character(typed)):
            errors[name] = why("oauth_odd_character", character=odd)
    if errors:
        raise ChangeRefused(errors)
    return _forget_accounts(provider) if any(was_changed(provider, name) for name in ANOTHER_APP) else 0


def connected_by(provider: OauthProvider) -> int:
    """Return how many accounts hold tokens of an app registration."""
    held = (OauthAccount.provider_id == provider.id, OauthAccount.state != "new")
    return db.session.scalar(select(func.count()).select_from(OauthAccount).where(*held)) or 0


def _forget_accounts(provider: OauthProvider) -> int:
    """Forget what another provider or app gave, and return how many accounts had something."""
    account, moment, reason = OauthAccount, now(), why("sign_in_registration_changed")
    of_provider = select(account.id).where(account.provider_id == provider.id)
    sign_in.end_open(OauthSignIn.account_id.in_(of_provider), reason, moment)
    gone = dict.fromkeys(
        (
            "access_token",
            "refresh_token",
            "expires_at",
            "refresh_expires_at",
            "refreshed_at",
            "retry_at",
            "connected_at",
            "use_by",
            "told",
        )
    )
    forgotten = change_rows(
        update(account)
        .where(account.provider_id == provider.id, account.state != "new")
        .values(
            state="new",
            why=reason,
            generation=account.generation + 1,
            leased_until=0.0,
            forced=False,
            retries=0,
            **gone,
        )
    )
    Event.add(["outgoing_servers", "incoming_servers"], moment)
    return forgotten
