"""Where the quoted part or the signature of a body begins, so that it can be folded. Pure, linear.

Every pattern here runs over what strangers wrote: none may backtrack over more than a line.
"""

import re
from itertools import islice

from mail.message.html import says_something, text_of_html
from mail.message.quoted_lines import (
    attribution,
    begins_quote,
    is_header,
    is_marked,
    is_signature,
    words_between_quotes,
)
from mail.message.quoted_words import ANSWERS_BELOW, FORWARDED, HTML_HEADER, POSTSCRIPT, SEPARATORS

_MOST_LOOKS = 20  # lines of dashes below which a signature is looked for
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
    at, quote = _fold_html(body) if is_html else _fold_text(body)
    if at is None or not (text_of_html(body[:at]) if is_html else body[:at].strip()):
        return None
    is_folded = quote is None or (answers and not _is_to_be_read(body, quote, is_html, author))
    return at if is_folded else None


def _is_to_be_read(body: str, quote: int, is_html: bool, author: str) -> bool:
    """Say whether a quote is passed on, or holds words of the writer: those above it tell so, or they are marked.

    Outlook puts the name of who writes into a quote before each answer, in brackets.
    """
    above, begins, rest = body[max(quote - _LOOKED_ABOVE, 0) : quote], body[quote : quote + 1000], body[quote:]
    if is_html:
        above, begins = text_of_html(above), text_of_html(begins)
    if FORWARDED.search(begins.strip().partition("\n")[0][:200]) or ANSWERS_BELOW.search(above.lower()):
        return True
    if any(arrow in rest for arrow in _ARROWS) and _ARROW.search(text_of_html(rest) if is_html else rest):
        return True
    return bool(author) and f"[{author}]" in rest


_ARROWS = ("->", "=>", "-&gt;", "=&gt;", "→")
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
    begins = next((n for n in range(1, len(lines)) if is_marked(lines[n]) or begins_quote(lines, n)), len(lines))
    cut = _before_trailing_quote(lines, begins + is_marked(lines[begins])) if begins < len(lines) else begins
    return at + sum(len(line) + 1 for line in lines[:cut]) if cut < len(lines) else len(body)


def _signature_below(body: str, at: int, is_html: bool) -> int:
    """Where the signature below a quote begins; the end of the body if there is none."""
    if is_html:
        closed = body.rfind("</blockquote")
        signature = _SIGNATURE_MARKS.search(body, closed) if closed > at else None
        return _with_dashes(body, signature.start()) if signature else len(body)
    lines = body[at:].split("\n")
    last = max((number for number, line in enumerate(lines) if is_marked(line)), default=len(lines))
    dashes = next((number for number in range(last, len(lines)) if lines[number] in ("-- ", "--")), len(lines))
    return at + sum(len(line) + 1 for line in lines[:dashes]) if dashes < len(lines) else len(body)


# --- text


def _fold_text(body: str) -> tuple[int | None, int | None]:
    """Where what is folded begins, and the quote in it."""
    lines = body.split("\n")
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    first = _first_folded(lines)
    cut = _before_trailing_quote(lines, first) if first is not None else len(lines)
    if cut == len(lines):
        return None, None
    quote = _quote_below(body, starts[cut], is_html=False) if lines[cut] in ("-- ", "--") else starts[cut]
    return starts[cut], quote if quote < len(body) else None


def _first_folded(lines: list[str]) -> int | None:
    """The line at which a signature or a quote without marks begins; behind the last one if there is none.

    None if there are answers in such a quote: then lines with marks may be some, too.
    """
    dashes = 0
    for number, line in enumerate(lines):
        if line in ("-- ", "--"):
            dashes += 1
            if dashes <= _MOST_LOOKS and is_signature(lines[number + 1 : number + 200], line):
                return number
        if begins_quote(lines, number):
            return None if words_between_quotes(lines[number:]) else number
    return len(lines)


def _before_trailing_quote(lines: list[str], cut: int) -> int:
    """Move the cut up over the `>` lines, the empty ones and the attribution directly above it."""
    first = cut
    while first > 0 and (not lines[first - 1].strip() or is_marked(lines[first - 1])):
        first -= 1
    quoted = next((n for n in range(first, cut) if is_marked(lines[n])), None)
    if quoted is None:
        return cut
    for above in range(max(first - 3, 0), first):
        if attribution(lines, above) == first - 1:
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


def _fold_html(body: str) -> tuple[int | None, int | None]:
    """Where what is folded begins, and the quote in it."""
    quote = _html_quote(body)
    closed = 0 if quote is not None else max(body.rfind("</blockquote"), 0)
    signature = _signature_in(body, closed, quote if quote is not None else len(body))
    return quote if signature is None else _with_dashes(body, signature), quote


def _signature_in(body: str, start: int, end: int) -> int | None:
    """Where the signature begins that is the last thing before an end; None if there is none."""
    marks = islice(_SIGNATURE_MARKS.finditer(body, start, end), _MOST_LOOKS)
    return next((mark.start() for mark in marks if _lasts(body[mark.start() : end], mark[0])), None)


def _lasts(html: str, mark: str) -> bool:
    """Say whether all of some HTML, which begins with the mark of a signature, is that signature."""
    if not mark.rstrip().endswith("--"):
        end = _end_of_element(html)
        signed = text_of_html(html[:end][:20_000]).split("\n")
        signs = says_something(html[:end]) and not any(map(POSTSCRIPT.match, signed))
        return signs and not _says_something(html[end:])
    below = text_of_html(html[len(mark) :][:20_000])
    return not below or is_signature(below.split("\n"), "-- " if mark.endswith(" ") else "--")


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
    return bool(lines) and is_header(lines[:8], divided=is_rule or "border-top" in mark[0])


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
            if len(" ".join(words)) < 400 and attribution(words, 0) == len(words) - 1:
                return start - len(before) + at
    return start
