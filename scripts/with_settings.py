"""Run a command with the settings of a file such as /etc/coquimail.env, read as systemd reads it: nothing in it is run.

Usage: with_settings.py FILE COMMAND [WORD …]
"""

import os
import re
import sys
from pathlib import Path

_ENTRY = re.compile(
    r"""^[ \t]*(?:[#;].*|(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*
    (?P<quoted>(?:(?:'[^']*'|"(?:\\[\s\S]|[^"\\])*")[ \t]*)*)(?P<plain>(?:\\[\s\S]|[^\\\n])*)|.*)$""",
    re.MULTILINE | re.VERBOSE | re.ASCII,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:\\[\s\S]|[^"\\])*)\"""")


def read(text: str) -> dict[str, str]:
    """Return the settings of a text."""
    return {found["name"]: _value(found) for found in _ENTRY.finditer(text) if found["name"]}


def _value(found: re.Match[str]) -> str:
    quoted = "".join(
        single or re.sub(r'\\([\\"`$\n])', _escaped, double) for single, double in _QUOTED.findall(found["quoted"])
    )
    return quoted + re.sub(r"\\([\s\S])", _escaped, found["plain"].rstrip())


def _escaped(found: re.Match[str]) -> str:
    return found[1].strip("\n")


def main() -> None:
    """Become the command."""
    path, *words = sys.argv[1:]
    os.environ.update(read(Path(path).read_text()))
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
