"""The receiver of the practice mailbox: a small SMTP server on the loopback address, inside the worker.

What it answers depends on the recipient: ``refuse-550@…`` and ``refuse-450@…`` are refused with that code, everybody
else's mail is stored, and 250 is said only after it was.
"""

import asyncio
import logging
import re
import threading

from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask
from sqlalchemy.exc import DBAPIError

from mail.maintenance import practice
from mail.queue.connections import practice_listens_at
from mail.settings.clock import now
from models import db

HOST = "127.0.0.1"
LARGEST = 50 * 1024 * 1024  # octets of a mail
REFUSE = re.compile(r"refuse-([45]\d\d)(?:[+._-].*)?@", re.IGNORECASE)
WORDS = {
    "4": "4.2.0 The practice mailbox defers this email, as requested by its address",
    "5": "5.1.1 The practice mailbox refuses this email, as requested by its address",
}

logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's: a line for every command


class Receiver:
    """The loop that listens. ``ended`` is set once nobody sends any more."""

    def __init__(self, app: Flask, ended: threading.Event) -> None:
        self._app, self._ended = app, ended

    def work(self) -> bool:
        """Receive until the end."""
        asyncio.run(self._listen())
        return False

    async def _listen(self) -> None:
        server = await asyncio.get_running_loop().create_server(self._protocol, HOST, 0)
        practice_listens_at(server.sockets[0].getsockname()[1])
        try:
            await asyncio.to_thread(self._ended.wait)
        finally:
            practice_listens_at(None)
            server.close()

    def _protocol(self) -> SMTP:
        return SMTP(self, hostname="practice.mailbox", ident="CoquiMail practice mailbox", data_size_limit=LARGEST,
                    enable_SMTPUTF8=True)  # fmt: skip

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Refuse the recipients whose address asks for it."""
        refused = REFUSE.match(address)
        if refused:
            return f"{refused[1]} {WORDS[refused[1][0]]}"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Store the mail for each recipient; only then it is accepted."""
        return await asyncio.to_thread(self._store, envelope)

    def _store(self, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        with self._app.app_context():
            try:
                practice.store(envelope.mail_from or "", envelope.rcpt_tos, content, now())
                db.session.commit()
            except DBAPIError:
                return "451 4.3.0 The practice mailbox can't store emails at the moment"
        return "250 2.0.0 Stored in the practice mailbox"
