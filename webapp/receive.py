"""``flask --app wsgi receive``: mail through a pipe. 0 means that it is stored, anything else that it must come again.

A mail server takes most other numbers for a final failure and returns the mail, so no mistake of ours may end in one.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from flask.cli import with_appcontext

from mail.incoming import push
from mail.queue.lease import was_one_at_work
from mail.settings.clock import now
from mail.settings.logs import discreet_traceback
from models import reading, writing

TRY_AGAIN = os.EX_TEMPFAIL
SEEN_WITHIN = 600.0  # seconds: a worker that starts again, or is late, keeps no mail waiting
COMMAND = "receive"


class _TryAgain(click.Command):
    """A command that ends with 75 also where its options can't be read."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            refuse(error.format_message())


@click.command(COMMAND, cls=_TryAgain)
@click.option(
    "--sender",
    default=lambda: os.environ.get("SENDER"),
    help="Envelope sender; empty for the null sender. [env: SENDER]",
)
@click.option(
    "--recipient", "recipients", multiple=True, envvar="RECIPIENT", help="Envelope recipient. [env: RECIPIENT]"
)
@with_appcontext
def receive(sender: str | None, recipients: Sequence[str]) -> None:
    """Store one email from standard input. Ends with 0 once it is stored, with 75 (try again later) otherwise."""
    try:
        store(sys.stdin.buffer.read(push.LARGEST_MAIL + 1), sender, recipients)
    except BaseException as error:  # also Ctrl-C: it is not stored
        refuse(discreet_traceback(error)[-1])


def store(content: bytes, sender: str | None, recipients: Sequence[str]) -> None:
    """Store what came through the pipe; raises ``ValueError`` for what is no email, or too large a one.

    Nor is it stored where nobody would find it: in the database of before, by settings that were not changed with it.
    """
    if not content.strip():
        raise ValueError("standard input is empty")
    if len(content) > push.LARGEST_MAIL:
        raise ValueError(f"the email is larger than {push.LARGEST_MAIL // 1048576} MB")
    if sender is not None and sender.upper() == "MAILER-DAEMON":  # how Postfix names the null sender
        sender = ""
    with reading():
        if not was_one_at_work(SEEN_WITHIN):
            raise ValueError("no worker is at work on this database: start it, or correct the settings of this command")
        ours = push.reception()
    with writing():  # it begins once the mail is packed, which takes a while
        recipients = tuple(ours.ours(one) or one for one in recipients)
        push.store("pipe", [push.PushedMail(content, sender, recipients)], now())


def refuse(sentence: str) -> NoReturn:
    """Say why a mail is not stored, and end so that its server tries again."""
    print(f"The email is not stored; try again later. {' '.join(sentence.split())[:500]}", file=sys.stderr)  # noqa: T201
    sys.exit(TRY_AGAIN)
