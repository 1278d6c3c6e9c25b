"""Pure: what a report says itself: its words before the mail that it returns, without lines about the sender."""

import re
from typing import NamedTuple

LONGEST_WORDS = 20_000  # characters of a report that are looked at: what happened stands first


class OwnWords(NamedTuple):
    """``said``: what the report says; ``returned``: what stands below, the returned mail or its header, if as text."""

    said: str
    returned: str


def own_words(text: str) -> OwnWords:
    """Return a report's text in two halves: what it says, and the mail that it returns.

    >>> own_words("It failed.\\n\\n--- Below this line is a copy of the message.\\n\\nFrom: a@x.test").said
    'It failed.\\n\\n'
    """
    text = text[:LONGEST_WORDS]
    block = place = 0  # where the fields just above began; where the line begins
    for line in text.splitlines(keepends=True):
        if _begins_returned(line) and text[:place].strip():
            return OwnWords(text[:place], text[place:])
        if _ONLY_SERVERS_WRITE.match(line):
            return OwnWords(text[:block], text[block:])
        place += len(line)
        if not _FIELD.match(line):
            block = place
    return OwnWords(text, "")


def _begins_returned(line: str) -> bool:
    """Say whether a line announces the returned mail: `---- Original message ----`, `Message headers follow.`"""
    line = line.strip()
    if len(line) > 120 or not (_MARKED.match(line) or _POINTS_BELOW.search(line)):
        return False
    return bool(_RETURNED.search(line)) and not _ABOUT_PEOPLE.search(line)


_MARKED = re.compile(r"[-=_*#+~]{2}")
_POINTS_BELOW = re.compile(r"(?::|\bfollows?[.:]?|\bbelow[.:]?)$", re.IGNORECASE)
_ABOUT_PEOPLE = re.compile(r"\b(?:address(?:es)?|recipients?|receive)\b", re.IGNORECASE)
_NOUN = r"(?:e-?mail|messages?|mail|text|headers?|letter)"
_RETURNED = re.compile(
    rf"\b(?:copy|body|start|beginning|headers?|part|contents?|text|summary|extract|lines) of [^:]{{0,40}}{_NOUN}\b"
    rf"|\b(?:original|returned|unsent|undelivered|undeliverable|rejected|bounced|failed|offending|unmodified|attached)"
    rf" (?:e-?mail |mail |message )?{_NOUN}\b"
    rf"|^[-=_*#+~ ]*{_NOUN} (?:headers? )?(?:follows?\b|below\b)|\bmessage reads\b|\bbelow (?:this|the next) line\b"
    r"|元のメール|送信されたメール|原始邮件",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"[ \t>|]*(?:From|To|Subject|Date|Cc|Sender|Reply-To|Message-ID|MIME-Version|X-[\w-]{1,60})[ \t]*:", re.I
)
_ONLY_SERVERS_WRITE = re.compile(
    r"[ \t>|]*(?:(?:Return-Path|Delivered-To|DKIM-Signature|Received-SPF|ARC-Seal|Authentication-Results)[ \t]*:"
    r"|Received[ \t]*:[ \t]*(?:from\b|by\b|\(|via\b|with\b|$)|From \S+@\S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b)",
    re.IGNORECASE,
)


def about_recipients(said: str) -> str:
    """Return the words without the fields that name somebody else: a sender, an id, the answer to MAIL FROM.

    >>> about_recipients("From: a@x.test\\nTo: b@y.test\\n>>> MAIL FROM:<a@x.test>\\n<<< 550 <a@x.test> refused")
    'To: b@y.test'
    """
    kept = []
    skipping = False
    for line in said.splitlines():
        skipping = bool(_OF_OTHERS.match(line)) or (skipping and bool(_CONTINUED.match(line)))
        if not skipping:
            kept.append(line)
    return "\n".join(kept)


_OF_OTHERS = re.compile(
    r"[ \t>*#|-]*(?:(?:From|Sender|Reply-To|Return-Path|Message-ID|message id|Envelope[- ](?:from|sender)|Subject|Date"
    r"|Sent(?: date)?|In-Reply-To|References|Cc|X-(?!Failed)[\w-]{1,60}|Received|Reporting-MTA|Originator|Mail sender"
    r"|差出人|送信者|件名)[ \t]*[:=]|MAIL FROM\b)",
    re.IGNORECASE,
)
_CONTINUED = re.compile(r"<<< |[ \t]+(?![\w -]{1,30}:)\S")
