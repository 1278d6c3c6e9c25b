"""Does mail that is handed to our own listener arrive? One email goes all the way, and nothing is made of it."""

import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import format_datetime

from flask_babel import gettext
from sqlalchemy import func, select

from mail.message.address import wire_address
from mail.message.parse import OWN_ID_HEADER
from mail.sentences import why
from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import ListenAddress, settings
from mail.settings.tokens import TokenKind
from mail.transport.handover import hand_over
from mail.transport.steps import ConnectionStep
from models import ReceivedMail, db, reading

PATIENCE = 20.0  # seconds
LOOK_EVERY = 0.05
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not listened on


def steps(check_id: int) -> Iterator[ConnectionStep]:
    """Hand an email to each listener of this worker and wait until it is in the ledger, processed."""
    with reading():
        address = office.load().office.catchall_address or ""
    listeners = settings().listen
    if not listeners:
        yield ConnectionStep("listener", "failed", why("listener_test_no_listener"), 0.0)
    elif not address:
        yield ConnectionStep("listener", "failed", why("listener_test_no_address"), 0.0)
    else:
        for number, listener in enumerate(listeners):
            yield from _try(listener, address, office.tokens().make(TokenKind.ARRIVAL, check_id * 100 + number))


def _try(listener: ListenAddress, address: str, token: str) -> Iterator[ConnectionStep]:
    began = time.monotonic()
    with reading():
        last = db.session.scalar(select(func.max(ReceivedMail.id))) or 0
    values = {"listener": str(listener), "address": address}
    host = EVERYWHERE.get(listener.host, listener.host)
    try:
        handed = hand_over(listener.protocol, host, listener.port, wire_address(address), _email(address, token))
    except OSError as error:
        reason = why("listener_test_unreachable", listener=str(listener), error=error.strerror or str(error))
        yield ConnectionStep("listener", "failed", reason, round(time.monotonic() - began, 3))
        return
    code = "listener_test_accepted" if handed.accepted else "listener_test_refused"
    reason = why(code, **values, reply=handed.reply)
    yield ConnectionStep("accepted", "ok" if handed.accepted else "failed", reason, round(time.monotonic() - began, 3))
    if not handed.accepted:
        return
    while not _is_understood(last, token):
        if time.monotonic() - began > PATIENCE:
            yield ConnectionStep("understood", "failed", why("listener_test_missing", seconds=int(PATIENCE)), PATIENCE)
            return
        time.sleep(LOOK_EVERY)
    seconds = time.monotonic() - began
    yield ConnectionStep(
        "understood", "ok", why("listener_test_understood", seconds=f"{seconds:.1f}"), round(seconds, 3)
    )


def _email(address: str, token: str) -> bytes:
    email = EmailMessage()
    email["From"] = email["To"] = wire_address(address)
    email["Subject"] = gettext("Test of Receive by push")
    email["Date"] = format_datetime(now())
    email["Message-ID"] = f"<{token}@{wire_address(address).rpartition('@')[2]}>"
    email[OWN_ID_HEADER] = token
    email["Auto-Submitted"] = "auto-generated"
    email.set_content(gettext("This email shows that emails arrive. Nothing is created for it.") + "\n")
    return email.as_bytes()


def _is_understood(after: int, token: str) -> bool:
    with reading():
        ours = ReceivedMail.message_id.startswith(f"<{token}@")
        found = db.session.scalar(select(ReceivedMail.state).where(ReceivedMail.id > after, ours).limit(1))
    return found not in (None, "received")
