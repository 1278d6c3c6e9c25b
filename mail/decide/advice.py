"""Pure: what helps against a failure: who can fix its cause, and which buttons a card may offer.

One table for every page that shows a failure. An action that would change nothing is not in it: no corrected address
against a block list, no second try at a mailbox that does not exist.
"""

from enum import StrEnum
from typing import NamedTuple

from mail.decide.oauth import kind_at
from mail.sentences import Why, why


class Fixer(StrEnum):
    """Who can remove the cause of a failure."""

    YOU = "you"
    ADMINISTRATOR = "administrator"  # of this office: its servers, its domain, its machine
    PROVIDER = "provider"  # of the email, or of the outgoing server
    RECIPIENT = "recipient"
    THEIR_ADMINISTRATOR = "their_administrator"
    NOBODY = "nobody"  # it passes


class Remedy(StrEnum):
    """What a card may offer."""

    RETRY = "retry"
    CORRECT = "correct"  # the address
    BLACKLIST = "blacklist"  # for mailings
    SETTINGS = "settings"  # of the outgoing server
    SERVER = "server"  # another one


class Advice(NamedTuple):
    """Who can fix a failure, and what helps."""

    fixer: Fixer
    actions: frozenset[Remedy] = frozenset()
    # With whom to sign in, in place of a password: google, microsoft, other; again: once more; "" where it is no help.
    sign_in: str = ""

    @property
    def is_about_address(self) -> bool:
        """Whether the recipient's address may be to blame; a limit, a rule or a setting says nothing about it."""
        return self.fixer in (Fixer.YOU, Fixer.RECIPIENT)

    def offers(self, action: str) -> bool:
        """Say whether an action helps."""
        return action in self.actions


def advice_for(reason: Why | None) -> Advice:
    """Return what helps against a stored failure; about one that has no line here only a retry can be advised.

    >>> advice = advice_for({"code": "no_such_mailbox", "values": {}})
    >>> advice.fixer.value, advice.offers("correct"), advice.offers("retry")
    ('you', True, False)
    """
    if reason is None:
        return _UNKNOWN
    code = reason["values"].get("cause") or reason["code"]
    advice = ADVICE.get(code, _UNKNOWN)
    sign_in = _sign_in_with(code, str(reason["values"].get("host", "")))
    return advice._replace(sign_in=sign_in) if sign_in else advice


def told_fixer(reason: Why | None, *, has_ended: bool, to_administrator: bool = False) -> Why:
    """Return the sentence that says who can fix a failure; for an administrator that may be the reader.

    What has ended passes as well, but nothing is tried again then unless somebody wants it.

    >>> [told_fixer(why("greylisted"), has_ended=ended)["code"] for ended in (False, True)]
    ['fixer_nobody', 'fixer_nobody_ended']
    """
    fixer = advice_for(reason).fixer
    if fixer is Fixer.NOBODY and has_ended:
        return why("fixer_nobody_ended")
    return why(f"fixer_{Fixer.YOU if to_administrator and fixer is Fixer.ADMINISTRATOR else fixer}")


def _sign_in_with(code: str, host: str) -> str:
    """Return with whom to sign in when a password was not taken, or when a sign-in has ended.

    >>> _sign_in_with("password_login_off", "smtp.office365.com"), _sign_in_with("password_login_off", "mx.x.test")
    ('microsoft', 'other')
    >>> _sign_in_with("login_refused", "smtp.gmail.com"), _sign_in_with("login_refused", "mx.x.test")
    ('google', '')
    >>> _sign_in_with("mailbox_account_ended", "")
    'again'
    """
    code = code.removeprefix("mailbox_")
    if code in ("account_ended", "account_missing", "account_new", "account_removed", "account_unreadable"):
        return "again"
    if code not in ("password_login_off", "app_password_wanted", "login_refused"):
        return ""
    kind = kind_at(host)
    return kind if kind != "other" or code == "password_login_off" else ""


