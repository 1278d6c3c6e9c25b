"""What comes back of a server's self-test is noted in its part, by whichever way it came in."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from mail.decide.outcomes import SelfTested
from mail.decide.self_test import MINUTES
from mail.incoming.case import Case, storable
from mail.message.authentication_results import results_in
from mail.sentences import why
from mail.settings.clock import now
from models import Event, Recipient, SelfTestPart, db

LATE = ("_missing", "_mailbox_failed", "_nothing_fetched")  # how the codes end of parts that saw nothing in time


def note(outcome: SelfTested, case: Case) -> None:
    """Write down what came back; the first counts. The caller commits."""
    part = db.session.scalar(select(SelfTestPart).where(SelfTestPart.id == outcome.part.part_id).with_for_update())
    if part is None or part.seen is not None:
        return
    moment = now()  # a run takes its time once, and this one is measured
    part.seen, part.seen_at, part.received_mail_id = _seen(outcome, case), moment, case.id
    if part.why is not None and part.why["code"].endswith(LATE):
        after = (moment - (part.sent_at or moment)) // timedelta(minutes=1)
        part.state, part.why = "warning", dict(why("self_test_late", minutes=MINUTES, after=max(after, MINUTES)))
    if outcome.how == "arrived":  # its server's response may not have been seen
        doubted = update(Recipient).where(Recipient.mail_id == part.mail_id, Recipient.state == "unknown")
        db.session.execute(doubted.values(state="sent", sent_at=moment, why=None))
    Event.add([f"check:{part.check_id}"], moment)


def _seen(outcome: SelfTested, case: Case) -> dict[str, Any]:
    if outcome.report is not None:
        failures = outcome.report.failures
        text = failures[0].text if failures else outcome.report.text
        return {"how": "returned", "text": storable(text)[:500]}
    seen: dict[str, Any] = {"how": "arrived", "is_threaded": outcome.is_threaded}
    checked = results_in(case.message.raw)
    if checked:  # the topmost is the last server's; the others may have come with the email
        found = checked[0]
        seen["sender"] = {"server": storable(found.server)[:255]} | {
            method: storable(found.word(method))[:20] for method in ("spf", "dkim", "dmarc")
        }
    return seen
