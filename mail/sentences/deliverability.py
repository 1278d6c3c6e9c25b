"""What the DNS of our domains says, and what to paste (mail/decide/deliverability.py and what it asks)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    # asking
    "dns_not_asked": _l("DNS has not been asked about %(name)s yet."),
    "dns_silent": _l(
        "The name server did not respond when asked about %(name)s (%(said)s), so nothing is known about its records. "
        "They may be fine. CoquiMail will check again. If the problem persists, ask your network administrator to "
        "check the name service (DNS) of this server."
    ),
    "dns_failed": _l(
        "The name server could not answer the question about %(name)s (%(said)s), so nothing is known about its "
        "records. If the problem persists, the name servers of that domain have a fault: ask its DNS provider."
    ),
    "dns_malformed": _l(
        "The response about %(name)s could not be read (%(said)s), so nothing is known about its records. Ask your "
        "network administrator to check the name service (DNS) of this server."
    ),
    # MX
    "mx_good": Counted(
        "count",
        "Email to %(domain)s is received by %(hosts)s, so replies and delivery reports can arrive.",
        "Email to %(domain)s is received by %(hosts)s, so replies and delivery reports can arrive.",
    ),
    "mx_missing": _l(
        "%(domain)s has no MX record: email to it, including replies and delivery reports, cannot arrive. Many "
        "receivers also reject email from such a domain. Add the MX record that your mailbox provider gives you."
    ),
    "mx_null": _l(
        "The MX record of %(domain)s says that it accepts no email. Replies and delivery reports cannot arrive, and "
        "many receivers reject email from such a domain. Replace it with the MX record that your mailbox provider "
        "gives you."
    ),
    "mx_by_address": _l(
        "%(domain)s has no MX record, so email to it goes to the address of its website. If no mail server runs there, "
        "replies are lost. Add the MX record that your mailbox provider gives you."
    ),
    "mx_host_missing": _l(
        "The MX record names %(host)s, which has no address. Email cannot be delivered there. Correct the MX record."
    ),
}
