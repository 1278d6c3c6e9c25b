"""S/MIME that is signed in one block (RFC 8551 3.5.2, RFC 5652 5): the mail inside of it. Nothing is verified. Pure."""

from typing import NamedTuple

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_ENCRYPTED_DATA = (bytes.fromhex("2a864886f70d010703"), bytes.fromhex("2a864886f70d0109100117"))  # with a check, too
_SEQUENCE, _OCTETS, _OBJECT, _EXPLICIT_0 = 0x30, 0x04, 0x06, 0xA0
_CONSTRUCTED = 0x20
_MOST_PIECES = 100_000


class _Element(NamedTuple):
    """One value of BER (X.690): its tag, where its contents are, and where the next one begins."""

    tag: int
    start: int
    end: int
    after: int


def signed_content(block: bytes) -> bytes | None:
    """Return the mail within a signed block; None if it is encrypted, holds none, or can't be read."""
    try:
        outer = _inside(block, _element(block, 0))
        if block[outer[0].start : outer[0].end] != _SIGNED_DATA:
            return None
        signed = _inside(block, _inside(block, outer[1])[0])
        content = _inside(block, next(one for one in signed if one.tag == _SEQUENCE))
        if len(content) < 2 or content[1].tag != _EXPLICIT_0:
            return None
        return b"".join(_pieces(block, _inside(block, content[1])[0])) or None
    except (IndexError, StopIteration, RecursionError, OverflowError):
        return None


def is_encrypted(block: bytes) -> bool:
    """Say whether a block can only be read with somebody's key."""
    return any(kind in block[:32] for kind in _ENCRYPTED_DATA)


def _element(block: bytes, at: int) -> _Element:
    """The value that begins at an offset. Without a length (indefinite) it ends where two zeros stand in its place."""
    tag, size = block[at], block[at + 1]
    start = at + 2
    if size == 0x80:
        position = start
        while block[position : position + 2] != b"\0\0":
            position = _element(block, position).after
        return _Element(tag, start, position, position + 2)
    if size & 0x80:
        count = size & 0x7F
        size = int.from_bytes(block[start : start + count], "big")
        start += count
    end = min(start + size, len(block))
    return _Element(tag, start, end, end)


def _inside(block: bytes, parent: _Element) -> list[_Element]:
    """The values within one, up to the few that are looked at."""
    found: list[_Element] = []
    position = parent.start
    while position < parent.end and len(found) < 4:
        found.append(_element(block, position))
        position = found[-1].after
    return found


def _pieces(block: bytes, octets: _Element) -> list[bytes]:
    """The octets of a string that may be written in pieces."""
    if not octets.tag & _CONSTRUCTED:
        return [block[octets.start : octets.end]]
    pieces: list[bytes] = []
    position = octets.start
    while position < octets.end and len(pieces) < _MOST_PIECES:
        piece = _element(block, position)
        pieces.append(block[piece.start : piece.end])
        position = piece.after
    return pieces
