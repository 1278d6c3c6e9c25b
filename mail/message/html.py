"""What people see of a mail: HTML that is safe to show, text as HTML, the words of HTML. Pure, linear.

Every pattern here runs over what strangers wrote: none may backtrack over more than a line.
"""

import html as html_entities
import re
from collections.abc import Callable
from urllib.parse import unquote

import nh3

# --- HTML for display

_ALLOWED_TAGS = """
    a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del details div dl
    dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main map mark nav ol p pre q s samp
    section small span strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr
"""
_TAGS = set(_ALLOWED_TAGS.split())
_EVERYWHERE = {"style", "dir", "lang", "title", "align", "id"}
_CELLS = {"bgcolor", "width", "height", "valign", "colspan", "rowspan", "nowrap"}
_ATTRIBUTES = {
    "*": _EVERYWHERE,
    "div": {"name"},
    "a": {"href", "name"},
    "img": {"src", "alt", "width", "height", "border"},
    "table": {"bgcolor", "width", "height", "border", "cellpadding", "cellspacing"},
    "td": _CELLS,
    "th": _CELLS,
    "tr": {"bgcolor", "valign", "height"},
    "col": {"width", "span"},
    "colgroup": {"width", "span"},
    "font": {"color", "face", "size"},
    "blockquote": {"type", "cite"},
    "ol": {"start", "type"},
    "ul": {"type"},
    "li": {"value"},
    "hr": {"width", "size", "color"},
    "time": {"datetime"},
}
_ALLOWED_STYLES = """
    background background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width
    border-collapse border-color border-left border-left-color border-left-style border-left-width border-radius
    border-right border-right-color border-right-style border-right-width border-spacing border-style border-top
    border-top-color border-top-style border-top-width border-width clear color direction display float font font-family
    font-size font-style font-variant font-weight height letter-spacing line-height list-style list-style-type margin
    margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width overflow-wrap padding
    padding-bottom padding-left padding-right padding-top table-layout text-align text-decoration text-indent
    text-transform vertical-align white-space width word-break word-spacing word-wrap
"""
# The marks by which fold_at() knows a quoted part; every other class and id goes, they could meet the page's own.
_MARKS = {
    "gmail_quote", "gmail_quote_container", "gmail_attr", "gmail_signature", "moz-cite-prefix", "moz-signature",
    "yahoo_quoted", "protonmail_quote", "protonmail_signature_block", "OutlookMessageHeader", "zmail_extra", "qt",
    "signature", "k9mail-signature",
}  # fmt: skip
_MARKED_IDS = {
    "divRplyFwdMsg",
    "appendonsend",
    "Signature",
    "AppleMailSignature",
    "ms-outlook-mobile-signature",
    "composer_signature",
    "_rc_sig",
    "quote",
    "reply-intro",
    "OLK_SRC_BODY_SECTION",
    "mail-editor-reference-message-container",
}


def _filter_attribute(tag: str, name: str, value: str) -> str | None:
    if name == "style":
        lowered = value.lower()
        if "url" in lowered or "\\" in value or "expression" in lowered or "image" in lowered:
            kept = [one for one in value.split(";") if not _LOADS.search(one)]
            return ";".join(kept) or None
    elif name == "id" or (name == "name" and tag == "div"):
        return value if value in _MARKED_IDS else None
    elif name in ("href", "src", "cite"):
        scheme = value.strip().partition(":")[0].lower()
        if scheme == "data":
            return value if tag == "img" and _DATA_IMAGE.match(value.strip()) else None
        if scheme == "cid":
            return value if tag == "img" else None
    return value


_LOADS = re.compile(r"url|image|expression|\\", re.IGNORECASE)
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp)[;,]", re.IGNORECASE)

