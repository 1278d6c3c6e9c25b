"""FLOW of a check: ask DNS until every verdict is known, keep what was found, and tell admins what changed."""

import time
from collections.abc import Collection, Iterator
from datetime import datetime

from sqlalchemy import Select, func, select

from mail.decide.deliverability import Judgement, SendingDomain, judge
from mail.decide.dmarc import organisation
from mail.decide.dns_changes import compare
from mail.decide.verdicts import Verdict
from mail.deliverability import senders
from mail.dns_answers import DnsAnswer, Question
from mail.settings.config import settings
from mail.settings.notices import tell_admins
from mail.transport.dns import Resolver
from models import DomainReport, Event, db

TOPIC = "deliverability"  # of the events that open pages hear of
LONGEST = 60.0  # seconds: what is still open then is not asked
TOO_LONG = DnsAnswer("silent", said="the check took too long")


def look_up(domain: SendingDomain) -> Iterator[Judgement]:
    """Ask DNS what the verdicts need, in rounds; yields the judgement after each of them, the last one is complete."""
    resolver = Resolver(settings().dns_resolvers)
    known: dict[Question, DnsAnswer] = {}
    end = time.monotonic() + LONGEST
    while True:
        judgement = judge(domain, known)
        yield judgement
        if not judgement.open:
            return
        in_time = time.monotonic() < end
        known |= resolver.ask_all(judgement.open) if in_time else dict.fromkeys(judgement.open, TOO_LONG)


def check(name: str, now: datetime) -> DomainReport:
    """Check a domain and keep the result; commits."""
    domain = senders.sending_domain(name)
    db.session.rollback()
    *_, judgement = look_up(domain)
    return keep(name, judgement, now, servers_key=senders.servers_key(domain.servers))


def keep(
    name: str, judgement: Judgement, now: datetime, user_id: int | None = None, servers_key: str = ""
) -> DomainReport:
    """Keep what a check found, and tell admins of what became worse or is well again; commits.

    ``servers_key`` stands for the servers that it was about (``senders.servers_key``).
    """
    db.session.rollback()
    last = _last_one(name)
    verdicts = _keyed(judgement)
    found = {key: verdict.state for key, verdict in verdicts.items()}
    changes = compare(last.standing if last else {}, last.told if last else {}, found)
    report = DomainReport(
        domain=name,
        at=now,
        requested_by_id=user_id,
        state=judgement.state,
        report=judgement.as_json() | {"zone": _zone(judgement), "servers_key": servers_key},
        standing=changes.standing,
        told=changes.told,
    )
    db.session.add(report)
    if changes.worse:
        what = next(iter(verdicts[changes.worse[0]].sentences), "")
        tell_admins("dns_worse", {"domain": name, "what": what}, link_to(name), now)
    elif changes.is_well_again:
        tell_admins("dns_well_again", {"domain": name}, link_to(name), now)
    Event.add([TOPIC], now)
    db.session.commit()
    return report


def latest(name: str) -> DomainReport | None:
    """Return what the last check of a domain found."""
    return db.session.scalar(_newest(name))


def latest_of_each(names: Collection[str]) -> dict[str, DomainReport]:
    """Return the same for several domains, without those that were never checked."""
    newest = select(func.max(DomainReport.id)).where(DomainReport.domain.in_(names)).group_by(DomainReport.domain)
    found = db.session.scalars(select(DomainReport).where(DomainReport.id.in_(newest)))
    return {report.domain: report for report in found}


def _newest(name: str) -> Select[DomainReport]:
    return select(DomainReport).where(DomainReport.domain == name).order_by(DomainReport.id.desc()).limit(1)


def _last_one(name: str) -> DomainReport | None:
    """Return what the last check found, and keep others from a comparison with it until the commit.

    Whoever waited for the lock looks again: a newer one is there by then. The first check has nothing to compare.
    """
    while True:
        last = db.session.scalar(_newest(name).with_for_update())
        newest = latest(name)
        if newest is last:
            return last


def link_to(name: str) -> str:
    """Return the path of a domain's page."""
    return f"/deliverability/{name}"


def _zone(judgement: Judgement) -> str:
    """Return the domain whose records stand together with this one's: itself, or one above it without a cut between."""
    own = dict(judgement.asked).get(Question(judgement.domain, "NS"))
    return judgement.domain if own is not None and own.records else organisation(judgement.domain)


def _keyed(judgement: Judgement) -> dict[str, Verdict]:
    """Return each verdict by what stays its name from one check to the next."""
    keyed = {"spf": judgement.spf, "dmarc": judgement.dmarc, "mx": judgement.mx}
    keyed |= {f"dkim {verdict.subject}": verdict for verdict in judgement.dkim}
    for server in judgement.servers:
        number = server.id or 0
        keyed |= {f"spf of {number}": server.spf, f"passes of {number}": server.passes}
        keyed |= {f"ptr {verdict.subject}": verdict for verdict in server.reverse}
    return keyed
