"""Heavy mails in real mailboxes: the worker stays small, its children are few, and other mail need not wait."""

import re
import threading
import time
from base64 import encodebytes
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import randbytes

import pytest
from sqlalchemy import select

from models import ReceivedMail, db
from tests.office import Office
from tests.proofs.scene import Say
from tests.servers.app import App
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

MEGABYTE = 1024 * 1024
MOST_MEMORY = 400  # megabytes of the worker
HEAD = b"From: h@x.test\nTo: sales@office.test\nSubject: %s\nMessage-ID: <%s@heavy>\nContent-Type: %s\n\n"
BOUNDED = b"multipart/mixed; boundary=b"

WORDS = b"<p>some <b>words</b> &amp; more</p>"
KINDS: dict[str, Callable[[int], bytes]] = {
    "html": lambda size: HEAD % (b"html", b"html", b"text/html") + (WORDS + b"\n") * (size // 36),
    "line": lambda size: HEAD % (b"line", b"line", b"text/html") + WORDS * (size // 35),
    "spaces": lambda size: HEAD % (b"spaces", b"spaces", b"text/plain") + b"a" + b" " * size + b"b",
    "boundaries": lambda size: HEAD % (b"boundaries", b"boundaries", BOUNDED) + b"--b" + b"\n--bb" * (size // 5),
    "ampersands": lambda size: HEAD % (b"ampersands", b"ampersands", b"text/html") + b"& " * (size // 2),
    "photo": lambda size: HEAD % (b"photo", b"photo", BOUNDED) + PHOTO + encodebytes(randbytes(size * 73 // 100)),
}
PHOTO = b"--b\n\nSee the photo\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
LIGHTS = 5
LIGHT = b"From: l%d@x.test\nTo: sales@office.test\nSubject: light\nMessage-ID: <light%d@x.test>\n\nHello\n"


@pytest.fixture
def office(running_app: App) -> Iterator[Office]:
    made = Office(running_app)
    yield made
    made.close()


def memory(pid: int, what: str) -> int:
    """Return megabytes of a process, 0 when it is gone; ``VmHWM`` is the most that it had."""
    try:
        found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


@contextmanager
def watched(pid: int) -> Iterator[list[tuple[int, int]]]:
    """Give a list that grows while a process has children: how many at once, and their memory together."""
    seen: list[tuple[int, int]] = [(0, 0)]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            children = [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in _read(task).split()]
            if children:
                seen.append((len(children), sum(memory(int(child), "VmRSS") for child in children)))

    threading.Thread(target=look, daemon=True).start()
    yield seen
    over.set()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


SLOW = pytest.mark.slow
BOXES = [
    pytest.param([("line", 12)], id="cut"),
    *(pytest.param([one], id=one[0], marks=SLOW) for one in (("html", 40), ("line", 40), ("spaces", 20))),
    *(pytest.param([one], id=one[0], marks=SLOW) for one in (("boundaries", 20), ("ampersands", 4))),
    pytest.param([("photo", 45)], id="photo", marks=SLOW),
    pytest.param([("html", 45), ("line", 45), ("photo", 45)], id="three", marks=SLOW),
]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("heavy", BOXES)
def test_heavy_mails_cost_little(office: Office, dovecot: Dovecot, heavy: list[tuple[str, int]], say: Say) -> None:
    """Each comes first in a mailbox of its own, and other mails come after it."""
    users = [dovecot.add_mailbox(f"heavy-{kind}@office.test") for kind, _ in heavy]
    for number, (user, (kind, megabytes)) in enumerate(zip(users, heavy, strict=True)):
        dovecot.append(user, KINDS[kind](megabytes * MEGABYTE))
        for light in range(number * LIGHTS, (number + 1) * LIGHTS):
            dovecot.append(user, LIGHT % (light, light))
        office.incoming_server(dovecot.port("imap"), user=user, password=dovecot.password, fetch_existing=True)
    office.only("fetch", next_run_at=datetime.now(UTC))
    worker = office.worker()
    began = time.monotonic()
    with watched(worker.pid) as children:
        wait_until(lambda: states(office)["processed", True] == LIGHTS * len(heavy), 120)
        light_after = time.monotonic() - began
        wait_until(lambda: is_over(office, (LIGHTS + 1) * len(heavy)), 120)
    most = memory(worker.pid, "VmHWM")
    count, together = (max(column) for column in zip(*children, strict=True))
    assert most < MOST_MEMORY
    assert count <= 2 and together < 2 * 512
    for user in users:
        dovecot.remove_mailbox(user)
    what = ", ".join(f"{megabytes} MB of {kind}" for kind, megabytes in heavy)
    say(f"{what}: worker {most} MB, {count} children with {together} MB, other mail read after {light_after:.1f} s")


def states(office: Office) -> Counter[tuple[str, bool]]:
    """Count the received mails by state, the light ones apart."""
    with office.looking():
        found = db.session.execute(select(ReceivedMail.state, ReceivedMail.size < MEGABYTE))
        return Counter((state, bool(is_light)) for state, is_light in found)


def is_over(office: Office, mails: int) -> bool:
    counted = states(office)
    return counted.total() == mails and not any(state == "received" for state, _ in counted)
