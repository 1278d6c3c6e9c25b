"""EDGE: signing in to a mailbox with an access token; IMAP and POP3 differ only in how it is said."""

from collections.abc import Callable, Sequence
from typing import Protocol

from mail.errors import MailError, TokenLoginNotOffered
from mail.transport import sasl
from mail.transport.mailbox import MailboxTarget


class Session(Protocol):
    """A connection over which a token can be said."""

    def say_token(self, way: str, words: bytes) -> tuple[str, bytes] | None:
        """Say it and return None, or what the server answered and what it explained before."""
        ...


def sign_in_by_token(
    session: Session,
    target: MailboxTarget,
    ways: Sequence[str],
    offered: Sequence[str],
    refused: Callable[[str, str], MailError],
) -> None:
    """Sign in by one of the ``ways`` that the server knows; ``offered`` is what it says of itself.

    Raises ``TokenLoginNotOffered`` when we know none of them, and what ``refused`` makes of the server's words.
    """
    way = sasl.way_of(ways)
    if way is None:
        raise TokenLoginNotOffered(host=target.host, offered=", ".join(offered))
    assert target.tokens is not None, "a target that signs in with tokens has them"

    def attempt(token: str) -> MailError | None:
        words = sasl.first_words(way, target.user, token, target.host, target.port)
        answer = session.say_token(way, words)
        if answer is None:
            return None
        said, explained = answer[0], sasl.said_in_challenge(answer[1])
        return refused(*(sasl.masked(one, sasl.encoded(words), token) for one in (said, explained)))

    sasl.sign_in(target.tokens, attempt)
