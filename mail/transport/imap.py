"""EDGE: reading a mailbox by IMAP (RFC 3501).

Progress is by UIDVALIDITY and UID, never by the unseen flag, and everything is read with PEEK: what a person does in
the same mailbox changes nothing for us, and we change nothing for them before ``acknowledge``.

IMAPClient opens, secures and logs in. Its parser of answers is written for all of IMAP; the two answers that come once
a mail (its numbers, its body) are taken from imaplib below it, which is several times faster.
"""

import contextlib
import imaplib
import logging
import socket
from collections.abc import Iterator
from typing import Any

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientError, LoginError

from mail.errors import (
    ConnectionLost,
    FolderMissing,
    FolderNotMade,
    FolderRefused,
    GreetingRefused,
    LoginNotOffered,
    LoginRefused,
    MailboxBusy,
    MailboxEnded,
    MailboxLater,
    MailboxReadOnly,
    MailboxUnusable,
    MailError,
    NotUnderstood,
    SharedMailboxMissing,
    StarttlsMissing,
    TookTooLong,
)
from mail.sentences import Why, why
from mail.transport import mailbox, network, refusal, sasl
from mail.transport.imap_answers import numbers, plain
from mail.transport.imap_folders import folder_for, shared_folder
from mail.transport.mailbox import LARGEST_MAIL, Look, MailboxConnection, MailboxTarget, translate
from mail.transport.mailbox_sign_in import sign_in_by_token
from mail.transport.spool import IN_MEMORY, PIECE, Spool

_NONSENSE = ("unexpected", "got more than", "a literal of")  # imaplib's words for what is no IMAP
LISTING = "(UID RFC822.SIZE INTERNALDATE)"
FOLDERS_SHOWN = 12
OUR_ID = {"name": "CoquiMail"}  # some providers let in only programs that say who they are (RFC 2971)

logging.getLogger("imapclient.imaplib").setLevel(logging.CRITICAL)  # the dialogue holds mails


class _Protocol(imaplib.IMAP4):
    """imaplib over a socket that is already connected, to an address that was checked."""

    def __init__(self, connected: socket.socket, target: MailboxTarget) -> None:
        self._connected, self._spool = connected, target.spool
        super().__init__(target.host)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        return self._connected

    def read(self, size: int) -> bytes | Spool:  # type: ignore[override]
        """Read a literal, a large one into a file; one that is larger than anything we ask for is not waited for."""
        if size > 2 * LARGEST_MAIL:
            raise self.abort(f"a literal of {size} octets")
        if size <= IN_MEMORY:
            return super().read(size)
        spool = Spool(self._spool)
        while spool.size < size:
            piece = super().read(min(PIECE, size - spool.size))
            if not piece:
                raise self.abort("socket error: EOF")
            spool.write(piece)
        return spool


class ImapConnection(IMAPClient):  # type: ignore[misc]  # the library has no types
    """IMAPClient over that socket."""

    def __init__(self, connected: socket.socket, target: MailboxTarget) -> None:
        self._connected, self._target = connected, target
        timeout = SocketTimeout(target.timeout_connect, target.timeout_read)
        super().__init__(target.host, target.port, ssl=False, timeout=timeout)
        self._imap.debug = 0
        self.normalise_times = False

    def _create_IMAP4(self) -> imaplib.IMAP4:
        return _Protocol(self._connected, self._target)

    def fetched(self, uids: str, items: str) -> list[Any]:
        """Return imaplib's own form of a FETCH answer: pairs of line and literal, and what stands between them."""
        status, answer = self._imap.uid("FETCH", uids, items)
        if status != "OK":
            said = answer[0] if answer else b""
            raise IMAPClientError(said.decode("utf-8", "replace") if isinstance(said, bytes) else status)
        return list(answer)

    def found(self, uids: str) -> set[int]:
        """Return those of some UIDs that are there, by SEARCH; none where the server refuses to search."""
        try:
            return set(self.search(["UID", uids]))
        except imaplib.IMAP4.abort:
            raise
        except IMAPClientError:
            return set()

    def select(self, folder: str, *, readonly: bool) -> dict[bytes, Any]:
        """Open a folder, also one that can only be read, and return what the server says of it."""
        with contextlib.suppress(imaplib.IMAP4.readonly):
            self.select_folder(folder, readonly=readonly)
        self._imap.is_readonly = True  # or imaplib refuses to say another word where the server says READ-ONLY
        seen: dict[bytes, Any] = self._process_select_response(self._imap.untagged_responses)
        return seen

    def log_in(self, user: str, password: str) -> None:
        """Log in by AUTHENTICATE PLAIN, which carries every character, else by LOGIN."""
        if self._imap.state != "NONAUTH":  # PREAUTH: the server knows us already
            return
        if self.has_capability("AUTH=PLAIN"):
            self.plain_login(user, password)
        else:
            self.login(self._imap._quote(user), password)

    def say_token(self, way: str, words: bytes) -> tuple[str, bytes] | None:
        """Sign in with a token; of a refusal return what was said last, and what the server explained before."""
        heard: list[bytes] = []

        def answer(challenge: bytes) -> bytes:
            heard.append(challenge)
            return words if len(heard) == 1 else sasl.answer_to_challenge(way)

        try:
            self._imap.authenticate(way, answer)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            return plain(str(error)), b"".join(heard[1:2])
        return None

    def waiting_for_login(self) -> bool:
        return bool(self._imap.state == "NONAUTH")


