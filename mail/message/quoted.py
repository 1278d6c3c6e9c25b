"""Where the quoted part or the signature of a body begins, so that it can be folded. Pure, linear.

Every pattern here runs over what strangers wrote: none may backtrack over more than a line.
"""

import re
from itertools import islice

from mail.message.html import says_something, text_of_html
from mail.message.quoted_words import (
    ANSWERS_BELOW,
    DATE_LINE,
    FORWARDED,
    FROM_LINE,
    HTML_HEADER,
    LINE_ABOVE,
    OTHER_LINE,
    POSTSCRIPT,
    REACHED,
    SEPARATORS,
    SUBJECT_LINE,
    WROTE,
)

_LIST_ITEM = re.compile(r"[ \t]*(?:[-*•–+]|\d{1,3}[.)])[ \t]")
_LONGEST_SIGNATURE = 12  # lines
_MOST_LOOKS = 20  # lines of dashes below which a signature is looked for
_LONGEST_LINE = 1000  # of a line more than this is not looked at
_LOOKED_ABOVE = 10_000  # characters above a quote
_MOST_RULES = 100  # horizontal rules of a page behind which a quoted header is looked for


def fold_at(body: str, is_html: bool = False, *, answers: bool = True, author: str = "") -> int | None:
    """Return where the quoted part or the signature begins, as an offset into ``body``; None if all of it is shown.

    Only what is at the end is folded, and in doubt nothing: an answer below or between the quoted lines, text that
    only looks like a header, a list below dashes stay in view; so does a mail that would show nothing. Linear.
    ``answers``: the mail answers another one; else what looks like a quote is what it is about. ``author``: the name
    of its writer.

    >>> text = "Fine, thanks.\\n\\nOn 3 May 2024, Ann <ann@a.example> wrote:\\n> How are you?\\n"
    >>> text[: fold_at(text)]
    'Fine, thanks.\\n\\n'
    """
    at = _fold_html(body) if is_html else _fold_text(body)
    if at is None or not (text_of_html(body[:at]) if is_html else body[:at].strip()):
        return None
    start, end = folded_parts(body, at, is_html).get("quoted", (0, 0))
    if not end:
        return at
    above, quote = body[max(start - _LOOKED_ABOVE, 0) : start], body[start:end]
    if is_html:
        above, quote = text_of_html(above), text_of_html(quote)
    return at if answers and not _is_to_be_read(quote, above, author) else None


def _is_to_be_read(quote: str, above: str, author: str) -> bool:
    """Say whether a quote is passed on, or holds words of the writer: those above it tell so, or a program marked them.

    Outlook puts the name of who writes into a quote before each answer, in brackets.
    """
    if FORWARDED.search(quote[:200].strip().partition("\n")[0]) or ANSWERS_BELOW.search(above) or _ARROW.search(quote):
        return True
    return bool(author) and f"[{author}]" in quote


_ARROW = re.compile(r"^[ \t]*+(?:[-=]{1,4}>|→)", re.MULTILINE)  # by which people point to their answers


def folded_parts(body: str, at: int, is_html: bool = False) -> dict[str, tuple[int, int]]:
    """Return what is folded from ``at`` on, each with its ends: the ``signature``, what is ``quoted``, in their order.

    >>> text = "Fine.\\n\\n-- \\nBob\\n\\n> How are you?\\n"
    >>> {name: text[start:end] for name, (start, end) in folded_parts(text, fold_at(text)).items()}
    {'signature': '-- \\nBob\\n\\n', 'quoted': '> How are you?\\n'}
    """
    if _signs(body, at, is_html):
        border = _quote_below(body, at, is_html)
        parts = {"signature": (at, border), "quoted": (border, len(body))}
    else:
        border = _signature_below(body, at, is_html)
        parts = {"quoted": (at, border), "signature": (border, len(body))}
    return {name: ends for name, ends in parts.items() if ends[0] < ends[1]}


def _signs(body: str, at: int, is_html: bool) -> bool:
    """Say whether what is folded begins with the signature."""
    if is_html:
        return bool(_SIGNATURE_MARKS.match(body, at)) or bool(_DASHES_BELOW.match(body, at))
    return body[at : at + 4].partition("\n")[0] in ("-- ", "--")


def _quote_below(body: str, at: int, is_html: bool) -> int:
    """Where the quote below a signature begins; the end of the body if there is none."""
    if is_html:
        quote = _html_quote(body)
        return quote if quote is not None and quote > at else len(body)
    lines = body[at:].split("\n")
    begins = (number for number in range(1, len(lines)) if _begins_quote(lines, number))
    cut = _before_trailing_quote(lines, next(begins, len(lines)))
    return at + sum(len(line) + 1 for line in lines[:cut]) if cut < len(lines) else len(body)


