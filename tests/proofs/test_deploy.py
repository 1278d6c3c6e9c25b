"""The guide for servers, typed as it stands into a bare Debian, and what others on that machine can see."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.process import IS_ROOT, Program, free_port, remove_folder, temporary_folder
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "deploy.md").read_text()
STEPS = re.findall(r"^## \d\. (.+?)\n(.*?)(?=^## )", GUIDE, re.M | re.S)
REPOSITORY = "https://git.mycompany.com/coquimail.git"
CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
UNITS = ("coquimail-web", "coquimail-worker")


class BareDebian:
    """A folder with nothing but Debian's own minimum and systemd, as a new server has it."""

    def __init__(self) -> None:
        self.folder = temporary_folder("debian")
        options = ["--variant=minbase", "--include=systemd", "--quiet", "bookworm"]
        done = subprocess.run(["mmdebstrap", *options, str(self.folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        for name in ("resolv.conf", "hosts"):  # this machine's way to the network
            shutil.copy(f"/etc/{name}", self.folder / "etc" / name)
        shutil.copy(CERTIFICATES, self.folder / "certificates.crt")
        subprocess.run(["git", "clone", "--quiet", "--bare", str(ROOT), str(self.folder / "source.git")], check=True)
        known = f'[url "file:///source.git"]\n\tinsteadOf = {REPOSITORY}\n[safe]\n\tdirectory = *\n'
        (self.folder / "etc" / "gitconfig").write_text(known)
        # Nobody is there to start services: units are checked and enabled, and the test starts what they start.
        enable = self.folder / "usr" / "local" / "sbin" / "systemctl"
        enable.write_text('#!/bin/sh\nexec /usr/bin/systemctl $(echo "$@" | sed "s/ --now//")\n')
        enable.chmod(0o755)
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
            "PIP_CERT": "/certificates.crt",
        }

    def type(self, words: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Type lines into a shell there."""
        command = ["chroot", f"--userspec={user}:", str(self.folder), "sh", "-euc", f"umask 022\n{words}"]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=900)

    def mode(self, path: str) -> str:
        return self.type(f"stat -c '%a %U' {path}").stdout.strip()


@pytest.fixture
def debian() -> Iterator[BareDebian]:
    if not IS_ROOT or not shutil.which("mmdebstrap"):
        pytest.skip("a bare Debian needs root and mmdebstrap")
    made = BareDebian()
    yield made
    remove_folder(made.folder)


def follow(debian: BareDebian) -> str:
    """Type the numbered steps; returns what the last one said."""
    said = ""
    for title, text in STEPS:
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
            done = debian.type(block)
            assert done.returncode == 0, f"{title}:\n{block}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            said = done.stdout
    return said


@pytest.mark.slow
def test_the_guide_works_line_by_line_and_leaks_nothing(debian: BareDebian) -> None:
    assert len(STEPS) == 4
    links = [follow(debian), debian.type("coquimail first-start").stdout]
    found = [re.search(r"https://mail\.mycompany\.com/first-start/\S+", said) for said in links]
    assert found[0] and found[1] and found[0][0] != found[1][0]

    for unit in UNITS:
        verified = debian.type(f"systemd-analyze verify /etc/systemd/system/{unit}.service")
        assert "coquimail" not in verified.stderr, verified.stderr
    programs = [run_unit(debian, unit, free_port()) for unit in UNITS]
    try:
        data = "/var/lib/coquimail"
        listed = "find /var/lib/coquimail -name '*.sock' -o -name '*-wal'"
        wait_until(lambda: {"sock", "wal"} <= set(re.findall(r"(sock|wal)$", debian.type(listed).stdout, re.M)))
        assert debian.mode(data) == "700 coqui"
        assert debian.mode("/etc/coquimail.env") == "600 root"
        open_to_others = debian.type(f"find {data} /etc/coquimail.env -perm /077").stdout
        assert open_to_others == ""
        for path in (f"{data}/coquimail.db", f"{data}/secret.key", "/etc/coquimail.env"):
            assert debian.type(f"cat {path}", user="nobody").returncode != 0
    finally:
        for program in programs:
            program.kill()


def run_unit(debian: BareDebian, unit: str, port: int) -> Program:
    """Start what a unit starts, as the account and with the settings that it names."""
    text = (debian.folder / "etc" / "systemd" / "system" / f"{unit}.service").read_text()
    said = dict(re.findall(r"^(\w+)=(.*)$", text, re.M))
    settings = dict(re.findall(r"^([A-Z_]+)=(.*)$", (debian.folder / said["EnvironmentFile"][1:]).read_text(), re.M))
    words = f"umask {said['UMask']}; cd {said['WorkingDirectory']}; exec {said['ExecStart']}"
    enter = ["chroot", f"--userspec={said['User']}:", str(debian.folder), "sh", "-euc", words]
    # /proc is there for this program alone: what is mounted for all would be in the way when the folder is removed.
    mount = 'mount -t proc proc "$0/proc"; exec "$@"'
    command = ["unshare", "--mount", "sh", "-euc", mount, str(debian.folder), *enter]
    env = {**debian.env, **settings, "PORT": str(port)}
    return Program.start(unit, command, debian.folder / f"{unit}.log", env)
