"""People as others paste or upload them: lines, whole To lines, tables out of a spreadsheet. Pure.

Nothing is cut or dropped without a word: what names no person comes back as it stood, with the reason (mailing.md 1).
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mail.errors import NotText
from mail.message.address import Address, normalise, parse_addresses
from mail.message.columns import DELIMITERS, Columns, cells_of, columns_of
from mail.message.words import decode_words, one_line
from mail.sentences import Why, why

LONGEST_NAME = 200
LONGEST_PIECE = 1000  # characters that stand for one person
MOST_LINES_OF_A_CELL = 10

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ARCHIVES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")  # .xlsx, .ods, .docx; .xls; .pdf
_LINE_END = re.compile(r"\r\n|[\r\n\u2028\u2029]")
_UNSEEN = re.compile("[\0\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_BULLET = re.compile(r"\A\s*(?:[-*•·–>]\s+|\d{1,5}[.)]\s+)+")
_LABEL = re.compile(
    r"\A\s*(?:to|b?cc|from|reply-to|an|b?kopie|von|para|cco?|de|à|cci|da|aan|van|till?|kopia|från|fra|do|dw|od|кому|копия|от"
    r"|e-?mail|mail)\s*:\s*",
    re.IGNORECASE,
)
_GROUP = re.compile(r"\A\s*(?!mailto:)[^\W\d][\w .-]{0,60}:\s*(?=[^\s])", re.IGNORECASE)
_OLD_BRACKETS = re.compile(r"\[mailto:([^\[\]<>]*)\]", re.IGNORECASE)  # Outlook's, above the mail that it answers
_DELIMITER_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
_OPEN_CELL = re.compile(r'(?:^|[\t;,|])"(?:[^"]|"")*$')
_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>|\([^()]*\)|[^"<>(),;]+|.', re.DOTALL)
_IN_BRACKETS = re.compile(r"([^<>]*)<\s*([^<>]*?)\s*>([^<>]*)")
_AROUND_NAMES = " \t-–—|/>:;,"  # what people put between a name and an address
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "‘": "’", "«": "»"}
# The end of a domain after a comma that should have been a dot; also "es" of "eve@readers,es".
_TAIL = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}|com|org|net|edu|gov|info|biz|test|[a-z]{2}")


@dataclass(frozen=True, slots=True)
class PastedPerson:
    """Somebody whom a text names; ``number`` is the line, from 1, ``text`` what stood there."""

    number: int
    text: str
    name: str
    address: str
    company: str = ""

    @property
    def key(self) -> str:
        return normalise(self.address) or ""


@dataclass(frozen=True, slots=True)
class PastedPiece:
    """What was not simply taken, as it stood, and the reason."""

    number: int
    text: str
    why: Why


@dataclass
class PastedText:
    """What a text holds. ``remarks`` are about people who were taken; ``header`` names the columns of the rest."""

    people: list[PastedPerson] = field(default_factory=list)
    skipped: list[PastedPiece] = field(default_factory=list)
    remarks: list[PastedPiece] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)  # lines beyond the number that is read at once
    header: str = ""


def text_of_file(octets: bytes) -> str:
    """Return the text of an uploaded file; raises ``NotText`` for a workbook.

    >>> text_of_file("\\ufeffJürgen".encode("utf-16-le")), text_of_file("Jürgen".encode("cp1252"))
    ('Jürgen', 'Jürgen')
    """
    if octets.startswith(_ARCHIVES):
        raise NotText
    for mark, charset in _MARKS:
        if octets.startswith(mark):
            return octets[len(mark) :].decode(charset, "replace")
    start = octets[:400]
    if start.count(0) > len(start) // 3:
        return octets.decode("utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be", "replace")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def one_person(text: str) -> Address | Why:
    """Return the one mailbox that a field holds, or why it is not one.

    >>> one_person(" Ann Lee <ann@x.test> ")
    Address(name='Ann Lee', address='ann@x.test')
    >>> one_person("ann@x.test, bob@x.test")["code"], one_person("ann@")["code"], one_person("")["code"]
    ('import_several', 'import_bad_address', 'import_no_address')
    """
    found = _line(1, " ".join(_UNSEEN.sub("", text).split()), dotted=False)
    people = [one for one in found if isinstance(one, PastedPerson)]
    if len(people) > 1:
        return why("import_several", count=len(people))
    wrong = next((one.why for one in found if isinstance(one, PastedPiece)), None)
    if wrong or not people:
        return wrong or why("import_no_address")
    return Address(people[0].name, people[0].address)


def read_people(text: str, most: int) -> PastedText:
    """Return the people of a text, at most ``most``, each address once, and of everything else the reason."""
    read = _PastedReader()
    lines = _LINE_END.split(_UNSEEN.sub("", text).replace("\xa0", " "))
    for number, record in _records(lines):
        if len(read.result.people) >= most:
            read.result.rest = lines[number - 1 :]
            break
        if record.strip():
            read.add(number, record)
    return read.finished()


def _records(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The rows of a text with the number of their first line: a quoted cell may hold line breaks."""
    number = 0
    while number < len(lines):
        end = number + 1
        if _OPEN_CELL.search(lines[number]):
            for last in range(end, min(number + MOST_LINES_OF_A_CELL, len(lines))):
                if not _OPEN_CELL.search("\n".join(lines[number : last + 1])):
                    end = last + 1
                    break
        yield number + 1, "\n".join(lines[number:end])
        number = end


