"""Mail addresses: read them from headers however broken, compare them, write them so that they can't forge a header.

Three spellings of one address are kept apart. *As written*: what stood in the header. *Key* (``normalise``): what is
stored and compared; the domain is readable (``bücher.example``). *On the wire* (``wire_address``): what SMTP gets
(``xn--bcher-kva.example``).
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from mail.errors import InvalidAddress, NeedsSmtputf8
from mail.message.domains import LONGEST_DOMAIN, PLAIN_DOMAIN, is_literal, normalise_domain, wire_domain
from mail.message.words import decode_words, encode_words, one_line, repair

LONGEST_MAILBOX = 400  # characters of a name and its address: what a row keeps of a From
LONGEST_LINE = 900  # octets of a header's line, with room for its name (RFC 5322 2.1.1)
LONGEST_ADDRESS = 320  # RFC 3696: 64 + 1 + 255; some forwarders' local parts are longer than 64, so only the sum counts

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_PLAIN = re.compile(rf"[.{_ATEXT}]++@[A-Za-z0-9._-]++")
_DOT_ATOM = re.compile(rf"[.\u0080-\U0010ffff{_ATEXT}]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"')
# What NFC or lower() would turn into an ASCII character: such a letter must not become somebody else's address.
_ASCII_IN_DISGUISE = re.compile("[\u212a\u037e\u1fef]")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox of a header: the display name, decoded, and the address as written (compare by ``key``)."""

    name: str
    address: str

    @property
    def key(self) -> str:
        """The address as it is stored and compared."""
        return normalise(self.address) or ""

    @property
    def domain(self) -> str:
        """The domain, readable and lower-case."""
        return domain_of(self.address)

    def __str__(self) -> str:
        """The mailbox for people to read: not encoded, quoted where needed."""
        return show_address(self.name, self.address)


# --- one address


def normalise(address: str | None) -> str | None:
    """Return the key of an address: bare, trimmed, lower-case, readable domain; None if it is not usable.

    Plus tags and dots stay: they make another address. Quotes that the local part does not need are dropped.

    >>> normalise(" Sales+Spring@Example.COM ")
    'sales+spring@example.com'
    >>> normalise("info@xn--bcher-kva.example") == normalise("info@BÜCHER.example") == "info@bücher.example"
    True
    >>> normalise("Bob <bob@example.com>"), normalise("bob"), normalise("bob@"), normalise(None)
    ('bob@example.com', None, None, None)
    """
    if not address:
        return None
    return _normalise_again(address) if len(address) <= LONGEST_ADDRESS else _normalise(address)


def _normalise(address: str) -> str | None:
    address = address.strip()
    if len(address) <= LONGEST_ADDRESS and _PLAIN.fullmatch(address):
        lowered = address.lower()
        domain = lowered[lowered.index("@") + 1 :]
        if "xn--" not in domain and not domain.endswith("."):
            return lowered if PLAIN_DOMAIN.fullmatch(domain) and len(domain) <= LONGEST_DOMAIN else None
    if "<" in address:
        found = parse_addresses(address)
        return found[0].key if len(found) == 1 else None
    return _normalise_slowly(address)


_normalise_again = lru_cache(maxsize=4096)(_normalise)  # each address of a mail is asked for some twenty times


def domain_of(address: str) -> str:
    """Return the domain of an address, lower-case and IDNA-decoded; "" if there is none.

    >>> domain_of("info@XN--BCHER-KVA.example"), domain_of("nobody")
    ('bücher.example', '')
    """
    domain = address.rpartition("@")[2] if "@" in address else ""
    return normalise_domain(domain) or "" if domain else ""


def local_part(address: str) -> str:
    """Return the part before the ``@``, as written, without quotes; "" if there is no ``@``.

    >>> local_part("Sales.Desk@example.com"), local_part('"sales desk"@example.com'), local_part("nobody")
    ('Sales.Desk', 'sales desk', '')
    """
    local = address.strip().rpartition("@")[0]
    quoted = _QUOTED.fullmatch(local)
    return _unescape(quoted[1]) if quoted else local


