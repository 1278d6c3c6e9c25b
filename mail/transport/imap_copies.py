"""Which mails of a folder have a copy in another one already: made by a run that ended before it could write that down.

A mail that has its copy is deleted, so nothing less than the same content counts as one. A server that changes what it
copies, or does not open the other folder, is asked for a second copy: better twice than not at all.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from imaplib import IMAP4

from imapclient.exceptions import IMAPClientError

from mail.transport import refusal
from mail.transport.imap import LISTING, ImapConnection
from mail.transport.imap_answers import literals, numbers
from mail.transport.mailbox import ListedMail, in_batches
from mail.transport.spool import bytes_of

NEWEST = 2_000  # UIDs of the other folder that are looked through: what was copied last is the newest there
MOST_REFUSED = 3  # times in a row that the server does not open it, without saying "not now"
MESSAGE_ID = "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
CONTENT = "(UID BODY.PEEK[])"

Traits = tuple[int, bytes]  # size and Message-ID: what is quickly compared
Digest = bytes


def traits(session: ImapConnection, mails: Iterable[ListedMail]) -> dict[int, Traits]:
    """Return the traits of mails of the open folder, by UID."""
    found: dict[int, Traits] = {}
    for group in in_batches(mails):
        lines = dict(literals(session.fetched(_joined(group), MESSAGE_ID)))
        found |= {mail.number: (mail.size, bytes_of(lines.get(mail.number, b"")).strip()) for mail in group}
    return found


def copies_in(
    session: ImapConnection, folder: str, uidvalidity: int, sought: Collection[Traits]
) -> tuple[set[Traits], Counter[Digest]]:
    """Open another folder, and return what in it may be copies of mails with the traits that are sought.

    ``uidvalidity`` is that of the mails' own folder: one with the same may be that very folder under another name.
    """
    seen = _opened(session, folder)
    if not seen.get(b"EXISTS") or seen.get(b"UIDVALIDITY") == uidvalidity:
        return set(), Counter()
    newest = numbers(session.fetched(f"{max((seen.get(b'UIDNEXT') or 0) - NEWEST, 1)}:*", LISTING))
    sizes = {size for size, _ in sought}
    same = {uid: mail for uid, mail in newest.items() if mail.size in sizes}
    for uid in session.search("DELETED") if same else ():
        same.pop(uid, None)
    alike = {uid: found for uid, found in traits(session, same.values()).items() if found in sought}
    return set(alike.values()), Counter(digests(session, [same[uid] for uid in alike]).values())


def _opened(session: ImapConnection, folder: str) -> Mapping[bytes, int]:
    """Open a folder for reading; nothing is seen in one that the server does not open for us."""
    for _ in range(MOST_REFUSED):
        try:
            return session.select(folder, readonly=True)
        except IMAP4.abort:
            raise
        except IMAPClientError as error:
            said = refusal.meaning(str(error))
            if said == "later":
                raise
            if said == "final":
                break
    return {}


def digests(session: ImapConnection, mails: Iterable[ListedMail]) -> dict[int, Digest]:
    """Return a digest of the content of mails of the open folder, by UID; those that have none are left out."""
    return {uid: sha256(raw).digest() for group in in_batches(mails) for uid, raw in _contents(session, group) if raw}


def _contents(session: ImapConnection, group: Sequence[ListedMail]) -> Iterator[tuple[int, bytes]]:
    for uid, content in literals(session.fetched(_joined(group), CONTENT)):
        yield uid, bytes_of(content)


def _joined(group: Sequence[ListedMail]) -> str:
    return ",".join(str(mail.number) for mail in group)


def matched(mails: Mapping[int, Digest], copies: Counter[Digest]) -> list[int]:
    """Return the UIDs of mails that have a copy; each copy stands for one mail.

    >>> matched({1: b"a", 2: b"b", 3: b"a", 4: b"a"}, Counter([b"a", b"c", b"a"]))
    [1, 3]
    """
    left, found = copies.copy(), []
    for uid, digest in mails.items():
        if left[digest] > 0:
            left[digest] -= 1
            found.append(uid)
    return found
