"""What would become of an email that arrived: the route simulator (mail/maintenance/simulate_arrival.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    # why nothing can be said
    "arrival_nothing_given": _l("Paste an email, choose a file, or fill in From and To."),
    "arrival_not_kept": _l("The original of this email was not kept. Paste it, or fill in From, To and Subject."),
    "arrival_takes_long": _l(
        "Reading this email takes longer than a page can wait. The worker would read it in the background, within its "
        "own limits. Simulate only its header."
    ),
    # what would become of it
    "arrival_duplicate": _l("Nothing: the same email has already reached every one of its destinations."),
    "arrival_ignored": _l("Nothing: it would be listed under Received emails as ignored."),
    "arrival_report": _l("It would be recorded as a report. Nobody gets a reply."),
    "arrival_hard": _l("%(address)s would be marked as bounced: the mailbox does not exist."),
    "arrival_soft": _l("%(address)s would be marked as bounced."),
    "arrival_blocked": _l("%(address)s would be marked as bounced: refused because of the content or the sender."),
    "arrival_full": _l("%(address)s would be marked as bounced: the mailbox is full."),
    "arrival_complaint": _l("%(address)s would be added to the blacklist, because of the complaint."),
    "arrival_report_blames_nobody": _l("It counts against none of the addresses that you wrote to."),
    "arrival_aggregate": _l("The DMARC report about %(domain)s would be stored."),
    "arrival_self_test": _l("It would be noted with the test of an outgoing server."),
    "arrival_auto_note": _l("It would be posted as an internal note on %(document)s. Nobody is notified."),
    "arrival_note": _l("It would be posted as an internal note on %(document)s."),
    "arrival_reply": _l("It would be posted on %(document)s."),
    "arrival_post": _l("It would be posted on %(document)s, the fixed document of the alias."),
    "arrival_document": _l("It would create a new document: %(type)s “%(title)s”."),
    "arrival_replied": _l("The recipient of the mailing “%(mailing)s” would be marked as having replied."),
    "arrival_unsubscribed": _l("The recipient of the mailing “%(mailing)s” would be unsubscribed."),
    "arrival_rejected": _l("It would be rejected. The reply below would be sent to %(address)s."),
    "arrival_refused_silently": _l("It would be ignored: it is not accepted, and its sender would not get a reply."),
    "arrival_quarantined": _l("It would stay in quarantine until a person decides."),
    "arrival_held": _l(
        "It would stay in quarantine, together with the other emails that look like a loop, until a person decides."
    ),
    "arrival_contact": _l("%(who)s would be added to the contacts, and follow the document."),
    "arrival_contact_only": _l("%(who)s would be added to the contacts."),
    "arrival_responsible": _l("%(who)s would be responsible for it."),
    "arrival_files": Counted("n", "%(n)s attachment would be kept.", "%(n)s attachments would be kept."),
    "arrival_no_files": _l("Its attachments would not be kept: the incoming server is set that way."),
    # who would be told, and who would not
    "arrival_told_nobody": _l("Nobody would be notified."),
    "arrival_named": _l("because the email uses this name"),
    "arrival_has_it": _l("already has this email: in To or Cc, or as its sender"),
    "arrival_is_author": _l("wrote it"),
    "arrival_inside_only": _l("internal notes only reach users"),
    "arrival_inactive": _l("is archived or deactivated"),
    "arrival_no_address": _l("has no email address"),
}
