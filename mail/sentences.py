"""Every explanation the product gives, in one table: a code becomes a sentence here and nowhere else.

Decisions, steps, reasons and failures are stored as ``{"code": ..., "values": {...}}`` so that a mail of last year can
still be explained, in the reader's language.
"""

import re
from typing import Any, NamedTuple, TypedDict

from flask_babel import get_translations
from flask_babel import lazy_gettext as _l


class Why(TypedDict):
    """An explanation as it is stored: a code of ``SENTENCES`` and the values that its sentence names."""

    code: str
    values: dict[str, Any]


class Counted(NamedTuple):
    """A sentence in singular and plural; the value that ``by`` names decides which one is said."""

    by: str
    one: str
    many: str


_MERGE_FIELD = re.compile(r'\{\{[^{}"]*(?:"([^"]*)")?[^{}"]*\}\}')


def why(code: str, /, **values: Any) -> Why:
    """Return an explanation to store; an unknown code is a mistake of ours and fails at once.

    >>> why("no_server")
    {'code': 'no_server', 'values': {}}
    """
    if code not in SENTENCES:
        raise KeyError(code)
    return {"code": code, "values": values}


def say(reason: Why | None) -> str:
    """Return the sentence for a stored explanation, in the language of the reader ("" for none)."""
    if not reason:
        return ""
    sentence = SENTENCES.get(reason["code"])
    if sentence is None:
        return reason["code"]
    values = _Named({name: _shown(name, value) for name, value in reason["values"].items()})
    if isinstance(sentence, Counted):
        text: str = get_translations().ungettext(sentence.one, sentence.many, _number(values[sentence.by]))
    else:
        text = str(sentence)
    return text % values


def _number(value: Any) -> int:
    """Return the number that decides between singular and plural; anything else takes the plural."""
    return int(value) if str(value).isdecimal() else 0


def _shown(name: str, value: Any) -> Any:
    """Return a value as a sentence shows it: in the subject of a mailing no merge field is left.

    >>> _shown("mailing", 'News for {{ contact.first_name or "you" }} of {{contact.company}}')
    'News for you of …'
    """
    if name not in ("mailing", "subject") or not isinstance(value, str):
        return value
    return _MERGE_FIELD.sub(lambda field: field[1] or "…", value)


