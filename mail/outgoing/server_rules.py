"""What may be saved of an outgoing server, which addresses it would send as, and which settings a test stands for."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from typing import cast

from sqlalchemy import select

from mail.decide.senders import TestedSender, senders_of
from mail.decide.servers import Rewrite, Server, read_filter
from mail.errors import ChangeRefused, MailError
from mail.message.address import domain_of, normalise
from mail.message.extra_headers import read_headers
from mail.outgoing import usage
from mail.queue.connections import as_stored
from mail.sentences import Why, say, why
from mail.settings import office, sign_in_rules
from mail.settings.config import settings
from mail.settings.tested import leads_elsewhere, settings_key
from mail.transport.network import tls_context
from mail.transport.smtp_session import helo_name
from models import OutgoingServer, Unreadable, User, db
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
        if not was_changed(server, "verp"):
            server.verp = None  # what another server took says nothing
    if moved and not password_given and server.authentication != "password":
        server.password = None
    if moved or server.authentication != "oauth2":
        server.oauth_account = None
    errors = _log_in(server, moved and not password_given)
    if wrong := read_headers(server.headers)[1]:
        errors["headers"] = wrong
    if server.helo:
        with _marked(errors, "helo"):
            helo_name(server.helo)
    if was_changed(server, "active") and not server.active and (reason := in_use(server)):
        errors["active"] = reason
    if errors:
        raise ChangeRefused(errors)
    sign_in_rules.end_sign_ins(server, moved)


def _log_in(server: OutgoingServer, password_stays_behind: bool) -> dict[str, Why]:
    errors: dict[str, Why] = {}
    if server.authentication == "oauth2":
        errors |= sign_in_rules.check(server)
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
        elif not isinstance(server.client_key, Unreadable):
            with _marked(errors, "client_certificate"):
                tls_context(client_cert=server.client_certificate, client_key=server.client_key)
    return errors


@contextmanager
def _marked(errors: dict[str, Why], field: str) -> Iterator[None]:
    """Note what a field would fail with as soon as the server is used."""
    try:
        yield
    except MailError as error:
        errors[field] = error.why


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


def senders_of_test(server: OutgoingServer | None) -> list[TestedSender]:
    """Return every address that a server (None: the default server) would be given as a sender."""
    snapshot = office.load()
    known = server_of(server)
    ours = {domain.name for domain in snapshot.office.all_domains}
    domains = {entry for entry in known.filters if "@" not in entry} if known.filters else ours
    return senders_of(known, snapshot.servers, snapshot.office, _people(domains) if domains else {})


def server_of(server: OutgoingServer | None) -> Server:
    """Return what decisions know of a server record, or of the default server with the filter that counts for it."""
    if server is not None:
        filters, rewrite = read_filter(server.from_filter), cast(Rewrite, server.rewrite)
        return Server(server.id, server.name, server.priority, filters, rewrite, verp=server.verp)
    default, known = settings().default_server, office.load().office
    return Server(None, default.name, filters=known.default_from_filter or read_filter(default.from_filter))


def tested_key(server: OutgoingServer | None, *, verp: bool = True) -> str:
    """Return what stands for all that a test of a server (None: the default server) depends on.

    Without ``verp`` as if nothing had a bounce address of its own.
    """
    known = server_of(server)
    target = settings().default_server if server is None else replace(as_stored(server), name="", tokens=None)
    ours = office.load().office
    senders = senders_of(known, [replace(known, active=True)], ours if verp else replace(ours, verp=False), {})
    return settings_key(astuple(target), [sender.address for sender in senders if not sender.unused])


def _people(domains: Collection[str]) -> dict[str, str]:
    """One address of a colleague for each of these domains: what is really sent from there."""
    found: dict[str, str] = {}
    for email in db.session.scalars(select(User.email).where(User.active).order_by(User.id)):
        address = normalise(email)
        if address and domain_of(address) in domains:
            found.setdefault(domain_of(address), address)
    return found
