"""Checks of the DNS of domains: how far they are, and what is told of their results (mail/deliverability)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "dns_asked": Counted("count", "Looked up %(count)s name in DNS.", "Looked up %(count)s names in DNS."),
    "dns_no_response": _l(
        "DNS could not be reached (%(said)s), so nothing is known about the records of %(domain)s. They may be fine. "
        "The person who maintains this server can check its name resolution, or set COQUI_DNS_RESOLVER."
    ),
    "dns_checked": _l("The check is complete."),
    "dns_domain_gone": _l("No email is sent from %(domain)s any more, so its DNS is not checked."),
    "dns_unreachable": Counted(
        "count",
        "DNS could not be reached, so %(count)s domain was not checked. What was known about it is kept.",
        "DNS could not be reached, so %(count)s domains were not checked. What was known about them is kept.",
    ),
    "dns_check_failed": _l(
        "The DNS of %(domain)s could not be checked; the check of the other domains went on. %(reason)s"
    ),
    "dns_worse": _l("Receivers trust emails from %(domain)s less than at the last check. %(what)s"),
    "dns_well_again": _l("Receivers trust emails from %(domain)s again as before."),
}
