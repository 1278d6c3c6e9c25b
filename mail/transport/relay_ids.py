"""The Message-ID that a relay gave an email in place of ours, read from its answer to the final dot. Pure.

Amazon SES and Postmark replace the Message-ID and answer with the first part of theirs; Exchange, Microsoft 365 and
Brevo name a Message-ID in angle brackets. A reply to such an email refers to the relay's id alone. Postmark can be
asked to keep ours.
"""

import re
from collections.abc import Collection

# Amazon SES: "Ok 0100017c9add7f0f-9e3cc339-71e1-431a-97cd-bb5038eaeaba-000000", before the @ of its Message-ID.
_SES = re.compile(r"\b[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9a-f]{6}\b")
_POSTMARK = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_POSTMARK_HOSTS = ".postmarkapp.com"
# Exchange: "2.6.0 <id> [InternalId=7, Hostname=mx] Queued mail for delivery"; Microsoft 365: "2.0.0 OK <id>
# [Hostname=mx]"; Brevo: "2.0.0 OK: queued as <id>". Other brackets hold an address, mostly.
_ID = r"<([^\s<>@]{1,200}@[^\s<>@]{1,200})>"
_BRACKETED = re.compile(
    rf"(?:2\.6\.0 )?(?:OK )?{_ID} (?:\[(?:InternalId|Hostname)=|Queued mail for delivery)|OK: queued as {_ID}$", re.I
)


def relay_id(host: str, answer: str, addresses: Collection[str] = ()) -> str:
    """Return how to look up replies to an email that a relay accepted with these words, "" if it names no Message-ID.

    It is what ``lookup_keys`` makes of the Message-ID: all of it, or the part before the @ where no more is known.
    It opens a thread to whoever knows it, so it is never one of the ``addresses`` of the email, which others know.

    >>> relay_id("smtp.example.com", "Ok 0100017c9add7f0f-9e3cc339-71e1-431a-97cd-bb5038eaeaba-000000")
    '0100017c9add7f0f-9e3cc339-71e1-431a-97cd-bb5038eaeaba-000000'
    >>> relay_id("smtp.example.com", "2.6.0 <x1@mail.example.com> [InternalId=7] Queued mail for delivery")
    'x1@mail.example.com'
    >>> relay_id("smtp.office365.com", "OK <AM0PR04@x.prod.outlook.com> [Hostname=x.prod.outlook.com]")
    'AM0PR04@x.prod.outlook.com'
    >>> relay_id("smtp-relay.brevo.com", "OK: queued as <202508020358.479@smtp-relay.sendinblue.com>")
    '202508020358.479@smtp-relay.sendinblue.com'
    >>> relay_id("smtp.example.com", "2.0.0 Ok: queued as 4FzR2Q0X1Yz9sTk")
    ''
    >>> relay_id("smtp.example.com", "2.1.5 <bob@example.com> accepted")
    ''
    >>> relay_id("smtp.example.com", "2.6.0 <Bob@example.com> Queued mail for delivery", ["bob@example.com"])
    ''
    """
    bracketed = _BRACKETED.match(answer)
    if bracketed:
        named = bracketed[1] or bracketed[2]
        return "" if named.lower() in {address.lower() for address in addresses} else named
    given = _SES.search(answer) or (_POSTMARK.search(answer) if host.endswith(_POSTMARK_HOSTS) else None)
    return given[0] if given else ""


def keep_our_id(host: str) -> bytes:
    """Return the header that asks this relay to keep our Message-ID, b"" where there is none.

    >>> keep_our_id("smtp.postmarkapp.com"), keep_our_id("mail.example.com")
    (b'X-PM-KeepID: true\\r\\n', b'')
    """
    return b"X-PM-KeepID: true\r\n" if host.endswith(_POSTMARK_HOSTS) else b""


def lookup_keys(message_id: str) -> tuple[str, str]:
    """Return what ``relay_id`` may have kept of a Message-ID that a reply refers to.

    >>> lookup_keys("<0a12@mtasv.net>")
    ('0a12@mtasv.net', '0a12')
    """
    bare = message_id.strip("<>")
    return bare, bare.partition("@")[0]
