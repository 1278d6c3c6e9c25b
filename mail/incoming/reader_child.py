"""The process that reads a large or odd mail: bytes on standard input, first the mail and then its body on the output.

It sets its own limits before it looks at anything; beyond them it ends, and what it has said by then counts.
"""

import os
import pickle
import resource
import sys
from datetime import datetime
from typing import Any

from mail.incoming.reader import LONGEST_TEXT, NO_ROOM, OUT_OF_ROOM, body_of
from mail.message.parse import message_key, parse

MOST_MEMORY = 512 * 1024 * 1024  # octets of address space
MOST_SECONDS = 5  # of CPU


def main() -> None:
    """Read one mail."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    message = parse(sys.stdin.buffer.read(), datetime.fromisoformat(sys.argv[1]))
    message.known_key = message_key(message)
    page, text = message.html, message.text
    message.raw, message.html, message.text = b"", None, text[:LONGEST_TEXT]
    _say(message)
    message.html, message.text = page, text
    body = body_of(message)
    _say((body.html, body.fold))


def _say(value: Any) -> None:
    said = pickle.dumps(value)
    try:
        sys.stdout.buffer.write(len(said).to_bytes(8, "big") + said)
        sys.stdout.buffer.flush()
    except OSError as error:
        if error.errno in OUT_OF_ROOM:
            os._exit(NO_ROOM)  # at once: what is left to be written does not fit either
        raise


if __name__ == "__main__":
    main()
