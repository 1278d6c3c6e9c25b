"""What a test of a server stands for, and whether a stored password would leave for somebody else."""

import hashlib
from typing import Any

from sqlalchemy import inspect

from mail.decide.servers import needs_password_again
from mail.settings.config import settings
from models import IncomingServer, OutgoingServer

_PLACE = ("kind", "host", "port", "encryption", "verify_tls")


def settings_key(*values: Any) -> str:
    """Return what stands for these settings, secrets included, and gives none of them away."""
    return hashlib.blake2b(repr(values).encode(), key=settings().derive("tested")[0], digest_size=16).hexdigest()


def leads_elsewhere(server: "IncomingServer | OutgoingServer") -> bool:
    """Whether a row that was changed and is not saved yet now means another server or a less safe connection."""
    state: Any = inspect(server)
    if not state.persistent:
        return False
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in _PLACE:
        if name in state.attrs:
            history = state.attrs[name].history
            after[name] = getattr(server, name)
            before[name] = history.deleted[0] if history.deleted else after[name]
    return needs_password_again(before, after)
