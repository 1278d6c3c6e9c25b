"""EDGE: logging in to an outgoing server (RFC 4954), with a password or with an access token."""

import base64
import hmac
from collections.abc import Callable, Sequence
from typing import Protocol

from mail.errors import LoginNotOffered, MailError, NotUnderstood, TokenLoginNotOffered
from mail.transport import sasl
from mail.transport.smtp_answers import login_refused, parts_of

COMMAND_LIMIT = 512  # octets of a command line (RFC 5321 4.5.3.1.4), also of AUTH with its first words (RFC 4954 4)

Ask = Callable[[bytes, bytes], bytes]  # sends a line and returns the answer; the second one is shown in its place


class Login(Protocol):
    """Who logs in, and where."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def tokens(self) -> sasl.AccessTokens | None: ...


def by_password(login: Login, offered: Sequence[str], ask: Ask, hide: Callable[[str], None]) -> None:
    """Log in with user and password by the best way that both sides know.

    ``hide`` is told what must not be shown, whoever says it.
    """
    way = next((way for way in _WAYS if way in offered), None)
    if way is None:
        raise LoginNotOffered(host=login.host, offered=_shown(offered))
    for secret in sasl.said_of_password(login.user, login.password):
        hide(secret)
    reply = _WAYS[way](login, ask)
    if not _is_in(reply):
        refused = login_refused(login.host, login.user, parts_of(reply), _shown(offered))
        raise sasl.without_password(refused, login.user, login.password)


def by_token(login: Login, offered: Sequence[str], ask: Ask, hide: Callable[[str], None]) -> None:
    """Log in with the access token of an account, which is renewed once if the server refuses it.

    ``hide`` is told what must not be shown, whoever says it.
    """
    way = sasl.way_of(offered)
    if way is None:
        raise TokenLoginNotOffered(host=login.host, offered=_shown(offered))
    assert login.tokens is not None, "whoever logs in by token has some"

    def attempt(token: str) -> MailError | None:
        words = sasl.encoded(sasl.first_words(way, login.user, token, login.host, login.port))
        hide(words)
        hide(token)
        return _say_token(login, way, words, token, offered, ask)

    sasl.sign_in(login.tokens, attempt)


def _say_token(login: Login, way: str, words: str, token: str, offered: Sequence[str], ask: Ask) -> MailError | None:
    """Say a token and return the error of a refusal; the server says why first, and refuses when that was heard."""
    command, explained = f"AUTH {way}".encode(), ""
    if len(command) + len(words) + len(b" \r\n") <= COMMAND_LIMIT:
        reply = ask(command + f" {words}\r\n".encode(), command + b" ***")
    else:  # tokens of Microsoft are that long
        reply = ask(command + b"\r\n", b"")
        if reply[:3] == b"334":
            reply = ask(f"{words}\r\n".encode(), b"***")
    if reply[:3] == b"334":
        explained = sasl.masked(sasl.said_in_challenge(sasl.decoded(reply[4:])), token)
        reply = ask(f"{sasl.encoded(sasl.answer_to_challenge(way))}\r\n".encode(), b"")
    if _is_in(reply):
        return None
    answer = parts_of(sasl.masked(reply.decode("utf-8", "replace"), words, token).encode())
    if explained:
        answer = answer._replace(text=f"{answer.text} ({explained})")
    return login_refused(login.host, login.user, answer, _shown(offered), by_token=True)


def _is_in(reply: bytes) -> bool:
    return reply[:1] == b"2" or reply[:3] == b"503"  # signed in already, for example by the client certificate


def _shown(offered: Sequence[str]) -> str:
    return ", ".join(sorted(set(offered))) or "-"


def _plain(login: Login, ask: Ask) -> bytes:
    secret = f"\0{login.user}\0{login.password}".encode()  # UTF-8: RFC 4616
    return ask(b"AUTH PLAIN " + base64.b64encode(secret) + b"\r\n", b"AUTH PLAIN ***")


def _login(login: Login, ask: Ask) -> bytes:
    reply = ask(b"AUTH LOGIN\r\n", b"")
    for secret in (login.user, login.password):
        if reply[:3] != b"334":
            break
        reply = ask(base64.b64encode(secret.encode()) + b"\r\n", b"***")
    return reply


def _cram_md5(login: Login, ask: Ask) -> bytes:
    reply = ask(b"AUTH CRAM-MD5\r\n", b"")
    if reply[:3] != b"334":
        return reply
    try:
        challenge = base64.b64decode(reply[4:].strip(), validate=True)
    except ValueError:
        raise NotUnderstood(host=login.host, port=login.port) from None
    digest = hmac.new(login.password.encode(), challenge, "md5").hexdigest()  # RFC 2195 asks for MD5
    answer = base64.b64encode(f"{login.user} {digest}".encode())
    return ask(answer + b"\r\n", b"***")


_WAYS: dict[str, Callable[[Login, Ask], bytes]] = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5}
