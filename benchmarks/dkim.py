"""Signed mailings: W1 with a key that signs, against W1 without one and against the bare signing rate of this machine.

Each round sends the same mailing unsigned, with an Ed25519 key, with an RSA-2048 key and with both, each into an office
of its own on SQLite; the order turns. The bare rate is that of ``cryptography`` in one thread of a process that does
nothing else, measured in the same round.
Run: python -m benchmarks.dkim [recipients] [rounds]
"""

import json
import sys
import time
from datetime import UTC, datetime

from benchmarks.common import NOISE_HEAD, child, folder, machine, median, noise

RECIPIENTS, ROUNDS = 10_000, 3
KINDS = ("", "ed25519", "rsa", "rsa,ed25519")
GOALS = (("ed25519", "", 0.5, "of unsigned"), ("rsa", "raw rsa", 0.7, "of the bare rate of one core"))


def main() -> None:
    recipients = int(sys.argv[1]) if len(sys.argv) > 1 else RECIPIENTS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    print(f"DKIM, {recipients} recipients, {machine()}")
    print(f"{'keys':14}{'mails/s':>9}{'CPU µs':>8}{'MB':>6}{'bare RSA/s':>12}{NOISE_HEAD}")
    ratios: dict[str, list[float]] = {}
    for number in range(rounds):
        turned = KINDS[number % len(KINDS) :] + KINDS[: number % len(KINDS)]
        with noise() as others:
            raw = child("benchmarks.dkim", "bare")["rate"]
            rates = {kind: one_run(kind, recipients) for kind in turned} | {"raw rsa": raw}
        print(f"{'':14}{'':9}{'':8}{'':6}{raw:12.0f}{others}", flush=True)
        for kind, of, _, _ in GOALS:
            ratios.setdefault(kind, []).extend([] if others.too_much else [rates[kind] / rates[of]])
    for kind, _, goal, what in GOALS:
        if not ratios[kind]:
            print(f"{kind}: not measured, others kept this machine busy in every round")
            continue
        found = median(ratios[kind])
        verdict = "reached" if found >= goal else "not reached"
        print(f"{kind}: median {found:.2f} {what}, {len(ratios[kind])} rounds; goal {goal}: {verdict}")


def one_run(kind: str, recipients: int) -> float:
    """Send one mailing, print what it took, and return the rate."""
    from tests.servers.sink import SmtpSink

    sink = SmtpSink()
    try:
        with folder() as data:
            url = f"sqlite:///{data / 'office.db'}"
            env = {"COQUI_DATA": str(data / "data"), "DATABASE_URL": url, "COQUI_URL": "https://mail.office.test"}
            child("benchmarks.w1", "prepare", str(recipients), str(sink.port), env=env)
            if kind:
                child("benchmarks.dkim", "keys", kind, env=env)
            ours = child("benchmarks.w1", "send", env=env)
    finally:
        sink.close()
    rate: float = recipients / ours["seconds"]
    print(f"{kind or 'unsigned':14}{rate:9.0f}{ours['cpu'] / recipients * 1e6:8.0f}{ours['peak']:6.0f}", flush=True)
    return rate


# --- what runs in a process of its own


def keys(kinds: str) -> None:
    """Have the office of the environment sign with new keys."""
    from mail.settings.signing import new_key
    from models import DkimKeyPair, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        for algorithm in kinds.split(","):
            private, public = new_key("rsa" if algorithm == "rsa" else "ed25519")
            db.session.add(
                DkimKeyPair(
                    domain="office.test", selector=algorithm, algorithm=algorithm, private_key=private,
                    public_key=public, state="signing", created_at=datetime.now(UTC),
                )
            )  # fmt: skip
        db.session.commit()
    print(json.dumps({"made": kinds}))


def bare() -> None:
    """Sign some octets with RSA-2048 for a second."""
    from mail.settings.signing import new_key, signer

    sign = signer("rsa", new_key("rsa")[0])
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < 1.5:
        sign(b"x" * 900)
        done += 1
    print(json.dumps({"rate": done / (time.perf_counter() - started)}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keys", kinds]:
            keys(kinds)
        case ["bare"]:
            bare()
        case _:
            main()
