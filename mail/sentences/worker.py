"""The worker, its actions and what it tests (scheduler)."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "loop_died": _l(
        "This part of the worker ended unexpectedly (%(error)s: %(detail)s) and was restarted. If this keeps "
        "happening, report it together with the worker log."
    ),
    "no_room": _l(
        "The disk is full, so nothing can be saved. Emails stay on the mail server and in the queue. The person who "
        "maintains this server must free disk space; everything then continues automatically."
    ),
    "database_away": _l("The database is unavailable (%(detail)s). The worker waits and continues automatically."),
    "unexpected_failure": _l(
        "Something unexpected happened (%(error)s: %(detail)s). It will be retried at the next run; if the problem "
        "persists, report it together with the worker log."
    ),
    "run_lost": _l(
        "The worker ended before this run was finished. A scheduled run is repeated automatically; a run that you "
        "started must be started again."
    ),
    "action_unknown": _l("This version of CoquiMail does not know the action “%(action)s”: turn it off."),
    "fetch_failed": Counted(
        "servers",
        "%(failed)s of %(servers)s incoming server could not be fetched. %(name)s: %(reason)s It will be retried at "
        "the next run.",
        "%(failed)s of %(servers)s incoming servers could not be fetched. %(name)s: %(reason)s The others are not "
        "affected, and it will be retried at the next run.",
    ),
    "fetch_under_way": _l("This mailbox is already being fetched."),
    "fetch_interrupted": _l(
        "The worker ended while this mailbox was being fetched; the rest is fetched at the next run."
    ),
    "fetch_started": _l("Fetching emails of %(name)s."),
    "fetch_done": Counted("mails", "%(mails)s new email was fetched.", "%(mails)s new emails were fetched."),
    "fetch_goes_on": _l("This takes a while: fetching continues automatically, and emails appear as they arrive."),
    "mail_to_me_default": _l("This test email was requested for the default server, “%(server)s”."),
    "mail_to_me_from": _l("The email is from %(sender)s; bounces go to %(bounce)s."),
    "mail_to_me_accepted": _l(
        "The server accepted the email to %(address)s: “%(reply)s”. Look for it in your inbox, and in the spam folder."
    ),
    "mail_to_me_in_practice": _l(
        "The email is in the practice mailbox: with no real server set up, nothing reaches %(address)s."
    ),
    "mail_to_me_deferred": _l(
        "The server did not accept the test email yet: “%(reply)s”. Send another one in a few minutes."
    ),
    "mail_to_me_lost": _l(
        "The worker was interrupted while it was sending this email. The email itself shows whether it was accepted; "
        "it is not sent again automatically."
    ),
    "check_lost": _l("The worker was interrupted before this test was finished. Press the button again."),
    "check_activated": _l("The server passed its test and is active now."),
    "check_server_gone": _l("This server has been deleted."),
    "check_changed": _l("The server was changed during the test. Test it again."),
    "check_no_sender": _l(
        "There is no known address to send from: set the alias domain and mail.default.from, or fill in FROM "
        "Filtering; then test again."
    ),
    "check_confirmed": _l(
        "The server is confirmed: new emails are fetched from now on. Existing emails are not fetched."
    ),
    "check_confirmed_all": _l("The server is confirmed: existing and new emails are fetched."),
}
