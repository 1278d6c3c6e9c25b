"""What may be saved of an outgoing server, which addresses it would send as, and which settings a test stands for."""

from dataclasses import astuple, replace

from mail.decide.domains import Office
from mail.decide.servers import read_filter
from mail.errors import ChangeRefused
from mail.message.address import local_part
from mail.message.extra_headers import read_headers
from mail.outgoing import usage
from mail.queue.connections import as_stored
from mail.sentences import Why, say, why
from mail.settings import office
from mail.settings.config import settings
from mail.settings.tested import leads_elsewhere, settings_key
from models import OutgoingServer
from models.base import was_changed


def check(server: OutgoingServer, password_given: bool) -> None:
    """Check a server that was filled in, before it is saved; raises ``ChangeRefused``.

    A stored password is never sent to another host: a server that moved needs it again, and forgets it if it does not
    use it now. A certificate that was trusted by hand was that of the server before.
    """
    server.from_filter, server.headers = server.from_filter.strip(), (server.headers or "").strip("\r\n")
    moved = leads_elsewhere(server)
    if moved:
        server.trusted_certificate = ""
    if moved and not password_given and server.authentication != "password":
        server.password = None
    errors = _log_in(server, moved and not password_given)
    if wrong := read_headers(server.headers)[1]:
        errors["headers"] = wrong
    if was_changed(server, "active") and not server.active and (reason := in_use(server)):
        errors["active"] = reason
    if errors:
        raise ChangeRefused(errors)


def _log_in(server: OutgoingServer, password_stays_behind: bool) -> dict[str, Why]:
    errors = {}
    if server.authentication == "password":
        if not server.user:
            errors["user"] = why("user_needed")
        if not server.password:
            errors["password"] = why("password_needed")
        elif password_stays_behind:
            errors["password"] = why("password_again")
    if server.authentication == "certificate":
        if server.encryption == "none":
            errors["encryption"] = why("certificate_needs_tls")
        if not server.client_certificate or not server.client_key:
            errors["client_certificate"] = why("certificate_needs_key")
    return errors


def in_use(server: OutgoingServer) -> Why | None:
    """Return why a server can't be deleted or turned off, None when it can."""
    places = usage.of_server(server.id) if server.id else []
    if not places:
        return None
    return why("server_in_use", server=server.name, places="; ".join(say(place) for place in places))


def activate(server: OutgoingServer) -> None:
    """Put a new server to use: its test passed, or a person said so. The caller commits and wakes."""
    server.draft, server.active = False, True
    office.forget()


# --- tests


def senders_of(filters: tuple[str, ...], known: Office) -> list[str]:
    """Return every address that a server with this From filter would be given as a sender.

    The addresses of the filter, one of each of its domains, and those of the office that the filter has: the default
    address and the bounce address.
    """
    default, bounce = known.default_address, known.bounce_address
    usual = local_part(default) if default else "notifications"
    of_filter = [entry if "@" in entry else f"{usual}@{entry}" for entry in filters]
    ours = [
        address
        for address in (default, bounce)
        if address and (not filters or address in filters or address.rpartition("@")[2] in filters)
    ]
    return list(dict.fromkeys(of_filter + ours))


def tested_key(server: OutgoingServer | None) -> str:
    """Return what stands for all that a test of a server (None: the default server) depends on."""
    known = office.load().office
    if server is None:
        filters = known.default_from_filter or read_filter(settings().default_server.from_filter)
        return settings_key(astuple(settings().default_server), senders_of(filters, known))
    target = replace(as_stored(server), name="")
    return settings_key(astuple(target), senders_of(read_filter(server.from_filter), known))
