"""A received mail as it is shown and searched; a large or odd one is read by a process of its own, within limits.

What such a process can't do in its time and memory is left out: then the mail is shown as its words, and if not even
those were found it goes to quarantine. Its bytes are stored in any case. All work is done here, once: pages show it.
"""

import errno
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from mail.message.html import clean_html
from mail.message.parse import IncomingMessage, parse, parse_beginning
from mail.message.quoted import fold_at
from mail.sentences import why

LARGE = 1024 * 1024  # octets
LARGE_HEADER = 64 * 1024
MANY_PARTS = 100
LONGEST_TEXT = 1_000_000  # characters of a body that are shown as text
LONGEST_HTML = 8_000_000  # … and as HTML, which may hold its pictures
HURRY = 3  # seconds that other mail may wait for a heavy one
CHILD_PATIENCE = 60  # seconds; its time of CPU is far less
NO_ROOM = os.EX_TEMPFAIL  # how a child ends whose answer does not fit on the disk
OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT)
ENDS_WITH_US = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)  # systemd asks all of a service to end, as a terminal
_PROJECT = Path(__file__).resolve().parents[2]
_one_child = {True: threading.Lock(), False: threading.Lock()}  # one in a hurry, one that is not: both are bounded


class TakesLong(Exception):
    """A mail that is not to be waited for: it is to be read beside the others."""


class ReadMail(NamedTuple):
    """A mail and its body: cleaned HTML ("": it is its text), and where the quoted part begins."""

    message: IncomingMessage
    html: str
    fold: int | None
    is_whole: bool = True  # False: there is more in the original than what is shown


def read_mail(raw: bytes, now: datetime, hurry: bool = False) -> ReadMail:
    """Return a mail, parsed, cleaned and folded.

    In a hurry it raises ``TakesLong`` when that takes too long, when the process that reads it is asked to end, or
    while the disk has no room for it; else ``OSError``.
    """
    return _read_within_limits(raw, now, hurry) if is_heavy(raw) else body_of(parse(raw, now))


def look_at(raw: bytes, arrived_at: datetime) -> IncomingMessage:
    """Return a stored mail for a page that shows it, in little time: a heavy one's header and its first words."""
    return parse_beginning(raw, arrived_at) if is_heavy(raw) else parse(raw, arrived_at)


def is_heavy(raw: bytes) -> bool:
    """Say whether a mail is one that may keep a worker busy: large, in many parts, or with a long header."""
    if len(raw) > LARGE or raw.count(b"\n--") > MANY_PARTS:
        return True
    beginning = raw[:LARGE_HEADER]
    return len(raw) > LARGE_HEADER and b"\n\n" not in beginning and b"\n\r\n" not in beginning


def body_of(message: IncomingMessage) -> ReadMail:
    """Return a mail with what is shown of it."""
    html = clean_html(message.html) if message.html is not None else ""
    author = message.from_.name if message.from_ else ""
    fold = fold_at(html or message.text, bool(html), answers=message.answers, author=author)
    return ReadMail(message, html, fold)


def _read_within_limits(raw: bytes, now: datetime, hurry: bool) -> ReadMail:
    with _one_child[hurry]:
        found = _ask_child(raw, now, hurry)
    if not found:
        beginning = parse_beginning(raw, now)
        beginning.too_much = beginning.too_much or why("parse_too_heavy")
        return ReadMail(beginning, "", None, is_whole=False)
    message: IncomingMessage = found[0]
    message.raw = raw
    html, fold = found[1] if len(found) > 1 else ("", None)
    if len(found) > 1 and len(html) <= LONGEST_HTML and (html or len(message.text) < LONGEST_TEXT):
        return ReadMail(message, html, fold)
    message.problems.append(why("parse_words_only"))
    return ReadMail(message, "", None, is_whole=False)


def _ask_child(raw: bytes, now: datetime, hurry: bool) -> list[Any]:
    """What a child found: the mail without its bytes, then its body; less if it came to its limits."""
    command = [sys.executable, "-m", "mail.incoming.reader_child", now.isoformat()]
    environment = {"PYTHONPATH": str(_PROJECT)}  # nothing of ours: it reads what strangers wrote
    try:
        with tempfile.TemporaryFile() as said:  # an answer may be as large as the mail
            try:
                done = subprocess.run(
                    command,
                    input=raw,
                    stdout=said,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    timeout=HURRY if hurry else CHILD_PATIENCE,
                    check=False,
                )
                if done.returncode == NO_ROOM:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if done.returncode in ENDS_WITH_US:  # no fault of the mail; if we go on after all, it is read
                    if hurry:
                        raise TakesLong
                    return _ask_child(raw, now, hurry)
            except subprocess.TimeoutExpired as slow:
                if hurry:
                    raise TakesLong from slow
            said.seek(0)
            return _frames(said)
    except OSError as error:
        if error.errno not in OUT_OF_ROOM:  # no memory for another process
            return []
        if hurry:
            raise TakesLong from error
        raise


def _frames(said: IO[bytes]) -> list[Any]:
    """What was written completely, piece by piece."""
    found: list[Any] = []
    while len(said.read(8)) == 8:
        try:
            found.append(pickle.load(said))  # noqa: S301 - our own child wrote it
        except (EOFError, pickle.UnpicklingError):
            break
    return found
