"""EDGE: a mail as SMTP wants it: the two commands of its envelope, and its content with CRLF and doubled dots."""

import re

from mail.errors import InvalidAddress, NeedsSmtputf8, SenderNeedsSmtputf8, TooLarge
from mail.transport.smtp_session import SmtpSession

_ASCII_ADDRESS = re.compile(r"""(?:[!#-'*+\--;=?A-\[\]-~]+|"(?:[ !#-\[\]-~]|\\[ -~])*")@[!#-;=?A-\[\]-~]+""")
_WIDE_ADDRESS = re.compile(r'[^\x00-\x20<>"\\\x7f-\xa0\ud800-\udfff]+@[^\x00-\x20<>"\\@\x7f-\xa0\ud800-\udfff]+')
_FROM = re.compile(rb"^From:([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
_BARE_ENDING = re.compile(rb"\r\n|\r|\n")


def largest_mail(session: SmtpSession) -> int | None:
    """Return the octets that a server takes at most, as it said when the connection was opened; None: no limit."""
    limit = session.esmtp_features.get("size", "")
    return int(limit) or None if limit.isascii() and limit.isdigit() and len(limit) < 20 else None


def envelope(session: SmtpSession, envelope_from: str, recipient: str, content: bytes) -> tuple[bytes, bytes]:
    """Return the two commands of the envelope; raises what makes this mail impossible for this server."""
    offered = session.esmtp_features
    options = b""
    if "size" in offered:
        options = b" SIZE=%d" % len(content)
        limit = largest_mail(session)
        if limit is not None and limit < len(content):
            raise TooLarge(host=session.target.host, size=len(content), limit=limit)
    if not content.isascii():
        if "8bitmime" in offered:
            options += b" BODY=8BITMIME"
        header = content[: content.find(b"\r\n\r\n") + 1]
        if not header.isascii():
            options += _smtputf8(session, *_wide_in(header, envelope_from, recipient))
    if envelope_from.isascii() and recipient.isascii():
        if not (_ASCII_ADDRESS.fullmatch(recipient)):
            raise InvalidAddress(address=recipient)
        if envelope_from and not _ASCII_ADDRESS.fullmatch(envelope_from):
            raise InvalidAddress(address=envelope_from)
    else:
        for address in filter(None, (envelope_from, recipient)):
            fits = (_ASCII_ADDRESS if address.isascii() else _WIDE_ADDRESS).fullmatch(address)
            if not fits or not address.isprintable():
                raise InvalidAddress(address=address)
        if b"SMTPUTF8" not in options:
            options += _smtputf8(session, recipient, envelope_from)
    return b"MAIL FROM:<%b>%b\r\n" % (envelope_from.encode(), options), b"RCPT TO:<%b>\r\n" % recipient.encode()


def _smtputf8(session: SmtpSession, recipient: str, sender: str) -> bytes:
    if "smtputf8" not in session.esmtp_features:
        if recipient.isascii():
            raise SenderNeedsSmtputf8(address=sender)
        raise NeedsSmtputf8(address=recipient)
    return b" SMTPUTF8"


def _wide_in(header: bytes, sender: str, recipient: str) -> tuple[str, str]:
    """Return recipient and sender; in place of an ASCII sender the From, if that is what goes beyond ASCII."""
    wide = _FROM.search(header)
    if recipient.isascii() and sender.isascii() and wide:
        return recipient, wide[1].decode("utf-8", "replace").strip()
    return recipient, sender


def on_the_wire(content: bytes) -> tuple[bytes, bytes]:
    """Return the content as DATA wants it, CRLF everywhere and dots at line starts doubled, and the final dot.

    >>> on_the_wire(b"Subject: a\\r\\n\\r\\n.\\n.\\n")
    (b'Subject: a\\r\\n\\r\\n..\\r\\n..\\r\\n', b'.\\r\\n')
    """
    endings = content.count(b"\r\n")
    if content.count(b"\n") != endings or content.count(b"\r") != endings:
        content = _BARE_ENDING.sub(b"\r\n", content)
    if b"\n." in content or content[:1] == b".":
        content = _LEADING_DOT.sub(b"..", content)
    return content, b".\r\n" if content[-2:] == b"\r\n" else b"\r\n.\r\n"
