"""Rehearsal: all emails go to the practice mailbox, and fetching changes nothing on its servers.

It is kept among the parameters, which everything that sends or fetches reads anyway. It begins and ends in steps
(``mail/maintenance/rehearsal_steps.py``): whoever asks for that only stores it here.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import ScalarSelect, select

from mail.sentences import Why
from mail.settings import parameters
from models import SystemParameter, db
from models.store import upsert

KEY = f"{parameters.INTERNAL}rehearsal"


@dataclass(frozen=True)
class RehearsalEnd:
    """What somebody chose: whether what was written before is sent, and what was written in the rehearsal.

    ``mails``: the last email that was written in it. ``who`` chose it.
    """

    send_held: bool
    send_written: bool
    mails: int
    who: str
    user_id: int | None = None


@dataclass(frozen=True)
class Rehearsal:
    """Since when, and why. ``begins``: what waited is still being held. ``end``: it ends, and this is chosen.

    ``mails`` and ``before``: the last email of the office, and of the practice mailbox, that was there when it began.
    These numbers say what was written before: no claim, retry or recovery changes them, and no clock.
    ``place``: where it asks whether this is the real office, as ``installation`` knows it.
    """

    since: datetime
    why: Why
    before: int = 0
    mails: int = 0
    begins: bool = False
    end: RehearsalEnd | None = None
    place: dict[str, str] = field(default_factory=dict)

    @property
    def is_automatic(self) -> bool:
        """Whether nobody turned it on: there is a question to answer."""
        return not self.why["code"].startswith("rehearsal_by")

    @property
    def may_be_a_copy(self) -> bool:
        """Whether the real office may be at work elsewhere: whoever turns it on by the page knows that it is not."""
        return self.why["code"] != "rehearsal_by"

    @property
    def halts(self) -> bool:
        """Whether it begins or ends: nothing is claimed until that is done."""
        return self.begins or self.end is not None


def read(text: str | None) -> Rehearsal | None:
    """Return the rehearsal that a stored text describes, None when emails are sent for real.

    >>> stored = '{"since": "2026-11-28T10:00:00+00:00", "why": {"code": "rehearsal_by_command"}, "before": 7}'
    >>> found = read(stored)
    >>> found.before, found.is_automatic, found.may_be_a_copy, found.halts, read("")
    (7, False, True, False, None)
    """
    if not text:
        return None
    found = json.loads(text)
    found |= {
        "since": datetime.fromisoformat(found["since"]),
        "end": RehearsalEnd(**found["end"]) if found.get("end") else None,
    }
    return Rehearsal(**found)


def current() -> Rehearsal | None:
    """Return the rehearsal that goes on, from the moment it begins until its end is done; else None."""
    return read(parameters.stored(KEY))


def is_on() -> bool:
    """Say whether nothing may leave for a real mail server."""
    return bool(parameters.stored(KEY))


def asked() -> ScalarSelect[str]:
    """Return the stored text as a part of a statement that is executed anyway; see ``read``."""
    return select(SystemParameter.value).where(SystemParameter.key == KEY).scalar_subquery()


def locked(now: datetime) -> Rehearsal | None:
    """Return the rehearsal as it is now; nobody begins or changes it until the caller's transaction ends."""
    row = upsert(SystemParameter).values(key=KEY, value="", changed_at=now)
    db.session.execute(row.on_conflict_do_nothing())  # so that there is one to lock
    return read(db.session.scalar(select(SystemParameter.value).where(SystemParameter.key == KEY).with_for_update()))


def store(found: Rehearsal, now: datetime, user_id: int | None = None) -> None:
    """Note that nothing leaves, and how far its beginning or its end has come; the caller commits."""
    text = json.dumps(asdict(found) | {"since": found.since.isoformat()})
    parameters.store(KEY, text, now, user_id)


def turn_off(now: datetime, user_id: int | None = None) -> None:
    """Note that emails are sent for real again; the caller commits."""
    parameters.store(KEY, "", now, user_id)
