"""Mailboxes: waiting for emails with an open connection (scheduler/idling), and those of others."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "mailbox_shared_missing": _l(
        "%(user)s does not see a mailbox “%(mailbox)s” on %(host)s. Enter its name as a mail program shows it, or ask "
        "its owner or the provider to share it with %(user)s."
    ),
    "pop3_has_no_shared": _l("With a password, POP3 reads only your own mailbox. Choose IMAP."),
    "mailbox_address_wrong": _l("Enter a whole email address such as sales@mycompany.com, or leave this empty."),
    "mailbox_idle_missing": _l("%(host)s does not announce new emails (it offers no IMAP IDLE)."),
    "mailbox_idle_refused": _l(
        "%(host)s says that it announces new emails, but refused to: “%(reply)s”. CoquiMail asks again in an hour."
    ),
    "idle_too_many": _l(
        "%(host)s allows no more connections: “%(reply)s”. For an hour, CoquiMail connects to its mailboxes only while "
        "it fetches them."
    ),
    "notice_mailbox_fails": _l(
        "CoquiMail can't fetch the emails in the mailbox “%(server)s”; they stay on its server. %(reason)s"
    ),
    "idle_lost": Counted(
        "seconds",
        "%(host)s ended the connection. CoquiMail connects again after %(seconds)s second.",
        "%(host)s ended the connection. CoquiMail connects again after %(seconds)s seconds.",
    ),
}
