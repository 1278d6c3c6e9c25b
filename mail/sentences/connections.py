"""Connecting to mail servers, signing in, and the steps of a test (mail/transport)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "name_not_found": _l(
        "The server name %(host)s does not exist. Check it, letter by letter, against the settings from your email "
        "provider."
    ),
    "name_lookup_failed": _l(
        "The server name %(host)s could not be looked up (%(detail)s). %(again)s If the problem persists, ask your "
        "network administrator to check the name service (DNS) of this server."
    ),
    "address_not_allowed": _l(
        "%(host)s resolves to %(address)s, and this installation does not connect to such addresses. If the mail "
        "server is really inside your own network, the person who maintains this server can allow local addresses."
    ),
    "address_not_public": _l(
        "%(host)s does not resolve to a public address, and this installation connects to no others. Enter the name "
        "by which the mail server is reached from the internet."
    ),
    "port_not_allowed": _l(
        "Port %(port)s of %(host)s is not a mail port. Use 465 for TLS or 587 for STARTTLS, or ask the person who "
        "maintains this server to allow local addresses."
    ),
    "connection_refused": _l(
        "%(host)s was found, but nothing responds on port %(port)s. Check the port and the encryption (465 for TLS, "
        "587 for STARTTLS). If they are correct, ask the provider whether the service is running."
    ),
    "unreachable": _l(
        "Could not connect to %(host)s, port %(port)s (%(detail)s). Check the host and the port. A firewall may also "
        "block the port: ask your network administrator."
    ),
    "timed_out": Counted(
        "seconds",
        "%(host)s did not respond within %(seconds)s second. A firewall may be blocking the port, or the encryption "
        "may not match the port (465 for TLS, 587 for STARTTLS). %(again)s",
        "%(host)s did not respond within %(seconds)s seconds. A firewall may be blocking the port, or the encryption "
        "may not match the port (465 for TLS, 587 for STARTTLS). %(again)s",
    ),
    "fell_silent": Counted(
        "seconds",
        "%(host)s stopped responding: nothing came for %(seconds)s second. %(again)s",
        "%(host)s stopped responding: nothing came for %(seconds)s seconds. %(again)s",
    ),
    "connection_lost": _l(
        "%(host)s closed the connection before the email was handed over. Nothing was sent. %(again)s"
    ),
    "not_understood": _l(
        "The service at %(host)s, port %(port)s does not speak the expected mail protocol. Check the port, and that "
        "the encryption matches it (465 for TLS, 587 for STARTTLS)."
    ),
    "tls_failed": _l(
        "The encrypted connection to %(host)s could not be set up (%(detail)s). Check that the encryption matches the "
        "port (465 for TLS, 587 for STARTTLS). If it does, the provider must check the server."
    ),
    "starttls_missing": _l(
        "%(host)s does not offer STARTTLS on this port. Choose TLS with port 465, or ask the provider. Nothing was "
        "sent unencrypted."
    ),
    "certificate_refused": _l(
        "The certificate of %(host)s could not be verified (%(detail)s), so the identity of the server is uncertain. "
        "The provider must install a certificate from a public authority. If this is your own server, test the "
        "connection and press “Trust this certificate”."
    ),
    "certificate_expired": _l(
        "The certificate of %(host)s has expired. The provider must renew it. %(again)s If this is your own server, "
        "test the connection and press “Trust this certificate”."
    ),
    "certificate_changed": _l(
        "%(host)s presents another certificate than the one you trust, so nothing was sent. If it was replaced on your "
        "own server, test the connection and press “Trust this certificate”. Otherwise somebody may be in between: ask "
        "the person who maintains that server."
    ),
    "certificate_self_signed": _l(
        "%(host)s presents a self-signed certificate, which anyone could create. The provider must install one from a "
        "public authority. If this is your own server, test the connection and press “Trust this certificate”."
    ),
    "certificate_wrong_name": _l(
        "The certificate of %(host)s is for another name (%(detail)s). Enter the host name that the provider gives for "
        "sending. If this name is correct, the provider must correct the certificate; if this is your own server, test "
        "the connection and press “Trust this certificate”."
    ),
    "client_certificate_unusable": _l(
        "The client certificate or its key can't be used (%(detail)s). Paste both again as PEM text, the key without a "
        "password."
    ),
    "greeting_refused": _l(
        "%(host)s refuses connections from this server: “%(reply)s”. Ask the provider of %(host)s for the reason; it "
        "may have to allow the IP address of this server."
    ),
    "greeting_blocked": _l(
        "%(host)s refuses connections from this server because its IP address is on a blocklist or has a poor "
        "reputation: “%(reply)s”. Ask whoever provides the IP address to have it removed from the list, or send "
        "through another server."
    ),
    "greeting_no_reverse_name": _l(
        "%(host)s refuses connections from this server because its IP address has no valid host name (reverse DNS): "
        "“%(reply)s”. Ask whoever provides the IP address to set one, or send through another server."
    ),
    "greeting_no_service": _l(
        "%(host)s does not accept emails at all: “%(reply)s”. Enter the host name that the email provider gives for "
        "sending."
    ),
    "greeting_deferred": _l("%(host)s is not accepting connections right now: “%(reply)s”. %(again)s"),
    "too_many_connections": _l(
        "%(host)s does not accept more simultaneous connections: “%(reply)s”. CoquiMail uses fewer from now on. "
        "%(again)s"
    ),
    "helo_unusable": _l(
        "The HELO name “%(name)s” can't be used: enter a host name such as mail.example.com on the outgoing server, or "
        "leave it empty."
    ),
    "login_refused": _l(
        "%(host)s refused the user %(user)s: “%(reply)s”. Enter the user and the password again. Many providers "
        "require a special password for programs (“app password”)."
    ),
    "app_password_wanted": _l(
        "%(host)s does not accept the normal password of %(user)s: “%(reply)s”. Create a password for programs (“app "
        "password”) in that account and enter it on the outgoing server. With Google and Microsoft you can also sign "
        "in without a password."
    ),
    "password_login_off": _l(
        "%(host)s no longer accepts passwords: “%(reply)s”. The password itself is not the reason. Open the outgoing "
        "server and change its authentication to a sign-in with Google or Microsoft."
    ),
    "login_blocked": _l(
        "%(host)s does not let %(user)s log in: “%(reply)s”. The password may be correct, but the account or this "
        "server must be allowed first: log in to the account in a browser and look for a notice, or ask the provider."
    ),
    "login_deferred": _l(
        "%(host)s could not check the login of %(user)s right now: “%(reply)s”. The password may well be right. "
        "%(again)s"
    ),
    "login_not_offered": _l(
        "%(host)s offers no login method that CoquiMail supports (it offers: %(offered)s). Login is often offered only "
        "over an encrypted connection: choose STARTTLS or TLS, or set the authentication to none."
    ),
    "encryption_wanted": _l(
        "The server accepts this only over an encrypted connection: “%(reply)s”. Choose STARTTLS or TLS as the "
        "encryption of the outgoing server."
    ),
    "secret_unreadable": _l(
        "The stored password or key of “%(server)s” can't be read, because it was saved with another secret key "
        "(secret.key or COQUI_SECRET_KEY). Restore that key, or enter the password of the server again; emails wait "
        "until then."
    ),
    "mailbox_secret_unreadable": _l(
        "The stored password of “%(server)s” can't be read, because it was saved with another secret key (secret.key "
        "or COQUI_SECRET_KEY). Restore that key, or enter the password again; emails stay on their server until then."
    ),
    "delivery_unexpected": _l(
        "Something unexpected happened while this was being sent (%(error)s: %(detail)s). %(again)s If the problem "
        "persists, report it together with the log of the worker."
    ),
    "journal_failed": _l(
        "The sending journal can't be written (%(detail)s), so nothing is sent. The person who maintains this server "
        "must free disk space or correct the permissions of the data folder. Sending then resumes automatically."
    ),
    "test_name_found": _l("The name %(host)s was found: %(addresses)s."),
    "test_connected": _l("Connected to %(address)s, port %(port)s."),
    "test_greeting": _l("The server responded: “%(reply)s”."),
    "test_capabilities": _l("The server offers: %(offered)s."),
    "test_tls": _l("The connection is encrypted with %(version)s; the certificate is valid until %(expires)s."),
    "test_tls_expires_today": _l(
        "The connection is encrypted with %(version)s, but the certificate expires within 24 hours (%(expires)s). The "
        "provider must renew it, or emails will wait from then on."
    ),
    "test_tls_expires_soon": Counted(
        "days",
        "The connection is encrypted with %(version)s, but the certificate expires on %(expires)s, in %(days)s day. "
        "The provider must renew it, or emails will wait from then on.",
        "The connection is encrypted with %(version)s, but the certificate expires on %(expires)s, in %(days)s days. "
        "The provider must renew it, or emails will wait from then on.",
    ),
    "test_tls_unverified": _l(
        "The connection is encrypted with %(version)s, but the certificate is not verified. Turn verification on "
        "unless you know exactly why it is off."
    ),
    "test_tls_trusted": _l(
        "The connection is encrypted with %(version)s; the certificate is the one you trust (%(fingerprint)s)."
    ),
    "test_certificate_shown": _l(
        "The certificate presented is for %(subject)s and valid until %(expires)s. Its SHA-256 fingerprint: %(shown)s."
    ),
    "test_tls_off": _l("No encryption: the user, the password and all emails can be read in transit."),
    "test_tls_off_no_login": _l("No encryption: all emails can be read in transit."),
    "test_login": _l("The server accepted the user %(user)s."),
    "test_login_by_certificate": _l("The client certificate was presented; the server did not object."),
    "test_login_off": _l("This server has no login."),
    "test_mail_from": _l("The server accepts %(address)s as the sender."),
    "test_sender": _l("The server lets you send from %(address)s."),
    "test_default_elsewhere": _l(
        "%(address)s is not in FROM Filtering, and emails from other addresses go through “%(server)s”: a refusal "
        "matters only for a mailing that uses this server with another From address."
    ),
    "test_bounce_unused": _l(
        "Not used: %(address)s is not in FROM Filtering, so bounces go to the From address of each email. Add it to "
        "FROM Filtering to see them in CoquiMail."
    ),
    "test_sender_but_recipient": _l(
        "The server lets you send from %(address)s, but refused to deliver to %(recipient)s: “%(reply)s”. If that "
        "address is correct, ask the provider whether this user may send to it."
    ),
    "test_recipient": _l(
        "The server does not deliver to %(recipient)s: “%(reply)s”. If that is not your address any more, correct it "
        "in your account. Sending from %(address)s may work all the same."
    ),
    "test_sender_deferred": _l(
        "The server does not accept emails from %(address)s at the moment: “%(reply)s”. Test again in a few minutes."
    ),
    "test_not_tried": _l("Skipped because an earlier step failed."),
    "test_ran_out": Counted(
        "seconds",
        "The test is limited to %(seconds)s second, and the server responds too slowly to finish it. Test again when "
        "it is less busy.",
        "The test is limited to %(seconds)s seconds, and the server responds too slowly to finish it. Test again when "
        "it is less busy.",
    ),
    "test_out_of_time": Counted(
        "seconds",
        "Skipped: the test is limited to %(seconds)s second, and the earlier steps used it up.",
        "Skipped: the test is limited to %(seconds)s seconds, and the earlier steps used them up.",
    ),
}
