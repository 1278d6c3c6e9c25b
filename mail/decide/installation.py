"""Is this database where it was? One that was copied is an office that must not write to anybody's customers."""

from dataclasses import dataclass
from typing import Any

from mail.sentences import Why, why

# Marks that a database may lack: a standby that takes over has not got the last minutes, a file has lost nothing.
TOLERATED = {"postgresql": 10, "sqlite": 1}
TAKES = 10  # marks, one a minute: how much newer one part of a backup may be than the other


@dataclass(frozen=True)
class Installation:
    """Where a database is. What can't be found out is empty, and says nothing: two are compared in what both know.

    Of PostgreSQL: ``cluster``, ``oid`` of the database in it and ``tables``, the number of one of them. Of SQLite:
    ``born``, when the file was made, or where that is not noted its ``number``; its ``path``; and the ``machine``, as
    workers on many machines may share one PostgreSQL. ``address``: where people reach the office, if somebody said so.
    ``host`` and ``name`` are what people call the machine and the database; they are shown, not compared.
    """

    kind: str = ""
    cluster: str = ""
    oid: str = ""
    tables: str = ""
    born: str = ""
    number: str = ""
    path: str = ""
    machine: str = ""
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

        >>> Installation(host="db1", name="office").place
        'db1 (office)'
        """
        return f"{self.host} ({self.name})"


# What makes a copy, and the words for it. The number of a file alone does not: shared folders give a new one at each
# start.
SIGNS = (
    ("rehearsal_sign_kind", ("kind",)),
    ("rehearsal_sign_cluster", ("cluster",)),
    ("rehearsal_sign_oid", ("oid",)),
    ("rehearsal_sign_tables", ("tables",)),
    ("rehearsal_sign_file", ("born",)),
    ("rehearsal_sign_machine", ("machine",)),
    ("rehearsal_sign_file", ("number", "path")),
)


def copied(before: Installation, here: Installation, original_stands: bool = False) -> Why | None:
    """Return how it is known that a database is not where it was, None when it is.

    ``original_stands``: another file is still at the path where the database was.

    >>> mail1 = Installation("sqlite", born="7.1", path="/srv/office.db", address="mail.acme.com", host="mail1")
    >>> copied(mail1, Installation("sqlite", born="7.1", path="/data/office.db", host="renamed"))
    >>> copied(mail1, Installation("sqlite", born="9.4", path="/srv/office.db", host="trial"))["values"]["before"]
    'mail1'
    >>> copied(mail1, Installation("sqlite", born="7.1", address="trial.acme.com"))["code"]
    'rehearsal_other_address'
    """
    sign = next((code for code, names in SIGNS if all(_differs(name, before, here) for name in names)), "")
    if sign:
        return _copied(before, here, why(sign))
    if original_stands and _differs("path", before, here):
        return _copied(before, here, why("rehearsal_sign_original", path=before.path))
    if _differs("address", before, here):
        return why("rehearsal_other_address", before=before.address, here=here.address)
    return None


def _differs(name: str, before: Installation, here: Installation) -> bool:
    then, now = getattr(before, name), getattr(here, name)
    return bool(then and now and then != now)


def _copied(before: Installation, here: Installation, sign: Why) -> Why:
    if before.place == here.place:
        return why("rehearsal_copied_here", here=here.place, sign=sign)
    places = [one.host if before.host != here.host else one.place for one in (before, here)]
    return why("rehearsal_copied", before=places[0], here=places[1], sign=sign)


@dataclass(frozen=True)
class Marks:
    """How far the folder beside a database counted, in the home that the database names.

    ``is_original``: whether its file is the very one that a worker wrote; one that was put back by a backup is not.
    """

    known: int = 0
    is_original: bool = True


def restored(counted: int, beside: Marks, here: Installation) -> Why | None:
    """Return how it is known that a database at its place is older than it was; ``counted``: its own marks.

    >>> restored(500, Marks(500), Installation("sqlite"))
    >>> restored(100, Marks(500), Installation("sqlite", host="mail1", name="office.db"))["code"]
    'rehearsal_restored'
    >>> restored(500, Marks(500, is_original=False), Installation("sqlite"))["code"]
    'rehearsal_restored_folder'
    """
    if beside.known - counted > TOLERATED[here.kind]:
        return why("rehearsal_restored", here=here.place)
    # What was restored into PostgreSQL has other numbers, so this folder only moved.
    together = beside.known and counted - beside.known <= TAKES
    if here.kind == "sqlite" and together and not beside.is_original:
        return why("rehearsal_restored_folder", here=here.place)
    return None
