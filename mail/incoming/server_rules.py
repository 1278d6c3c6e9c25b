"""What may be saved of an incoming server, when it has to be tested anew, and which settings a test stands for."""

from dataclasses import astuple, replace
from typing import Literal

from mail.errors import ChangeRefused
from mail.incoming.position import leave_behind, target_of
from mail.message.address import normalise
from mail.sentences import Why, why
from mail.settings import sign_in_rules
from mail.settings.parameter_values import NotValid, a_server_in_headers
from mail.settings.tested import leads_elsewhere, settings_key
from models import IncomingServer
from models.base import was_changed

BACK_TO_DRAFT = ("host", "port", "authentication", "user", "password", "kind", "folder", "shared_mailbox")
ANOTHER_MAILBOX = ("host", "user", "kind", "folder", "shared_mailbox")  # two folders may number their mails alike

Consequence = Literal["tested_anew", "another_mailbox", "left_behind"]


def check(server: IncomingServer, password_given: bool) -> list[Consequence]:
    """Check a mailbox that was filled in, before it is saved, and return what follows; raises ``ChangeRefused``.

    ``tested_anew``: it is a draft again, and nothing is fetched until its test passes. ``another_mailbox``: it is read
    from its own beginning. ``left_behind``: the former one was not told of all mails that were fetched from it.
    """
    server.folder = "INBOX" if server.kind == "pop3" else _spelled(server.folder)
    moved = leads_elsewhere(server)
    if moved or server.authentication != "oauth2":
        server.oauth_account = None
    errors = _errors(server, moved and not password_given)
    if errors:
        raise ChangeRefused(errors)
    sign_in_rules.end_sign_ins(server, moved)
    if moved:
        server.trusted_certificate = ""
    follows: list[Consequence] = []
    if any(was_changed(server, name) for name in BACK_TO_DRAFT):
        if server.state == "confirmed":
            follows.append("tested_anew")
        server.state = "draft"
    if any(was_changed(server, name) for name in ANOTHER_MAILBOX):
        if server.confirmed_at is not None:  # one that was never confirmed was never read
            follows.append("another_mailbox")
        leave_behind(server.source)
        if server.become_another():
            follows.append("left_behind")
    return follows


def _spelled(folder: str) -> str:
    """Return a folder in one spelling: INBOX, which an empty name stands for, is the same in every one (RFC 3501 5.1).

    >>> _spelled(""), _spelled("Inbox"), _spelled("Done")
    ('INBOX', 'INBOX', 'Done')
    """
    return "INBOX" if folder.upper() in ("", "INBOX") else folder


def _errors(server: IncomingServer, password_stays_behind: bool) -> dict[str, Why]:
    errors: dict[str, Why] = {}
    if server.address and not normalise(server.address):
        errors["address"] = why("mailbox_address_wrong")
    if server.shared_mailbox and server.kind == "pop3" and server.authentication != "oauth2":
        errors["shared_mailbox"] = why("pop3_has_no_shared")
    if server.authentication == "oauth2":
        errors |= sign_in_rules.check(server)
    elif not server.password:
        errors["password"] = why("mailbox_password_needed")
    elif password_stays_behind:
        errors["password"] = why("password_again")
    if server.sender_checks == "set":
        try:
            server.checked_by = a_server_in_headers(server.checked_by)
        except NotValid:
            errors["checked_by"] = why("checked_by_no_server")
    if server.after_fetch == "move":
        if server.kind == "pop3":
            errors["after_fetch"] = why("pop3_has_no_folders")
        elif not server.move_to:
            errors["move_to"] = why("move_needs_folder")
        elif _spelled(server.move_to) == server.folder:
            errors["move_to"] = why("move_to_itself")
    return errors


def tested_key(server: IncomingServer) -> str:
    """Return what stands for all that a test of a mailbox depends on: the same during a rehearsal, and in a copy."""
    return settings_key(astuple(replace(target_of(server), name="", tokens=None, spool="", read_only=False)))
