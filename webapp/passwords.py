"""Which passwords an account may have: long enough, and not among those that are guessed first."""

from flask_babel import gettext
from flask_security import hash_password
from zxcvbn import zxcvbn  # type: ignore[import-untyped]  # it has no types of its own

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 512  # letters
ESTIMATED = 72  # letters that the estimate looks at; its time grows with the square
SAFE_SCORE = 3  # of 4: more than 10^8 guesses


class AccountError(ValueError):
    """An account can't be made like this; the text says why."""


def hash_checked(password: str, *about: str) -> str:
    """Return the hash of a password that is hard to guess, also for somebody who knows the words ``about`` its owner.

    Raises ``AccountError``. Slow on purpose: call it before a transaction begins.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise AccountError(gettext("The password must have at least %(number)s characters.", number=SHORTEST_PASSWORD))
    if len(password) > LONGEST_PASSWORD:
        raise AccountError(gettext("The password may have at most %(number)s characters.", number=LONGEST_PASSWORD))
    if is_weak(password, *about):
        raise AccountError(
            gettext("This password is easy to guess. Use a sentence, or several words that have nothing in common.")
        )
    hashed: str = hash_password(password)
    return hashed


def is_weak(password: str, *about: str) -> bool:
    """Whether a password is among those that are tried first.

    >>> is_weak("aaaaaaaaaa"), is_weak("Password123"), is_weak("Ann.Lee@office.test", "ann.lee@office.test")
    (True, True, True)
    >>> is_weak("a frog in the rain")
    False
    """
    known = [part for words in about for part in (words, *words.replace("@", " ").replace(".", " ").split())]
    score: int = zxcvbn(password[:ESTIMATED], user_inputs=["coquimail", "coqui", *known])["score"]
    return score < SAFE_SCORE or len(set(password)) < 4
