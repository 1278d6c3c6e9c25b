"""Whether a received email is from whom it names, and who says so (sender_proof.py, trust.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    "route_not_checked": _l(
        "It names %(address)s as its sender, and nothing proves that it is from there: marked as “Not checked”."
    ),
    "route_forged": _l(
        "It names %(address)s as its sender, but the receiving mail server did not confirm it: marked as “Not "
        "verified: may be forged”, and not treated as an email from that person."
    ),
    "route_verified": _l("The receiving mail server confirms that %(address)s is the sender."),
    "mark_not_checked": _l(
        "Not checked: this email names %(author)s as its author, but nothing proves it. Ask before you rely on it."
    ),
    "mark_forged": _l(
        "May be forged: this email names %(author)s as its author, but the receiving mail server did not confirm it. "
        "Ask before you rely on it."
    ),
    "mark_from_outside": _l("This reply to an internal note was sent by %(author)s, who is not a user."),
    "notice_forged_name": _l(
        "An email to %(address)s named %(sender)s as its sender and may be forged. It was rejected. If you wrote it, "
        "send it again through your usual mail server, or ask your administrator."
    ),
    "checked_by_no_server": _l(
        "Enter the first word of that server's Authentication-Results lines, such as mx.mycompany.com."
    ),
    "sender_checked_by_nobody": _l("The receiving mail server whose sender checks could be used is not known."),
    "sender_no_results": _l("%(server)s wrote no result of a sender check into this email."),
    "sender_hidden": _l("The sender's address is written in a way that %(server)s can't have checked."),
    "sender_verified_dmarc": _l("%(server)s checked the sender: DMARC passed for %(domain)s."),
    "sender_verified_dkim": _l("%(server)s checked the sender: a valid DKIM signature vouches for %(domain)s."),
    "sender_verified_spf": _l("%(server)s checked the sender: by SPF, the sending server may send for %(domain)s."),
    "sender_verified_login": _l("%(server)s checked the sender, who was signed in there as %(sender)s."),
    "sender_failed_dmarc": _l("%(server)s checked the sender: DMARC failed for %(domain)s."),
    "sender_failed_other": _l(
        "%(server)s checked the sender: SPF and DKIM vouch only for %(others)s, not for %(domain)s."
    ),
    "sender_failed": _l("%(server)s checked the sender: neither SPF nor DKIM vouches for %(domain)s."),
    "sender_check_broke_off": _l("%(server)s could not finish checking the sender %(domain)s."),
    "sender_has_nothing": _l(
        "%(server)s checked the sender, but %(domain)s has no SPF, DKIM or DMARC by which it could be told."
    ),
    "sender_behind_reply_to": _l(
        "Only the From address was checked. The author is taken from Reply-To, where anyone can write any address."
    ),
}
