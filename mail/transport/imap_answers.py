"""What imaplib hands out of an IMAP answer, as values: the numbers of mails, their bodies, a server's own words."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from imapclient.datetime_util import parse_to_datetime

from mail.transport.mailbox import ListedMail
from mail.transport.spool import Spool

_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_DATE = re.compile(rb'\bINTERNALDATE "([^"]+)"')
_WRAPPED = (  # imaplib's and IMAPClient's words around a server's
    re.compile(r"^\w+ command error: (?:BAD|NO) \[b(?P<mark>['\"])(?P<said>.*)(?P=mark)\]$", re.DOTALL),
    re.compile(r"^b(?P<mark>['\"])(?P<said>.*)(?P=mark)$", re.DOTALL),
    re.compile(r"^\w+ failed: (?P<said>.*)$", re.DOTALL),
)


def numbers(answer: Sequence[Any]) -> dict[int, ListedMail]:
    """Return the mails that a FETCH answer lists, by UID; one whose size the server does not tell has size 0.

    >>> numbers([b'1 (UID 7 RFC822.SIZE 120 INTERNALDATE "17-Jul-1996 02:44:25 -0700")', b'2 (FLAGS ())'])
    {7: ListedMail(number=7, key='', size=120, arrived=datetime.datetime(1996, 7, 17, 9, 44, 25, \
tzinfo=datetime.timezone.utc))}
    """
    found: dict[int, ListedMail] = {}
    for part in answer:
        if isinstance(part, bytes) and (uid := _UID.search(part)):
            number, size = int(uid[1]), _SIZE.search(part)
            if size or number not in found:
                found[number] = ListedMail(number, "", int(size[1]) if size else 0, _arrival(_DATE.search(part)))
    return found


def _arrival(found: re.Match[bytes] | None) -> datetime | None:
    if found is None:
        return None
    try:
        arrived: datetime = parse_to_datetime(found[1], normalise=False)
        return arrived.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def literals(answer: Sequence[Any]) -> Iterator[tuple[int, bytes | Spool]]:
    """Yield UID and text from a FETCH answer of one BODY item; the UID may stand before or after the text.

    >>> list(literals([(b'1 (UID 7 BODY[] {2}', b'hi'), b')', (b'2 (BODY[] {3}', b'you'), b' UID 9)']))
    [(7, b'hi'), (9, b'you')]
    >>> list(literals([b'3 (UID 12 BODY[] "")', b'4 (FLAGS (\\\\Seen))']))
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


def plain(said: str) -> str:
    """Return what a server said in one line that can be shown.

    >>> plain("UID command error: BAD [b'Request is throttled.']"), plain("select failed: no"), plain("b'[LIMIT]'")
    ('Request is throttled.', 'no', '[LIMIT]')
    """
    wrapped = next(filter(None, (words.search(said) for words in _WRAPPED)), None)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", wrapped["said"] if wrapped else said)[:300].strip()
