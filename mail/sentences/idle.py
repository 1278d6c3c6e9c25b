"""Waiting for emails with an open connection (scheduler/idling)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "mailbox_idle_missing": _l("%(host)s does not announce new emails (it offers no IMAP IDLE)."),
    "mailbox_idle_refused": _l(
        "%(host)s says that it announces new emails, but refused to: “%(reply)s”. CoquiMail asks again in an hour."
    ),
    "idle_too_many": _l(
        "%(host)s allows no more connections: “%(reply)s”. For an hour, CoquiMail connects to its mailboxes only while "
        "it fetches them."
    ),
    "idle_lost": Counted(
        "seconds",
        "%(host)s ended the connection. CoquiMail connects again after %(seconds)s second.",
        "%(host)s ended the connection. CoquiMail connects again after %(seconds)s seconds.",
    ),
}
