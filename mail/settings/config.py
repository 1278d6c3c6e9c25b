"""The environment, read once at the start: where things lie, which database, which default server, which keys."""

import base64
import hashlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from stat import S_IMODE, S_ISLNK
from typing import Literal
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, MultiFernet
from flask import current_app

EXTENSION = "coquimail"
PRACTICE_NAME = "practice mailbox"


class ConfigError(Exception):
    """A setting of the environment cannot be used; the text says which one and what to do."""


@dataclass(frozen=True)
class DefaultServer:
    """The mail server of the environment (the Flask-Mail keys), or the practice mailbox when there is none."""

    host: str
    port: int
    encryption: Literal["none", "starttls", "tls"]
    user: str = ""
    password: str = field(default="", repr=False)
    from_filter: str = ""
    practice: bool = False

    @property
    def name(self) -> str:
        """How it is called where people read it."""
        return PRACTICE_NAME if self.practice else f"default server ({self.host})"


@dataclass(frozen=True)
class ListenAddress:
    """Where the worker takes mail from other servers."""

    protocol: Literal["lmtp", "smtp"]
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}://{host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    """What the environment says. ``keys``: our secrets, the present one first."""

    data: Path
    database_url: str
    hosting: Literal["online", "on_premise"]
    default_server: DefaultServer
    keys: tuple[bytes, ...] = field(repr=False)
    url: str = "http://localhost:8000"
    public_host: str = ""  # of the address of this office, if the environment says it
    proxies: int = 0
    clock_file: Path | None = None
    testing: bool = False
    mass_connections: int = 2
    send_connections: int = 4
    dns_resolvers: tuple[tuple[str, int], ...] = ()
    oauth_issuers: dict[str, str] = field(default_factory=dict)  # tests: who stands in for Google and Microsoft
    listen: tuple[ListenAddress, ...] = ()
    listen_certificate: tuple[Path, Path] | None = None  # with its key: the listener offers STARTTLS
    receiving_domain: str = ""  # whose mail reaches the listener

    @property
    def allow_local(self) -> bool:
        """Whether mail servers may stand on this machine or in a private network: not where strangers are hosted."""
        return self.hosting == "on_premise"

    @property
    def journal_folder(self) -> Path:
        return self.data / "journal"

    @property
    def wake_folder(self) -> Path:
        return self.data / "wake"

    def derive(self, purpose: str) -> list[bytes]:
        """Return a 32-byte key for a purpose from each of our secrets, the present one first."""
        return [hashlib.blake2b(key, digest_size=32, person=purpose.encode()[:16]).digest() for key in self.keys]

    def fernet(self) -> MultiFernet:
        """Return what encrypts the secrets in the database."""
        return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in self.derive("secrets")])


def settings() -> Settings:
    """Return the settings of the running application."""
    found: Settings = current_app.extensions[EXTENSION]
    return found


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that the environment gives; raises ``ConfigError`` with a sentence for what can't be used."""
    data = Path(environment.get("COQUI_DATA") or "instance").resolve()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    _close(data)
    hosting = environment.get("COQUI_HOSTING") or "on_premise"
    if hosting not in ("online", "on_premise"):
        raise ConfigError(f"COQUI_HOSTING is {hosting!r}; it can be online or on_premise.")
    testing = environment.get("COQUI_TESTING") == "1"
    clock_file = environment.get("COQUI_CLOCK_FILE")
    if clock_file and not testing:
        raise ConfigError("COQUI_CLOCK_FILE moves the clock and is for tests only; remove it.")
    issuers = environment.get("COQUI_OAUTH_ISSUERS") or ""
    if issuers and not testing:
        raise ConfigError("COQUI_OAUTH_ISSUERS replaces Google and Microsoft and is for tests only; remove it.")
    port = environment.get("PORT") or "8000"
    return Settings(
        data=data,
        database_url=_database_url(environment.get("DATABASE_URL") or "", data),
        hosting=hosting,  # type: ignore[arg-type]
        default_server=_default_server(environment),
        keys=_keys(environment.get("COQUI_SECRET_KEY") or "", data),
        url=(environment.get("COQUI_URL") or f"http://{_host(environment)}:{port}").rstrip("/"),
        public_host=(urlsplit(environment.get("COQUI_URL") or "").hostname or "").rstrip("."),
        proxies=_number(environment, "COQUI_PROXIES", 0),
        clock_file=Path(clock_file) if clock_file else None,
        testing=testing,
        mass_connections=_number(environment, "COQUI_MASS_CONNECTIONS", 2),
        send_connections=_number(environment, "COQUI_SEND_CONNECTIONS", 4),
        dns_resolvers=tuple(_resolvers(environment.get("COQUI_DNS_RESOLVER") or "")),
        oauth_issuers=dict(pair.split("=", 1) for pair in issuers.split()),
        listen=tuple(_listen_addresses(environment.get("COQUI_LISTEN") or "")),
        listen_certificate=_listen_certificate(environment),
        receiving_domain=(environment.get("COQUI_RECEIVE_DOMAIN") or "").strip().lower(),
    )


