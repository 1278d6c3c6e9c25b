"""Questions to authorization servers: only to checked addresses, only by TLS, with bounded time and size."""

import json
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from mail.decide.oauth import Endpoints
from mail.errors import MailError
from mail.settings.oauth import Registration, tokens_for
from mail.transport import oauth_http
from tests.servers.certificates import Authority
from tests.servers.misbehaving import Script, misbehaving

FOLLOW = "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n"
HUGE = "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + '{"a": "' + "x" * 899_000
ANSWERS = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ""),
    ('HTTP/1.1 400 Bad\r\nContent-Length: 13\r\n\r\n{"error":"x"}', ""),
    (FOLLOW, "oauth_not_understood"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[17]", "oauth_not_understood"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + "[" * 20_000, "oauth_not_understood"),
    ("HTTP/1.1 503 Away\r\nContent-Length: 4\r\n\r\nbusy", "oauth_unreachable"),
    (HUGE, "oauth_not_understood"),
    ("220 mail.test ESMTP\r\n", "oauth_not_understood"),
    ("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 200, "oauth_not_understood"),
    ("", "oauth_"),
]


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Script]:
    """A script that reads a request by TLS, says something, and ends the connection."""
    key, certificate = authority.issue("web", tmp_path_factory.mktemp("web"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def says(answer: str) -> Script:
        def script(connection: ssl.socket) -> None:  # type: ignore[name-defined]
            with context.wrap_socket(connection, server_side=True) as peer:
                peer.recv(65536)
                peer.sendall(answer.encode())
                if answer:  # what was not read when it closes would take the answer away
                    with suppress(OSError):
                        peer.recv(65536)

        return script

    return says


@pytest.mark.parametrize(("answer", "code"), ANSWERS, ids=[str(number) for number in range(len(ANSWERS))])
def test_whatever_comes_back_is_an_object_or_a_reason(
    secured: Callable[[str], Script], trusted: Authority, answer: str, code: str
) -> None:
    with misbehaving(secured(answer)) as port:
        url = f"https://localhost:{port}/token"
        if not code:
            assert oauth_http.ask(url, {"a": "b"}, allow_local=True).status in (200, 400)
            return
        with pytest.raises(MailError) as raised:
            oauth_http.ask(url, allow_local=True)
    assert raised.value.why["code"].startswith(code) and raised.value.retry


def silent(connection: socket.socket) -> None:
    connection.recv(1 << 20)
    connection.recv(1)


@pytest.mark.heavy
def test_a_silent_server_ends_in_time(trusted: Authority) -> None:
    with misbehaving(silent) as port, pytest.raises(oauth_http.OauthUnreachable):
        oauth_http.ask(f"https://localhost:{port}/", allow_local=True, seconds=0.3)


@pytest.mark.heavy
def test_a_drip_ends_in_time(trusted: Authority, tmp_path: Path) -> None:
    key, certificate = trusted.issue("drip", tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def drip(connection: ssl.socket) -> None:  # type: ignore[name-defined]
        with context.wrap_socket(connection, server_side=True) as peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            peer.settimeout(0.05)
            while True:
                peer.sendall(b" ")
                try:
                    if not peer.recv(1):
                        return
                except TimeoutError:
                    continue

    with misbehaving(drip) as port, pytest.raises(oauth_http.OauthUnreachable):
        oauth_http.ask(f"https://localhost:{port}/", allow_local=True, seconds=0.6)


def test_what_finding_the_host_took_is_missing_later(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, look_up = [0.0], oauth_http.network.look_up

    def slowly(*what: Any, **how: Any) -> Any:
        clock[0] += 19.7
        return look_up(*what, **how)

    monkeypatch.setattr(oauth_http.network, "look_up", slowly)
    monkeypatch.setattr(oauth_http, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    began = time.monotonic()
    with misbehaving(silent) as port, pytest.raises(oauth_http.OauthUnreachable):
        oauth_http.ask(f"https://localhost:{port}/", allow_local=True, seconds=20)
    assert time.monotonic() - began < 15


def test_a_certificate_that_nobody_vouches_for_gets_no_secret(secured: Callable[[str], Script]) -> None:
    with misbehaving(secured("")) as port, pytest.raises(oauth_http.OauthCertificateRefused):
        oauth_http.ask(f"https://localhost:{port}/", {"client_secret": "x"}, allow_local=True)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://login.test/token", "oauth_not_https"),
        ("https://user:pass@login.test/", "oauth_not_https"),
        ("https:///token", "oauth_not_https"),
        ("https://[::1/", "oauth_not_https"),
        ("https://login.test:99999/", "oauth_not_https"),
        ("https://127.0.0.1/", "oauth_address_not_allowed"),
        ("https://169.254.169.254/latest", "oauth_address_not_allowed"),
        ("https://[::ffff:10.0.0.8]/", "oauth_address_not_allowed"),
        ("https://localhost:8443/", "oauth_address_not_allowed"),
        ("https://1.1.1.1:25/", "oauth_address_not_allowed"),
    ],
)
def test_where_strangers_are_hosted_only_public_addresses_are_asked(url: str, code: str) -> None:
    with pytest.raises(MailError) as raised:
        oauth_http.ask(url, {"secret": "x"}, allow_local=False)
    assert raised.value.why["code"] == code


def test_a_public_client_is_asked_again_without_its_secret(app: Flask, trusted: Authority, tmp_path: Path) -> None:
    """As Microsoft has it for what was signed in to by a device code."""
    key, certificate = trusted.issue("public", tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    refused = {"error": "invalid_client", "error_description": "AADSTS700025: Client is public"}
    heard: list[bytes] = []

    def script(connection: ssl.socket) -> None:  # type: ignore[name-defined]
        with context.wrap_socket(connection, server_side=True) as peer:
            asked = peer.recv(65536)
            while b"client_id=us" not in asked:
                asked += peer.recv(65536)
            heard.append(asked)
            secret = b"client_secret" in asked
            body = json.dumps(refused if secret else {"access_token": "tok", "expires_in": "3599"})
            status = "400 Bad" if secret else "200 OK"
            peer.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    with misbehaving(script) as port, app.app_context():
        registration = Registration("microsoft", "Microsoft", "us", "s3cret")
        endpoints = Endpoints("", f"https://localhost:{port}/token")
        given = tokens_for(registration, endpoints, grant_type="refresh_token", refresh_token="r")
    assert (given.access_token, given.seconds, len(heard)) == ("tok", 3599, 2)
