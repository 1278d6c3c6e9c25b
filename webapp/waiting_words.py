"""What waits for an outgoing server and until when, in words: for its form, General Settings and a mailing."""

from collections.abc import Container
from datetime import datetime
from typing import Any

from flask_babel import format_number, gettext, ngettext
from markupsafe import Markup
from sqlalchemy import select

from mail.decide.slowdown import ALL
from mail.outgoing import forecast
from mail.queue.slowdown import reason_of, slowed_domains
from mail.sentences import say
from mail.settings.clock import now
from models import Mailing, Trace, db
from webapp.template_helpers import until

LOOKED_AT = 500  # recipients of a mailing who wait


def of_server(server_id: int, name: str) -> list[Markup]:
    """Return when what waits for the limits of a server (0: the default server) goes, and which domains wait."""
    moment = now()
    found, words = forecast.of_server(server_id, name, moment), []
    if found.ahead and found.waits:
        said = ngettext(
            "%(number)s email waits. Within these limits, it goes out %(time)s.",
            "%(number)s emails wait. Within these limits, the last one goes out %(time)s.",
            found.ahead,
            number=format_number(found.ahead),
            time=until(found.ends_at),
        )
        words.append(Markup(said))  # noqa: S704 - a number and a time
    if words and found.raise_ends:
        words[0] += " " + gettext("The raised daily limit ends before that, so it may take longer.")
    return words + _slowed(server_id, name, moment)


def of_mailing(row: Mailing, name: str) -> list[Markup]:
    """Return which domains among the recipients of a mailing wait, and until when."""
    words = _slowed(row.server_id or 0, name, now())
    if not words:
        return []
    untried = select(Trace.why).where(Trace.mailing_id == row.id, Trace.state == "deferred", Trace.attempts == 0)
    reasons = [why for why in db.session.scalars(untried.limit(LOOKED_AT)) if why]
    domains = {why["values"].get("domain", ALL) for why in reasons}
    return _slowed(row.server_id or 0, name, now(), domains)


def _slowed(server_id: int, name: str, moment: datetime, domains: Container[Any] | None = None) -> list[Markup]:
    waits = Markup(gettext("Emails to %(domain)s wait until %(time)s. %(reason)s"))  # noqa: S704
    all_wait = Markup(gettext("All emails wait until %(time)s. %(reason)s"))  # noqa: S704
    return [
        (all_wait if domain == ALL else waits)
        % {"domain": domain, "time": until(one.until), "reason": say(reason_of(one, name, f"@{domain}"))}
        for (_, domain), one in sorted(slowed_domains(server_id).items())
        if one.holds(moment) and (domains is None or domain in domains)
    ]
