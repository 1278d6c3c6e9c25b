"""Mail that other servers hand to us by LMTP or SMTP. 250 is said once it is stored; to understand it is others' work.

A thread of its own speaks to the servers, another one stores: whatever arrives while it commits is its next commit.
"""

import asyncio
import errno
import logging
import os
import queue
import re
import socket
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

from aiosmtpd.smtp import Envelope, Session
from flask import Flask
from sqlalchemy import select

from mail.decide.reception import Reception, Standing
from mail.incoming import listener_notices, push
from mail.message.domains import wire_domain
from mail.queue.lease import LEASE, host, is_gone
from mail.sentences import Why, why
from mail.settings import office, rehearsal
from mail.settings.clock import now
from mail.settings.config import ListenAddress
from mail.settings.logs import discreet_traceback
from mail.transport import tls_server
from models import Worker, database_clock, db, reading, writing
from models.faults import keeps_waiting
from scheduler.dialogue import LmtpDialogue, Memory, SmtpDialogue, is_here, peer_of
from scheduler.loops import NotNow, is_time_to_say, say_once, what_is_missing

log = logging.getLogger("coquimail.listener")

MEMORY = 64 * 1024 * 1024  # octets of all mails that are being read: one of the largest, and others beside it
FOR_OTHERS = 8 * 1024 * 1024  # of them, which nobody gets by announcing a large one
MOST_CONNECTIONS = 100
MOST_OF_ONE = 20  # connections of one address elsewhere; a mail server of this machine may have them all
MAILS_A_MINUTE = 600  # of one address elsewhere
FRESH = 1.0  # seconds that what was known of our addresses counts
GROUP, GROUP_BYTES = 50, 4 * 1024 * 1024  # mails, and octets, of one commit
ANSWERS_WITHIN = 30.0  # seconds in which a thread that is alive says so
TOLD_AFTER = 3  # tries that failed, some two seconds apart
TOLD_AGAIN = 30  # tries after which those are told who were no admins before
LAST_WORDS = 5.0  # seconds for mails that are being stored when the worker ends
BACKLOG = 100
_NO_NAME = re.compile(r"[^A-Za-z0-9._:\[\]-]")  # a greeting with a comment would say where it came from itself


