"""EDGE: whether the numbers of an IMAP folder still stand for the mails that they stood for.

No server may give a UID twice under the same UIDVALIDITY (RFC 3501, 2.3.1.1). One that was restored from a backup does:
it goes on counting from where it was then, so that new mails get numbers under which we have others.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from mail.errors import MailboxRefused
from mail.transport.imap_copies import traits
from mail.transport.imap_mailbox import ImapMailbox
from mail.transport.mailbox import ListedMail, Mailbox

_ID = re.compile(rb"<[^<>]+>")


class KnownMail(NamedTuple):
    """A mail as it is stored: the number under which it came, its size in octets, its Message-ID, and since when."""

    uid: int
    size: int
    message_id: str
    received_at: datetime


def stand_for_others(mailbox: Mailbox, known: Sequence[KnownMail]) -> bool:
    """Return whether one of these numbers stands for another mail by now.

    It arrived after ours was here, has another size and another Message-ID. All of it: some servers only estimate a
    size, and nobody who writes to us decides when a mail arrived. What the server does not tell says nothing.
    """
    if not known or not isinstance(mailbox, ImapMailbox):
        return False
    try:
        there = mailbox.listed([mail.uid for mail in known])
        odd = {mail.uid: mail for mail in known if mail.uid in there and _looks_like_another(there[mail.uid], mail)}
        with mailbox.our_errors():
            said = traits(mailbox.session, [there[uid] for uid in odd])
    except MailboxRefused:
        return False
    return any(_is_another(mail.message_id.encode(), said[uid][1]) for uid, mail in odd.items())


def _looks_like_another(listed: ListedMail, known: KnownMail) -> bool:
    return listed.size != known.size and listed.arrived is not None and listed.arrived > known.received_at


def _is_another(known: bytes, line: bytes) -> bool:
    """Say whether a mail has another Message-ID than what its header says.

    >>> lines = (b"Message-ID: <a@b>", b"Message-ID: <a\\r\\n @b>", b"Message-ID: <c@d>", b"Message-ID: odd", b"")
    >>> [_is_another(b"<a@b>", line) for line in lines]
    [False, False, True, False, False]
    """
    ids = _ID.findall(b"".join(line.split()))
    return bool(ids and _ID.fullmatch(known)) and known not in ids and b"=?" not in line
