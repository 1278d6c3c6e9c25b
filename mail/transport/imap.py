"""EDGE: reading a mailbox by IMAP (RFC 3501).

Progress is by UIDVALIDITY and UID, never by the unseen flag, and everything is read with PEEK: what a person does in
the same mailbox changes nothing for us, and we change nothing for them before ``acknowledge``.

IMAPClient opens, secures and logs in. Its parser of answers is written for all of IMAP; the two answers that come once
a mail (its numbers, its body) are taken from imaplib below it, which is several times faster.
"""

import contextlib
import imaplib
import logging
import re
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from imapclient import IMAPClient, SocketTimeout
from imapclient.datetime_util import parse_to_datetime
from imapclient.exceptions import IMAPClientError, LoginError

from mail.errors import (
    ConnectionLost,
    FolderMissing,
    GreetingRefused,
    LoginNotOffered,
    LoginRefused,
    MailboxBusy,
    MailboxRefused,
    MailboxUnusable,
    MailError,
    NotUnderstood,
    StarttlsMissing,
    TookTooLong,
)
from mail.sentences import why
from mail.transport import mailbox, network
from mail.transport.mailbox import (
    FOLDERS_SHOWN,
    LARGEST_HEADER,
    LARGEST_MAIL,
    After,
    FetchedBatch,
    FetchedMail,
    Look,
    MailboxConnection,
    MailboxTarget,
    Position,
    in_batches,
    too_large,
    translate,
)

WINDOW = 500  # UIDs whose sizes are asked for at once; grows over gaps
WIDEST_WINDOW = 1_000_000
_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_DATE = re.compile(rb'\bINTERNALDATE "([^"]+)"')
_NONSENSE = ("unexpected", "got more than", "a literal of", " => BAD")  # imaplib's words for what is no IMAP
# An answer code that says "not now" (RFC 5530), as against a wrong password.
_BUSY = re.compile(r"\[(UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\]", re.IGNORECASE)

logging.getLogger("imapclient.imaplib").setLevel(logging.CRITICAL)  # the dialogue holds mails


class _Protocol(imaplib.IMAP4):
    """imaplib over a socket that is already connected, to an address that was checked."""

    def __init__(self, connected: socket.socket, host: str) -> None:
        self._connected = connected
        super().__init__(host)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        return self._connected

    def read(self, size: int) -> bytes:
        """Read a literal; one that is larger than anything we ask for is not waited for."""
        if size > 2 * LARGEST_MAIL:
            raise self.abort(f"a literal of {size} octets")
        return super().read(size)


class ImapConnection(IMAPClient):  # type: ignore[misc]  # the library has no types
    """IMAPClient over that socket."""

    def __init__(self, connected: socket.socket, target: MailboxTarget) -> None:
        self._connected = connected
        timeout = SocketTimeout(target.timeout_connect, target.timeout_read)
        super().__init__(target.host, target.port, ssl=False, timeout=timeout)
        self._imap.debug = 0
        self.normalise_times = False

    def _create_IMAP4(self) -> imaplib.IMAP4:
        return _Protocol(self._connected, self.host)

    def fetched(self, uids: str, items: str) -> list[Any]:
        """Return imaplib's own form of a FETCH answer: pairs of line and literal, and what stands between them."""
        status, answer = self._imap.uid("FETCH", uids, items)
        if status != "OK":
            said = answer[0] if answer else b""
            raise IMAPClientError(said.decode("utf-8", "replace") if isinstance(said, bytes) else status)
        return list(answer)

    def log_in(self, user: str, password: str) -> None:
        """Log in by AUTHENTICATE PLAIN, which carries every character, else by LOGIN."""
        if self._imap.state != "NONAUTH":  # PREAUTH: the server knows us already
            return
        if self.has_capability("AUTH=PLAIN"):
            self.plain_login(user, password)
        else:
            self.login(self._imap._quote(user), password)

    def waiting_for_login(self) -> bool:
        return bool(self._imap.state == "NONAUTH")