class MailWriter:
    """Stores mails, as many in one commit as have come; whoever waits for one learns how it ended."""

    def __init__(self, app: Flask, source: push.Source) -> None:
        self._app, self._source = app, source
        self._waiting: queue.SimpleQueue[tuple[push.PushedMail, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"store {source}", daemon=True)
        self._thread.start()

    def submit(self, mail: push.PushedMail) -> Future[None]:
        """Return what is done once the mail is committed, and fails when it is not."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # whoever hangs up meanwhile can't call it off
        self._waiting.put((mail, done))
        return done

    def is_alive(self) -> bool:
        """Return whether it goes on storing."""
        return self._thread.is_alive()

    def close(self) -> None:
        self._waiting.put(None)

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            first = self._waiting.get()
            group, octets = [first], 0
            while group[-1] is not None and len(group) < GROUP and octets < GROUP_BYTES:
                octets += len(group[-1][0].content)
                try:
                    group.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            goes_on = group[-1] is not None
            self._store([one for one in group if one is not None])

    def _store(self, group: list[tuple[push.PushedMail, Future[None]]]) -> None:
        if not group:
            return
        try:
            with self._app.app_context(), writing():
                push.store(self._source, [mail for mail, _ in group], now())
        except Exception as error:
            if len(group) > 1 and not keeps_waiting(error):  # one of them may be to blame, not the others
                for one in group:
                    self._store([one])
                return
            log.warning("%s mails can't be stored: %s", len(group), type(error).__name__)
            for _, done in group:
                done.set_exception(error)
            return
        for _, done in group:
            done.set_result(None)


@dataclass(frozen=True)
class _OurAddresses:
    """What is known of our addresses, and until when that counts."""

    reception: Reception
    takes_unknown: bool
    until: float


class ListenerDesk:
    """Decides about connections and recipients of one listener, and has its mails stored."""

    largest = push.LARGEST_MAIL

    def __init__(self, app: Flask, source: push.Source, memory: Memory) -> None:
        self.memory, self.hostname = memory, "localhost"
        self.storing = 0
        self._app, self.writer = app, MailWriter(app, source)
        self._known: _OurAddresses | None = None
        self._looking: asyncio.Future[_OurAddresses] | None = None
        self._connections: Counter[str] = Counter()
        self._minute, self._mails = 0, Counter[str]()

    # --- connections

    def admit(self, peer: str) -> bool:
        """Count a connection, unless there are too many."""
        if self._connections.total() >= MOST_CONNECTIONS:
            return False
        if not is_here(peer) and self._connections[peer] >= MOST_OF_ONE:
            return False
        self._connections[peer] += 1
        return True

    def leave(self, peer: str) -> None:
        """Count a connection no more."""
        self._connections -= Counter([peer])

    def may_send(self, peer: str) -> bool:
        """Count a mail of a server elsewhere, unless it has sent very many in this minute."""
        if is_here(peer):
            return True
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._mails = minute, Counter()
        self._mails[peer] += 1
        return self._mails[peer] <= MAILS_A_MINUTE

    # --- recipients

    async def refusal(self, recipient: str) -> str:
        """Return why a recipient is refused, "" if it is taken."""
        try:
            known = await self._our_addresses()
        except Exception as error:
            self.failed(error)
            return "451 4.3.0 Our addresses can't be looked up at the moment; try again later"
        standing = known.reception.standing(recipient)
        if standing is Standing.FOREIGN:
            return "550 5.7.1 Relaying denied: this domain is not received here"
        if standing is Standing.UNKNOWN and not known.takes_unknown:
            return "550 5.1.1 There is no such address here"
        return ""

    async def _our_addresses(self) -> _OurAddresses:
        if self._known is None or self._known.until < time.monotonic():
            if self._looking is None or self._looking.done():  # one look for all who ask meanwhile
                self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
            self._known = await asyncio.shield(self._looking)
        return self._known

    def _look(self) -> _OurAddresses:
        with self._app.app_context(), reading():
            name = urlsplit(office.base_url()).hostname or ""
            self.hostname = wire_domain(name) or "localhost"
            return _OurAddresses(push.reception(), push.takes_unknown(), time.monotonic() + FRESH)

    # --- mails

    async def take(self, session: Session, envelope: Envelope, content: bytes, protocol: str) -> str:
        """Return the reply to a mail: 250 once it is stored."""
        self.storing += 1
        try:
            known = await self._our_addresses()
            recipients = tuple(known.reception.ours(one) or one for one in envelope.rcpt_tos)
            sender = (envelope.mail_from or "").removeprefix("<>")
            received = self._received(session, protocol)
            done = asyncio.wrap_future(self.writer.submit(push.PushedMail(content, sender, recipients, received)))
            await _to_its_end(done)
        except Exception as error:
            self.failed(error)
            return "451 4.3.0 The message can't be stored at the moment; try again later"
        finally:
            self.storing -= 1
        return "250 2.0.0 Stored"

    def _received(self, session: Session, protocol: str) -> str:
        helo = _NO_NAME.sub("", session.host_name or "")[:255] or "unknown"
        peer = peer_of(session)
        shown = f"IPv6:{peer}" if ":" in peer else peer
        with self._app.app_context():
            at = format_datetime(now())
        return f"Received: from {helo} ([{shown}]) by {self.hostname} with {protocol}; {at}"

    def failed(self, error: Exception) -> None:
        """Write into the log why a mail was not taken, once a minute for all that fail like this one."""
        reason = what_is_missing(error)
        if reason is not None:
            say_once(reason)
        elif is_time_to_say(type(error).__name__):
            log.error("a mail can't be taken\n%s", "".join(discreet_traceback(error)))

    def close(self) -> None:
        self.writer.close()


async def _to_its_end(done: asyncio.Future[None]) -> None:
    """Wait for a mail that is being stored, whose server may hang up meanwhile, and be cut off as well."""
    hung_up = False
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:  # the mail still needs its memory
            hung_up = True
    if hung_up:
        raise asyncio.CancelledError
    done.result()


class PushListener:
    """The loop that keeps one address open: it begins anew whenever that is closed, and sees that it answers."""

    def __init__(self, app: Flask, address: ListenAddress, certificate: tuple[Path, Path] | None) -> None:
        self.name = f"receive {address}"
        self._app, self._address, self._certificate = app, address, certificate
        self._failures = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._desk: ListenerDesk | None = None

    def work(self) -> bool:
        """Open the address, or see that it is open; raises ``NotNow`` with the reason why it can't be."""
        with reading():
            goes_on = rehearsal.current()
        if goes_on is not None and goes_on.may_be_a_copy:  # then this is the mail of another office
            self.close()
            raise NotNow(why("listener_rehearses", address=str(self._address)))
        if self._desk is not None and not self._desk.writer.is_alive():
            log.error("%s stores nothing any more; it begins anew", self.name)
            self.close()
        if self._thread is None or not self._thread.is_alive():
            self._open()
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._look_after(), self._loop).result(ANSWERS_WITHIN)
        return False

    def close(self) -> None:
        """End it; mails that are being stored get their answer."""
        if self._loop is not None and self._ended is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(LAST_WORDS + 1)
        self._thread = self._loop = self._ended = self._desk = None

    def _open(self) -> None:
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name=self.name, daemon=True)
        self._thread.start()
        try:
            opened.result()
        except (OSError, tls_server.CertificateUnusable) as error:
            self._thread.join()
            self._thread = None
            reason = self._reason(error)
            say_once(reason)
            self._failures += 1
            if self._failures % TOLD_AGAIN == TOLD_AFTER:
                listener_notices.tell(str(self._address), reason, now())
            raise NotNow(reason) from error
        log.info("receiving at %s", self._address)
        self._failures = 0
        listener_notices.tell(
            str(self._address), why("listener_again", address=str(self._address)), now(), is_over=True
        )

    def _reason(self, error: Exception) -> Why:
        address = str(self._address)
        if isinstance(error, tls_server.CertificateUnusable) and self._certificate is not None:
            return why("listener_no_certificate", address=address, file=str(self._certificate[0]), error=str(error))
        number = getattr(error, "errno", None)  # asyncio's own words are for programmers
        return why("listener_failed", address=address, error=os.strerror(number) if number else str(error))

    def _run(self, opened: Future[None]) -> None:
        asyncio.run(self._serve(opened))

    async def _serve(self, opened: Future[None]) -> None:
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd's: it quotes what strangers say
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            self._context = tls_server.server_context(*self._certificate) if self._certificate else None
            self._seen = self._written_at()
            desk = self._desk = ListenerDesk(self._app, self._address.protocol, _memory)
            server = await self._listen(desk)
        except Exception as error:
            if self._desk is not None:
                self._desk.close()
                self._desk = None
            opened.set_exception(error)
            return
        opened.set_result(None)
        await self._ended.wait()
        server.close()
        end = time.monotonic() + LAST_WORDS
        while desk.storing and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)  # the last answers leave
        desk.close()

    async def _listen(self, desk: ListenerDesk) -> asyncio.Server:
        """Open the port, which is shared with no program but the other workers of this office on this machine."""
        make = LmtpDialogue if self._address.protocol == "lmtp" else SmtpDialogue

        async def listen(reuse_port: bool) -> asyncio.Server:
            where = self._address.host, self._address.port
            return await asyncio.get_running_loop().create_server(
                lambda: make(desk, tls_context=self._context), *where, backlog=BACKLOG, reuse_port=reuse_port
            )

        try:
            server = await listen(reuse_port=False)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not await asyncio.to_thread(self._is_open_elsewhere):
                raise
            return await listen(reuse_port=True)
        for opened in server.sockets:  # only now: it was nobody else's
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return server

    def _is_open_elsewhere(self) -> bool:
        """Return whether another worker of this office says that it receives at this address of this machine."""
        with self._app.app_context(), reading():
            alive = Worker.ended.is_(False), Worker.seen_at > database_clock() - LEASE, Worker.host == host()
            workers = [one for one in db.session.scalars(select(Worker).where(*alive)) if not is_gone(one)]
            said = [worker.loops.get(self.name) for worker in workers]
        return any(one and one["state"] == "waiting" and one["why"] is None for one in said)

    async def _look_after(self) -> None:
        """Show a certificate that was renewed to those who connect from now on."""
        if self._context is None or self._certificate is None or self._written_at() == self._seen:
            return
        self._seen = self._written_at()
        try:
            tls_server.load(self._context, *self._certificate)
        except tls_server.CertificateUnusable as error:
            log.error("the new certificate %s can't be used: %s", self._certificate[0], error)

    def _written_at(self) -> float:
        try:
            return max(path.stat().st_mtime for path in self._certificate or ())
        except (OSError, ValueError):
            return 0.0


_memory = Memory(MEMORY, of_one=push.LARGEST_MAIL, for_others=FOR_OTHERS)
