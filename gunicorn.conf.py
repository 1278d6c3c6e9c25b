"""How gunicorn serves CoquiMail; it reads this file automatically: ``gunicorn wsgi:app``. Options on its line win."""

import os
from typing import Any

from mail.settings.process import start_is_over

bind = f"{os.environ.get('COQUI_BIND') or '127.0.0.1'}:{os.environ.get('PORT') or '8000'}"
# Two processes use two cores; threads let an open page ask for events while another one is being made.
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
preload_app = True  # made once, then forked: a quicker start, and memory that both share
worker_class = "gthread"
threads = 8
timeout = 60
graceful_timeout = 6  # of the 10 seconds in which everything has to end
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (a heartbeat must not wait for a disk)
control_socket_disable = True  # nobody uses it, and two offices under one account would share its path


def when_ready(_server: Any) -> None:
    """The application is made; the processes that answer are about to be forked."""
    start_is_over()
