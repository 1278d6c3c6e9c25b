"""A server that refuses the bounce address of one recipient as a sender gets that of all, now and from then on."""

import logging
from datetime import datetime
from typing import Literal

from sqlalchemy import or_, update

from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.notices import tell_admins
from mail.transport.smtp import Outcome
from models import OutgoingServer, change_rows, db, writing

log = logging.getLogger("coquimail.outgoing")


def refuses(outcome: Outcome) -> Literal["", "sender", "recipient"]:
    """Return whom a server refused, and not for now; some say so of the sender only after the recipient."""
    if outcome.accepted or outcome.code is None or outcome.code < 500 or outcome.phase not in ("mail", "rcpt"):
        return ""
    about_sender = outcome.why is not None and outcome.why["code"].startswith("sender_")
    return "sender" if outcome.phase == "mail" or about_sender else "recipient"


def takes_sender(outcome: Outcome) -> bool:
    """Say whether an outcome shows that the server took the sender, whatever it said of the rest."""
    if outcome.code is None:
        return outcome.in_doubt
    return outcome.phase not in ("connect", "mail") and refuses(outcome) != "sender"


def share_bounce_address(server_id: int, server_name: str, reply: str, moment: datetime) -> Why:
    """Let a server (0: the default server) have no more unique senders and tell the admins, once; commits.

    A mail is on its way meanwhile: what the database does not take is noted at the next refusal.
    """
    values = {"server": server_name, "reply": reply}
    try:
        with writing():
            if turn_off(server_id, moment):
                link = f"/admin/outgoing-servers/edit?id={server_id}" if server_id else "/settings/"
                tell_admins("notice_unique_senders_off", values, link, moment)
            db.session.commit()
    except Exception:  # the mail may have been accepted: it must not be taken for one that was not sent
        db.session.rollback()
        log.exception("server %s refuses unique senders, which could not be written down", server_id)
    office.forget()
    return why("sent_with_shared_sender", **values)


def turn_off(server_id: int, moment: datetime) -> bool:
    """Note that a server (0: the default server) takes no unique senders; return whether that is new.

    The caller commits.
    """
    if server_id:
        other = or_(OutgoingServer.verp.is_(None), OutgoingServer.verp.is_(True))
        noted = update(OutgoingServer).where(OutgoingServer.id == server_id, other)
        return bool(change_rows(noted.values(verp=False)))
    office.forget()
    is_new = parameters.DEFAULT_VERP.get() != 0
    if is_new:
        parameters.put(parameters.DEFAULT_VERP.key, "0", moment)
    return is_new


def turn_on(server_id: int, moment: datetime) -> None:
    """Note that a server (0: the default server) takes unique senders, unless it is known not to.

    The caller commits.
    """
    if server_id:
        untried = update(OutgoingServer).where(OutgoingServer.id == server_id, OutgoingServer.verp.is_(None))
        db.session.execute(untried.values(verp=True))
    elif parameters.DEFAULT_VERP.get() is None:
        parameters.put(parameters.DEFAULT_VERP.key, "1", moment)
