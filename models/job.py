"""Workers, their lease of leadership, the scheduled actions and the history of their runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, String, UniqueConstraint, false, select
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Json, Model, UtcDateTime, index_of_few, one_of

UNITS = ("seconds", "minutes", "hours", "days", "weeks", "months")


class Worker(Model):
    """A worker process. ``seen_at`` is its heartbeat by the database's clock (``database_clock``)."""

    __tablename__ = "worker"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    boot: Mapped[str] = mapped_column(String(64))
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    at_work_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # its last heartbeat, by the business clock
    seen_at: Mapped[float] = mapped_column(Float)
    fenced: Mapped[bool] = mapped_column(default=False, server_default=false())  # declared dead: it can't come back
    ended: Mapped[bool] = mapped_column(default=False)  # its lines and chunks have been recovered or handed back
    loops: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)  # name of each loop -> what it last said

    @classmethod
    def may_claim(cls, worker_id: Any) -> Any:
        """Return the SQL condition that nobody has recovered this worker, nor can before the transaction ends.

        Every claim has it: what a worker took after it was recovered, nobody would ever give back.
        """
        table: Any = cls.__table__
        row = select(table.c.id).where(table.c.id == worker_id, table.c.ended.is_(False))
        return row.with_for_update(read=True).exists()


class Outage(Model):
    """A time in which no worker was at work: the machine was off or asleep, or its clock was set forward.

    Nothing was tried in it, so it does not count towards the time after which a mail is given up.
    """

    __tablename__ = "outage"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    until: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class Lease(Model):
    """The right of one worker to do something alone, until ``until`` by the database's clock."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    until: Mapped[float] = mapped_column(Float, default=0.0)


class ScheduledAction(Model):
    """Something that the worker does at an interval; the row is the truth, APScheduler only mirrors it."""

    __tablename__ = "scheduled_action"
    __table_args__ = (one_of("unit", *UNITS),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    interval: Mapped[int] = mapped_column(default=1)
    unit: Mapped[str] = mapped_column(String(10), default="minutes")
    active: Mapped[bool] = mapped_column(default=True)
    next_run_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(default=1)  # raised by every edit; the worker's mirror compares it
    run_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # "Run now"
    running_by_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    running_until: Mapped[float] = mapped_column(Float, default=0.0)

    def __str__(self) -> str:
        return self.name


class ActionRun(Model):
    """One run of an action. ``slot`` is the time it was due, so that no slot can run twice."""

    __tablename__ = "action_run"
    __table_args__ = (
        index_of_few("ix_action_run_of_worker", "worker_id"),
        UniqueConstraint("action_id", "slot"),
        Index(None, "action_id", "id"),
        one_of("state", "running", "done", "failed", "lost"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    action_id: Mapped[int] = mapped_column(ForeignKey("scheduled_action.id", ondelete="CASCADE"))
    slot: Mapped[datetime] = mapped_column(UtcDateTime)
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    requested: Mapped[bool] = mapped_column(default=False)  # a person pressed Run now
    state: Mapped[str] = mapped_column(String(10), default="running")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    counts: Mapped[dict[str, Any] | None] = mapped_column(Json)
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
