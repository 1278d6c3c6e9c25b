"""EDGE: reading a mailbox by POP3 (RFC 1939, 2449, 2595).

A mail is known by its UIDL alone; which ones are new is the caller's knowledge. DELE is said only by ``acknowledge``
and takes effect when the connection is ended in order (QUIT): a cut leaves the mails where they are.
"""

import contextlib
import poplib
import re
import socket
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence

from mail.errors import (
    ConnectionLost,
    GreetingRefused,
    LoginNotOffered,
    MailboxRefused,
    MailboxUnusable,
    MailError,
    NotUnderstood,
    StarttlsMissing,
    TookTooLong,
)
from mail.transport import mailbox, network, refusal, sasl
from mail.transport.mailbox import (
    LARGEST_MAIL,
    After,
    FetchedBatch,
    ListedMail,
    Look,
    MailboxConnection,
    MailboxTarget,
    Position,
    in_batches,
    translate,
)
from mail.transport.mailbox_sign_in import sign_in_by_token
from mail.transport.sort_out import Answer, NotGiven, SortedAnswers, sort_out
from mail.transport.spool import IN_MEMORY, Spool

LONGEST_LINE = 1_000_000  # octets; mails with a picture in one line exist, and poplib stops at 2,048
IN_FLIGHT = 8  # requests sent ahead where the server offers PIPELINING


class Pop3Connection(poplib.POP3):
    """poplib over a socket that is already connected, to an address that was checked."""

    def __init__(self, connected: socket.socket, host: str, port: int) -> None:
        self._connected = connected
        super().__init__(host, port)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self._connected

    def _getline(self) -> tuple[bytes, int]:
        line = self.file.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise poplib.error_proto("line too long")
        if not line:
            raise EOFError
        return line.rstrip(b"\r\n"), len(line)

    def ask(self, line: str) -> None:
        """Send a command without waiting for its answer."""
        self.sock.sendall(f"{line}\r\n".encode("ascii"))

    def say_token(self, way: str, words: bytes) -> tuple[str, bytes] | None:
        """Sign in with a token (RFC 5034); of a refusal return what was said, and what the server explained before."""
        explained = b""
        try:
            said = self._told(f"AUTH {way}")  # without the words: a token is longer than 255 octets
            if not said.startswith(b"+OK"):
                said = self._told(sasl.encoded(words))
            if not said.startswith(b"+OK"):
                explained = sasl.decoded(said[1:])
                self._told(sasl.encoded(sasl.answer_to_challenge(way)))
        except poplib.error_proto as error:
            refused = _said(error)
            if not refused.startswith("-ERR"):
                raise
            return refused.removeprefix("-ERR").strip(), explained
        return None

    def _told(self, line: str) -> bytes:
        self.ask(line)
        answer, _ = self._getline()
        if not answer.startswith(b"+"):
            raise poplib.error_proto(answer)
        return answer

    def text(self, folder: str = "") -> bytes | Spool:
        """Return the text that answers a RETR or TOP, dots undone; raises error_proto when there is none.

        Only CRLF, dot, CRLF is its end (RFC 1939, 3): a dot between bare line feeds is a line of the mail. A large
        text goes into a file in ``folder``.
        """
        answer, _ = self._getline()
        if not answer.startswith(b"+"):
            raise poplib.error_proto(answer)
        pieces: list[bytes] = []
        spool: Spool | None = None
        octets, before = 0, b"\r\n"
        while True:
            piece = self.file.readline(LONGEST_LINE)
            if not piece:
                raise EOFError
            at_start, before = before == b"\r\n", (before + piece)[-2:]
            if at_start and piece.startswith(b"."):
                if piece == b".\r\n":
                    break
                piece = piece[1:]
            pieces.append(piece)
            octets += len(piece)
            if octets > IN_MEMORY:
                spool = spool or Spool(folder)
                spool.write(b"".join(pieces))
                pieces, octets = [], 0
                if spool.size > 2 * LARGEST_MAIL:
                    raise poplib.error_proto("more text than announced")
        if spool is None:
            return b"".join(pieces)
        spool.write(b"".join(pieces))
        return spool