def _signature_below(body: str, at: int, is_html: bool) -> int:
    """Where the signature below a quote begins; the end of the body if there is none."""
    if is_html:
        closed = body.rfind("</blockquote")
        signature = _SIGNATURE_MARKS.search(body, closed) if closed > at else None
        return _with_dashes(body, signature.start()) if signature else len(body)
    lines = body[at:].split("\n")
    last = max((number for number, line in enumerate(lines) if line.lstrip().startswith(">")), default=len(lines))
    dashes = next((number for number in range(last, len(lines)) if lines[number] in ("-- ", "--")), len(lines))
    return at + sum(len(line) + 1 for line in lines[:dashes]) if dashes < len(lines) else len(body)


# --- text


def _fold_text(body: str) -> int | None:
    lines = body.split("\n")
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    first = _first_folded(lines)
    cut = _before_trailing_quote(lines, first) if first is not None else len(lines)
    return starts[cut] if cut < len(lines) else None


def _first_folded(lines: list[str]) -> int | None:
    """The line at which a signature or a quote without marks begins; behind the last one if there is none.

    None if there are answers in such a quote: then lines with marks may be some, too.
    """
    dashes = 0
    for number, line in enumerate(lines):
        if line in ("-- ", "--"):
            dashes += 1
            if dashes <= _MOST_LOOKS and _is_signature(lines[number + 1 : number + 200], line):
                return number
        if _begins_quote(lines, number):
            return None if _words_between_quotes(lines[number:]) else number
    return len(lines)


def _words_between_quotes(lines: list[str]) -> bool:
    """Say whether somebody wrote below lines with marks: an answer, or what seems to be one."""
    quoted = False
    for number, line in enumerate(lines):
        if line.lstrip().startswith(">"):
            quoted = True
        elif quoted and line.strip() and not LINE_ABOVE.fullmatch(line[:_LONGEST_LINE]):
            return not _ends_as_signature(lines[number:])
    return False


def _ends_as_signature(lines: list[str]) -> bool:
    return lines[0] in ("-- ", "--") and _is_signature(lines[1:200], lines[0])


def _is_signature(following: list[str], dashes: str) -> bool:
    """Say whether the lines below dashes are a name and an address: few, short, no list; then the end or a quote."""
    signed: list[str] = []
    for number, line in enumerate(following):
        if line.lstrip().startswith(">") or _begins_quote(following, number):
            if _words_between_quotes(following[number:]):
                return False
            break
        signed += [line] if line.strip() else []
        if len(signed) > _LONGEST_SIGNATURE:
            return False
    longest = 200 if dashes == "-- " else 60  # without the blank of RFC 3676 it may be anything
    if not signed or any(len(line) > longest or _LIST_ITEM.match(line) or POSTSCRIPT.match(line) for line in signed):
        return False
    return dashes == "-- " or any(REACHED.search(line) for line in signed)


def _begins_quote(lines: list[str], number: int) -> bool:
    """Say whether all from this line on is what a program quoted below the answer."""
    line = lines[number][:_LONGEST_LINE]
    if not line.strip():
        return False
    if SEPARATORS.fullmatch(line):
        return True
    if FROM_LINE.match(line):
        above = next((other for other in reversed(lines[max(number - 3, 0) : number]) if other.strip()), "")
        if _is_header(lines[number : number + 8], bool(LINE_ABOVE.fullmatch(above[:_LONGEST_LINE]))):
            return True
    end = _attribution(lines, number)
    # Without marks in front of them: Outlook on phones. With marks, only the quote at the very end is folded.
    if end is None:
        return False
    after = next((other for other in lines[end + 1 : end + 20] if other.strip()), "")
    said_by_program = any(_NAMED.search(other[:_LONGEST_LINE]) for other in lines[number : end + 1])
    return said_by_program and bool(after) and not after.lstrip().startswith(">")


_NAMED = re.compile(r"<[^<>\s]*@|\[mailto:|<mailto:")  # as programs write an address; people leave out the brackets


def _is_header(lines: list[str], divided: bool) -> bool:
    """Say whether lines are the header that Outlook puts above what it quotes, not a person's `From: … To: …`.

    ``divided``: a rule stands above.
    """
    block = [line[:_LONGEST_LINE] for line in lines if line.strip()][:6]
    if len(block) > 2 and OTHER_LINE.match(block[0]) and FROM_LINE.match(block[1]):
        block[:2] = block[1], block[0]  # some write the date first
    others = [line for line in block[1:] if OTHER_LINE.match(line)]
    if len(others) < 2 or not FROM_LINE.match(block[0]):
        return False
    if not divided and not any(DATE_LINE.match(line) for line in others):
        return False
    return any("@" in line or SUBJECT_LINE.match(line) for line in [block[0], *others])