class _PastedReader:
    """Takes one row after the other; the first may say what the columns are."""

    def __init__(self) -> None:
        self.result = PastedText()
        self.columns: Columns | None = None
        self.delimiter = ""
        self.is_first = True
        self.first_line: dict[str, int] = {}
        self.unread: dict[str, None] = {}
        self.header_number = 1

    def add(self, number: int, record: str) -> None:
        """Take a row that is not empty."""
        if self.is_first and (said := _DELIMITER_LINE.fullmatch(record.strip())):
            self.delimiter = said[1]
            return
        is_first, self.is_first = self.is_first, False
        if is_first and (found := columns_of(record, self.delimiter)):
            self.columns, self.result.header, self.header_number = found, record, number
            return
        for one in self._row(number, record):
            if isinstance(one, PastedPerson):
                self._add_person(one)
            elif one.why["code"] in _REMARKS:
                self.result.remarks.append(one)
            else:
                self.result.skipped.append(one)

    def finished(self) -> PastedText:
        """Return the result, with a word about the columns that were not read."""
        if self.unread and self.columns:
            said = why("import_columns_unread", columns=", ".join(self.unread))
            self.result.remarks.insert(0, PastedPiece(self.header_number, self.columns.line, said))
        return self.result

    def _add_person(self, person: PastedPerson) -> None:
        if person.key in self.first_line:
            twice = why("import_twice", address=person.key, line=self.first_line[person.key])
            self.result.skipped.append(PastedPiece(person.number, person.text, twice))
            return
        self.first_line[person.key] = person.number
        if len(person.name) > LONGEST_NAME:
            said = why("import_name_shortened", most=LONGEST_NAME)
            self.result.remarks.append(PastedPiece(person.number, person.text, said))
        self.result.people.append(person)

    def _row(self, number: int, record: str) -> "list[PastedPerson | PastedPiece]":
        columns = self.columns
        if columns is None:
            return _line(number, record, self.delimiter)
        cells = cells_of(record, columns.delimiter)
        if len(cells) < 2 or len(columns.titles) < 2:
            return _line(number, record)
        for unread in columns.unread(cells):
            self.unread[columns.titles[unread] if unread < len(columns.titles) else cells[unread]] = None
        return _row_of_table(number, record, columns, cells)


_REMARKS = frozenset({"import_cells_unread"})


