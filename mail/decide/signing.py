"""Which domain signs an email (DKIM), and why none does. Pure."""

from collections.abc import Container
from datetime import timedelta

from mail.decide.servers import Server
from mail.sentences import Why, why

UNSIGNED_WAITS = timedelta(minutes=10)  # until it is seen whether a key can be read again


def signing_domain(sender: str, domains: Container[str]) -> str:
    """Return the domain that signs what is sent from a domain: itself or the nearest one above it, "" for none.

    Receivers that follow DMARC take a signature of a domain above the sender's, unless the sender's asks for its own.

    >>> [signing_domain(name, {"acme.com"}) for name in ("acme.com", "news.acme.com", "notacme.com", "com")]
    ['acme.com', 'acme.com', '', '']
    """
    while sender and sender not in domains:
        sender = sender.partition(".")[2]
    return sender


def decide_signature(sender: str, server: Server, domains: Container[str], steps: list[Why]) -> str:
    """Return the domain that signs what is sent from a domain, "" for none; notes the reason if we sign for any."""
    if not domains:
        return ""
    if server.signs_itself:
        steps.append(why("dkim_server_signs", server=server.name))
        return ""
    domain = signing_domain(sender, domains)
    if not domain:
        steps.append(why("dkim_no_key", domain=sender))
    elif domain == sender:
        steps.append(why("dkim_signs", domain=domain))
    else:
        steps.append(why("dkim_signs_above", domain=domain, sender=sender))
    return domain
