"""``python -m scheduler``: the worker process."""

import logging
import os
import sys
import time
from pathlib import Path

from flask import Flask
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from mail.settings.config import ConfigError
from mail.settings.logs import set_up_logs
from mail.settings.process import keep_files_private, share_memory, start_is_over
from models import db, reading
from scheduler import create_worker_app
from scheduler.loops import database_away
from scheduler.worker import WorkerProcess, install_signals

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
LOOK_EVERY = 2.0  # seconds between two looks for a database that is away

log = logging.getLogger("coquimail.worker")


def main() -> int:
    """Run the worker until it is asked to end; returns its exit status, 2 when it can't start."""
    keep_files_private()
    share_memory()
    set_up_logs()
    try:
        app = create_worker_app()
    except ConfigError as error:
        return _refuse(str(error))
    problem = wait_for_database(app)
    if problem:
        return _refuse(problem)
    worker = WorkerProcess(app)
    worker.register()
    install_signals(worker)  # until now nothing was under way: a signal ended us at once
    start_is_over()
    return worker.run()


def wait_for_database(app: Flask) -> str:
    """Return "" once the database is there and up to date, or the sentence that says why the worker can't start."""
    told = False
    while True:
        try:
            with app.app_context(), reading():
                here = version_here()
            break
        except DBAPIError as error:
            if not database_away(error):
                raise
            if not told:
                log.warning("waiting for the database: %s", error.orig)
                told = True
            time.sleep(LOOK_EVERY)
    if here == newest_version():
        return ""
    if not here:
        return "The database is empty. Run once: flask --app wsgi upgrade"
    return "The database belongs to another version of CoquiMail. Run once: flask --app wsgi upgrade"


# --- Alembic would tell both, but takes 8 MB that a process never gives back


def version_here() -> str:
    """Return the version of the tables in the database, "" when there are none."""
    if not inspect(db.session.connection()).has_table("alembic_version"):
        return ""
    return db.session.scalar(text("SELECT version_num FROM alembic_version")) or ""


def newest_version() -> str:
    """Return the version that the numbered migrations lead to."""
    return max(path.name for path in MIGRATIONS.glob("versions/[0-9]*.py")).partition("_")[0]


def _refuse(sentence: str) -> int:
    print(f"The worker does not start. {sentence}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)  # a thread that hangs in a network call must not keep the process
