"""The recipes of docs/guide/receiving.md, as they stand there, with the real programs.

The program of a recipe is a stand-in that writes down what it was given and ends as it is told; what it was given goes
to the command that an office runs.
"""

import os
import re
import smtplib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import started
from tests.integration.pushing import listening, stored
from tests.integration.test_receive import invoke
from tests.integration.test_receive import stored as stored_pages
from tests.servers.certificates import Authority
from tests.servers.launcher import ROOT
from tests.servers.mail_programs import EXIM, MailProgram
from tests.servers.postfix import Postfix
from tests.servers.process import MAIL_USER, remove_folder, temporary_folder
from tests.waiting import wait_until
from webapp.receive import TRY_AGAIN

pytestmark = pytest.mark.heavy

GUIDE = (ROOT / "docs/guide/receiving.md").read_text()
DOMAIN = "office.mycompany.com"
MAIL = b"From: ann@home.test\nSubject: Desks\n\nHello\n"
PROGRAM = """#!/bin/sh
given={folder}/given/$$.new
for word; do echo "$word" >>"$given.words"; done
echo "${{SENDER-unset}}" >"$given.sender"
echo "${{RECIPIENT-unset}}" >"$given.recipient"
cat >"$given"
mv "$given" "{folder}/given/$$"
exit $(cat {folder}/code)
"""


def recipe(title: str) -> str:
    """Return a block of the guide by the comment in its first line."""
    found = re.search(rf"```sh\n# {re.escape(title)}\n(.*?)```", GUIDE, re.S)
    assert found is not None, title
    return found[1]


class StandIn:
    """What a mail server starts in place of our command."""

    def __init__(self, folder: Path) -> None:
        self.path, self._folder = folder / "coquimail-receive", folder
        (folder / "given").mkdir()
        (folder / "given").chmod(0o777)
        self.path.write_text(PROGRAM.format(folder=folder))
        self.path.chmod(0o755)
        self.ends_with(0)

    def ends_with(self, code: int) -> None:
        (self._folder / "code").write_text(str(code))

    def in_place(self, text: str) -> str:
        """Return a recipe that starts it, as an account that this machine has."""
        text = text.replace("/usr/local/bin/coquimail-receive", str(self.path))
        return re.sub(r"\buser( ?= ?)coqui\b", rf"user\1{MAIL_USER.pw_name}", text)

    def runs(self) -> list[Path]:
        return [path for path in (self._folder / "given").iterdir() if "." not in path.name]

    def hand_over(self, pages: Flask) -> bytes:
        """Give what the last run got to the command and return what it stored."""
        (run,) = wait_until(self.runs)
        more = {name: run.with_name(f"{run.name}.new.{name}") for name in ("words", "sender", "recipient")}
        words = more["words"].read_text().splitlines() if more["words"].exists() else []
        env = {name.upper(): more[name].read_text().rstrip("\n") for name in ("sender", "recipient")}
        code, said = invoke(pages, *words, input=run.read_bytes(), env={k: v for k, v in env.items() if v != "unset"})
        assert code == 0, said
        for path in (run, *more.values()):
            path.unlink(missing_ok=True)
        return stored_pages(pages)[-1][2]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = temporary_folder("recipes")
    yield made
    remove_folder(made)


@pytest.fixture
def stand_in(folder: Path) -> StandIn:
    return StandIn(folder)


def header(raw: bytes) -> set[str]:
    """What the envelope left in a mail that was stored."""
    head = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode()
    return set(re.findall(r"^(?:Return-Path|Delivered-To): .*$", head, re.M))


@pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)
def test_postfix_with_a_pipe_and_with_aliases(
    pages: Flask, authority: Authority, stand_in: StandIn, folder: Path
) -> None:
    aliases = folder / "aliases.coquimail"
    aliases.write_text(stand_in.in_place(recipe("/etc/postfix/aliases.coquimail")))
    pipe = stand_in.in_place(recipe("/etc/postfix/master.cf"))
    domain, _, transport = recipe("/etc/postfix/transport, with a pipe").strip().partition(" ")
    settings = f"transport_maps = inline:{{ {domain}={transport.strip()} }}\nmydestination = mx.mycompany.com\n"
    settings += f"alias_maps = hash:{aliases}\nqueue_run_delay = 1s\nminimal_backoff_time = 1s\n"
    services = f"{pipe}local unix - n n - - local\n"
    server = started(lambda: Postfix(authority, "mx.mycompany.com", settings, services=services))
    try:
        server.run("postalias", f"hash:{aliases}")
        for path in folder.glob("aliases.coquimail*"):
            path.chmod(0o644)
            os.chown(path, MAIL_USER.pw_uid, MAIL_USER.pw_gid)
        with closing(smtplib.SMTP("127.0.0.1", server.port)) as client:
            client.sendmail("ann@home.test", [f"sales@{DOMAIN}", f"team@{DOMAIN}"], MAIL)
            assert header(stand_in.hand_over(pages)) == {
                "Return-Path: <ann@home.test>", f"Delivered-To: sales@{DOMAIN}", f"Delivered-To: team@{DOMAIN}",
            }  # fmt: skip
            client.sendmail("", [f"bounce@{DOMAIN}"], MAIL)
            assert header(stand_in.hand_over(pages)) == {"Return-Path: <>", f"Delivered-To: bounce@{DOMAIN}"}
            client.sendmail("ann@home.test", ["sales@mx.mycompany.com"], MAIL)
            assert {"Return-Path: <ann@home.test>", "Delivered-To: sales@mx.mycompany.com"} == header(
                stand_in.hand_over(pages)
            )
            stand_in.ends_with(TRY_AGAIN)
            client.sendmail("ann@home.test", [f"sales@{DOMAIN}"], MAIL)
            wait_until(lambda: server.log().count("status=deferred") >= 2)
            assert not server.idle()
    finally:
        server.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_exim_by_lmtp(app: Flask, folder: Path) -> None:
    exim = started(lambda: MailProgram(EXIM, folder / "exim"))
    with listening(app) as port:
        transport = recipe("Exim: transport, LMTP").replace("8024", str(port))
        configuration = exim.exim(recipe("Exim: router").replace(DOMAIN, "office.test"), transport)
        recipients = ["sales@office.test", "bounce+t2@office.test"]
        assert exim.run(["-C", configuration, "-odi", "-f", "ann@home.test", *recipients], MAIL) == 0
    assert [header(raw) for raw in stored(app)] == [
        {"Return-Path: <ann@home.test>", *(f"Delivered-To: {one}" for one in recipients)}
    ]


@pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)
def test_exim_by_a_pipe(pages: Flask, folder: Path, stand_in: StandIn) -> None:
    exim = started(lambda: MailProgram(EXIM, folder / "exim"))
    configuration = exim.exim(recipe("Exim: router, pipe"), stand_in.in_place(recipe("Exim: transport, pipe")))
    odd = '"a:RECIPIENT=x"@home.test'  # strangers choose what they are called
    for sender, shown in (("ann@home.test", "<ann@home.test>"), ("<>", "<>"), (odd, f"<{odd}>")):
        assert exim.run(["-C", configuration, "-odi", "-f", sender, f"sales@{DOMAIN}"], MAIL) == 0
        assert header(stand_in.hand_over(pages)) == {f"Return-Path: {shown}", f"Delivered-To: sales@{DOMAIN}"}
    stand_in.ends_with(1)
    assert exim.run(["-C", configuration, "-odi", "-f", "ann@home.test", f"sales@{DOMAIN}"], MAIL) == 0
    assert list((folder / "exim/spool/input").glob("**/*-D")), "it keeps the mail"


@pytest.mark.parametrize(
    ("program", "file"), [("usr/bin/procmail", ".procmailrc"), ("usr/bin/maildrop", ".mailfilter")]
)
@pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)
def test_programs_that_deliver_for_a_mail_server(
    pages: Flask, folder: Path, stand_in: StandIn, program: str, file: str
) -> None:
    deliver = started(lambda: MailProgram(program, folder / "home"))
    rules = deliver.folder / file
    rules.write_text(stand_in.in_place(recipe(file)))
    rules.chmod(0o600)
    os.chown(rules, MAIL_USER.pw_uid, MAIL_USER.pw_gid)
    words = ["-m", rules] if "procmail" in program else [rules]
    line = b"From ann@home.test Mon Nov 23 09:00:00 2026\n"
    assert deliver.run(words, line + MAIL) == 0
    assert header(stand_in.hand_over(pages)) == {"Return-Path: <ann@home.test>"}
    stand_in.ends_with(TRY_AGAIN)
    assert deliver.run(words, line + MAIL) == TRY_AGAIN