def needs_smtputf8(address: str) -> bool:
    """Say whether only a server with SMTPUTF8 (RFC 6531) can take this address: its local part is not ASCII.

    >>> needs_smtputf8("jürgen@example.com"), needs_smtputf8("info@bücher.example")
    (True, False)
    """
    return not address.rpartition("@")[0].isascii()


def wire_address(address: str, *, smtputf8: bool = False) -> str:
    """Return the address for SMTP and headers: bare, the domain in punycode (RFC 5891).

    Raises ``InvalidAddress`` if it is not usable, ``NeedsSmtputf8`` if only a server with SMTPUTF8 can take it and
    ``smtputf8`` is not given.

    >>> wire_address("info@Bücher.example")
    'info@xn--bcher-kva.example'
    """
    address = address.strip()
    local, _, domain = address.rpartition("@")
    wire = domain.strip() if is_literal(domain.strip().lower()) else wire_domain(domain)
    if not wire or normalise(address) is None:
        raise InvalidAddress(address=one_line(address))
    if needs_smtputf8(address) and not smtputf8:
        raise NeedsSmtputf8(address=one_line(address))
    return f"{local}@{wire}"


# --- headers


def parse_addresses(header: str | None) -> list[Address]:
    """Return the usable mailboxes of an address header, in its order; what can't be used is left out.

    Takes raw and decoded headers, quotes, comments, groups, ``;`` and commas between addresses, missing quotes and
    brackets. An address inside a display name counts for nothing. Linear in the length of the header.

    >>> parse_addresses('"Doe, John" <john@example.com>; ann@example.com (Ann)')
    [Address(name='Doe, John', address='john@example.com'), Address(name='Ann', address='ann@example.com')]
    >>> parse_addresses("boss@example.com <thief@example.net>")
    [Address(name='boss@example.com', address='thief@example.net')]
    >>> parse_addresses("=?utf-8?q?J=C3=BCrgen?= <j@example.com>")[0].name
    'Jürgen'
    """
    if not header or "@" not in header:
        return []
    quick = _ONE_MAILBOX.fullmatch(header)
    if quick:
        quoted, unquoted, in_brackets, bare = quick.groups()
        address = in_brackets or bare
        return [Address(" ".join((quoted or unquoted or "").split()), address)] if normalise(address) else []
    header = repair(header)
    readings = (_AddressReader(quotes, comments).read(header) for quotes, comments in product((True, False), repeat=2))
    return next(found for found in readings if found is not None)  # the last, without either, reads every header


def first_address(header: str | None) -> Address | None:
    """Return the first usable mailbox of a header, or None.

    >>> first_address("undisclosed-recipients:;") is None
    True
    """
    return next(iter(parse_addresses(header)), None)


def format_address(name: str | None, address: str) -> str:
    """Return a mailbox as the value of a header (RFC 5322), ready to be sent, on one line; it can't forge a header.

    The name is quoted, or encoded (RFC 2047) if it is not ASCII; the domain goes out in punycode. Only a local part
    that needs SMTPUTF8 leaves characters beyond ASCII. Raises ``InvalidAddress`` if it is not usable.

    >>> print(format_address("Admin", "admin@example.com"))
    "Admin" <admin@example.com>
    >>> print(format_address('Ann "the boss", Ltd.', "ann@bücher.example"))
    "Ann \\"the boss\\", Ltd." <ann@xn--bcher-kva.example>
    >>> print(format_address("Jürgen", "j@example.com"))
    =?utf-8?q?J=C3=BCrgen?= <j@example.com>
    """
    bare = wire_address(address, smtputf8=True)
    name = one_line(name or "")
    if not name:
        return bare
    if name.isascii() and "=?" not in name:
        return f"{_quote(name)} <{bare}>"
    return f"{' '.join(encode_words(name))} <{bare}>"


