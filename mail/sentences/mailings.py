"""Mailings, chunks and traces (mail/mailing)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
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
    "mailing_server_gone": _l(
        "The outgoing server of this mailing was deleted or turned off. Press Resume to choose the server again."
    ),
    "mailing_custom_off": _l(
        "Custom Email Servers was turned off, so this mailing no longer goes through “%(server)s”. Press Resume to "
        "choose the server again."
    ),
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
}