def not_again(state: str, wait: str, reason: Why | None) -> str:
    """Return the code that says why sending to a recipient again would not help, "" where it may.

    >>> not_again("failed", "", {"code": "no_such_mailbox", "values": {}}), not_again("queued", "limit", None)
    ('again_address', 'again_waiting')
    >>> not_again("failed", "", {"code": "mailbox_full", "values": {}}), not_again("queued", "retry", None)
    ('', '')
    """
    if state in ("sent", "sending"):
        return f"again_{state}"
    if state == "queued":
        return "" if wait == "retry" else "again_waiting"
    advice = advice_for(reason)
    if advice.offers(Remedy.RETRY):
        return ""
    return "again_address" if advice.offers(Remedy.CORRECT) else "again_email"


def is_known(reason: Why | None) -> bool:
    """Say whether there is advice for a stored explanation: it is a failure, no choice of a person and no limit.

    >>> is_known({"code": "login_refused", "values": {}}), is_known({"code": "mailing_paused_by", "values": {}})
    (True, False)
    """
    return reason is not None and (reason["values"].get("cause") or reason["code"]) in ADVICE


def _advice(fixer: Fixer, *actions: Remedy) -> Advice:
    return Advice(fixer, frozenset(actions))


_UNKNOWN = _advice(Fixer.ADMINISTRATOR, Remedy.RETRY)

