"""What may be saved of an alias: its address, what it gives to new documents, and who may write to it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from mail.errors import ChangeRefused
from mail.incoming import aliases
from mail.sentences import Why, why
from mail.settings.parameters import NotValid
from models import Alias, Document, DocumentType, Stage, db


def check(alias: Alias, local_part: str, stage_id: int | None, priority: int, domain: str | None = None) -> None:
    """Check an alias that was filled in, before it is saved, and move its address; raises ``ChangeRefused``.

    ``domain``: the only one that it works in, "" for all of ours, None as before. ``stage_id`` and ``priority`` are for
    the documents that it opens. What failed before was another alias.
    """
    stage = db.session.get(Stage, stage_id) if stage_id else None
    if errors := _errors(alias, stage):
        raise ChangeRefused(errors)
    alias.defaults = _defaults(alias, stage_id=stage.id if stage else 0, priority=priority)
    alias.valid = alias.why = None
    try:
        aliases.rename(alias, local_part, domain)
    except NotValid as error:
        raise ChangeRefused({"local_part": why("value_refused", sentence=str(error))}) from error


def _errors(alias: Alias, stage: Stage | None) -> dict[str, Why]:
    errors = {}
    if stage is not None and stage.type_id != alias.type_id:
        errors["stage_id"] = why("alias_stage_of_other_type")
    fixed = db.session.get(Document, alias.fixed_document_id) if alias.fixed_document_id else None
    if fixed is not None and fixed.type_id != alias.type_id:
        errors["fixed_document_id"] = why("alias_document_of_other_type")
    if alias.policy == "followers" and not alias.parent_document_id and not alias.fixed_document_id:
        errors["parent_document_id"] = why("alias_without_followers")
    return errors


def _defaults(alias: Alias, **given: int) -> dict[str, Any] | None:
    """What an alias gives to new documents; a value of 0 is none."""
    defaults = {**(alias.defaults or {}), **given}
    return {name: value for name, value in defaults.items() if value or name not in given} or None


def give(type_: DocumentType, local_part: str) -> None:
    """Give a type of document this alias, none for an empty text; raises ``ChangeRefused``. The caller commits."""
    present, text = next(iter(of_type(type_)), None), local_part.strip()
    try:
        if present is not None and text:
            aliases.rename(present, text)
        elif text:
            aliases.add(text, type_.id)
        elif present is not None:
            aliases.retire(present)
    except NotValid as error:
        raise ChangeRefused({"alias": why("value_refused", sentence=str(error))}) from error


def of_type(type_: DocumentType) -> list[Alias]:
    """Return the aliases that open new documents of a type."""
    return [alias for alias in all_of_type(type_) if alias.fixed_document_id is None]


def all_of_type(type_: DocumentType) -> Sequence[Alias]:
    """Return the aliases of a type, with those whose mail is posted on a fixed document."""
    own = select(Alias).where(Alias.type_id == type_.id, Alias.role == "alias", Alias.state == "active")
    return db.session.scalars(own.order_by(Alias.id)).all()
