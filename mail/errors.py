"""Every failure that we name: its code, whether trying again later can help, and the sentence that explains it.

The edge (``transport/``) translates what libraries and servers say into these once; nobody else in the house knows
``smtplib``, ``ssl`` or ``socket``. The sentence is in ``sentences.SENTENCES`` under the error's code.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from mail.sentences import Why, say, why


class ChangeRefused(Exception):
    """A change that can't be made: for each field that is wrong the reason, with what to do instead."""

    def __init__(self, errors: Mapping[str, Why]) -> None:
        super().__init__(dict(errors))
        self.errors = dict(errors)

    def __str__(self) -> str:
        return " ".join(self.sentences().values())

    def sentences(self) -> dict[str, str]:
        """Return what is wrong with each field, in the language of the reader."""
        return {field: say(reason) for field, reason in self.errors.items()}


class MailError(Exception):
    """A failure with a name.

    ``code`` is stored and counted, ``retry`` is what the queue asks, ``why`` is the stored explanation.

    >>> error = TimedOut(host="smtp.example.com", seconds=30)
    >>> error.code, error.retry, error.why["values"]["seconds"]
    ('timed_out', True, 30)
    """

    code: ClassVar[str]
    retry: ClassVar[bool] = False

    def __init__(self, **values: Any) -> None:
        self.why: Why = why(self.code, **values)
        super().__init__(self.code, values)


# --- reaching a server. The mail itself is not to blame: it waits, and goes out automatically once the cause is fixed.


class ConnectionFailed(MailError):
    """No usable connection to a mail server."""

    code, retry = "unreachable", True


class NameNotFound(ConnectionFailed):
    code = "name_not_found"


class NameLookupFailed(ConnectionFailed):  # the name service did not answer: not the same as "no such name"
    code = "name_lookup_failed"


class AddressNotAllowed(ConnectionFailed):
    code = "address_not_allowed"


class AddressNotPublic(AddressNotAllowed):
    code = "address_not_public"


class PortNotAllowed(ConnectionFailed):
    code = "port_not_allowed"


class ConnectionRefused(ConnectionFailed):
    code = "connection_refused"


class Unreachable(ConnectionFailed):
    code = "unreachable"


class TimedOut(ConnectionFailed):
    code = "timed_out"


class FellSilent(TimedOut):  # after its greeting: port and encryption are right
    code = "fell_silent"


class ConnectionLost(ConnectionFailed):
    code = "connection_lost"


class NotUnderstood(ConnectionFailed):  # something answers there, but it does not speak this protocol
    code = "not_understood"


class TlsFailed(ConnectionFailed):
    code = "tls_failed"


class StarttlsMissing(TlsFailed):
    code = "starttls_missing"


class CertificateRefused(TlsFailed):
    code = "certificate_refused"


class CertificateExpired(CertificateRefused):
    code = "certificate_expired"


class CertificateChanged(CertificateRefused):  # not the one that an admin trusts by hand
    code = "certificate_changed"


class CertificateSelfSigned(CertificateRefused):
    code = "certificate_self_signed"


class CertificateWrongName(CertificateRefused):
    code = "certificate_wrong_name"


class ClientCertificateUnusable(ConnectionFailed):  # our own certificate or key can't be read
    code = "client_certificate_unusable"


class GreetingRefused(ConnectionFailed):  # the server answers 5xx before we said anything
    code = "greeting_refused"


class GreetingBlocked(GreetingRefused):  # our address is on a list, or has a bad name
    code = "greeting_blocked"


class GreetingNoReverseName(GreetingRefused):  # our address has no name at all
    code = "greeting_no_reverse_name"


class HeloRefused(GreetingRefused):  # it does not take the name that we introduce ourselves by
    code = "helo_refused"


class NoMailService(GreetingRefused):  # a host that says that it takes no mail
    code = "greeting_no_service"


class GreetingDeferred(ConnectionFailed):  # it answers 4xx: busy, closing
    code = "greeting_deferred"


class TooManyConnections(ConnectionFailed):  # it takes fewer at once than we have open
    code = "too_many_connections"


class HeloUnusable(ConnectionFailed):  # the name that we are to introduce ourselves by can't be written
    code = "helo_unusable"


class LoginRefused(ConnectionFailed):  # a wrong password is no fault of the mail: it waits until it is corrected
    code = "login_refused"


class AppPasswordWanted(LoginRefused):  # the password of the person is right, and not for programs
    code = "app_password_wanted"


class PasswordLoginOff(LoginRefused):  # no password at all is taken for sending
    code = "password_login_off"


class AccountLocked(LoginRefused):  # the password may be right: somebody must let the account in first
    code = "login_blocked"


class SmtpLoginOff(LoginRefused):  # the account may not send by programs at all, however it signs in
    code = "smtp_login_off"


class TokenRefused(LoginRefused):  # the sign-in with the provider is valid, and the server does not want it
    code = "token_refused"


class LoginDeferred(ConnectionFailed):  # the server can't check user and password just now
    code = "login_deferred"


class LoginNotOffered(ConnectionFailed):
    code = "login_not_offered"


class TokenLoginNotOffered(LoginNotOffered):  # a password may be taken, a token is not
    code = "token_login_not_offered"


