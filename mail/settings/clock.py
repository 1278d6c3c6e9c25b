"""Business time: taken once per run and handed on as an argument; leases use the database's clock instead."""

from datetime import UTC, datetime, timedelta

from mail.settings.config import settings


def now() -> datetime:
    """Return the present moment in UTC; tests of processes move it by the seconds in ``COQUI_CLOCK_FILE``."""
    moment = datetime.now(UTC)
    clock_file = settings().clock_file
    if clock_file is None:
        return moment
    try:
        return moment + timedelta(seconds=float(clock_file.read_text() or 0))
    except FileNotFoundError:
        return moment