_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    clean_content_tags={
        "script",
        "style",
        "title",
        "template",
        "noscript",
        "iframe",
        "object",
        "svg",
        "math",
        "select",
    },
    attributes=_ATTRIBUTES,
    attribute_filter=_filter_attribute,
    url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
    allowed_classes=dict.fromkeys(("div", "blockquote", "span", "p", "pre", "table"), _MARKS),
    filter_style_properties=set(_ALLOWED_STYLES.split()),
)

# A tag as nh3 writes it: lower-case, every value in double quotes, a quote inside a value escaped.
_IMAGE = re.compile(r'<img(?: [a-z-]++(?:="[^"]*+")?)*+>')
_SOURCE = re.compile(r' (src|data-src|data-cid)="([^"]*+)"')


def clean_html(html: str) -> str:
    """Return HTML that is safe to store and show: an allow-list of tags, attributes and styles.

    Nothing is loaded when it is shown: the address of a remote image waits in ``data-src``, that of an inline image in
    ``data-cid``; ``with_images`` brings them back.

    >>> clean_html('<p onclick="x()">Hi <script>bad()</script><img src="https://a.example/p.png"></p>')
    '<p>Hi <img data-src="https://a.example/p.png"></p>'
    >>> clean_html('<img src="cid:logo@1">')
    '<img data-cid="logo@1">'
    """
    if _is_tangled(html):
        return text_to_html(text_of_html(html))
    cleaned = _CLEANER.clean(_in_short_texts(_with_field_values(html.replace("\0", ""))))
    return _IMAGE.sub(_put_aside, cleaned) if "<img" in cleaned else cleaned


def _with_field_values(html: str) -> str:
    """Put what a person filled into the fields of a form in their place: of such a field only its words are shown."""
    return _FIELD.sub(_value_of_field, html) if "<input" in html.lower() else html


def _value_of_field(tag: re.Match[str]) -> str:
    said: dict[str, str] = {}
    for name, *values in _FIELD_ATTRIBUTE.findall(tag[1]):
        said.setdefault(name.lower(), "".join(values))
    kind = said.get("type", "text").lower()
    if kind in ("checkbox", "radio"):
        return " ☑ " if "checked" in said else " ☐ "
    value = said.get("value") if kind not in ("hidden", "password", "image", "file") else ""
    return f" {value} " if value else ""


_FIELD = re.compile(r"<input\b([^<>]{0,2000})>", re.IGNORECASE)
_FIELD_ATTRIBUTE = re.compile(r"""([^\s"'=/]{1,40}+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"']++)))?+""")


def _in_short_texts(html: str) -> str:
    """Cut long texts by comments, which the cleaner drops: it is quadratic in the ``&`` and no-break spaces in it."""
    if html.count("&") + html.count("\xa0") < _MANY_ESCAPED:
        return html
    html = _RAW_TEXT_TAG.sub("", _without(html, *_TITLE))  # in these a comment is none
    pieces: list[str] = []
    position, in_tag = 0, False
    while many := _ESCAPED_IN_ROW.match(html, position):  # a search would look at every place behind the last one
        text, position = many[0], many.end()
        opened = max((tag.start() for tag in _TAG_OPENS.finditer(text)), default=-1)
        if opened >= 0 or ">" in text:
            in_tag = opened > text.rfind(">")
        pieces += [text] if in_tag else [text[:-1], "<!---->", text[-1]]
    return "".join([*pieces, html[position:]])


_MANY_ESCAPED = 1000
_ESCAPED_IN_ROW = re.compile(r"(?:[^&\xa0]*+[&\xa0]){200}")
_TAG_OPENS = re.compile(r"<[a-zA-Z/!?]")
_RAW_TEXT_TAG = re.compile(r"</?(?:textarea|xmp|plaintext|noembed|noframes|listing)\b[^<>]*+>?", re.IGNORECASE)


