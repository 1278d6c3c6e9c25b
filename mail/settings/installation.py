"""Where this office is at home, as its database and its folder remember it, to be compared with where it is now.

Only workers look and store: the pages may run on another machine, with another folder.
"""

import json
import os
import secrets
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from mail.decide.installation import Installation, Marks, copied, restored
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.config import settings
from models import Mailing, OutgoingMail, SystemParameter, db, whereabouts

KEY = f"{parameters.INTERNAL}identity"
HOMES = 20  # of which a folder remembers the marks


def here() -> Installation:
    """Return where the database of this process is."""
    found = whereabouts.of_database()
    return Installation(
        **found,
        address="" if office.names_this_machine(settings().url) else settings().public_host,
        host=whereabouts.server_name() or socket.gethostname(),
        name=found.get("path") or whereabouts.name(),
    )


def moved() -> Why | None:
    """Return how it is known that this database was copied, moved or restored; None where it is at home, or new.

    It is looked at twice: nothing that passes stops the mail of an office.
    """
    reason = _seen()
    return reason and _seen()


def place() -> dict[str, str]:
    """Return what this database is known by, without what people call it."""
    return {name: value for name, value in here().__dict__.items() if name not in ("address", "host", "name")}


def is_elsewhere(known: dict[str, str]) -> bool:
    """Say whether this database is a copy of one that was known by this."""
    before, now_here = Installation.of(known), here()
    return copied(before, now_here, _stands(before.path, now_here.path)) is not None


def _seen() -> Why | None:
    beside = _beside()  # first: another worker may count on meanwhile
    found, now_here = _stored(), here()
    if not found:
        # Offices that send have an identity; one from before there was any, beside a folder of later, was restored.
        late = bool(beside["marks"]) and _has_written()
        return why("rehearsal_restored", here=now_here.place) if late else None
    before = Installation.of(found)
    marks = Marks(beside["marks"].get(found.get("home"), 0), beside["is_original"])
    return copied(before, now_here, _stands(before.path, now_here.path)) or restored(found["marks"], marks, now_here)


def settle(now: datetime, user_id: int | None = None) -> None:
    """Store that the office is at home where this worker is: a person said so. Commits, with what the caller changed.

    It is a home of its own: what any folder counted in the last one says nothing of it.
    """
    _store(now, user_id, afresh=True)


def count_on(now: datetime) -> None:
    """Store where the office is, with one more mark: nothing says that it was copied or restored. Commits."""
    _store(now)


def _store(now: datetime, user_id: int | None = None, afresh: bool = False) -> None:
    beside, now_here = _beside()["marks"], here()
    known = select(SystemParameter.value).where(SystemParameter.key == KEY).with_for_update()
    found = {} if afresh else json.loads(db.session.scalar(known) or "{}")  # as it is now: no mark is given twice
    home = found.get("home") or secrets.token_hex(8)
    marks = max(found.get("marks", 0) if "home" in found else 0, beside.pop(home, 0)) + 1
    # What this worker can't find out, another one could.
    values = {name: value or found.get(name, "") for name, value in now_here.__dict__.items()}
    parameters.store(KEY, json.dumps({**values, "home": home, "marks": marks}), now, user_id)
    db.session.commit()
    _note_beside(dict([*beside.items(), (home, marks)][-HOMES:]))


def _stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(parameters.stored(KEY) or "{}")
    return found


def _has_written() -> bool:
    """Whether anything here could be sent twice."""
    return any(db.session.scalar(select(row.id).limit(1)) for row in (OutgoingMail, Mailing))


def _stands(path: str, ours: str) -> bool:
    """Whether another file than ours is at a path."""
    with suppress(OSError):  # a folder that we may not look into
        return bool(path and ours) and Path(path).is_file() and not Path(path).samefile(ours)
    return False


# --- beside the database: one that was restored has fewer marks than its folder knows of


def _file() -> Path:
    return settings().data / "marks.json"


def _beside() -> dict[str, Any]:
    """Return the marks of each home, and whether the file is the one that a worker wrote."""
    with suppress(OSError, ValueError), _file().open() as file:
        found = json.load(file)
        if isinstance(found, dict) and isinstance(found.get("marks"), dict):
            then, born = found.get("born"), whereabouts.made_at(file.fileno())
            return {"marks": found["marks"], "is_original": not (then and born) or then == born}
    return {"marks": {}, "is_original": True}


def _note_beside(marks: dict[str, int]) -> None:
    path = _file()
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):  # a full disk hides a restored database, it does not stop the office
        fresh.unlink(missing_ok=True)  # so that it is made now
        with fresh.open("w") as file:
            json.dump({"born": whereabouts.made_at(file.fileno()), "marks": marks}, file)
        fresh.replace(path)
