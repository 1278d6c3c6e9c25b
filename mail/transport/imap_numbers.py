"""EDGE: whether the numbers of an IMAP folder still stand for the mails that they stood for.

No server may give a UID twice under the same UIDVALIDITY (RFC 3501, 2.3.1.1). One that was restored from a backup does:
it goes on counting from where it was then, so that new mails get numbers under which we have others.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mail.errors import MailboxRefused
from mail.transport.imap_copies import traits
from mail.transport.imap_mailbox import ImapMailbox
from mail.transport.mailbox import Mailbox

_ID = re.compile(rb"<[^<>\s]+>")


class KnownMail(NamedTuple):
    """A mail as it is stored: the number under which it came, its size in octets, its Message-ID."""

    uid: int
    size: int
    message_id: str


def stand_for_others(mailbox: Mailbox, known: Sequence[KnownMail]) -> bool:
    """Return whether one of these numbers stands for another mail by now: of another size, with another Message-ID.

    Both, because some servers only estimate a size. What is gone, or what the server does not tell, says nothing.
    """
    if not known or not isinstance(mailbox, ImapMailbox):
        return False
    try:
        there = mailbox.listed([mail.uid for mail in known])
        resized = {mail.uid: mail for mail in known if mail.uid in there and there[mail.uid].size != mail.size}
        with mailbox.our_errors():
            said = traits(mailbox.session, [there[uid] for uid in resized])
    except MailboxRefused:
        return False
    return any(_is_another(mail.message_id.encode(), said[uid][1]) for uid, mail in resized.items())


def _is_another(known: bytes, line: bytes) -> bool:
    """Say whether a mail has another Message-ID than what its header says.

    >>> [_is_another(b"<a@b>", line) for line in (b"Message-ID: <a@b>", b"Message-ID: <c@d>", b"Message-ID: odd", b"")]
    [False, True, False, False]
    """
    ids = _ID.findall(line)
    return bool(ids and _ID.fullmatch(known)) and known not in ids
