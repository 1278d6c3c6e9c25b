"""Which files of an email are too large for it and leave as links instead. Pure."""

from collections.abc import Sequence

from mail.message.compose import octets_in_base64

HEADERS = 4_000  # octets that an email, and each of its files, needs besides, at most
LINK = 2_000  # octets that a link needs, in text and in HTML


def size_as_sent(words: int, files: Sequence[int]) -> int:
    """Return how large an email is at most as it is sent, from the octets of its words and of its files.

    >>> size_as_sent(100, [57_000])
    86300
    """
    return HEADERS * (1 + len(files)) + 3 * words + sum(octets_in_base64(file) for file in files)


def to_link(words: int, files: Sequence[int], limit: int) -> list[int]:
    """Return the positions of the files that leave as links, the largest first, until the email fits.

    >>> to_link(100, [500_000, 20_000_000, 3_000_000], 25_000_000)
    [1]
    >>> to_link(100, [500_000, 3_000_000], 25_000_000), to_link(10_000_000, [1, 2], 25_000_000)
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
