"""Requests of providers to confirm that emails are forwarded to us (mail/decide/forwarding.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    "route_forwarding": _l(
        "%(provider)s asks to confirm that emails are forwarded to %(address)s. No document is created: an "
        "administrator decides, and nothing is confirmed automatically."
    ),
    "route_forwarding_unknown": _l(
        "It looks like a request to confirm that emails are forwarded, but %(sender)s is not a known provider. If it "
        "is something else, route it to a document or a type."
    ),
    "route_forwarding_forged": _l(
        "It looks like a request by %(provider)s to confirm that emails are forwarded, but the receiving mail server "
        "did not confirm that %(sender)s sent it. It may be forged."
    ),
    "forwarding_done": _l("%(user)s marked the request to confirm forwarding as done."),
    "notice_forwarding": _l(
        "%(provider)s asks to confirm that emails are forwarded to %(address)s. Open the request to see whose emails "
        "they are."
    ),
    "notice_forwarding_doubted": _l(
        "An email from %(sender)s may be a request to confirm that emails are forwarded to %(address)s. It is in "
        "quarantine."
    ),
    "arrival_forwarding": _l(
        "No document would be created. Administrators would see the request under Receive by push, with its link or "
        "code."
    ),
    "arrival_forwarding_doubted": _l(
        "It would stay in quarantine until a person decides. Administrators would see its link or code there."
    ),
}