def shorten_name(name: str, address: str) -> str:
    """Return a display name that fits on the line of its header: whole where that is possible, else its first words.

    >>> shorten_name("Ann Lee", "ann@example.com"), len(shorten_name("word " * 200, "ann@example.com"))
    ('Ann Lee', 379)
    """
    words = one_line(name)[:LONGEST_MAILBOX].split(" ")
    if len(words) > 1 and len(one_line(name)) > LONGEST_MAILBOX:
        words.pop()  # it may be half a word
    while words and not _fits(" ".join(words), address):
        words.pop()
    return " ".join(words) or one_line(name)[: LONGEST_MAILBOX // 8]


def _fits(name: str, address: str) -> bool:
    shown = show_address(name, address)
    return len(shown) <= LONGEST_MAILBOX and len(shown.encode("utf-8", "replace")) * 4 / 3 <= LONGEST_LINE


def show_address(name: str | None, address: str) -> str:
    """Return a mailbox for people to read and for ``parse_addresses`` to read back: not encoded, domain readable.

    >>> print(show_address("Jürgen", "Jo@xn--bcher-kva.example"))
    "Jürgen" <Jo@bücher.example>
    """
    local, at, domain = address.strip().rpartition("@")
    readable = normalise_domain(domain)
    bare = f"{local}{at}{readable}" if readable else one_line(address)
    name = one_line(name or "")
    return f"{_quote(name)} <{bare}>" if name else bare


# --- inside: one address


def _normalise_slowly(address: str) -> str | None:
    """Quoted or non-ASCII local parts, internationalised domains, address literals."""
    local, at, domain = address.rpartition("@")
    local, domain = local.strip(), domain.strip()
    readable = normalise_domain(domain)
    if not at or not local or not readable or len(address) > LONGEST_ADDRESS:
        return None
    quoted = _QUOTED.fullmatch(local)
    if quoted:
        inner = _unescape(quoted[1])
        if not inner.isprintable():
            return None
        local = inner if _DOT_ATOM.fullmatch(inner) and inner.isprintable() else _quote(inner)
    elif not _DOT_ATOM.fullmatch(local) or not local.isprintable():
        return None
    if not local.isascii():
        if _ASCII_IN_DISGUISE.search(local):
            return None
        local = unicodedata.normalize("NFC", local.lower())
    return f"{local.lower()}@{readable}"


# --- inside: headers

# The usual case, without the reader below: `name <address>`, `"name" <address>` or a bare address, all ASCII.
_ONE_MAILBOX = re.compile(
    rf"""[ \t]*+(?:(?:"([A-Za-z0-9 .,_-]*+)"[ ]*+|([A-Za-z0-9 ._-]*+))<([.{_ATEXT}]++@[A-Za-z0-9.-]++)>"""
    rf"""|([.{_ATEXT}]++@[A-Za-z0-9.-]++))[ \t]*+"""
)
_WORD = r"=\?[^?\s]{0,60}\?[bBqQ]\?(?:[^?\s<>=]++|=(?!\?[^=])|\?(?!=))*+\?="  # what is in it divides nothing
_PIECES = re.compile(
    rf"""{_WORD} | "(?:[^"\\]|\\.)*+" | <\s*+"(?:[^"\\<>]|\\.)*+"[^<>"]*+> | <[^<>"]*+>"""
    r""" | (?:(?!=\?)[^"<>(),;:])++ | .""",
    re.DOTALL | re.VERBOSE,
)
_PIECES_WITHOUT_QUOTES = re.compile(rf"{_WORD}|<[^<>]*+>|(?:(?!=\?)[^\"<>(),;:])++|.", re.DOTALL)


class _AddressReader:
    """Reads one header; says None when quotes or comments are left open, so that it is read again without them."""

    def __init__(self, quotes: bool, comments: bool) -> None:
        self.quotes = quotes
        self.pieces = _PIECES if quotes else _PIECES_WITHOUT_QUOTES
        self.comments = comments
        self.found: list[Address] = []
        self.pending: list[str] = []  # `Doe` of an unquoted `Doe, John <john@example.com>`
        self._reset()

    def _reset(self) -> None:
        self.words: list[str] = []  # the text of this mailbox outside of brackets, quoted strings with their quotes
        self.bracketed: str | None = None
        self.at_seen = False
        self.comment: list[str] = []

    def read(self, header: str) -> list[Address] | None:
        depth, position, end = 0, 0, len(header)
        while position < end:
            match = self.pieces.match(header, position)
            assert match is not None  # "." matches anything
            piece, position = match[0], match.end()
            if piece == '"' and self.quotes:
                return None
            if self.comments and (depth or piece == "("):
                depth += (piece == "(") - (piece == ")")
                if depth > (piece == "("):  # not the outermost pair
                    self.comment.append(piece)
            elif piece in (",", ";"):
                self._finish(piece)
            elif piece == ":" and self.bracketed is None and not self.at_seen:
                self.words.clear()  # the name of a group, or `mailto:`
                self.pending.clear()
            elif piece[0] == "<" and piece[-1] == ">" and len(piece) > 1:
                if self.bracketed is not None:
                    self.words.append(f"<{self.bracketed}>")
                self.bracketed = piece[1:-1]
            elif piece == "<":
                self.words.append(" ")
            elif piece not in ('"', ">"):
                self.words.append(piece)
                self.at_seen = self.at_seen or ("@" in piece and piece[:2] != "=?")
        if depth:
            return None
        self._finish(";")
        return self.found

    def _finish(self, separator: str) -> None:
        """End one mailbox; a piece without an address before a comma may be the first half of a name."""
        if self.bracketed is not None:
            name = ", ".join([*self.pending, _unquoted(self.words)])
            self._add(name or "".join(self.comment), self.bracketed)
            self.pending.clear()
        elif self.at_seen:
            self._add_unbracketed(self._pieces())
            self.pending.clear()
        elif separator == ",":
            self.pending += filter(None, [_unquoted(self.words)])
        else:
            self.pending.clear()
        self._reset()

    def _pieces(self) -> list[str]:
        """The words of the mailbox, split at blanks; a quoted string stays whole and joined to what follows it."""
        pieces: list[list[str]] = [[]]
        for word in self.words:
            if word[0] == '"' and len(word) > 1:
                pieces[-1].append(word)
                continue
            first, *others = re.split(r"\s+", word)
            pieces[-1].append(first)
            pieces += [[other] for other in others]
        return [piece for parts in pieces if (piece := "".join(parts))]

    def _add_unbracketed(self, pieces: list[str]) -> None:
        """`ann@example.com`, `Ann ann@example.com`, `ann@example.com bob@example.com`."""
        usable = [(piece, _bare(piece)) for piece in pieces]
        addresses = [bare for _, bare in usable if bare]
        rest = " ".join(_unquoted([piece]) for piece, bare in usable if not bare)
        name = ", ".join([*self.pending, rest] if rest else self.pending) if len(addresses) == 1 else ""
        for address in addresses:
            self.found.append(Address(_name(name) or _name("".join(self.comment)), address))
        if not addresses:
            self._add("".join(self.comment), "".join(pieces))  # `ann @ example.com`

    def _add(self, name: str, address: str) -> None:
        bare = _bare(address)
        if bare:
            self.found.append(Address(_name(name), bare))


def _bare(text: str) -> str | None:
    """The usable address in what stood between brackets, as written; None if there is none."""
    text = text.strip()
    if text[:1] == "@" and ":" in text:  # a route, obsolete since 1982 (RFC 5322 4.4)
        text = text.rpartition(":")[2]
    if text[:7].lower() == "mailto:":
        text = text[7:]
    if text[:1] != '"':
        text = "".join(text.split())
    if text[:1] == text[-1:] == "'":
        text = text[1:-1]
    if text[-1:] == "]" and "[" not in text:
        text = text[:-1]
    text = text.removesuffix(".")
    if '"@' not in text and text[:1] == '"':
        return None
    return text if "<" not in text and normalise(text) else None


def _unquoted(words: list[str]) -> str:
    return "".join(
        _unescape(word[1:-1]) if len(word) > 1 and word[0] == word[-1] == '"' else word for word in words
    ).strip()


def _name(text: str) -> str:
    """A display name, decoded and on one line; single quotes around all of it are Outlook's, not the person's."""
    name = decode_words(text)
    if len(name) > 1 and name[0] == name[-1] == "'":
        name = name[1:-1].strip()
    return name


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) if "\\" in text else text
