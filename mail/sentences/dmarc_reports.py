"""DMARC reports (mail/message/dmarc_report.py) and who sends as us (mail/decide/who_sends.py)."""

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
    "route_dmarc_passed": _l("All of them passed. Recorded under Deliverability; nothing else to do."),
    "route_dmarc_failing": Counted(
        "sources",
        "%(sources)s address sent emails that failed (failed emails: %(emails)s). Recorded under Deliverability.",
        "%(sources)s addresses sent emails that failed (failed emails: %(emails)s). Recorded under Deliverability.",
    ),
    "route_dmarc_left_out": Counted(
        "emails",
        "It lists too many addresses: %(emails)s email of further ones is counted without its address.",
        "It lists too many addresses: %(emails)s emails of further ones are counted without their addresses.",
    ),
    "route_dmarc_known": _l("This DMARC report from %(organisation)s (%(id)s) was received before: nothing to do."),
    "route_dmarc_not_ours": _l(
        "This is a DMARC report from %(organisation)s about %(domain)s, which is not one of your domains: ignored."
    ),
    "route_tls_report": _l(
        "This is a report about encrypted connections (SMTP TLS Reporting). CoquiMail does not read such reports: "
        "ignored."
    ),
    # what can't be read
    "unpacked_too_large": _l(
        "It looks like a DMARC report, but unpacked it is larger than %(limit)s MB, or far larger than a report can "
        "be. It was not read."
    ),
    "unpacked_members": _l(
        "It looks like a DMARC report, but contains more than %(limit)s files. A report is a single file, so it was "
        "not read."
    ),
    "unpacked_broken": _l("It looks like a DMARC report, but its file is damaged and can't be unpacked (%(error)s)."),
    "dmarc_out_of_time": _l(
        "It looks like a DMARC report, but for the days from %(begin)s to %(end)s. That can't be right: a report is "
        "about the days before it was sent."
    ),
    "dmarc_not_xml": _l("It looks like a DMARC report, but its content is not readable XML (%(error)s)."),
    "dmarc_has_doctype": _l(
        "It looks like a DMARC report, but declares a document type. Reports never do, and it could be harmful, so it "
        "was not read."
    ),
    "dmarc_other_root": _l("It looks like a DMARC report, but contains another kind of XML (“%(name)s”)."),
    "dmarc_too_deep": _l(
        "It looks like a DMARC report, but its XML is nested deeper than in any report. It was not read."
    ),
    "dmarc_too_much": _l(
        "It looks like a DMARC report, but its XML has more elements, names or attributes than any report. It was not "
        "read."
    ),
    "dmarc_incomplete": _l("It looks like a DMARC report, but does not name its domain, its sender or its days."),
    # who sends
    "sender_own_both": _l("Your server “%(server)s”: SPF and DKIM vouch for its emails."),
    "sender_own_dkim": _l("Your server “%(server)s”: DKIM vouches for its emails, SPF does not. One is enough."),
    "sender_own_spf": _l(
        "Your server “%(server)s”: SPF vouches for its emails, DKIM does not. One is enough, but SPF fails when an "
        "email is forwarded."
    ),
    "sender_own_failing": _l(
        "Your server “%(server)s” sent them, but neither SPF nor DKIM vouches for them. Check the records under "
        "Deliverability, or receivers may refuse these emails."
    ),
    "sender_shared_both": _l(
        "Sent through the provider of your server “%(server)s”: SPF and DKIM vouch for its emails."
    ),
    "sender_shared_dkim": _l(
        "Sent through the provider of your server “%(server)s”: DKIM vouches for its emails, SPF does not. One is "
        "enough."
    ),
    "sender_shared_spf": _l(
        "Sent through the provider of your server “%(server)s”: SPF vouches for its emails, DKIM does not. One is "
        "enough, but SPF fails when an email is forwarded."
    ),
    "sender_shared_failing": _l(
        "Sent through the provider of your server “%(server)s” and named after your domain, but neither SPF nor DKIM "
        "vouches for them. Check the records under Deliverability, or receivers may refuse these emails."
    ),
    "sender_provider": _l(
        "Sent through the provider of your server “%(server)s”, perhaps not from your account: neither SPF nor DKIM "
        "vouches for them. If you recognize them, check the records under Deliverability. If not, another customer is "
        "forging your domain or forwarding emails."
    ),
    "sender_service_dkim": _l("Not a known server of yours, but it signs as %(domain)s: a service that you set up."),
    "sender_service_spf": _l(
        "Not a known server of yours, but the SPF record of %(domain)s allows it: a service that you set up."
    ),
    "sender_forwarded": _l(
        "The receiver believes that these emails were forwarded (%(domain)s), by a mailing list or from another "
        "mailbox. Forwarding breaks SPF and often DKIM. Nothing to do."
    ),
    "sender_stranger": _l(
        "Not a known server of yours, and nothing vouches for it. Someone is forging your domain, or a service of "
        "yours (such as a shop or newsletter) is missing from your records. If you recognize it, add it."
    ),
    "sender_stranger_named": _l(
        "Not a known server of yours, and nothing vouches for it. It names %(domain)s. If that is a service of yours "
        "(such as a shop or newsletter), add it to your records. If not, someone is forging your domain or forwarding "
        "emails."
    ),
    "sender_treated_none": Counted(
        "emails",
        "%(emails)s was delivered anyway.",
        "%(emails)s were delivered anyway.",
    ),
    "sender_treated_quarantine": Counted(
        "emails",
        "%(emails)s was moved to the spam folder.",
        "%(emails)s were moved to the spam folder.",
    ),
    "sender_treated_reject": Counted(
        "emails",
        "%(emails)s was refused.",
        "%(emails)s were refused.",
    ),
}
