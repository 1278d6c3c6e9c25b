"""Types of documents: the code of a new one, and its stages, of which none goes while documents are in it."""

import re
import unicodedata

from sqlalchemy import func, select

from mail.errors import ChangeRefused
from mail.sentences import why
from models import Alias, Document, DocumentType, Stage, db

MOST_STAGES = 30


def begin(type_: DocumentType) -> None:
    """Add a new type, with a code that no other has. The caller commits."""
    type_.code = code_of(type_.name, set(db.session.scalars(select(DocumentType.code))))
    db.session.add(type_)
    db.session.flush()


def arrange(type_: DocumentType, names: list[str]) -> None:
    """Give a type these stages in this order. A name in the place of one that is gone is that stage, renamed.

    Raises ``ChangeRefused`` for a stage that would go while documents are in it. The caller commits.
    """
    old = list(type_.stages)
    by_name = {stage.name: stage for stage in old}
    free = [stage for stage in old if stage.name not in names]
    kept: list[Stage] = []
    for place, name in enumerate(names):
        stage = by_name.get(name)
        if stage is None and place < len(old) and old[place] in free:
            stage = old[place]
            free.remove(stage)
            stage.name = name
        if stage is None:
            stage = Stage(name=name, position=-MOST_STAGES - 1 - place, type_id=type_.id)
            db.session.add(stage)
        kept.append(stage)
    for stage in free:
        _remove(stage)
    for place, stage in enumerate(kept, 1):  # two steps: a position belongs to one stage only, also in between
        stage.position = -place
    db.session.flush()
    for place, stage in enumerate(kept, 1):
        stage.position = place
    db.session.flush()
    db.session.expire(type_, ["stages"])


def _remove(stage: Stage) -> None:
    used = db.session.scalar(select(func.count()).where(Document.stage_id == stage.id))
    if used:
        raise ChangeRefused({"stages": why("stage_in_use", number=used, stage=stage.name)})
    for alias in db.session.scalars(select(Alias).where(Alias.type_id == stage.type_id, Alias.defaults.is_not(None))):
        if (alias.defaults or {}).get("stage_id") == stage.id:
            alias.defaults = {name: value for name, value in (alias.defaults or {}).items() if name != "stage_id"}
    db.session.delete(stage)
    db.session.flush()


def code_of(name: str, taken: set[str]) -> str:
    """Return a code for a new type, for addresses.

    >>> code_of("Sales order", set()), code_of("Año", {"ano"}), code_of("票", set())
    ('sales_order', 'ano_2', 'type')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    code = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:30] or "type"
    candidates = (code, *(f"{code}_{number}" for number in range(2, 1000)))
    return next(candidate for candidate in candidates if candidate not in taken)