def _row_of_table(number: int, record: str, columns: Columns, cells: list[str]) -> "list[PastedPerson | PastedPiece]":
    """The person of a row whose columns have names; a second address is said, it may be somebody else's."""
    given = [cells[column] for column in columns.addresses if column < len(cells)]
    pieces = list(dict.fromkeys(piece.strip() for cell in given for piece in cell.split(" ::: ") if piece.strip()))
    if not pieces:
        return [PastedPiece(number, record, why("import_no_address"))]
    found = [one for piece in pieces for one in _cell(number, piece)]
    first = next((one for one in found if isinstance(one, PastedPerson)), None)
    if first is None:
        return [PastedPiece(number, record, why("import_bad_address", text=pieces[0][:100]))]
    name = columns.name_of(cells) or first.name
    person = PastedPerson(number, record, _name(name), first.address, columns.company_of(cells))
    second = why("import_second_address", address=person.address)
    others = [one for one in found if isinstance(one, PastedPiece) or one.key != person.key]
    return [person, *(PastedPiece(number, one.text, getattr(one, "why", second)) for one in others)]


def _cell(number: int, piece: str) -> "list[PastedPerson | PastedPiece]":
    """The people of a cell that holds an address: mostly one, and what is none in the words of a cell."""
    found = [_one(number, piece, True)] if piece.count("@") < 2 else _listed(number, piece, True)
    return [
        PastedPiece(number, one.text, why("import_bad_address", text=one.text[:100]))
        if isinstance(one, PastedPiece)
        else one
        for one in found
    ]


def _line(number: int, record: str, delimiter: str = "", dotted: bool = True) -> "list[PastedPerson | PastedPiece]":
    """The people of a line without named columns: one, a whole To line, or a row that has an address in a cell."""
    text = _OLD_BRACKETS.sub(r"<\1>", _LABEL.sub("", _BULLET.sub("", record))).strip()
    if "@" not in text:
        return [PastedPiece(number, record.strip(), why("import_no_address"))]
    if "\t" not in text and "<" in text:
        return _listed(number, text, dotted)
    text = text.strip(" ,;")
    delimiter = delimiter or next((sign for sign in DELIMITERS if sign in text), "")
    if not delimiter or _mailboxes(text, dotted):
        return _people(number, text, dotted)
    cells = cells_of(text, delimiter)
    filled = [cell for cell in cells if cell]
    if len(filled) > 1 and all("@" in cell for cell in filled):
        filled[0] = _GROUP.sub("", filled[0])
        return [one for cell in filled for one in _people(number, cell, dotted)]
    return _row_with_an_address(number, record.strip(), cells, dotted)


def _listed(number: int, text: str, dotted: bool) -> "list[PastedPerson | PastedPiece]":
    """The people of a To line: `Lee, Ann <ann@x.test>; Bob <bob@x.test>, carl@x.test`."""
    found: list[PastedPerson | PastedPiece] = []
    for piece in _split(_GROUP.sub("", text) if _is_group(text) else text):
        found += _people(number, piece, dotted)
    return found


def _is_group(text: str) -> bool:
    label = _GROUP.match(text)
    return label is not None and "@" not in label[0] and text.rstrip().endswith(";")


def _split(text: str) -> list[str]:
    """The mailboxes of a list; a comma in a name that nobody quoted divides nothing."""
    pieces, current, pending = [], "", ""
    for part in [*_PIECES.findall(text), ";"]:
        if part not in (",", ";"):
            current += part
            continue
        piece = f"{pending}{current}".strip()
        if "@" not in piece and piece and part == ",":
            pending, current = f"{piece}, ", ""
            continue
        if pending and "<" not in current:
            pieces.append(pending.rstrip(", "))
            piece = current.strip()
        pieces += [piece] if piece else []
        current = pending = ""
    return pieces


def _row_with_an_address(
    number: int, record: str, cells: list[str], dotted: bool
) -> "list[PastedPerson | PastedPiece]":
    """The person of a row without named columns: the name stands beside the address, the rest is not known."""
    places = [place for place, cell in enumerate(cells) if "@" in cell]
    if len(places) > 1:
        count = sum(max(1, len(_mailboxes(cells[place], dotted))) for place in places)
        return [PastedPiece(number, record, why("import_several", count=count))]
    place = places[0]
    found = _mailboxes(cells[place], dotted)
    if len(found) != 1 and cells[place].count("@") > 1:  # a To line with other words beside it
        return [one for cell in cells if cell for one in _listed(number, cell, dotted)]
    behind = next((cell for cell in cells[place + 1 :] if cell), "")
    if len(found) != 1 or (not any(cells[:place]) and _TAIL.fullmatch(behind)):
        return [PastedPiece(number, record, why("import_bad_address", text=record[:100]))]
    before = [cell for cell in cells[:place] if any(letter.isalpha() for letter in cell)]
    names = _names(before or [cell for cell in cells[place + 1 :] if any(letter.isalpha() for letter in cell)])
    name = ", ".join([*before, found[0].name]) if before and found[0].name else " ".join(names)
    unread = [
        cell for cell in cells if cell and cell != cells[place] and cell not in (before if found[0].name else names)
    ]
    person = PastedPerson(number, record, _name(name or found[0].name), found[0].address)
    said = why("import_cells_unread", text=", ".join(unread)[:200])
    return [person, *([PastedPiece(number, record, said)] if unread else [])]


