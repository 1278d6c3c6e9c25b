"""What may be saved of a mailing list: its name is there once, and what an unfinished mailing needs stays on."""

from sqlalchemy import func, select

from mail.errors import ChangeRefused
from mail.outgoing.usage import UNFINISHED
from mail.sentences import why
from models import Mailing, MailingList, db, mailing_lists
from models.base import was_changed

SHOWN = 5  # mailings that are named


def check(row: MailingList) -> None:
    """Check a list that was filled in, before it is saved; raises ``ChangeRefused``."""
    row.name = " ".join(row.name.split())
    same = select(MailingList.id).where(func.lower(MailingList.name) == row.name.lower())
    if db.session.scalar(same.where(MailingList.id != (row.id or 0))) is not None:
        raise ChangeRefused({"name": why("list_name_taken")})
    if places := turned_off_in_use(row):
        raise ChangeRefused({"active": why("list_in_use", list=row.name, mailings=", ".join(map(_title, places)))})


def turned_off_in_use(row: MailingList) -> list[Mailing]:
    """Return the unfinished mailings that need a list which is just being turned off."""
    return unfinished(row) if was_changed(row, "active") and not row.active else []


def unfinished(row: MailingList) -> list[Mailing]:
    """Return the newest mailings to a list that are not finished."""
    query = select(Mailing).join(mailing_lists).where(mailing_lists.c.list_id == row.id)
    query = query.where(Mailing.state.in_(UNFINISHED)).order_by(Mailing.id.desc())
    return list(db.session.scalars(query.limit(SHOWN)))


def _title(mailing: Mailing) -> str:
    return mailing.subject or "–"
