"""The receiver of the practice mailbox: a small SMTP server on the loopback address, inside the worker.

It takes emails in practice and in a rehearsal. What it answers depends on the recipient (``decide/practice_address``);
250 is said only after an email is stored.
"""

import asyncio
import logging
import threading
from datetime import datetime

from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask

from mail.decide.practice_address import wish_of
from mail.maintenance import practice
from mail.queue.connections import practice_listens_at
from mail.settings.clock import now
from models import db, reading
from models.faults import keeps_waiting

HOST = "127.0.0.1"
LARGEST = 50 * 1024 * 1024  # octets of a mail
CLOSED = "451 4.7.1 This office sends its emails for real: the practice mailbox is closed"

log = logging.getLogger("coquimail.practice")

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
        refusal = wish_of(address).refusal
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Store the mail for each recipient; only then it is accepted, after a while if an address asks for that."""
        await asyncio.sleep(max((wish_of(address).seconds for address in envelope.rcpt_tos), default=0))
        return await asyncio.to_thread(self._store, envelope)

    def _store(self, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        with self._app.app_context():
            moment = now()
            try:
                with reading():
                    if not practice.takes_mail():
                        return CLOSED
                stored = practice.store(envelope.mail_from or "", envelope.rcpt_tos, content, moment)
                db.session.commit()
            except Exception as error:  # aiosmtpd would refuse the mail for good
                if not keeps_waiting(error):
                    log.exception("the practice mailbox could not store an email")
                return "451 4.3.0 The practice mailbox can't store emails at the moment"
            self._act(stored, envelope.rcpt_tos, moment)
        return "250 2.0.0 Stored in the practice mailbox"

    def _act(self, stored: list[int], recipients: list[str], moment: datetime) -> None:
        """Do what addresses ask for; the mail is stored, whatever becomes of that."""
        try:
            practice.act_by_address(stored, recipients, moment)
        except Exception:
            log.exception("the practice mailbox could not do what an address asks for")
