"""The settings of Email Marketing as one thing: what a person saves together is checked and takes effect together."""

from datetime import datetime

from sqlalchemy import select

from mail.errors import ChangeRefused
from mail.sentences import why
from mail.settings import office, parameters
from models import OutgoingServer, db


def save(dedicated_id: int | None, postal_address: str, now: datetime, user_id: int | None = None) -> None:
    """Save which server is for mailings (None: no one in particular) and the postal address below each of them.

    Raises ``ChangeRefused`` with a reason for each field that can't be like this. The caller commits and wakes.
    """
    usable = select(OutgoingServer.id).where(OutgoingServer.id == dedicated_id, OutgoingServer.active)
    if dedicated_id is not None and db.session.scalar(usable) is None:
        raise ChangeRefused({"server": why("dedicated_server_needed")})
    parameters.put(parameters.DEDICATED_SERVER.key, str(dedicated_id or ""), now, user_id)
    parameters.put(parameters.COMPANY_ADDRESS.key, _in_one_line(postal_address), now, user_id)
    office.forget()


def _in_one_line(text: str) -> str:
    """Return an address as it is shown below a mailing.

    >>> _in_one_line("Main Street 1,\\n\\n 12345 Town ")
    'Main Street 1, 12345 Town'
    """
    return ", ".join(filter(None, (line.strip(" ,") for line in text.splitlines())))
