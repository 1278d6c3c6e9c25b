"""Is this database where it was? One that was copied is an office that must not write to anybody's customers."""

from dataclasses import dataclass
from typing import Any

from mail.sentences import Why, why


@dataclass(frozen=True)
class Installation:
    """Where a database is. What can't be found out is empty, and says nothing.

    ``database``: of PostgreSQL the cluster and the database in it, of SQLite the number of its file. ``machine`` and
    ``path`` are of SQLite alone: workers on many machines may share one PostgreSQL. ``address``: where people reach the
    office, if somebody said so. ``host`` and ``name`` are what people call the machine and the database; they are
    shown, not compared.
    """

    database: str
    machine: str = ""
    path: str = ""
    address: str = ""
    host: str = ""
    name: str = ""

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "Installation":
        """Return what was stored, without what a later version added."""
        return cls(**{name: str(stored.get(name, "")) for name in cls.__dataclass_fields__})

    @property
    def place(self) -> str:
        """Where it is, as people say it.

        >>> Installation("pg:1:2", host="db1", name="office").place
        'db1 (office)'
        """
        return f"{self.host} ({self.name})"


def copied(before: Installation, here: Installation) -> Why | None:
    """Return how it is known that a database is not where it was, None when it is.

    A file that was renamed is the same file. A container that is made anew has another name and no number of its own:
    there the file and its path decide.

    >>> mail1 = Installation("file:7", "a1", "/srv/office.db", "mail.acme.com", "mail1")
    >>> copied(mail1, Installation("file:7", "a1", "/data/office.db", "mail.acme.com", "renamed"))
    >>> copied(mail1, Installation("file:9", "b2", "/srv/office.db", host="trial"))["values"]
    {'before': 'mail1', 'here': 'trial'}
    >>> copied(mail1, Installation("file:7", "a1", "/srv/office.db", "trial.acme.com", "mail1"))["code"]
    'rehearsal_other_address'
    """
    if before.database != here.database or _is_elsewhere(before, here):
        named = [one.host if before.host != here.host else one.place for one in (before, here)]
        return why("rehearsal_copied", before=named[0], here=named[1])
    if before.address and here.address and before.address != here.address:
        return why("rehearsal_other_address", before=before.address, here=here.address)
    return None


def _is_elsewhere(before: Installation, here: Installation) -> bool:
    """Say whether two files with the same number are on two machines."""
    if before.machine and here.machine:
        return before.machine != here.machine
    return before.path != here.path
