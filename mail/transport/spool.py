"""A large mail on its way waits in a file: how fast a server sends must not decide how much memory we need."""

import tempfile

from mail.errors import NoRoomForMail

IN_MEMORY = 1024 * 1024  # octets: what is smaller stays in memory
PIECE = 256 * 1024


class Spool:
    """The bytes of one mail: short ones in memory, from ``IN_MEMORY`` on in a file without a name."""

    def __init__(self, folder: str = "") -> None:
        self.size = 0
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=folder or None)  # noqa: SIM115 (it outlives this call)

    def write(self, piece: bytes) -> None:
        """Add bytes; raises ``NoRoomForMail``."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise NoRoomForMail(detail=error.strerror or str(error)) from error
        self.size += len(piece)

    def read(self) -> bytes:
        """Return all of them."""
        self._file.seek(0)
        return self._file.read()


def bytes_of(content: bytes | Spool) -> bytes:
    """Return a mail, wherever it waits."""
    return content if isinstance(content, bytes) else content.read()