def _resolvers(given: str) -> Iterator[tuple[str, int]]:
    """Who is asked about the DNS of our domains: ``192.0.2.53, 127.0.0.1:5353, [2001:db8::53]:53``."""
    for entry in filter(None, (part.strip() for part in given.split(","))):
        if entry.startswith("["):
            address, _, port = entry[1:].partition("]")
        elif entry.count(":") == 1:
            address, _, port = entry.partition(":")
        else:
            address, port = entry, ""
        port = port.removeprefix(":") or "53"
        try:
            ip_address(address)
        except ValueError:
            port = ""
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"COQUI_DNS_RESOLVER has {entry!r}; write an IP address, with a port if it is not 53.")
        yield address, int(port)


def _listen_addresses(given: str) -> Iterator[ListenAddress]:
    """Where the worker receives: ``lmtp://127.0.0.1:8024 smtp://[2001:db8::1]:25``, separated by blanks."""
    for entry in given.split():
        try:
            found = urlsplit(entry)
            port, host = found.port, ip_address(found.hostname or "")
        except ValueError:
            found, port, host = urlsplit(""), None, ip_address(0)
        if found.scheme not in ("lmtp", "smtp") or not port or found.path or found.query or found.username:
            raise ConfigError(
                f"COQUI_LISTEN has {entry!r}; write lmtp:// or smtp://, an IP address and a port, such as "
                "lmtp://127.0.0.1:8024."
            )
        yield ListenAddress(found.scheme, str(host), port)  # type: ignore[arg-type]


def _listen_certificate(environment: Mapping[str, str]) -> tuple[Path, Path] | None:
    names = "COQUI_LISTEN_TLS_CERT", "COQUI_LISTEN_TLS_KEY"
    certificate, key = (environment.get(name) or "" for name in names)
    if bool(certificate) != bool(key):
        raise ConfigError(f"{names[0]} and {names[1]} belong together; set both or neither.")
    return (Path(certificate), Path(key)) if certificate else None


def _host(environment: Mapping[str, str]) -> str:
    """The name by which the pages are reached when COQUI_URL does not say it."""
    bind = environment.get("COQUI_BIND") or ""
    if bind in ("0.0.0.0", "::"):  # noqa: S104  # compared, not listened on
        return socket.gethostname()
    return "localhost" if bind in ("", "127.0.0.1", "::1") else f"[{bind}]" if ":" in bind else bind


def _close(data: Path) -> None:
    """Take the data folder and what is in it from all others, whoever made it; what belongs to another is theirs."""
    for path in (data, *data.iterdir()):
        with suppress(OSError):
            found = path.stat(follow_symlinks=False)
            if found.st_uid == os.geteuid() and found.st_mode & 0o077 and not S_ISLNK(found.st_mode):
                path.chmod(S_IMODE(found.st_mode) & 0o700)


def _number(environment: Mapping[str, str], key: str, default: int) -> int:
    value = environment.get(key) or str(default)
    if not value.isdecimal():
        raise ConfigError(f"{key} is {value!r}; it must be a number.")
    return int(value)


def _database_url(url: str, data: Path) -> str:
    if not url:
        return f"sqlite:///{data / 'coquimail.db'}"
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _default_server(environment: Mapping[str, str]) -> DefaultServer:
    host = environment.get("MAIL_SERVER") or ""
    from_filter = environment.get("MAIL_DEFAULT_FROM_FILTER") or ""
    if not host:
        return DefaultServer("practice", 0, "none", from_filter=from_filter, practice=True)
    tls, ssl = (
        environment.get(key, "").lower() in ("1", "true", "yes", "on") for key in ("MAIL_USE_TLS", "MAIL_USE_SSL")
    )
    return DefaultServer(
        host=host,
        port=_number(environment, "MAIL_PORT", 465 if ssl else 587 if tls else 25),
        encryption="tls" if ssl else "starttls" if tls else "none",
        user=environment.get("MAIL_USERNAME") or "",
        password=environment.get("MAIL_PASSWORD") or "",
        from_filter=from_filter,
    )


def _keys(given: str, data: Path) -> tuple[bytes, ...]:
    """Our secrets: from the environment (for several machines) or from a file that the first start made."""
    if given:
        keys = tuple(part.strip().encode() for part in given.split(",") if part.strip())
        if any(len(key) < 32 for key in keys):
            raise ConfigError("COQUI_SECRET_KEY is too short; use 32 characters or more.")
        return keys
    path = data / "secret.key"
    if not path.exists():
        made = data / f"secret.key.{os.getpid()}.{secrets.token_hex(4)}"
        made.touch(mode=0o600)
        made.write_text(secrets.token_hex(32) + "\n")
        try:
            os.link(made, path)  # the first process wins; the others read what it made
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return tuple(line.encode() for line in path.read_text().split())
