"""Whether a mailing can go out, to whom, and by which server and From."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mail.decide.sender import Decision
from mail.errors import MailError
from mail.mailing.rendered import broken_links, compile_for, content_key, decide_for, request_of
from mail.outgoing import forecast
from mail.outgoing.forecast import Forecast
from mail.sentences import Why, say, why
from mail.settings import office, parameters
from models import Mailing, Subscription
from models import audience as audience_rows


class NotReady(Exception):
    """A mailing can't be sent or changed like this; ``problems`` say why, each with what to do."""

    def __init__(self, problems: Sequence[Why]) -> None:
        super().__init__(" ".join(say(problem) for problem in problems))
        self.problems = list(problems)


def problems(mailing: Mailing, decision: Decision | None = None) -> list[Why]:
    """Return what keeps a mailing from being sent, each with what to do; nothing means that it can go out.

    ``decision``: by which server and From, if that is known already.
    """
    found = []
    if not mailing.subject.strip():
        found.append(why("mailing_no_subject"))
    if not mailing.html.strip():
        found.append(why("mailing_no_content"))
    if not mailing.lists:
        found.append(why("mailing_no_list"))
    elif not audience(mailing):
        found.append(why("mailing_nobody"))
    decision = decision or decide_for(mailing)
    obstacle = in_the_way(decision)
    if obstacle:
        found.append(obstacle)
    elif not found:
        try:
            compile_for(mailing, decision)
        except MailError as error:
            found.append(error.why)
    return found


def audience(mailing: Mailing) -> int:
    """Return how many contacts are subscribed to the lists of a mailing, counted up to ``MOST_COUNTED``."""
    return Subscription.audience(one.id for one in mailing.lists)


def expected(mailing: Mailing) -> Counter[str]:
    """Count who would get a mailing now, under "", and who would be left out, under the code of the reason."""
    found = audience_rows.expected([one.id for one in mailing.lists])
    return Counter({f"left_out_{word}" if word else "": n for word, n in found.items()})


def forecast_of(mailing: Mailing, decision: Decision, recipients: int, now: datetime) -> Forecast | None:
    """Return when a mailing that begins then would end by the limits of its server; None when that has none."""
    found = forecast.of_mailing(mailing, decision, recipients, now)
    return forecast.with_other_servers(found, request_of(mailing), decision, now) if found else None


def decided(mailing: Mailing, decision: Decision) -> dict[str, Any]:
    """Return what a mailing holds of a decision."""
    key = content_key(mailing, decision)
    return {"decision": decision.as_json(), "server_id": decision.server_id, "content_key": key}


def kept_decision(mailing: Mailing) -> Decision:
    """Return the decision that a mailing was scheduled with; the practice mailbox gives way to a server of today."""
    stored = Decision.from_json(mailing.decision or {})
    return decide_for(mailing) if stored.is_default_server else stored


def in_the_way(decision: Decision) -> Why | None:
    """Return why nothing may go out by this decision: no server, or links that would lead nowhere."""
    usable = {server.id for server in office.load().servers if server.active}
    if decision.failure is None and not decision.is_default_server and decision.server_id not in usable:
        return why("mailing_server_gone")
    off = None if parameters.CUSTOM_SERVERS.get() else without_custom_servers(decision)
    return decision.failure or off or broken_links(decision)


def without_custom_servers(decision: Decision) -> Why | None:
    """Return why a server may not be used while Custom Email Servers is off: a search found it, nobody named it."""
    if decision.server_id is None or decision.is_forced:
        return None
    return why("mailing_custom_off", server=decision.server_name)
