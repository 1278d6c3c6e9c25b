"""An office whose worker runs as a real process, seen and changed by a test as its pages would do it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from sqlalchemy import select, update

from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.settings import config
from mail.settings.wake import wake
from models import (
    ActionRun,
    IncomingServer,
    OutgoingServer,
    Recipient,
    ScheduledAction,
    ServerCheck,
    Worker,
    db,
    reading,
)
from scheduler import create_worker_app
from tests.servers.app import App
from tests.servers.process import Program
from tests.waiting import wait_until


class Office:
    """The database and the data folder of ``running_app``, from the test's own process."""

    def __init__(self, running: App) -> None:
        self.running = running
        self.app: Flask = create_worker_app(config.read(running.env))

    @contextmanager
    def context(self) -> Iterator[None]:
        """A unit of work of its own; commit what you change."""
        with self.app.app_context():
            yield

    @contextmanager
    def looking(self) -> Iterator[None]:
        """A look at the database that holds up nobody; the rows that were seen can be used afterwards."""
        with self.app.app_context(), reading():
            yield
            db.session.expunge_all()

    def worker(self) -> Program:
        """Start a worker and return it once it is registered and all its loops run."""
        before = self.workers()
        program = self.running.start_worker()
        wait_until(lambda: "worker started" in program.output() or not program.running())
        assert program.running(), program.output()
        wait_until(lambda: len(self.workers()) > len(before))
        return program

    def workers(self) -> list[Worker]:
        with self.looking():
            return list(db.session.scalars(select(Worker).order_by(Worker.id)))

    # --- scheduled actions

    def set_action(self, code: str, **values: Any) -> None:
        """Change an action behind the back of all workers, as another process does; nobody is woken."""
        with self.context():
            values["version"] = ScheduledAction.version + 1
            db.session.execute(update(ScheduledAction).where(ScheduledAction.code == code).values(values))
            db.session.commit()

    def only(self, code: str, **values: Any) -> None:
        """Leave one action switched on."""
        with self.context():
            db.session.execute(update(ScheduledAction).where(ScheduledAction.code != code).values(active=False))
            db.session.commit()
        self.set_action(code, **values)

    def action(self, code: str) -> ScheduledAction:
        with self.looking():
            found = db.session.scalar(select(ScheduledAction).where(ScheduledAction.code == code))
            assert found is not None
            return found

    def runs(self, code: str) -> list[ActionRun]:
        """All runs of an action, oldest first."""
        with self.looking():
            return list(
                db.session.scalars(
                    select(ActionRun)
                    .join(ScheduledAction, ScheduledAction.id == ActionRun.action_id)
                    .where(ScheduledAction.code == code)
                    .order_by(ActionRun.id)
                )
            )

    # --- mail

    def outgoing_server(self, port: int, **values: Any) -> int:
        """Add an outgoing server of this machine."""
        row = {"name": "test", "host": "127.0.0.1", "port": port, "encryption": "none", "authentication": "none"}
        with self.context():
            server = OutgoingServer(**(row | values))
            db.session.add(server)
            db.session.commit()
            return server.id

    def incoming_server(self, port: int, **values: Any) -> int:
        """Add an incoming server of this machine, confirmed already."""
        row = {"name": "test", "host": "127.0.0.1", "port": port, "encryption": "none", "state": "confirmed"}
        with self.context():
            server = IncomingServer(**(row | values))
            db.session.add(server)
            db.session.commit()
            return server.id

    def mail(self, *to: str, author: str = "Clerk <clerk@home.test>", subject: str = "Hello") -> int:
        """Put a mail into the queue and wake the workers."""
        with self.context():
            draft = OutgoingDraft(kind="test", author=author, subject=subject, html="<p>Hello</p>")
            mail_id = enqueue.enqueue(draft, [To(address) for address in to], datetime.now(UTC)).id
            db.session.commit()
            wake()
            return mail_id

    def states(self) -> dict[str, str]:
        """The state of each line, by its address."""
        with self.looking():
            return {line.address: line.state for line in db.session.scalars(select(Recipient).order_by(Recipient.id))}

    # --- tests of servers

    def check(self, kind: str, server_id: int, user_id: int | None = None) -> ServerCheck:
        """Ask for a test or a fetch and return it once it is finished."""
        with self.context():
            row = ServerCheck(kind=kind, server_id=server_id, requested_by_id=user_id, requested_at=datetime.now(UTC))
            db.session.add(row)
            db.session.commit()
            check_id = row.id
            wake("check")
        return wait_until(lambda: self._finished(check_id))

    def _finished(self, check_id: int) -> ServerCheck | None:
        with self.looking():
            row = db.session.get(ServerCheck, check_id)
            return row if row is not None and row.state in ("done", "failed") else None

    def close(self) -> None:
        with self.context():
            db.engine.dispose()
