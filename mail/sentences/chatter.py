"""Who is offered as a recipient of a message, and what became of files that are too large (mail/documents)."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    "offered_author": _l("sent the last email"),
    "offered_to": _l("in To of the email from %(author)s"),
    "offered_cc": _l("in Cc of the email from %(author)s"),
    "offered_to_doubted": _l("in To of an email whose sender is not verified: %(author)s"),
    "offered_cc_doubted": _l("in Cc of an email whose sender is not verified: %(author)s"),
}
