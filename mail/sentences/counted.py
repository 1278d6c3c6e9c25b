"""A sentence about a number."""

from typing import NamedTuple


class Counted(NamedTuple):
    """A sentence in singular and plural; the value that ``by`` names decides which one is said."""

    by: str
    one: str
    many: str
