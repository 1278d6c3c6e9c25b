"""Servers, domains, contacts, lists and other records, and what may be saved (webapp/admin, *_rules.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "sends_from_invalid": _l(
        "“%(entry)s” is neither an IP address nor a name. Enter addresses such as 203.0.113.7, or the name to include "
        "in SPF, such as spf.provider.com."
    ),
    "sends_from_private": _l(
        "%(entry)s is not a public address. Enter the address that receivers see: usually that of your router or your "
        "data center."
    ),
    "sends_from_wide": _l(
        "%(entry)s is too large a network: too many others could send as you. Enter a network of %(widest)s or smaller."
    ),
    "sends_from_mixed": _l(
        "Enter either IP addresses or one name to include in SPF. If your provider gives you both, enter the name."
    ),
    "sends_from_many": Counted(
        "count",
        "%(count)s entry is too many: at most %(most)s are possible. Enter the network that they are in.",
        "%(count)s entries are too many: at most %(most)s are possible. Enter the network that they are in.",
    ),
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
        "number",
        "%(number)s waiting email under Email ‣ Outgoing emails must go through it",
        "%(number)s waiting emails under Email ‣ Outgoing emails must go through it",
    ),
}
