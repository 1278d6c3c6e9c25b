"""Which files of an email are too large for it and leave as links instead. Pure."""

from collections.abc import Sequence

from mail.message.compose import octets_in_base64

HEADERS = 4_000  # octets that an email, and each of its files, needs besides, at most
LINK = 2_000  # octets that a link needs, in text and in HTML


def size_as_sent(words: int, files: Sequence[int]) -> int:
    """Return how large an email is at most, from the octets of its words as they are sent, and of its files.

    >>> size_as_sent(100, [57_000])
    86100
    """
    return HEADERS * (1 + len(files)) + words + sum(octets_in_base64(file) for file in files)


def octets_of_text(text: str) -> int:
    """Return how many octets a text has as it is sent, at most: from a quick look, and near to what it will be.

    >>> octets_of_text("Hello" * 200), octets_of_text("é" * 300), octets_of_text("Grüße aus Köln")
    (1047, 826, 26)
    """
    octets = text.encode("utf-8", "replace")
    beyond_ascii = len(octets) - len(octets.translate(None, _BEYOND_ASCII))
    if beyond_ascii * 3 > len(octets):
        return octets_in_base64(len(octets) + 1)
    lines = octets.count(b"\n") + octets.count(b"\r")
    size = len(octets) + 2 * (beyond_ascii + sum(map(octets.count, _CODED))) + lines + 8
    return size + size // 73 * 3  # a line that is broken has 73 letters at least


_BEYOND_ASCII = bytes(range(0x80, 0x100))
# What quoted-printable writes with three letters besides: of a line, the last one as well if it may get lost.
_CODED = (b"=", *(last + end for last in (b" ", b"\t", b".") for end in (b"\n", b"\r")))


def to_link(words: int, files: Sequence[int], limit: int) -> list[int]:
    """Return the positions of the files that leave as links, the largest first, until the email fits.

    >>> to_link(100, [500_000, 20_000_000, 3_000_000], 25_000_000)
    [1]
    >>> to_link(100, [500_000, 3_000_000], 25_000_000), to_link(30_000_000, [1, 2], 25_000_000)
    ([], [0, 1])
    """
    linked: list[int] = []
    size = size_as_sent(words, files)
    for position in sorted(range(len(files)), key=lambda one: -files[one]):
        if size <= limit:
            break
        linked.append(position)
        size += LINK - HEADERS - octets_in_base64(files[position])
    return sorted(linked)
