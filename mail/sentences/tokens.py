"""Signing in with Google, Microsoft and others in place of a password, as servers see it (mail/transport/sasl.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

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