def _attribution(lines: list[str], number: int) -> int | None:
    """The last line of `On <date>, <somebody> wrote:` that begins here, in at most three lines; None if it is none."""
    joined = ""
    for end in range(number, min(number + 3, len(lines))):
        line = lines[end][:_LONGEST_LINE].strip()
        if not line or line.startswith(">"):
            return None
        joined = f"{joined} {line}".strip()
        if line[-1] in (":", "："):
            lowered = joined.lower()
            dated = any(character.isdigit() for character in joined)
            return end if dated and len(joined) < 400 and any(word in lowered for word in WROTE) else None
    return None


def _before_trailing_quote(lines: list[str], cut: int) -> int:
    """Move the cut up over the `>` lines, the empty ones and the attribution directly above it."""
    first = cut
    while first > 0 and (not lines[first - 1].strip() or lines[first - 1].lstrip().startswith(">")):
        first -= 1
    quoted = next((n for n in range(first, cut) if lines[n].lstrip().startswith(">")), None)
    if quoted is None:
        return cut
    for above in range(max(first - 3, 0), first):
        if _attribution(lines, above) == first - 1:
            return above
    return quoted


# --- HTML

_MARKED = (
    r'<(?:div|p)\b[^<>]*\b(?:class="[^"<>]*(?:gmail_quote|gmail_attr|moz-cite-prefix|yahoo_quoted|protonmail_quote'
    r'|OutlookMessageHeader|zmail_extra)|id="(?:divRplyFwdMsg|appendonsend|reply-intro|OLK_SRC_BODY_SECTION'
    r'|mail-editor-reference-message-container)"|name="quote")'
)
_MARKED_TAG = re.compile(_MARKED)
_CONTAINER = re.compile(  # the marks of elements that hold the whole quote; the others stand above it
    r'<div\b[^<>]*\b(?:class="[^"<>]*(?:gmail_quote|yahoo_quoted|protonmail_quote|zmail_extra)'
    r'|id="(?:OLK_SRC_BODY_SECTION|mail-editor-reference-message-container)"|name="quote")'  # name: GMX and web.de
)
_QUOTE_MARKS = re.compile(
    _MARKED
    + r"|<blockquote\b|</blockquote\b|<(?:div|p|td)[^<>]*\bborder-top: ?solid[^<>]*>|<hr\b[^<>]*>|"
    + HTML_HEADER
)
_SIGNATURE_MARKS = re.compile(
    r'<(?:div|span|p|pre|table)[^<>]*\b(?:class="(?:[^"<>]*(?:gmail_signature|moz-signature|k9mail-signature'
    r'|protonmail_signature_block)|signature")|id="(?:Signature|AppleMailSignature|ms-outlook-mobile-signature'
    r'|composer_signature|_rc_sig)")'
    r"|(?:<br>|<p>|<div>|\n)-- ?(?=<br>|</p>|</div>|\n)"
)


def _fold_html(body: str) -> int | None:
    quote = _html_quote(body)
    closed = 0 if quote is not None else max(body.rfind("</blockquote"), 0)
    signature = _signature_in(body, closed, quote if quote is not None else len(body))
    return quote if signature is None else _with_dashes(body, signature)


def _signature_in(body: str, start: int, end: int) -> int | None:
    """Where the signature begins that is the last thing before an end; None if there is none."""
    marks = islice(_SIGNATURE_MARKS.finditer(body, start, end), _MOST_LOOKS)
    return next((mark.start() for mark in marks if _lasts(body[mark.start() : end], mark[0])), None)


def _lasts(html: str, mark: str) -> bool:
    """Say whether all of some HTML, which begins with the mark of a signature, is that signature."""
    if not mark.rstrip().endswith("--"):
        end = _end_of_element(html)
        signed = text_of_html(html[:end][:20_000]).split("\n")
        is_signature = says_something(html[:end]) and not any(map(POSTSCRIPT.match, signed))
        return is_signature and not _says_something(html[end:])
    below = text_of_html(html[len(mark) :][:20_000])
    return not below or _is_signature(below.split("\n"), "-- " if mark.endswith(" ") else "--")


def _end_of_element(html: str) -> int:
    """Where the element ends that some HTML begins with."""
    name = re.split(r"[\s>]", html[1:20], maxsplit=1)[0]
    depth = 0
    for tag in re.finditer(rf"<(/?){name}\b[^<>]*>", html):
        depth += -1 if tag[1] else 1
        if not depth:
            return tag.end()
    return len(html)


