"""What waits for an outgoing server and until when, in words: for its form and for General Settings."""

from flask_babel import format_number, gettext, ngettext
from markupsafe import Markup

from mail.outgoing import forecast
from mail.queue.slowdown import slowed_domains
from mail.settings.clock import now
from webapp.template_helpers import until


def of_server(server_id: int, name: str) -> list[Markup]:
    """Return when what waits for the limits of a server (0: the default server) goes, and which domains wait."""
    moment = now()
    found, words = forecast.of_server(server_id, name, moment), []
    if found.ahead and found.waits:
        said = ngettext(
            "%(number)s email waits. By these limits it goes %(time)s.",
            "%(number)s emails wait. By these limits the last one goes %(time)s.",
            found.ahead,
            number=format_number(found.ahead),
            time=until(found.ends_at),
        )
        words.append(Markup(said))  # noqa: S704 - a number and a time
    if words and found.raise_ends:
        words[0] += " " + gettext("The raised daily limit ends before, so it may take longer.")
    waits = Markup(gettext("Emails to %(domain)s wait until %(time)s: this server was told to send fewer."))  # noqa: S704
    for (_, domain), slowdown in sorted(slowed_domains(server_id).items()):
        if slowdown.holds(moment):
            words.append(waits % {"domain": domain, "time": until(slowdown.until)})
    return words
