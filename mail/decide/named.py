"""Pure: whom the words of a report name as its recipients, and how surely: by where an address stands.

An address at the beginning of a line, in an RCPT TO or behind "Recipient:" is surely one; in "delivered to …" probably;
elsewhere perhaps; who is named as somebody to ask is none. The surest kind that is found counts alone.
"""

import re
from collections.abc import Collection
from enum import IntEnum
from itertools import islice

from mail.message.address import local_part, normalise


class Surety(IntEnum):
    """How sure it is that an address in a report is a recipient's."""

    NO = 0
    PERHAPS = 1  # it stands there
    PROBABLY = 2  # "delivered to …"
    SURELY = 3  # "…: 550 User unknown"


MOST_ADDRESSES = 200  # of one report that are looked at


def named_recipients(words: str, nobody: Collection[str]) -> tuple[Surety, list[str]]:
    """Return the recipients that a report's words name, in their order, and how surely; ``nobody``: who is none.

    >>> named_recipients("Your mail to <b@y.test> failed. Questions? Ask help@y.test", ())
    (<Surety.PROBABLY: 2>, ['b@y.test'])
    """
    found: dict[str, Surety] = {}
    before, end = Surety.NO, 0
    for match in islice(_ADDRESS.finditer(words), MOST_ADDRESSES):
        address = _read(match[0])
        if address is None or address in nobody:
            continue
        surety = _surety(words, match.start(), match.end(), address)
        if _AND.fullmatch(words, end, match.start()):
            surety = max(surety, before)
        found[address] = max(found.get(address, Surety.NO), surety)
        before, end = surety, match.end()
    surest = max(found.values(), default=Surety.NO)
    return surest, [address for address, surety in found.items() if surety is surest and surety]


_AND = re.compile(r"[>\"')\]]{0,2}\s{0,3}(?:[,;/&]|and|or|und|et|y|e)\s{0,9}[<\"'(\[]{0,2}")
_ADDRESS = re.compile(
    r"[^\s<>()\[\]\"',;:@|`“”«»‘’「」（）＜＞]{1,250}@[\w.-]+\.\w[\w-]*|\"[^\"\n@]{1,64}\"@[\w.-]+\.\w[\w-]*"
)
_LABELLED = re.compile(r"^(?:smtp|rfc-?822|e-?mail|address|mailto|recipient|user|to|dda)[=:]", re.IGNORECASE)
_FOREIGN_AROUND = re.compile(r"^[^\x00-\x7f]+(?=[\x21-\x7f]+$)")


def _read(text: str) -> str | None:
    """An address as it stands in a text, which may be written around it without a blank."""
    local, _, domain = _LABELLED.sub("", text).rpartition("@")
    if not domain.isascii() and (ascii_part := re.match(r"[A-Za-z0-9.-]+\.[A-Za-z]{2,}", domain)):
        domain = ascii_part[0]
    return normalise(f"{_FOREIGN_AROUND.sub('', local)}@{domain.strip('.-')}")


def _surety(words: str, start: int, end: int, address: str) -> Surety:
    before = words[max(0, start - 160) : start]
    line = before.rpartition("\n")[2]
    after = words[end : end + 60]
    if _RECIPIENT_FIELD.search(line) or (_LINE_BEGINS.fullmatch(line) and _LINE_GOES_ON.match(after)):
        return Surety.SURELY
    sentence = _SENTENCE_END.split(before)[-1]
    if _TO_ASK.search(sentence) or _FROM.search(sentence) or _IN_LINK.search(line):
        return Surety.NO
    if _FIELD_TO.match(line):
        return Surety.PERHAPS  # of the mail that failed; not all that it was for
    if _TOWARDS.search(sentence) or _LABELLED.match(words[start:end]):
        return Surety.PROBABLY
    return Surety.NO if local_part(address) in _ROLES else Surety.PERHAPS


_RECIPIENT_FIELD = re.compile(
    r"(?:RCPT TO[ \t]*:?"
    r"|(?:recipients?|recipient address|original address|addressee|destination|envelope to|宛先|送信先)"
    r"(?: e-?mail)?(?: address)?(?: was| is)?[ \t]*[:=])[ \t]*[<\"'\[(]*(?:rfc822[;:][ \t]*)?$"
    r"|^\W*\d{3}[ -](?:#?\d\.\d{1,3}\.\d{1,3}[ -])?<?$",
    re.IGNORECASE,
)
_LINE_BEGINS = re.compile(r"[ \t>*•·|#-]*(?:\(?\d{1,2}[.)] ?)?[<\"'\[(]{0,2}")
_LINE_GOES_ON = re.compile(r"[>\"'\])]*[ \t]*(?:$|[\r\n:;,.\[(<|=-]|\.\.\.|[A-Z]|on \w{3}, |unknown|user|failed|host)")
_FIELD_TO = re.compile(r"[ \t>*#|-]*(?:To|An|Till|À|宛先)[ \t]*:", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?][\s]|\n[ \t]*\n")
_TO_ASK = re.compile(
    r"\b(?:contact\w*|questions?|assist\w*|help|support|complain\w*|instead|alternativ\w*|further|inquir\w*|enquir\w*"
    r"|ask|notify|feedback|administrator|helpdesk|visit|resolve|new address|moved to|write to|please use|urgen\w+"
    r"|wenden|kontakt\w*|vertret\w*|dringend\w*|neue adresse|contactez|joindre|diríjase|rivolg\w+|contatt\w+"
    r"|please (?:write|e-?mail|mail)|(?:report|forward) (?:it|this|them|spam|abuse|phishing) to"
    r"|report (?:(?:any|all|suspicious|suspected|spam|phishing|e-?mails?|messages?|mails?) ){1,4}to)\b|^\s*report to\b",
    re.IGNORECASE,
)
_FROM = re.compile(r"\b(?:from|by|sender|von|de|par|da)[\s:<\"'(\[]*$", re.IGNORECASE)
_IN_LINK = re.compile(r"https?://\S*$|mailto:\S*$", re.IGNORECASE)
_TOWARDS = re.compile(
    r"\b(?:to|for|address(?:es)?|recipients?|user|mailbox|account|deliver\w*|reach\w*|an|à|al?|para)"
    r"(?: the)?(?: following)?(?: local)?(?: e-?mail)?"
    r"(?: recipients?| address(?:es)?| users?| mailbox| account| person)?"
    r"[\s:<\"'\[(“«]*(?:rfc822[;:]\s*)?$",
    re.IGNORECASE,
)
_ROLES = frozenset(("postmaster", "mailer-daemon", "abuse", "hostmaster", "support", "helpdesk", "webmaster"))
