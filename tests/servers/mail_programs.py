"""Exim, procmail and maildrop as Debian has them, unpacked and never installed (scripts/unpack-mail-programs.sh)."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.process import CACHE, IS_ROOT, MAIL_USER, PartMissing

TREE = CACHE / "mail-programs"
EXIM = "usr/sbin/exim4"

EXIM_CONFIGURATION = """
exim_path = {tree}/usr/sbin/exim4
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
keep_environment = ^LD_ : ^NSS_WRAPPER_
primary_hostname = mx.office.test
disable_ipv6 = true
never_users =
trusted_users = root : {user}
begin routers
{router}
begin transports
{transport}
begin retry
* * F,1h,1s
"""


class MailProgram:
    """One of the programs, with a folder of its own that the owner of the test servers' mail may write."""

    def __init__(self, name: str, folder: Path) -> None:
        if not (TREE / "complete").exists():
            raise PartMissing("Exim, procmail and maildrop are not unpacked (sh scripts/unpack-mail-programs.sh)")
        if name == EXIM and not IS_ROOT:
            raise PartMissing("Exim has to be started by root")
        self._program, self.folder = TREE / name, folder
        folder.mkdir(exist_ok=True)
        os.chown(folder, MAIL_USER.pw_uid, MAIL_USER.pw_gid)

    def run(self, words: Sequence[str | Path], mail: bytes) -> int:
        """Give it a mail and return its exit status."""
        libraries = sorted({str(found.parent) for found in TREE.glob("**/lib*.so*")})
        env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": ":".join(libraries), "HOME": str(self.folder)}
        is_exim = self._program.name == "exim4"
        if is_exim:
            env |= self._with_account()
        done = subprocess.run(
            [self._program, *words], input=mail, env=env, cwd=self.folder, capture_output=True, timeout=60, check=False,
            user=MAIL_USER.pw_uid if IS_ROOT and not is_exim else None,  # which has no shell, as the guide's account
        )  # fmt: skip
        return done.returncode

    def exim(self, router: str, transport: str) -> Path:
        """Return the configuration of an Exim that has one router and one transport."""
        path = self.folder / "exim.conf"
        values = {"tree": TREE, "folder": self.folder, "user": MAIL_USER.pw_name}
        path.write_text(EXIM_CONFIGURATION.format(router=router, transport=transport, **values))
        return path

    def _with_account(self) -> dict[str, str]:
        """Let Exim see the account that it was built for, which this machine may not have."""
        for name, line in (("passwd", "Debian-exim:x:{0}:{1}::/:/bin/false"), ("group", "Debian-exim:x:{1}:")):
            known = Path("/etc", name).read_text()
            (self.folder / name).write_text(known + line.format(MAIL_USER.pw_uid, MAIL_USER.pw_gid) + "\n")
        return {
            "LD_PRELOAD": str(next(TREE.glob("**/libnss_wrapper.so"))),
            "NSS_WRAPPER_PASSWD": str(self.folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.folder / "group"),
        }
