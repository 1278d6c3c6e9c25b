"""EDGE: an open IMAP folder: its mails in batches, and what is done with those that are stored."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from mail.errors import (
    MailboxDeleteRefused,
    MailboxExpungeRefused,
    MailboxLater,
    MailboxMarkRefused,
    MailboxReadOnly,
    MailboxRefused,
    MailError,
)
from mail.transport.imap import LISTING, ImapConnection, ImapSession
from mail.transport.imap_answers import literals, numbers
from mail.transport.imap_copies import copies_in, digests, matched, traits
from mail.transport.mailbox import (
    LARGEST_HEADER,
    After,
    FetchedBatch,
    ListedMail,
    Look,
    MailboxConnection,
    MailboxTarget,
    Position,
    in_batches,
)
from mail.transport.sort_out import Answer, NotGiven, SortedAnswers, is_final, sort_out
from mail.transport.spool import Spool

WINDOW = 500  # UIDs whose sizes are asked for at once; grows over gaps
WIDEST_WINDOW = 1_000_000
BODY = "BODY.PEEK[]"
HEADER = f"BODY.PEEK[HEADER]<0.{LARGEST_HEADER}>"


class ImapMailbox(ImapSession):
    """An open IMAP folder; see ``mailbox.Mailbox`` for what its methods promise."""

    def __init__(self, target: MailboxTarget) -> None:
        super().__init__(target, MailboxConnection(target))
        self._move_to = ""  # the folder for fetched mails, once it was found
        self._again = False  # a request was refused in the last run
        self.copied: set[str] = set()
        self.perhaps_copied: set[str] = set()
        self._lost: MailError | None = None  # why the folder is not open any more
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
        self.is_read_only = b"READ-ONLY" in seen
        lasting = seen.get(b"PERMANENTFLAGS")
        self._marks = None if lasting is None else {mark.lower() for mark in lasting}  # those that last; None: all
        self._mails = int(seen[b"EXISTS"])
        self.uidnext = int(seen.get(b"UIDNEXT") or 0)

    def _open_again(self) -> None:
        """Open the folder after another one; if that fails, no command follows: it could reach the other's mails."""
        try:
            with self.our_errors():
                self._open()
        except MailError as error:
            self._lost = error
            raise

    @contextmanager
    def our_errors(self) -> Iterator[None]:
        """Raise our errors; the one that lost us the folder before any further command."""
        if self._lost is not None:
            raise self._lost
        with super().our_errors():
            yield

    def look(self) -> Look:
        """Return what is in the folder, and leave it open for ``acknowledge``."""
        seen = super().look()
        self._open()
        return seen

    # --- bringing mails

    def batches(self, after: Position) -> Iterator[FetchedBatch]:
        """Yield the mails above ``after.last_uid``; all of them when the server counts anew (another UIDVALIDITY)."""
        self._again = after.again
        last = after.last_uid if after.uidvalidity == self.uidvalidity else 0
        for listed, upto in self._windows(last):
            for group in in_batches([mail for mail in listed if not _is_old(mail, after)]):
                found = sort_out(self._answers(group, after.again), after.again)
                if found.last is not None:
                    last = found.last.number
                    yield self._batch(found, Position(self.uidvalidity, last))
                if found.refusal is not None:
                    raise found.refusal
            if upto > last:  # nothing of ours up to here: the next run need not look again
                last = upto
                yield FetchedBatch((), Position(self.uidvalidity, last))

    def look_again(self, keys: Sequence[str]) -> Iterator[FetchedBatch]:
        """Yield mails that were listed once and not given, as far as the server gives them now."""
        uids = self._uids(keys)
        listed = self.listed(uids)
        gone = tuple(key for key in keys if self._uid(key) not in listed)
        if gone:
            yield FetchedBatch((), Position(), gone, listed=len(gone))
        for group in in_batches([listed[uid] for uid in uids if uid in listed]):
            found = sort_out(self._answers(group, again=True), again=True)
            yield self._batch(found, Position())
            if found.refusal is not None:
                raise found.refusal

    def _batch(self, found: SortedAnswers, position: Position) -> FetchedBatch:
        return FetchedBatch(tuple(found.mails), position, tuple(found.gone), found.listed)

    def _windows(self, last: int) -> Iterator[tuple[list[ListedMail], int]]:
        """Yield what lies above a UID, in pieces that do not grow with the mailbox.

        The second value is the UID up to which everything was seen.
        """
        if not self._mails:
            return
        with self.our_errors():
            end = self.uidnext - 1 if self.uidnext else max(self.last_listed(), default=0)
        window = WINDOW
        while last < end:
            upto = min(last + window, end)
            listed = self._named(f"{last + 1}:{upto}")
            yield [listed[uid] for uid in sorted(listed) if last < uid <= upto], upto
            window = WINDOW if listed else min(window * 4, WIDEST_WINDOW)
            last = upto

    def _named(self, uids: str) -> dict[int, ListedMail]:
        """What is there of some UIDs.

        A mail that a server can't describe it leaves out of every answer about several, or it refuses them all. Such a
        mail gets a size, or an empty answer would pass for its content.
        """
        try:
            listed = self._described(uids)
            with self.our_errors():
                left_out = self.session.found(uids) - listed.keys()
        except MailboxRefused as refused:
            listed, left_out = {}, self._found(uids, refused)
        return listed | {uid: ListedMail(uid, self._key(uid), 1) for uid in left_out}

    def _described(self, uids: str) -> dict[int, ListedMail]:
        """What the server tells of some UIDs: each with its true size."""
        with self.our_errors():
            listed = numbers(self.session.fetched(uids, LISTING))
        return {uid: mail._replace(key=self._key(uid)) for uid, mail in listed.items()}

    def _key(self, uid: int) -> str:
        return f"{self.uidvalidity}.{uid}"

    def _found(self, uids: str, refused: MailboxRefused) -> set[int]:
        """Return which of some UIDs are there, where the server refuses the second time to list them."""
        if not self._again or isinstance(refused, MailboxLater):
            raise refused
        with self.our_errors():
            found = self.session.found(uids)
        if not found:
            raise refused
        return found

    def listed(self, uids: Sequence[int]) -> dict[int, ListedMail]:
        """Return those of some mails that are still in the folder."""
        listed = self._named(",".join(map(str, uids))) if uids else {}
        return {uid: listed[uid] for uid in uids if uid in listed}

    def _answers(self, group: Sequence[ListedMail], again: bool) -> Iterator[tuple[ListedMail, Answer]]:
        """Yield what the server answers for each mail: asked together, and for those that did not come once more."""
        whole = [mail for mail in group if not mail.is_too_large]
        try:
            texts = self._texts(whole, BODY) if whole else {}
        except MailboxRefused as refused:
            if not again and not is_final(refused):
                yield group[0], refused
                return
            texts = {}
        missing = [mail.number for mail in whole if not texts.get(mail.number)]
        there = self.listed(missing) if missing else {}
        for mail in group:
            text = texts.pop(mail.number, None)
            if text or (text is not None and not mail.size):
                yield mail, text
            elif mail.number in there or mail.is_too_large:
                yield mail, self._alone(mail)
            else:
                yield mail, None

    def _alone(self, mail: ListedMail) -> Answer:
        try:
            text = self._texts([mail], HEADER if mail.is_too_large else BODY).get(mail.number)
        except MailboxRefused as refused:
            return refused
        return text if text or (text is not None and not mail.size) else NotGiven()

    def _texts(self, mails: Sequence[ListedMail], item: str) -> dict[int, bytes | Spool]:
        with self.our_errors():
            return dict(literals(self.session.fetched(",".join(str(mail.number) for mail in mails), f"(UID {item})")))

    # --- what is done with mails that are stored

    def acknowledge(self, keys: Sequence[str], how: After, folder: str = "") -> Collection[str]:
        """Mark the mails as read, move them to ``folder`` (made when it is missing), or delete them."""
        uids, session = self._uids(keys), self.session
        if not uids:
            return keys
        if self.is_read_only:
            raise MailboxReadOnly(folder=self.target.folder, user=self.target.user)
        with self.our_errors():
            if how == "mark_read":
                self._assert_lasts(b"\\Seen", MailboxMarkRefused)
                session.add_flags(uids, [b"\\Seen"], silent=True)
            elif how == "move":
                self._move(session, keys, folder)
            else:
                self._delete(session, uids)
        return keys

    def _assert_lasts(self, mark: bytes, refused: type[MailError]) -> None:
        """Raise unless the server keeps a mark: one that we have no right to (RFC 4314) it may take and forget."""
        if self._marks is not None and mark.lower() not in self._marks:
            raise refused(folder=self.target.folder, user=self.target.user)

    def _uids(self, keys: Iterable[str]) -> list[int]:
        return [uid for uid in map(self._uid, keys) if uid]

    def _uid(self, key: str) -> int:
        """Return the UID of a mail of this folder, 0 for one whose numbers do not count any more."""
        uidvalidity, _, uid = key.partition(".")
        return int(uid) if int(uidvalidity) == self.uidvalidity else 0

    def _move(self, session: ImapConnection, keys: Sequence[str], folder: str) -> None:
        """Move mails; without MOVE (RFC 6851) a copy is made and the mail deleted, and the copy is made only once."""
        uids = self._not_copied(keys)
        if uids:
            self._move_to = self._move_to or self.folder_for(folder)
            if session.has_capability("MOVE"):
                session.move(uids, self._move_to)
            else:
                self._copy(session, keys)
        copied = self._uids(key for key in keys if key in self.copied)
        if copied:
            self._delete(session, copied)

    def _not_copied(self, keys: Sequence[str]) -> list[int]:
        return self._uids(key for key in keys if key not in self.copied)

    def _copy(self, session: ImapConnection, keys: Sequence[str]) -> None:
        self._assert_lasts(b"\\Deleted", MailboxDeleteRefused)
        doubtful = self._uids(key for key in keys if key in self.perhaps_copied and key not in self.copied)
        if doubtful:
            self.copied |= self._found_copied(session, doubtful)
        uids = self._not_copied(keys)
        if uids:
            session.copy(uids, self._move_to)
        self.copied.update(keys)

    def _found_copied(self, session: ImapConnection, uids: list[int]) -> set[str]:
        """Return the keys of those mails that have their copy already; the folder is opened anew."""
        mails = self._described(",".join(map(str, uids)))  # with true sizes: they tell what may be a copy
        sought = traits(session, mails.values())
        try:
            alike, copies = copies_in(session, self._move_to, self.uidvalidity, set(sought.values()))
        finally:
            self._open_again()
        mine = digests(session, [mail for uid, mail in mails.items() if sought[uid] in alike])
        return {mails[uid].key for uid in matched(mine, copies)}

    def _delete(self, session: ImapConnection, uids: list[int]) -> None:
        self._assert_lasts(b"\\Deleted", MailboxDeleteRefused)
        session.add_flags(uids, [b"\\Deleted"], silent=True)
        if session.has_capability("UIDPLUS"):
            session.uid_expunge(uids)
        elif set(session.search("DELETED")) <= set(uids):
            session.expunge()
        else:  # a plain EXPUNGE would also remove what a person has marked; the marks stay for the person to do it
            return
        if self.listed(uids):  # without the right to expunge (RFC 4314) some servers say OK and keep them
            raise MailboxExpungeRefused(folder=self.target.folder, user=self.target.user)


def _is_old(mail: ListedMail, after: Position) -> bool:
    return bool(after.old and mail.number <= after.old[0] and mail.arrived and mail.arrived < after.old[1])
