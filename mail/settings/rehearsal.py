"""Rehearsal: all emails go to the practice mailbox, and fetching changes nothing on its servers.

It is kept among the parameters, which everything that sends or fetches reads anyway.
"""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ScalarSelect, select

from mail.sentences import Why
from mail.settings import parameters
from models import SystemParameter

KEY = f"{parameters.INTERNAL}rehearsal"


@dataclass(frozen=True)
class Rehearsal:
    """Since when, and why. ``before``: the last email of the practice mailbox that was there when it began."""

    since: datetime
    why: Why
    before: int = 0

    @property
    def is_automatic(self) -> bool:
        """Whether nobody turned it on: there is a question to answer."""
        return not self.why["code"].startswith("rehearsal_by")


def current() -> Rehearsal | None:
    """Return the rehearsal that goes on, None when emails are sent for real."""
    text = parameters.stored(KEY)
    if not text:
        return None
    found = json.loads(text)
    return Rehearsal(datetime.fromisoformat(found["since"]), found["why"], found["before"])


def is_on() -> bool:
    """Say whether nothing may leave for a real mail server."""
    return bool(parameters.stored(KEY))


def asked() -> ScalarSelect[str]:
    """Return the same as a part of a statement that is executed anyway: "" or None when emails are sent for real."""
    return select(SystemParameter.value).where(SystemParameter.key == KEY).scalar_subquery()


def turn_on(reason: Why, before: int, now: datetime, user_id: int | None = None) -> None:
    """Note that nothing leaves from now on; the caller commits."""
    text = json.dumps({"since": now.isoformat(), "why": reason, "before": before})
    parameters.store(KEY, text, now, user_id)


def turn_off(now: datetime, user_id: int | None = None) -> None:
    """Note that emails are sent for real again; the caller commits."""
    parameters.store(KEY, "", now, user_id)
