"""How often one caller may ask for a page that anybody can ask for: beyond that the answer is a short no.

Counted in the memory of each process, so a flood costs no write to the database; with two processes twice as many get
through. Guesses at passwords are counted exactly, and in the database: ``guesses``.
"""

import threading
import time

from flask import Flask, current_app, request
from werkzeug.exceptions import TooManyRequests

from webapp.guesses import caller_network

WINDOW = 60  # seconds
MOST_CALLERS = 20_000  # that are remembered; beyond that all begin anew
LIMITS = {  # route -> requests of one caller in a window
    "security.login": 120,
    "security.verify": 60,
    "first_start.first_start": 60,
    "security_headers.csp_report": 60,
    # One office, or one provider whose people press "unsubscribe" in their mail program, may stand behind one address.
    "public.unsubscribe": 600,
    "public.unsubscribe_now": 600,
    "public.view": 600,
    "inbound.take": 6000,  # a server hands over all its mail from one address
    "inbound.wrong": 30,  # those of them that name no address of ours
    "public.file": 60,
    "public.file_content": 60,
}


class RateLimits:
    """Counts requests by route and caller in windows of a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = 0
        self._counts: dict[tuple[str, str], int] = {}

    def allows(self, route: str, caller: str, moment: float) -> bool:
        """Count a request and return whether it is within the limit of its route.

        >>> limits = RateLimits()
        >>> [limits.allows("security.verify", "192.0.2.1", 0) for _ in range(61)].count(True)
        60
        >>> limits.allows("security.verify", "192.0.2.2", 0), limits.allows("security.verify", "192.0.2.1", 60)
        (True, True)
        """
        with self._lock:
            window = int(moment // WINDOW)
            if window != self._window or len(self._counts) > MOST_CALLERS:
                self._window, self._counts = window, {}
            key = (route, caller)
            self._counts[key] = self._counts.get(key, 0) + 1
            return self._counts[key] <= LIMITS[route]


def hold_off() -> None:
    """Refuse a request to a public page when its caller asked too often."""
    count(request.endpoint or "")


def count(route: str) -> None:
    """Count a request, or what it turned out to be; beyond the limit it is refused."""
    limits: RateLimits = current_app.extensions["rate_limits"]
    if route in LIMITS and not limits.allows(route, caller_network(), time.time()):
        raise TooManyRequests(retry_after=WINDOW)


def init_app(app: Flask) -> None:
    """Watch the public pages of an application; to be connected before anything that reads a request's body."""
    app.extensions["rate_limits"] = RateLimits()
    app.before_request(hold_off)
