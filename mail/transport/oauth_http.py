"""EDGE: a question to an authorization server by HTTPS, at an address that was checked; no redirect is followed.

Time and size of the answer are limited as a whole. What is sent and what comes back holds secrets: neither is written
to a log, and neither is part of an error.
"""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from mail.errors import (
    AddressNotAllowed,
    CertificateRefused,
    ConnectionFailed,
    MailError,
    NameNotFound,
    PortNotAllowed,
)
from mail.sentences import Why
from mail.transport import network

PORTS = frozenset({443})
PATIENCE = 20.0  # seconds, for everything together
MOST_ADDRESSES = 8  # of a host that are tried
LARGEST = 256 * 1024


class OauthUnreachable(MailError):
    """No usable answer from an authorization server: later may help."""

    code, retry = "oauth_unreachable", True


class OauthNameNotFound(OauthUnreachable):
    code = "oauth_name_not_found"


class OauthAddressNotAllowed(OauthUnreachable):
    code = "oauth_address_not_allowed"


class OauthCertificateRefused(OauthUnreachable):
    code = "oauth_certificate_refused"


class OauthNotUnderstood(OauthUnreachable):  # something answered that is no authorization server
    code = "oauth_not_understood"


class OauthNotHttps(MailError):
    code = "oauth_not_https"


class OauthDiscoveryWrong(MailError):
    code = "oauth_discovery_wrong"


class OauthSecretUnreadable(MailError):
    code = "oauth_secret_unreadable"


class OauthRefused(MailError):
    """The authorization server said no; ``error`` is its word for it (RFC 6749, 5.2).

    ``gone``: what was granted to us is worth nothing any more, and a person has to connect the account again.
    """

    code = "oauth_refused"

    def __init__(self, error: str, reason: Why, gone: bool = False) -> None:
        super().__init__(**reason["values"])
        self.error, self.why, self.gone = error, reason, gone


class OauthLater(OauthRefused):  # it said that it can't just now
    code, retry = "oauth_later", True


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: always a JSON object, also with an error."""

    status: int
    body: dict[str, Any] = field(repr=False)


def ask(
    url: str,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    allow_local: bool,
    seconds: float = PATIENCE,
) -> HttpAnswer:
    """GET an address, or POST a form to it, and return the JSON object that comes back.

    Raises OauthNotHttps, or OauthUnreachable and its kinds.
    """
    host, port, target = _parts(url)
    wanted = {"Accept": "application/json", "User-Agent": "CoquiMail", "Connection": "close", **(headers or {})}
    body = None
    if form is not None:
        body = urlencode(form)
        wanted["Content-Type"] = "application/x-www-form-urlencoded"
    with _translated(host), _connection(host, port, allow_local, seconds) as connection:
        connection.request("GET" if form is None else "POST", target, body, wanted)
        response = connection.getresponse()
        content = response.read(LARGEST + 1)
    return HttpAnswer(response.status, _object(content, host, response.status))


def _parts(url: str) -> tuple[str, int, str]:
    """Return host, port and what is asked for there.

    >>> _parts("https://login.example.com/token?a=1")
    ('login.example.com', 443, '/token?a=1')
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        raise OauthNotHttps(url=url[:200]) from None
    if parts.scheme != "https" or not host or parts.username is not None:
        raise OauthNotHttps(url=url[:200])
    query = f"?{parts.query}" if parts.query else ""
    return host, port, f"{parts.path or '/'}{query}"


@contextlib.contextmanager
def _connection(host: str, port: int, allow_local: bool, seconds: float) -> Iterator[http.client.HTTPConnection]:
    end = time.monotonic() + seconds
    addresses = network.look_up(host, port, allow_local=allow_local, timeout=seconds, ports=PORTS)
    plain = network.open_socket(host, addresses[:MOST_ADDRESSES], max(end - time.monotonic(), 0.01))
    with _cut_off_at(end, plain):
        secured = network.start_tls(plain, host, network.tls_context())
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
        connection.sock = secured
        try:
            yield connection
        finally:
            connection.close()
            secured.close()


@contextlib.contextmanager
def _cut_off_at(end: float, connection: socket.socket) -> Iterator[None]:
    """End a connection at a moment, whatever is done with it.

    The time limit of a socket is for each piece: a server that drips bytes, be it those of TLS, would never reach it.
    """
    twin = connection.dup()  # it stays ours when TLS takes the other one
    watch = threading.Timer(max(end - time.monotonic(), 0.0), _cut, [twin])
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        twin.close()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _translated(host: str) -> Iterator[None]:
    """Raise our errors for a web server, in place of those for a mail server and of those of the library."""
    try:
        yield
    except NameNotFound as error:
        raise OauthNameNotFound(host=host) from error
    except (AddressNotAllowed, PortNotAllowed) as error:
        raise OauthAddressNotAllowed(host=host) from error
    except CertificateRefused as error:
        raise OauthCertificateRefused(host=host, detail=str(error.why["values"].get("detail", ""))) from error
    except ConnectionFailed as error:
        raise OauthUnreachable(host=host, detail=_detail(error)) from error
    except http.client.HTTPException as error:
        raise OauthNotUnderstood(host=host, status="") from error
    except OSError as error:
        raise OauthUnreachable(host=host, detail=error.strerror or type(error).__name__) from error


def _detail(error: MailError) -> str:
    return str(error.why["values"].get("detail") or error.code.replace("_", " "))


def _object(content: bytes, host: str, status: int) -> dict[str, Any]:
    """Return the object that JSON holds; an error without one is told by its status."""
    try:
        found = json.loads(content) if len(content) <= LARGEST else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    if status >= 500 or status == 429:
        raise OauthUnreachable(host=host, detail=f"HTTP {status}")
    raise OauthNotUnderstood(host=host, status=f"HTTP {status}")
