"""EDGE: from a server's name to a socket, for every transport.

An administrator types host names, so a name is not trusted: each address that it stands for is checked, and the
connection goes to that very address, so that no second lookup can lead elsewhere (SSRF, DNS rebinding). TLS still asks
for the name. Addresses that only make sense to an attacker (link-local with the cloud's metadata services, multicast,
"this host") are never connected to; loopback and private ones only when the operator of this installation allows it.
"""

import errno
import hashlib
import ipaddress
import os
import queue
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from mail.errors import (
    AddressNotAllowed,
    AddressNotPublic,
    CertificateChanged,
    CertificateExpired,
    CertificateRefused,
    CertificateSelfSigned,
    CertificateWrongName,
    ClientCertificateUnusable,
    ConnectionLost,
    ConnectionRefused,
    FellSilent,
    MailError,
    NameLookupFailed,
    NameNotFound,
    PortNotAllowed,
    TimedOut,
    TlsFailed,
    Unreachable,
)

MAIL_PORTS = frozenset({25, 465, 587, 2525, 143, 993, 110, 995})

# Link-local and the like are recognised by their class; these metadata services hide among ordinary addresses.
METADATA_SERVICES = frozenset(
    ipaddress.ip_address(address) for address in ("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "192.0.0.192")
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Addresses that stand for others in a way that only the network knows, or for nothing that could be a mail server.
NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "::/96",  # an IPv4 address in an outdated way; loopback is asked before
        "::ffff:0:0:0/96",  # translated (RFC 2765)
        "64:ff9b:1::/48",  # translated in one's own network (RFC 8215)
        "100::/64",  # discarded
        "2001::/32",  # Teredo
        "2001:db8::/32",  # documentation
        "3fff::/20",
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local, outdated
    )
)

LOOPBACK = ipaddress.ip_address("::1")
ISATAP = 0x5EFE  # precedes an IPv4 address in the second half of an IPv6 one (RFC 5214)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class HostAddress:
    """One checked address of a server."""

    family: int
    ip: str
    port: int


def permitted(ip: str, allow_local: bool) -> bool:
    """Return whether this installation may connect to an address.

    >>> [permitted(ip, allow_local=False) for ip in ("1.1.1.1", "127.0.0.1", "10.0.0.8", "169.254.169.254")]
    [True, False, False, False]
    >>> [permitted(ip, allow_local=True) for ip in ("127.0.0.1", "fd12::1", "::ffff:169.254.169.254", "0.0.0.0")]
    [True, True, False, False]
    >>> [permitted(ip, allow_local=True) for ip in ("::127.0.0.1", "::ffff:0:1.1.1.1", "64:ff9b:1::1", "fec0::1")]
    [False, False, False, False]
    """
    address = _unwrapped(ipaddress.ip_address(ip.partition("%")[0]))
    if address == LOOPBACK:
        return allow_local
    if any(address in network for network in NEVER):
        return False
    if (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in METADATA_SERVICES
        or (address.is_reserved and address.version == 4)
    ):
        return False
    return address.is_global or allow_local


def _unwrapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 one stands for, if it does: the packets end up there."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour:
            return address.sixtofour
        if int(address) >> 32 & 0xFDFFFFFF == ISATAP:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def look_up(
    host: str, port: int, *, allow_local: bool, timeout: float, ports: Collection[int] = MAIL_PORTS
) -> list[HostAddress]:
    """Return the addresses of a server that may be connected to, in the order of the name service.

    `timeout` is in seconds. Raises NameNotFound, NameLookupFailed, AddressNotAllowed (all addresses are forbidden;
    without local addresses it does not say which these are) or PortNotAllowed (only these ``ports`` may be used, unless
    local addresses are allowed).
    """
    if not allow_local and port not in ports:
        raise PortNotAllowed(host=host, port=port)
    found = _getaddrinfo(host, port, timeout)
    addresses = [HostAddress(family, str(place[0]), port) for family, _, _, _, place in found]
    usable = [address for address in dict.fromkeys(addresses) if permitted(address.ip, allow_local)]
    if not usable and not allow_local:
        raise AddressNotPublic(host=host)
    if not usable:
        raise AddressNotAllowed(host=host, address=", ".join(dict.fromkeys(address.ip for address in addresses)))
    return usable


def _getaddrinfo(host: str, port: int, timeout: float) -> list[Any]:
    """Ask the name service in a thread of its own: getaddrinfo knows no time limit."""
    answers: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True, name="name lookup").start()
    try:
        answer = answers.get(timeout=max(timeout, 0.01))
    except queue.Empty:
        raise NameLookupFailed(host=host, detail="no answer from the name service") from None
    if isinstance(answer, socket.gaierror) and answer.errno not in (socket.EAI_AGAIN, socket.EAI_FAIL):
        raise NameNotFound(host=host) from answer
    if isinstance(answer, UnicodeError):
        raise NameNotFound(host=host) from answer
    if isinstance(answer, Exception):
        raise NameLookupFailed(host=host, detail=str(answer)) from answer
    return answer


