"""What a DKIM signature hashes of a mailing: what all recipients share is made ready once. Pure.

Each slot is on a line of its own between soft line breaks, so blanks never run from a part into the next one, and the
parts can be made canonical one by one.
"""

import hashlib
from collections.abc import Iterable, Sequence

from mail.message.dkim import (
    SigningKey,
    UnsignedHeader,
    base64_of,
    names_of,
    relaxed,
    signed_fields,
    split,
    unsigned_header,
)


class CanonicalMailing:
    """The parts of a compiled mailing as they are hashed; `parts` begin with a recipient's own headers, left out here.

    Using it from several threads is safe.
    """

    def __init__(self, parts: Sequence[bytes]) -> None:
        head, body = split(parts[1])
        self._fields = signed_fields(head)
        self._start = hashlib.sha256(relaxed(body))
        self._parts = [b"", b"", *map(relaxed, parts[2:])]
        self._shared = b"".join([canonical for _, canonical in self._fields])
        self._names: dict[tuple[bytes, ...], str] = {}

    def unsigned(
        self, own_headers: bytes, parts: Sequence[bytes], slots: Iterable[int], keys: Sequence[SigningKey]
    ) -> list[UnsignedHeader]:
        """Return the headers for the signatures of one recipient's mail; `slots` are the places that are its own."""
        canonical = self._parts.copy()
        for place in slots:
            canonical[place] = relaxed(parts[place])
        digest = self._start.copy()
        digest.update(b"".join(canonical))
        body_hash = base64_of(digest.digest())
        own = signed_fields(own_headers)
        hashed = self._shared + b"".join([field for _, field in own])
        names = self._names_with(tuple(name for name, _ in own))
        return [unsigned_header(key, names, hashed, body_hash) for key in keys]

    def _names_with(self, own: tuple[bytes, ...]) -> str:
        names = self._names.get(own)
        if names is None:  # there are few: with a name to unsubscribe or without
            names = self._names[own] = names_of([*self._fields, *((name, b"") for name in own)])
        return names
