"""EDGE: what the tests of all servers have in common: the steps on the way in, and how each is told."""

import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from cryptography import x509

from mail.errors import CertificateRefused, MailError, TimedOut
from mail.sentences import Why, ended, why
from mail.transport.network import HostAddress, fingerprint

StepState = Literal["ok", "warning", "failed", "skipped"]
Action = Callable[[], tuple[StepState, Why]]

TEST_SECONDS = 20.0  # a person is waiting
EXPIRES_SOON_DAYS = 14


class ConnectionStep(NamedTuple):
    """One step of a test: `name` is lookup, connect, tls, certificate, greeting, capabilities, login or folder;
    `state` is ok, warning, failed or skipped; `seconds` is how long it took.

    For each `address` that is tried as a sender: mail_from, rcpt_to, and note for what is to be said about it; `uses`
    is what the server is given the address for.
    """

    name: str
    state: StepState
    why: Why
    seconds: float
    address: str = ""
    uses: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


class FurtherStep(NamedTuple):
    """A step after the login, about a sender's `address` or none."""

    name: str
    action: Action
    address: str = ""


class ConnectionTest(ABC):
    """A test of a server, step by step as its use would go; what follows a failed step is skipped.

    A kind of server says how each step is taken, and what comes after the login (``further``).
    """

    def __init__(self, host: str, port: int, encryption: str, seconds: float) -> None:
        self.host, self.port, self.encryption, self.seconds = host, port, encryption, seconds
        self._blocked: Why | None = None
        self._refused = False  # the certificate was

    def run(self) -> Iterator[ConnectionStep]:
        """Yield each step as it is known; the connection is closed at the end."""
        speak: list[tuple[str, Action]] = [("greeting", self._greet), ("capabilities", self._introduce)]
        secure: list[tuple[str, Action]] = [("tls", self.secure)]
        way_in = [("lookup", self._look_up), ("connect", self._connect)]
        way_in += secure + speak if self.encryption == "tls" else speak + secure
        try:
            for name, action in (*way_in, ("login", self.sign_in)):
                yield self._take(name, action)
                if self._refused:
                    yield from self._presented()
            for step in self.further():
                yield self._take(step.name, step.action)._replace(address=step.address)
        finally:
            self.end()

    def _presented(self) -> Iterator[ConnectionStep]:
        """Say which certificate was refused, for an admin who knows it: it is looked at once more, without trust."""
        self._refused, started = False, time.monotonic()
        try:
            reason = self.again_without_trust().look_at_certificate()
        except MailError:
            return
        yield ConnectionStep("certificate", "warning", reason, round(time.monotonic() - started, 3))

    def look_at_certificate(self) -> Why:
        """Go as far as the certificate and return what it says; nothing is said to the server after that."""
        try:
            self.look_up()
            self.connect()
            if self.encryption != "tls":
                self.greet()
                self.introduce()
            self.secure()
            return certificate_shown(self.connection())
        finally:
            self.end()

    def _take(self, name: str, action: Action) -> ConnectionStep:
        if self._blocked:
            return ConnectionStep(name, "skipped", self._blocked, 0.0)
        started = time.monotonic()
        state: StepState
        try:
            state, reason = action()
        except MailError as error:
            late = self.out_of_time()
            reason = self._too_late(error, time.monotonic() - started) if late else self.reason(error)
            state, reason = "failed", ended(reason)
            self._refused = isinstance(error, CertificateRefused)
            self._blocked = why("test_out_of_time", seconds=round(self.seconds)) if late else why("test_not_tried")
        return ConnectionStep(name, state, reason, round(time.monotonic() - started, 3))

    def _too_late(self, error: MailError, took: float) -> Why:
        """Return why a step failed at the end of the time: often the steps before were slow, and not this one."""
        reason = self.reason(error)
        if not isinstance(error, TimedOut):
            return reason
        if took < self.seconds / 2:
            return why("test_ran_out", seconds=round(self.seconds))
        return why(reason["code"], **reason["values"] | {"seconds": max(round(took), 1)})

    def _look_up(self) -> tuple[StepState, Why]:
        shown = ", ".join(dict.fromkeys(address.ip for address in self.look_up()))
        return "ok", why("test_name_found", host=self.host, addresses=shown)

    def _connect(self) -> tuple[StepState, Why]:
        return "ok", why("test_connected", address=self.connect(), port=self.port)

    def _greet(self) -> tuple[StepState, Why]:
        return "ok", why("test_greeting", reply=self.greet())

    def _introduce(self) -> tuple[StepState, Why]:
        return "ok", why("test_capabilities", offered=", ".join(self.introduce()) or "-")

    @abstractmethod
    def look_up(self) -> Sequence[HostAddress]:
        """Return the addresses of the server."""

    @abstractmethod
    def connect(self) -> str:
        """Connect, and return the address that answered."""

    @abstractmethod
    def greet(self) -> str:
        """Return the server's greeting."""

    @abstractmethod
    def introduce(self) -> Sequence[str]:
        """Return what the server offers."""

    @abstractmethod
    def secure(self) -> tuple[StepState, Why]:
        """Encrypt the connection, if it is to be."""

    @abstractmethod
    def again_without_trust(self) -> "ConnectionTest":
        """Return a new test of the same server that takes any certificate."""

    @abstractmethod
    def connection(self) -> socket.socket | None:
        """Return the connection as it is now."""

    @abstractmethod
    def sign_in(self) -> tuple[StepState, Why]:
        """Log in, if there is a login."""

    @abstractmethod
    def further(self) -> Sequence[FurtherStep]:
        """Return the steps after the login."""

    @abstractmethod
    def out_of_time(self) -> bool:
        """Return whether a failure came from the time limit of the whole test."""

    @abstractmethod
    def end(self) -> None:
        """Let go of the connection."""

    def reason(self, error: MailError) -> Why:
        """Return what a failed step says."""
        return error.why


def certificate_seen(connection: socket.socket | None, verified: bool, trusted: str = "") -> tuple[StepState, Why]:
    """Return what the test says of an encrypted connection."""
    assert isinstance(connection, ssl.SSLSocket)
    version = connection.version()
    if trusted:
        return "ok", why("test_tls_trusted", version=version, fingerprint=readable(trusted))
    if not verified:
        return "warning", why("test_tls_unverified", version=version)
    certificate = connection.getpeercert() or {}
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = int((expires.timestamp() - time.time()) // 86400)
    if days < 1:
        return "warning", why("test_tls_expires_today", version=version, expires=f"{expires:%Y-%m-%d}")
    if days < EXPIRES_SOON_DAYS:
        return "warning", why("test_tls_expires_soon", version=version, expires=f"{expires:%Y-%m-%d}", days=days)
    return "ok", why("test_tls", version=version, expires=f"{expires:%Y-%m-%d}")


def certificate_shown(connection: socket.socket | None) -> Why:
    """Return what a certificate says of itself, for somebody who is to decide whether to trust it."""
    assert isinstance(connection, ssl.SSLSocket)
    shown = fingerprint(connection)
    try:
        certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
        subject, expires = certificate.subject.rfc4514_string(), f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    except ValueError:
        subject, expires = "?", "?"
    values = {"subject": subject[:200], "expires": expires, "shown": readable(shown), "fingerprint": shown}
    return why("test_certificate_shown", **values)


def readable(fingerprint: str) -> str:
    """Return a fingerprint as it is compared by people.

    >>> readable("00ff1a")
    '00:FF:1A'
    """
    return ":".join(fingerprint[place : place + 2] for place in range(0, len(fingerprint), 2)).upper()
