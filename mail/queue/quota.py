"""The one gate before every claim: how many emails a server may be given now, counted once over all processes.

``reserve`` counts what is about to be claimed, in the claim's own transaction; ``give_back`` what was not accepted
after all. Emails in doubt count as accepted. What a killed process had reserved stays counted until its window ends:
a limit is rather not used up than exceeded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update

from mail.decide import limits
from mail.decide.limits import DAY, HOUR, MINUTE, SECOND, WINDOWS, Limit, Used
from mail.sentences import Why, why
from mail.settings import parameters, rehearsal
from mail.settings.config import settings
from models import OutgoingServer, Quota, SlowedDomain, change_rows, db
from models.store import upsert

REACHED: dict[int, str] = {SECOND: "limit_second", MINUTE: "limit_minute", HOUR: "limit_hour", DAY: "limit_day"}
TURNED_OFF = ~OutgoingServer.active & ~OutgoingServer.draft
USUAL_ONLINE = 200  # emails a day through the default server, where the office is hosted for others


def limits_of(server_id: int, now: datetime) -> list[Limit]:
    """Return the limits of a server (0: the default server); none for the practice mailbox, as in a rehearsal, and
    none for a server that was turned off: another one is chosen for what waits for it.
    """
    if not server_id:
        return [] if rehearsal.is_on() else _limits_of_default(now)
    return limits_of_all(now, OutgoingServer.id == server_id, ~TURNED_OFF).get(server_id, [])


def _limits_of_default(now: datetime) -> list[Limit]:
    most = 0 if settings().default_server.practice else daily_limit(now)
    return [Limit(DAY, most)] if most else []


def limits_of_all(now: datetime, *which: ColumnElement[bool]) -> dict[int, list[Limit]]:
    """Return the limits of all server records, or of those to which a condition applies; none in a rehearsal."""
    return {number: limits for number, limits, rehearses in _limits_of_records(*which) if not rehearses}


def _limits_of_records(*which: ColumnElement[bool]) -> list[tuple[int, list[Limit], bool]]:
    """Return the numbers of server records with what they say, and whether it does not count because of a rehearsal."""
    row = OutgoingServer
    columns = (row.id, rehearsal.asked(), row.per_second, row.per_minute, row.per_hour, row.per_day)
    found = db.session.execute(select(*columns).where(*which))
    return [
        (number, [Limit(seconds, count) for seconds, count in zip(WINDOWS, most, strict=True) if count], bool(goes_on))
        for number, goes_on, *most in found
    ]


def daily_limit(now: datetime) -> int:
    """Return how many emails a day the default server is given, 0 for as many as there are."""
    wanted = parameters.DAILY_LIMIT.get()
    if wanted is not None and is_changed(now):
        return wanted
    return USUAL_ONLINE if settings().hosting == "online" else 0


def is_changed(now: datetime) -> bool:
    """Say whether somebody set the daily limit of the default server, and its last day is not over."""
    until = parameters.DAILY_LIMIT_UNTIL.get()
    return parameters.DAILY_LIMIT.get() is not None and (until is None or now.date() <= until)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Emails that are counted for a server and may go now; with none, why not and until when."""

    server_id: int
    emails: int
    at: datetime
    is_counted: bool = False
    why: Why | None = None
    until: datetime | None = None

    def give_back(self, emails: int) -> bool:
        """Take back so many that the server did not accept, as far as their windows go on; the caller commits.

        Returns whether there is room again. Whoever calls it lets go what waits for that (``waiting.use_room``).
        """
        if not self.is_counted or emails <= 0:
            return False
        taken_back = 0
        for seconds in WINDOWS:
            same = (
                Quota.server_id == self.server_id,
                Quota.seconds == seconds,
                Quota.window_start == limits.window_start(self.at, seconds),
            )
            taken_back += change_rows(update(Quota).where(*same, Quota.used >= emails).values(used=Quota.used - emails))
        return taken_back > 0


def reserve(server_id: int, wanted: int, now: datetime, due: Callable[[], int] | None = None) -> Reservation:
    """Count up to so many emails and say how many may go; the caller claims them in this transaction and commits.

    A server without limits has room for all, and nothing is counted. ``due`` says how many there are: it is asked only
    where there are limits, so that nobody else waits for room that is not needed.
    """
    found = limits_of(server_id, now)
    if not found:
        return Reservation(server_id, wanted, now)
    used = _used(server_id, found, now)
    room = limits.room(found, used, min(wanted, due()) if due else wanted, now)
    if room.reached:
        code = REACHED[room.reached.seconds]
        reason = why(code, server=_name(server_id), most=room.reached.most)
        return Reservation(server_id, 0, now, why=reason, until=room.until)
    for seconds, before in used.items():
        counted = limits.used_now(before, now, seconds) + room.emails
        start = max(limits.window_start(now, seconds), before.window_start)
        same = (Quota.server_id == server_id, Quota.seconds == seconds)
        change_rows(update(Quota).where(*same).values(window_start=start, used=counted))
    return Reservation(server_id, room.emails, now, is_counted=True)


def _used(server_id: int, found: Sequence[Limit], now: datetime) -> dict[int, Used]:
    """Lock the rows of these limits, in one order for everybody, and return what they say."""
    rows = [
        {"server_id": server_id, "seconds": limit.seconds, "window_start": limits.window_start(now, limit.seconds)}
        for limit in sorted(found)
    ]
    db.session.execute(upsert(Quota).values(rows).on_conflict_do_nothing())
    locked = db.session.execute(
        select(Quota.seconds, Quota.window_start, Quota.used)
        .where(Quota.server_id == server_id, Quota.seconds.in_([limit.seconds for limit in found]))
        .order_by(Quota.seconds)
        .with_for_update()
    )
    return {row.seconds: _of_now(server_id, row.seconds, Used(row.window_start, row.used), now) for row in locked}


def _of_now(server_id: int, seconds: int, used: Used, now: datetime) -> Used:
    """What was counted while a clock was far ahead counts in the present window, and not until that time comes."""
    if not limits.is_of_a_wrong_clock(used, now, seconds):
        return used
    start = limits.window_start(now, seconds)
    row = update(Quota).where(Quota.server_id == server_id, Quota.seconds == seconds)
    change_rows(row.values(window_start=start))
    return Used(start, used.emails)


def _name(server_id: int) -> str:
    if not server_id:
        return settings().default_server.name
    return db.session.scalar(select(OutgoingServer.name).where(OutgoingServer.id == server_id)) or ""


def forget(server_id: int) -> None:
    """Remove what a server has used, and was told, that was deleted: another one may get its number. Commits."""
    db.session.execute(delete(Quota).where(Quota.server_id == server_id))
    db.session.execute(delete(SlowedDomain).where(SlowedDomain.server_id == server_id))
    db.session.commit()


def used_of(server_id: int) -> dict[int, Used]:
    """Return what the last windows of a server have had, by their length."""
    rows = db.session.execute(select(Quota.seconds, Quota.window_start, Quota.used).where(Quota.server_id == server_id))
    return {row.seconds: Used(row.window_start, row.used) for row in rows}


def usage(server_id: int, now: datetime) -> list[tuple[Limit, int]]:
    """Return the limits of a server with the emails that count now, also while a rehearsal goes on."""
    used = used_of(server_id)
    records = _limits_of_records(OutgoingServer.id == server_id) if server_id else [(0, _limits_of_default(now), False)]
    return [
        (limit, limits.used_now(used.get(limit.seconds), now, limit.seconds))
        for _, found, _ in records
        for limit in found
    ]
