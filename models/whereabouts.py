"""Where the database of this process is: what tells a copy from the original. What can't be found out is "".

Whatever differs begins a rehearsal, so nothing is said here that changes by itself, and an error is an error.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from struct import unpack_from

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.base import db
from models.parameter import SystemParameter

MACHINE_ID = Path("/etc/machine-id")  # given to a machine when it is installed
CONTAINER = tuple(map(Path, ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")))
FORGETFUL = ("overlay", "tmpfs", "rootfs", "squashfs", "fuse.fuse-overlayfs")  # below "/": begins anew at each start
MOUNTS = Path("/proc/self/mountinfo")

NUMBERS = text(
    "SELECT oid, to_regclass(:table)::oid, has_function_privilege(to_regprocedure(:tells), 'execute') FROM pg_database "
    "WHERE datname = current_database()"
)
NOT_TOLD = ("42501", "42883", "0A000")  # not permitted, no such function, not supported

# statx(2) and statfs(2), which Python does not know
AT_FDCWD, AT_EMPTY_PATH, STATX_BTIME = -100, 0x1000, 0x800
SIZE, MASK_AT, BTIME_AT = 256, 0, 80
# File systems that keep what they note: ext, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs. Some network shares make it up.
LOCAL = (0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E, 0x01021994)


def of_database() -> dict[str, str]:
    """Return what the database is known by: of a file when and where it was made, of PostgreSQL its numbers."""
    if db.engine.dialect.name != "sqlite":
        names = {"table": SystemParameter.__tablename__, "tells": "pg_control_system()"}
        oid, tables, may_ask = db.session.execute(NUMBERS, names).one()
        cluster = _cluster() if may_ask else ""  # an error would stand in the log of the server at each look
        return {"kind": "postgresql", "cluster": cluster, "oid": str(oid), "tables": str(tables or "")}
    path = Path(db.engine.url.database or "")
    if not path.is_file():
        return {"kind": "sqlite"}
    born = made_at(path)
    number = "" if born else str(path.stat().st_ino)
    return {"kind": "sqlite", "born": born, "number": number, "path": str(path.resolve()), "machine": machine()}


def _cluster() -> str:
    """Return the number that a PostgreSQL cluster got when it was made, "" where a hosted one does not tell."""
    try:
        with db.session.begin_nested():
            return str(db.session.scalar(text("SELECT system_identifier FROM pg_control_system()")))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in NOT_TOLD:
            return ""
        raise


def server_name() -> str:
    """Return the machine of the database server as it was entered, "" for a file."""
    return db.engine.url.host or "" if db.engine.dialect.name != "sqlite" else ""


def name() -> str:
    """Return how the database is called."""
    return db.engine.url.database or ""


def made_at(file: Path | int) -> str:
    """Return when a file was made, to the nanosecond; no copying and restoring takes that along.

    An open file is given by its descriptor. Some file systems do not note it, or can't be relied on.
    """
    libc = ctypes.CDLL(None)
    statx = getattr(libc, "statx", None)
    if statx is None:
        return ""
    found, system = ctypes.create_string_buffer(SIZE), ctypes.create_string_buffer(SIZE)
    if isinstance(file, int):
        failed = libc.fstatfs(file, system) or statx(file, b"", AT_EMPTY_PATH, STATX_BTIME, found)
    else:
        path = os.fsencode(file)
        failed = libc.statfs(path, system) or statx(AT_FDCWD, path, 0, STATX_BTIME, found)
    (kind,), (mask,) = unpack_from("@l", system), unpack_from("=I", found, MASK_AT)
    if failed or kind & 0xFFFFFFFF not in LOCAL or not mask & STATX_BTIME:
        return ""
    seconds, nanoseconds = unpack_from("=qI", found, BTIME_AT)
    return f"{seconds}.{nanoseconds:09}"


def machine() -> str:
    """Return the number of this machine, "" where it has none that lasts, as in a container."""
    with suppress(OSError):
        lasts = MACHINE_ID.stat().st_dev == MACHINE_ID.parent.stat().st_dev  # else it was put there for this start
        number = MACHINE_ID.read_text().strip()
        if lasts and len(number) == 32 and not _in_container():
            return number
    return ""


def _in_container() -> bool:
    if "KUBERNETES_SERVICE_HOST" in os.environ or any(mark.exists() for mark in CONTAINER):
        return True
    with suppress(OSError):
        mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
        return any(words[4] == "/" and words[words.index("-") + 1] in FORGETFUL for words in mounts)
    return False
