"""Rehearsal mode: why it is on, what waits for its end, and what it leaves alone."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    "rehearsal_by": _l("%(user)s turned it on."),
    "rehearsal_by_command": _l("It was turned on from the command line."),
    "rehearsal_copied": _l(
        "The database may have been copied, moved or restored from a backup: it was on %(before)s and is now on "
        "%(here)s. %(sign)s"
    ),
    "rehearsal_copied_here": _l("The database on %(here)s may have been copied or restored from a backup. %(sign)s"),
    "rehearsal_sign_kind": _l("It is another kind of database than before."),
    "rehearsal_sign_cluster": _l(
        "PostgreSQL has a different system identifier; an upgrade of PostgreSQL to a new version changes it, too."
    ),
    "rehearsal_sign_oid": _l("The database has a different number (OID): it was created again."),
    "rehearsal_sign_tables": _l("Its tables were created again."),
    "rehearsal_sign_file": _l("The database file was created again."),
    "rehearsal_sign_machine": _l("The machine has a different ID (/etc/machine-id)."),
    "rehearsal_sign_original": _l("The previous database file is still at %(path)s."),
    "rehearsal_restored": _l("The database on %(here)s is older than it was: it was restored from a backup."),
    "rehearsal_restored_folder": _l(
        "The data folder of the database on %(here)s was copied or restored from a backup, and the database is no "
        "newer: it may have been restored with it."
    ),
    "rehearsal_other_address": _l(
        "The office is reached at %(here)s now and was at %(before)s before: it may have been copied."
    ),
    "rehearsal_holds": _l("Written before the rehearsal began: it waits until an administrator ends the rehearsal."),
    "rehearsal_holds_mailing": _l(
        "The rehearsal paused this mailing. Resumed now, its emails go to the practice mailbox and reach nobody."
    ),
    "rehearsal_is_over": _l(
        "This mailing was paused by a rehearsal that is over. Resume it only if its recipients are to receive it for "
        "real."
    ),
    "rehearsal_halts": _l("A rehearsal is just beginning or ending. Send another test email in a minute."),
    "rehearsal_leaves_pop3": _l(
        "Not fetched during this rehearsal: the real office would notice if somebody else reads its mailbox by POP3. "
        "The emails stay on the server."
    ),
    "rehearsal_left_unsent": _l("Not sent when the rehearsal ended, as %(user)s chose."),
    "rehearsal_sent_for_real": _l(
        "It went to the practice mailbox in a rehearsal. %(user)s had it sent for real when the rehearsal ended."
    ),
    "account_rehearsal": _l(
        "Sign-ins are not renewed during a rehearsal: that could end the sign-in of the real office."
    ),
    "mail_to_me_in_rehearsal": _l(
        "The email is in the practice mailbox: during a rehearsal nothing reaches %(address)s."
    ),
    "notice_rehearsal_began": _l("Rehearsal mode is on: no email reaches anybody. %(reason)s"),
    "notice_rehearsal_asks": _l(
        "Rehearsal mode is on: no email reaches anybody. %(reason)s If this is the real office, end the rehearsal."
    ),
    "notice_rehearsal_ended": _l("%(user)s ended the rehearsal: emails are sent for real again."),
}
