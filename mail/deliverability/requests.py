"""Checks that the worker is asked for: by a person, and by whatever changes who sends as a domain."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select

from mail.deliverability import senders
from mail.settings import office
from mail.settings.wake import wake
from models import DomainReport, ServerCheck, db


def ask(names: Collection[str], now: datetime, user_id: int | None = None) -> None:
    """Have the worker check domains, but for those that it is about to check; commits."""
    check = ServerCheck
    waiting = select(check.domain).where(check.state == "waiting", check.kind == "domain", check.domain.in_(names))
    about_to = set(db.session.scalars(waiting)) if names else set()
    asked = [
        ServerCheck(kind="domain", server_id=0, domain=name, requested_by_id=user_id, requested_at=now, steps=[])
        for name in names
        if name not in about_to
    ]
    if asked:
        db.session.add_all(asked)
        db.session.commit()
        wake("check")


def ask_where_changed(now: datetime) -> None:
    """Have the worker check each domain that is new, or whose servers are others than at its last check; commits."""
    office.forget()
    names = senders.sending_domains()
    checked = _checked(names)
    servers = senders.servers_by_domain(names)
    ask([name for name in names if checked.get(name) != senders.servers_key(servers[name])], now)


def _checked(names: Collection[str]) -> dict[str, str]:
    """What stands for the servers that each domain had at its last check."""
    row = DomainReport
    newest = select(func.max(row.id)).where(row.domain.in_(names)).group_by(row.domain)
    found = db.session.execute(select(row.domain, row.report["servers_key"].as_string()).where(row.id.in_(newest)))
    return {name: key or "" for name, key in found}
