"""Postfix's own measuring programs: ``smtp-sink`` swallows mails as fast as it can, ``smtp-source`` sends them."""

import shutil
import subprocess
import time

from tests.servers.postfix import COMMANDS, TREE, program_environment
from tests.servers.process import (
    HOST,
    IS_ROOT,
    MAIL_USER,
    PartMissing,
    Program,
    free_port,
    remove_folder,
    temporary_folder,
)


class SmtpSink:
    """A server that accepts everything. With ``keep`` every mail is a file, envelope first; without it nothing is."""

    def __init__(self, *options: str, keep: bool = False, backlog: int = 1000) -> None:
        _unpacked()
        self.folder = temporary_folder("sink")
        self.port = free_port()
        words = [COMMANDS / "smtp-sink", "-4", *options]
        if IS_ROOT:  # it gives up root automatically, and insists on it
            words += ["-u", MAIL_USER.pw_name]
            shutil.chown(self.folder, MAIL_USER.pw_uid, MAIL_USER.pw_gid)
        if keep:
            words += ["-d", f"{self.folder}/mail."]
        words += [f"{HOST}:{self.port}", str(backlog)]
        self.program = Program.start("smtp-sink", words, self.folder / "output", program_environment(), cwd=self.folder)
        self.program.wait_for_port(self.port)

    def mails(self) -> list[bytes]:
        """Return the mails it kept; each begins with its envelope as ``X-Mail-Args`` and ``X-Rcpt-Args`` lines."""
        return [file.read_bytes() for file in sorted(self.folder.glob("mail.*"))]

    def close(self) -> None:
        """End it and remove what it kept."""
        self.program.kill()
        remove_folder(self.folder)


def smtp_source(
    port: int, mails: int, *options: str, octets: int = 20_000, connections: int = 1, to: str = "sink@receiver.test"
) -> float:
    """Send mails as fast as Postfix's measuring program can, over kept connections; return the seconds it took."""
    _unpacked()
    words = [COMMANDS / "smtp-source", "-4", "-d", "-s", str(connections), "-m", str(mails), "-l", str(octets)]
    words += [*options, "-f", "source@sender.test", "-t", to, f"{HOST}:{port}"]
    start = time.monotonic()
    subprocess.run(words, env=program_environment(), check=True)
    return time.monotonic() - start


def _unpacked() -> None:
    if not (TREE / "complete").exists():
        raise PartMissing("Postfix's programs are not unpacked (sh scripts/unpack-postfix.sh)")
