"""Delivering an email: what servers answer, what waits or ends, what can't be sent (mail/transport/smtp_meanings.py,
mail/message/compose.py, mail/decide/retry.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
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
        "of the domain. %(again)s"
    ),
    "account_blocked": _l(
        "The email provider does not let your account send emails: “%(reply)s”. Ask the provider to unblock it; if "
        "nobody here sent spam, change the password of the account first."
    ),
    "account_not_ready": _l(
        "The email provider does not let your account send this yet: “%(reply)s”. Log in there and complete what is "
        "missing, such as the approval of the account or the verification of a domain."
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
        "The server does not know the mailbox %(address)s at the moment: “%(reply)s”. Check the address. %(again)s"
    ),
    "no_such_domain": _l(
        "The domain of %(address)s does not exist or does not accept emails: “%(reply)s”. Check the part after the @, "
        "or ask the recipient for the correct address."
    ),
    "no_such_domain_now": _l(
        "The domain of %(address)s can't be found at the moment: “%(reply)s”. Check the part after the @. %(again)s"
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
        "The mailbox %(address)s does not accept emails at the moment: “%(reply)s”. %(again)s"
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
        "If this persists, ask the provider of the outgoing server. %(again)s"
    ),
    "no_reverse_name": _l(
        "The server refuses the sending IP address because it has no valid host name (reverse DNS): “%(reply)s”. The "
        "provider of the outgoing server must set one."
    ),
    "no_reverse_name_now": _l(
        "The server refuses the sending IP address for now because it has no valid host name (reverse DNS): "
        "“%(reply)s”. The provider of the outgoing server must set one. %(again)s"
    ),
    "blocked_without_proof": _l(
        "The server could not verify the sender's domain (SPF, DKIM or DMARC): “%(reply)s”. Have the DNS records of "
        "the domain corrected, or send through a server that is allowed to send for it."
    ),
    "blocked_without_proof_now": _l(
        "The server accepts few emails because it could not verify the sender's domain (SPF, DKIM or DMARC): "
        "“%(reply)s”. Have the DNS records of the domain corrected. %(again)s"
    ),
    "blocked_as_spam": _l(
        "The server treats the email as spam: “%(reply)s”. Change its text or links, or ask the recipient to allow "
        "your emails; the address is not the reason."
    ),
    "blocked_as_spam_now": _l("The server suspects the email of being spam: “%(reply)s”. %(again)s"),
    "blocked_as_dangerous": _l(
        "The server treats an attachment or link of the email as dangerous: “%(reply)s”. Send it without that "
        "attachment, or share a link to the file."
    ),
    "too_large_there": _l("The email is too large for the server: “%(reply)s”. Send it with smaller attachments."),
    "mailbox_full": _l(
        "The mailbox of %(address)s is full: “%(reply)s”. Contact the recipient another way, and retry later."
    ),
    "mailbox_full_now": _l("The mailbox of %(address)s is full: “%(reply)s”. %(again)s"),
    "sending_limit": _l(
        "The sending limit of your email provider has been reached: “%(reply)s”. Retry later, or ask the provider for "
        "a higher limit."
    ),
    "provider_limit_now": _l(
        "The sending limit of your email provider has been reached: “%(reply)s”. For a higher limit, ask the provider. "
        "%(again)s"
    ),
    "recipient_limit": _l("The mailbox %(address)s gets too many emails at the moment: “%(reply)s”. Retry later."),
    "recipient_limit_now": _l("The mailbox %(address)s gets too many emails at the moment: “%(reply)s”. %(again)s"),
    "sending_limit_now": _l("The server asks to send more slowly: “%(reply)s”. %(again)s"),
    "greylisted": _l("The server makes unknown senders wait for a few minutes (greylisting): “%(reply)s”. %(again)s"),
    "session_full": _l("The server accepts no more emails over this connection: “%(reply)s”. %(again)s"),
    "server_busy": _l("The server is busy or has a problem of its own: “%(reply)s”. %(again)s"),
    "deferred": _l("The server did not accept the email yet: “%(reply)s”. %(again)s"),
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
    "server_away": _l("The chosen outgoing server was deleted or turned off. CoquiMail looks for another one."),
    "practice_away": _l("The practice mailbox is not ready yet. %(again)s"),
    "larger_than_allowed": _l(
        "The email is %(size)s MB; the limit is %(limit)s MB (mail.max_size). Send a smaller file."
    ),
    "address_unusable": _l("“%(address)s” is not an email address. Correct it."),
    "address_has_it": _l("%(address)s is already a recipient of this email."),
    "address_alone": _l("Enter the address alone, without a name: %(address)s"),
    "address_too_late": _l("This email is being sent already. Wait for its result."),
    "address_unchanged": _l("%(address)s is the address that failed. Enter the correct one."),
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
    "server_slowed": _l(
        "“%(server)s” asked for fewer emails at a time. The rest waits a while and is then sent automatically."
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
}
