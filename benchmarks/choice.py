"""The choice of the outgoing server, which every mail goes through, against its limits: python -m benchmarks.choice

Each of the servers has a filter that fits nothing, so that all five steps look at all of them and explain it.
"""

import time

from mail.decide.servers import Server, choose_server

LIMITS = {1: 0.05, 50: 0.1, 500: 0.5}  # servers: milliseconds
TIMES = 500


def milliseconds(count: int) -> float:
    """Return the smallest time of one choice: the machine's noise only ever adds."""
    servers = [Server(number, f"s{number}", number, (f"s{number}.test",)) for number in range(1, count + 1)]
    best = float("inf")
    for _ in range(TIMES):
        started = time.perf_counter()
        choose_server(servers, "me@home.test", "notifications@office.test", default_server=None)
        best = min(best, time.perf_counter() - started)
    return best * 1000


def main() -> None:
    for count, limit in LIMITS.items():
        found = milliseconds(count)
        print(f"{count:>3} servers: {found:.3f} ms, {found / limit:.2f} x the limit of {limit} ms")


if __name__ == "__main__":
    main()
