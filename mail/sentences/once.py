"""What other emails wait for, said of a test email: it is tried once, so nothing is promised (tried_once.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "once_name_lookup_failed": _l(
        "The server name %(host)s could not be looked up (%(detail)s). Send another test email in a few minutes. If "
        "the problem persists, ask your network administrator to check the name service (DNS) of this server."
    ),
    "once_timed_out": Counted(
        "seconds",
        "%(host)s did not respond within %(seconds)s second. A firewall may be blocking the port, or the encryption "
        "may not match the port (465 for TLS, 587 for STARTTLS).",
        "%(host)s did not respond within %(seconds)s seconds. A firewall may be blocking the port, or the encryption "
        "may not match the port (465 for TLS, 587 for STARTTLS).",
    ),
    "once_fell_silent": Counted(
        "seconds",
        "%(host)s stopped responding: nothing came for %(seconds)s second. Send another test email in a few minutes.",
        "%(host)s stopped responding: nothing came for %(seconds)s seconds. Send another test email in a few minutes.",
    ),
    "once_connection_lost": _l(
        "%(host)s closed the connection before the email was handed over. Nothing was sent. Send another test email."
    ),
    "once_certificate_expired": _l(
        "The certificate of %(host)s has expired. The provider must renew it. If this is your own server, test the "
        "connection and press “Trust this certificate”."
    ),
    "once_greeting_deferred": _l(
        "%(host)s is not accepting connections right now: “%(reply)s”. Send another test email in a few minutes."
    ),
    "once_too_many_connections": _l(
        "%(host)s does not accept more simultaneous connections: “%(reply)s”. Send another test email in a few minutes."
    ),
    "once_login_deferred": _l(
        "%(host)s could not check the login of %(user)s right now: “%(reply)s”. The password may well be right; send "
        "another test email in a few minutes."
    ),
    "once_secret_unreadable": _l(
        "The stored password or key of “%(server)s” can't be read, because it was saved with another secret key "
        "(secret.key or COQUI_SECRET_KEY). Restore that key, or enter the password of the server again."
    ),
    "once_dkim_key_unreadable": _l(
        "The key %(selector)s that signs emails of %(domain)s (DKIM) can't be read, because it was stored under "
        "another COQUI_SECRET_KEY. Set the previous COQUI_SECRET_KEY again, or stop signing on the page "
        "Deliverability and create a new key."
    ),
    "once_delivery_unexpected": _l(
        "Something unexpected happened while this was being sent (%(error)s: %(detail)s). Send another test email; if "
        "the problem persists, report it together with the log of the worker."
    ),
    "once_journal_failed": _l(
        "The sending journal can't be written (%(detail)s), so nothing is sent. The person who maintains this server "
        "must free disk space or correct the permissions of the data folder."
    ),
    "once_practice_away": _l("The practice mailbox is not ready yet. Send another test email in a minute."),
    "once_account_missing": _l(
        "“%(server)s” signs in with Google, Microsoft or another provider, but no account is connected yet. Open this "
        "server and press Connect, then send another test email."
    ),
    "once_account_new": _l(
        "%(account)s is not connected yet. Open the server and press Connect, then send another test email."
    ),
    "once_account_removed": _l(
        "The connected account of this server was removed. Open the server and press Connect, then send another test "
        "email."
    ),
    "once_account_ended": _l(
        "The sign-in of %(account)s has ended. An administrator must connect it again; then send another test email."
    ),
    "once_account_later": _l(
        "The sign-in of %(account)s could not be renewed: %(reason)s Send another test email when this is fixed."
    ),
    "once_account_unreadable": _l(
        "The stored sign-in of %(account)s can't be read, because it was saved with another secret key (secret.key or "
        "COQUI_SECRET_KEY). Restore that key, or connect the account again."
    ),
}
