"""EDGE: signing in with an access token in place of a password, as SMTP, IMAP and POP3 do it (XOAUTH2, RFC 7628).

The token comes from outside: ``AccessTokens`` is asked for it when the server is ready, and for another one when the
server refuses it. Nothing here is written anywhere.
"""

import base64
import json
import re
from collections.abc import Callable, Collection
from typing import Protocol

from mail.errors import ConnectionFailed, MailError, TokenRefused

WAYS = ("XOAUTH2", "OAUTHBEARER")  # the first is what Google and Microsoft document
SHORTEST_SECRET = 4  # letters; a shorter one is found in many words
CHALLENGE_LIMIT = 4096

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 2.1
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class SignInWaits(ConnectionFailed):
    """There is no valid token for a server that wants one: what is to go there waits, however long that takes."""

    code = "account_later"  # it could not be renewed just now


class AccountMissing(SignInWaits):  # nobody connected an account to the server yet
    code = "account_missing"


class AccountNew(SignInWaits):  # the account is known, and nobody signed in yet
    code = "account_new"


class AccountRemoved(SignInWaits):  # a moment ago: its servers have none now
    code = "account_removed"


class AccountEnded(SignInWaits):  # somebody must sign in again
    code = "account_ended"


class AccountUnreadable(SignInWaits):  # its tokens were stored under another key of ours
    code = "account_unreadable"


class AccessTokens(Protocol):
    """Where the access tokens of one account come from; both raise errors of ``mail.errors``."""

    def current(self) -> str:
        """Return a token that is valid now."""
        ...

    def instead_of(self, refused: str) -> str | None:
        """Return another token than one that a server refused, None when a new one would be refused as well."""
        ...


def way_of(offered: Collection[str]) -> str | None:
    """Return the way to sign in that both sides know.

    >>> way_of(["PLAIN", "OAUTHBEARER", "XOAUTH2"]), way_of(["OAUTHBEARER"]), way_of(["PLAIN"])
    ('XOAUTH2', 'OAUTHBEARER', None)
    """
    return next((way for way in WAYS if way in offered), None)


def first_words(way: str, user: str, token: str, host: str, port: int) -> bytes:
    """Return what is said to sign in; raises ``TokenRefused`` for what would say something else.

    >>> first_words("XOAUTH2", "ann@x.test", "abc", "mx", 587)
    b'user=ann@x.test\\x01auth=Bearer abc\\x01\\x01'
    >>> first_words("OAUTHBEARER", "a=b,c", "abc", "mx", 587)
    b'n,a=a=3Db=2Cc,\\x01host=mx\\x01port=587\\x01auth=Bearer abc\\x01\\x01'
    """
    if _CONTROLS.search(user) or not _TOKEN.fullmatch(token):
        raise TokenRefused(host=host, user=_CONTROLS.sub(" ", user), reply="invalid characters in user or token")
    if way == "XOAUTH2":
        return f"user={user}\1auth=Bearer {token}\1\1".encode()
    name = user.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={name},\1host={host}\1port={port}\1auth=Bearer {token}\1\1".encode()


def answer_to_challenge(way: str) -> bytes:
    """Return what ends a dialogue in which the server has said why it refuses, so that it says no.

    >>> answer_to_challenge("XOAUTH2"), answer_to_challenge("OAUTHBEARER")
    (b'', b'\\x01')
    """
    return b"" if way == "XOAUTH2" else b"\1"


def said_in_challenge(challenge: bytes) -> str:
    """Return what a server says about a token that it refuses, for people; "" when it says nothing that can be read.

    >>> said_in_challenge(b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}')
    'status 400, scope https://mail.google.com/'
    >>> said_in_challenge(b"{"), said_in_challenge(b'"x"'), said_in_challenge(b'{"status": {}}')
    ('', '', '')
    """
    try:
        found = json.loads(challenge[:CHALLENGE_LIMIT])
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict):
        return ""
    parts = ((name, found.get(name)) for name in ("status", "scope"))
    return ", ".join(f"{name} {_CONTROLS.sub(' ', str(value))[:200]}" for name, value in parts if _is_word(value))


def encoded(words: bytes) -> str:
    """Return words as they go over the wire."""
    return base64.b64encode(words).decode("ascii")


def decoded(words: bytes) -> bytes:
    """Return what a challenge says, b"" when it can't be read.

    >>> decoded(b" eyJ9 "), decoded(b"eyJ9e")
    (b'{"}', b'')
    """
    try:
        return base64.b64decode(words.strip())
    except ValueError:
        return b""


def masked(said: str, *secrets: str) -> str:
    """Return what a server said without the secrets that it may repeat.

    >>> masked("535 no such token: abc.def", "abc.def")
    '535 no such token: ***'
    """
    for secret in secrets:
        said = said.replace(secret, "***")
    return said


def said_of_password(user: str, password: str) -> list[str]:
    """Return how a password stands in what a client says, as a server may repeat it: the longest first.

    >>> said_of_password("ann", "secret")
    ['AGFubgBzZWNyZXQ=', 'c2VjcmV0', 'secret']
    """
    if len(password) < SHORTEST_SECRET:
        return []
    return [encoded(f"\0{user}\0{password}".encode()), encoded(password.encode()), password]


def without_password(error: MailError, user: str, password: str) -> MailError:
    """Return the error of a refused log-in whose words do not hold the password, if the server repeats it.

    It is left out of what is shown only: what the words mean was read before.
    """
    values = error.why["values"]
    said = masked(str(values.get("reply", "")), *said_of_password(user, password))
    return type(error)(**values | {"reply": said}) if "reply" in values else error


def _is_word(value: object) -> bool:
    return isinstance(value, str | int) and bool(value)


def sign_in(tokens: AccessTokens, attempt: Callable[[str], MailError | None]) -> None:
    """Sign in with the account's token, and once more with a fresh one if the server refuses the token itself.

    ``attempt`` says a token to the server and returns the error of a refusal; that of the last one is raised.
    """
    token = tokens.current()
    error = attempt(token)
    if isinstance(error, TokenRefused) and (fresh := tokens.instead_of(token)) is not None:
        error = attempt(fresh)
    if error is not None:
        raise error