class ImapSession(mailbox.ProtocolSession):
    """The steps of an IMAP connection."""

    def __init__(self, target: MailboxTarget, line: MailboxConnection) -> None:
        super().__init__(target, line)
        self._session: ImapConnection | None = None

    @property
    def session(self) -> ImapConnection:
        assert self._session is not None, "greet() comes first"
        return self._session

    @contextlib.contextmanager
    def our_errors(self) -> Iterator[None]:
        """Raise our errors in place of imaplib's and the socket's."""
        try:
            yield
        except MailError as error:
            raise translate(error) from error.__cause__
        except imaplib.IMAP4.error as error:
            raise self._name(error) from error
        except OSError as error:
            raise self.line.error_for(error) from error
        except (ValueError, IndexError, KeyError, AttributeError, UnicodeError) as error:
            # What imaplib and IMAPClient do with an answer that is no IMAP at all.
            raise translate(self._nonsense(str(error))) from error

    def _name(self, error: imaplib.IMAP4.error) -> MailError:
        target, said = self.target, _plain(str(error))
        if self.line.late:
            return TookTooLong(host=target.host, seconds=round(self.line.seconds))
        if isinstance(error.__cause__, OSError):
            return self.line.error_for(error.__cause__)
        if any(sign in said for sign in _NONSENSE):
            return translate(self._nonsense(said))
        if isinstance(error, imaplib.IMAP4.abort):  # the end of the connection, or BYE with whatever text
            return translate(ConnectionLost(host=target.host))
        return MailboxRefused(host=target.host, reply=said)

    def _nonsense(self, said: str) -> MailError:
        return NotUnderstood(host=self.target.host, port=self.target.port, reply=_plain(said))

    def greet(self) -> str:
        """Read the greeting and return its text."""
        assert self.line.socket is not None
        with self.our_errors():
            try:
                self._session = ImapConnection(self.line.socket, self.target)
            except imaplib.IMAP4.error as error:
                greeting = error.args[0] if error.args else ""
                if isinstance(greeting, bytes) and greeting.startswith(b"* BYE"):
                    said = _plain(greeting[5:].decode("utf-8", "replace"))
                    raise GreetingRefused(host=self.target.host, reply=said) from error
                if isinstance(greeting, bytes):
                    raise self._nonsense(greeting.decode("utf-8", "replace")) from error
                raise
            return _plain(self.session.welcome.decode("utf-8", "replace")).removeprefix("* OK ")

    def capabilities(self) -> tuple[str, ...]:
        """Return what the server offers now."""
        with self.our_errors():
            return tuple(offer.decode("ascii", "replace").upper() for offer in self.session.capabilities())

    def upgrade(self) -> None:
        """STARTTLS. A server that does not offer it gets no password: never fall back to an open connection."""
        with self.our_errors():
            if not self.session.has_capability("STARTTLS") or not self.session.waiting_for_login():
                raise StarttlsMissing(host=self.target.host)
            try:
                self.session.starttls(self.line.context())
            except (OSError, ValueError) as error:
                raise network.tls_error(error, self.target.host, self.target.timeout_read) from error
            except IMAPClientError as error:
                raise StarttlsMissing(host=self.target.host) from error
            self.line.socket = self.session.socket()

    def login(self) -> None:
        """Log in."""
        target, session = self.target, self.session
        with self.our_errors():
            if session.waiting_for_login() and session.has_capability("LOGINDISABLED"):
                raise LoginNotOffered(host=target.host, offered=", ".join(self.capabilities()))
            try:
                session.log_in(target.user, target.password)
            except LoginError as error:
                said = _plain(str(error))
                if isinstance(error.__context__, imaplib.IMAP4.abort):
                    raise error.__context__ from None
                if _BUSY.search(said):
                    raise MailboxBusy(host=target.host, user=target.user, reply=said) from error
                raise LoginRefused(host=target.host, user=target.user, reply=said) from error
            except UnicodeEncodeError as error:
                reason = "this server takes ASCII letters only"
                raise LoginRefused(host=target.host, user=target.user, reply=reason) from error

    def select(self, *, readonly: bool) -> dict[bytes, Any]:
        """Open the folder and return what the server says of it."""
        session = self.session
        with self.our_errors():
            try:
                seen: dict[bytes, Any] = session.select_folder(self.target.folder, readonly=readonly)
            except imaplib.IMAP4.abort:
                raise
            except IMAPClientError as error:
                if _BUSY.search(str(error)):
                    raise MailboxBusy(host=self.target.host, user=self.target.user, reply=_plain(str(error))) from error
                raise FolderMissing(folder=self.target.folder, folders=self._folders()) from error
            if not seen.get(b"UIDVALIDITY"):
                raise MailboxUnusable(host=self.target.host, detail="UIDVALIDITY")
            return seen

    def look(self) -> Look:
        """Return what is in the folder."""
        seen = self.select(readonly=True)
        newest = None
        with self.our_errors():
            if seen[b"EXISTS"]:
                newest = max(
                    filter(
                        None,
                        (numbers[2] for numbers in _numbers(self._last())),
                    ),
                    default=None,
                )
        return Look(
            capabilities=self.capabilities(),
            mails=seen[b"EXISTS"],
            newest=newest,
            uidvalidity=seen[b"UIDVALIDITY"],
            uidnext=seen.get(b"UIDNEXT") or 0,
        )

    def _last(self) -> list[Any]:
        return self.session.fetched("*", "(UID RFC822.SIZE INTERNALDATE)")

    def _folders(self) -> str:
        names = [str(name) for _, _, name in self.session.list_folders()]
        return ", ".join(names[:FOLDERS_SHOWN]) + (" …" if len(names) > FOLDERS_SHOWN else "")

    def end(self) -> None:
        """Log out; a server that does not answer any more is left."""
        if self._session is not None and self.line.socket is not None and not self.line.late:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                self.line.socket.settimeout(2)
                self._session.logout()