class Pop3Session(mailbox.ProtocolSession):
    """The steps of a POP3 connection."""

    def __init__(self, target: MailboxTarget, line: MailboxConnection) -> None:
        super().__init__(target, line)
        self._session: Pop3Connection | None = None
        self._offers: dict[str, list[str]] = {}
        self._keys: dict[int, str] | None = None

    @property
    def session(self) -> Pop3Connection:
        assert self._session is not None, "greet() comes first"
        return self._session

    @contextlib.contextmanager
    def our_errors(self) -> Iterator[None]:
        """Raise our errors in place of poplib's and the socket's."""
        try:
            yield
        except MailError as error:
            raise translate(error) from error.__cause__
        except poplib.error_proto as error:
            raise self._name(_said(error)) from error
        except EOFError as error:
            raise self._lost() from error
        except OSError as error:
            raise self.line.error_for(error) from error
        except (ValueError, IndexError, UnicodeError) as error:
            raise self._nonsense() from error

    def _lost(self) -> MailError:
        if self.line.late:
            return TookTooLong(host=self.target.host, seconds=round(self.line.seconds))
        return translate(ConnectionLost(host=self.target.host))

    def _name(self, said: str) -> MailError:
        if not said.startswith("-ERR"):
            return self._nonsense()
        return self.refused(said.removeprefix("-ERR").strip())

    def _nonsense(self) -> MailError:
        if self.line.late:  # what was cut off in the middle of a line
            return self._lost()
        return translate(NotUnderstood(host=self.target.host, port=self.target.port))

    def greet(self) -> str:
        """Read the greeting and return its text."""
        assert self.line.socket is not None
        with self.our_errors():
            try:
                self._session = Pop3Connection(self.line.socket, self.target.host, self.target.port)
            except poplib.error_proto as error:
                if _said(error).startswith("-ERR"):
                    said = _said(error).removeprefix("-ERR").strip()
                    raise GreetingRefused(host=self.target.host, reply=said) from error
                raise
            if not self._session.welcome.startswith(b"+OK"):
                raise self._nonsense()
            self.line.greeted = True
            return _plain(self._session.welcome.decode("utf-8", "replace")).removeprefix("+OK").strip()

    def capabilities(self) -> tuple[str, ...]:
        """Return what the server offers now; an old one that does not know the question offers what all do."""
        with self.our_errors():
            try:
                self._offers = {name.upper(): values for name, values in self.session.capa().items()}
            except poplib.error_proto as error:
                if not _said(error).startswith("-ERR"):
                    raise
                self._offers = {"USER": []}
        return self._offered()

    def _offered(self) -> tuple[str, ...]:
        return tuple(" ".join([name, *values]) for name, values in self._offers.items())

    def upgrade(self) -> None:
        """STLS (RFC 2595)."""
        self.capabilities()
        with self.our_errors():
            if "STLS" not in self._offers:
                raise StarttlsMissing(host=self.target.host)
            try:
                self.session.stls(self.line.context())
            except poplib.error_proto as error:
                raise StarttlsMissing(host=self.target.host) from error
            except (OSError, ValueError) as error:
                raise network.tls_error(error, self.target.host, self.target.timeout_read) from error
            self.line.socket = self.session.sock

    def login(self) -> None:
        """Log in by USER and PASS, or with a token."""
        offers = self.capabilities()
        with self.our_errors():
            if self.target.auth == "oauth2":
                ways = self._offers.get("SASL", [])
                sign_in_by_token(self.session, self.target, ways, offers, self.login_refused)
            else:
                self._say_password(offers)
        self.capabilities()  # some servers offer more to those they know

    def _say_password(self, offers: Sequence[str]) -> None:
        target = self.target
        if "USER" not in self._offers and "SASL" in self._offers and "PLAIN" not in self._offers["SASL"]:
            raise LoginNotOffered(host=target.host, offered=", ".join(offers))
        try:
            self.session.user(target.user)
            self.session.pass_(target.password)
        except poplib.error_proto as error:
            said = _said(error)
            if not said.startswith("-ERR"):
                raise
            raise self.login_refused(said.removeprefix("-ERR").strip()) from error

    def look(self) -> Look:
        """Return what is in the mailbox."""
        return Look(capabilities=self._offered(), mails=len(self.keys()), keys=tuple(self.numbers()))

    def keys(self) -> dict[int, str]:
        """Return the UIDL of each mail by its number in this connection: neither changes while it lasts."""
        if self._keys is None:
            self._keys = self._listed_keys()
        return self._keys

    def _listed_keys(self) -> dict[int, str]:
        with self.our_errors():
            try:
                listed = self.session.uidl()[1]
            except poplib.error_proto as error:
                said = _said(error)
                if "UIDL" in self._offers or not said.startswith("-ERR") or refusal.meaning(said) == "later":
                    raise
                raise MailboxUnusable(host=self.target.host, detail="UIDL") from error
            rows = [line.split(None, 1) for line in listed]
            return {int(row[0]): row[1].decode("ascii", "backslashreplace").strip() for row in rows if len(row) == 2}

    def sizes(self) -> dict[int, int]:
        """Return the octets of each mail by its number in this connection."""
        with self.our_errors():
            rows = [line.split() for line in self.session.list()[1]]
            return {int(row[0]): int(row[1]) for row in rows if len(row) >= 2}

    def numbers(self) -> dict[str, list[int]]:
        """Return the numbers of each mail in this connection by its UIDL.

        A mail of another size under the same one is another mail: some servers are that careless.
        """
        keys = self.keys()
        shared = {key for key, count in Counter(keys.values()).items() if count > 1}
        sizes, first, found = self.sizes() if shared else {}, dict[str, int](), dict[str, list[int]]()
        for number, key in keys.items():
            size = sizes.get(number, 0)
            is_another = key in shared and first.setdefault(key, size) != size
            found.setdefault(f"{key} {size}" if is_another else key, []).append(number)
        return found

    def end(self) -> None:
        """QUIT: only now does the server delete what it was told to. One that does not answer any more is left."""
        if self._session is not None and self.line.socket is not None and not self.line.late:
            with contextlib.suppress(poplib.error_proto, EOFError, OSError):
                self._session.quit()


