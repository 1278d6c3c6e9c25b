"""The headers that all recipients of a mailing share, and addresses folded where a reader joins them again. Pure."""

import re
from collections.abc import Mapping

from mail.errors import InvalidAddress
from mail.message.address import format_address, parse_addresses
from mail.message.compose import header
from mail.message.words import one_line

HEADER_LINE = 76


def fixed_headers(from_header: str, reply_to: str, list_id: str, feedback_id: str, headers: Mapping[str, str]) -> bytes:
    """Return the headers that all recipients share, each with its line break."""
    lines = [_address_header("From", from_header)]
    if reply_to:
        lines.append(_address_header("Reply-To", reply_to))
    if list_id:
        lines.append(f"List-Id: <{_identifier(list_id.strip('<>'))}>\r\n".encode())
    lines.append(header("Precedence", "bulk"))
    if feedback_id:
        lines.append(f"Feedback-ID: {_identifier(feedback_id)}\r\n".encode())
    lines += [header(name, value) for name, value in headers.items()]
    lines.append(b"MIME-Version: 1.0\r\n")
    return b"".join(lines)


def _identifier(text: str) -> str:
    """An id that a machine reads: it is never encoded, so it holds nothing that would have to be."""
    return re.sub("[^!-;=?-~]+", "-", text)


def _address_header(name: str, value: str) -> bytes:
    mailbox = next(iter(parse_addresses(value)), None)
    if mailbox is None:
        raise InvalidAddress(address=one_line(value))
    return f"{name}: ".encode() + folded(format_address(mailbox.name, mailbox.address), len(name) + 2) + b"\r\n"


def folded(text: str, used: int) -> bytes:
    """Break an address at single blanks, where a reader joins it to exactly the same text (RFC 5322 2.2.3)."""
    if used + len(text) <= HEADER_LINE:
        return text.encode()
    lines, line = [], ""
    for word in re.split(r"(?<=\S) (?=\S)", text):
        if line and used + len(line) + 1 + len(word) > HEADER_LINE:
            lines.append(line)
            line, used = word, 1
        else:
            line = f"{line} {word}" if line else word
    return "\r\n ".join([*lines, line]).encode()