def _is_tangled(html: str) -> bool:
    """Say whether HTML is made to keep a parser busy for minutes: such a mail is shown as its words.

    HTML5 has a parser walk up all open elements at a tag, and open forgotten formatting again at every block: both
    are quadratic. Real mails are far below these limits.
    """
    if len(html) > _MOST_ATTRIBUTES and any(
        tag.end() - tag.start() > _MOST_ATTRIBUTES and len(tag[0].split()) > _MOST_ATTRIBUTES
        for tag in _WHOLE_TAG.finditer(html)
    ):
        return True
    if html.count("<") < _FEW_TAGS:
        return False
    tags = depth = deepest = formatting = forgotten = 0
    for tag in _TAG_START.finditer(html):
        tags += 1
        name = tag[2].lower()
        step = -1 if tag[1] else 1
        if name in _FORMATTING:
            formatting = max(formatting + step, 0)
            forgotten = max(forgotten, formatting)
        if name not in _NEVER_OPEN:
            depth = max(depth + step, 0)
            deepest = max(deepest, depth)
    return tags > _MOST_TAGS or deepest > _DEEPEST or forgotten * tags > _MOST_REOPENED


_FEW_TAGS, _MOST_TAGS, _DEEPEST, _MOST_REOPENED, _MOST_ATTRIBUTES = 1000, 200_000, 1000, 1_000_000, 5000
_TAG_START = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")
_WHOLE_TAG = re.compile(r"""<[a-zA-Z](?:[^>"']++|"[^"]*+"|'[^']*+')*+""")
_FORMATTING = frozenset(
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
)
_NEVER_OPEN = frozenset(
    ["p", "br", "img", "hr", "li", "td", "th", "tr", "tbody", "meta", "link", "input", "col", "wbr", "dd", "dt", "o"]
)


def _put_aside(tag: re.Match[str]) -> str:
    def aside(source: re.Match[str]) -> str:
        address = source[2].strip()
        if address[:4].lower() == "cid:":
            return f' data-cid="{address[4:]}"'
        return source[0] if address[:5].lower() == "data:" else f' data-src="{address}"'

    return _SOURCE.sub(aside, tag[0])


def with_images(cleaned: str, cid_url: Callable[[str], str | None], remote: bool = False) -> str:
    """Return cleaned HTML with its images in place: ``cid_url`` maps a Content-ID to an address (None: unknown).

    Remote images come back only when the reader asks for them (``remote``).

    >>> with_images('<img data-cid="logo"><img data-src="https://a.example/p.png">', {"logo": "/file/7"}.get)
    '<img src="/file/7"><img data-src="https://a.example/p.png">'
    """

    def back(source: re.Match[str]) -> str:
        if source[1] == "data-cid":
            cid = html_entities.unescape(source[2])
            address = cid_url(cid) or cid_url(unquote(cid))  # an address is encoded (RFC 2392)
            return f' src="{html_entities.escape(address)}"' if address else source[0]
        return f' src="{source[2]}"' if source[1] == "data-src" and remote else source[0]

    return _IMAGE.sub(lambda tag: _SOURCE.sub(back, tag[0]), cleaned)


def with_bracketed(html: str) -> str:
    """Return HTML in which an address that nobody escaped is words, no tag that browsers hide.

    >>> with_bracketed("From: Ann <ann@x.example>, see <https://x.example/a>")
    'From: Ann &lt;ann@x.example>, see &lt;https://x.example/a>'
    """
    return _BRACKETED.sub("&lt;", html)


_BRACKETED = re.compile(
    r"""<(?=(?:[^<>\s"'=/]{1,64}@[^<>\s"'=/]{1,255}|(?:https?://|mailto:)[^<>\s"']{1,1000})>)""", re.IGNORECASE
)


def content_ids(html: str) -> set[str]:
    """Return the Content-IDs that HTML names, as they stand in the headers of their parts.

    >>> content_ids('<img src="cid:logo%20one@x">') == {"logo%20one@x", "logo one@x"}
    True
    """
    named = {html_entities.unescape(found) for found in _CID.findall(html)} if "cid:" in html.lower() else set()
    return named | {unquote(one) for one in named}


_CID = re.compile(r"cid:([^\s\"'<>]{1,900})", re.IGNORECASE)


