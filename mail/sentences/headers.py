"""The header explainer (mail/decide/header_story.py, mail/maintenance/explain_header.py)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    # did it come from us
    "header_from_us": _l("CoquiMail sent this email to %(address)s on behalf of %(sender)s."),
    "header_from_us_mailing": _l("CoquiMail sent this email to %(address)s as part of the mailing “%(mailing)s”."),
    "header_from_us_gone": _l("CoquiMail sent this email, but it is no longer stored here."),
    "header_known_by_message_id": _l("Its Message-ID carries a signature that only this office can make."),
    "header_known_by_own_id": _l(
        "Its id header (%(name)s) carries a signature that only this office can make. A relay replaced the Message-ID."
    ),
    "header_known_by_bounce_address": _l(
        "Its envelope sender is a unique bounce address that only this office can make."
    ),
    "header_known_by_relay": _l("The relay that accepted the email gave it this Message-ID."),
    "header_id_can_be_copied": _l("Anyone who received the email knows its ids, so this may also be a copy of it."),
    "header_rejection_of_ours": _l("CoquiMail sent this email: an automatic reply or a rejection."),
    "header_reply_to_ours": _l("CoquiMail did not send this email. It replies to an email that CoquiMail sent."),
    "header_not_from_us": _l("CoquiMail did not send this email: this office made none of its ids."),
    "header_claims_us": _l(
        "CoquiMail did not send this email, although it names an address of yours (%(sender)s) as its sender. Either "
        "another program of yours sent it, or someone else did. The checks below help to tell which."
    ),
    # the way
    "header_no_way": _l("There is no Received line, so the path of this email is unknown. Copy the whole header."),
    "header_way_total": _l("The email took %(time)s from the first server to the last."),
    "header_way_untimed": _l("The Received lines contain no readable times."),
    "header_slowest": _l("The longest wait was before %(host)s accepted it: %(time)s."),
    "header_clock": _l(
        "The clocks of %(before)s and %(host)s differ by at least %(time)s: %(host)s seems to have received the email "
        "before it was sent. Do not rely on the delays next to it."
    ),
    "header_written_late": _l(
        "The sender's program dates the email %(time)s before the first server received it. Either it waited there, or "
        "that clock is wrong."
    ),
    "header_written_ahead": _l(
        "The sender's program dates the email %(time)s after the first server received it: the clock of that computer "
        "is wrong."
    ),
    "header_not_encrypted": _l("The email was not encrypted between %(before)s and %(host)s."),
    "header_all_encrypted": _l("It was encrypted between all servers that mention it."),
    # whose results
    "header_results_by": _l("%(server)s checked the sender when it accepted the email. These are its results."),
    "header_results_by_microsoft": _l(
        "Microsoft 365 checked the sender when it accepted the email. These are its results; it never names the server."
    ),
    "header_results_below": _l(
        "These results name %(server)s, but stand below the line that it added when it accepted the email. If it does "
        "not check senders itself, they may have come with the email: anyone can write such a line."
    ),
    "header_results_doubtful": _l(
        "Do not rely on these results: they name %(server)s, but other servers accepted the email. Anyone can write "
        "such a line into an email."
    ),
    "header_results_nobody": _l(
        "Do not rely on these results: they do not name the server that wrote them. Anyone can write such a line into "
        "an email."
    ),
    "header_results_unplaced": _l(
        "These results name %(server)s. Without Received lines nothing shows whether that server ever had the email."
    ),
    "header_results_none": _l(
        "No server recorded a check of the sender: there is no Authentication-Results line. Nothing is known about "
        "SPF, DKIM and DMARC."
    ),
    "header_results_spf_only": _l("The receiving server recorded only its SPF check (Received-SPF)."),
    "header_results_spf_below": _l(
        "Only an SPF check is recorded (Received-SPF), and nothing shows that the receiving server wrote it. It may "
        "have come with the email: anyone can write such a line."
    ),
    "header_results_more": Counted(
        "count",
        "%(count)s other such line is not used: it is older, or it came with the email.",
        "%(count)s other such lines are not used: they are older, or they came with the email.",
    ),
    # SPF
    "header_spf_pass": _l(
        "The sending server may send for %(domain)s, the domain of the envelope sender. It matches the From address "
        "(%(sender)s), so it counts for DMARC."
    ),
    "header_spf_pass_other": _l(
        "The sending server may send for %(domain)s, the domain of the envelope sender. The From address belongs to "
        "another domain (%(sender)s), so this proves nothing about it and does not count for DMARC."
    ),
    "header_spf_pass_loose": _l(
        "The sending server may send for %(domain)s, the domain of the envelope sender. It matches the From address "
        "(%(sender)s) only loosely. DMARC failed, so %(sender)s may ask for an exact match."
    ),
    "header_spf_fail": _l(
        "The SPF record of %(domain)s does not list the server that delivered the email. Either that server is missing "
        "from the record, or the email was forwarded, or someone else sent it."
    ),
    "header_spf_softfail": _l(
        "The SPF record of %(domain)s does not list the server that delivered the email, but asks receivers only to be "
        "careful (~all). Either that server is missing from the record, or the email was forwarded, or someone else "
        "sent it."
    ),
    "header_spf_neutral": _l("The SPF record of %(domain)s says nothing about the server that delivered the email."),
    "header_spf_none": _l("%(domain)s has no SPF record, so any server can send in its name."),
    "header_spf_temperror": _l("SPF could not be checked: DNS gave no usable response at that moment."),
    "header_spf_permerror": _l(
        "The SPF record of %(domain)s has an error (two records, more than 10 lookups, or a typing error), so it does "
        "not count. Whoever manages that domain must correct it."
    ),
    # DKIM
    "header_dkim_pass": _l(
        "The signature of %(domain)s is valid: what it covers was not changed on the way. It matches the From address "
        "(%(sender)s), so it counts for DMARC."
    ),
    "header_dkim_pass_other": _l(
        "The signature of %(domain)s is valid: what it covers was not changed on the way. The From address belongs to "
        "another domain (%(sender)s), so this proves nothing about it and does not count for DMARC."
    ),
    "header_dkim_pass_loose": _l(
        "The signature of %(domain)s is valid: what it covers was not changed on the way. It matches the From address "
        "(%(sender)s) only loosely. DMARC failed, so %(sender)s may ask for an exact match."
    ),
    "header_dkim_fail": _l(
        "The signature of %(domain)s is invalid: either the email was changed after it was signed (by a mailing list, "
        "a footer or a virus scanner), or DNS has a different key."
    ),
    "header_dkim_none": _l("The email has no DKIM signature."),
    "header_dkim_neutral": _l("The signature of %(domain)s could not be used, so it does not count."),
    "header_dkim_policy": _l("The receiver does not accept the kind of signature that %(domain)s uses."),
    "header_dkim_temperror": _l(
        "The signature of %(domain)s could not be checked: DNS gave no usable response at that moment."
    ),
    "header_dkim_permerror": _l(
        "The signature of %(domain)s could not be checked: it has an error, or its key is missing from DNS. Whoever "
        "manages that domain must publish the key."
    ),
    "header_dkim_not_checked": _l(
        "Signed by %(domain)s (selector %(selector)s). Not checked here: copied text is rarely identical to what was "
        "signed."
    ),
    # DMARC
    "header_dmarc_pass": _l(
        "%(sender)s vouches for this email: SPF or DKIM passed for the domain of the From address."
    ),
    "header_dmarc_fail": _l(
        "Nothing vouches for %(sender)s, the domain of the From address: neither SPF nor DKIM passed for it. The "
        "sender may be forged."
    ),
    "header_dmarc_asks_none": _l("%(sender)s asks receivers to deliver such emails anyway (p=none)."),
    "header_dmarc_asks_quarantine": _l(
        "%(sender)s asks receivers to move such emails to the spam folder (p=quarantine)."
    ),
    "header_dmarc_asks_reject": _l("%(sender)s asks receivers to refuse such emails (p=reject)."),
    "header_dmarc_none": _l("%(sender)s has no DMARC record, so it does not say what to do with forged emails."),
    "header_dmarc_bestguesspass": _l(
        "%(sender)s has no DMARC record. Microsoft guesses that the email would pass if it had one."
    ),
    "header_dmarc_temperror": _l("DMARC could not be checked: DNS gave no usable response at that moment."),
    "header_dmarc_permerror": _l(
        "The DMARC record of %(sender)s has an error, so it does not count. Whoever manages that domain must correct "
        "it."
    ),
    "header_dmarc_missing": _l("The server recorded no DMARC result."),
    # ARC and the rest
    "header_arc_pass": _l(
        "The servers that forwarded the email recorded what they saw, and that record is unbroken. It is worth as much "
        "as those servers."
    ),
    "header_arc_fail": _l("The record of the forwarding servers is broken, so it proves nothing."),
    "header_arc_none": _l("No forwarding server recorded what it saw."),
    "header_arc_says": _l(
        "%(server)s recorded while it handled the email: %(results)s. This is only its own statement."
    ),
    "header_arc_says_nothing": _l("%(server)s recorded no result while it handled the email."),
    "header_compauth": _l("Microsoft's overall verdict on the sender is “%(result)s”."),
    "header_unknown_result": _l("The server wrote “%(result)s”, which the standard does not define."),
    # what can't be explained
    "header_not_given": _l("Paste a header or a whole email, or choose a file."),
    "header_paste_too_large": _l(
        "This is more than %(limit)s MB. Paste only the header: everything above the first blank line."
    ),
    "header_is_outlook_file": _l(
        "This is an Outlook file (.msg). Open the email in Outlook, choose File ‣ Properties and copy the internet "
        "headers, or save the email as .eml."
    ),
    "header_not_found": _l(
        "No header was found in this text. In Gmail choose Show original, in Outlook File ‣ Properties, in Apple Mail "
        "View ‣ Message ‣ All Headers, in Thunderbird More ‣ View Source."
    ),
}
