"""Bounces and the blacklist (mail/decide/blacklist.py, mail/incoming/reports.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "bounced_hard": _l(
        "The email bounced: the mailbox %(address)s does not exist (“%(text)s”). Ask the recipient for the correct "
        "address and update it."
    ),
    "bounced_soft": _l("The email to %(address)s bounced (“%(text)s”). Send it again later, or call the recipient."),
    "bounced_blocked": _l(
        "The recipient's server refused the email to %(address)s because of its content or its sender (“%(text)s”). "
        "Change the content, or ask the recipient to allow your emails."
    ),
    "bounced_full": _l("The mailbox %(address)s is full (“%(text)s”). Send it again later, or call the recipient."),
    "bounce_names_nobody": _l(
        "A report says that one of the recipients did not get this email, but not which one (“%(text)s”). Contact the "
        "recipients who do not reply."
    ),
    "bounce_detector_failed": _l("Part of the report could not be examined (%(error)s)."),
    "bounce_detectors_missing": _l(
        "Bounces in unusual forms are not understood, because the Python package flufl.bounce is missing on the "
        "server. Install requirements.txt again, then restart CoquiMail."
    ),
    "blacklist_due": Counted(
        "count",
        "%(count)s bounce in the last %(days)s days (limit %(bounces)s), first and last %(apart)s days apart (minimum "
        "%(spread_days)s): the address is considered invalid and gets no more mailings.",
        "%(count)s bounces in the last %(days)s days (limit %(bounces)s), first and last %(apart)s days apart (minimum "
        "%(spread_days)s): the address is considered invalid and gets no more mailings.",
    ),
    "blacklist_not_due": _l(
        "%(count)s of %(bounces)s bounces in %(days)s days, %(apart)s of %(spread_days)s days apart."
    ),
    "blacklist_complaint": _l("Blacklisted: the recipient reported our email as spam."),
    "blacklist_manual": _l("Blacklisted by %(user)s."),
    "blacklist_manual_reason": _l("Blacklisted by %(user)s: %(reason)s."),
    "blacklist_unsubscribed": _l("Blacklisted: the recipient no longer wants any mailings."),
    "blacklist_removed": _l("Removed from the blacklist by %(user)s: %(reason)s. Only new bounces are counted."),
}