class ImapMailbox(ImapSession):
    """An open IMAP folder; see ``mailbox.Mailbox`` for what its methods promise."""

    def __init__(self, target: MailboxTarget) -> None:
        super().__init__(target, MailboxConnection(target))
        try:
            with self.our_errors():
                self.start()
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        seen = self.select(readonly=False)
        self.uidvalidity = int(seen[b"UIDVALIDITY"])
        self._mails = int(seen[b"EXISTS"])
        self._uidnext = int(seen.get(b"UIDNEXT") or 0)

    def look(self) -> Look:
        """Return what is in the folder, and leave it open for ``acknowledge``."""
        seen = super().look()
        self._open()
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def batches(self, after: Position) -> Iterator[FetchedBatch]:
        """Yield the mails above ``after.last_uid``; all of them when the server counts anew (another UIDVALIDITY)."""
        last = after.last_uid if after.uidvalidity == self.uidvalidity else 0
        for numbers, upto in self._windows(last):
            wanted = [row for row in numbers if after.since is None or row[2] is None or row[2] >= after.since]
            rows = {str(uid): (uid, size, arrived) for uid, size, arrived in wanted}
            for keys in in_batches([(key, size) for key, (_, size, _) in rows.items()]):
                group = [rows[key] for key in keys]
                last = group[-1][0]
                yield FetchedBatch(tuple(self._mails_of(group)), self._position(after, last))
            if upto > last:  # nothing of ours up to here: the next run need not look again
                last = upto
                yield FetchedBatch((), self._position(after, last))

    def _position(self, after: Position, last: int) -> Position:
        return Position(self.uidvalidity, last, after.unknown, after.since)

    def _windows(self, last: int) -> Iterator[tuple[list[tuple[int, int, datetime | None]], int]]:
        """Yield UID, size and arrival of what lies above a UID, in pieces that do not grow with the mailbox.

        The second value is the UID up to which everything was seen.
        """
        if not self._mails:
            return
        with self.our_errors():
            end = self._uidnext - 1 if self._uidnext else max(uid for uid, _, _ in _numbers(self._last()))
        window = WINDOW
        while last < end:
            upto = min(last + window, end)
            with self.our_errors():
                answer = self.session.fetched(f"{last + 1}:{upto}", "(UID RFC822.SIZE INTERNALDATE)")
            numbers = sorted(row for row in _numbers(answer) if last < row[0] <= upto)
            yield numbers, upto
            window = WINDOW if numbers else min(window * 4, WIDEST_WINDOW)
            last = upto

    def _mails_of(self, rows: Sequence[tuple[int, int, datetime | None]]) -> Iterator[FetchedMail]:
        """Yield the mails of one batch in the order of their UIDs; one that was expunged meanwhile is left out."""
        small = [uid for uid, size, _ in rows if size <= LARGEST_MAIL]
        bodies = self._bodies(small) if small else {}
        for uid, size, arrived in rows:
            key = f"{self.uidvalidity}.{uid}"
            if size > LARGEST_MAIL:
                header = self._texts(str(uid), f"BODY.PEEK[HEADER]<0.{LARGEST_HEADER}>").get(uid, b"")
                yield FetchedMail(key, size, arrived, header, too_large(size))
            elif uid in bodies:
                raw = bodies[uid]
                if isinstance(raw, MailboxRefused):
                    problem = why("mailbox_mail_unreadable", reply=raw.why["values"]["reply"])
                    yield FetchedMail(key, size, arrived, b"", problem)
                else:
                    yield FetchedMail(key, size, arrived, raw)

    def _bodies(self, uids: Sequence[int]) -> dict[int, bytes | MailboxRefused]:
        """Return the mails; when the server says no to all together, one by one: one can't hold up the others."""
        try:
            return dict(self._texts(",".join(map(str, uids)), "BODY.PEEK[]"))
        except MailboxRefused as refusal:
            if len(uids) == 1:
                return {uids[0]: refusal}
        return {uid: text for one in uids for uid, text in self._bodies([one]).items()}

    def _texts(self, uids: str, item: str) -> dict[int, bytes]:
        with self.our_errors():
            return dict(_literals(self.session.fetched(uids, f"(UID {item})")))

    def acknowledge(self, batch: FetchedBatch, how: After, folder: str = "") -> None:
        """Mark the mails as read, move them to ``folder`` (made when it is missing), or delete them."""
        # Of a mail with a problem we have only a part: it is not deleted.
        mails = [mail for mail in batch.mails if how != "delete" or mail.problem is None]
        uids = [int(mail.source_key.partition(".")[2]) for mail in mails]
        session = self.session
        if not uids:
            return
        with self.our_errors():
            if how == "mark_read":
                session.add_flags(uids, [b"\\Seen"], silent=True)
            elif how == "move":
                self._move(session, uids, folder)
            else:
                self._delete(session, uids)

    def _move(self, session: ImapConnection, uids: list[int], folder: str) -> None:
        moves = session.has_capability("MOVE")
        carry = session.move if moves else session.copy
        try:
            carry(uids, folder)
        except IMAPClientError as error:
            if isinstance(error, imaplib.IMAP4.abort) or session.folder_exists(folder):
                raise
            session.create_folder(folder)
            carry(uids, folder)
        if not moves:
            self._delete(session, uids)

    def _delete(self, session: ImapConnection, uids: list[int]) -> None:
        session.add_flags(uids, [b"\\Deleted"], silent=True)
        if session.has_capability("UIDPLUS"):
            session.uid_expunge(uids)
        elif set(session.search("DELETED")) <= set(uids):
            session.expunge()
        # else: a plain EXPUNGE would also remove what a person has marked; the marks stay for the person to do it


