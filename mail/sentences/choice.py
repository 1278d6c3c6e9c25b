"""The choice of the outgoing server and of the From address (mail/decide/servers.py, sender.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
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
    "envelope_verp_off": _l(
        "All recipients share one bounce address, because “%(server)s” is set up that way, or has refused a sender "
        "with a plus."
    ),
    "envelope_verp_untried": _l(
        "All recipients share one bounce address, because no test has shown that “%(server)s” takes unique ones. “Test "
        "sending and receiving” on the page of this server does."
    ),
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
}
