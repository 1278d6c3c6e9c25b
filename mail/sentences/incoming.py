"""Routing, threads, and who wrote it (mail/decide, mail/incoming)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "route_own_mail": _l("One of our own emails came back (%(id)s): nothing to do."),
    "route_plus_works": _l(
        "This email was sent to %(address)s to see whether addresses with a plus arrive. Only the email of “Test "
        "sending and receiving” decides about unique bounce addresses, unless the system parameter mail.bounce.verp "
        "is set."
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
    "route_report_complaint": _l("This is a complaint: a recipient reported an email as spam. %(addresses)s"),
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
    "route_no_catchall": _l("It was not sent to the catchall address."),
    "route_catchall_and_alias": _l("It was sent to the catchall address, but also to an alias."),
    "route_no_alias": _l("It was not sent to any of our aliases."),
    "route_mailbox": _l(
        "It names none of our aliases as a recipient, but it arrived in the mailbox of %(address)s, for example as a "
        "blind copy."
    ),
    "route_alias": _l("It was sent to the alias %(address)s, which creates a new document."),
    "route_alias_fixed": _l("It was sent to the alias %(address)s, which posts all emails on one document."),
    "route_alias_retired": _l("%(address)s is a retired alias; it keeps receiving emails until you remove it."),
    "route_no_action": _l("It did not come through an incoming server that creates documents."),
    "route_action": _l("The incoming server's action creates a new document from it."),
    "route_unknown_address": _l(
        "%(address)s is not one of our addresses. Make it an alias, or route this email to a document manually."
    ),
    "route_unfit_address": _l(
        "%(address)s is not one of our addresses, and can't be made an alias: aliases only have letters a to z, "
        "digits, dots and dashes. Route this email to a document or a type manually, or discard it."
    ),
    "route_bounce_address": _l(
        "%(address)s is the bounce address, which only receives delivery failures. Route this email to a document or a "
        "type manually, or discard it."
    ),
    "route_own_sender": _l(
        "%(address)s is the address that emails are sent from by default; emails to it create nothing. Route this "
        "email to a document or a type manually, or make the address an alias."
    ),
    "route_former_domain": _l(
        "%(address)s is on %(domain)s, which is no longer one of your domains. Route the email to a document or a type "
        "manually, or discard it. To accept such emails again, add the domain under Email ‣ Domains."
    ),
    "route_nobody": _l("No rule matches this email. Route it to a document or a type manually, or discard it."),
    "route_loop_allowed": _l("%(sender)s is exempt from loop protection (system parameter mail.gateway.allowed)."),
    "route_loop_released": _l("A person decided that these emails are not a loop: loop protection was skipped."),
    "route_loop_over": Counted(
        "minutes",
        "More than %(limit)s emails came from the same sender to the same address within %(minutes)s minute.",
        "More than %(limit)s emails came from the same sender to the same address within %(minutes)s minutes.",
    ),
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
    "reject_unknown": _l("The address %(address)s does not exist. Please write to %(instead)s instead."),
    "reject_unknown_only": _l("The address %(address)s does not exist. Please check it and write again."),
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
    "unanswered_failed": _l("The reply to its sender could not be delivered, so the sender was not told."),
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
    "follow_reply_to": _l("receives replies, as the sender asked"),
    "follow_posted": _l("has posted"),
    "follow_opened": _l("created this document"),
    "follow_wrote": _l("sent an email that was posted here"),
    "left_alone": _l(
        "This email was in the mailbox before CoquiMail was connected to it, so it was not fetched. The incoming "
        "server has a setting that also fetches existing emails."
    ),
    "left_alone_again": _l(
        "This email was left in the mailbox because it arrived before CoquiMail was connected to it. It was looked at "
        "again because the mailbox no longer lists any email that CoquiMail knew, as after a move to another server. "
        "The incoming server has a setting that also fetches existing emails."
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
    "quarantine_rejected_by_hand": _l("A user rejected this email."),
    "quarantine_dropped": _l("A user reviewed and discarded this email."),
}
