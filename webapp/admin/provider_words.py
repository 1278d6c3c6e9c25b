"""How the form of an outgoing server says what providers publish."""

from flask_babel import format_number, gettext
from flask_babel import lazy_gettext as _l

from mail.settings.providers import PROVIDERS, Provider, ProviderDns, PublishedLimit

UNITS = {
    "emails per second": _l("%(number)s emails per second"),
    "emails per minute": _l("%(number)s emails per minute"),
    "emails per hour": _l("%(number)s emails per hour"),
    "emails per day": _l("%(number)s emails per day"),
    "emails per month": _l("%(number)s emails per month"),
    "recipients per hour": _l("%(number)s recipients per hour"),
    "recipients per day": _l("%(number)s recipients per day"),
    "recipients per email": _l("%(number)s recipients per email"),
    "emails per connection": _l("%(number)s emails per connection"),
    "connections at once": _l("%(number)s connections at once"),
    "MB per email": _l("%(number)s MB per email"),
}
KINDS = {"mailbox": _l("Mailboxes"), "relay": _l("Services for sending")}


def offered() -> list[tuple[str, list[Provider]]]:
    """Return the providers by kind, each kind by name."""
    by_name = sorted(PROVIDERS.values(), key=lambda provider: provider.name.casefold())
    return [(str(words), [one for one in by_name if one.kind == kind]) for kind, words in KINDS.items()]


def limit_of(limit: PublishedLimit) -> str:
    """Return a limit in words."""
    return str(UNITS[limit.unit]) % {"number": format_number(limit.amount)}


def dns_of(dns: ProviderDns) -> list[str]:
    """Return in sentences what the DNS of a domain needs before the provider may send for it."""
    found = [gettext("SPF: the record of your domain must have include:%(name)s.", name=dns.spf)] if dns.spf else []
    if not dns.spf:
        found.append(gettext("SPF: nothing to add to the record of your domain."))
    found.append(
        gettext("DKIM: it signs as your domain once you add the CNAME records that it shows.")
        if dns.dkim == "cname"
        else gettext("DKIM: it signs as your domain once you add the TXT record that it shows.")
    )
    subdomain = dns.return_path.removesuffix(".{domain}")
    if subdomain != dns.return_path:
        found.append(
            gettext("Delivery failures return to a subdomain, %(name)s; it shows its records too.", name=subdomain)
        )
    elif dns.return_path:
        found.append(gettext("Delivery failures return to %(name)s, not to your bounce address.", name=dns.return_path))
    if dns.note:
        found.append(dns.note)
    if dns.usual:
        found.append(gettext("This is usually so; if the provider shows you something else, follow the provider."))
    return found