def _names(cells: list[str]) -> list[str]:
    """The cells that make a name: the first if it holds a whole name, else the first two."""
    return cells[:1] if not cells or " " in cells[0] or "," in cells[0] else cells[:2]


def _people(number: int, piece: str, dotted: bool) -> "list[PastedPerson | PastedPiece]":
    """The people of a piece without separators: nearly always one."""
    found = _mailboxes(piece, dotted)
    if len(found) < 2:
        return [_one(number, piece, dotted)]
    return [PastedPerson(number, one.address, one.name, one.address) for one in found]


def _one(number: int, piece: str, dotted: bool) -> PastedPerson | PastedPiece:
    if len(piece) > LONGEST_PIECE:
        return PastedPiece(number, piece, why("import_line_too_long", most=LONGEST_PIECE))
    if "@" not in piece:
        return PastedPiece(number, piece, why("import_no_address"))
    found = _mailboxes(piece, dotted)
    if len(found) != 1:
        return PastedPiece(number, piece, why("import_bad_address", text=piece[:100]))
    return PastedPerson(number, piece, found[0].name, found[0].address)


# --- one mailbox


def _mailboxes(piece: str, dotted: bool = True) -> list[Address]:
    """The mailboxes of a piece without separators; none if anything in it that looks like an address is not one."""
    if len(piece) > LONGEST_PIECE:
        return []
    bracketed = _IN_BRACKETS.fullmatch(piece)
    if bracketed:
        address = _bare(bracketed[2], dotted)
        return [Address(_name(f"{bracketed[1].strip()} {bracketed[3].strip()}"), address)] if address else []
    if "<" in piece:
        found = parse_addresses(piece)
        return found if len(found) == 1 == piece.count("@") and _bare(found[0].address, dotted) else []
    if piece.startswith('"') and (address := _bare(piece, dotted)):
        return [Address("", address)]
    words = piece.split()
    addresses = [_bare(word, dotted) for word in words if "@" in word]
    others = [word for word in words if "@" not in word]
    if None in addresses or (others and len(addresses) > 1):
        return []
    name = _name(" ".join(others).strip(_AROUND_NAMES))
    return [Address(name, address) for address in addresses if address]


def _bare(text: str, dotted: bool) -> str | None:
    """The address in a word, as written; a domain without an end is what a comma or a blank left of it."""
    text = text.strip() if text.strip()[:1] == '"' and '"@' in text else text.strip("()[]“”‘’'\" ,;")
    if text[:7].lower() == "mailto:":
        text = text[7:]
    text = text.removesuffix(".")
    key = normalise(text) if "<" not in text else None
    if key is None or (text[:1] != '"' and len(text.split()) > 1):
        return None
    domain = key.rpartition("@")[2]
    is_whole = "." in domain and len(domain.rpartition(".")[2]) > 1
    return text if is_whole or domain.startswith("[") or not dotted else None


def _name(text: str) -> str:
    """A display name, decoded and on one line, without the quotes around all of it; an address is none."""
    name = text.strip()
    if not name:
        return ""
    name = one_line(decode_words(name))
    while len(name) > 1 and _QUOTES.get(name[0]) == name[-1]:
        inner = name[1:-1]
        name = (re.sub(r"\\(.)", r"\1", inner) if name[0] == '"' else inner).strip()
    if name[:1] == "(" and name[-1:] == ")":
        name = name[1:-1].strip()
    return "" if normalise(name) else name