class EncryptionWanted(ConnectionFailed):
    code = "encryption_wanted"


class SecretUnreadable(ConnectionFailed):  # the password or key of the server was stored under another key of ours
    code = "secret_unreadable"


class MailboxSecretUnreadable(ConnectionFailed):  # the same of the password of a mailbox
    code = "mailbox_secret_unreadable"


class SigningKeyUnreadable(MailError):  # DKIM: the email waits, unsigned it might be refused for good
    code, retry = "dkim_key_unreadable", True


class UnexpectedFailure(ConnectionFailed):  # a mistake of ours, or something that nobody thought of
    code = "delivery_unexpected"


class ServerGone(ConnectionFailed):  # the record was deleted or switched off after the decision
    code = "server_away"


class NoServerLeft(ServerGone):  # only the practice mailbox is left, and this office is live
    code = "no_server"


class PracticeMailboxAway(ConnectionFailed):
    code = "practice_away"


class JournalFailed(MailError):  # no journal, no send
    code, retry = "journal_failed", True


# --- a mailbox that is fetched. Nothing is lost: the mails stay where they are until it works again.


class LoginBlocked(LoginRefused):  # the password is not to blame
    code = "mailbox_login_blocked"


class WebLoginWanted(LoginBlocked):  # somebody must log in with a browser first
    code = "mailbox_web_login"


class MailboxTurnedOff(LoginBlocked):  # IMAP or POP3 is not allowed for this account
    code = "mailbox_turned_off"


class MailboxBusy(ConnectionFailed):  # another program has it open
    code = "mailbox_busy"


class FolderMissing(ConnectionFailed):
    code = "mailbox_folder_missing"


class FolderRefused(ConnectionFailed):  # it is there, and the server does not open it
    code = "mailbox_folder_refused"


class FolderNotMade(ConnectionFailed):
    code = "mailbox_folder_not_made"


class MailboxReadOnly(ConnectionFailed):
    code = "mailbox_read_only"


class MailboxMarkRefused(ConnectionFailed):
    code = "mailbox_no_mark"


class MailboxDeleteRefused(ConnectionFailed):
    code = "mailbox_no_delete"


class MailboxExpungeRefused(ConnectionFailed):  # they can be marked as deleted, and stay
    code = "mailbox_no_expunge"


class FolderMovedToItself(ConnectionFailed):  # fetched mails would come back as new ones, again and again
    code = "mailbox_moved_to_itself"


class NoRoomForMail(ConnectionFailed):  # on our own disk
    code = "mailbox_no_room"


class MailboxUnusable(ConnectionFailed):  # it gives its mails no lasting numbers, so nothing could be told apart
    code = "mailbox_unusable"


class MailboxRefused(ConnectionFailed):  # the server said no to a command that should work
    code = "mailbox_refused"


class SharedMailboxMissing(ConnectionFailed):  # somebody else's mailbox, which this user does not see
    code = "mailbox_shared_missing"


class MailboxEnded(ConnectionFailed):  # the server closed the connection, with a reason
    code = "mailbox_ended"


class MailboxLater(MailboxRefused):  # the server said "not now"
    code = "mailbox_later"


class TookTooLong(ConnectionFailed):  # every piece came in time, but there were too many of them
    code = "mailbox_took_too_long"


# --- one mail


class DeliveryFailed(MailError):
    """One mail was not taken."""

    code = "refused"


class TooLarge(DeliveryFailed):
    code = "too_large"


class NeedsSmtputf8(DeliveryFailed):
    code = "needs_smtputf8"


class SenderNeedsSmtputf8(NeedsSmtputf8):  # it is our own From or envelope sender, not the recipient
    code = "sender_needs_smtputf8"


class InvalidAddress(DeliveryFailed):
    code = "invalid_address"


class MailUnusable(DeliveryFailed):  # it can't be put together, for a reason that nobody thought of
    code = "mail_unusable"


class NothingWritten(MailError):  # a post without a word, a picture or a file
    code = "nothing_written"


class InDoubt(DeliveryFailed):  # the content was sent completely, the answer was never seen
    code = "in_doubt"


# --- what people ask for, and what they upload


class PostTooLarge(MailError):
    code = "post_too_large"


class WordsTooLarge(PostTooLarge):  # without any file
    code = "words_too_large"


class NotCorrected(MailError):
    """An address was not corrected; ``why`` says why not, and what to do."""

    code = "address_unusable"

    def __init__(self, reason: Why) -> None:
        super().__init__(address="")
        self.why = reason


class NotHandedOver(MailError):
    """An email of our own, a test or a digest, was not even queued; ``why`` says why not."""

    code = "check_lost"

    def __init__(self, reason: Why) -> None:
        super().__init__()
        self.why = reason


class NotText(MailError):  # a workbook, where lines or CSV are read
    code = "import_not_text"


# --- the text of a mailing


class MergeError(MailError):
    """A merge field that can't be filled; ``why`` names the part of the mailing and the line."""

    code = "merge_syntax"


class UnknownField(MergeError):
    code = "merge_unknown_field"


class FieldNotClosed(MergeError):
    code = "merge_not_closed"
