"""What each process does when it begins and once it has started."""

import gc
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_gunicorn_leaves_what_it_started_with_out_of_garbage_collection() -> None:
    served = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    gc.unfreeze()  # what the tests keep out of it
    try:
        served["when_ready"](None)
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.freeze()