def open_socket(host: str, addresses: Collection[HostAddress], timeout: float) -> socket.socket:
    """Return a socket connected to the first address that answers, within `timeout` seconds for all of them.

    Raises TimedOut, ConnectionRefused or Unreachable; `host` is only for the explanation.
    """
    deadline = time.monotonic() + timeout
    trouble: MailError = Unreachable(host=host, port=0, detail="")
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        connection = socket.socket(address.family, socket.SOCK_STREAM)
        # The last address gets all the time that is left, the others their share, so that one dead IPv6 route does
        # not use up what the IPv4 address needs.
        connection.settimeout(max((deadline - time.monotonic()) / left, 0.1))
        try:
            connection.connect((address.ip, address.port))
        except OSError as error:
            connection.close()
            trouble = connection_error(error, host, address.port, timeout)
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(timeout)
        return connection
    raise trouble


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel ask once a minute whether the other end is still there: routers forget silent connections."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def tls_context(*, verify: bool = True, client_cert: str = "", client_key: str = "") -> ssl.SSLContext:
    """Return the TLS settings of a connection: TLS 1.2 or later, verified against the system's store.

    `client_cert` and `client_key` are PEM texts. Raises ClientCertificateUnusable.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert:
        _load_client_certificate(context, client_cert, client_key)
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The library reads files only: it gets one that nobody else can read and that is gone at once."""
    with tempfile.NamedTemporaryFile("w", dir=_memory_folder(), suffix=".pem") as pem:
        pem.write(f"{certificate.strip()}\n{key.strip()}\n")
        pem.flush()
        try:
            # An encrypted key would make the library ask on the terminal; an empty password makes it fail instead.
            context.load_cert_chain(pem.name, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ClientCertificateUnusable(detail=_reason(error)) from error


def _memory_folder() -> str | None:
    memory = "/dev/shm"  # noqa: S108 (mkstemp makes the file there, mode 0600)
    return memory if os.access(memory, os.W_OK) else None


def start_tls(
    connection: socket.socket, host: str, context: ssl.SSLContext, trusted_certificate: str = ""
) -> ssl.SSLSocket:
    """Secure a connected socket for the *name* of the server (SNI and check of the certificate).

    With a trusted certificate (its fingerprint) nothing but that very one is taken, before a word is said. The time
    limit is the socket's own. Raises TimedOut, TlsFailed or one of the CertificateRefused family; the socket is closed
    then.
    """
    try:
        secured = context.wrap_socket(connection, server_hostname=_ascii_name(host))
    except (OSError, ValueError) as error:
        limit = connection.gettimeout() or 0
        connection.close()
        raise tls_error(error, host, limit) from error
    if trusted_certificate and fingerprint(secured) != trusted_certificate:
        secured.close()
        raise CertificateChanged(host=host)
    return secured


def fingerprint(connection: ssl.SSLSocket) -> str:
    """Return the SHA-256 fingerprint of the certificate that the server presented."""
    return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()


def _ascii_name(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def tls_error(error: Exception, host: str, seconds: float) -> MailError:
    """Return our name for what went wrong while a connection was being secured."""
    if isinstance(error, ssl.SSLCertVerificationError):
        refusals: dict[int, type[CertificateRefused]] = {
            10: CertificateExpired,
            18: CertificateSelfSigned,
            19: CertificateSelfSigned,
            62: CertificateWrongName,
            64: CertificateWrongName,
        }
        return refusals.get(error.verify_code, CertificateRefused)(host=host, detail=error.verify_message)
    if isinstance(error, TimeoutError):
        return TimedOut(host=host, seconds=round(seconds))
    return TlsFailed(host=host, detail=_reason(error))


def connection_error(error: OSError, host: str, port: int, seconds: float, greeted: bool = False) -> MailError:
    """Return our name for what a socket said; ``greeted``: the server had said before that it is one."""
    if isinstance(error, TimeoutError | BlockingIOError):
        return timed_out(host, seconds, greeted)
    if isinstance(error, ConnectionRefusedError):
        return ConnectionRefused(host=host, port=port)
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError | ssl.SSLEOFError):
        return ConnectionLost(host=host)
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL):
        return Unreachable(host=host, port=port, detail=_reason(error))
    if isinstance(error, ssl.SSLError):
        return TlsFailed(host=host, detail=_reason(error))
    return Unreachable(host=host, port=port, detail=_reason(error))


def timed_out(host: str, seconds: float, greeted: bool) -> TimedOut:
    """Return the error for a server that does not answer in time."""
    return (FellSilent if greeted else TimedOut)(host=host, seconds=round(seconds))


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
