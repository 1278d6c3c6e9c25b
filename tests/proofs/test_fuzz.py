"""Mails that nobody would write: whatever comes in, it is kept, it reaches a final state, and it stops nobody else."""

import time
from collections import Counter
from pathlib import Path
from random import Random

from flask import Flask

from tests.integration.conftest import app  # noqa: F401 (the fixture)
from tests.integration.frontdesk import DOMAIN, FrontDesk, delivery_report
from tests.proofs.scene import Chance, Say
from tests.servers.process import CACHE

DATA = Path(__file__).parents[1] / "data"
FOUND = CACHE / "fuzzed.eml"  # the mail that did it
FINAL = {"processed", "duplicate", "ignored", "rejected", "quarantined"}
SLOWEST = 10.0  # seconds that 50 mails may take together, on a busy machine

WEDGES = [
    b"\0", b"\r", b"\n", b"\r\n\r\n", b"\xff\xfe", b"\xed\xa0\x80", b"=?utf-8?q?=00=0A?=", b"=?x?b?====?=", b"<", b">,",
    b'"', b"(((((", b"@", b"A" * 3000, b"\t" * 500, b"--", b"\nContent-Type: multipart/mixed; boundary=\n",
    b'\nContent-Type: text/plain; charset="no-such"\n', b"\nContent-Transfer-Encoding: base64\n",
    b"\nContent-Transfer-Encoding: quoted-printable\n", b"\nContent-Type: message/rfc822\n", b"\nDate: never\n",
    b"\nMessage-ID:\n", b"\nReferences: <a@b> <" + b"c" * 2000 + b"@d>\n", b"\nFrom: \n", b"\nAuto-Submitted: no;;;=\n",
    b"\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n", b"<div>" * 300, b"&#x0;&#55555;",
    b"begin 644 a\n#0V%T\nend\n", "\N{PILE OF POO}\u202e\u0130".encode(), b"=\n=3D=\n=ZZ",
]  # fmt: skip


def test_whatever_comes_in_reaches_a_final_state(
    app: Flask,  # noqa: F811
    effort: int,
    chance: Chance,
    say: Say,
) -> None:
    desk = FrontDesk(app)
    seeds = office_mails(desk) + [file.read_bytes() for file in sorted(DATA.rglob("*.[et][mx][lt]"))]
    states: Counter[str] = Counter()
    slowest, end = 0.0, time.monotonic() + effort
    while time.monotonic() < end:
        batch = [spoil(chance.random, seeds) for _ in range(50)]
        began = time.monotonic()
        rows = desk.receive(*batch)
        slowest = max(slowest, time.monotonic() - began)
        states.update(row.state for row in rows)
        for row, raw in zip(sorted(rows, key=lambda row: row.id), batch, strict=True):
            failed = [step for step in row.decision or [] if step["code"] in ("process_failed", "process_gave_up")]
            if row.state not in FINAL or failed:
                FOUND.write_bytes(raw)
            assert row.state in FINAL and not failed, (row.state, failed, str(FOUND))
    assert slowest < SLOWEST
    assert set(states) >= {"processed", "quarantined", "ignored"}, "the mails were spoiled too much or too little"
    say(f"fuzz: {states.total()} mails, 50 took {slowest:.1f} s at most; {dict(states.most_common())}")


def office_mails(desk: FrontDesk) -> list[bytes]:
    """Make what answers, reports and absence notes can refer to, and return mails that do."""
    clerk = desk.user("Clerk")
    document = desk.document(followers=[clerk.contact_id, desk.contact("ann@customer.test", "Ann")])
    desk.post(clerk, document.thread_id)
    desk.mark_sent()
    sent = desk.on_the_wire("ann@customer.test")
    own_id = desk.sent()[-1].message_id.encode()
    head = b"From: Ann <ann@customer.test>\r\nSubject: Re: Need a quote\r\n"
    answer = head + b"In-Reply-To: " + own_id + b"\r\nTo: sales@" + DOMAIN.encode() + b"\r\n\r\nYes, please.\r\n"
    absence = b"Auto-Submitted: auto-replied\r\n" + answer
    return [answer, absence, delivery_report("ann@customer.test", sent)] * 8


def spoil(random: Random, seeds: list[bytes]) -> bytes:
    """Return a mail that was damaged at random, most of them addressed to us."""
    raw = bytearray(random.choice(seeds)[:60_000])
    for _ in range(random.choice((0, 1, 1, 2, 4, 12))):
        # The header decides most: half of the damage is done there.
        reach = min(len(raw), 1500) if random.random() < 0.5 else len(raw)
        here = random.randrange(reach + 1)
        there = min(len(raw), here + int(random.expovariate(1 / 40)))
        match random.randrange(6):
            case 0:
                del raw[here:there]
            case 1:
                raw[here:here] = raw[here:there] * random.choice((1, 2, 50))
            case 2:
                raw[here:here] = random.choice(WEDGES)
            case 3:
                raw[here:there] = random.randbytes(there - here)
            case 4:
                other = random.choice(seeds)
                begin = random.randrange(len(other) + 1)
                raw[here:here] = other[begin : begin + 2000]
            case _:
                del raw[max(here, 200) :]
    if random.random() < 0.5:
        to = random.choice(("sales", "orders", "support", "bounce", "catchall", "nobody"))
        raw[0:0] = f"Delivered-To: {to}@{DOMAIN}\nMessage-ID: <{random.getrandbits(64):x}@fuzz.test>\n".encode()
    return bytes(raw)
