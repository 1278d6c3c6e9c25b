"""What strangers packed (gzip, zip), piece by piece and within limits: nothing is ever whole in memory. Pure."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

from mail.sentences import Why, why

LARGEST_UNPACKED = 10 * 1024 * 1024  # octets
HIGHEST_RATIO = 250  # octets out of one, once there are a lot of them
RATIO_FROM = 1024 * 1024
MOST_MEMBERS = 10
LARGEST_DIRECTORY = 64 * 1024  # octets of a zip's list of members
PIECE = 64 * 1024

_GZIP, _ZIP, _ZIP_END = b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06"
_ZIP64_END = b"PK\x06\x07"
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    struct.error,
)


class NotUnpacked(Exception):
    """It is broken, or larger than what is read; ``why`` says which."""

    def __init__(self, reason: Why) -> None:
        super().__init__(reason["code"])
        self.why = reason


def unpacked(content: bytes) -> Iterator[bytes]:
    """Yield what a file holds, packed or not, in pieces; of a zip its first XML file, else its first one.

    Raises ``NotUnpacked``, perhaps after some pieces.

    >>> import gzip
    >>> b"".join(unpacked(gzip.compress(b"<feedback/>"))), b"".join(unpacked(b"plain"))
    (b'<feedback/>', b'plain')
    """
    if len(content) > LARGEST_UNPACKED:
        raise NotUnpacked(why("unpacked_too_large", limit=LARGEST_UNPACKED // 1048576))
    if content.startswith(_GZIP):
        pieces = _gunzip(content)
    elif content.startswith(_ZIP):
        pieces = _unzip(content)
    else:
        pieces = (content[at : at + PIECE] for at in range(0, len(content), PIECE))
    octets = 0
    try:
        for piece in pieces:
            octets += len(piece)
            if octets > LARGEST_UNPACKED or octets > max(RATIO_FROM, HIGHEST_RATIO * len(content)):
                raise NotUnpacked(why("unpacked_too_large", limit=LARGEST_UNPACKED // 1048576))
            yield piece
    except _BROKEN as error:
        raise NotUnpacked(why("unpacked_broken", error=str(error)[:200] or type(error).__name__)) from error


def _gunzip(content: bytes) -> Iterator[bytes]:
    left = content
    for _ in range(MOST_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        while piece := stream.decompress(left, PIECE):
            left = stream.unconsumed_tail
            yield piece
        if not stream.eof:
            raise EOFError("it ends too early")
        left = stream.unused_data
        if not left.startswith(_GZIP):  # zeros or anything else behind it are ignored, as gzip itself does
            return
    raise NotUnpacked(why("unpacked_members", limit=MOST_MEMBERS))


def _unzip(content: bytes) -> Iterator[bytes]:
    end = content.rfind(_ZIP_END)
    directory = struct.unpack_from("<I", content, end + 12)[0] if end >= 0 else 0
    if directory > LARGEST_DIRECTORY or _ZIP64_END in content[max(end - 64, 0) : end]:
        raise NotUnpacked(why("unpacked_members", limit=MOST_MEMBERS))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
        if len(members) > MOST_MEMBERS:
            raise NotUnpacked(why("unpacked_members", limit=MOST_MEMBERS))
        if not members:
            raise EOFError("it is empty")
        chosen = next((one for one in members if re.search(r"\.xml$", one.filename, re.IGNORECASE)), members[0])
        if chosen.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError("it is packed in an unusual way")  # others may need memory as they like
        with archive.open(chosen) as file:
            while piece := file.read(PIECE):
                yield piece
