"""The web address that takes raw emails: its secret part is made from our key and the moment of its creation.

So no table, backup or export holds the secret, and no copy of it can be read anywhere: it is shown when it is made.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

from mail.settings import parameters
from mail.settings.config import settings

SECRET_BYTES = 20  # 160 bits: 32 letters


def created_at() -> datetime | None:
    """Return when the present address was created; None: there is none."""
    number = parameters.PUSH_ADDRESS.get()
    return datetime.fromtimestamp(number, UTC) if number else None


def create(now: datetime, user_id: int | None) -> str:
    """Make a new address, which ends the one before, and return its secret part; the caller commits."""
    number = max(int(now.timestamp()), parameters.PUSH_ADDRESS.get() + 1)
    parameters.put(parameters.PUSH_ADDRESS.key, str(number), now, user_id)
    return _secrets(number)[0]


def remove(now: datetime, user_id: int | None) -> None:
    """Let no address take emails any more; the caller commits."""
    parameters.put(parameters.PUSH_ADDRESS.key, "0", now, user_id)


def is_right(token: str) -> bool:
    """Say whether this is the secret part of the present address, in time that tells nothing of it."""
    number = parameters.PUSH_ADDRESS.get()
    given = token.encode()
    return bool(number) and any(hmac.compare_digest(secret.encode(), given) for secret in _secrets(number))


def _secrets(number: int) -> list[str]:
    """What the address is with each of our keys, the present one first."""
    made = (
        hashlib.blake2b(b"%d" % number, digest_size=SECRET_BYTES, key=key, person=b"push").digest()
        for key in settings().derive("push address")
    )
    return [base64.b32encode(one).decode().lower() for one in made]
