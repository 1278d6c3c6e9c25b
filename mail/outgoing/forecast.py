"""When waiting emails will have gone, by the limits of their server, and which other server has room for a mailing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select

from mail.decide import limits
from mail.decide.limits import Limit
from mail.decide.sender import Decision, Request, decide
from mail.queue import quota
from mail.settings import office
from mail.settings.parameters import DAILY_LIMIT_UNTIL
from models import Mailing, Recipient, db
from models.base import holds

MOST_COUNTED = 100_000  # waiting emails of a server


@dataclass(frozen=True, slots=True)
class Forecast:
    """How much of its limits a server has used, and when the last of ``emails`` goes; ``ahead`` are those of others."""

    server_name: str
    usage: Sequence[tuple[Limit, int]]
    emails: int
    ahead: int
    ends_at: datetime
    waits: bool  # not all of them may go now
    raise_ends: bool = False  # the daily limit that was set ends before
    with_room: Sequence[str] = ()  # other servers that may send as the same From and have room for all


def of_server(server_id: int, name: str, now: datetime) -> Forecast:
    """Return the forecast for what waits for a server (0: the default server)."""
    return _forecast(server_id, name, 0, backlog(server_id), now)


def of_mailing(row: Mailing, decision: Decision, recipients: int, now: datetime) -> Forecast | None:
    """Return the forecast for the recipients of a mailing; None when its server has no limits."""
    server_id = decision.server_id or 0
    if decision.failure or not quota.limits_of(server_id, now):
        return None
    return _forecast(server_id, decision.server_name, recipients, backlog(server_id, besides=row.id or 0), now)


def with_other_servers(forecast: Forecast, request: Request, decision: Decision, now: datetime) -> Forecast:
    """Return a forecast that names the servers which may send as the same From and have room for all now."""
    if not forecast.waits:
        return forecast
    snapshot, all_limits = office.load(), quota.limits_of_all(now)
    names = []
    for server in snapshot.servers:
        if not server.active or server.id is None or server.id == decision.server_id:
            continue
        found = all_limits.get(server.id, [])
        used = quota.used_of(server.id) if found else {}
        wanted = forecast.emails + (backlog(server.id) if found else 0)
        if limits.room(found, used, wanted, now).emails < wanted:
            continue
        other = decide(replace(request, forced_server=server.id), snapshot.servers, snapshot.office)
        if other.failure is None and other.from_after == decision.from_after:
            names.append(server.name)
    return replace(forecast, with_room=names)


def _forecast(server_id: int, name: str, emails: int, ahead: int, now: datetime) -> Forecast:
    found, used = quota.limits_of(server_id, now), quota.used_of(server_id)
    ends_at = limits.last_goes_at(found, used, emails + ahead, now)
    last_day = DAILY_LIMIT_UNTIL.get() if server_id == 0 and quota.is_changed(now) else None
    usage = [(limit, limits.used_now(used.get(limit.seconds), now, limit.seconds)) for limit in found]
    raise_ends = last_day is not None and ends_at.date() > last_day
    return Forecast(name, usage, emails, ahead, ends_at, waits=ends_at > now, raise_ends=raise_ends)


def backlog(server_id: int, besides: int = 0) -> int:
    """Count the emails that wait for a server (0: the default server), but for those of one mailing."""
    lines = (
        select(Recipient.id)
        .where(holds(Recipient.state, "queued"), Recipient.server_id == server_id, Recipient.wait != "schedule")
        .limit(MOST_COUNTED)
    )
    final = Mailing.sent + Mailing.failed + Mailing.unknown + Mailing.bounced + Mailing.cancelled
    mailings = select(func.coalesce(func.sum(Mailing.total - final), 0)).where(
        Mailing.state == "sending", func.coalesce(Mailing.server_id, 0) == server_id, Mailing.id != besides
    )
    waiting = select(func.count()).select_from(lines.subquery())
    return (db.session.scalar(waiting) or 0) + (db.session.scalar(mailings) or 0)
