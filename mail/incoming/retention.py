"""What holds for received emails by where they came from: what is kept of them, and whose word on senders counts."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import select

from mail.decide.sender_proof import name_in
from mail.incoming.case import Retention
from mail.incoming.reader import LARGE
from mail.settings import parameters
from mail.transport.mailbox import FetchedMail
from models import IncomingServer, db

LOOKED_AT = 20  # emails of one run that are looked at


def retentions(rows: Collection[Any]) -> dict[int, Retention]:
    """Return what holds for received emails by their number: what their incoming servers say, if they have one."""
    ids = {row.incoming_server_id for row in rows} - {None}
    servers = _of_servers(ids) if ids else {}
    return {row.id: servers.get(row.incoming_server_id) or retention_of_others(row.source) for row in rows}


def _of_servers(server_ids: Collection[int]) -> dict[int, Retention]:
    server = IncomingServer
    found = db.session.execute(
        select(
            *(server.id, server.action_type_id, server.keep_attachments, server.keep_original, server.user),
            *(server.address, server.shared_mailbox),
            *(server.sender_checks, server.checked_by, server.checks_seen),
        ).where(server.id.in_(server_ids))
    )
    return {row.id: Retention.of(row) for row in found}


def retention_of_others(source: str) -> Retention:
    """Return whose word counts for emails that no incoming server brought: what is pushed has a setting of its own.

    What is pasted into a simulator is taken for pushed.
    """
    return Retention() if source == "practice" else Retention(checked_by=parameters.CHECKED_BY.get())


def look_at(names: list[str], mails: Iterable[FetchedMail]) -> None:
    """Add to ``names`` what the first emails of a run show of the server that checks them."""
    for mail in mails:
        if len(names) >= LOOKED_AT:
            return
        if not mail.is_missing and mail.octets <= LARGE:
            names.append(name_in(mail.raw))
