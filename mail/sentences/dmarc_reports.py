"""DMARC reports: how they are read and kept (mail/message/dmarc_report.py), and who sends as us "
"(mail/decide/who_sends.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    # the decision
    "route_dmarc": Counted(
        "emails",
        "This is a DMARC report: %(organisation)s received %(emails)s email that names %(domain)s as its sender.",
        "This is a DMARC report: %(organisation)s received %(emails)s emails that name %(domain)s as their sender.",
    ),
    "route_dmarc_passed": _l("All of them passed. Kept under Deliverability; nothing else to do."),
    "route_dmarc_failing": Counted(
        "sources",
        "%(sources)s address sent emails that failed (%(emails)s in all). Kept under Deliverability.",
        "%(sources)s addresses sent emails that failed (%(emails)s in all). Kept under Deliverability.",
    ),
    "route_dmarc_known": _l("This DMARC report of %(organisation)s (%(id)s) was received before: nothing to do."),
    "route_dmarc_not_ours": _l(
        "This is a DMARC report of %(organisation)s about %(domain)s, which is not a domain of yours: ignored."
    ),
    # what can't be read
    "unpacked_too_large": _l(
        "It looks like a DMARC report, but what is packed in it is larger than %(limit)s MB, or far larger than a "
        "report "
        "can be. It was not read."
    ),
    "unpacked_members": _l(
        "It looks like a DMARC report, but holds more than %(limit)s files. A report is one file, so it was not read."
    ),
    "unpacked_broken": _l("It looks like a DMARC report, but its file is damaged and can't be unpacked (%(error)s)."),
    "dmarc_not_xml": _l("It looks like a DMARC report, but what it holds is not the XML of a report (%(error)s)."),
    "dmarc_has_doctype": _l(
        "It looks like a DMARC report, but declares a document type. Reports have none, and it could do harm, so it "
        "was "
        "not read."
    ),
    "dmarc_other_root": _l("It looks like a DMARC report, but what it holds is another kind of XML (“%(name)s”)."),
    "dmarc_too_deep": _l(
        "It looks like a DMARC report, but its XML is nested deeper than any report. It was not read."
    ),
    "dmarc_incomplete": _l(
        "It looks like a DMARC report, but does not say about which domain, from whom, or for which days."
    ),
    # who sends
    "sender_own_both": _l("Your server “%(server)s”: SPF and DKIM vouch for its emails."),
    "sender_own_dkim": _l("Your server “%(server)s”: DKIM vouches for its emails, SPF does not. One is enough."),
    "sender_own_spf": _l(
        "Your server “%(server)s”: SPF vouches for its emails, DKIM does not. One is enough, but SPF breaks when an "
        "email is "
        "forwarded."
    ),
    "sender_own_failing": _l(
        "Your server “%(server)s” sent them, and neither SPF nor DKIM vouched for them. Correct the records under "
        "Deliverability, or receivers will refuse these emails."
    ),
    "sender_service_dkim": _l(
        "No server of yours, but it signs with your key (%(domain)s): a service that you set up."
    ),
    "sender_service_spf": _l(
        "No server of yours, but your SPF record allows it (%(domain)s): a service that you set up."
    ),
    "sender_forwarded": _l(
        "The receiver believes that these emails were forwarded, by %(domain)s: a mailing list, or the forwarding of "
        "somebody's mailbox. That breaks SPF and often DKIM. Nothing to do."
    ),
    "sender_stranger": _l(
        "No server of yours, and nothing vouches for it. Somebody forges your domain, or a service of yours (a shop, a "
        "newsletter) is missing from your records. If you know it, add it."
    ),
    "sender_stranger_named": _l(
        "No server of yours, and nothing vouches for it. It names %(domain)s. If that is a service of yours (a shop, a "
        "newsletter), add it to your records; if not, somebody forges your domain, or forwards an email."
    ),
    "sender_treated_none": Counted(
        "emails", "%(emails)s was delivered all the same.", "%(emails)s were delivered all the same."
    ),
    "sender_treated_quarantine": Counted(
        "emails", "%(emails)s was put into the spam folder.", "%(emails)s were put into the spam folder."
    ),
    "sender_treated_reject": Counted("emails", "%(emails)s was refused.", "%(emails)s were refused."),
}
