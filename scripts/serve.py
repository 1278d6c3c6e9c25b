"""Run CoquiMail: the pages and the worker under one supervisor, as ``make run`` starts it.

The database is brought to the present version first. Then gunicorn and ``python -m scheduler`` run until Ctrl-C or
SIGTERM, which end both within ten seconds. One that dies is started again. Neither outlives this process, even when
that is killed: the kernel tells them. On a server systemd does all this: docs/deploy.md.

Exit status: 0 after a requested end, 1 when something had to be killed, 2 when it could not start.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

PORT, BIND = os.environ.get("PORT") or "8000", os.environ.get("COQUI_BIND") or "127.0.0.1"
# What ``flask upgrade`` and ``flask first-start`` do, in one process: the second start has to be quick.
PREPARE = "from wsgi import app\nwith app.app_context():\n"
PREPARE += "    for command in ('upgrade', 'first-start'): app.cli.main([command], standalone_mode=False)"
COMMANDS = {"web": ("-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"), "worker": ("-m", "scheduler")}
PATIENCE = 9.0  # seconds between the request to end and the kill
PAUSE = 1.0  # seconds before a dead child is started again
PR_SET_PDEATHSIG = 1
Children = dict[str, subprocess.Popen[str]]


def say(text: str) -> None:
    """Print one line of the log; where nobody reads it any more it is lost, and the work goes on."""
    with contextlib.suppress(OSError):
        print(f"coquimail | {text}", flush=True)


def start(*words: str, output: int | None = None) -> subprocess.Popen[str]:
    """Start Python in a session of its own, so that Ctrl-C reaches this process alone; it ends when we are killed."""
    ask_kernel, errors = ctypes.CDLL(None).prctl, None if output is None else subprocess.STDOUT
    return subprocess.Popen((sys.executable, *words), stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                            preexec_fn=lambda: ask_kernel(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
                            start_new_session=True, text=True)  # fmt: skip


def port_is_free() -> bool:
    """Return whether gunicorn will get its port."""
    try:
        socket.create_server((BIND, int(PORT)), family=socket.AF_INET6 if ":" in BIND else socket.AF_INET).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        say(f"cannot listen on {BIND}:{PORT} ({reason}); choose another port: PORT=8001 make run")
        return False
    return True


def prepare() -> str | None:
    """Bring the database up to date; return what was said: on the very first start a link. None if that failed."""
    child = start("-c", PREPARE, output=subprocess.PIPE)
    said, _ = child.communicate()
    for line in said.splitlines():
        say(line)
    if child.returncode:
        say(f"could not start: the database could not be prepared ({describe(child.returncode)}, see above)")
    return None if child.returncode else said


def answers(host: str) -> bool:
    """Return whether a page can be had now, be it one that says what is wrong."""
    with contextlib.suppress(OSError), socket.create_connection((host, int(PORT)), timeout=5) as line:
        line.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return line.recv(1) != b""
    return False


def announce(first_link: str) -> None:
    """Say that the pages are there, once they are, and the first link again: the log has moved on since."""
    host = "127.0.0.1" if BIND in ("0.0.0.0", "::") else BIND
    while not answers(host):
        time.sleep(0.1)
    say(f"CoquiMail is ready: http://{host}:{PORT}")
    if "://" in first_link:
        say(f"{first_link.strip()}  (again: .venv/bin/flask --app wsgi first-start)")


def describe(status: int) -> str:
    """Return an exit status in words."""
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def asked_within(seconds: float, signals: SimpleQueue[int]) -> bool:
    """Return True as soon as a signal asks us to end, False when none does for so long."""
    with contextlib.suppress(Empty):
        signals.get(timeout=seconds)
        return True
    return False


def keep_alive(children: Children, signals: SimpleQueue[int]) -> None:
    """Start what died again, until somebody asks to end."""
    while not asked_within(0.2, signals):
        for name, child in children.items():
            if child.poll() is not None:
                say(f"{name} ended unexpectedly ({describe(child.returncode)}); starting it again in {PAUSE:g} s")
                if asked_within(PAUSE, signals):
                    return
                children[name] = start(*COMMANDS[name])


def end(children: Children) -> int:
    """End both and return the exit status."""
    say("ending")
    deadline, late = time.monotonic() + PATIENCE, []
    for child in children.values():
        child.terminate()
    for name, child in children.items():
        try:
            child.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            late.append(name)
        with contextlib.suppress(ProcessLookupError):  # those that are late, and whatever an ended one left behind
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    say(f"ended; had to kill: {', '.join(late)}" if late else "ended")
    return 1 if late else 0


def main() -> int:
    """Run until asked to end."""
    os.chdir(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONUNBUFFERED"] = "1"
    said = prepare() if port_is_free() else None
    if said is None:
        return 2
    signals: SimpleQueue[int] = SimpleQueue()  # the handler may fill it inside get(); an Event may lock up there
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, _: signals.put(number))
    children = {name: start(*words) for name, words in COMMANDS.items()}
    threading.Thread(target=announce, args=(said,), daemon=True).start()
    keep_alive(children, signals)
    return end(children)


if __name__ == "__main__":
    sys.exit(main())
