"""The check of a domain's DNS that a person asked for, step by step."""

import time
from collections.abc import Iterator

from mail.deliverability import checks, senders
from mail.sentences import why
from mail.settings.clock import now
from mail.transport.steps import ConnectionStep
from models import db


def steps_of(domain: str, user_id: int | None) -> Iterator[ConnectionStep]:
    """Check a domain and keep the result; yields a step for each round of questions."""
    if domain not in senders.sending_domains():
        yield ConnectionStep("dns", "failed", why("dns_domain_gone", domain=domain), 0.0)
        return
    sending = senders.sending_domain(domain)
    db.session.rollback()
    began, answered = time.monotonic(), 0
    for judgement in checks.look_up(sending):
        number = len(judgement.asked) - len(judgement.open) - answered
        if number:
            yield ConnectionStep("dns", "ok", why("dns_asked", count=number), round(time.monotonic() - began, 3))
        began, answered = time.monotonic(), answered + number
    report = checks.keep(domain, judgement, now(), user_id, senders.servers_key(sending.servers))
    said = next((answer["said"] for answer in report.report["asked"] if report.is_silent), "")
    reason = why("dns_no_response", domain=domain, said=said) if said else why("dns_checked")
    yield ConnectionStep("dns", "warning" if said else "ok", reason, 0.0)
