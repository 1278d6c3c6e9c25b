"""To whom the system writes an answer of its own (a rejection), and why not (incoming.md 5, RFC 3834)."""

import re
from collections.abc import Container
from dataclasses import dataclass

from mail.decide.report import from_mailer_daemon
from mail.message.address import local_part
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

# RFC 3834 2: addresses of list programs and mail servers, where an answer feeds a loop.
_MACHINE = re.compile(r"owner-.*|.*-(?:owner|request|bounces)(?:\+.*)?|(?:mailer|mail)-?daemon")


@dataclass(frozen=True, slots=True)
class AnswerTo:
    """Where an answer goes; ``why_not`` is set when there must be none."""

    address: str = ""
    why_not: Why | None = None


def answer_to(message: IncomingMessage, own: Container[str]) -> AnswerTo:
    """Return the address that an answer of the system goes to: the Return-Path if the mail has one, else the From.

    Nothing is sent to an empty Return-Path, to lists, to machines and to addresses of our own (``own`` holds them).
    """
    address = message.from_key if message.return_path is None else message.return_path
    if message.return_path == "":
        code = "unanswered_null_path"
    elif message.is_list:
        code = "unanswered_list"
    elif message.is_auto_reply or message.auto_submitted != "no" or from_mailer_daemon(message):
        code = "unanswered_machine"
    elif not address:
        code = "unanswered_nobody"
    elif address in own or message.from_key in own:
        code = "unanswered_ours"
    elif _MACHINE.fullmatch(local_part(address).lower()):
        code = "unanswered_machine"
    else:
        return AnswerTo(address)
    return AnswerTo(why_not=why(code))
