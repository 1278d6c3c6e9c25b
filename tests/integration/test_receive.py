"""Mail through a pipe: 0 once it is stored, 75 in every other case, and never a traceback."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from models import Blob, ReceivedMail, db
from tests.servers.app import KEPT, ROOT
from webapp.receive import TRY_AGAIN

MAIL = b"Received: from a by b id 7; Mon, 23 Nov 2026 09:00:00 +0100\nFrom: ann@home.test\nSubject: Desks\n\nHello\n"


def invoke(pages: Flask, *words: str, input: bytes = MAIL, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    done = pages.test_cli_runner().invoke(args=["receive", *words], input=input, env={"SENDER": None} | dict(env or {}))
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def stored(pages: Flask) -> list[tuple[str, str, bytes]]:
    with pages.app_context():
        rows = db.session.scalars(select(ReceivedMail).order_by(ReceivedMail.id)).all()
        return [(row.source, row.state, Blob.read(row.blob_id)) for row in rows if row.blob_id]


def test_a_mail_with_its_envelope_is_stored_once(pages: Flask) -> None:
    words = "--sender", "ann@home.test", "--recipient", "sales@office.test"
    envelope = b"Return-Path: <ann@home.test>\nDelivered-To: sales@office.test\n"
    for _ in range(2):  # the mail server did not hear the end the first time
        assert invoke(pages, *words) == (0, "")
    assert stored(pages) == [("pipe", "received", envelope + MAIL)]


def test_the_envelope_may_be_in_the_environment(pages: Flask) -> None:
    assert invoke(pages, env={"SENDER": "", "RECIPIENT": "bounce@office.test"})[0] == 0
    assert stored(pages)[0][2] == b"Return-Path: <>\nDelivered-To: bounce@office.test\n" + MAIL
    assert invoke(pages)[0] == 0
    assert stored(pages)[1][2] == MAIL


@pytest.mark.parametrize(
    ("words", "input"), [((), b""), ((), b" \n\n"), (("--what",), MAIL), (("sales@office.test",), MAIL)]
)
def test_what_is_not_stored_comes_again(pages: Flask, words: tuple[str, ...], input: bytes) -> None:
    code, said = invoke(pages, *words, input=input)
    assert code == TRY_AGAIN and said.startswith("The email is not stored; try again later. ")
    assert stored(pages) == []


@pytest.mark.heavy
@pytest.mark.parametrize(
    "broken",
    [
        {"DATABASE_URL": "what://is/this"},
        {"DATABASE_URL": "postgresql://ann:secret@127.0.0.1:1/office"},
    ],
)
def test_an_office_that_can_not_store_asks_for_it_again(tmp_path: Path, broken: dict[str, str]) -> None:
    env = {name: os.environ[name] for name in KEPT if name in os.environ} | {"COQUI_DATA": str(tmp_path)} | broken
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "receive"],
        env=env, cwd=ROOT, input=MAIL, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == TRY_AGAIN, done.stderr
    said = done.stderr.decode()
    assert "Traceback" not in said and "secret" not in said
    assert "The email is not stored; try again later. " in said