def shown_ids(cleaned: str) -> set[str]:
    """Return the Content-IDs of the images that cleaned HTML shows.

    >>> shown_ids('<p>See cid:x</p><img data-cid="logo@1">')
    {'logo@1'}
    """
    found = (html_entities.unescape(one[2]) for tag in _IMAGE.finditer(cleaned) for one in _SOURCE.finditer(tag[0])
             if one[1] == "data-cid") if "data-cid=" in cleaned else ()  # fmt: skip
    return {id for one in found for id in (one, unquote(one))}


def text_to_html(text: str) -> str:
    """Return plain text as HTML that looks the same, with its links to click.

    >>> text_to_html("a < b")
    '<div style="white-space:pre-wrap">a &lt; b</div>'
    """
    pieces = []
    position = 0
    for match in _LINK.finditer(text):
        address = match[0].rstrip(".,;:!?)'\"")
        pieces.append(html_entities.escape(text[position : match.start()], quote=False))
        escaped = html_entities.escape(address)
        pieces.append(f'<a href="{escaped}" target="_blank" rel="noopener noreferrer nofollow">{escaped}</a>')
        position = match.start() + len(address)
    pieces.append(html_entities.escape(text[position:], quote=False))
    return f'<div style="white-space:pre-wrap">{"".join(pieces)}</div>'


_LINK = re.compile(r"\bhttps?://[^\s<>\"]++")


def text_of_html(html: str) -> str:
    """Return the words of HTML, for searching, keys and lists; not meant to be pretty. Linear.

    >>> text_of_html("<style>x</style><p>Hello<br>there &amp; you</p>")
    'Hello\\nthere & you'
    """
    html = _seen(html)
    text = _LINE_BREAK.sub("\n", " ".join(html.replace("\xa0", " ").split()))
    text = html_entities.unescape(_TAG.sub("", text)).replace("\xa0", " ")
    return "\n".join(line for piece in text.split("\n") if (line := piece.strip()))


def says_something(html: str) -> bool:
    """Say whether HTML shows anything: a word or a picture.

    >>> says_something("<style>p {}</style><p>&nbsp;</p>"), says_something("<p>Hi"), says_something("<img src=a>")
    (False, True, True)
    """
    return bool(_PICTURE.search(html)) or _has_words(html)


def shows_only_pictures(html: str) -> bool:
    """Say whether HTML shows pictures and no word.

    >>> [shows_only_pictures(html) for html in ("<p>Hi <img src=a>", "<img src=a>", "<p>&nbsp;</p>")]
    [False, True, False]
    """
    return bool(_PICTURE.search(html)) and not _has_words(html)


def _has_words(html: str) -> bool:
    return bool(_WORD.search(_seen(html)) or text_of_html(html))


_WORD = re.compile(r">\s*+[^<>&\s]")
_PICTURE = re.compile(r"<img\b", re.IGNORECASE)
_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*+>")
_LINE_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6]|/blockquote)\b[^<>]*+>", re.IGNORECASE)


def _marks_of(tag: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return re.compile(rf"<{tag}\b", re.IGNORECASE), re.compile(rf"</{tag}[^<>]*+>", re.IGNORECASE)


_TITLE = _marks_of("title")
_UNSEEN = [(re.compile("<!(?=--)"), re.compile("(?<=--)!?>")), _marks_of("style"), _marks_of("script"), _TITLE]


def _seen(html: str) -> str:
    for opening, closing in _UNSEEN:
        html = _without(html, opening, closing)
    return _with_field_values(html)


def _without(html: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """Cut what stands between two marks, as a browser does: what is not closed lasts to the end."""
    start = opening.search(html)
    kept, position = [], 0
    while start is not None:
        kept.append(html[position : start.start()])
        end = closing.search(html, start.end())
        position = end.end() if end else len(html)
        start = opening.search(html, position)
    return "".join([*kept, html[position:]]) if kept else html
