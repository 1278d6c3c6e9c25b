"""EDGE: what a server means when it says no: its answer in parts, and the sentence or the error that explains it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mail.errors import (
    AppPasswordWanted,
    ConnectionFailed,
    GreetingDeferred,
    GreetingRefused,
    HeloRefused,
    LoginDeferred,
    LoginRefused,
    PasswordLoginOff,
    TokenRefused,
)
from mail.sentences import Why, why
from mail.transport.smtp_meanings import (
    FINAL,
    GREETING,
    HELO,
    LOGIN,
    SESSION,
    TEMPORARY,
    Refusal,
    RefusedAt,
)

TEXT_LIMIT = 500

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Answer(NamedTuple):
    """An answer of a server: its code, the enhanced code ("" if there is none) and its text on one line."""

    code: int
    enhanced: str
    text: str

    @property
    def temporary(self) -> bool:
        """Whether trying again can help: only 5xx is final (RFC 5321 4.2.1)."""
        return not 500 <= self.code <= 599

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


def parts_of(reply: bytes) -> Answer:
    """Return code, enhanced code (RFC 3463) and text of an answer.

    >>> parts_of(b"550-5.1.1 No such\\r\\n550 5.1.1 user here\\r\\n")
    Answer(code=550, enhanced='5.1.1', text='No such user here')
    """
    enhanced, texts = "", []
    for line in reply.decode("utf-8", "replace").splitlines():
        text = line[4:]
        if found := _ENHANCED.match(text):
            enhanced, text = found[1], text[found.end() :]
        texts.append(text)
    return Answer(int(reply[:3]), enhanced, _CONTROLS.sub(" ", " ".join(texts)).strip()[:TEXT_LIMIT])


def said_in(reply: bytes) -> str:
    """Return an answer as the server gave it, on one line."""
    return str(parts_of(reply))


# --- a mail that was refused


def cause_of(at: RefusedAt, answer: Answer) -> str:
    """Return the code of the sentence that names why a mail was refused or put off at a step.

    >>> cause_of("rcpt", Answer(550, "5.7.1", "Client host blocked using zen.spamhaus.org"))
    'blocked_by_list'
    """
    table = TEMPORARY if answer.temporary else FINAL
    otherwise = "deferred" if answer.temporary else _UNCLEAR.get(at, "refused")
    return next((line.cause for line in table if line.fits(at, *answer)), otherwise)


_UNCLEAR = {"mail": "sender_refused", "rcpt": "recipient_refused"}


def reason_of(at: RefusedAt, answer: Answer, sender: str, recipient: str, host: str) -> Why:
    """Return why a mail was refused or put off by a server."""
    cause = cause_of(at, answer)
    address = sender if cause.startswith("sender_") else recipient
    return why(cause, address=address, reply=str(answer), host=host)


def speaks_of_session(answer: Answer) -> bool:
    """Say whether an answer means that this connection took as many mails as it may; another one takes more."""
    return re.search(SESSION, answer.text, re.IGNORECASE) is not None


# --- a connection that was refused


def greeting_refused(host: str, answer: Answer) -> ConnectionFailed:
    """Return our name for a server that does not want to begin."""
    otherwise = GreetingDeferred if answer.temporary else GreetingRefused
    return _error(GREETING, answer, otherwise)(host=host, reply=str(answer))


def introduction_refused(host: str, answer: Answer) -> ConnectionFailed:
    """Return our name for a server that does not want to go on after EHLO: mostly it is our name that it refuses.

    >>> introduction_refused("mx.test", Answer(501, "5.5.4", "Invalid domain name")).code
    'helo_refused'
    """
    about_name = answer.code in (501, 504) or re.search(HELO, answer.text, re.IGNORECASE)
    return HeloRefused(host=host, reply=str(answer)) if about_name else greeting_refused(host, answer)


def login_refused(host: str, user: str, answer: Answer, offered: str, by_token: bool = False) -> ConnectionFailed:
    """Return our name for a log-in that failed (RFC 4954 6); only some answers speak of the password.

    Nothing that a server says about passwords is meant when there was none: the token was refused.
    """
    otherwise = LoginDeferred if answer.temporary and answer.code != 432 else LoginRefused
    kind = _error(LOGIN, answer, otherwise)
    if by_token and kind in (LoginRefused, AppPasswordWanted, PasswordLoginOff):
        kind = TokenRefused
    return kind(host=host, user=user, reply=str(answer), offered=offered)


def _error(table: Sequence[Refusal], answer: Answer, otherwise: type[ConnectionFailed]) -> type[ConnectionFailed]:
    return next((line.error for line in table if line.fits(answer.code, answer.text)), otherwise)