class ImapSession(mailbox.ProtocolSession):
    """The steps of an IMAP connection."""

    def __init__(self, target: MailboxTarget, line: MailboxConnection) -> None:
        super().__init__(target, line)
        self._session: ImapConnection | None = None
        self._shared: tuple[str, str] | None = None  # the folder of a shared mailbox, and what its folders begin with

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
            raise self._nonsense() from error

    def _name(self, error: imaplib.IMAP4.error) -> MailError:
        target, said = self.target, plain(str(error))
        if self.line.late:
            return TookTooLong(host=target.host, seconds=round(self.line.seconds))
        if isinstance(error.__cause__, OSError):
            return self.line.error_for(error.__cause__)
        if any(sign in said for sign in _NONSENSE):
            return self._nonsense()
        if not isinstance(error, imaplib.IMAP4.abort):
            return self.refused(said)
        goodbye = said.partition(" => ")[2] if said.startswith("command: ") else said  # the text of a BYE
        if not goodbye or goodbye.startswith("socket error"):
            return translate(ConnectionLost(host=target.host))
        kind = MailboxLater if refusal.meaning(goodbye) == "later" else MailboxEnded
        return kind(host=target.host, reply=goodbye)

    def _nonsense(self) -> MailError:
        if self.line.late:  # what was cut off in the middle of a line
            return TookTooLong(host=self.target.host, seconds=round(self.line.seconds))
        return translate(NotUnderstood(host=self.target.host, port=self.target.port))

    def greet(self) -> str:
        """Read the greeting and return its text."""
        assert self.line.socket is not None
        with self.our_errors():
            try:
                self._session = ImapConnection(self.line.socket, self.target)
            except imaplib.IMAP4.error as error:
                greeting = error.args[0] if error.args else ""
                if isinstance(greeting, bytes) and greeting.startswith(b"* BYE"):
                    said = plain(greeting[5:].decode("utf-8", "replace"))
                    raise GreetingRefused(host=self.target.host, reply=said) from error
                if isinstance(greeting, bytes):
                    raise self._nonsense() from error
                raise
            self.line.greeted = True
            return plain(self.session.welcome.decode("utf-8", "replace")).removeprefix("* OK ")

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
                if target.auth == "oauth2":
                    self._sign_in_by_token()
                else:
                    session.log_in(target.user, target.password)
            except LoginError as error:
                if isinstance(error.__context__, imaplib.IMAP4.abort):
                    raise error.__context__ from None
                raise self.login_refused(plain(str(error))) from error
            except UnicodeEncodeError as error:
                reason = "this server takes ASCII letters only"
                raise LoginRefused(host=target.host, user=target.user, reply=reason) from error
            if session.has_capability("ID"):
                with contextlib.suppress(IMAPClientError):  # a courtesy: who refuses it may still let us in
                    session.id_(OUR_ID)

    def _sign_in_by_token(self) -> None:
        """AUTHENTICATE, whose words come after the server asked for them: a token may be longer than its lines."""
        target, session = self.target, self.session
        if not session.waiting_for_login():  # PREAUTH
            return
        ways = [way for way in sasl.WAYS if session.has_capability(f"AUTH={way}")]
        sign_in_by_token(session, target, ways, self.capabilities(), self.login_refused)

    @property
    def folder(self) -> str:
        """The server's own name of the folder."""
        target = self.target
        if target.shared and self._shared is None:
            self._shared = shared_folder(self.session, target.shared, target.folder)
            if self._shared is None:
                raise SharedMailboxMissing(host=target.host, user=target.user, mailbox=target.shared)
        return self._shared[0] if self._shared else target.folder

    def folder_for(self, name: str) -> str:
        """Return the server's own name of the folder for fetched mails; it is made when it is missing."""
        return folder_for(self.session, name, self.folder, self._shared[1] if self._shared else "")

    def select(self, *, readonly: bool) -> dict[bytes, Any]:
        """Open the folder and return what the server says of it."""
        with self.our_errors():
            folder = self.folder
            try:
                seen = self.session.select(folder, readonly=readonly or self.target.read_only)
            except imaplib.IMAP4.abort:
                raise
            except IMAPClientError as error:
                raise self._not_opened(plain(str(error))) from error
            if not seen.get(b"UIDVALIDITY"):
                raise MailboxUnusable(host=self.target.host, detail="UIDVALIDITY")
            if (seen.get(b"UIDNEXT") or 0) <= seen[b"EXISTS"]:  # so many mails have more numbers: it can't be true
                seen.pop(b"UIDNEXT", None)
            return seen

    def _not_opened(self, said: str) -> MailError:
        """Return the error for a folder that the server did not open: missing is what its own list does not have."""
        target = self.target
        if refusal.codes(said) & refusal.IN_USE:
            return MailboxBusy(host=target.host, user=target.user, reply=said)
        if refusal.meaning(said) == "later":
            return self.refused(said)
        try:
            names = self._folders()
        except IMAPClientError:
            names = [self.folder]
        if self.folder in names or target.folder.upper() == "INBOX":
            return FolderRefused(host=target.host, folder=target.folder, reply=said)
        shown = ", ".join(names[:FOLDERS_SHOWN]) + (" …" if len(names) > FOLDERS_SHOWN else "")
        return FolderMissing(folder=target.folder, folders=shown)

    def _folders(self) -> list[str]:
        return [str(name) for _, _, name in self.session.list_folders()]

    def look(self) -> Look:
        """Return what is in the folder."""
        seen = self.select(readonly=True)
        with self.our_errors():
            last = self.last_listed() if seen[b"EXISTS"] else {}
        return Look(
            capabilities=self.capabilities(),
            mails=seen[b"EXISTS"],
            newest=max((mail.arrived for mail in last.values() if mail.arrived), default=None),
            uidvalidity=seen[b"UIDVALIDITY"],
            uidnext=seen.get(b"UIDNEXT") or max(last, default=0) + 1,
        )

    def last_listed(self) -> dict[int, mailbox.ListedMail]:
        """Return the newest mail of the folder, by its UID."""
        return numbers(self.session.fetched("*", LISTING))

    def try_writing(self) -> Why | None:
        """Open the folder for writing, and find or make the one that fetched mails are moved to."""
        target = self.target
        if b"READ-ONLY" in self.select(readonly=False):
            return MailboxReadOnly(folder=target.folder, user=target.user).why
        if not target.move_to:
            return why("mailbox_test_writable")
        with self.our_errors():
            try:
                return why("mailbox_test_move_to", folder=self.folder_for(target.move_to))
            except imaplib.IMAP4.abort:
                raise
            except IMAPClientError as error:
                said = plain(str(error))
                raise FolderNotMade(host=target.host, folder=target.move_to, reply=said) from error

    def end(self) -> None:
        """Log out; a server that does not answer any more is left."""
        if self._session is not None and self.line.socket is not None and not self.line.late:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                self.line.socket.settimeout(2)
                self._session.logout()
