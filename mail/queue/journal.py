"""What was in flight on a connection when its process died.

SMTP has a moment in which nobody knows: the content has gone out and its 250 was not seen yet. The journal narrows a
crash down to that one mail: ``begin`` is written before the content of a mail goes out, ``ok`` after its 250,
``refused`` when the server said no. One file per connection, one write per record, no database, about 2 µs. It
survives ``kill -9``, because the kernel has the record as soon as the write returns; ``sync`` makes it survive a power
cut as well.
"""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self, TypedDict

from mail.errors import JournalFailed

State = Literal["ok", "begun"]

BEGUN, OK, REFUSED = b"-", b"+", b"!"
_RECORD = re.compile(rb"([-+!])([a-z][a-z0-9]{1,39})")
_KEY = re.compile(r"[a-z][a-z0-9]{1,39}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class InFlight(TypedDict):
    """The three moments of one delivery, as ``deliver(**...)`` takes them."""

    before_content: Callable[[], None]
    after_accept: Callable[[], None]
    after_refusal: Callable[[], None]


class Journal:
    """The journal of one connection; not to be shared between threads.

    Keys are short ASCII: a letter for the table, then the number (``l123`` a line, ``t456`` a trace).
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._broken = False

    @classmethod
    def open(cls, folder: str | os.PathLike[str], worker_id: int | str, connection_name: str) -> Self:
        """Start (or go on with) the journal of one connection of one worker.

        Both names become the file's name: letters, digits, ``-`` and ``_``. Raises JournalFailed when the file can't
        be opened.
        """
        for name in (str(worker_id), connection_name):
            if not _NAME.fullmatch(name):
                raise ValueError(f"not usable in a file name: {name!r}")
        path = Path(folder) / f"{worker_id}.{connection_name}.journal"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            # A record that a power cut tore counts as never written; it must not run into the next one either.
            complete = path.read_bytes().rfind(b"\n") + 1
            if os.fstat(descriptor).st_size > complete:
                os.ftruncate(descriptor, complete)
            _sync_folder(path.parent)  # or a power cut takes the file's name away, however well its content is kept
        except OSError as error:
            raise JournalFailed(detail=error.strerror or str(error)) from error
        return cls(path, descriptor)

    @property
    def is_broken(self) -> bool:
        """Whether a record could not be written: nothing is begun until ``reset``."""
        return self._broken

    def begin(self, key: str) -> None:
        """Note that the content of a mail is about to go out. Raises JournalFailed: then it must not go out."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a journal key: {key!r}")
        self._write(BEGUN, key)

    def ok(self, key: str) -> None:
        """Note the server's 250. When this raises JournalFailed the mail is accepted all the same: record it."""
        self._write(OK, key)

    def refused(self, key: str) -> None:
        """Note that the server did not take the content after all: the mail is not in doubt."""
        self._write(REFUSED, key)

    def begin_if(self, key: str, still_ours: Callable[[], None]) -> None:
        """Begin, and then let ``still_ours`` raise what keeps the mail from going out; the journal takes it back.

        In this order, because whoever takes our work over reads the journal: either the mail is in it, or we have been
        given up before and ``still_ours`` knows. Asked the other way round, a process that stood still in between would
        send what another one sends as well.
        """
        self.begin(key)
        try:
            still_ours()
        except BaseException:
            self.refused(key)
            raise

    def in_flight(self, key: str, still_ours: Callable[[], None] = lambda: None) -> InFlight:
        """Return the three calls that ``deliver`` makes at the right moments.

        ``connection.deliver(sender, recipient, content, **journal.in_flight("l123", worker.assert_alive))``
        """
        return {
            "before_content": lambda: self.begin_if(key, still_ours),
            "after_accept": lambda: self._write(OK, key),
            "after_refusal": lambda: self._write(REFUSED, key),
        }

    def _write(self, state: bytes, key: str) -> None:
        if self._broken:
            raise JournalFailed(detail="an earlier record could not be written")
        record = b"%b%b\n" % (state, key.encode())
        try:
            written = os.write(self._descriptor, record)
        except OSError as error:
            self._broken = True
            raise JournalFailed(detail=error.strerror or str(error)) from error
        if written != len(record):
            self._broken = True
            raise JournalFailed(detail="the disk is full")

    def sync(self) -> None:
        """Bring all records to the disk (about a millisecond): call it every 50–100 ms or at the end of a batch."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._broken = True  # after a failed sync the kernel may have dropped the records
            raise JournalFailed(detail=error.strerror or str(error)) from error

    def reset(self) -> None:
        """Forget all records, once the results of their mails are committed; a journal that was broken starts anew."""
        try:
            os.ftruncate(self._descriptor, 0)
        except OSError as error:
            self._broken = True
            raise JournalFailed(detail=error.strerror or str(error)) from error
        self._broken = False

    def close(self) -> None:
        """Close the file and keep it: what it holds is still needed if results were not committed."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1

    def remove(self) -> None:
        """Close and delete, once all results are committed."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AfterPowerCut(dict[str, State]):
    """What journals say after their machine lost power: records of the last moments may be gone with it.

    What they do not name may have been sent as well.

    >>> said = AfterPowerCut({"l1": "ok"})
    >>> said.get("l1"), said.get("l2"), "l2" in said
    ('ok', 'begun', False)
    """

    def get(self, key: str, default: Any = "begun") -> Any:
        """Return what is known of a key: in doubt when there is no word of it."""
        return super().get(key, default)


def read_folder(folder: str | os.PathLike[str], worker_id: int | str) -> dict[str, State]:
    """Return what the journals of a worker say of each key: ``ok`` (sent) or ``begun`` (in doubt).

    A key that is missing was not in flight: its mail can be sent. A last record that was torn by a power cut counts
    as never written. Raises JournalFailed when a journal is there and can't be read: nothing may be concluded then.
    """
    said: dict[str, State] = {}
    for path in _journals(folder, worker_id):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JournalFailed(detail=error.strerror or str(error)) from error
        for key, state in _read(content).items():
            if said.get(key) != "ok":
                said[key] = state
    return said


def _read(content: bytes) -> dict[str, State]:
    said: dict[str, State] = {}
    complete, _, _torn = content.rpartition(b"\n")
    for line in complete.split(b"\n"):
        record = _RECORD.fullmatch(line)
        if not record:
            continue
        key = record[2].decode()
        if record[1] == OK:
            said[key] = "ok"
        elif record[1] == BEGUN:
            said[key] = "begun"
        else:
            said.pop(key, None)
    return said


def remove_folder(folder: str | os.PathLike[str], worker_id: int | str) -> None:
    """Delete the journals of a dead worker, once what they say is committed."""
    for path in _journals(folder, worker_id):
        path.unlink(missing_ok=True)


def forget_folder(folder: str | os.PathLike[str], worker_id: int | str) -> None:
    """Empty the journals of a worker that lives and has nothing in flight, once what they say is committed.

    The files stay: its threads have them open. Raises JournalFailed.
    """
    for path in _journals(folder, worker_id):
        try:
            os.truncate(path, 0)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JournalFailed(detail=error.strerror or str(error)) from error


def _journals(folder: str | os.PathLike[str], worker_id: int | str) -> list[Path]:
    if not _NAME.fullmatch(str(worker_id)):
        raise ValueError(f"not usable in a file name: {worker_id!r}")
    return sorted(Path(folder).glob(f"{worker_id}.*.journal"))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
