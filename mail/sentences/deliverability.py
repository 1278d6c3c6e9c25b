"""What the DNS of our domains says, and what to paste (mail/decide/deliverability.py and what it asks)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    # the domain itself
    "domain_absent": _l(
        "%(domain)s is not in DNS. The name may be misspelled, not registered, or expired. If it is spelled right, ask "
        "the company where the domain is registered."
    ),
    "domain_absent_first": _l("This can be checked when %(domain)s is in DNS."),
    # asking
    "dns_not_asked": _l("DNS has not been asked about %(name)s yet."),
    "dns_silent": _l(
        "The name server did not respond when asked about %(name)s (%(said)s), so nothing is known about its records. "
        "They may be fine. CoquiMail will check again. If the problem persists, ask your network administrator to "
        "check the name service (DNS) of this server."
    ),
    "dns_failed": _l(
        "The name server could not answer the question about %(name)s (%(said)s), so nothing is known about its "
        "records. If the problem persists, the name servers of that domain have a fault: ask its DNS provider."
    ),
    "dns_malformed": _l(
        "The response about %(name)s could not be read (%(said)s), so nothing is known about its records. Ask your "
        "network administrator to check the name service (DNS) of this server."
    ),
    # MX
    "mx_good": _l("Email to %(domain)s is received by %(hosts)s, so replies and delivery reports can arrive."),
    "mx_missing": _l(
        "%(domain)s has no MX record: email to it, including replies and delivery reports, cannot arrive. Many "
        "receivers also reject email from such a domain. Add the MX record that your mailbox provider gives you."
    ),
    "mx_null": _l(
        "The MX record of %(domain)s says that it accepts no email. Replies and delivery reports cannot arrive, and "
        "many receivers reject email from such a domain. Replace it with the MX record that your mailbox provider "
        "gives you."
    ),
    "mx_by_address": _l(
        "%(domain)s has no MX record, so email to it goes to the address of its website. If no mail server runs there, "
        "replies are lost. Add the MX record that your mailbox provider gives you."
    ),
    "mx_host_missing": _l(
        "The MX record names %(host)s, which has no address. Email cannot be delivered there. Correct the MX record."
    ),
    # SPF: the record
    "spf_readable": Counted(
        "count",
        "The SPF record of %(domain)s is readable and takes %(count)s of at most %(most)s DNS lookups.",
        "The SPF record of %(domain)s is readable and takes %(count)s of at most %(most)s DNS lookups.",
    ),
    "spf_missing": _l("%(domain)s has no SPF record, so receivers cannot tell which servers may send its email."),
    "spf_unneeded": _l("%(domain)s has no SPF record, and none of your servers needs one."),
    "spf_similar": _l(
        "A TXT record is meant to be SPF, but receivers ignore it, because it does not begin with “v=spf1” and a "
        "space: “%(record)s”."
    ),
    "spf_several": Counted(
        "count",
        "%(domain)s has %(count)s SPF records. Only one is allowed: receivers ignore all of them and treat every "
        "email as failed.",
        "%(domain)s has %(count)s SPF records. Only one is allowed: receivers ignore all of them and treat every "
        "email as failed.",
    ),
    "spf_unreadable": _l(
        "Receivers cannot read the SPF record of %(domain)s because of “%(term)s”. Until that is fixed, no server "
        "is covered."
    ),
    "spf_term_unknown": _l("“%(term)s” is not part of SPF."),
    "spf_term_twice": _l("“%(term)s” is there twice; only one is allowed."),
    "spf_too_long": Counted(
        "count",
        "It is %(count)s characters long. No more than %(most)s are read here, and many receivers stop much earlier.",
        "It is %(count)s characters long. No more than %(most)s are read here, and many receivers stop much earlier.",
    ),
    "spf_value_missing": _l("“%(term)s” needs a value after the colon."),
    "spf_value_unwanted": _l("“%(term)s”: nothing may follow “all”."),
    "spf_domain_invalid": _l("“%(term)s” does not name a valid domain."),
    "spf_address_invalid": _l("“%(term)s” is not a valid IP address or network."),
    "spf_target_without": _l(
        "“%(term)s” points to %(target)s, which has no SPF record. Receivers treat the whole record as broken."
    ),
    "spf_too_many_lookups": _l(
        "It takes more than %(most)s DNS lookups to get there. Receivers stop at that point and treat the record "
        "as broken."
    ),
    "spf_too_many_void": _l(
        "More than %(most)s of its lookups find nothing, the last one for %(name)s. Receivers stop at that point "
        "and treat the record as broken."
    ),
    "spf_too_many_mx": _l(
        "%(name)s has %(count)s MX records. With more than 10, receivers treat the record as broken."
    ),
    "spf_lookups_exceeded": Counted(
        "count",
        "The SPF record takes %(count)s DNS lookups; only %(most)s are allowed, so many receivers treat it as "
        "broken. Lookups by term: %(costs)s.",
        "The SPF record takes %(count)s DNS lookups; only %(most)s are allowed, so many receivers treat it as "
        "broken. Lookups by term: %(costs)s.",
    ),
    "spf_void_exceeded": Counted(
        "count",
        "%(count)s terms of the SPF record find no address. With more than %(most)s, receivers treat the record "
        "as broken.",
        "%(count)s terms of the SPF record find no address. With more than %(most)s, receivers treat the record "
        "as broken.",
    ),
    "spf_ptr": _l("“%(term)s” in the SPF record is slow and unreliable; many receivers ignore it."),
    "spf_everybody": _l("“%(term)s” at the end of the SPF record lets every server in the world send as this domain."),
    "spf_neutral_end": _l(
        "“%(term)s” at the end of the SPF record says nothing about other servers, so it protects nobody."
    ),
    "spf_no_end": _l("The SPF record of %(domain)s has no end such as “~all”, so it says nothing about other servers."),
    "spf_dead": _l("“%(term)s” comes after “all”, where receivers no longer look."),
    # SPF: servers
    "spf_covered": _l("“%(server)s” is covered by “%(term)s” in the SPF record of %(domain)s."),
    "spf_covered_inside": _l(
        "“%(server)s” is covered by “%(term)s” in the SPF record of %(domain)s, which leads to “%(inner)s” in "
        "that of %(inside)s."
    ),
    "spf_not_needed": _l(
        "“%(server)s” sends with its own return path (%(envelope)s), so receivers look at the SPF record of that "
        "domain. Yours does not have to name it."
    ),
    "spf_other_envelope": _l(
        "“%(server)s” sends with a return path in %(envelope)s, so receivers look at the SPF record of that domain. "
        "That of %(domain)s does not have to name it."
    ),
    "spf_other_envelope_add": _l("The SPF record of %(envelope)s needs “%(terms)s” before its end."),
    "spf_not_covered_none": _l("“%(server)s” is not covered: %(domain)s has no SPF record."),
    "spf_not_covered_name": _l(
        "“%(server)s” is not covered: “include:%(include)s” is missing from the SPF record of %(domain)s."
    ),
    "spf_not_covered_fail": _l(
        "“%(server)s” is not covered: receivers come to “%(term)s” in the SPF record of %(domain)s and reject its "
        "email."
    ),
    "spf_not_covered_softfail": _l(
        "“%(server)s” is not covered: receivers come to “%(term)s” in the SPF record of %(domain)s and treat its "
        "email as suspicious."
    ),
    "spf_not_covered_neutral": _l(
        "“%(server)s” is not covered: receivers come to “%(term)s” in the SPF record of %(domain)s, which does "
        "not say that it may send."
    ),
    "spf_not_covered_end": _l("“%(server)s” is not covered: nothing in the SPF record of %(domain)s names it."),
    "spf_not_covered_broken": _l("“%(server)s” is not covered: receivers cannot use the SPF record of %(domain)s."),
    "spf_guessed": _l(
        "This goes by the address of %(host)s. If its provider tells you what to include in SPF, enter that under "
        "“Sends from” on the page of the server."
    ),
    "spf_partly": _l("“%(server)s” is only partly covered by the SPF record of %(domain)s. Missing: %(addresses)s."),
    "spf_provider_without": _l(
        "SPF should include %(include)s for “%(server)s”, but that name has no SPF record now. Ask the provider what "
        "to include, and enter it under “Sends from” on the page of the server."
    ),
    "spf_partly_provider": _l(
        "“%(server)s” is only partly covered by the SPF record of %(domain)s. Some addresses of its provider are "
        "missing, such as %(addresses)s."
    ),
    "spf_stopped": _l("For these, receivers stop at “%(term)s”."),
    "spf_loop": _l(
        "“%(term)s” leads to %(target)s, which includes itself in the end. Receivers treat the whole record as broken."
    ),
    "spf_private_address": _l(
        "“%(server)s” (%(host)s) has a private address. Receivers see another one, so nothing can be said about "
        "SPF. Ask the person who runs the server for its public address, and enter it under “Sends from” on the page "
        "of the server."
    ),
    "spf_local_name": _l(
        "“%(server)s” is reached by a local name (%(host)s), which does not tell the address that receivers see. "
        "Enter that address under “Sends from” on the page of the server."
    ),
    "spf_no_address": _l(
        "“%(server)s”: DNS has no address for %(host)s. If only your own network knows that name, enter the address "
        "that receivers see under “Sends from” on the page of the server. Otherwise check its host."
    ),
    # SPF: the record to paste
    "spf_change_added": _l("The new record adds “%(terms)s” for “%(server)s”."),
    "spf_change_merged": Counted(
        "count",
        "The new record is made of %(count)s records. Delete the old ones.",
        "The new record is made of %(count)s records. Delete the old ones.",
    ),
    "spf_change_mended": _l("The new record replaces “%(term)s” with “%(mended)s”."),
    "spf_change_unreadable": _l("The new record leaves out “%(term)s”, which no receiver can read."),
    "spf_change_twice": _l("The new record leaves out “%(term)s”: a record may have only one of these."),
    "spf_change_ptr": _l(
        "The new record leaves out “%(term)s”. If a server of yours depends on it, add that server by its address."
    ),
    "spf_change_broken": _l(
        "The new record leaves out “%(term)s”: with it, receivers treat the whole record as broken."
    ),
    "spf_change_void": _l("The new record leaves out “%(term)s”, which finds no address."),
    "spf_change_dead": _l("The new record leaves out “%(term)s”: after “all” it never had any effect."),
    "spf_change_all": _l(
        "The new record ends with “~all” instead of “%(term)s”: email from other servers is treated as suspicious."
    ),
    "spf_change_end": _l("The new record ends with “~all”: email from other servers is treated as suspicious."),
    "spf_change_given_up": _l(
        "To stay within 10 DNS lookups, the new record leaves out “%(terms)s”. Paste it only if no email of this "
        "domain is sent that way any more. Otherwise keep the old record, and send the email of one service from "
        "a subdomain, which has an SPF record of its own."
    ),
    "spf_lookups_then": Counted(
        "count",
        "The new record takes %(count)s of at most %(most)s DNS lookups.",
        "The new record takes %(count)s of at most %(most)s DNS lookups.",
    ),
    "spf_long": Counted(
        "count",
        "The new record is %(count)s characters long. Some receivers have trouble with more than 450.",
        "The new record is %(count)s characters long. Some receivers have trouble with more than 450.",
    ),
    "spf_no_record_without": _l(
        "There is no record to paste now: it would not cover “%(server)s”. The list of servers says what is missing."
    ),
    "spf_no_record": Counted(
        "count",
        "A record that covers all your servers would take %(count)s DNS lookups; only %(most)s are allowed. Send "
        "the email of one server from a subdomain, which has an SPF record of its own. Lookups by term: "
        "%(costs)s.",
        "A record that covers all your servers would take %(count)s DNS lookups; only %(most)s are allowed. Send "
        "the email of one server from a subdomain, which has an SPF record of its own. Lookups by term: "
        "%(costs)s.",
    ),
    # DKIM
    "dkim_good": _l("%(name)s holds your key: receivers can check your signatures."),
    "dkim_good_provider": _l(
        "%(name)s holds a key: receivers can check the signatures of your provider for %(domain)s."
    ),
    "dkim_alias": _l("%(name)s is an alias (CNAME) of %(target)s; whoever runs that name keeps the key."),
    "dkim_alias_remove": _l(
        "%(name)s is an alias (CNAME) of %(target)s. Delete the CNAME first: a name cannot have both."
    ),
    "dkim_alias_broken": _l(
        "%(name)s is an alias (CNAME) of %(target)s. Compare it with the value that your provider shows you."
    ),
    "dkim_in_turn": _l(
        "%(name)s is an alias (CNAME) of %(target)s, where there is no key at the moment. Your provider changes keys "
        "from time to time and puts one there when it is needed."
    ),
    "dkim_publish_all": _l(
        "Another key of your provider works, so signatures are valid today. Providers change between their keys: "
        "publish this record too."
    ),
    "dkim_other_works": _l("Another key of your provider works, so signatures are valid today."),
    "dkim_missing": _l("%(name)s has no record: receivers cannot check your signatures. Paste the record below."),
    "dkim_missing_provider": _l(
        "%(name)s has no record: receivers cannot check the signatures of your provider for %(domain)s. Add the "
        "record that the provider shows you."
    ),
    "dkim_several": Counted(
        "count",
        "%(name)s has %(count)s TXT records. Only one is allowed: receivers may take the wrong one.",
        "%(name)s has %(count)s TXT records. Only one is allowed: receivers may take the wrong one.",
    ),
    "dkim_unreadable": _l(
        "The record at %(name)s is not a readable key. It may have been cut off or changed when it was pasted."
    ),
    "dkim_cut": _l(
        "%(name)s holds only the beginning of your key: the rest was cut off when it was pasted. Receivers treat every "
        "signature as invalid. Paste the whole value; some forms take it only in two strings, each in quotation marks."
    ),
    "dkim_not_dkim": _l(
        "The text at %(name)s is not a DKIM record, so receivers cannot check your signatures. It may come from a "
        "wildcard record (*), which can stay. If it was entered for this very name, delete it."
    ),
    "dkim_not_dkim_provider": _l(
        "The text at %(name)s is not a DKIM record; it may come from a wildcard record (*). Add the record that the "
        "provider shows you."
    ),
    "dkim_revoked": _l(
        "The key at %(name)s is revoked: its value (p=) is empty. Receivers treat signatures made with it as invalid."
    ),
    "dkim_other_type": _l("%(name)s holds a key of type %(found)s, but you sign with %(wanted)s."),
    "dkim_restricted": _l("The record at %(name)s forbids signatures like yours (%(tag)s)."),
    "dkim_wrong_key": _l(
        "%(name)s holds another key than the one that signs. Receivers treat every signature as invalid."
    ),
    "dkim_too_short": Counted(
        "bits",
        "The key at %(name)s has only %(bits)s bits. Receivers ignore keys with fewer than %(least)s.",
        "The key at %(name)s has only %(bits)s bits. Receivers ignore keys with fewer than %(least)s.",
    ),
    "dkim_short": Counted(
        "bits",
        "The key at %(name)s has %(bits)s bits. Receivers still accept it, but %(usual)s are usual today.",
        "The key at %(name)s has %(bits)s bits. Receivers still accept it, but %(usual)s are usual today.",
    ),
    # DMARC
    "dmarc_missing": _l(
        "%(domain)s has no DMARC record. Large receivers such as Gmail and Outlook.com require one from senders "
        "of many emails."
    ),
    "dmarc_similar": _l(
        "A TXT record is meant to be DMARC, but receivers ignore it, because it does not begin with “v=DMARC1;”: "
        "“%(record)s”."
    ),
    "dmarc_misplaced": _l(
        "The DMARC record of %(domain)s is in the wrong place, where no receiver looks. It belongs at %(name)s."
    ),
    "dmarc_several": Counted(
        "count",
        "%(name)s has %(count)s DMARC records. Only one is allowed: receivers ignore all of them.",
        "%(name)s has %(count)s DMARC records. Only one is allowed: receivers ignore all of them.",
    ),
    "dmarc_unreadable": _l("Part of the DMARC record at %(name)s is not valid, and receivers ignore it: “%(tags)s”."),
    "dmarc_no_policy": _l("The DMARC record at %(name)s does not say what to do with email that fails (p=)."),
    "dmarc_none": _l(
        "DMARC is set up (p=none): email that fails is delivered as usual, and you get reports. When the reports "
        "show no failures of your own email for some weeks, change it to p=quarantine."
    ),
    "dmarc_quarantine": _l("DMARC is set up (p=quarantine): email as %(domain)s that fails goes to spam."),
    "dmarc_reject": _l("DMARC is set up (p=reject): email as %(domain)s that fails is rejected."),
    "dmarc_partly": _l(
        "DMARC is set up (p=%(wish)s), but only for a part of the email as %(domain)s that fails (%(limit)s). When the "
        "reports show no failures of your own email, remove “%(limit)s”."
    ),
    "dmarc_test": _l(
        "DMARC is set up (p=%(wish)s), but only as a test (%(limit)s): receivers do less than that with email as "
        "%(domain)s that fails. When the reports show no failures of your own email, remove “%(limit)s”."
    ),
    "dmarc_inherited": _l(
        "%(domain)s has no DMARC record of its own; that of %(owner)s applies, with its policy for subdomains."
    ),
    "dmarc_no_reports": _l("The DMARC record asks for no reports (rua=), so you will not notice failures."),
    "dmarc_reports_elsewhere": _l(
        "Reports should go to %(uris)s, but receivers send them by email only, so you will not notice failures."
    ),
    "dmarc_reports": _l("Reports go to %(address)s."),
    "dmarc_reports_refused": _l(
        "Reports should go to %(address)s, but %(host)s does not say that it accepts reports about %(owner)s, so "
        "none are sent. Whoever runs %(host)s must publish that, or use an address in your own domain."
    ),
    # does it pass
    "passes_both": _l("Email as %(sender)s through “%(server)s” passes DMARC, by SPF and by DKIM."),
    "passes_spf": _l(
        "Email as %(sender)s through “%(server)s” passes DMARC by SPF. DKIM would also keep it valid when it is "
        "forwarded."
    ),
    "passes_dkim": _l("Email as %(sender)s through “%(server)s” passes DMARC by DKIM."),
    "passes_not_none": _l(
        "Email as %(sender)s through “%(server)s” does not pass DMARC. Receivers may treat it as spam."
    ),
    "passes_not_quarantine": _l(
        "Email as %(sender)s through “%(server)s” does not pass DMARC, and your policy (p=quarantine) sends it to spam."
    ),
    "passes_not_reject": _l(
        "Email as %(sender)s through “%(server)s” does not pass DMARC, and your policy (p=reject) has it rejected."
    ),
    "passes_not_partly": _l(
        "Email as %(sender)s through “%(server)s” does not pass DMARC. Your policy (p=%(wish)s) applies to a part of "
        "it (%(limit)s): some goes to spam or is rejected."
    ),
    "passes_not_test": _l(
        "Email as %(sender)s through “%(server)s” does not pass DMARC. Your policy (p=%(wish)s) is only a test "
        "(%(limit)s), but receivers may treat it as spam."
    ),
    "passes_strict": _l(
        "It would pass with relaxed alignment: paste the DMARC record without “aspf=s” and “adkim=s” at %(name)s."
    ),
    "passes_no_envelope": _l("SPF does not help: the email has an empty return path."),
    "passes_spf_misaligned": _l(
        "SPF does not help: the return path is in %(envelope)s, but the sender is in %(sender)s."
    ),
    "passes_spf_providers": _l(
        "SPF does not help: the provider puts its own return path (%(envelope)s) instead of one in %(sender)s."
    ),
    "passes_return_path_missing": _l(
        "SPF does not help: the return path %(envelope)s has no SPF record. Add the records for it that the "
        "provider of “%(server)s” shows you."
    ),
    "passes_unsigned": _l("DKIM does not help: nobody signs the email of “%(server)s”."),
    "passes_dkim_misaligned": _l(
        "DKIM does not help: the signature is of %(domains)s, but the sender is in %(sender)s."
    ),
    "passes_dkim_unknown": _l(
        "“%(server)s” signs with DKIM, but it is not known whether receivers can check the signature."
    ),
    "passes_dkim_broken": _l(
        "DKIM does not help: receivers cannot check the signature of “%(server)s” for %(domain)s."
    ),
    # PTR
    "ptr_good": _l("%(address)s has a name (%(names)s) that leads back to it."),
    "ptr_missing": _l(
        "%(address)s has no name (PTR record). Many receivers reject email from such addresses. Ask the company "
        "that provides the address (your hosting or internet provider) to set it."
    ),
    "ptr_other": _l(
        "The name of %(address)s (%(names)s) does not lead back to it. Many receivers reject email from such "
        "addresses. Ask the company that provides the address (your hosting or internet provider) to correct it."
    ),
}