def _with_dashes(body: str, start: int) -> int:
    """A signature may be introduced by dashes of their own, which belong to it."""
    dashes = _DASHES_ABOVE.search(body, max(start - 300, 0), start)
    return dashes.start() if dashes else start


_DASHES_BELOW = re.compile(r"(?:<(?:div|span|p|br)[^<>]*+>\s*+){1,4}--(?!-)")
_DASHES_ABOVE = re.compile(
    r"(?:<(?:div|span|p|br)[^<>]*+>\s*+){0,4}(?<=>)--(?: |&nbsp;)?(?:\s*+</?(?:div|span|p|br)[^<>]*+>)*+\s*+\Z"
)


def _html_quote(body: str) -> int | None:
    """Where the quote begins that lasts to the end; None if the person went on writing below it."""
    depth = 0
    start: int | None = None
    closed = silent = 0  # nothing is said between them
    rules = 0
    is_own = False  # a block that is no quote: its words count as said
    for mark in _QUOTE_MARKS.finditer(body):
        found = mark[0]
        if found.startswith("</"):
            depth = max(depth - 1, 0)
            if not depth:
                closed, silent = (closed, silent) if is_own else (mark.end(), mark.end())
                is_own = False
            continue
        if depth == 0:
            is_marked = _MARKED_TAG.search(found)
            is_block = found.startswith("<blockquote")
            rules += not is_marked
            is_quote = is_marked or (is_block and rules <= _MOST_RULES and _is_cited(body, mark))
            if start is not None and closed:
                start, closed = (None, 0) if _says_something(body[silent : mark.start()]) else (start, closed)
                silent = mark.start()
                is_own = is_block and not is_quote
            if start is None and is_quote:
                start, closed = mark.start() + (is_marked.start() if is_marked else 0), 0
            elif start is None and not is_block and rules <= _MOST_RULES and _outlook_header(body, mark):
                return _with_separator(body, mark.start())
        if found.startswith("<blockquote"):
            depth += 1
    if start is None or not says_something(body[start:]):
        return None
    if not closed and _CONTAINER.match(body, start):
        closed = start + _end_of_element(body[start:])
    signature = _signature_in(body, closed, len(body)) if closed else None
    if closed and _says_something(body[closed:signature]):
        return None
    return _with_attribution(body, start)


def _says_something(html: str) -> bool:
    return bool(text_of_html(html.partition(">")[2] if html.startswith("</") or html[:1] == ">" else html))


def _is_cited(body: str, mark: re.Match[str]) -> bool:
    """Say whether a block is a quote: people also indent their own words by one."""
    tag = body[mark.start() : mark.start() + 500].partition(">")[0]
    return bool(re.search(r"\bcite\b", tag)) or _with_attribution(body, mark.start()) != mark.start()


def _outlook_header(body: str, mark: re.Match[str]) -> bool:
    """Say whether a header block stands below a rule, or where it seems to begin."""
    is_rule = not mark[0].endswith(":")
    at = mark.end() if is_rule else mark.start()
    lines = [line for line in text_of_html(body[at : at + 3000]).split("\n") if line.strip()]
    return bool(lines) and _is_header(lines[:8], divided=is_rule or "border-top" in mark[0])


def _with_separator(body: str, start: int) -> int:
    """A header may be introduced by `---- Original message ----`, which belongs to the quote."""
    found = _SEPARATOR_ABOVE.search(body, max(start - 300, 0), start)
    return found.start() if found and SEPARATORS.fullmatch(found[1].strip()) else start


_SEPARATOR_ABOVE = re.compile(
    r"(?:<(?:div|span|p|br)[^<>]*+>\s*+){1,4}(-{2}[^<>]{1,80})(?:\s*+</?(?:div|span|p|br)[^<>]*+>)*+\s*+\Z"
)


def _with_attribution(body: str, start: int) -> int:
    """A bare blockquote is introduced by a line of its own: that line belongs to the quote."""
    if not body.startswith("<blockquote", start):
        return start
    before = body[max(start - 1500, 0) : start]
    for block in ("<div", "<p", "<br"):
        at = len(before)
        for _ in range(_MOST_LOOKS):
            at = before.rfind(block, 0, at)
            words = text_of_html(before[at:]).split("\n") if at >= 0 else []
            if not words or len(words) > 3:
                break
            if len(" ".join(words)) < 400 and _attribution(words, 0) == len(words) - 1:
                return start - len(before) + at
    return start
