"""Where an outgoing server is used: what would break if it were deleted or switched off."""

from sqlalchemy import func, or_, select

from mail.sentences import Why, why
from mail.settings.parameters import DEDICATED_SERVER
from models import Mailing, OutgoingMail, Recipient, db

UNFINISHED = ("draft", "scheduled", "sending", "paused")
SHOWN = 5  # mailings that are named; the others are counted


def of_server(server_id: int) -> list[Why]:
    """Return every place that needs this server; [] when it may go."""
    found = []
    if DEDICATED_SERVER.get() == server_id:
        found.append(why("used_as_dedicated"))
    using = select(Mailing).where(
        Mailing.state.in_(UNFINISHED), or_(Mailing.forced_server_id == server_id, Mailing.server_id == server_id)
    )
    number = db.session.scalar(select(func.count()).select_from(using.subquery())) or 0
    newest = using.with_only_columns(Mailing.subject).order_by(Mailing.id.desc()).limit(SHOWN)
    found += [why("used_by_mailing", subject=subject or "–") for subject in db.session.scalars(newest)]
    if number > SHOWN:
        found.append(why("used_by_more_mailings", number=number - SHOWN))
    waiting = db.session.scalar(
        select(func.count())
        .select_from(Recipient)
        .join(OutgoingMail, Recipient.mail_id == OutgoingMail.id)
        .where(Recipient.state.in_(("queued", "sending")), OutgoingMail.forced_server_id == server_id)
    )
    if waiting:
        found.append(why("used_by_waiting_mails", number=waiting))
    return found
