"""Scheduled actions by real workers: each slot once, edits obeyed, missed runs made up once, failures shown."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from mail.maintenance import schedule
from mail.settings.wake import wake
from models import ActionRun, Lease, ScheduledAction, db
from scheduler.actions import LEAD
from scheduler.loops import PAUSE
from tests.office import Office
from tests.servers.app import App
from tests.servers.misbehaving import misbehaving, silent
from tests.waiting import wait_until

ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what has nothing to do with databases


@pytest.fixture
def office(running_app: App) -> Iterator[Office]:
    made = Office(running_app)
    yield made
    made.close()


def began(output: str, code: str) -> int:
    """How often a worker says that it began an action."""
    return len(re.findall(rf"action {code} began", output))


def test_two_workers_run_each_slot_once(office: Office) -> None:
    first = datetime.now(UTC) + timedelta(seconds=1)
    office.only("queue", interval=1, unit="seconds", next_run_at=first)
    workers = [office.worker(), office.worker()]
    wait_until(lambda: len([run for run in office.runs("queue") if run.state == "done"]) >= 5)
    office.set_action("queue", active=False)
    wait_until(lambda: not [run for run in office.runs("queue") if run.state == "running"])
    runs = office.runs("queue")
    assert sum(began(worker.output(), "queue") for worker in workers) == len(runs)
    assert {(run.slot - first).total_seconds() % 1 for run in runs} == {0.0}, "the phase is kept"
    assert len({run.slot for run in runs}) == len(runs)
    assert {run.state for run in runs} == {"done"}
    assert all(later.started_at >= earlier.ended_at for earlier, later in pairwise(runs))


def test_an_edit_counts_at_the_next_look_without_a_wake(office: Office) -> None:
    later = datetime.now(UTC) + timedelta(minutes=4)
    office.only("queue", interval=5, unit="minutes", next_run_at=later)
    office.worker()
    run_now(office, "mailings")  # it was done, so the worker has seen all rows
    edited = datetime.now(UTC)
    office.set_action("queue", interval=1, unit="seconds")  # another process changed the row, and nobody was woken
    runs = wait_until(lambda: office.runs("queue"))
    assert edited <= runs[0].slot <= runs[0].started_at, "it was planned anew at a look after the edit"
    assert PAUSE <= 2, "they look so often"
    office.set_action("queue", active=False)
    run_now(office, "mailings")  # it was done, so the worker has seen the edit as well
    count = len(office.runs("queue"))
    run_now(office, "mailings")
    run_now(office, "mailings")
    assert len(office.runs("queue")) == count


def test_an_edit_by_the_page_counts_at_once(office: Office) -> None:
    office.only("fetch", interval=5, unit="minutes", next_run_at=datetime.now(UTC) + timedelta(minutes=4))
    office.worker()
    wait_until(lambda: holder(office) is not None)
    with office.context():
        action = db.session.scalar(select(ScheduledAction).where(ScheduledAction.code == "fetch"))
        assert action is not None
        edited = datetime.now(UTC)
        schedule.edit(action, 5, "seconds", True, edited)
        db.session.commit()
        wake(schedule.TOPIC)
    runs = wait_until(lambda: [run for run in office.runs("fetch") if run.state == "done"][:2][1:])
    first, second = office.runs("fetch")[:2]
    assert first.slot == edited, "it was planned for the moment of the edit"
    assert (second.slot - first.slot).total_seconds() % 5 == 0
    assert runs[0].counts == {"servers": 0, "mails": 0}


def test_run_now_runs_at_once_and_leaves_the_schedule_alone(office: Office) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=4)
    office.only("queue", interval=5, unit="minutes", next_run_at=due)
    office.set_action("cleanup", active=False)
    office.worker()
    wait_until(lambda: holder(office) is not None)
    for code in ("queue", "cleanup", "queue"):  # also one that is switched off
        run = run_now(office, code)
        assert (run.state, run.requested) == ("done", True)
    assert office.action("queue").next_run_at == due


def test_missed_runs_are_made_up_once(office: Office) -> None:
    first = datetime.now(UTC) - timedelta(minutes=90)
    office.only("queue", interval=20, unit="minutes", next_run_at=first)
    office.worker()
    wait_until(lambda: [run for run in office.runs("queue") if run.state == "done"])
    action = office.action("queue")
    assert [run.slot for run in office.runs("queue")] == [first]
    assert action.next_run_at > datetime.now(UTC) - timedelta(seconds=1)
    assert (action.next_run_at - first).total_seconds() % 1200 == 0


def test_a_killed_leader_is_replaced(office: Office) -> None:
    office.only("queue", interval=1, unit="seconds", next_run_at=datetime.now(UTC))
    leader = office.worker()
    led_by = wait_until(lambda: holder(office))
    office.worker()
    wait_until(lambda: office.runs("queue"))
    leader.kill()

    def planned() -> list[ActionRun]:  # what was under way when it was killed is made up at another moment
        return [run for run in office.runs("queue") if not run.requested]

    wait_until(lambda: [run for run in planned() if run.worker_id not in (None, led_by)])
    assert LEAD + PAUSE < 10, "so long nobody leads"
    slots = [run.slot for run in planned()]
    assert len(set(slots)) == len(slots)
    assert {(slot - slots[0]).total_seconds() % 1 for slot in slots} == {0.0}


def test_a_run_that_died_with_its_worker_is_lost_and_made_up_once(office: Office) -> None:
    with misbehaving(silent) as port:
        office.incoming_server(port)
        office.only("fetch", interval=1, unit="hours", next_run_at=datetime.now(UTC))
        worker = office.worker()
        wait_until(lambda: office.runs("fetch"))
        worker.kill()
        assert [run.state for run in office.runs("fetch")] == ["running"]
        office.worker()
        lost, again = wait_until(lambda: office.runs("fetch")[:2] if len(office.runs("fetch")) > 1 else None)
    assert (lost.state, lost.why["code"]) == ("lost", "run_lost")
    assert again.requested
    assert office.action("fetch").next_run_at - lost.slot == timedelta(hours=1)


@ONE_DATABASE
def test_a_long_run_keeps_its_action(office: Office) -> None:
    """A run that takes longer than its claim holds is extended: no second one begins beside it."""
    with misbehaving(silent) as port:
        office.incoming_server(port)
        office.only("fetch", interval=1, unit="minutes", next_run_at=datetime.now(UTC))
        office.worker()
        office.worker()
        wait_until(lambda: office.runs("fetch"))
        held = office.action("fetch").running_until
        wait_until(lambda: office.action("fetch").running_until > held + 2)
        assert [run.state for run in office.runs("fetch")] == ["running"]


def test_a_failing_action_shows_why_and_goes_on_with_its_schedule(office: Office) -> None:
    office.incoming_server(1, name="Nobody there")
    office.only("fetch", interval=2, unit="seconds", next_run_at=datetime.now(UTC))
    office.worker()
    wait_until(lambda: len([run for run in office.runs("fetch") if run.ended_at]) >= 2)
    first, second = office.runs("fetch")[:2]
    assert (first.state, first.why["code"], second.state) == ("failed", "fetch_failed", "failed")
    assert first.why["values"]["name"] == "Nobody there"
    assert first.counts == {"servers": 1, "mails": 0, "failed": 1}
    assert (second.slot - first.slot).total_seconds() % 2 == 0


@ONE_DATABASE
def test_the_clock_may_jump(office: Office) -> None:
    office.only("queue", interval=1, unit="days", next_run_at=datetime.now(UTC) + timedelta(hours=20))
    office.worker()
    wait_until(lambda: holder(office) is not None)
    office.running.move_clock(21 * 3600)
    run = wait_until(lambda: [run for run in office.runs("queue") if run.state == "done"])[0]
    assert run.started_at - datetime.now(UTC) > timedelta(hours=20)
    # ... and back: nothing waits longer than its interval, no slot runs twice
    office.set_action("queue", interval=3, unit="seconds")
    wait_until(lambda: len(office.runs("queue")) >= 3)
    office.running.move_clock(0)
    count = len(office.runs("queue"))
    wait_until(lambda: len(office.runs("queue")) >= count + 2)
    slots = [run.slot for run in office.runs("queue")]
    assert len(set(slots)) == len(slots)


@ONE_DATABASE
def test_sigterm_ends_a_worker_in_time_while_a_run_is_under_way(office: Office) -> None:
    with misbehaving(silent) as port:
        office.incoming_server(port)
        office.only("fetch", next_run_at=datetime.now(UTC))
        worker = office.worker()
        wait_until(lambda: office.runs("fetch"))
        assert worker.terminate(10) == 0
        assert [run.state for run in office.runs("fetch")] == ["done"]
        assert [row.ended for row in office.workers()] == [True]
        assert holder(office) is None, "the next worker need not wait for our lease to run out"


@ONE_DATABASE
def test_an_idle_worker_rests(office: Office) -> None:
    for code in ("fetch", "queue", "mailings", "cleanup"):
        office.set_action(code, active=False)
    worker = office.worker()
    wait_until(lambda: holder(office) is not None)
    seconds = 5.0
    begin, used = datetime.now(UTC), processor_time(worker.pid)
    wait_until(lambda: datetime.now(UTC) - begin > timedelta(seconds=seconds))
    assert processor_time(worker.pid) - used < 0.10 * (datetime.now(UTC) - begin).total_seconds()


def run_now(office: Office, code: str) -> ActionRun:
    """Press Run now and return the run once it has ended."""
    with office.context():
        asked = datetime.now(UTC)
        schedule.run_now(office.action(code).id, asked)
        db.session.commit()
        wake(schedule.TOPIC)
    return wait_until(lambda: next((run for run in office.runs(code) if run.slot == asked and run.ended_at), None))


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()  # noqa: SIM115
    return (int(fields[11]) + int(fields[12])) / 100


def holder(office: Office) -> int | None:
    """The worker that leads the scheduled actions."""
    with office.context():
        return db.session.scalar(select(Lease.worker_id).where(Lease.name == "scheduler", Lease.until > 0))
