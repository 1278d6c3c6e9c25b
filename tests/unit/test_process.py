"""What each process does when it begins and once it has started."""

import gc
import runpy
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_gunicorn_keeps_no_thread_for_a_silent_client_and_what_it_started_with_out_of_garbage_collection() -> None:
    served = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    served["when_ready"].__globals__["SILENCE"] = 0.01
    gc.unfreeze()  # what the tests keep out of it
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            served["when_ready"](SimpleNamespace(LISTENERS=[listener]))
            with socket.create_connection(listener.getsockname()), listener.accept()[0] as silent:
                with pytest.raises(BlockingIOError):
                    silent.recv(1)
                with pytest.raises(BlockingIOError):
                    silent.sendall(bytes(100_000_000))
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.freeze()
