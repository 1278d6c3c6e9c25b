"""Mails that take long to be read: they let the others go first, and are read one by one beside them.

Only this process knows them: after its end they are found out anew.
"""

import threading
from collections.abc import Collection

from sqlalchemy import update

from models import ReceivedMail, db

_lock = threading.Lock()
_ids: set[int] = set()


def put_off(ids: Collection[int]) -> None:
    """Let some mails wait for their turn beside the others; commits."""
    if not ids:
        return
    with _lock:
        _ids.update(ids)
    db.session.execute(update(ReceivedMail).where(ReceivedMail.id.in_(ids)).values(worker_id=None))
    db.session.commit()


def waiting() -> set[int]:
    """Return which mails wait for their turn, or have it."""
    with _lock:
        return set(_ids)


def over(ids: Collection[int]) -> None:
    """Say that nothing is left to do with some mails."""
    with _lock:
        _ids.difference_update(ids)
