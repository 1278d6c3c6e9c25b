"""What the decisions need to know of the office: its parameters, servers and aliases, read once per unit of work."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from flask import current_app, g
from sqlalchemy import select

from mail.decide.sender import Office
from mail.decide.servers import Server, read_filter
from mail.settings import parameters
from mail.settings.config import settings
from mail.settings.tokens import ALPHABET, Tokens
from models import Alias, OutgoingServer, db

_TOKENS = "coquimail-tokens"


@dataclass(frozen=True)
class Snapshot:
    """The office at one moment: values, no rows. ``type_aliases`` maps a document type to the address of its alias."""

    office: Office
    servers: tuple[Server, ...]
    type_aliases: dict[int, str]

    @cached_property
    def message_domain(self) -> str:
        """The domain of our Message-IDs: the alias domain, else the name this office is reached under."""
        return self.office.catchall_domain or urlsplit(settings().url).hostname or "localhost"


def load() -> Snapshot:
    """Return the office as it is now; the same object for the rest of this request or unit of work."""
    if "office" not in g:
        g.office = Snapshot(_office(), _servers(), _type_aliases())
    snapshot: Snapshot = g.office
    return snapshot


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


def _office() -> Office:
    default = settings().default_server
    return Office(
        default_from=parameters.DEFAULT_FROM.get(),
        catchall_domain=parameters.CATCHALL_DOMAIN.get(),
        catchall_alias=parameters.CATCHALL_ALIAS.get(),
        bounce_alias=parameters.BOUNCE_ALIAS.get(),
        company=parameters.COMPANY_NAME.get(),
        custom_servers=bool(parameters.CUSTOM_SERVERS.get()),
        default_server=Server(None, default.name, filters=read_filter(default.from_filter)),
        default_from_filter=read_filter(parameters.DEFAULT_FROM_FILTER.get()),
    )


def _servers() -> tuple[Server, ...]:
    row = OutgoingServer
    found = db.session.execute(select(row.id, row.name, row.priority, row.from_filter, row.rewrite, row.active))
    return tuple(
        Server(server.id, server.name, server.priority, read_filter(server.from_filter), server.rewrite, server.active)
        for server in found
    )


def _type_aliases() -> dict[int, str]:
    found = db.session.execute(
        select(Alias.type_id, Alias.address_key)
        .where(Alias.role == "alias", Alias.state == "active", Alias.type_id.is_not(None))
        .where(Alias.fixed_document_id.is_(None))
        .order_by(Alias.id.desc())
    )
    return {row.type_id: row.address_key for row in found}  # the oldest alias of a type is the one that replies go to
