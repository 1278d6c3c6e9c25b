"""A bounce address for each recipient (VERP): the report to it names its recipient, whatever is in it."""

from mail.decide.servers import Server
from mail.message.address import normalise, show_address
from mail.sentences import Why, why

PLACE = "<token>"  # in an envelope sender, for what names each recipient; no address has these characters
PLUS_TEST = "+test"  # how an address ends whose mail only shows that addresses with a plus arrive
LONGEST_ADDITION = 40
LONGEST_LOCAL_PART = 64  # RFC 5321 4.5.3.1.1


def for_each_recipient(bounce: str, server: Server, steps: list[Why], *, arrives: bool, untried: bool = False) -> str:
    """Return the bounce address with a place for what names each recipient (VERP), or as it is, and why.

    ``arrives``: mail to this address with an addition behind a plus has been seen. ``untried``: a server may be given
    it that has not shown that it takes it, for a person said so.
    """
    local, _, domain = bounce.rpartition("@")
    tagged = f"{local}+{PLACE}@{domain}"
    if server.verp is False:
        steps.append(why("envelope_verp_off", server=server.name))
    elif server.verp is None and not untried:
        steps.append(why("envelope_verp_untried", server=server.name))
    elif not arrives:
        steps.append(why("envelope_verp_not_seen", address=show_address("", f"{local}{PLUS_TEST}@{domain}")))
    elif not server.may_send_as(normalise(f"{local}+x@{domain}") or ""):
        steps.append(why("envelope_verp_not_in_filter", address=show_address("", bounce), server=server.name))
    elif len(local.encode()) + 1 + LONGEST_ADDITION > LONGEST_LOCAL_PART:
        steps.append(why("envelope_verp_too_long", address=show_address("", bounce)))
    else:
        steps.append(why("envelope_verp", address=show_address("", tagged)))
        return tagged
    return bounce


def bounce_address_of(envelope_sender: str, token: str) -> str:
    """Return the envelope sender of one recipient: with its token, if the mail has a place for one.

    >>> bounce_address_of("bounce+<token>@office.test", "b7k"), bounce_address_of("info@office.test", "b7k")
    ('bounce+b7k@office.test', 'info@office.test')
    """
    return envelope_sender.replace(PLACE, token)


def shared_by_all(envelope_sender: str) -> str:
    """Return the bounce address that all recipients share where they have one each, "" where they have none.

    >>> shared_by_all("bounce+<token>@office.test"), shared_by_all("info@office.test")
    ('bounce@office.test', '')
    """
    return envelope_sender.replace(f"+{PLACE}", "") if PLACE in envelope_sender else ""
