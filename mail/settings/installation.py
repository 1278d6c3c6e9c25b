"""Where this office is installed, as its database and its folder remember it, to be compared with where it is now."""

import json
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from mail.decide.installation import Installation, copied
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.config import settings
from models import SystemParameter, db, whereabouts

KEY = f"{parameters.INTERNAL}identity"


def here() -> Installation:
    """Return where the database of this process is."""
    database, path = whereabouts.database()
    return Installation(
        database,
        machine=whereabouts.machine() if path else "",
        path=path,
        address="" if office.names_this_machine(settings().url) else settings().public_host,
        host=whereabouts.server_name() or socket.gethostname(),
        name=path or whereabouts.name(),
    )


def moved() -> Why | None:
    """Return how it is known that this database was copied, moved or restored; None where it is at home, or new.

    What stands beside the database is read first: another worker may count on meanwhile.
    """
    beside = _beside()
    text = parameters.stored(KEY)
    if not text:
        return None
    found, now_here = json.loads(text), here()
    reason = copied(Installation.of(found), now_here)
    if reason is None and found["marks"] < beside.get(now_here.database, 0):
        return why("rehearsal_restored", here=now_here.place)
    return reason


def settle(now: datetime, user_id: int | None = None) -> None:
    """Store that the office is at home where it is now, with one more mark. Commits."""
    beside, now_here = _beside(), here()
    known = select(SystemParameter.value).where(SystemParameter.key == KEY).with_for_update()
    found = json.loads(db.session.scalar(known) or "{}")  # as it is now: no mark is given twice
    marks = max(found.get("marks", 0), beside.get(now_here.database, 0)) + 1
    values = {**now_here.__dict__, "marks": marks}
    values["address"] = now_here.address or found.get("address", "")
    parameters.store(KEY, json.dumps(values), now, user_id)
    db.session.commit()
    _note_beside({**beside, now_here.database: marks})


# --- beside the database: one that was restored has fewer marks than its folder knows of


def _file() -> Path:
    return settings().data / "marks.json"


def _beside() -> dict[str, int]:
    with suppress(OSError, ValueError):
        found = json.loads(_file().read_text())
        if isinstance(found, dict):
            return found
    return {}


def _note_beside(marks: dict[str, int]) -> None:
    path = _file()
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):  # a full disk hides a restored database, it does not stop the office
        fresh.write_text(json.dumps(marks))
        fresh.replace(path)
