"""What each of our processes does when it begins, and once it has started."""

import gc
import os

from sqlalchemy.orm import configure_mappers


def keep_files_private() -> None:
    """Let nobody but our own account read what this process writes; call it when a process of ours begins."""
    os.umask(0o077)


def start_is_over() -> None:
    """Leave what was made while starting out of garbage collection; call it before the work, or the forks, begin.

    It stays until the end, and walking through all of it takes a tenth of a second: now and then a click, or a
    transaction that others wait for, would take that much longer.
    """
    configure_mappers()  # otherwise the first look into the database does it
    gc.collect()
    gc.freeze()
