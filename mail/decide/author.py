"""Who wrote a received mail, and where answers to it go (incoming.md 4): From, unless that is plainly no person.

Web forms write as ``sales@`` or ``no-reply@``, groups put themselves into the From of their members: the person is in
Reply-To then. Only for showing, contacts and answers: whom a policy trusts is judged by From alone.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

from mail.message.address import Address, local_part, parse_addresses
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

# Local parts behind which nobody reads: as a whole, or as one of several words joined by dashes, dots, "_" or "+".
_NO_REPLY = re.compile(
    r"(?:.*[._+-])?(?:no-?reply|do-?not-?reply|dont-?reply|not-?reply|nicht-?antworten|keine-?antwort"
    r"|ne-?pas-?repondre|pas-?de-?reponse|no-?responder|no-?contestar|nao-?responda?|non-?rispondere|no-?rispost[ae]"
    r"|niet-?beantwoorden|nie-?odpowiadaj|svara-?ej|svar-?ikke|ei-?vastausta)(?:\d*|[._+-].*)"
)
_PROGRAM_NAMES = """
    apache auto-confirm automailer bounce bounces contact-form contactform daemon drupal formmail httpd joomla
    mailer-daemon nginx nobody notification notifications robot root typo3 webform wordpress www www-data
"""
_PROGRAMS = frozenset(_PROGRAM_NAMES.split())


@dataclass(frozen=True, slots=True)
class Authorship:
    """Who is shown as the author, and the mailbox that answers go to (None: the author's own).

    ``from_reply_to``: the author was found behind a From that is ours or no person's; nobody vouches for it, so it
    gives no rights. ``reason`` says how both came about; None is the usual case, the author is the From.
    """

    author: Address | None
    replies_to: Address | None = None
    from_reply_to: bool = False
    reason: Why | None = None

    @property
    def answer_to(self) -> Address | None:
        """Where an answer to the mail goes."""
        return self.replies_to or self.author


def authorship(message: IncomingMessage, ours: Container[str]) -> Authorship:
    """Return who wrote a mail and where answers go; ``ours`` holds the keys of the office's own addresses."""
    sender = message.from_
    sender_key = sender.key if sender else ""
    strangers = [one for one in _reply_to(message) if one.key not in ours and one.key != sender_key]
    code = _why_no_person(message, ours)
    if code is None:
        if sender is None or not strangers:
            return Authorship(sender)
        reason = why("author_replies_elsewhere", sender=str(sender), reply_to=str(strangers[0]))
        return Authorship(sender, strangers[0], reason=reason)
    person = _first_person([*strangers, *_original_from(message)], ours)
    if person is None or person.key == sender_key:
        return Authorship(sender)
    return Authorship(person, None, True, why(code, author=str(person), sender=str(sender)))


def is_no_person(address: str) -> bool:
    """Say whether nobody reads what is sent to an address, by its local part.

    >>> is_no_person("no-reply@shop.example"), is_no_person("orders.noreply+7@shop.example"), is_no_person("nora@x.org")
    (True, True, False)
    """
    local = re.sub("[_.]", "-", local_part(address).lower()[:200])
    return local in _PROGRAMS or _NO_REPLY.fullmatch(local) is not None


def _why_no_person(message: IncomingMessage, ours: Container[str]) -> str | None:
    """The code of the reason why the From is not the author's; None if it may be."""
    if message.from_ is None:
        return None
    if message.from_key in ours:
        return "author_behind_own_address"
    if is_no_person(message.from_key):
        return "author_behind_no_reply"
    return "author_behind_group" if "x-original-from" in message.fields else None


def _reply_to(message: IncomingMessage) -> list[Address]:
    return parse_addresses(message.raw_header("reply-to"))


def _original_from(message: IncomingMessage) -> list[Address]:
    return parse_addresses(message.raw_header("x-original-from"))


def _first_person(candidates: Iterable[Address], ours: Container[str]) -> Address | None:
    return next((one for one in candidates if one.key not in ours and not is_no_person(one.key)), None)