def _numbers(answer: Sequence[Any]) -> Iterator[tuple[int, int, datetime | None]]:
    """Yield UID, size and arrival (UTC) from a FETCH answer; what the server tells on its own besides is left out.

    >>> list(_numbers([b'1 (UID 7 RFC822.SIZE 120 INTERNALDATE "17-Jul-1996 02:44:25 -0700")', b'2 (FLAGS ())']))
    [(7, 120, datetime.datetime(1996, 7, 17, 9, 44, 25, tzinfo=datetime.timezone.utc))]
    """
    for part in answer:
        if not isinstance(part, bytes):
            continue
        uid, size = _UID.search(part), _SIZE.search(part)
        if uid and size:
            yield int(uid[1]), int(size[1]), _arrival(_DATE.search(part))


def _arrival(found: re.Match[bytes] | None) -> datetime | None:
    if found is None:
        return None
    try:
        arrived: datetime = parse_to_datetime(found[1], normalise=False)
        return arrived.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _literals(answer: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
    """Yield UID and text from a FETCH answer of one BODY item; the UID may stand before or after the text.

    >>> list(_literals([(b'1 (UID 7 BODY[] {2}', b'hi'), b')', (b'2 (BODY[] {3}', b'you'), b' UID 9)']))
    [(7, b'hi'), (9, b'you')]
    >>> list(_literals([b'3 (UID 12 BODY[] "")', b'4 (FLAGS (\\\\Seen))']))
    [(12, b'')]
    """
    for part, after in zip(answer, [*answer[1:], b""], strict=True):
        if isinstance(part, tuple):
            uid = _UID.search(part[0]) or (_UID.search(after) if isinstance(after, bytes) else None)
            if uid:
                yield int(uid[1]), part[1]
        elif isinstance(part, bytes) and b"BODY[" in part and (uid := _UID.search(part)):
            text = re.search(rb'BODY\[[^]]*\](?:<\d+>)? (?:"(.*)"|NIL)', part, re.DOTALL)
            yield int(uid[1]), (text[1] or b"") if text else b""


def _plain(said: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", said)[:300].strip()