_TABLE: tuple[tuple[Advice, tuple[str, ...]], ...] = (
    # --- the address, the recipient
    (_advice(Fixer.YOU, Remedy.CORRECT, Remedy.BLACKLIST), ("no_such_mailbox", "no_such_domain", "bounced_hard")),
    (_advice(Fixer.YOU, Remedy.CORRECT), ("invalid_address", "address_unusable")),
    (
        _advice(Fixer.YOU, Remedy.CORRECT, Remedy.RETRY),
        ("recipient_refused", "no_such_mailbox_now", "no_such_domain_now"),
    ),
    (_advice(Fixer.YOU, Remedy.CORRECT, Remedy.SERVER, Remedy.RETRY), ("needs_smtputf8", "needs_smtputf8_there")),
    (_advice(Fixer.RECIPIENT, Remedy.CORRECT, Remedy.RETRY), ("recipient_disabled", "recipient_disabled_now")),
    (_advice(Fixer.RECIPIENT, Remedy.RETRY), ("mailbox_full", "mailbox_full_now", "bounced_full", "bounced_soft")),
    (
        _advice(Fixer.THEIR_ADMINISTRATOR, Remedy.RETRY),
        ("recipient_forbidden", "blocked_as_spam", "mail_loop", "bounced_blocked"),
    ),
    # --- the mail as it is; another one may go
    (_advice(Fixer.YOU), ("too_large", "too_large_there", "blocked_as_dangerous", "post_too_large")),
    (_advice(Fixer.ADMINISTRATOR), ("mail_unusable",)),
    (_advice(Fixer.ADMINISTRATOR, Remedy.SERVER, Remedy.RETRY), ("format_refused",)),
    # --- our domain, our address, our account
    (
        _advice(Fixer.ADMINISTRATOR, Remedy.SERVER, Remedy.RETRY),
        (
            "blocked_without_proof", "blocked_without_proof_now", "sender_not_found", "sender_not_found_now",
            "account_not_ready",
        ),
    ),
    (
        _advice(Fixer.PROVIDER, Remedy.SERVER, Remedy.RETRY),
        (
            "blocked_by_list", "blocked_by_list_now", "no_reverse_name", "no_reverse_name_now", "greeting_blocked",
            "greeting_no_reverse_name", "greeting_refused", "account_blocked", "sending_limit", "provider_limit_now",
            "login_blocked", "certificate_refused", "certificate_expired", "test_sender_but_recipient",
        ),
    ),
    # --- the outgoing server and its settings
    (
        _advice(Fixer.ADMINISTRATOR, Remedy.SETTINGS, Remedy.SERVER, Remedy.RETRY),
        (
            "sender_refused", "sender_needs_smtputf8", "relay_denied", "login_wanted", "encryption_wanted",
            "helo_refused", "helo_unusable", "login_refused", "app_password_wanted", "password_login_off",
            "token_refused", "token_login_not_offered", "smtp_login_off", "account_missing", "account_ended",
            "account_later", "account_unreadable", "account_new", "account_removed",
            "login_not_offered", "secret_unreadable", "greeting_no_service", "name_not_found", "address_not_allowed",
            "address_not_public", "port_not_allowed", "connection_refused", "unreachable", "timed_out",
            "not_understood", "tls_failed", "starttls_missing", "certificate_changed", "certificate_self_signed",
            "certificate_wrong_name", "client_certificate_unusable",
        ),
    ),
    (
        _advice(Fixer.ADMINISTRATOR, Remedy.SERVER, Remedy.RETRY),
        ("no_server", "server_off", "server_gone", "mailing_server_gone", "mailing_custom_off"),
    ),
    # --- this office
    (
        _advice(Fixer.ADMINISTRATOR, Remedy.RETRY),
        (
            "from_missing", "from_invalid", "from_not_verified_alone", "journal_failed", "name_lookup_failed",
            "delivery_unexpected", "refused", "larger_than_allowed",
        ),
    ),
    # --- a mailbox that is fetched
    (
        _advice(Fixer.ADMINISTRATOR),
        (
            "mailbox_token_refused", "mailbox_account_missing", "mailbox_account_ended",
            "mailbox_account_later", "mailbox_account_unreadable", "mailbox_account_new", "mailbox_account_removed",
            "mailbox_login_refused", "mailbox_app_password_wanted", "mailbox_password_login_off", "mailbox_web_login",
            "mailbox_turned_off", "mailbox_encryption_wanted", "mailbox_secret_unreadable", "mailbox_folder_missing",
            "mailbox_shared_missing",
            "mailbox_folder_refused", "mailbox_folder_not_made", "mailbox_read_only", "mailbox_no_mark",
            "mailbox_no_delete", "mailbox_no_expunge", "mailbox_moved_to_itself", "mailbox_no_room",
            "mailbox_not_understood", "mailbox_connection_refused", "mailbox_timed_out", "mailbox_tls_failed",
            "mailbox_starttls_missing", "mailbox_port_not_allowed",
        ),
    ),
    (
        _advice(Fixer.PROVIDER),
        ("mailbox_login_blocked", "mailbox_unusable", "mailbox_refused", "mailbox_greeting_refused",
         "mailbox_certificate_wrong_name", "mailbox_idle_missing", "mailbox_idle_refused"),
    ),
    (
        _advice(Fixer.NOBODY),
        ("mailbox_busy", "mailbox_later", "mailbox_ended", "mailbox_connection_lost", "mailbox_fell_silent",
         "mailbox_took_too_long"),
    ),
    # --- the test of an outgoing server, from end to end
    (
        _advice(Fixer.ADMINISTRATOR),
        (
            "self_test_nothing_fetched", "self_test_mailbox_off", "self_test_sender_failed", "self_test_sender_warning",
            "self_test_reply_returned", "self_test_reply_missing", "self_test_bounce_missing",
            "self_test_delivery_missing",
        ),
    ),
    (
        _advice(Fixer.PROVIDER),
        (
            "self_test_delivery_returned", "self_test_reply_stray", "self_test_late",
            "self_test_plus_returned", "self_test_plus_refused", "self_test_plus_missing", "self_test_plus_no_sender",
        ),
    ),
    (_advice(Fixer.NOBODY), ("line_self_test", "test_ran_out")),
    # --- it passes
    (
        _advice(Fixer.NOBODY, Remedy.RETRY),
        (
            "deferred", "server_busy", "greylisted", "too_many_connections", "session_full", "sending_limit_now",
            "recipient_limit", "recipient_limit_now", "blocked_as_spam_now", "greeting_deferred", "login_deferred",
            "connection_lost", "fell_silent", "domain_slowed", "server_slowed", "domain_greylisted", "server_away",
            "server_slow", "practice_away", "unknown_once", "doubt_waits", "doubt_sent_again",
        ),
    ),
    # --- only a person can know
    (
        _advice(Fixer.YOU, Remedy.RETRY),
        ("in_doubt", "unknown_final", "unknown_power_cut", "trace_in_doubt", "doubt_left", "left_the_queue",
         "rehearsal_left_unsent", "cancelled_in_doubt", "gave_up",
         "unknown_test_email", "test_email_lost",
         "mailing_paused_failures", "mailing_all_in_doubt"),
    ),
)  # fmt: skip
ADVICE = {code: advice for advice, codes in _TABLE for code in codes}
