"""Who can fix a failure, what people do with the recipients of an email, and its history (mail/outgoing)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "fixer_you": _l("Who can fix this: you"),
    "fixer_administrator": _l("Who can fix this: your administrator"),
    "fixer_provider": _l("Who can fix this: your email provider"),
    "fixer_recipient": _l("Who can fix this: the recipient"),
    "fixer_their_administrator": _l("Who can fix this: the recipient's administrator"),
    "fixer_nobody": _l("Who can fix this: nobody; just wait"),
    "fixer_nobody_ended": _l("Who can fix this: nobody; try again later"),
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
    "cancel_too_late": Counted(
        "count",
        "%(count)s email was skipped: it no longer waits to be sent.",
        "%(count)s emails were skipped: they no longer wait to be sent.",
    ),
    "again_not_scheduled": Counted(
        "count",
        "%(count)s email was skipped: it does not wait for a scheduled time.",
        "%(count)s emails were skipped: they do not wait for a scheduled time.",
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
    "line_sent_early": _l("%(user)s sent it before its scheduled time."),
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
    "sent_with_shared_sender": _l(
        "“%(server)s” refused the unique bounce address as the sender, so the email went out with the shared one, and "
        "so do all others from now on. Response: %(reply)s"
    ),
    "notice_unique_senders_off": _l(
        "“%(server)s” refuses unique bounce addresses as senders, so its emails share one from now on. No email failed "
        "because of it. Response: %(reply)s"
    ),
    "address_corrected_by": _l("%(who)s changed the address from %(before)s to %(after)s."),
    "address_corrected": _l("The address was changed from %(before)s to %(after)s."),
    "mailbox_port_not_allowed": _l(
        "Port %(port)s of %(host)s is not a mail port. Use 993 for TLS or 143 for STARTTLS with IMAP, 995 or 110 with "
        "POP3, or ask the person who maintains this server to allow local addresses."
    ),
    "mailbox_connection_refused": _l(
        "%(host)s was found, but nothing responds on port %(port)s. Check the port and the encryption (IMAP: 993 for "
        "TLS, 143 for STARTTLS; POP3: 995 and 110). If they are correct, ask the provider whether the service is "
        "running."
    ),
    "mailbox_timed_out": Counted(
        "seconds",
        "%(host)s did not respond within %(seconds)s second. A firewall may be blocking the port, or the encryption "
        "may not match the port (IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110). Emails stay on the server. "
        "%(again)s",
        "%(host)s did not respond within %(seconds)s seconds. A firewall may be blocking the port, or the encryption "
        "may not match the port (IMAP: 993 for TLS, 143 for STARTTLS; POP3: 995 and 110). Emails stay on the server. "
        "%(again)s",
    ),
    "mailbox_fell_silent": Counted(
        "seconds",
        "%(host)s stopped responding: nothing came for %(seconds)s second. Emails stay on the server. %(again)s",
        "%(host)s stopped responding: nothing came for %(seconds)s seconds. Emails stay on the server. %(again)s",
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
        "%(host)s refused the connection: “%(reply)s”. %(again)s If the problem persists, show this to the provider."
    ),
    "mailbox_login_refused": _l(
        "%(host)s refused the user %(user)s: “%(reply)s”. Enter the user and the password again, and check that the "
        "account allows IMAP or POP3. Many providers require a special password for programs (“app password”)."
    ),
    "mailbox_app_password_wanted": _l(
        "%(host)s does not accept the normal password of %(user)s: “%(reply)s”. Create a password for programs (“app "
        "password”) in that account and enter it here. With Google and Microsoft you can also sign in without a "
        "password."
    ),
    "mailbox_password_login_off": _l(
        "%(host)s no longer lets programs read the mailbox %(user)s with a password: “%(reply)s”. The password itself "
        "is not the reason. Change the authentication of this mailbox to a sign-in with Google or Microsoft."
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
        "%(host)s can't open the mailbox of %(user)s: “%(reply)s”. Another program may be using it. %(again)s"
    ),
    "mailbox_later": _l(
        "%(host)s asks to wait: “%(reply)s”. Nothing is lost: the emails stay on the server, and the next fetch "
        "continues from there."
    ),
    "mailbox_folder_missing": _l(
        "The mailbox has no folder “%(folder)s”. Available folders: %(folders)s. Enter one of these."
    ),
    "mailbox_folder_refused": _l(
        "%(host)s did not open the folder “%(folder)s”: “%(reply)s”. %(again)s If the problem persists, show this to "
        "the provider."
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
        "%(host)s refused a request: “%(reply)s”. %(again)s If the problem persists, show this to the provider."
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
        "The server could not return this email: “%(reply)s”. It stays on the server, and CoquiMail asks for it again "
        "with the next fetches. Press Retry to ask now, or show this to the provider."
    ),
    "mailbox_mail_missing": _l(
        "The server lists this email but did not return it, not even when asked again. It stays on the server, and "
        "CoquiMail asks for it again with the next fetches. Press Retry to ask now, or show this to the provider."
    ),
    "mailbox_mail_no_longer_asked": _l(
        "CoquiMail asked for this email %(times)s more times without success, and no longer asks automatically. Press "
        "Retry to ask again."
    ),
    "mailbox_mail_left_behind": _l(
        "This email was never fetched, and CoquiMail can't ask for it any more: since then, the incoming server was "
        "removed or leads to another mailbox, or the emails there got new numbers. Look for it in the mailbox itself."
    ),
    "mailbox_mail_gone": _l(
        "When CoquiMail asked for this email again, it was no longer in the mailbox: it was removed, or its server "
        "gave it another number, under which it is fetched as a new email."
    ),
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
}