class Pop3Mailbox(Pop3Session):
    """An open POP3 mailbox; see ``mailbox.Mailbox`` for what its methods promise."""

    uidvalidity = uidnext = 0  # POP3 has none; a UIDL is valid for ever

    def __init__(self, target: MailboxTarget) -> None:
        super().__init__(target, MailboxConnection(target))
        self.copied: set[str] = set()  # there are no folders
        self.perhaps_copied: set[str] = set()
        self._numbers: dict[str, list[int]] | None = None  # two mails may share a UIDL: the same mail twice
        try:
            with self.our_errors():
                self.start()
        except BaseException:
            self.close()
            raise

    def batches(self, after: Position) -> Iterator[FetchedBatch]:
        """Yield the mails whose UIDL the caller does not know."""
        numbers = self._listed()
        unknown = set(after.unknown(list(numbers)))
        yield from self._brought([key for key in numbers if key in unknown], after)

    def look_again(self, keys: Sequence[str]) -> Iterator[FetchedBatch]:
        """Yield mails that were listed once and not given, as far as the server gives them now."""
        numbers = self._listed()
        gone = tuple(key for key in keys if key not in numbers)
        if gone:
            yield FetchedBatch((), Position(), gone, listed=len(gone))
        yield from self._brought([key for key in keys if key in numbers], Position(again=True))

    def _listed(self) -> dict[str, list[int]]:
        if self._numbers is None:
            self._numbers = self.numbers()
        return self._numbers

    def _brought(self, keys: Sequence[str], after: Position) -> Iterator[FetchedBatch]:
        if not keys:
            return
        numbers, sizes = self._listed(), self.sizes()
        mails = [ListedMail(numbers[key][0], key, sizes.get(numbers[key][0], 0)) for key in keys]
        for group in in_batches(mails):
            found = self._sorted(group, after.again)
            if found.listed:
                yield FetchedBatch(tuple(found.mails), after, tuple(found.gone), found.listed)
            if found.refusal is not None:
                raise found.refusal

    def _sorted(self, group: Sequence[ListedMail], again: bool) -> SortedAnswers:
        """Ask for the mails of one batch; what was asked for and not needed any more is read all the same."""
        answers = self._answers(group)
        found = sort_out(answers, again)
        if found.refusal is not None:
            answers.close()
        return found

    def _answers(self, group: Sequence[ListedMail]) -> Generator[tuple[ListedMail, Answer], None, None]:
        """Yield what the server answers for each mail, with a few requests ahead where it allows that."""
        ahead = IN_FLIGHT if "PIPELINING" in self._offers else 1
        asked = done = 0
        try:
            for mail in group:
                with self.our_errors():
                    while asked < min(done + ahead, len(group)):
                        one = group[asked]
                        self.session.ask(f"TOP {one.number} 0" if one.is_too_large else f"RETR {one.number}")
                        asked += 1
                    done += 1
                    answer = self._answer()
                yield mail, answer if answer or not mail.size else NotGiven()
        except GeneratorExit:
            for _ in range(asked - done):
                with self.our_errors():
                    self._answer()
            raise

    def _answer(self) -> bytes | Spool | MailboxRefused:
        try:
            return self.session.text(self.target.spool)
        except poplib.error_proto as error:
            said = _said(error)
            if not said.startswith("-ERR"):
                raise
            return self.refused(said.removeprefix("-ERR").strip())

    def acknowledge(self, keys: Sequence[str], how: After, folder: str = "") -> Collection[str]:
        """Delete the mails, if that is what was chosen; POP3 has neither folders nor marks."""
        if how != "delete":
            return keys
        numbers = self._listed()
        gone = [key for key in keys if key not in numbers]
        for number in (number for key in keys for number in numbers.get(key, [])):
            with self.our_errors():
                self.session.dele(number)
        return gone


def _said(error: poplib.error_proto) -> str:
    said = error.args[0] if error.args else b""
    return _plain(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said))


def _plain(said: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", said)[:300].strip()
