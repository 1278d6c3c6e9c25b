"""A poison mailbox: among ordinary mails some were made to do harm. None of those stops, delays or fills anything."""

import time
from collections import Counter
from datetime import UTC, datetime
from random import Random

import pytest
from sqlalchemy import func, select

from models import Document, Post, ReceivedMail, db
from tests.office import Office
from tests.proofs.hostile import HOSTILE, READ, head
from tests.proofs.scene import Say
from tests.proofs.test_heavy_mails import MOST_MEMORY, memory, office, watched  # noqa: F401 (the fixture)
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

LIGHT = (
    "From: Customer <c%d@customer.test>\nTo: sales@office.test\nSubject: light %d\nMessage-ID: <%d@customer.test>\n"
    "%sDate: Mon, 2 Nov 2026 10:00:00 +0000\n\nPlease send two.\n"
)


def light(number: int) -> bytes:
    """An ordinary mail: of every two the second one answers the first."""
    answers = f"In-Reply-To: <{number - 1}@customer.test>\n" if number % 2 else ""
    return (LIGHT % (number - number % 2, number, number, answers)).encode()


def hostile_mails(count: int) -> tuple[list[bytes], Counter[str]]:
    """Return so many, each kind in turn, and how often what must become of them."""
    kinds = [kind for kind in HOSTILE if count >= len(HOSTILE) or not kind.heavy]
    random, mails, expected = Random(count), [], Counter[str]()
    for number in range(count):
        kind = kinds[number % len(kinds)]
        mails.append((b"" if kind.whole else head(number, kind.name)) + kind.make(random))
        expected[kind.becomes] += 1
    return mails, expected


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("lights", "hostile"), [pytest.param(60, 10, id="cut"), pytest.param(950, 50, id="whole", marks=pytest.mark.slow)]
)
def test_a_poison_mailbox(
    office: Office,  # noqa: F811
    dovecot: Dovecot,
    lights: int,
    hostile: int,
    say: Say,
) -> None:
    user = dovecot.add_mailbox("poison@office.test")
    mails, expected = hostile_mails(hostile)
    before_each = {lights * place // hostile: place for place in range(hostile)}
    for number in range(lights):
        if number in before_each:
            dovecot.append(user, mails[before_each[number]])
        dovecot.append(user, light(number))
    del mails
    office.incoming_server(dovecot.port("imap"), user=user, password=dovecot.password, fetch_existing=True)
    office.only("fetch", next_run_at=datetime.now(UTC))
    worker = office.worker()
    began = time.monotonic()
    with watched(worker.pid) as children:
        wait_until(lambda: ordinary(office)["processed"] == lights, 300)
        light_after = time.monotonic() - began
        wait_until(lambda: len(outcomes(office)) == hostile and None not in outcomes(office), 600)
        all_after = time.monotonic() - began
    most = memory(worker.pid, "VmHWM")
    count, together = (max(column) for column in zip(*children, strict=True))
    dovecot.remove_mailbox(user)
    assert Counter(outcomes(office)) == expected
    assert most < MOST_MEMORY and count <= 2 and together < 2 * 512
    with office.looking():
        titles = db.session.scalars(select(Document.title).where(Document.title.like("light %"))).all()
        posts = db.session.scalar(select(func.count()).where(Post.subject.like("light %")))
    assert sorted(titles) == sorted(f"light {number}" for number in range(0, lights, 2)) and posts == lights
    say(
        f"poison mailbox: {lights} mails in their threads after {light_after:.1f} s, {hostile} hostile ones after "
        f"{all_after:.1f} s ({dict(expected)}); worker {most} MB, {count} children with {together} MB at most"
    )


def ordinary(office: Office) -> Counter[str]:  # noqa: F811
    """Count the ordinary mails by state."""
    with office.looking():
        found = db.session.execute(
            select(ReceivedMail.state, func.count())
            .where(ReceivedMail.subject.like("light %"))
            .group_by(ReceivedMail.state)
        )
        return Counter(dict(found.all()))


def outcomes(office: Office) -> list[str | None]:  # noqa: F811
    """What became of each hostile mail: read, the reason for which it is in quarantine, None: it waits."""
    with office.looking():
        rows = db.session.execute(
            select(ReceivedMail.state, ReceivedMail.decision).where(
                func.coalesce(ReceivedMail.subject, "").not_like("light %")
            )
        ).all()
    return [outcome(state, decision or []) for state, decision in rows]


def outcome(state: str, decision: list[dict[str, object]]) -> str | None:
    if state == "quarantined":
        return str(decision[-1]["code"])
    return {"processed": READ, "received": None}.get(state, state)
