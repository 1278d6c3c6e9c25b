"""Every explanation the product gives, in one table: a code becomes a sentence here and nowhere else.

Decisions, steps, reasons and failures are stored as ``{"code": ..., "values": {...}}`` so that a mail of last year can
still be explained, in the reader's language.
"""

from typing import Any, TypedDict

from flask_babel import lazy_gettext as _l


class Why(TypedDict):
    """An explanation as it is stored: a code of ``SENTENCES`` and the values that its sentence names."""

    code: str
    values: dict[str, Any]


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
    return str(sentence) % _Named(reason["values"])


class _Named(dict[str, Any]):
    """Values for a sentence; one that an old record does not have is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


SENTENCES: dict[str, Any] = {
    # --- the choice of the outgoing server and the From (servers.py, sender.py)
    "no_server": _l("There is no active outgoing server and no default server. Add one under Outgoing Email Servers."),
    "server_off": _l(
        "The outgoing server “%(server)s” that this mail has to go through is switched off. Switch it on, or choose "
        "another one; nothing was sent through another server."
    ),
    "server_gone": _l(
        "The outgoing server that this mail has to go through does not exist any more. Choose another one; nothing was "
        "sent through another server."
    ),
    "filter_blank": _l("The From filter holds only blanks or commas. Leave it empty, or write a domain or an address."),
    "filter_entry_invalid": _l(
        "“%(entry)s” is neither a domain nor an address. Write example.com or sales@example.com, separated by commas."
    ),
    "search_forced": _l("This mail has a server of its own, “%(server)s”: there is no search."),
    "search_custom_off": _l("Custom Email Servers are switched off, so the default server sends."),
    "search_no_record": _l("No outgoing server is active, so the default server sends."),
    "search_no_sender": _l("%(number)s. Not looked for: the mail has no usable From address."),
    "search_no_default": _l("%(number)s. Not looked for: there is no default address (mail.default.from)."),
    "search_address": _l("%(number)s. A server whose From filter has the address %(wanted)s: none of %(count)s."),
    "search_address_found": _l("%(number)s. A server whose From filter has the address %(wanted)s: “%(server)s”."),
    "search_domain": _l("%(number)s. A server whose From filter has the domain %(wanted)s: none of %(count)s."),
    "search_domain_found": _l("%(number)s. A server whose From filter has the domain %(wanted)s: “%(server)s”."),
    "search_no_filter": _l("%(number)s. A server without a From filter: none of %(count)s."),
    "search_no_filter_found": _l("%(number)s. A server without a From filter: “%(server)s”."),
    "search_default_address": _l(
        "%(number)s. A server whose From filter has the default address %(wanted)s: none of %(count)s."
    ),
    "search_default_address_found": _l(
        "%(number)s. A server whose From filter has the default address %(wanted)s: “%(server)s”."
    ),
    "search_default_domain": _l(
        "%(number)s. A server whose From filter has the domain of the default address, %(wanted)s: none of %(count)s."
    ),
    "search_default_domain_found": _l(
        "%(number)s. A server whose From filter has the domain of the default address, %(wanted)s: “%(server)s”."
    ),
    "search_first_found": _l("%(number)s. The first server by priority: “%(server)s”."),
    "search_more": _l("… and %(count)s more servers."),
    "server_chosen": _l("“%(server)s” (priority %(priority)s) matches and comes first."),
    "server_later": _l("“%(server)s” (priority %(priority)s) matches too, but comes later."),
    "server_other_filter": _l("“%(server)s” does not match: its From filter is %(filter)s."),
    "server_without_filter": _l("“%(server)s” does not match: it has no From filter."),
    "server_has_filter": _l("“%(server)s” does not match: it has the From filter %(filter)s."),
    "default_filter_parameter": _l("The From filter of the default server is the parameter: %(filter)s."),
    "default_filter_environment": _l("The From filter of the default server comes from the environment: %(filter)s."),
    "default_filter_none": _l("The default server has no From filter."),
    "from_missing": _l(
        "The mail has no From, and there is no default address to send it as. Set the system parameter "
        "mail.default.from, then send it again."
    ),
    "from_invalid": _l(
        "“%(sender)s” holds no usable address, and there is no default address to send the mail as. Correct the From, "
        "or set the system parameter mail.default.from, then send it again."
    ),
    "from_default": _l("The mail has no usable From (“%(sender)s”), so it is sent as the default address %(address)s."),
    "from_first_of_several": _l("The From holds several addresses: the first, %(address)s, is used."),
    "from_in_filter": _l("The From %(address)s stays: the filter of “%(server)s” has %(entry)s."),
    "from_on_alias_domain": _l("The From %(address)s stays: %(domain)s is the alias domain."),
    "from_in_other_filter": _l("The From %(address)s stays: it is one of ours, the filter of “%(server)s” has it."),
    "from_kept_by_server": _l("The From %(address)s stays: “%(server)s” is set to keep it always."),
    "from_kept_no_default": _l("The From %(address)s stays, because there is no default address to put in its place."),
    "from_is_default": _l("The From is the default address %(address)s already."),
    "from_not_in_filter": _l(
        "The filter of “%(server)s” (%(filter)s) does not have %(address)s: the mail is sent as %(default)s under the "
        "author's name."
    ),
    "from_not_ours": _l(
        "%(address)s is not one of our addresses, and its domain may forbid that we send as it: the mail is sent as "
        "%(default)s under the author's name."
    ),
    "from_always_rewritten": _l(
        "“%(server)s” is set to rewrite every From: the mail is sent as %(default)s under the author's name."
    ),
    "from_needs_smtputf8": _l(
        "%(address)s has letters before the @ that only a server with SMTPUTF8 can take; others will refuse the mail."
    ),
    "no_default_address": _l(
        "“%(server)s” may refuse %(address)s, and there is no default address to send as. Set the system parameters "
        "mail.default.from and mail.catchall.domain."
    ),
    "default_not_in_filter": _l(
        "The default address %(address)s is not in the filter of “%(server)s” (%(filter)s) either: the server may "
        "refuse the mail. Add it to the filter, or change mail.default.from."
    ),
    "envelope_bounce": _l("Delivery failures go to the bounce address %(address)s."),
    "envelope_given": _l("Delivery failures go to %(address)s, as the mail says."),
    "envelope_null": _l("Delivery failures go nowhere: the mail is an automatic answer."),
    "envelope_not_in_filter": _l(
        "Delivery failures go to the From %(address)s: the filter of “%(server)s” does not have %(wanted)s."
    ),
    "envelope_no_bounce_address": _l(
        "Delivery failures go to the From %(address)s: without mail.catchall.domain there is no bounce address."
    ),
    "reply_to_given": _l("Answers go to %(reply_to)s, as the mail says."),
    "reply_to_invalid": _l("“%(reply_to)s” holds no usable address, so it is not used for answers."),
    "reply_to_alias": _l("Answers go to the alias of the document's type, %(address)s."),
    "reply_to_catchall": _l("Answers go to the catchall address %(address)s."),
    "reply_to_author": _l("Answers go to the author, %(address)s."),
    "needs_smtputf8": _l(
        "The address %(address)s has letters before the @ that the outgoing server can't take (it does not offer "
        "SMTPUTF8). Use another address, or a server that offers SMTPUTF8."
    ),
    # --- composing and delivering (compose.py, retry.py, transport/smtp.py)
    # --- connecting and testing (transport/smtp_session.py, smtp_check.py, mailbox.py, imap.py, pop3.py)
    "name_not_found": _l(
        "The name %(host)s does not exist. Compare it, letter by letter, with what your mail provider tells you to "
        "enter."
    ),
    "name_lookup_failed": _l(
        "The name %(host)s could not be looked up just now (%(detail)s). CoquiMail tries again by itself; if it stays "
        "so, ask whoever looks after your network to check the name service (DNS) of this machine."
    ),
    "address_not_allowed": _l(
        "%(host)s stands for %(address)s, and this installation does not connect to such addresses. If the server "
        "really is inside your own network, whoever runs CoquiMail can allow local addresses."
    ),
    "port_not_allowed": _l(
        "Port %(port)s of %(host)s is not a mail port. Use one of %(ports)s, or ask whoever runs CoquiMail to allow "
        "local addresses."
    ),
    "connection_refused": _l(
        "%(host)s is there, but nothing answers on port %(port)s. Check the port and the encryption (465 for TLS, 587 "
        "for STARTTLS); if they are right, ask the provider whether the service is running."
    ),
    "unreachable": _l(
        "No connection to %(host)s, port %(port)s (%(detail)s). Check host and port; a firewall between this machine "
        "and the server may also block the port: ask whoever looks after your network."
    ),
    "timed_out": _l(
        "%(host)s did not answer within %(seconds)s seconds. Often a firewall swallows the port, or the encryption "
        "does not fit the port (465 for TLS, 587 for STARTTLS). CoquiMail tries again by itself."
    ),
    "connection_lost": _l(
        "%(host)s closed the connection before the mail was handed over. Nothing was sent; CoquiMail tries again by "
        "itself."
    ),
    "not_understood": _l(
        "What answers at %(host)s, port %(port)s does not speak the expected mail protocol (it said “%(reply)s”). "
        "Check the port, and whether the encryption fits it (465 for TLS, 587 for STARTTLS)."
    ),
    "tls_failed": _l(
        "The encrypted connection to %(host)s could not be set up (%(detail)s). Check that the encryption fits the "
        "port (465 for TLS, 587 for STARTTLS); otherwise the provider has to look at the server."
    ),
    "starttls_missing": _l(
        "%(host)s does not offer STARTTLS on this port. Choose TLS with port 465, or ask the provider. Nothing was "
        "sent unencrypted."
    ),
    "certificate_refused": _l(
        "The certificate of %(host)s could not be verified (%(detail)s), so nobody can say who is listening there. The "
        "provider has to install a certificate from a public authority."
    ),
    "certificate_expired": _l(
        "The certificate of %(host)s has expired. The provider has to renew it; mail waits until then."
    ),
    "certificate_self_signed": _l(
        "%(host)s shows a certificate that it signed itself, which anybody could do. The provider has to install one "
        "from a public authority; for a server of your own, its authority can be added to this machine."
    ),
    "certificate_wrong_name": _l(
        "The certificate shown at %(host)s is for another name (%(detail)s). Enter the host name that the provider "
        "gives for sending; if this one is right, the provider has to correct the certificate."
    ),
    "client_certificate_unusable": _l(
        "The client certificate or its key can't be used (%(detail)s). Paste both again, as PEM text, the key without "
        "a password."
    ),
    "greeting_refused": _l(
        "%(host)s refuses to talk to this machine: “%(reply)s”. Often the internet address of this machine is on a "
        "block list or not registered there: ask the provider."
    ),
    "login_refused": _l(
        "%(host)s refused the user %(user)s: “%(reply)s”. Enter user and password again; many providers want a special "
        "password for programs (“app password”)."
    ),
    "login_not_offered": _l(
        "%(host)s offers no login that CoquiMail knows (it offers: %(offered)s). Often the login is only offered over "
        "an encrypted connection: choose STARTTLS or TLS, or set the authentication to none."
    ),
    "journal_failed": _l(
        "The sending journal on this machine can't be written (%(detail)s), so nothing is sent. Whoever looks after "
        "this machine has to make room on its disk or correct the rights of the data folder; mail then goes on by "
        "itself."
    ),
    "refused": _l(
        "The server refused the mail: “%(reply)s”. It is not tried again by itself. Correct the cause the server "
        "names, then send it again."
    ),
    "sender_refused": _l(
        "The server refused to send as %(address)s: “%(reply)s”. The account has to be allowed to send as this "
        "address: ask the provider, or choose another From filter or default address."
    ),
    "recipient_refused": _l(
        "The server refused the recipient %(address)s: “%(reply)s”. Check the address; if it is right, the recipient's "
        "provider has to tell why."
    ),
    "deferred": _l("The server did not take the mail yet: “%(reply)s”. CoquiMail tries again by itself."),
    "too_large": _l(
        "The mail has %(size)s bytes, and %(host)s takes no more than %(limit)s. Send it with smaller attachments."
    ),
    "invalid_address": _l("“%(address)s” can't be used as an address in a delivery. Correct it and send again."),
    "in_doubt": _l(
        "The mail was handed to %(host)s completely, but its answer was never seen: it may or may not have arrived. "
        "Ask the recipient before sending it again."
    ),
    "test_name_found": _l("The name %(host)s was found: %(addresses)s."),
    "test_connected": _l("Connected to %(address)s, port %(port)s."),
    "test_greeting": _l("The server answers: “%(reply)s”."),
    "test_capabilities": _l("The server offers: %(offered)s."),
    "test_tls": _l("The connection is encrypted with %(version)s; the certificate is valid until %(expires)s."),
    "test_tls_expires_soon": _l(
        "The connection is encrypted with %(version)s, but the certificate expires on %(expires)s, in %(days)s days. "
        "The provider has to renew it, or mail will wait from then on."
    ),
    "test_tls_unverified": _l(
        "The connection is encrypted with %(version)s, but the certificate is not verified: switch verification on "
        "unless you know exactly why it is off."
    ),
    "test_tls_off": _l("No encryption: user, password and mails can be read on their way."),
    "test_login": _l("The server accepted the user %(user)s."),
    "test_login_by_certificate": _l("The client certificate was presented; the server raised no objection."),
    "test_login_off": _l("No login is set up for this server."),
    "test_sender": _l("The server lets you send as %(address)s."),
    "test_sender_but_recipient": _l(
        "The server lets you send as %(address)s, but refused to deliver to %(recipient)s: “%(reply)s”. If that "
        "address is right, ask the provider whether this account may send to it."
    ),
    "test_sender_deferred": _l(
        "The server does not take mail from %(address)s at the moment: “%(reply)s”. Test again in a few minutes."
    ),
    "test_not_tried": _l("Not tried, because an earlier step failed."),
    "test_out_of_time": _l("Not tried: the test ends after %(seconds)s seconds, and the steps before took them."),
    "server_away": _l("The outgoing server that was chosen is deleted or switched off; another one is chosen."),
    "practice_away": _l("The practice mailbox is not listening yet; the mail goes out as soon as it does."),
    "larger_than_allowed": _l(
        "The mail has %(size)s MB, the largest that is sent has %(limit)s MB (mail.max_size). Send a smaller file."
    ),
    "address_unusable": _l("“%(address)s” is not a mail address. Correct it."),
    "address_has_it": _l("%(address)s is a recipient of this mail already."),
    "left_the_queue": _l("Cancelled by a person before it was sent."),
    "gave_up": _l("Tried for 48 hours without success. The last answer was: %(last)s"),
    "unknown_once": _l(
        "The process ended while the server was answering, so nobody knows whether it took the mail. It is sent once "
        "more under the same Message-ID."
    ),
    "unknown_final": _l(
        "Twice nobody saw the server's answer, so it is not certain that the mail arrived. Ask the recipient, or "
        "press Retry."
    ),
    "sent_unrecorded": _l("The server took the mail; the process ended before it could write down the dialogue."),
    "address_corrected": _l("The address was corrected from %(before)s to %(after)s."),
    "mailbox_connection_refused": _l(
        "%(host)s is there, but nothing answers on port %(port)s. Check the port and the encryption (IMAP: 993 for "
        "TLS, "
        "143 for STARTTLS; POP3: 995 and 110); if they are right, ask the provider whether the service is running."
    ),
    "mailbox_timed_out": _l(
        "%(host)s did not answer within %(seconds)s seconds. Often a firewall swallows the port, or the encryption "
        "does "
        "not fit the port (IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110). The mails stay there; CoquiMail "
        "tries again by itself."
    ),
    "mailbox_connection_lost": _l(
        "%(host)s closed the connection. Mails that were not stored yet stay there and are fetched the next time."
    ),
    "mailbox_not_understood": _l(
        "What answers at %(host)s, port %(port)s does not speak the expected protocol (it said “%(reply)s”). Check the "
        "type of the server, the port, and whether the encryption fits it (IMAP: 993 for TLS, 143 for STARTTLS; POP3: "
        "995 and 110)."
    ),
    "mailbox_tls_failed": _l(
        "The encrypted connection to %(host)s could not be set up (%(detail)s). Check that the encryption fits the "
        "port "
        "(IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110); otherwise the provider has to look at the server."
    ),
    "mailbox_starttls_missing": _l(
        "%(host)s does not offer STARTTLS on this port. Choose TLS (IMAP: port 993, POP3: port 995), or ask the "
        "provider. The password was not sent."
    ),
    "mailbox_certificate_wrong_name": _l(
        "The certificate shown at %(host)s is for another name (%(detail)s). Enter the host name that the provider "
        "gives "
        "for receiving; if this one is right, the provider has to correct the certificate."
    ),
    "mailbox_busy": _l(
        "%(host)s can't open the mailbox of %(user)s just now: “%(reply)s”. Often another program has it open; "
        "CoquiMail "
        "tries again by itself."
    ),
    "mailbox_folder_missing": _l(
        "The mailbox has no folder “%(folder)s” that can be opened. The server has: %(folders)s. Enter one of these."
    ),
    "mailbox_unusable": _l(
        "%(host)s gives its mails no lasting numbers (%(detail)s), so CoquiMail could not tell which ones it already "
        "has. Choose the other type (IMAP or POP3), or ask the provider."
    ),
    "mailbox_refused": _l(
        "%(host)s refused a request: “%(reply)s”. CoquiMail tries again by itself; if it stays so, show this to the "
        "provider."
    ),
    "mailbox_took_too_long": _l(
        "%(host)s did not get done within %(seconds)s seconds. What was stored is kept, and the next fetch goes on "
        "from "
        "there."
    ),
    "mailbox_mail_too_large": _l(
        "The mail has %(megabytes)s MB; the limit is %(limit)s MB. Only its header was brought; the mail itself "
        "stays on "
        "the server."
    ),
    "mailbox_mail_unreadable": _l(
        "The server could not give this mail out: “%(reply)s”. It stays there; look at it with a mail program, or show "
        "this to the provider."
    ),
    "mailbox_test_tls_off": _l("No encryption: the password and all mails can be read on their way."),
    "mailbox_test_empty": _l("The folder %(folder)s is there and empty."),
    "mailbox_test_mails": _l("The folder %(folder)s is there with %(count)s mails."),
    "mailbox_test_newest": _l("The folder %(folder)s is there with %(count)s mails, the newest of %(newest)s."),
    # --- parsing, routing, threads (message.py, routing.py, incoming.py)
    "route_own_mail": _l("One of our own mails came back (%(id)s): nothing to do."),
    "route_duplicate": _l("Every place that this mail goes to has had it already."),
    "route_partly_duplicate": _l("%(n)s of its destinations had this mail already; %(left)s had not."),
    "route_no_own_answer": _l("It is no answer to a rejection of ours."),
    "route_own_answer": _l("It answers a rejection of ours (%(id)s): ignored, or two machines might go on for ever."),
    "route_unsubscribe": _l("A reader of a mailing leaves its lists: the subject is what our header asked for."),
    "route_no_report": _l("It is no delivery report."),
    "route_auto_at_bounce": _l("It came to the bounce address, but a machine answered it: no delivery report."),
    "route_report_bounce": _l("It reports that mail could not be delivered to %(addresses)s."),
    "route_report_delay": _l("It reports that mail to %(addresses)s is late; it is still being tried."),
    "route_report_delivered": _l("It reports that mail to %(addresses)s arrived."),
    "route_report_receipt": _l("It is a read receipt of %(addresses)s."),
    "route_report_complaint": _l("It is a complaint: somebody called a mail of ours spam. %(addresses)s"),
    "route_report_feedback": _l("It is a report of a mail provider, but no complaint. %(addresses)s"),
    "route_report_unreadable": _l(
        "It is a delivery report that names no address; nobody is blamed. Open the mail to see what it is about."
    ),
    "route_report_ours": _l("The report belongs to a mail that we sent."),
    "route_report_not_ours": _l("None of the mails that we sent is named in the report."),
    "route_no_auto_reply": _l("It is no automatic answer."),
    "route_auto_reply_noted": _l("It is an automatic answer: an internal note in its thread, relayed to nobody."),
    "route_auto_reply_ignored": _l("It is an automatic answer that belongs to no thread: ignored."),
    "route_no_thread": _l("It answers no message of ours (%(n)s ids looked up)."),
    "route_thread_gone": _l("It answers a message of ours whose thread is gone."),
    "route_mailing_answered": _l("It answers a mailing: the recipient is marked as having replied."),
    "route_forward": _l("It was forwarded to %(addresses)s, for documents of another type: not posted in the thread."),
    "route_reply": _l("It answers a message of ours: posted in that thread."),
    "route_no_catchall": _l("It was not sent to the catchall address."),
    "route_catchall_and_alias": _l("It was sent to the catchall address, but to an alias as well."),
    "route_no_alias": _l("It was sent to none of our aliases."),
    "route_alias": _l("It was sent to the alias %(address)s: a new document."),
    "route_alias_fixed": _l("It was sent to the alias %(address)s, whose mail is all posted on one document."),
    "route_alias_retired": _l("%(address)s is a retired alias; its mail still arrives until you remove it."),
    "route_no_action": _l("The incoming server has no action for incoming mails."),
    "route_action": _l("The incoming server's action makes a new document of it."),
    "route_unknown_address": _l(
        "%(address)s is no address of ours. Make it an alias, or route this mail to a document by hand."
    ),
    "route_nobody": _l("No rule found a place for it. Route it to a document or a type by hand, or drop it."),
    "route_loop_allowed": _l("The loop brake leaves %(sender)s alone (system parameter mail.gateway.allowed)."),
    "route_loop_ignored": _l("The sender was told already: ignored."),
    "reject_loop": _l(
        "Too many mails: number %(n)s of this sender to the same place within %(minutes)s minutes (limit %(limit)s)."
        " Please wait before you write again."
    ),
    "reject_catchall": _l("%(address)s only collects answers to mails of ours. Please write to %(instead)s instead."),
    "reject_catchall_only": _l("%(address)s only collects answers to mails of ours; a new mail can't be sent to it."),
    "reject_users": _l("Only members of our team may write to %(address)s."),
    "reject_contacts": _l("Only contacts that we know may write to %(address)s."),
    "reject_followers": _l("Only those who take part in the discussion may write to %(address)s."),
    "reject_followers_of_nothing": _l(
        "%(address)s takes mail of followers only, but names no document that anybody could follow."
        " Its administrator must give it a parent document."
    ),
    # who wrote it (author.py)
    "author_behind_own_address": _l(
        "The From (%(sender)s) is one of our own addresses, so the author is the person in Reply-To: %(author)s."
    ),
    "author_behind_no_reply": _l(
        "Nobody reads at the From (%(sender)s), so the author is the person in Reply-To: %(author)s."
    ),
    "author_behind_group": _l("A group forwarded this email as %(sender)s; the author is %(author)s."),
    "author_replies_elsewhere": _l("%(sender)s asked for replies to go to %(reply_to)s."),
    "parse_failed": _l("The mail could not be read (%(error)s). Open the original, and report this to the developers."),
    "parse_line_ends": _l("The lines of this mail ended in an outdated way; they were repaired."),
    "parse_header_repeated": _l("The header “%(name)s” stood more than once; the first one counts."),
    "parse_no_message_id": _l("The mail has no Message-ID."),
    "parse_no_sender": _l("No sender's address could be read."),
    "parse_no_date": _l("The mail has no date; the time of arrival is used."),
    "parse_date_unreadable": _l("The date “%(date)s” could not be read; the time of arrival is used."),
    "parse_date_future": _l("The date of the mail (%(date)s) is in the future; the time of arrival is used."),
    "parse_no_blank_line": _l("No empty line ended the header; the text begins where the header fields end."),
    "parse_line_noise": _l("The header held lines that are no header fields; they were left out."),
    "parse_no_boundary": _l("The mail says that it has several parts, but they could not be told apart."),
    "parse_not_closed": _l("The mail ends before its last part does; it may be cut off."),
    "parse_base64": _l("An encoded part was damaged; what could be read of it is here."),
    "parse_text_damaged": _l("Some characters are not valid in the character set “%(charset)s” and were replaced."),
    "parse_charset_unknown": _l("The character set “%(charset)s” is not known; the text was read as UTF-8."),
    "parse_zero_bytes": _l("The mail held zero bytes; they were left out of the text."),
    "parse_too_large": _l("The mail has %(megabytes)s MB; the limit is %(limit)s MB. Open the original to see it."),
    "parse_too_many_parts": _l("The mail has more than %(limit)s parts. Open the original to see all of it."),
    "parse_too_deep": _l("More than %(limit)s parts are nested in each other. Open the original to see it."),
    "parse_header_too_large": _l("The header of the mail has %(kilobytes)s KB; more than %(limit)s KB are not read."),
    "changed_title": _l("%(who)s changed the title from “%(before)s” to “%(after)s”."),
    "changed_stage": _l("%(who)s moved it from %(before)s to %(after)s."),
    "changed_responsible": _l("%(who)s made %(after)s responsible (before: %(before)s)."),
    "follows": _l("follows this document"),
    "follow_added": _l("was added as a follower"),
    "follow_contact": _l("is the customer of this document"),
    "follow_responsible": _l("is responsible for this document"),
    "follow_author": _l("wrote the mail that opened it"),
    "follow_posted": _l("has written here"),
    "follow_opened": _l("made this document"),
    "follow_wrote": _l("wrote to the address of this document"),
    "left_alone": _l(
        "This mail lay in the mailbox before CoquiMail was connected to it, so it is left alone. The incoming server "
        "has a setting that fetches such mails too."
    ),
    "process_failed": _l(
        "The mail could not be filed (%(error)s). Press Retry; if that fails again, choose a document for it, and "
        "report this to the developers."
    ),
    "process_gave_up": _l(
        "The worker stopped %(attempts)s times while it was busy with this mail, so it was put aside. Open it with "
        "care, and report this to the developers."
    ),
    "quarantine_routed_document": _l("Somebody chose the document %(number)s for this mail."),
    "quarantine_routed_type": _l("Somebody had a new document made of this mail."),
    "quarantine_rejected": _l(
        "Your mail could not be delivered to anybody here. Please use another address or call us."
    ),
    "quarantine_dropped": _l("Somebody looked at this mail and dropped it."),
    # --- bounces and the blacklist (bounce.py)
    "bounced_hard": _l(
        "The mail came back: there is no mailbox %(address)s (“%(text)s”). Ask the recipient for the right address and "
        "correct it."
    ),
    "bounced_soft": _l("The mail to %(address)s came back (“%(text)s”). Send it again later, or call the recipient."),
    "bounced_blocked": _l(
        "The recipient's server refused the mail to %(address)s for its content or its sender (“%(text)s”). Write "
        "differently, or ask the recipient to let your mail in."
    ),
    "bounced_full": _l("The mailbox %(address)s is full (“%(text)s”). Send it again later, or call the recipient."),
    "bounce_names_nobody": _l(
        "A report says that one of the recipients did not get this mail, but not which one (“%(text)s”). Ask those who "
        "do not answer."
    ),
    "bounce_detector_failed": _l("Part of the report could not be examined (%(error)s)."),
    "blacklist_due": _l(
        "%(count)s bounces in the last %(days)s days (limit %(bounces)s), the first and the last %(apart)s days apart"
        " (at least %(spread_days)s): the address is taken for invalid and gets no more mailings."
    ),
    "blacklist_not_due": _l(
        "%(count)s of %(bounces)s bounces in %(days)s days, %(apart)s of %(spread_days)s days apart."
    ),
    "blacklist_complaint": _l("Blacklisted, because the owner of the address reported our mail as spam."),
    "blacklist_manual": _l("Blacklisted by %(user)s."),
    "blacklist_manual_reason": _l("Blacklisted by %(user)s: %(reason)s."),
    "blacklist_unsubscribed": _l("Blacklisted, because the owner of the address wants no more mailings at all."),
    "blacklist_removed": _l("Taken from the blacklist by %(user)s: %(reason)s. Only bounces from now on count."),
    # --- mailings (mailing.py, chunks.py, traces.py)
    "mailing_no_subject": _l("The subject is empty. Write one: it is the first thing that the recipients see."),
    "mailing_no_content": _l("The mailing has no text yet."),
    "mailing_no_list": _l("No list is chosen. Choose at least one list of recipients."),
    "mailing_nobody": _l("Nobody is subscribed to the chosen lists. Add contacts to a list first."),
    "mailing_all_left_out": _l(
        "Everybody on the chosen lists is left out. Choose other lists, or add contacts to them."
    ),
    "mailing_not_draft": _l("This mailing was sent or scheduled before. Duplicate it to send it again."),
    "mailing_has_begun": _l("This mailing has begun, so it can't become a draft again. Pause or cancel it instead."),
    "mailing_paused_by": _l("Paused by %(user)s. Press Resume to go on with those who have not got it yet."),
    "mailing_cancelled_by": _l("Cancelled by %(user)s. Who had not got it by then will not."),
    "mailing_paused_failures": _l(
        "Paused by itself: %(failed)s of the last %(tried)s recipients failed. Look at the failed recipients, mend the "
        "cause, then press Resume."
    ),
    "left_out_pending": _l("Left out: has not confirmed the subscription yet."),
    "left_out_unsubscribed": _l("Left out: unsubscribed from the chosen lists."),
    "left_out_archived": _l("Left out: the contact is archived."),
    "left_out_no_address": _l("Left out: the contact has no mail address."),
    "left_out_blacklisted": _l("Left out: the address is on the blacklist."),
    "left_out_cancelled": _l("Not sent: the mailing was cancelled before."),
    "trace_in_doubt": _l(
        "The worker was stopped while this mail was being handed over: it may or may not have arrived. It is not sent "
        "again by itself."
    ),
    "doubt_sent_again": _l("Nobody knew whether this mail had arrived; %(user)s had it sent once more."),
    "doubt_left": _l("Nobody knows whether this mail arrived; %(user)s left it at that."),
    "mailing_cancelled_for_good": _l("The mailing was cancelled, so nothing more is sent. Duplicate it instead."),
    "unsubscribed_by_page": _l("Unsubscribed by the link in the mailing “%(mailing)s”."),
    "unsubscribed_by_one_click": _l("Unsubscribed by the button of the mail program, from the mailing “%(mailing)s”."),
    "unsubscribed_by_mail": _l("Unsubscribed by a mail, from the mailing “%(mailing)s”."),
    "subscribed_again": _l("Took back unsubscribing, on the page of the mailing “%(mailing)s”."),
    "subscribed_by_import": _l("Added to the list “%(list)s” by %(user)s, who pasted the address."),
    "unsubscribed_by_hand": _l("Unsubscribed by %(user)s: %(reason)s."),
    "subscribed_by_hand": _l("Subscribed again by %(user)s: %(reason)s."),
    "import_no_address": _l("There is no mail address in this line. Write a line like: Ann Lee <ann@example.com>"),
    "import_bad_address": _l("“%(text)s” holds no mail address that can be used. Correct it and add it again."),
    "import_several": _l("There are %(count)s addresses in this line. Put each into a line of its own."),
    "import_twice": _l("%(address)s stands in line %(line)s already."),
    "import_unsubscribed": _l("%(address)s unsubscribed from this list and is not added again by us."),
    "import_archived": _l("The contact with the address %(address)s is archived. Restore it first."),
    "import_line_too_long": _l("The line is longer than %(most)s characters."),
    "merge_unknown_field": _l(
        "%(part)s, line %(line)s: there is no merge field “%(field)s”. The fields are: %(fields)s."
    ),
    "merge_syntax": _l(
        "%(part)s, line %(line)s: “%(text)s” is not a merge field. Write {{ contact.first_name }} or "
        '{{ contact.first_name or "there" }}.'
    ),
    "merge_not_closed": _l(
        "%(part)s, line %(line)s: the merge field that begins with “%(text)s” has no }} at its end."
    ),
    # --- the worker and its actions (scheduler/)
    "loop_died": _l(
        "This part of the worker ended unexpectedly (%(error)s: %(detail)s) and was started again. If that goes on, "
        "report it together with the log of the worker."
    ),
    "database_away": _l("The database can't be used just now (%(detail)s). The worker waits and goes on by itself."),
    "unexpected_failure": _l(
        "Something unexpected happened (%(error)s: %(detail)s). It is tried again at the next run; if it stays so, "
        "report it together with the log of the worker."
    ),
    "run_lost": _l(
        "The worker that did this run ended before it was done. A run that was due is made up by itself; one that you "
        "asked for has to be asked for again."
    ),
    "action_unknown": _l("This version of CoquiMail has no action “%(action)s”: switch it off."),
    "fetch_failed": _l(
        "%(failed)s of %(servers)s incoming servers could not be fetched. %(name)s: %(reason)s The others are not held "
        "up, and it is tried again at the next run."
    ),
    "fetch_under_way": _l("This mailbox is being fetched already."),
    "fetch_interrupted": _l("The worker ended while this mailbox was fetched; what is left comes with the next run."),
    "fetch_started": _l("Fetching the mail of %(name)s."),
    "fetch_done": _l("%(mails)s new mails were fetched."),
    "fetch_goes_on": _l("This takes a while: fetching goes on by itself, and the mails appear as they come."),
    "check_lost": _l("The worker that did this test ended before it was done. Press the button again."),
    "check_server_gone": _l("This server was deleted meanwhile."),
    "check_changed": _l("The server was changed while it was tested. Test it again."),
    "check_no_sender": _l(
        "No address to send as is known: set the alias domain and mail.default.from, or fill in the From filter; then "
        "test again."
    ),
    "check_confirmed": _l(
        "The server is confirmed: mail that arrives from now on is fetched. What lies in the mailbox already is left "
        "alone."
    ),
    "check_confirmed_all": _l("The server is confirmed: what lies in the mailbox is fetched, and so is new mail."),
    # --- servers and settings (uses.py, webapp/admin)
    "test_rest_not_tried": _l("The other %(number)s steps were not tried."),
    "used_as_dedicated": _l("it is the Dedicated Server under Email Marketing ‣ Settings"),
    "used_by_mailing": _l("the mailing “%(subject)s” is not finished"),
    "used_by_more_mailings": _l("%(number)s more mailings are not finished"),
    "used_by_waiting_mails": _l("%(number)s waiting mails have to go through it"),
}
