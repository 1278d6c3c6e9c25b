"""FLOW of changes to a document: check what somebody wants, change it, and write each change into its history."""

from dataclasses import dataclass
from datetime import datetime

from mail.documents import posts
from mail.errors import ChangeRefused
from mail.sentences import Why, why
from models import Document, Event, Stage, User, db

LONGEST_TITLE = 500


@dataclass(frozen=True, slots=True)
class DocumentEdit:
    """What somebody wants of a document; None leaves it as it is, a responsible person of 0 is nobody.

    ``priority`` comes with the words for the old and the new one.
    """

    title: str | None = None
    stage_id: int | None = None
    responsible_id: int | None = None
    priority: tuple[int, str, str] | None = None


def edit(document: Document, wanted: DocumentEdit, user: User, now: datetime) -> bool:
    """Change a document and return whether anything changed; raises ``ChangeRefused``. The caller commits."""
    title = None if wanted.title is None else " ".join(wanted.title.split())[:LONGEST_TITLE]
    if title == "":
        raise ChangeRefused({"title": why("title_empty")})
    changes = [*_stage(document, wanted.stage_id), *_priority(document, wanted.priority)]
    changes += _responsible(document, wanted.responsible_id)
    if title is not None and title != document.title:
        changes.append(why("changed_title", before=document.title, after=title))
        document.title = title
    for change in changes:
        posts.add_log(document.thread_id, change | {"values": change["values"] | {"who": user.name}}, now)
    if changes:
        Event.add([f"documents:{document.type_id}", f"thread:{document.thread_id}"], now)
    return bool(changes)


def _stage(document: Document, stage_id: int | None) -> list[Why]:
    stage = db.session.get(Stage, stage_id) if stage_id else None
    if stage is None or stage.type_id != document.type_id or stage.id == document.stage_id:
        return []
    before = document.stage.name if document.stage else "–"
    document.stage_id = stage.id
    return [why("changed_stage", before=before, after=stage.name)]


def _priority(document: Document, priority: tuple[int, str, str] | None) -> list[Why]:
    if priority is None or priority[0] == document.priority:
        return []
    document.priority = priority[0]
    return [why("changed_priority", before=priority[1], after=priority[2])]


def _responsible(document: Document, user_id: int | None) -> list[Why]:
    if user_id is None or user_id == (document.responsible_id or 0):
        return []
    before, after = document.responsible, db.session.get(User, user_id) if user_id else None
    document.responsible_id = after.id if after else None
    if after:
        posts.follow(document.thread_id, after.contact_id, why("follow_responsible"))
    return [responsible_change(before, after)]


def responsible_change(before: User | None, after: User | None) -> Why:
    """Return the line of the history for another responsible person; None is nobody."""
    if before and after:
        return why("changed_responsible", before=before.name, after=after.name)
    if before:
        return why("responsible_removed", before=before.name)
    return why("responsible_set", after=after and after.name)
