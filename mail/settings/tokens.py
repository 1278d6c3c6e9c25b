"""Signed ids for Message-IDs, our id header, the envelope sender, unsubscribe, confirmation and download links.

A token is ``kind, key id, [time], number, signature`` in lower-case base32: relays may change the case of a local
part, and a local part has 64 octets at most. It holds nothing secret; the 80 bits of keyed BLAKE2b make sure that
nobody but us can make one, so a number can't be guessed and a link can't be bent to another person. Nothing but
``a-z2-7`` is in it: no quoting in a header, an address, a URL or quoted-printable.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, lower case
SIGNATURE_BYTES = 10
SIGNATURE_LENGTH = 16  # 80 bits, five each
TIME_LENGTH = 7  # seconds since 1970 in 35 bits: until the year 3058
MAX_LENGTH = 40
MAX_NUMBER = 2**63 - 1


class TokenKind(StrEnum):
    """What a token stands for. The letter is in mails that were sent years ago: never give one a new meaning."""

    POST = "p"  # a post of a thread
    MAIL = "m"  # an outgoing mail: the Message-ID that all its lines share
    LINE = "l"  # one recipient line of an outgoing mail
    TRACE = "t"  # one recipient of a mailing
    LINE_BOUNCE = "b"  # envelope sender of a line
    TRACE_BOUNCE = "c"  # envelope sender of a trace
    UNSUBSCRIBE = "u"  # the link of a mailing, by trace
    VIEW = "v"  # "view in browser", by trace
    LOOP = "x"  # our own rejections and automatic answers, so that they are known when they come back
    CONFIRM = "f"  # double opt-in, by subscription; expires
    DOWNLOAD = "d"  # link to a large attachment; expires
    LOGIN = "n"  # log-in link; expires
    ARRIVAL = "a"  # a test of our own listener, by its check


EXPIRING = frozenset({TokenKind.CONFIRM, TokenKind.DOWNLOAD, TokenKind.LOGIN})

_KINDS = {kind.value: kind for kind in TokenKind}
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]  # ten bits at a time
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_CANDIDATE = re.compile(rf"(?<![a-z0-9])[a-z2-7]{{{SIGNATURE_LENGTH + 3},{MAX_LENGTH}}}(?=@)", re.IGNORECASE)


class Named(NamedTuple):
    """What a token names."""

    kind: TokenKind
    id: int


class Tokens:
    """Makes and reads tokens with the keys of this office.

    `keys` maps a key id (one character of a-z2-7) to a secret of at least 16 bytes; new tokens are signed with the
    first one, all are accepted, so a key is rotated by putting another in front.

    >>> tokens = Tokens({"a": b"a secret of this office"})
    >>> token = tokens.make(TokenKind.TRACE, 456)
    >>> tokens.read(token.upper())
    Named(kind=<TokenKind.TRACE: 't'>, id=456)
    >>> tokens.read("u" + token[1:]) is None
    True
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("there must be a key")
        self._states: dict[str, hashlib.blake2b] = {}
        for key_id, key in keys.items():
            if len(key_id) != 1 or key_id not in ALPHABET:
                raise ValueError(f"a key id is one character of {ALPHABET}")
            if len(key) < 16:
                raise ValueError("a key must have 16 bytes or more")
            # A copied state is quicker than starting with the key again; a key of BLAKE2b has 64 bytes at most.
            state = hashlib.blake2b(
                digest_size=SIGNATURE_BYTES, key=hashlib.sha512(key).digest(), person=b"coquimail token"
            )
            self._states[key_id] = state
        self._key_id: str = next(iter(keys))
        self._state = self._states[self._key_id]
        self._heads = {kind: kind.value + self._key_id for kind in TokenKind}

    def make(self, kind: TokenKind, id: int, expires_at: datetime | None = None) -> str:
        """Return the token for a row; at most 40 characters, the same one every time.

        Kinds that expire need `expires_at` (aware), the others never expire and refuse it.
        """
        if (expires_at is not None) is not (kind in EXPIRING):
            raise ValueError(f"{kind.name} tokens {'need' if kind in EXPIRING else 'have no'} expiry")
        if not 0 <= id <= MAX_NUMBER:
            raise ValueError("an id is a number of 63 bits")
        body = self._heads[kind]
        if expires_at is not None:
            body += _digits(int(expires_at.timestamp())).rjust(TIME_LENGTH, "a")
        body += _digits(id)
        return body + _signature(self._state, body)

    def maker(self, kind: TokenKind) -> Callable[[int], str]:
        """Return `make` for one kind that never expires, for the loop over a mailing's recipients.

        >>> tokens = Tokens({"a": b"a secret of this office"})
        >>> tokens.maker(TokenKind.TRACE)(7) == tokens.make(TokenKind.TRACE, 7)
        True
        """
        if kind in EXPIRING:
            raise ValueError(f"{kind.name} tokens need expiry")
        head, state = self._heads[kind], self._state

        def make(id: int) -> str:
            body = head + _digits(id)
            return body + _signature(state, body)

        return make

    def read(self, token: str, now: datetime | None = None) -> Named | None:
        """Return what a token names, in whatever case it came back; None for one that is not ours or was altered.

        A token of a kind that expires is None from its last moment on, and always when no `now` is given.
        """
        token = token.lower()
        if not SIGNATURE_LENGTH + 3 <= len(token) <= MAX_LENGTH or not token.isascii():
            return None
        body, signature = token[:-SIGNATURE_LENGTH], token[-SIGNATURE_LENGTH:]
        kind, state = _KINDS.get(body[0]), self._states.get(body[1])
        if kind is None or state is None or not hmac.compare_digest(_signature(state, body), signature):
            return None
        digits = body[2:]
        if kind in EXPIRING:
            expires_at = _number(digits[:TIME_LENGTH])
            if now is None or now.timestamp() >= expires_at:
                return None
            digits = digits[TIME_LENGTH:]
        return Named(kind, _number(digits))

    def message_id(self, kind: TokenKind, id: int, domain: str) -> str:
        """Return the Message-ID (RFC 5322 3.6.4) of a row, with its angle brackets."""
        return f"<{self.make(kind, id)}@{domain}>"

    def from_message_id(self, text: str) -> Named | None:
        """Return what the first of our Message-IDs in a header value names, whatever domain stands behind it."""
        return next(iter(self.from_references(text)), None)

    def from_references(self, text: str) -> list[Named]:
        """Return what all of our Message-IDs in a header value (References, In-Reply-To) name, in their order."""
        return [named for match in _CANDIDATE.finditer(text) if (named := self.read(match.group()))]


def _signature(state: "hashlib.blake2b", body: str) -> str:
    keyed = state.copy()
    keyed.update(body.encode())
    number = int.from_bytes(keyed.digest(), "big")
    pairs = _PAIRS
    low = number & 0xFFFFFFFFFF  # two halves of 40 bits stay small integers
    high = number >> 40
    return (
        pairs[high >> 30]
        + pairs[high >> 20 & 1023]
        + pairs[high >> 10 & 1023]
        + pairs[high & 1023]
        + pairs[low >> 30]
        + pairs[low >> 20 & 1023]
        + pairs[low >> 10 & 1023]
        + pairs[low & 1023]
    )


def _digits(number: int) -> str:
    """Return a number in base 32, without leading zeros."""
    if number < 1024:
        return _PAIRS[number] if number > 31 else ALPHABET[number]
    digits = ""
    while number >= 1024:
        digits = _PAIRS[number & 1023] + digits
        number >>= 10
    return (_PAIRS[number] if number > 31 else ALPHABET[number]) + digits


def _number(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * 32 + _VALUES[digit]
    return number
