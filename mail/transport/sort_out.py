"""What a server answered for each mail that it was asked for becomes mails to store, and perhaps the end of the run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mail.errors import MailboxLater, MailboxRefused
from mail.sentences import why
from mail.transport import refusal
from mail.transport.mailbox import LARGEST_HEADER, FetchedMail, ListedMail, too_large
from mail.transport.spool import Spool, bytes_of

MOST_REFUSED = 3  # mails refused one after the other: then it is the server, not the mail


@dataclass(frozen=True)
class NotGiven:
    """A mail that is listed but does not come, without a word of refusal."""


Answer = bytes | Spool | MailboxRefused | NotGiven | None  # None: it is no longer in the mailbox


@dataclass
class SortedAnswers:
    """Mails to store, those that are gone, and the refusal that ends the run; ``last`` is the last mail of them all."""

    mails: list[FetchedMail] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    last: ListedMail | None = None
    refusal: MailboxRefused | None = None

    @property
    def listed(self) -> int:
        return len(self.mails) + len(self.gone)

    def take(self, answers: Sequence[tuple[ListedMail, Answer]]) -> None:
        """Add mails with what came of them, those that were refused without their content."""
        for mail, answer in answers:
            self.last = mail
            if answer is None:
                self.gone.append(mail.key)
            else:
                self.mails.append(_fetched(mail, answer))


def _fetched(mail: ListedMail, answer: bytes | Spool | MailboxRefused | NotGiven) -> FetchedMail:
    content: bytes | Spool = b""
    if isinstance(answer, MailboxRefused):
        problem = why("mailbox_mail_unreadable", reply=answer.why["values"]["reply"])
    elif isinstance(answer, NotGiven):
        problem = why("mailbox_mail_missing")
    elif mail.is_too_large:
        content, problem = bytes_of(answer)[:LARGEST_HEADER], too_large(mail.size)
    else:
        return FetchedMail(mail.key, mail.size, mail.arrived, answer)
    return FetchedMail(mail.key, mail.size, mail.arrived, content, problem)


def sort_out(answers: Iterable[tuple[ListedMail, Answer]], again: bool) -> SortedAnswers:
    """Return what came of asking for mails one after the other, up to where the server said "not now".

    A refusal ends the run when it says "not now", or nothing at its first time. What is refused the second time
    (``again``), or for good, is set aside when the server gives others: one broken mail never stops them.
    """
    found, waiting = SortedAnswers(), []
    for mail, answer in answers:
        waiting.append((mail, answer))
        unsure = _unsure(waiting)
        if len(unsure) >= (MOST_REFUSED if again else 1):
            break
        if not unsure or isinstance(answer, bytes | Spool):
            found.take(waiting)
            waiting = []
    unsure = _unsure(waiting)
    if again and len(unsure) < MOST_REFUSED and not any(isinstance(refused, MailboxLater) for refused in unsure):
        found.take(waiting)
    elif unsure:
        found.refusal = unsure[0]
    return found


def _unsure(answers: Sequence[tuple[ListedMail, Answer]]) -> list[MailboxRefused]:
    return [answer for _, answer in answers if isinstance(answer, MailboxRefused) and not is_final(answer)]


def is_final(refused: MailboxRefused) -> bool:
    """Return whether the server says that this mail never comes."""
    return refusal.meaning(refused.why["values"]["reply"]) == "final"
