"""How gunicorn serves CoquiMail; it reads this file automatically: ``gunicorn wsgi:app``. Options on its line win."""

import os
import socket
import struct
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
SILENCE = 30  # seconds: a client that sends or takes nothing for so long is cut off, since each holds a thread
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (a heartbeat must not wait for a disk)
control_socket_disable = True  # nobody uses it, and two offices under one account would share its path


def when_ready(server: Any) -> None:
    """The application is made; the processes that answer are about to be forked."""
    start_is_over()
    limit = struct.pack("@ll", int(SILENCE), int(SILENCE % 1 * 1_000_000))
    for listener in server.LISTENERS:  # what it accepts inherits both; gunicorn itself would wait for ever
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