class _Named(dict[str, Any]):
    """Values for a sentence; one that an old record does not have is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


SENTENCES: dict[str, Any] = {
    # --- the choice of the outgoing server and the From (servers.py, sender.py)
    "no_server": _l(
        "No mail server is left to send through. Activate one under Outgoing Email Servers, with Custom Email Servers "
        "turned on under General Settings."
    ),
    "server_off": _l(
        "The outgoing server “%(server)s” assigned to this email is turned off. Turn it on or choose another one. "
        "Nothing was sent through another server."
    ),
    "server_gone": _l(
        "The outgoing server assigned to this email no longer exists. Choose another one. Nothing was sent through "
        "another server."
    ),
    "filter_blank": _l(
        "The From filter contains only spaces or commas. Leave it empty, or enter a domain or an address."
    ),
    "filter_entry_invalid": _l(
        "“%(entry)s” is neither a domain nor an address. Enter values such as example.com or sales@example.com, "
        "separated by commas."
    ),
    "search_forced": _l("This email is assigned to the server “%(server)s”, so there is no search."),
    "search_custom_off": _l("Custom Email Servers is turned off, so the default server is used."),
    "search_no_record": _l("No outgoing server is active, so the default server is used."),
    "search_custom_off_alone": _l("Custom Email Servers is turned off, and there is no default server."),
    "search_no_record_alone": _l("No outgoing server is active, and there is no default server."),
    "search_no_sender": _l("%(number)s. Skipped: the email has no usable From address."),
    "search_no_default": _l("%(number)s. Skipped: there is no default address (mail.default.from)."),
    "search_address": _l("%(number)s. A server whose From filter contains the address %(wanted)s: none of %(count)s."),
    "search_address_found": _l("%(number)s. A server whose From filter contains the address %(wanted)s: “%(server)s”."),
    "search_domain": _l("%(number)s. A server whose From filter contains the domain %(wanted)s: none of %(count)s."),
    "search_domain_found": _l("%(number)s. A server whose From filter contains the domain %(wanted)s: “%(server)s”."),
    "search_no_filter": _l("%(number)s. A server without a From filter: none of %(count)s."),
    "search_no_filter_found": _l("%(number)s. A server without a From filter: “%(server)s”."),
    "search_own_default": _l(
        "%(number)s. A server whose From filter contains the default address of the sender's domain, %(wanted)s: none "
        "of %(count)s."
    ),
    "search_own_default_found": _l(
        "%(number)s. A server whose From filter contains the default address of the sender's domain, %(wanted)s: "
        "“%(server)s”."
    ),
    "search_default_address": _l(
        "%(number)s. A server whose From filter contains the default address %(wanted)s: none of %(count)s."
    ),
    "search_default_address_found": _l(
        "%(number)s. A server whose From filter contains the default address %(wanted)s: “%(server)s”."
    ),
    "search_default_domain": _l(
        "%(number)s. A server whose From filter contains the domain of the default address, %(wanted)s: none of "
        "%(count)s."
    ),
    "search_default_domain_found": _l(
        "%(number)s. A server whose From filter contains the domain of the default address, %(wanted)s: “%(server)s”."
    ),
    "search_first_found": _l("%(number)s. The first server by priority: “%(server)s”."),
    "search_more": Counted("count", "… and %(count)s more server.", "… and %(count)s more servers."),
    "server_chosen": _l("“%(server)s” (priority %(priority)s) matches and comes first."),
    "server_later": _l("“%(server)s” (priority %(priority)s) also matches, but comes later."),
    "server_other_filter": _l("“%(server)s” does not match: its From filter is %(filter)s."),
    "server_without_filter": _l("“%(server)s” does not match: it has no From filter."),
    "server_has_filter": _l("“%(server)s” does not match: its From filter is %(filter)s."),
    "default_filter_parameter": _l("The From filter of the default server is set by the system parameter: %(filter)s."),
    "default_filter_environment": _l("The From filter of the default server is set by the environment: %(filter)s."),
    "default_filter_none": _l("The default server has no From filter."),
    "from_missing": _l(
        "The email has no From address, and there is no default address to send it from. Set the system parameter "
        "mail.default.from, then send it again."
    ),
    "from_invalid": _l(
        "“%(sender)s” contains no usable address, and there is no default address to send the email from. Correct the "
        "From address, or set the system parameter mail.default.from, then send it again."
    ),
    "from_default": _l(
        "The email has no usable From address (“%(sender)s”), so it is sent from the default address %(address)s."
    ),
    "from_first_of_several": _l("The From field contains several addresses; the first one, %(address)s, is used."),
    "from_in_filter": _l("The From address %(address)s is kept: the filter of “%(server)s” contains %(entry)s."),
    "from_on_alias_domain": _l("The From address %(address)s is kept: %(domain)s is the alias domain."),
    "from_on_our_domain": _l("The From address %(address)s is kept: %(domain)s is one of our domains."),
    "from_in_other_filter": _l(
        "The From address %(address)s is kept: it is one of ours, because the filter of “%(server)s” contains it."
    ),
    "from_kept_by_server": _l("The From address %(address)s is kept: “%(server)s” is set to always keep it."),
    "from_kept_no_default": _l(
        "The From address %(address)s is kept, because there is no default address to replace it."
    ),
    "from_is_default": _l("The From address is already the default address %(address)s."),
    "from_not_in_filter": _l(
        "The filter of “%(server)s” (%(filter)s) does not contain %(address)s: the email is sent from %(default)s "
        "under the author's name."
    ),
    "from_not_ours": _l(
        "%(address)s is not one of our addresses, and its domain may not allow us to send from it: the email is sent "
        "from %(default)s under the author's name."
    ),
    "from_not_verified": _l(
        "The email came in with the From address %(address)s, which is one of ours, and nothing proves who wrote it: "
        "it is sent from %(default)s under the author's name."
    ),
    "from_not_verified_alone": _l(
        "The email came in with the From address %(address)s, which is one of ours, and nothing proves who wrote it. "
        "There is no default address to send it from: set the system parameter mail.default.from, then press Retry."
    ),
    "from_always_rewritten": _l(
        "“%(server)s” is set to rewrite every From address: the email is sent from %(default)s under the author's name."
    ),
    "from_needs_smtputf8": _l(
        "%(address)s has characters before the @ that only a server with SMTPUTF8 accepts; other servers will refuse "
        "the email."
    ),
    "no_default_address": _l(
        "“%(server)s” may refuse %(address)s, and there is no default address to send from. Set the system parameters "
        "mail.default.from and mail.catchall.domain."
    ),
    "default_not_in_filter": _l(
        "The default address %(address)s is not in the filter of “%(server)s” (%(filter)s) either: the server may "
        "refuse the email. Add it to the filter, or change mail.default.from."
    ),
    "domain_own": _l(
        "The email is sent from %(domain)s, one of our domains: its own reply and bounce addresses apply."
    ),
    "domain_first": _l(
        "The email is sent from %(domain)s: the reply and bounce addresses of the alias domain %(first)s apply."
    ),
    "domain_not_in_filter": _l(
        "The email is sent from %(domain)s, one of our domains, but the filter of “%(server)s” does not contain it: "
        "the reply and bounce addresses of the alias domain %(first)s apply."
    ),
    "envelope_first_domain": _l(
        "The filter of “%(server)s” does not contain the bounce address %(wanted)s, so that of the alias domain is "
        "used."
    ),
    "envelope_bounce": _l("Delivery failures go to the bounce address %(address)s."),
    "envelope_verp": _l(
        "Each recipient gets a bounce address of their own, %(address)s, so that a returned email names its recipient."
    ),
    "envelope_verp_off": _l("All recipients share one bounce address, because “%(server)s” is set up that way."),
    "envelope_verp_not_seen": _l(
        "All recipients share one bounce address, because no email to %(address)s has arrived yet: returned emails "
        "could be lost."
    ),
    "envelope_verp_not_in_filter": _l(
        "All recipients share one bounce address, because the filter of “%(server)s” contains only %(address)s, not "
        "its domain."
    ),
    "envelope_verp_too_long": _l(
        "All recipients share one bounce address, because %(address)s is too long for an addition before the @."
    ),
    "envelope_given": _l("Delivery failures go to %(address)s, as specified in the email."),
    "envelope_null": _l("Delivery failures go nowhere: the email is an automatic reply."),
    "envelope_not_in_filter": _l(
        "Delivery failures go to the From address %(address)s: the filter of “%(server)s” does not contain %(wanted)s."
    ),
    "envelope_no_bounce_address": _l(
        "Delivery failures go to the From address %(address)s: without mail.catchall.domain there is no bounce address."
    ),
    "reply_to_given": _l("Replies go to %(reply_to)s, as specified in the email."),
    "reply_to_invalid": _l("“%(reply_to)s” contains no usable address, so it is not used for replies."),
    "reply_to_alias": _l("Replies go to the alias of the document type, %(address)s."),
    "reply_to_catchall": _l("Replies go to the catchall address %(address)s."),
    "reply_to_author": _l("Replies go to the author, %(address)s."),
    "needs_smtputf8": _l(
        "The address %(address)s has characters before the @ that the outgoing server does not accept (it does not "
        "offer SMTPUTF8). Use another address, or a server that offers SMTPUTF8."
    ),
    "sender_needs_smtputf8": _l(
        "The email is sent as %(address)s, which has letters before the @ that the outgoing server can't take (it does "
        "not offer SMTPUTF8). Send it from another address, or through a server that offers SMTPUTF8; the recipient's "
        "address is fine."
    ),
    # --- composing and delivering (compose.py, retry.py, transport/smtp.py)
    # --- connecting and testing (transport/smtp_session.py, smtp_check.py, mailbox.py, imap.py, pop3.py)
    "name_not_found": _l(
        "The server name %(host)s does not exist. Check it, letter by letter, against the settings from your email "
        "provider."
    ),
    "name_lookup_failed": _l(
        "The server name %(host)s could not be looked up (%(detail)s). CoquiMail will try again automatically. If the "
        "problem persists, ask your network administrator to check the name service (DNS) of this server."
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
        "Port %(port)s of %(host)s is not a mail port. Use one of %(ports)s, or ask the person who maintains this "
        "server to allow local addresses."
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
        "may not match the port (465 for TLS, 587 for STARTTLS). CoquiMail will try again automatically.",
        "%(host)s did not respond within %(seconds)s seconds. A firewall may be blocking the port, or the encryption "
        "may not match the port (465 for TLS, 587 for STARTTLS). CoquiMail will try again automatically.",
    ),
    "connection_lost": _l(
        "%(host)s closed the connection before the email was handed over. Nothing was sent. CoquiMail will try again "
        "automatically."
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
        "The certificate of %(host)s has expired. The provider must renew it; emails wait until then. If this is your "
        "own server, test the connection and press “Trust this certificate”."
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
    "greeting_deferred": _l(
        "%(host)s is not accepting connections right now: “%(reply)s”. CoquiMail tries again automatically."
    ),
    "too_many_connections": _l(
        "%(host)s does not accept more simultaneous connections: “%(reply)s”. CoquiMail uses fewer from now on and "
        "tries again automatically."
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
        "password”) in that account and enter it on the outgoing server."
    ),
    "password_login_off": _l(
        "The provider has turned off sending with user and password: “%(reply)s”. The password of %(user)s is not the "
        "reason. Ask the administrator of that account to allow it (“Authenticated SMTP”), or send through another "
        "server."
    ),
    "login_blocked": _l(
        "%(host)s does not let %(user)s log in: “%(reply)s”. The password may be correct, but the account or this "
        "server must be allowed first: log in to the account in a browser and look for a notice, or ask the provider."
    ),
    "login_deferred": _l(
        "%(host)s could not check the login of %(user)s right now: “%(reply)s”. The password may well be right; "
        "CoquiMail tries again automatically."
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
        "Something unexpected happened while this was being sent (%(error)s: %(detail)s). CoquiMail tries again "
        "automatically; if the problem persists, report it together with the log of the worker."
    ),
    "journal_failed": _l(
        "The sending journal can't be written (%(detail)s), so nothing is sent. The person who maintains this server "
        "must free disk space or correct the permissions of the data folder. Sending then resumes automatically."
    ),
    "refused": _l(
        "The server refused the email: “%(reply)s”. It will not be retried automatically. Fix the cause given by the "
        "server, then send it again."
    ),
    "sender_refused": _l(
        "The server refused to send from %(address)s: “%(reply)s”. The user of the server must be allowed to send "
        "from this address: ask the provider, or choose another From filter or default address."
    ),
    "sender_not_found": _l(
        "The server refused the sender %(address)s because that address or its domain can't be found: “%(reply)s”. "
        "Check the address and the DNS records of its domain."
    ),
    "sender_not_found_now": _l(
        "The server can't find the sender %(address)s or its domain at the moment: “%(reply)s”. Check the DNS records "
        "of the domain. CoquiMail will try again automatically."
    ),
    "account_blocked": _l(
        "The email provider does not let your account send emails: “%(reply)s”. Ask the provider to unblock it; if "
        "nobody here sent spam, change the password of the account first."
    ),
    "format_refused": _l(
        "The server refused the form of the email, not its recipient: “%(reply)s”. Another outgoing server may accept "
        "it; report this to the developers."
    ),
    "mail_loop": _l(
        "The email was forwarded in a circle until a server stopped it: “%(reply)s”. The administrator of the "
        "recipient must correct the forwarding; the address %(address)s is correct."
    ),
    "helo_refused": _l(
        "The server does not accept the name that this server introduces itself with: “%(reply)s”. Enter a full host "
        "name, such as mail.example.com, as the HELO name of the outgoing server."
    ),
    "no_such_mailbox": _l(
        "The mailbox %(address)s does not exist: “%(reply)s”. Check the address, or ask the recipient for the correct "
        "one."
    ),
    "no_such_mailbox_now": _l(
        "The server does not know the mailbox %(address)s at the moment: “%(reply)s”. Check the address. CoquiMail "
        "will try again automatically."
    ),
    "no_such_domain": _l(
        "The domain of %(address)s does not exist or does not accept emails: “%(reply)s”. Check the part after the @, "
        "or ask the recipient for the correct address."
    ),
    "no_such_domain_now": _l(
        "The domain of %(address)s can't be found at the moment: “%(reply)s”. Check the part after the @. CoquiMail "
        "will try again automatically."
    ),
    "recipient_refused": _l(
        "The server refused the recipient %(address)s: “%(reply)s”. Check the address. If it is correct, ask the "
        "recipient's provider for the reason."
    ),
    "recipient_forbidden": _l(
        "A rule on the recipient's side does not allow this email to %(address)s: “%(reply)s”. The address itself is "
        "probably correct: the recipient's administrator can allow your emails."
    ),
    "recipient_disabled": _l(
        "The mailbox %(address)s is disabled: “%(reply)s”. Contact the recipient another way, or use another address."
    ),
    "recipient_disabled_now": _l(
        "The mailbox %(address)s does not accept emails at the moment: “%(reply)s”. CoquiMail will try again "
        "automatically."
    ),
    "relay_denied": _l(
        "The outgoing server does not deliver to %(address)s for us: “%(reply)s”. It usually requires a login first, "
        "or delivers only to its own addresses: check the login of the outgoing server."
    ),
    "login_wanted": _l(
        "The outgoing server requires a login before it accepts emails: “%(reply)s”. Set its authentication to “User "
        "and password” and enter both."
    ),
    "needs_smtputf8_there": _l(
        "The server does not accept non-ASCII characters in addresses: “%(reply)s”. Use another address, or a server "
        "that offers SMTPUTF8."
    ),
    "blocked_by_list": _l(
        "The server refuses the sending IP address, not the recipient %(address)s: “%(reply)s”. The address is on a "
        "blocklist or has a poor reputation: ask the provider of the outgoing server, or send through another server."
    ),
    "blocked_by_list_now": _l(
        "The server refuses the sending IP address for now because of its reputation, not the recipient: “%(reply)s”. "
        "If this persists, ask the provider of the outgoing server. CoquiMail will try again automatically."
    ),
    "no_reverse_name": _l(
        "The server refuses the sending IP address because it has no valid host name (reverse DNS): “%(reply)s”. The "
        "provider of the outgoing server must set one."
    ),
    "no_reverse_name_now": _l(
        "The server refuses the sending IP address for now because it has no valid host name (reverse DNS): "
        "“%(reply)s”. The provider of the outgoing server must set one. CoquiMail will try again automatically."
    ),
    "blocked_without_proof": _l(
        "The server could not verify the sender's domain (SPF, DKIM or DMARC): “%(reply)s”. Have the DNS records of "
        "the domain corrected, or send through a server that is allowed to send for it."
    ),
    "blocked_without_proof_now": _l(
        "The server accepts few emails because it could not verify the sender's domain (SPF, DKIM or DMARC): "
        "“%(reply)s”. Have the DNS records of the domain corrected. CoquiMail will try again automatically."
    ),
    "blocked_as_spam": _l(
        "The server treats the email as spam: “%(reply)s”. Change its text or links, or ask the recipient to allow "
        "your emails; the address is not the reason."
    ),
    "blocked_as_spam_now": _l(
        "The server suspects the email of being spam: “%(reply)s”. CoquiMail will try again automatically."
    ),
    "blocked_as_dangerous": _l(
        "The server treats an attachment or link of the email as dangerous: “%(reply)s”. Send it without that "
        "attachment, or share a link to the file."
    ),
    "too_large_there": _l("The email is too large for the server: “%(reply)s”. Send it with smaller attachments."),
    "mailbox_full": _l(
        "The mailbox of %(address)s is full: “%(reply)s”. Contact the recipient another way, and retry later."
    ),
    "mailbox_full_now": _l("The mailbox of %(address)s is full: “%(reply)s”. CoquiMail will try again automatically."),
    "sending_limit": _l(
        "The sending limit of your email provider has been reached: “%(reply)s”. Retry later, or ask the provider for "
        "a higher limit."
    ),
    "provider_limit_now": _l(
        "The sending limit of your email provider has been reached: “%(reply)s”. For a higher limit, ask the "
        "provider. CoquiMail will try again automatically."
    ),
    "recipient_limit": _l("The mailbox %(address)s gets too many emails at the moment: “%(reply)s”. Retry later."),
    "recipient_limit_now": _l(
        "The mailbox %(address)s gets too many emails at the moment: “%(reply)s”. CoquiMail will try again "
        "automatically."
    ),
    "sending_limit_now": _l(
        "The server asks to send more slowly: “%(reply)s”. CoquiMail will try again automatically."
    ),
    "greylisted": _l(
        "The server makes unknown senders wait for a few minutes (greylisting): “%(reply)s”. CoquiMail will try again "
        "automatically."
    ),
    "session_full": _l(
        "The server accepts no more emails over this connection: “%(reply)s”. CoquiMail opens a new one automatically."
    ),
    "server_busy": _l(
        "The server is busy or has a problem of its own: “%(reply)s”. CoquiMail will try again automatically."
    ),
    "deferred": _l("The server did not accept the email yet: “%(reply)s”. CoquiMail will try again automatically."),
    "too_large": _l(
        "The email is %(size)s bytes; %(host)s accepts at most %(limit)s. Send it with smaller attachments."
    ),
    "invalid_address": _l("“%(address)s” can't be used as an email address. Correct it and send again."),
    "title_empty": _l("Enter a title: it is the subject of the document's emails."),
    "title_long": _l("The title has %(length)s characters; at most %(most)s are possible. Shorten it."),
    "one_person_only": _l("Enter one person only."),
    "not_one_person": _l("“%(text)s” is not an email address. Enter it as Name <name@company.com>."),
    "post_too_large": _l(
        "With its files this email would be %(size)s MB as it is sent; at most %(limit)s MB are possible. Remove a "
        "file or share a link to it. Your text is kept; choose the files again."
    ),
    "words_too_large": _l(
        "This email would be %(size)s MB as it is sent; at most %(limit)s MB are possible. Shorten your text."
    ),
    "nothing_written": _l("Write a message or attach a file first."),
    "mail_unusable": _l(
        "This email can't be sent as it is (%(error)s: %(detail)s). Write it again; if the problem persists, report it "
        "together with the worker log."
    ),
    "in_doubt": _l(
        "The email was handed over completely to %(host)s, but no response was received: it may or may not have "
        "arrived. Ask the recipient before sending it again."
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
    "test_out_of_time": Counted(
        "seconds",
        "Skipped: the test is limited to %(seconds)s second, and the earlier steps used it up.",
        "Skipped: the test is limited to %(seconds)s seconds, and the earlier steps used them up.",
    ),
    "server_away": _l("The chosen outgoing server was deleted or turned off. CoquiMail looks for another one."),
    "practice_away": _l("The practice mailbox is not ready yet; the email is sent as soon as it is."),
    "larger_than_allowed": _l(
        "The email is %(size)s MB; the limit is %(limit)s MB (mail.max_size). Send a smaller file."
    ),
    "address_unusable": _l("“%(address)s” is not an email address. Correct it."),
    "address_has_it": _l("%(address)s is already a recipient of this email."),
    "address_alone": _l("Enter the address alone, without a name: %(address)s"),
    "address_too_late": _l("This email is being sent already. Wait for its result."),
    "address_unchanged": _l("%(address)s is the address that failed. Enter the correct one, or press Retry."),
    "address_of_ours": _l("%(address)s is one of our own addresses: the office would write to itself."),
    "address_of_colleague": _l(
        "%(name)s has an account here. Ask an administrator to change the address on the page of the contact."
    ),
    "limit_second": Counted(
        "most",
        "“%(server)s” has reached its limit of %(most)s email per second. The rest waits for the next second.",
        "“%(server)s” has reached its limit of %(most)s emails per second. The rest waits for the next second.",
    ),
    "limit_minute": Counted(
        "most",
        "“%(server)s” has reached its limit of %(most)s email per minute. The rest waits for the next minute.",
        "“%(server)s” has reached its limit of %(most)s emails per minute. The rest waits for the next minute.",
    ),
    "limit_hour": Counted(
        "most",
        "“%(server)s” has reached its limit of %(most)s email per hour. The rest waits for the next hour.",
        "“%(server)s” has reached its limit of %(most)s emails per hour. The rest waits for the next hour.",
    ),
    "limit_day": Counted(
        "most",
        "“%(server)s” has reached its limit of %(most)s email per day. The rest waits for the next day (UTC).",
        "“%(server)s” has reached its limit of %(most)s emails per day. The rest waits for the next day (UTC).",
    ),
    "domain_slowed": _l(
        "“%(server)s” was told to send fewer emails to %(domain)s at a time. The rest waits a while and is then sent "
        "automatically."
    ),
    "domain_greylisted": _l(
        "%(domain)s accepts emails from new senders only at a second attempt some minutes later (greylisting). The "
        "rest waits that long and then goes out automatically."
    ),
    "left_the_queue": _l("Cancelled by a user before it was sent."),
    "cancelled_in_doubt": _l(
        "Cancelled by a user, but an earlier attempt may have arrived: it got no server response. It is not sent again "
        "automatically. Ask the recipient."
    ),
    "gave_up": _l("Tried for 48 hours without success. Last response: %(last)s"),
    "unknown_once": _l(
        "The process ended before the server responded, so it is unknown whether the email was accepted. It is sent "
        "once more under the same Message-ID."
    ),
    "doubt_waits": _l(
        "The connection broke after the email was handed over, so it may or may not have arrived. It is sent once more "
        "(under the same Message-ID) as soon as the server has accepted another email, in 15 minutes at the latest."
    ),
    "server_slow": _l(
        "“%(server)s” is responding slowly. Its emails wait and are sent automatically; other servers are not affected."
    ),
    "unknown_final": _l(
        "Two attempts got no server response, so it is uncertain whether the email arrived. Ask the recipient."
    ),
    "unknown_power_cut": _l(
        "The machine lost power or was restarted while this email was about to be sent, so it is unknown whether it "
        "went out. It is not sent again automatically. Ask the recipient."
    ),
    "unknown_test_email": _l(
        "The server did not respond, so it is unknown whether it accepted this test email. It is not sent again "
        "automatically. Ask the recipient."
    ),
    "test_email_lost": _l(
        "The worker was interrupted before this test email was sent, and a test email is not sent later. Send it again."
    ),
    # --- who can fix a failure (advice.py)
    "fixer_you": _l("Who can fix this: you"),
    "fixer_administrator": _l("Who can fix this: your administrator"),
    "fixer_provider": _l("Who can fix this: your email provider"),
    "fixer_recipient": _l("Who can fix this: the recipient"),
    "fixer_their_administrator": _l("Who can fix this: the recipient's administrator"),
    "fixer_nobody": _l("Who can fix this: nobody; just wait"),
    # --- what people do with the recipients of an email, and its history (lines.py, another_server.py, timeline.py)
    "again_sent": Counted(
        "count",
        "%(count)s email was skipped: it has already been sent.",
        "%(count)s emails were skipped: they have already been sent.",
    ),
    "again_sending": Counted(
        "count",
        "%(count)s email was skipped: it is being sent right now.",
        "%(count)s emails were skipped: they are being sent right now.",
    ),
    "again_waiting": Counted(
        "count",
        "%(count)s email was skipped: it is already waiting to be sent.",
        "%(count)s emails were skipped: they are already waiting to be sent.",
    ),
    "again_address": Counted(
        "count",
        "%(count)s email was skipped: its address does not work. Correct the address first.",
        "%(count)s emails were skipped: their addresses do not work. Correct the addresses first.",
    ),
    "again_email": Counted(
        "count",
        "%(count)s email was skipped: the email itself was refused and would be refused again. Change it and send a "
        "new one.",
        "%(count)s emails were skipped: the emails themselves were refused and would be refused again. Change them and "
        "send new ones.",
    ),
    "again_known": Counted(
        "count",
        "%(count)s email was skipped: what happened to it is already known.",
        "%(count)s emails were skipped: what happened to them is already known.",
    ),
    "line_sent_again": _l("%(user)s sent it again."),
    "line_cancelled": _l("%(user)s cancelled it before it was sent."),
    "line_cancelled_in_doubt": _l("%(user)s cancelled it, but an earlier attempt may have arrived."),
    "line_arrived": _l("It was unknown whether this email had arrived; %(user)s confirmed that it did."),
    "line_server_chosen": _l("%(user)s chose the server “%(server)s”."),
    "line_server_automatic": _l("%(user)s set the choice of the server to automatic."),
    "line_server_deleted": _l(
        "“%(server)s”, the server chosen for this email, was deleted. The choice of the server is now automatic."
    ),
    "line_server_changed": _l(
        "The server changed from “%(before)s” to “%(server)s”. The From address is now %(sender)s."
    ),
    "line_sender_changed": _l("The From address is now %(sender)s."),
    "timeline_queued": _l("Added to the queue, written by %(author)s."),
    "timeline_queued_system": _l("Added to the queue by CoquiMail."),
    "timeline_decided": _l("“%(server)s” was chosen as the server, with the From address %(sender)s."),
    "timeline_first": _l("“%(server)s” was chosen as the server."),
    "timeline_accepted": _l("“%(server)s” accepted the email."),
    "timeline_accepted_before": _l("The mail server accepted the email."),
    "timeline_delayed": _l(
        "A report came back: the email is delayed, and the recipient's server keeps trying (“%(text)s”)."
    ),
    "timeline_complaint": _l("The recipient reported the email as spam, so the address gets no more mailings."),
    "timeline_replied": _l("%(author)s replied."),
    "sent_unrecorded": _l("The server accepted the email; the process ended before it could save the transcript."),
    "address_corrected_by": _l("%(who)s changed the address from %(before)s to %(after)s."),
    "address_corrected": _l("The address was changed from %(before)s to %(after)s."),
    "mailbox_connection_refused": _l(
        "%(host)s was found, but nothing responds on port %(port)s. Check the port and the encryption (IMAP: 993 for "
        "TLS, 143 for STARTTLS; POP3: 995 and 110). If they are correct, ask the provider whether the service is "
        "running."
    ),
    "mailbox_timed_out": Counted(
        "seconds",
        "%(host)s did not respond within %(seconds)s second. A firewall may be blocking the port, or the encryption "
        "may not match the port (IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110). Emails stay on the server. "
        "CoquiMail will try again automatically.",
        "%(host)s did not respond within %(seconds)s seconds. A firewall may be blocking the port, or the encryption "
        "may not match the port (IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110). Emails stay on the server. "
        "CoquiMail will try again automatically.",
    ),
    "mailbox_connection_lost": _l(
        "%(host)s closed the connection. Emails that were not stored yet stay on the server and are fetched next time."
    ),
    "mailbox_ended": _l(
        "%(host)s closed the connection: “%(reply)s”. Emails that were not stored yet stay on the server and are "
        "fetched next time."
    ),
    "mailbox_not_understood": _l(
        "The service at %(host)s, port %(port)s does not speak the expected protocol. Check the server type, the port, "
        "and that the encryption matches it (IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110)."
    ),
    "mailbox_greeting_refused": _l(
        "%(host)s refused the connection: “%(reply)s”. CoquiMail will try again automatically. If the problem "
        "persists, show this to the provider."
    ),
    "mailbox_login_refused": _l(
        "%(host)s refused the user %(user)s: “%(reply)s”. Enter the user and the password again, and check that the "
        "account allows IMAP or POP3. Many providers require a special password for programs (“app password”)."
    ),
    "mailbox_app_password_wanted": _l(
        "%(host)s does not accept the normal password of %(user)s: “%(reply)s”. Create a password for programs (“app "
        "password”) in that account and enter it here."
    ),
    "mailbox_password_login_off": _l(
        "The provider no longer lets programs read this mailbox with user and password: “%(reply)s”. The password of "
        "%(user)s is not the reason. Ask the administrator of that account, or have its emails forwarded to a mailbox "
        "that allows it."
    ),
    "mailbox_web_login": _l(
        "%(host)s does not let %(user)s log in until somebody confirms it in a browser: “%(reply)s”. Log in to the "
        "account in a browser, look for a notice, then test again."
    ),
    "mailbox_turned_off": _l(
        "%(host)s does not allow this access for %(user)s: “%(reply)s”. Turn on IMAP or POP3 in the settings of that "
        "account, or ask its administrator. The password may be correct."
    ),
    "mailbox_encryption_wanted": _l(
        "The server accepts a login only over an encrypted connection: “%(reply)s”. Choose STARTTLS or TLS as the "
        "encryption."
    ),
    "mailbox_login_blocked": _l(
        "%(host)s refused the login of %(user)s: “%(reply)s”. The password itself may be correct: ask the provider."
    ),
    "mailbox_tls_failed": _l(
        "The encrypted connection to %(host)s could not be set up (%(detail)s). Check that the encryption matches the "
        "port (IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110). If it does, the provider must check the "
        "server."
    ),
    "mailbox_starttls_missing": _l(
        "%(host)s does not offer STARTTLS on this port. Choose TLS (IMAP: port 993, POP3: port 995), or ask the "
        "provider. The password was not sent."
    ),
    "mailbox_certificate_wrong_name": _l(
        "The certificate of %(host)s is for another name (%(detail)s). Enter the host name that the provider gives for "
        "receiving. If this name is correct, the provider must correct the certificate."
    ),
    "mailbox_busy": _l(
        "%(host)s can't open the mailbox of %(user)s: “%(reply)s”. Another program may be using it. CoquiMail will try "
        "again automatically."
    ),
    "mailbox_later": _l(
        "%(host)s asks to wait: “%(reply)s”. Nothing is lost: the emails stay on the server, and the next fetch "
        "continues from there."
    ),
    "mailbox_folder_missing": _l(
        "The mailbox has no folder “%(folder)s”. Available folders: %(folders)s. Enter one of these."
    ),
    "mailbox_folder_refused": _l(
        "%(host)s did not open the folder “%(folder)s”: “%(reply)s”. CoquiMail will try again automatically. If the "
        "problem persists, show this to the provider."
    ),
    "mailbox_folder_not_made": _l(
        "%(host)s has no folder “%(folder)s” and did not create it: “%(reply)s”. Create it in an email program, or "
        "choose another folder."
    ),
    "mailbox_read_only": _l(
        "The folder “%(folder)s” is read-only for %(user)s, so emails can't be marked, moved or deleted there. They "
        "are fetched all the same, each one once. To change this, ask the provider for write access."
    ),
    "mailbox_no_mark": _l(
        "%(user)s may not mark emails as read in the folder “%(folder)s”. They are fetched all the same, each one "
        "once. To change this, ask the provider for the right to mark emails."
    ),
    "mailbox_no_delete": _l(
        "%(user)s may not delete or move emails in the folder “%(folder)s”. They are fetched all the same, each one "
        "once. To change this, ask the provider for the right to delete emails."
    ),
    "mailbox_moved_to_itself": _l(
        "“%(folder)s” is the folder that is read, so fetched emails stay where they are. Choose another folder to move "
        "them to."
    ),
    "mailbox_no_expunge": _l(
        "Fetched emails are marked as deleted in the folder “%(folder)s”, but the server does not remove them: "
        "%(user)s may not empty this folder. Each email is fetched once. To change this, ask the provider for the "
        "right to remove emails (expunge)."
    ),
    "mailbox_no_room": _l(
        "This server could not store an email while fetching it (%(detail)s). Nothing is lost: it stays in the "
        "mailbox. The person who maintains this server must free disk space; fetching then continues "
        "automatically."
    ),
    "mark_read_failed": _l(
        "Fetched emails could not be marked as read on the server: “%(reply)s”. They are stored here and fetching "
        "continues. CoquiMail will try again at the next fetch."
    ),
    "move_failed": _l(
        "Fetched emails could not be moved to the folder “%(folder)s”: “%(reply)s”. They are stored here and fetching "
        "continues. CoquiMail will try again at the next fetch."
    ),
    "delete_failed": _l(
        "Fetched emails could not be deleted on the server: “%(reply)s”. They are stored here and fetching continues. "
        "CoquiMail will try again at the next fetch."
    ),
    "mailbox_unusable": _l(
        "%(host)s does not give its emails permanent numbers (%(detail)s), so CoquiMail can't tell which ones it "
        "already has. Choose the other type (IMAP or POP3), or ask the provider."
    ),
    "mailbox_refused": _l(
        "%(host)s refused a request: “%(reply)s”. CoquiMail will try again automatically. If the problem persists, "
        "show this to the provider."
    ),
    "mailbox_took_too_long": Counted(
        "seconds",
        "%(host)s did not finish within %(seconds)s second. What was stored is kept, and the next fetch continues from "
        "there.",
        "%(host)s did not finish within %(seconds)s seconds. What was stored is kept, and the next fetch continues "
        "from there.",
    ),
    "mailbox_mail_too_large": _l(
        "The email is %(megabytes)s MB; the limit is %(limit)s MB. Only its header was fetched; the email itself stays "
        "on the server."
    ),
    "mailbox_mail_unreadable": _l(
        "The server could not return this email: “%(reply)s”. It stays on the server, and CoquiMail keeps asking for "
        "it. Press Retry to ask again now, or show this to the provider."
    ),
    "mailbox_mail_missing": _l(
        "The server lists this email but did not return it, not even when asked again. It stays on the server, and "
        "CoquiMail keeps asking for it. Press Retry to ask again now, or show this to the provider."
    ),
    "mailbox_mail_gone": _l("The email was removed from the mailbox before it could be fetched."),
    "mailbox_mail_asked_again": _l("Somebody pressed Retry: the server is asked for this email again."),
    "mailbox_test_tls_off": _l("No encryption: the password and all emails can be read in transit."),
    "mailbox_test_writable": _l("The folder can be read and written."),
    "mailbox_test_move_to": _l("Folder %(folder)s is ready: fetched emails are moved there."),
    "mailbox_test_empty": _l("Folder %(folder)s found, empty."),
    "mailbox_test_mails": Counted(
        "count", "Folder %(folder)s found, %(count)s message.", "Folder %(folder)s found, %(count)s messages."
    ),
    "mailbox_test_newest": Counted(
        "count",
        "Folder %(folder)s found, %(count)s message, dated %(newest)s.",
        "Folder %(folder)s found, %(count)s messages, the newest dated %(newest)s.",
    ),
    # --- parsing, routing, threads (message.py, routing.py, incoming.py)
    "route_own_mail": _l("One of our own emails came back (%(id)s): nothing to do."),
    "route_plus_works": _l(
        "This email was sent to %(address)s to see whether addresses with a plus arrive: they do, so unique bounce "
        "addresses (the system parameter mail.bounce.verp) can be turned on."
    ),
    "route_duplicate": _l("This email has already reached all its destinations."),
    "route_partly_duplicate": Counted(
        "n",
        "%(n)s destination had already received this email; remaining: %(left)s.",
        "%(n)s destinations had already received this email; remaining: %(left)s.",
    ),
    "route_no_own_answer": _l("This is not a reply to one of our rejections."),
    "route_own_answer": _l("This is a reply to one of our rejections (%(id)s): ignored, to prevent an endless loop."),
    "route_unsubscribe": _l(
        "A mailing recipient unsubscribes by email: the subject is the one requested in our header."
    ),
    "route_no_report": _l("This is not a delivery report."),
    "route_auto_at_bounce": _l(
        "It was sent to the bounce address, but it is an automatic reply, not a delivery report."
    ),
    "route_report_bounce": _l("This report says that the email could not be delivered to %(addresses)s."),
    "route_report_delay": _l(
        "This report says that the email to %(addresses)s is delayed; delivery is still being attempted."
    ),
    "route_report_delivered": _l("This report says that the email to %(addresses)s was delivered."),
    "route_report_receipt": _l("This is a read receipt from %(addresses)s."),
    "route_report_complaint": _l("This is a complaint: a recipient reported one of our emails as spam. %(addresses)s"),
    "route_report_feedback": _l("This is a report from an email provider, but not a complaint. %(addresses)s"),
    "route_report_challenge": _l(
        "The sender's mail server asks us to prove that we are not a machine. Nothing failed."
    ),
    "route_report_unreadable": _l(
        "This is a delivery report that names no address, so no address is marked as failed. Open the email to see "
        "what it is about."
    ),
    "route_report_ours": _l("The report belongs to an email that we sent."),
    "route_report_not_ours": _l("The report names none of the emails that we sent."),
    "route_no_auto_reply": _l("This is not an automatic reply."),
    "route_auto_reply_noted": _l("This is an automatic reply: posted as an internal note in its thread, not relayed."),
    "route_auto_reply_ignored": _l("This is an automatic reply that belongs to no thread: ignored."),
    "route_no_thread": _l("It does not reply to any of our messages."),
    "route_thread_gone": _l("It replies to one of our messages whose thread no longer exists."),
    "route_mailing_answered": _l("It replies to a mailing: the recipient is marked as having replied."),
    "route_forward": _l("It was forwarded to %(addresses)s, for documents of another type: not posted in the thread."),
    "route_reply": _l("It replies to one of our messages, so it belongs to that thread."),
    "route_note_from_outside": _l("It replies to an internal note, but its sender is not known to be a user."),
    "route_not_checked": _l(
        "It names %(address)s as its sender, and nothing proves that this user sent it: marked as “Not checked”."
    ),
    "mark_not_checked": _l(
        "Not checked: this email names %(author)s as its author, but nothing proves it. Ask before you rely on it."
    ),
    "mark_from_outside": _l("This reply to an internal note was sent by %(author)s, who is not a user."),
    "route_no_catchall": _l("It was not sent to the catchall address."),
    "route_catchall_and_alias": _l("It was sent to the catchall address, but also to an alias."),
    "route_no_alias": _l("It was not sent to any of our aliases."),
    "route_alias": _l("It was sent to the alias %(address)s, which creates a new document."),
    "route_alias_fixed": _l("It was sent to the alias %(address)s, which posts all emails on one document."),
    "route_alias_retired": _l("%(address)s is a retired alias; it keeps receiving emails until you remove it."),
    "route_no_action": _l("The incoming server has no action for incoming emails."),
    "route_action": _l("The incoming server's action creates a new document from it."),
    "route_unknown_address": _l(
        "%(address)s is not one of our addresses. Make it an alias, or route this email to a document manually."
    ),
    "route_former_domain": _l(
        "%(address)s is on %(domain)s, which is no longer one of your domains. Route the email to a document or a type "
        "manually, or discard it. To accept such emails again, add the domain under Email ‣ Domains."
    ),
    "route_nobody": _l("No rule matches this email. Route it to a document or a type manually, or discard it."),
    "route_loop_allowed": _l("%(sender)s is exempt from loop protection (system parameter mail.gateway.allowed)."),
    "route_loop_released": _l("A person decided that these emails are not a loop: loop protection was skipped."),
    "route_loop_held": _l(
        "Held together with the other emails from %(sender)s, because they look like a loop. If they are wanted, open "
        "Received emails and choose “Accept all”."
    ),
    "reject_loop": Counted(
        "minutes",
        "Too many emails: this is number %(n)s from the same sender to the same address within %(minutes)s minute "
        "(limit %(limit)s). Please wait before you write again.",
        "Too many emails: this is number %(n)s from the same sender to the same address within %(minutes)s minutes "
        "(limit %(limit)s). Please wait before you write again.",
    ),
    "reject_catchall": _l("%(address)s only accepts replies to our emails. Please write to %(instead)s instead."),
    "reject_catchall_only": _l("%(address)s only accepts replies to our emails; new emails can't be sent to it."),
    "reject_users": _l("Only members of our team may write to %(address)s."),
    "reject_contacts": _l("Only known contacts may write to %(address)s."),
    "reject_followers": _l("Only followers of the discussion may write to %(address)s."),
    "reject_followers_of_nothing": _l(
        "%(address)s only accepts emails from followers, but is not linked to a document to follow. An administrator "
        "must set a parent document."
    ),
    # why a rejection was not sent (answer.py)
    "unanswered_null_path": _l("Not answered because its return path is empty: its sender asks for no reply."),
    "unanswered_list": _l("Not answered because it came from a mailing list."),
    "unanswered_machine": _l("Not answered because it was sent by a program."),
    "unanswered_nobody": _l("Not answered because it names no sender."),
    "unanswered_ours": _l("Not answered because it names one of our own addresses as its sender."),
    "unanswered_often": Counted(
        "n",
        "Not answered because this sender already got %(n)s automatic reply recently.",
        "Not answered because this sender already got %(n)s automatic replies recently.",
    ),
    "unanswered_hour": _l("Not answered because %(limit)s automatic replies were sent within the last hour."),
    # who wrote it (author.py)
    "author_behind_own_address": _l(
        "The From address %(sender)s is one of our own addresses, so the author is taken from Reply-To: %(author)s."
    ),
    "author_behind_no_reply": _l(
        "The From address %(sender)s does not accept replies, so the author is taken from Reply-To: %(author)s."
    ),
    "author_behind_group": _l("A group forwarded this email as %(sender)s; the author is %(author)s."),
    "author_replies_elsewhere": _l("%(sender)s asked for replies to go to %(reply_to)s."),
    "parse_failed": _l("The email could not be read (%(error)s). Open the original and report this to the developers."),
    "parse_line_ends": _l("The email used outdated line endings; they were repaired."),
    "parse_header_repeated": _l("The header “%(name)s” appears more than once; the first one is used."),
    "parse_no_message_id": _l("The email has no Message-ID."),
    "parse_no_sender": _l("The sender's address could not be read."),
    "parse_no_date": _l("The email has no date; the time of arrival is used."),
    "parse_date_unreadable": _l("The date “%(date)s” could not be read; the time of arrival is used."),
    "parse_date_future": _l("The date of the email (%(date)s) is in the future; the time of arrival is used."),
    "parse_no_blank_line": _l(
        "The header does not end with an empty line; the text begins after the last header field."
    ),
    "parse_line_noise": _l("The header contained lines that are not header fields; they were left out."),
    "parse_no_boundary": _l("The email claims to have several parts, but they could not be separated."),
    "parse_not_closed": _l("The email ends before its last part does; it may be truncated."),
    "parse_base64": _l("An encoded part was damaged; the readable part is shown."),
    "parse_text_damaged": _l("Some characters are not valid in the character set “%(charset)s” and were replaced."),
    "parse_charset_unknown": _l("The character set “%(charset)s” is unknown; the text was read as UTF-8."),
    "parse_signature_not_checked": _l("This email is digitally signed; its signature was not checked."),
    "parse_words_only": _l(
        "This email is too large to be shown with its formatting: only its text is shown. Open the original to see all "
        "of it."
    ),
    "parse_too_heavy": _l(
        "Reading this email takes more time or memory than allowed. Its beginning is shown here; open the "
        "original to see all of it."
    ),
    "parse_zero_bytes": _l("The email contained zero bytes; they were left out of the text."),
    "parse_too_large": _l("The email is %(megabytes)s MB; the limit is %(limit)s MB. Open the original to see it."),
    "parse_too_many_parts": _l("The email has more than %(limit)s parts. Open the original to see all of it."),
    "parse_too_deep": _l("The email has more than %(limit)s nested parts. Open the original to see it."),
    "parse_header_too_large": _l("The email header is %(kilobytes)s KB; only the first %(limit)s KB are read."),
    "changed_title": _l("%(who)s changed the title from “%(before)s” to “%(after)s”."),
    "changed_stage": _l("%(who)s changed the stage from %(before)s to %(after)s."),
    "changed_priority": _l("%(who)s changed the priority from %(before)s to %(after)s."),
    "changed_responsible": _l("%(who)s assigned %(after)s (was %(before)s)."),
    "responsible_set": _l("%(who)s assigned %(after)s (was unassigned)."),
    "responsible_removed": _l("%(who)s unassigned %(before)s."),
    "follows": _l("follows this document"),
    "follow_added": _l("was added as a follower"),
    "follow_contact": _l("is the customer of this document"),
    "follow_responsible": _l("is responsible for this document"),
    "follow_author": _l("sent the original email"),
    "follow_posted": _l("has posted"),
    "follow_opened": _l("created this document"),
    "follow_wrote": _l("wrote to the address of this document"),
    "left_alone": _l(
        "This email was in the mailbox before CoquiMail was connected to it, so it was not fetched. The incoming "
        "server has a setting that also fetches existing emails."
    ),
    "process_failed": _l(
        "The email could not be processed (%(error)s). Press Retry. If that fails again, choose a document for it, and "
        "report this to the developers."
    ),
    "process_gave_up": Counted(
        "attempts",
        "The worker stopped %(attempts)s time while processing this email, so it was put in quarantine. Open it with "
        "care, and report this to the developers.",
        "The worker stopped %(attempts)s times while processing this email, so it was put in quarantine. Open it with "
        "care, and report this to the developers.",
    ),
    "quarantine_routed_document": _l("A user chose the document %(number)s for this email."),
    "quarantine_routed_type": _l("A user created a new document from this email."),
    "quarantine_rejected": _l("Your email could not be delivered. Please use another address or call us."),
    "quarantine_dropped": _l("A user reviewed and discarded this email."),
    # --- bounces and the blacklist (bounce.py)
    "bounced_hard": _l(
        "The email bounced: the mailbox %(address)s does not exist (“%(text)s”). Ask the recipient for the correct "
        "address and update it."
    ),
    "bounced_soft": _l("The email to %(address)s bounced (“%(text)s”). Send it again later, or call the recipient."),
    "bounced_blocked": _l(
        "The recipient's server refused the email to %(address)s because of its content or its sender (“%(text)s”). "
        "Change the content, or ask the recipient to allow your emails."
    ),
    "bounced_full": _l("The mailbox %(address)s is full (“%(text)s”). Send it again later, or call the recipient."),
    "bounce_names_nobody": _l(
        "A report says that one of the recipients did not get this email, but not which one (“%(text)s”). Contact the "
        "recipients who do not reply."
    ),
    "bounce_detector_failed": _l("Part of the report could not be examined (%(error)s)."),
    "blacklist_due": Counted(
        "count",
        "%(count)s bounce in the last %(days)s days (limit %(bounces)s), first and last %(apart)s days apart (minimum "
        "%(spread_days)s): the address is considered invalid and gets no more mailings.",
        "%(count)s bounces in the last %(days)s days (limit %(bounces)s), first and last %(apart)s days apart (minimum "
        "%(spread_days)s): the address is considered invalid and gets no more mailings.",
    ),
    "blacklist_not_due": _l(
        "%(count)s of %(bounces)s bounces in %(days)s days, %(apart)s of %(spread_days)s days apart."
    ),
    "blacklist_complaint": _l("Blacklisted: the recipient reported our email as spam."),
    "blacklist_manual": _l("Blacklisted by %(user)s."),
    "blacklist_manual_reason": _l("Blacklisted by %(user)s: %(reason)s."),
    "blacklist_unsubscribed": _l("Blacklisted: the recipient no longer wants any mailings."),
    "blacklist_removed": _l("Removed from the blacklist by %(user)s: %(reason)s. Only new bounces are counted."),
    # --- mailings (mailing.py, chunks.py, traces.py)
    "mailing_no_subject": _l("The subject is empty. Enter one: it is the first thing the recipients see."),
    "mailing_no_content": _l("The mailing has no content yet."),
    "mailing_no_list": _l("No list selected. Choose at least one list of recipients."),
    "mailing_nobody": _l("The chosen lists have no subscribers. Add contacts to a list first."),
    "mailing_all_left_out": _l(
        "All contacts on the chosen lists are excluded. Choose other lists, or add contacts to them."
    ),
    "links_lead_nowhere": _l(
        "The links in this email would begin with %(address)s, which nobody else can open. Fill in “Address of this "
        "office” under General Settings, then try again."
    ),
    "mailing_not_draft": _l("This mailing has already been sent or scheduled. Duplicate it to send it again."),
    "mailing_has_begun": _l(
        "This mailing has already started, so it can't become a draft again. Pause or cancel it instead."
    ),
    "mailing_paused_by": _l("Paused by %(user)s. Press Resume to send it to the remaining recipients."),
    "mailing_cancelled_by": _l("Cancelled by %(user)s. The remaining recipients will not get it."),
    "mailing_paused_failures": Counted(
        "tried",
        "Paused automatically: %(failed)s of the last %(tried)s recipient failed. Check the failed recipients, fix the "
        "cause, then press Resume.",
        "Paused automatically: %(failed)s of the last %(tried)s recipients failed. Check the failed recipients, fix "
        "the cause, then press Resume.",
    ),
    "mailing_all_in_doubt": _l(
        "Paused: no email of this mailing is known to have been accepted, and %(number)s may or may not have arrived. "
        "Ask one of the recipients, choose below whether to send those again, then press Resume."
    ),
    "left_out_pending": _l("Excluded: subscription not confirmed yet."),
    "left_out_unsubscribed": _l("Excluded: unsubscribed from the chosen lists."),
    "left_out_archived": _l("Excluded: the contact is archived."),
    "left_out_no_address": _l("Excluded: the contact has no email address."),
    "left_out_blacklisted": _l("Excluded: the address is blacklisted."),
    "left_out_cancelled": _l("Not sent: the mailing was cancelled first."),
    "trace_in_doubt": _l(
        "The worker was stopped while this email was being handed over: it may or may not have arrived. It will not be "
        "sent again automatically."
    ),
    "doubt_sent_again": _l("It was unknown whether this email had arrived; %(user)s sent it again."),
    "doubt_left": _l("It is unknown whether this email arrived; %(user)s chose not to send it again."),
    "mailing_cancelled_for_good": _l("The mailing was cancelled, so nothing more is sent. Duplicate it instead."),
    "unsubscribed_by_page": _l("Unsubscribed through the link in the mailing “%(mailing)s”."),
    "unsubscribed_by_one_click": _l(
        "Unsubscribed through the button of the email program, from the mailing “%(mailing)s”."
    ),
    "unsubscribed_by_mail": _l("Unsubscribed by email, from the mailing “%(mailing)s”."),
    "subscribed_again": _l("Undid the unsubscription, on the page of the mailing “%(mailing)s”."),
    "subscribed_by_import": _l("Added to the list “%(list)s” by %(user)s, who pasted the address."),
    "unsubscribed_by_hand": _l("Unsubscribed by %(user)s: %(reason)s."),
    "subscribed_by_hand": _l("Subscribed again by %(user)s: %(reason)s."),
    "import_no_address": _l("There is no email address on this line. Enter a line such as: Ann Lee <ann@example.com>"),
    "import_bad_address": _l("“%(text)s” contains no usable email address. Correct it and add it again."),
    "import_several": Counted(
        "count",
        "There is %(count)s address on this line. Put each address on its own line.",
        "There are %(count)s addresses on this line. Put each address on its own line.",
    ),
    "import_twice": _l("%(address)s is already on line %(line)s."),
    "import_second_address": _l(
        "This is another address on the line of %(address)s. Add it only if it belongs to someone else."
    ),
    "import_columns_unread": _l("These columns were not read: %(columns)s."),
    "import_cells_unread": _l(
        "Not read: %(text)s. Begin with a line that names the columns, such as: Name, Email, Company"
    ),
    "import_name_shortened": Counted(
        "most",
        "The name was shortened to %(most)s character.",
        "The name was shortened to %(most)s characters.",
    ),
    "import_not_text": _l(
        "This file is a workbook or document, not text. Save it as CSV in your spreadsheet program, then choose that "
        "file."
    ),
    "import_unsubscribed": _l("%(address)s unsubscribed from this list and is not added again."),
    "import_archived": _l("The contact with the address %(address)s is archived. Restore it first."),
    "import_line_too_long": Counted(
        "most", "The line is longer than %(most)s character.", "The line is longer than %(most)s characters."
    ),
    "merge_unknown_field": _l(
        "%(part)s, line %(line)s: the merge field “%(field)s” does not exist. Available fields: %(fields)s."
    ),
    "merge_syntax": _l(
        "%(part)s, line %(line)s: “%(text)s” is not a merge field. Write {{ contact.first_name }} or {{ "
        'contact.first_name or "there" }}.'
    ),
    "merge_not_closed": _l("%(part)s, line %(line)s: the merge field that begins with “%(text)s” has no closing }}."),
    # --- the worker and its actions (scheduler/)
    "loop_died": _l(
        "This part of the worker ended unexpectedly (%(error)s: %(detail)s) and was restarted. If this keeps "
        "happening, report it together with the worker log."
    ),
    "no_room": _l(
        "The disk is full, so nothing can be saved. Emails stay on the mail server and in the queue. The person who "
        "maintains this server must free disk space; everything then continues automatically."
    ),
    "database_away": _l("The database is unavailable (%(detail)s). The worker waits and continues automatically."),
    "unexpected_failure": _l(
        "Something unexpected happened (%(error)s: %(detail)s). It will be retried at the next run; if the problem "
        "persists, report it together with the worker log."
    ),
    "run_lost": _l(
        "The worker ended before this run was finished. A scheduled run is repeated automatically; a run that you "
        "started must be started again."
    ),
    "action_unknown": _l("This version of CoquiMail does not know the action “%(action)s”: turn it off."),
    "fetch_failed": Counted(
        "servers",
        "%(failed)s of %(servers)s incoming server could not be fetched. %(name)s: %(reason)s It will be retried at "
        "the next run.",
        "%(failed)s of %(servers)s incoming servers could not be fetched. %(name)s: %(reason)s The others are not "
        "affected, and it will be retried at the next run.",
    ),
    "fetch_under_way": _l("This mailbox is already being fetched."),
    "fetch_interrupted": _l(
        "The worker ended while this mailbox was being fetched; the rest is fetched at the next run."
    ),
    "fetch_started": _l("Fetching emails of %(name)s."),
    "fetch_done": Counted("mails", "%(mails)s new email was fetched.", "%(mails)s new emails were fetched."),
    "fetch_goes_on": _l("This takes a while: fetching continues automatically, and emails appear as they arrive."),
    "mail_to_me_default": _l("This test email was requested for the default server, “%(server)s”."),
    "mail_to_me_from": _l("The email is from %(sender)s; bounces go to %(bounce)s."),
    "mail_to_me_accepted": _l(
        "The server accepted the email to %(address)s: “%(reply)s”. Look for it in your inbox, and in the spam folder."
    ),
    "mail_to_me_in_practice": _l(
        "The email is in the practice mailbox: with no real server set up, nothing reaches %(address)s."
    ),
    "mail_to_me_deferred": _l(
        "The server did not accept the test email yet: “%(reply)s”. Send another one in a few minutes."
    ),
    "mail_to_me_lost": _l(
        "The worker was interrupted while it was sending this email. The email itself shows whether it was accepted; "
        "it is not sent again automatically."
    ),
    "check_lost": _l("The worker was interrupted before this test was finished. Press the button again."),
    "check_activated": _l("The server passed its test and is active now."),
    "check_server_gone": _l("This server has been deleted."),
    "check_changed": _l("The server was changed during the test. Test it again."),
    "check_no_sender": _l(
        "There is no known address to send from: set the alias domain and mail.default.from, or fill in FROM "
        "Filtering; then test again."
    ),
    "check_confirmed": _l(
        "The server is confirmed: new emails are fetched from now on. Existing emails are not fetched."
    ),
    "check_confirmed_all": _l("The server is confirmed: existing and new emails are fetched."),
    # --- servers and settings (uses.py, webapp/admin)
    "test_rest_not_tried": Counted(
        "number", "%(number)s other step was skipped.", "%(number)s other steps were skipped."
    ),
    "user_needed": _l("Enter the user, or choose another authentication."),
    "password_needed": _l("Enter the password, or choose another authentication."),
    "mailbox_password_needed": _l("Enter the password of the mailbox."),
    "password_again": _l(
        "Enter the password again: the stored one was given for another server or connection and is not sent elsewhere."
    ),
    "certificate_needs_tls": _l("A client certificate requires STARTTLS or TLS."),
    "certificate_needs_key": _l("Paste both: the certificate and its key."),
    "header_without_colon": _l("Line %(line)s is not a header. Write it as “Name: value”."),
    "header_continued": _l("Line %(line)s begins with a blank. Write each header on one line of its own."),
    "header_name": _l(
        "Line %(line)s has no valid name before the colon. Use letters, digits and hyphens, at most 60 of them."
    ),
    "header_reserved": _l(
        "“%(name)s” can't be added: CoquiMail or the servers on the way write it, or it would mislead recipients."
    ),
    "header_empty": _l("“%(name)s” has no value."),
    "header_unprintable": _l(
        "“%(name)s” contains a tab, an invisible or another character that can't be sent. Type the value again."
    ),
    "header_too_long": _l("The value of “%(name)s” has %(length)s characters; at most %(most)s are possible."),
    "headers_too_many": _l("At most %(most)s headers are possible; these are %(number)s."),
    "server_in_use": _l("“%(server)s” can't be deleted or turned off: %(places)s. Choose another server there first."),
    "pop3_has_no_folders": _l("POP3 has no folders: leave the emails there, or delete them."),
    "move_needs_folder": _l("Enter the folder that fetched emails are moved to."),
    "move_to_itself": _l("Choose a folder other than the one that is read."),
    "value_refused": _l("%(sentence)s"),
    "domain_alias_domain_first": _l(
        "Set the alias domain under General Settings first: it is the first of your domains."
    ),
    "domain_invalid": _l("Enter a domain, such as mycompany.com."),
    "domain_is_first": _l("%(domain)s is the alias domain already. Its settings are under General Settings."),
    "domain_known": _l("%(domain)s is already in the list."),
    "domain_same_parts": _l("Choose another name: replies and delivery failures need an address each."),
    "domain_without_server": _l(
        "Emails from %(domain)s are sent as %(address)s: the From filter of “%(server)s” does not contain the whole "
        "domain. Add %(domain)s to that filter, or to the filter of another server."
    ),
    "domain_bounces_elsewhere": _l(
        "Delivery failures go to %(address)s: the From filter of “%(server)s” does not contain the bounce address of "
        "this domain. Add that address, or the whole domain, to the filter."
    ),
    "domain_replies_awaited": Counted(
        "count",
        "%(count)s of your last %(most)s emails asks for replies to an address on %(domain)s. They still find their "
        "document, as long as the mail server of %(domain)s delivers them.",
        "%(count)s of your last %(most)s emails ask for replies to an address on %(domain)s. They still find their "
        "document, as long as the mail server of %(domain)s delivers them.",
    ),
    "uses_alias": _l("the alias %(address)s"),
    "uses_parameter": _l("the system parameter %(key)s"),
    "uses_outgoing": _l("the From filter of the outgoing server “%(name)s”"),
    "uses_incoming": _l("the user of the incoming server “%(name)s”"),
    "contact_without_name": _l("Enter a name or an address."),
    "contact_several_addresses": _l("Enter one address only: a contact has one."),
    "contact_not_an_address": _l("This is not an email address such as ann.lee@customer.com."),
    "contact_address_with_name": _l("Enter the address alone: %(address)s"),
    "contact_address_taken": _l("Another contact already has this address."),
    "contact_of_colleague_needed": _l("This contact belongs to a colleague, who would get no emails."),
    "contact_of_colleague_needs_address": _l(
        "This contact belongs to a colleague: without an address they get no emails."
    ),
    "contact_of_colleague": _l("This contact belongs to a colleague: only an administrator may change it."),
    "list_name_taken": _l("A list with this name already exists."),
    "list_in_use": _l("“%(list)s” can't be turned off while an unfinished mailing uses it: %(mailings)s."),
    "stage_in_use": Counted(
        "number",
        "%(number)s document is in the stage “%(stage)s”. Move it to another stage first.",
        "%(number)s documents are in the stage “%(stage)s”. Move them to another stage first.",
    ),
    "alias_stage_of_other_type": _l("This stage belongs to another document type."),
    "alias_document_of_other_type": _l("This document is of another type than the alias."),
    "alias_without_followers": _l(
        "Choose the document whose followers may write, or allow other senders. Otherwise no one can write."
    ),
    "dedicated_server_needed": _l("Choose the server for mailings."),
    "alias_domain_needed": _l("The alias domain is required: without it there are no addresses."),
    "company_needed": _l("Enter your company name; it is shown in emails."),
    "used_as_dedicated": _l("it is the Dedicated Server under Email Marketing ‣ Settings"),
    "used_by_mailing": _l("the mailing “%(subject)s” is not finished"),
    "used_by_more_mailings": Counted(
        "number", "%(number)s more mailing is not finished", "%(number)s more mailings are not finished"
    ),
    "used_by_waiting_mails": Counted(
        "number", "%(number)s waiting email must go through it", "%(number)s waiting emails must go through it"
    ),
}
