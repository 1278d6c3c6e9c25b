"""Users in whose name mail came in that may be forged, and that became no post: each is told, once until it is read."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import select

from mail.decide.outcomes import Rejected
from mail.incoming.case import Case
from mail.incoming.lookup import RoutingContext
from mail.sentences import why
from models import Event, Notification, db

CODE = "notice_forged_name"


def tell_rejected(cases: Sequence[Case], context: RoutingContext, now: datetime) -> None:
    """Tell users of rejected mail that names them and may be forged; the caller commits."""
    named: dict[int, Case] = {}
    for case in cases:
        if case.routing.mark == "forged" and any(isinstance(one, Rejected) for one in case.routing.outcomes):
            named |= dict.fromkeys(users_named(case, context), case)
    told = _told(named) if named else set()
    for user_id, case in named.items():
        if user_id not in told:
            reason = why(CODE, sender=case.from_text, address=", ".join(case.message.recipients[:3]))
            db.session.add(Notification(user_id=user_id, kind="notice", why=reason, at=now))
            Event.add([f"inbox:{user_id}"], now)


def users_named(case: Case, context: RoutingContext) -> list[int]:
    """Return the users whom a mail names as its sender, or as its author."""
    people = (context.author_of(address) for address in (case.asked.sender, case.asked.author))
    return sorted({person.user_id for person in people if person is not None and person.user_id is not None})


def _told(user_ids: Iterable[int]) -> set[int]:
    unread = select(Notification.user_id, Notification.why).where(
        Notification.user_id.in_(list(user_ids)), Notification.kind == "notice", Notification.read_at.is_(None)
    )
    return {row.user_id for row in db.session.execute(unread) if row.why and row.why["code"] == CODE}
