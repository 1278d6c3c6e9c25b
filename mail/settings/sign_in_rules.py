"""What may be saved of a server that signs in with a connected account, and of an app registration."""

from mail.errors import ChangeRefused
from mail.message.address import normalise
from mail.sentences import Why, why
from models import IncomingServer, OauthProvider, OutgoingServer
from models.base import was_changed

NEEDED = {"microsoft": ("tenant",), "other": ("issuer",)}


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


def check_provider(provider: OauthProvider) -> None:
    """Check an app registration before it is saved; raises ``ChangeRefused``.

    A secret is never sent to another place than the one that it was typed for.
    """
    errors = {name: why("oauth_field_needed") for name in NEEDED.get(provider.kind, ()) if not getattr(provider, name)}
    if provider.kind == "other" and provider.issuer and not provider.issuer.startswith("https://"):
        errors["issuer"] = why("oauth_not_https", url=provider.issuer[:200])
    if provider.kind == "google" and not provider.client_secret:
        errors["client_secret"] = why("oauth_field_needed")
    moved = was_changed(provider, "issuer")
    if moved and provider.client_secret and not was_changed(provider, "client_secret"):
        errors["client_secret"] = why("oauth_secret_again")
    if errors:
        raise ChangeRefused(errors)
