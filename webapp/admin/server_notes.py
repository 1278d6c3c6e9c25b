"""What the page of an outgoing server says about it above the form."""

from flask_babel import format_date, gettext, ngettext

from mail.decide.servers import read_filter
from mail.deliverability import senders
from mail.queue import connections, quota
from mail.settings import office
from mail.settings.clock import now
from mail.settings.parameters import DEFAULT_FROM_FILTER
from models import OutgoingServer
from webapp import template_helpers


def usage(row: OutgoingServer) -> list[str]:
    """Return how much of each limit is used, in words."""
    return [template_helpers.limit_used(limit, used) for limit, used in quota.usage(row.id, now())]


def learned(row: OutgoingServer) -> list[str]:
    """Return in words what sending taught us about this server: its connections, and how large an email it takes."""
    known = connections.learned_of(row)
    found = []
    if known and known.mails:
        found.append(ngettext("%(num)s email per connection", "%(num)s emails per connection", known.mails))
    if known and known.connections:
        found.append(ngettext("%(num)s connection at once", "%(num)s connections at once", known.connections))
    if known and known.largest:
        found.append(gettext("emails of up to %(size)s", size=template_helpers.size(known.largest)))
    if not known or not found:
        return []
    on = format_date(known.learned_at)
    return [gettext("Learned on %(date)s: %(what)s.", date=on, what=", ".join(found))]


def domains(row: OutgoingServer) -> list[str]:
    """Return the domains that a server sends as, whose DNS is checked."""
    found = senders.servers_by_domain(senders.sending_domains())
    return [name for name, servers in found.items() if any(one.id == row.id for one in servers)]


def warnings(row: OutgoingServer) -> list[str]:
    """Return what an admin should know about this server as it is saved."""
    known = office.load().office
    found = []
    filters, general = read_filter(row.from_filter), read_filter(DEFAULT_FROM_FILTER.get())
    if not known.custom_servers:
        found.append(
            gettext(
                "Custom Email Servers is turned off under General Settings: this server sends only mailings that "
                "use it."
            )
        )
    if filters and general and set(filters) != set(general):
        found.append(
            gettext(
                "The system parameter mail.default.from_filter is “%(general)s”, this server has “%(own)s”. Both "
                "are correct: the parameter applies only to the default server, and this server uses only its own "
                "field.",
                general=DEFAULT_FROM_FILTER.get(),
                own=row.from_filter,
            )
        )
    default = known.default_address
    own = any(one.default_address and one.name in filters for one in known.domains)  # authors there are sent as that
    if filters and default and not own and default not in filters and default.rpartition("@")[2] not in filters:
        found.append(
            gettext(
                "When this server sends for another From address, it uses the default address %(address)s, which "
                "is not in FROM Filtering either: the server may refuse the email. Add it here, or change the "
                "system parameter mail.default.from.",
                address=default,
            )
        )
    if row.encryption != "none" and not row.verify_tls:
        found.append(
            gettext(
                "The certificate of this server is not verified: passwords and emails could be intercepted. Turn "
                "verification on under Details, in developer mode."
            )
        )
    if row.encryption == "none" and row.authentication == "password":
        found.append(gettext("User and password are sent unencrypted. Choose STARTTLS or TLS if the server offers it."))
    return found
