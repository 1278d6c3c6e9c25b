"""The self-test of an outgoing server: what was sent, what came back, and what that means."""

from typing import Any

from flask_babel import lazy_gettext as _l

SENTENCES: dict[str, Any] = {
    # --- as the ledger of received mail says it
    "route_self_test_arrived": _l(
        "This email was sent by the test of an outgoing server (“Test sending and receiving”). Its arrival is noted "
        "there; it creates nothing."
    ),
    "route_self_test_returned": _l(
        "This report is about an email that the test of an outgoing server sent. It is noted there and counts against "
        "no address."
    ),
    "route_self_test_report": _l(
        "This report is about an email that the test of an outgoing server sent. Nothing failed, so nothing is noted."
    ),
    "route_self_test_over": _l(
        "This email belongs to a test of an outgoing server (“Test sending and receiving”) whose result was deleted. "
        "Nothing is done with it."
    ),
    "sent_for_self_test": _l("It is part of “Test sending and receiving” of “%(server)s”."),
    "line_self_test": _l("Refused as the test wanted it: this address does not exist. Response: %(reply)s"),
    # --- an email from here
    "self_test_delivery_ok": _l("The email arrived at %(address)s after %(seconds)s s."),
    "self_test_delivery_returned": _l(
        "The outgoing server accepted the email to %(address)s, but it was returned. The report says: %(text)s"
    ),
    "self_test_delivery_missing": _l(
        "The outgoing server accepted the email, but it did not arrive at %(address)s within %(minutes)s minutes. It "
        "may be delayed, or in another folder or mailbox, such as the spam folder."
    ),
    "self_test_refused": _l("The outgoing server did not take the email to %(address)s."),
    "self_test_not_sent": _l("The email could not be sent."),
    "self_test_not_tried": _l("Not tested: the email could not be sent."),
    "self_test_rehearses": _l("A rehearsal has begun: it would go to the practice mailbox and never arrive."),
    "self_test_server_failed": _l("Not tested: the outgoing server did not take the first email."),
    "self_test_needs_delivery": _l("Not tested: the email did not arrive."),
    "self_test_nothing_fetched": _l(
        "The outgoing server accepted the email to %(address)s, but no incoming mail server is active and confirmed, "
        "so nothing is fetched. Add one, or run its TEST & CONFIRM."
    ),
    "self_test_mailbox_failed": _l("It can't be seen whether the email arrived, because “%(mailbox)s” can't be "
                                   "fetched."),
    "self_test_mailbox_off": _l("It is turned off, or its TEST & CONFIRM has not passed."),
    "self_test_late": _l(
        "Nothing had arrived within %(minutes)s minutes, but it did after the test: %(after)s minutes after it was "
        "sent. It works, only slowly."
    ),
    # --- what the receiver says of the sender
    "self_test_sender_ok": _l("The receiving side (%(server)s) confirms the sender: %(results)s."),
    "self_test_sender_warning": _l(
        "The receiving side (%(server)s) could not confirm the sender in every way: %(results)s. Other receivers may "
        "be stricter."
    ),
    "self_test_sender_failed": _l(
        "The receiving side (%(server)s) could not confirm the sender: %(results)s. Receivers may reject such emails "
        "or file them as spam. Check the SPF, DKIM and DMARC records of your domain."
    ),
    "self_test_sender_unchecked": _l(
        "The mail server of this mailbox does not say whether it checked the sender (no Authentication-Results line). "
        "Send the test to a mailbox elsewhere to see that."
    ),
    # --- a reply
    "self_test_reply_ok": _l("The reply to %(address)s came back after %(seconds)s s and found what it replies to."),
    "self_test_reply_stray": _l(
        "The reply to %(address)s came back, but without the lines that name what it replies to (In-Reply-To and "
        "References). A real reply would not find its document: a server on the way removes these lines."
    ),
    "self_test_reply_returned": _l(
        "The reply to %(address)s was returned. Replies go there unless the type of a document has an alias of its "
        "own. The mail server of this domain must deliver this address to a mailbox that is fetched here. The report "
        "says: %(text)s"
    ),
    "self_test_reply_missing": _l(
        "The reply to %(address)s did not come back within %(minutes)s minutes. Replies go there unless the type of a "
        "document has an alias of its own. The mail server of this domain must deliver this address to a mailbox that "
        "is fetched here."
    ),
    "self_test_reply_nowhere": _l("Not tested: without an alias domain there is no address for replies."),
    # --- a failure
    "self_test_bounce_ok": _l(
        "An email to an address that does not exist was reported to %(address)s after %(seconds)s s: failures are "
        "noticed."
    ),
    "self_test_bounce_at_once": _l(
        "The outgoing server refuses addresses that don't exist immediately, so such failures are noticed at once. "
        "Whether reports reach %(address)s can't be tested with this mailbox. Response: %(reply)s"
    ),
    "self_test_bounce_taken": _l(
        "Not tested: %(domain)s accepts emails to addresses that don't exist, so nothing was returned to %(address)s."
    ),
    "self_test_bounce_missing": _l(
        "No report about an address that does not exist came to %(address)s within %(minutes)s minutes, so failures "
        "may go unnoticed. Either %(domain)s sends no reports, or this address is not delivered to a mailbox that "
        "is fetched here."
    ),
    # --- addresses with a plus
    "self_test_plus_ok": _l(
        "The email to %(address)s arrived after %(seconds)s s: each email can have a bounce address of its own, so "
        "that every report names its recipient."
    ),
    "self_test_plus_arrives": _l(
        "The email to %(address)s arrived after %(seconds)s s, so addresses with a plus work. This server’s emails "
        "share one bounce address all the same; the page of each email says why."
    ),
    "self_test_plus_returned": _l(
        "The email to %(address)s was returned, so all emails share one bounce address; reports are recognized by "
        "their content. The report says: %(text)s"
    ),
    "self_test_plus_refused": _l(
        "The email to %(address)s was refused, so all emails share one bounce address; reports are recognized by "
        "their content. Response: %(reply)s"
    ),
    "self_test_plus_no_sender": _l(
        "This server refuses to send from an address with a plus, so its emails share the bounce address %(address)s; "
        "reports are recognized by their content. Response: %(reply)s"
    ),
    "self_test_plus_nowhere": _l("Not tested: without an alias domain there is no bounce address."),
    "self_test_plus_missing": _l(
        "The email to %(address)s did not arrive within %(minutes)s minutes, so all emails share one bounce address; "
        "reports are recognized by their content."
    ),
}  # fmt: skip
