"""What the lines of a body are: quoted ones, the beginning of a quote, a signature. Pure, linear.

Every pattern here runs over what strangers wrote: none may backtrack over more than a line.
"""

import re

from mail.message.quoted_words import (
    DATE_LINE,
    FROM_LINE,
    LIKE_A_DATE,
    LINE_ABOVE,
    OF_A_FIRM,
    OTHER_LINE,
    POSTSCRIPT,
    REACHED,
    SEPARATORS,
    SUBJECT_LINE,
    WROTE,
)

_LIST_ITEM = re.compile(r"[ \t]*(?:[-*•–+]|\d{1,3}[.)])[ \t]")
_LONGEST_SIGNATURE = 12  # lines
LONGEST_LINE = 1000  # of a line more than this is not looked at
_AROUND = " \t\r\xa0\u200e\u200f\u202a\u202b\u202c\u202d\u202e"  # blanks, and what turns the direction


def is_marked(line: str) -> bool:
    """Say whether a line is one that a program quoted."""
    return line.lstrip().startswith(">")


def words_between_quotes(lines: list[str]) -> bool:
    """Say whether somebody wrote below lines with marks: an answer, or what seems to be one."""
    quoted = False
    for number, line in enumerate(lines):
        if is_marked(line):
            quoted = True
        elif quoted and line.strip() and not LINE_ABOVE.fullmatch(line[:LONGEST_LINE]):
            return not _ends_as_signature(lines[number:])
    return False


def _ends_as_signature(lines: list[str]) -> bool:
    return lines[0] in ("-- ", "--") and is_signature(lines[1:200], lines[0])


def is_signature(following: list[str], dashes: str) -> bool:
    """Say whether the lines below dashes are a name and an address: few, short, no list; then the end or a quote."""
    signed: list[str] = []
    for number, line in enumerate(following):
        if is_marked(line) or begins_quote(following, number):
            if words_between_quotes(following[number:]):
                return False
            break
        signed += [line] if line.strip() else []
        if len(signed) > _LONGEST_SIGNATURE:
            return False
    longest = 200 if dashes == "-- " else 60  # without the blank of RFC 3676 it may be anything
    if not signed or any(len(line) > longest or _LIST_ITEM.match(line) or POSTSCRIPT.match(line) for line in signed):
        return False
    return dashes == "-- " or (any(map(REACHED.search, signed)) and not any(map(_says_something, signed)))


def _says_something(line: str) -> bool:
    """Say whether a line is a sentence, or gives a value to a word: nobody's name, and no way to reach somebody."""
    is_value = _VALUE.match(line) and not (REACHED.search(line) or OF_A_FIRM.match(line))
    return bool(_SENTENCE.fullmatch(line) or is_value)


_SENTENCE = re.compile(r"(?:.*[!?！？。]|(?:\S+[ \t]+){3,30}\S*\.)[ \t]*")
_VALUE = re.compile(r"[ \t]*[^\W\d][^:：]{0,30}[:：][ \t]*\S")


def begins_quote(lines: list[str], number: int) -> bool:
    """Say whether all from this line on is what a program quoted below the answer."""
    line = lines[number][:LONGEST_LINE]
    if not line.strip():
        return False
    if SEPARATORS.fullmatch(line):
        return True
    if FROM_LINE.match(line):
        above = next((other for other in reversed(lines[max(number - 3, 0) : number]) if other.strip()), "")
        if is_header(lines[number : number + 8], bool(LINE_ABOVE.fullmatch(above[:LONGEST_LINE]))):
            return True
    end = attribution(lines, number)
    # Without marks in front of them: Outlook on phones. With marks, only the quote at the very end is folded.
    if end is None:
        return False
    after = next((other for other in lines[end + 1 : end + 20] if other.strip()), "")
    said_by_program = any(_NAMED.search(other[:LONGEST_LINE]) for other in lines[number : end + 1])
    return said_by_program and bool(after) and not is_marked(after)


_NAMED = re.compile(r"<[^<>\s]*@|\[mailto:|<mailto:")  # as programs write an address; people leave out the brackets


def is_header(lines: list[str], divided: bool) -> bool:
    """Say whether lines are the header that Outlook puts above what it quotes, not a person's `From: … To: …`.

    ``divided``: a rule stands above, as people put one above a draft: it has no date.
    """
    block = [line[:LONGEST_LINE] for line in lines if line.strip()][:6]
    if len(block) > 2 and OTHER_LINE.match(block[0]) and FROM_LINE.match(block[1]):
        block[:2] = block[1], block[0]  # some write the date first
    others = [line for line in block[1:] if OTHER_LINE.match(line)]
    if len(others) < 2 or not FROM_LINE.match(block[0]):
        return False
    if not any(map((LIKE_A_DATE if divided else DATE_LINE).match, block[1:] if divided else others)):
        return False
    return any("@" in line or SUBJECT_LINE.match(line) for line in [block[0], *others])


def attribution(lines: list[str], number: int) -> int | None:
    """The last line of `On <date>, <somebody> wrote:` that begins here, in at most three lines; None if it is none."""
    joined = ""
    for end in range(number, min(number + 3, len(lines))):
        line = lines[end][:LONGEST_LINE].strip(_AROUND)
        if not line or line.startswith(">"):
            return None
        joined = f"{joined} {line}".strip()
        if line[-1] in (":", "："):
            lowered = joined.lower()
            dated = any(character.isdigit() for character in joined)
            return end if dated and len(joined) < 400 and any(word in lowered for word in WROTE) else None
    return None
