"""Signatures on emails (DKIM): who signs, and how a key gets there (mail/decide/signing.py, mail/outgoing/dkim.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    "dkim_signs": _l("The email is signed for %(domain)s (DKIM)."),
    "dkim_signs_above": _l("The email is signed for %(domain)s (DKIM), because %(sender)s has no key of its own."),
    "dkim_no_key": _l("The email is not signed (DKIM): no key of %(domain)s is in use."),
    "dkim_server_signs": _l("CoquiMail does not sign the email (DKIM): “%(server)s” signs emails itself."),
    "dkim_new_key_waits": _l(
        "A new key of %(domain)s already waits for its record. Add that record to DNS, or discard the key first."
    ),
    "dkim_not_seen": _l(
        "Signing was not turned on: the record of the key is not in the DNS of %(domain)s yet. Emails with a signature "
        "that nobody can check may be refused."
    ),
    "dkim_key_in_use": _l("The key %(selector)s signs the emails of %(domain)s. Stop signing before you remove it."),
    "dkim_not_your_domain": _l(
        "No key was made: %(domain)s belongs to %(owner)s, and only they can add records to its DNS."
    ),
    "dkim_key_needed": _l(
        "The key %(selector)s was not removed: emails that it signed may still be on their way. Keep its record in the "
        "DNS of %(domain)s until %(on)s, then remove the key."
    ),
    "dkim_removable": _l(
        "An old key of %(domain)s is no longer needed. Delete its record %(record)s in DNS, then remove the key."
    ),
    "dkim_key_lost": _l(
        "Signing was not turned on: the key %(selector)s of %(domain)s can't be read, because it was stored under "
        "another COQUI_SECRET_KEY. Set the previous COQUI_SECRET_KEY again, or remove the key and create a new one."
    ),
    "dkim_key_unreadable": _l(
        "The email waits: the key %(selector)s that signs emails of %(domain)s (DKIM) can't be read, because it was "
        "stored under another COQUI_SECRET_KEY. Set the previous COQUI_SECRET_KEY again, or stop signing on the page "
        "Deliverability and create a new key."
    ),
}
