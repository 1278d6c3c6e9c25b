"""What the decisions need to know of the office: its parameters, servers and aliases, read once per unit of work."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from flask import current_app, g
from sqlalchemy import exists, select

from mail.decide.domains import Office, TypeAlias
from mail.decide.servers import Server, read_filter
from mail.message.address import show_address
from mail.message.domains import wire_domain
from mail.settings import parameters
from mail.settings.config import settings
from mail.settings.tokens import ALPHABET, Tokens
from models import Alias, OutgoingServer, SystemParameter, db
from models.store import upsert

_TOKENS = "coquimail-tokens"


@dataclass(frozen=True)
class Snapshot:
    """The office at one moment: values, no rows. ``type_aliases`` maps a document type to the address of its alias."""

    office: Office
    servers: tuple[Server, ...]
    type_aliases: dict[int, str]

    def aliases_of(self, type_id: int | None) -> tuple[TypeAlias, ...]:
        """Return the aliases of a document type that replies may go to."""
        address = self.type_aliases.get(type_id or 0)
        return (TypeAlias(address),) if address else ()

    @cached_property
    def message_domain(self) -> str:
        """The domain of our Message-IDs and List-Ids, in ASCII: the alias domain, else the name of this office."""
        return wire_domain(self.office.catchall_domain or urlsplit(base_url()).hostname or "") or "localhost"


def load() -> Snapshot:
    """Return the office as it is now; the same object for the rest of this request or unit of work."""
    if "office" not in g:
        g.office = Snapshot(_office(), _servers(), _type_aliases())
    snapshot: Snapshot = g.office
    return snapshot


def own_addresses() -> frozenset[str]:
    """Return the addresses that write to ourselves: catchall, bounce, default, and the aliases of document types."""
    snapshot = load()
    known = snapshot.office
    ours = (known.catchall_address, known.bounce_address, known.default_address, *snapshot.type_aliases.values())
    return frozenset(address for address in ours if address)


def mailbox() -> str:
    """Return who the system writes as: the company, under an address of ours; "" when there is none."""
    known = load().office
    address = known.default_address or known.catchall_address or known.bounce_address or ""
    return show_address(known.company, address) if address else ""


def forget() -> None:
    """Read the office anew at the next ``load``: a server, an alias or a parameter was changed in this request."""
    g.pop("office", None)
    g.pop("parameters", None)


def tokens() -> Tokens:
    """Return what signs and reads our ids, with the keys of this office."""
    made: Tokens | None = current_app.extensions.get(_TOKENS)
    if made is None:
        keys: dict[str, bytes] = {}
        for key in settings().derive("tokens"):
            keys.setdefault(_key_id(key), key)
        made = Tokens(keys)
        current_app.extensions[_TOKENS] = made
    return made


def _key_id(key: bytes) -> str:
    return ALPHABET[hashlib.blake2b(key, person=b"key id").digest()[0] % len(ALPHABET)]


# --- practice or live


def is_live() -> bool:
    """Whether a real mail server has ever accepted an email: then the practice mailbox takes no server's place."""
    return bool(parameters.LIVE.get())


def go_live(now: datetime) -> None:
    """Note that a real mail server accepted an email; any number of senders may say so. The caller commits."""
    if not is_live():
        row = {"key": parameters.LIVE.key, "value": "1", "changed_at": now}
        change = {"value": "1", "changed_at": now}
        db.session.execute(
            upsert(SystemParameter).values(row).on_conflict_do_update(index_elements=["key"], set_=change)
        )
        forget()


def is_practice(server_id: int) -> bool:
    """Whether a server (0: the default server) is the practice mailbox."""
    return server_id == 0 and settings().default_server.practice


def sends_through() -> Literal["servers", "default", "practice", "nothing"]:
    """Return what sends the emails that name no server of their own.

    ``servers``: an active record; ``default``: the server of the environment; ``practice``: the practice mailbox,
    which nothing leaves; ``nothing``: no server is left of an office that is live, so emails wait.
    """
    if parameters.CUSTOM_SERVERS.get() and db.session.scalar(select(exists().where(OutgoingServer.active))):
        return "servers"
    if not settings().default_server.practice:
        return "default"
    return "nothing" if is_live() else "practice"


def back_to_practice(now: datetime, user_id: int | None = None) -> None:
    """Let the practice mailbox take all emails that name no server of their own, those that wait included.

    Custom Email Servers are switched off with it: a server that goes on sending would end the practice with its next
    email. The caller commits.
    """
    parameters.put(parameters.CUSTOM_SERVERS.key, "0", now, user_id)
    parameters.put(parameters.LIVE.key, "0", now, user_id)
    forget()


# --- where the office is reached


def base_url() -> str:
    """Return the address that the links in emails begin with, without a slash at its end."""
    return parameters.BASE_URL.get() or settings().url


def has_address() -> bool:
    """Whether people elsewhere can follow our links: the address of this office does not name this very machine."""
    return not names_this_machine(base_url())


def names_this_machine(url: str) -> bool:
    """Whether an address means another machine to everybody who reads it.

    >>> [names_this_machine(f"http://{host}") for host in ("localhost:8000", "127.0.0.1", "[::1]", "mail.example.com")]
    [True, True, True, False]
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host in ("", "localhost", "localhost.localdomain") or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


def learn_address(url: str, now: datetime) -> None:
    """Take the address by which the first admin came as that of the office, if none is known. The caller commits."""
    if has_address() or names_this_machine(url):
        return
    with suppress(parameters.NotValid):
        parameters.put(parameters.BASE_URL.key, url, now)


def _office() -> Office:
    return Office(
        default_from=parameters.DEFAULT_FROM.get(),
        catchall_domain=parameters.CATCHALL_DOMAIN.get(),
        catchall_alias=parameters.CATCHALL_ALIAS.get(),
        bounce_alias=parameters.BOUNCE_ALIAS.get(),
        verp=bool(parameters.VERP.get()),
        company=parameters.COMPANY_NAME.get(),
        custom_servers=bool(parameters.CUSTOM_SERVERS.get()),
        default_server=_default_server(),
        default_from_filter=read_filter(parameters.DEFAULT_FROM_FILTER.get()),
    )


def _default_server() -> Server | None:
    """The server of the environment; the practice mailbox only while no real one ever accepted an email."""
    default = settings().default_server
    if default.practice and is_live():
        return None
    return Server(None, default.name, filters=read_filter(default.from_filter))


def _servers() -> tuple[Server, ...]:
    row = OutgoingServer
    found = db.session.execute(
        select(row.id, row.name, row.priority, row.from_filter, row.rewrite, row.active, row.verp)
    )
    return tuple(
        Server(one.id, one.name, one.priority, read_filter(one.from_filter), one.rewrite, one.active, one.verp)
        for one in found
    )


def _type_aliases() -> dict[int, str]:
    found = db.session.execute(
        select(Alias.type_id, Alias.address_key)
        .where(Alias.role == "alias", Alias.state == "active", Alias.type_id.is_not(None))
        .where(Alias.fixed_document_id.is_(None))
        .order_by(Alias.id.desc())
    )
    return {row.type_id: row.address_key for row in found}  # the oldest alias of a type is the one that replies go to
