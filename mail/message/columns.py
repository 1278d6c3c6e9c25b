"""Which column of a pasted or uploaded table holds what: the words of its header line, in several languages. Pure.

Known are the exports of Excel, LibreOffice, Outlook, Thunderbird, Google Contacts, Mailchimp and Odoo, and our own.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DELIMITERS = "\t;,|"

_ADDRESS = re.compile(
    r"(?:(?:primary|secondary|work|home|other|business|private|subscriber|contact|geschäftliche?|private) )?"
    r"(?:e ?mails?|mail)(?: ?\d)?(?: ?(?:address|addresses|adresse|id))?(?: ?\d)?(?: value)?"
    r"|correo(?: electr[oó]nico)?|direcci[oó]n de correo(?: electr[oó]nico)?|adresse (?:e ?mail|électronique)|courriel"
    r"|indirizzo (?:e ?mail|di posta elettronica)|endereço de e ?mail|normalized email|email normalized"
    r"|e ?mail ?ad(?:res(?:se|sen?)?|dr)|adres e ?mail|e ?post(?: ?adress?e?)?|sähköposti(?:osoite)?|e postacím"
    r"|электронная почта|адрес электронной почты|メール(?:アドレス)?|邮箱|(?:电子)?邮件(?:地址)?|電子郵件|이메일"
)
_POSTAL = {"address", "adresse", "dirección", "direccion"}  # of mail only where no other column is
_FULL = {
    "name", "full name", "display name", "contact", "contact name", "nombre", "nombre completo", "nom complet",
    "vollständiger name", "anzeigename", "nome", "kontakt", "ansprechpartner", "complete name", "customer", "kunde",
    "cliente", "client", "klant", "navn", "namn", "naam", "nimi", "név", "имя и фамилия", "фио", "氏名", "名前", "姓名",
    "이름",
}  # fmt: skip
_FIRST = {"first name", "firstname", "given name", "fname", "vorname", "prénom", "prenom", "middle name",
          "additional name", "fornavn", "förnamn", "voornaam", "etunimi", "imię", "jméno", "keresztnév", "имя",
          "名"}  # fmt: skip
_LAST = {"last name", "lastname", "surname", "family name", "lname", "nachname", "familienname", "apellido",
         "apellidos", "nom", "cognome", "etternavn", "efternavn", "efternamn", "achternaam", "sukunimi", "nazwisko",
         "příjmení", "vezetéknév", "фамилия", "姓"}  # fmt: skip
_COMPANY = {"company", "company name", "organization", "organisation", "organization name", "organization 1 name",
            "firma", "empresa", "société", "unternehmen", "azienda"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by number; ``line`` is its header line, as it stood."""

    line: str
    delimiter: str
    titles: tuple[str, ...]
    addresses: tuple[int, ...]
    full: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    company: tuple[int, ...]

    def name_of(self, cells: Sequence[str]) -> str:
        """Return the name that a row gives: the whole one, else first and last name."""
        full, first, last = (_joined(cells, numbers[:2]) for numbers in (self.full[:1], self.first, self.last[:1]))
        whole = bool(self.first) == bool(self.last)  # else "Vorname;Name" or "Nombre;Apellidos": two halves
        if full and whole:
            return full
        return " ".join(filter(None, (first, full, last)))

    def company_of(self, cells: Sequence[str]) -> str:
        """Return the company that a row names."""
        return _joined(cells, self.company[:1])

    def unread(self, cells: Sequence[str]) -> list[int]:
        """Return the filled columns of a row that say nothing we keep."""
        read = {*self.addresses, *self.full[:1], *self.first[:2], *self.last[:1], *self.company[:1]}
        return [number for number, cell in enumerate(cells) if cell and number not in read]


def _joined(cells: Sequence[str], numbers: Sequence[int]) -> str:
    return " ".join(cells[number] for number in numbers if number < len(cells) and cells[number])


def columns_of(line: str, delimiter: str = "") -> Columns | None:
    """Return the columns that a header line names; None for a line that is none.

    >>> found = columns_of("Vorname;Nachname;E-Mail-Adresse;Ort")
    >>> found.addresses, found.name_of(["Ann", "Lee", "ann@x.test", "Bonn"]), found.unread(["Ann", "Lee", "", "Bonn"])
    ((2,), 'Ann Lee', [3])
    >>> columns_of("Ann Lee <ann@x.test>"), columns_of("Ann;Bob")
    (None, None)
    """
    if "@" in line:
        return None
    delimiter = delimiter or max(DELIMITERS, key=lambda sign: len(cells_of(line, sign)))
    titles = tuple(cells_of(line, delimiter))
    words = [" ".join(re.sub(r"[_:*-]+", " ", title.casefold()).split()) for title in titles]
    addresses = _found(words, lambda word: _ADDRESS.fullmatch(word) is not None)
    addresses = addresses or _found(words, _POSTAL.__contains__)
    full, first, last, company = (_found(words, known.__contains__) for known in (_FULL, _FIRST, _LAST, _COMPANY))
    if not addresses:
        return None
    return Columns(line, delimiter, titles, addresses, full, first, last, company)


def _found(words: Sequence[str], is_known: Callable[[str], bool]) -> tuple[int, ...]:
    return tuple(number for number, word in enumerate(words) if is_known(word))


def cells_of(record: str, delimiter: str) -> list[str]:
    """Return the cells of a row, trimmed; the sign that keeps a spreadsheet from seeing a formula goes.

    >>> cells_of('"Lee, Ann"; ann@x.test;;\\'=x', ";")
    ['Lee, Ann', 'ann@x.test', '', '=x']
    """
    if record.count('"') % 2:  # a quote that is never closed is a letter like any other
        return [_unguarded(cell.strip(' "')) for cell in record.split(delimiter)]
    try:
        cells = next(csv.reader(record.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        cells = record.split(delimiter)
    return [_unguarded(" ".join(cell.split())) for cell in cells]


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in "=+-@" else cell
