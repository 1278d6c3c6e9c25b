"""Where this office is installed, as its database and its folder remember it, to be compared with where it is now."""

import json
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from mail.decide.installation import Installation, copied
from mail.sentences import Why, why
from mail.settings import parameters
from mail.settings.config import settings
from models import db, whereabouts

KEY = f"{parameters.INTERNAL}identity"


def here() -> Installation:
    """Return where the database of this process is."""
    database, path = whereabouts.database()
    return Installation(
        database,
        machine=whereabouts.machine() if path else "",
        path=path,
        address=settings().public_host,
        host=whereabouts.server_name() or socket.gethostname(),
        name=path or whereabouts.name(),
    )


def moved() -> Why | None:
    """Return how it is known that this database was copied, moved or restored; None where it is at home, or new."""
    text = parameters.stored(KEY)
    if not text:
        return None
    found, now_here = json.loads(text), here()
    reason = copied(Installation.of(found), now_here)
    if reason is None and found["starts"] < _starts_beside(now_here.database):
        return why("rehearsal_restored", here=now_here.place)
    return reason


def settle(now: datetime, user_id: int | None = None) -> None:
    """Store that the office is at home where it is now, and count its starts. Commits."""
    found, now_here = json.loads(parameters.stored(KEY) or "{}"), here()
    starts = max(found.get("starts", 0), _starts_beside(now_here.database)) + 1
    values = {**now_here.__dict__, "starts": starts}
    values["address"] = now_here.address or found.get("address", "")
    parameters.store(KEY, json.dumps(values), now, user_id)
    db.session.commit()
    _note_beside(now_here.database, starts)


# --- beside the database: a restored one knows of fewer starts than its folder


def _file() -> Path:
    return settings().data / "starts.json"


def _beside() -> dict[str, int]:
    with suppress(OSError, ValueError):
        found = json.loads(_file().read_text())
        if isinstance(found, dict):
            return found
    return {}


def _starts_beside(database: str) -> int:
    return _beside().get(database, 0)


def _note_beside(database: str, starts: int) -> None:
    path = _file()
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):  # a full disk hides a restored database, it does not stop the office
        fresh.write_text(json.dumps({**_beside(), database: starts}))
        fresh.replace(path)
