"""Signing in with Google, Microsoft and others in place of a password, as servers see it (mail/transport/sasl.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "token_refused": _l(
        "%(host)s does not let %(user)s in: “%(reply)s”. The sign-in itself is valid. Check that %(user)s is a mailbox "
        "that this sign-in may use, and that its provider lets programs send from it. Then connect it again on the "
        "outgoing server."
    ),
    "mailbox_token_refused": _l(
        "%(host)s does not let %(user)s in: “%(reply)s”. The sign-in itself is valid. Check that %(user)s is a mailbox "
        "that this sign-in may use, and that IMAP or POP3 is turned on for it. Then connect it again here."
    ),
    "account_missing": _l(
        "“%(server)s” signs in with Google, Microsoft or another provider, but no account is connected yet. Open this "
        "server and press Connect; emails wait until then."
    ),
    "mailbox_account_missing": _l(
        "“%(server)s” signs in with Google, Microsoft or another provider, but no account is connected yet. Press "
        "Connect; emails stay on their server until then."
    ),
    "account_new": _l(
        "%(account)s is not connected yet. An administrator must open the server and press Connect; emails wait until "
        "then."
    ),
    "mailbox_account_new": _l(
        "%(account)s is not connected yet. Press Connect; emails stay on their server until then."
    ),
    "account_removed": _l(
        "The connected account of this server was removed. An administrator must open the server and press Connect; "
        "emails wait until then."
    ),
    "mailbox_account_removed": _l(
        "The connected account of this server was removed. Press Connect; emails stay on their server until then."
    ),
    "account_ended": _l(
        "The sign-in of %(account)s has ended. An administrator must connect it again; emails wait until then and are "
        "sent automatically afterwards."
    ),
    "mailbox_account_ended": _l(
        "The sign-in of %(account)s has ended. Connect it again; emails stay on their server until then."
    ),
    "account_later": _l(
        "The sign-in of %(account)s could not be renewed: %(reason)s Emails wait, and CoquiMail tries again "
        "automatically."
    ),
    "mailbox_account_later": _l(
        "The sign-in of %(account)s could not be renewed: %(reason)s Emails stay on their server, and CoquiMail tries "
        "again automatically."
    ),
    "account_unreadable": _l(
        "The stored sign-in of %(account)s can't be read, because it was saved with another secret key (secret.key or "
        "COQUI_SECRET_KEY). Restore that key, or connect the account again; emails wait until then."
    ),
    "mailbox_account_unreadable": _l(
        "The stored sign-in of %(account)s can't be read, because it was saved with another secret key (secret.key or "
        "COQUI_SECRET_KEY). Restore that key, or connect the account again; emails stay on their server until then."
    ),
    "account_renewal_failed": _l(
        "Something unexpected happened in CoquiMail (%(error)s). Copy client ID and client secret into the app "
        "registration again. If that does not help, see the log of the worker."
    ),
    "account_busy": _l("another process is renewing it."),
    "notice_account_ended": _l("Emails wait for %(account)s to be connected again at %(provider)s. %(reason)s"),
    "notice_account_stuck": _l(
        "The sign-in of %(account)s at %(provider)s could not be renewed, so its emails will wait. %(reason)s"
    ),
    "notice_account_ends": Counted(
        "days",
        "The sign-in of %(account)s at %(provider)s ends in %(days)s day, on %(on)s. Connect it again before "
        "then, or emails will wait.",
        "The sign-in of %(account)s at %(provider)s ends in %(days)s days, on %(on)s. Connect it again before then, "
        "or emails will wait.",
    ),
    "notice_secret_ends": Counted(
        "days",
        "The client secret of the app registration “%(provider)s” ends in %(days)s day, on %(on)s. Create a new "
        "one at the provider and enter it here before then, or emails will wait.",
        "The client secret of the app registration “%(provider)s” ends in %(days)s days, on %(on)s. Create a new "
        "one at the provider and enter it here before then, or emails will wait.",
    ),
    "notice_account_is_over": _l(
        "The sign-in of %(account)s at %(provider)s was due to end on %(on)s. Connect it again, or emails will wait."
    ),
    "notice_secret_is_over": _l(
        "The client secret of the app registration “%(provider)s” ended on %(on)s, by the date entered here. Create a "
        "new one at the provider and enter it here with its date, or emails will wait."
    ),
    "token_login_not_offered": _l(
        "%(host)s does not accept a sign-in with Google, Microsoft or another provider (it offers: %(offered)s). It is "
        "often offered only over an encrypted connection: choose STARTTLS or TLS, or use a password."
    ),
    "smtp_login_off": _l(
        "Microsoft 365 does not let programs send from %(user)s: “%(reply)s”. Neither the password nor the sign-in is "
        "the reason. An administrator of Microsoft 365 must turn on “Authenticated SMTP” for this mailbox (Users ‣ "
        "Active users ‣ Mail ‣ Manage email apps); it takes effect within an hour."
    ),
}
