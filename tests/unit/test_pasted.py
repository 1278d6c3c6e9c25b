"""What comes out of a spreadsheet or a mail program, and whom it names: nothing is cut or dropped without a word."""

import codecs

import pytest

from mail.errors import NotText
from mail.message.address import Address
from mail.message.columns import cells_of
from mail.message.pasted import one_person, read_people, text_of_file
from mail.sentences import say
from tests.effort import little_work

ANN, BOB, CARL = ("Ann Lee", "ann@x.test"), ("Bob", "bob@y.test"), ("", "carl@z.test")
NO, BAD, SEVERAL, TWICE = "import_no_address", "import_bad_address", "import_several", "import_twice"
SECOND, COLUMNS, CELLS = "import_second_address", "import_columns_unread", "import_cells_unread"

CASES = {
    # lines
    "bare": ("carl@z.test", [CARL], []),
    "name and brackets": ("Ann Lee <ann@x.test>\nBob <bob@y.test>", [ANN, BOB], []),
    "name without brackets": ("Ann Lee ann@x.test", [ANN], []),
    "name in parentheses": ("ann@x.test (Ann Lee)", [ANN], []),
    "address in parentheses": ("Ann Lee (ann@x.test)", [ANN], []),
    "carriage returns only": ("Ann Lee <ann@x.test>\rBob <bob@y.test>\r", [ANN, BOB], []),
    "line ends of Windows": ("carl@z.test\r\nBob <bob@y.test>\r\n\r\n", [CARL, BOB], []),
    "a mark at the start": ("\ufeffcarl@z.test", [CARL], []),
    "signs nobody sees": ("\u200bcarl@z.test\u200b", [CARL], []),
    "no-break spaces of a web page": ("Ann\xa0Lee\xa0<ann@x.test>", [ANN], []),
    "bullets and numbers": ("- carl@z.test\n2. Bob <bob@y.test>", [CARL, BOB], []),
    "blanks and commas at the ends": ("  carl@z.test , ,\nBob <bob@y.test>;", [CARL, BOB], []),
    "mailto": ("mailto:carl@z.test\nBob <mailto:bob@y.test>", [CARL, BOB], []),
    "umlauts": ("Jürgen Müller <jürgen@bücher.example>", [("Jürgen Müller", "jürgen@bücher.example")], []),
    "punycode": ("info@xn--bcher-kva.example", [("", "info@xn--bcher-kva.example")], []),
    "an apostrophe in the name": ("Pat O'Neil <pat@x.test>", [("Pat O'Neil", "pat@x.test")], []),
    "an apostrophe in the address": ("pat.o'neil@x.test", [("", "pat.o'neil@x.test")], []),
    "a quoted local part": ('"pat oneil"@x.test', [("", '"pat oneil"@x.test')], []),
    "marks around a name": ("Ann Lee - ann@x.test\nBob | bob@y.test", [ANN, BOB], []),
    "quoted lines": ("> Ann Lee <ann@x.test>\n> - carl@z.test", [ANN, CARL], []),
    "a label in another language": ("Kopie: carl@z.test\nTill: Bob <bob@y.test>", [CARL, BOB], []),
    # To lines
    "Outlook": ("Ann Lee <ann@x.test>; Bob <bob@y.test>", [ANN, BOB], []),
    "Outlook, last name first": ("Lee, Ann <ann@x.test>; Bob <bob@y.test>", [("Lee, Ann", "ann@x.test"), BOB], []),
    "Outlook, single quotes": ("'Ann Lee' <ann@x.test>; 'carl@z.test' <carl@z.test>", [ANN, CARL], []),
    "Outlook, an old reply": ("From: Ann Lee [mailto:ann@x.test]", [ANN], []),
    "Gmail": ('"Lee, Ann" <ann@x.test>, Bob <bob@y.test>,', [("Lee, Ann", "ann@x.test"), BOB], []),
    "Thunderbird": ("To: Ann Lee <ann@x.test>, carl@z.test", [ANN, CARL], []),
    "a folded header": ("To: Ann Lee <ann@x.test>,\r\n\tBob <bob@y.test>", [ANN, BOB], []),
    "encoded words": ("=?utf-8?q?J=C3=BCrgen?= <j@x.test>", [("Jürgen", "j@x.test")], []),
    "a group": ("Friends: carl@z.test, bob@y.test;", [CARL, ("", "bob@y.test")], []),
    "bare, by commas": ("carl@z.test,bob@y.test", [CARL, ("", "bob@y.test")], []),
    "bare, by semicolons": ("carl@z.test; bob@y.test;", [CARL, ("", "bob@y.test")], []),
    "bare, by blanks": ("carl@z.test bob@y.test", [CARL, ("", "bob@y.test")], []),
    "a name alone among them": ("Ann Lee <ann@x.test>; Carl", [ANN], [("Carl", NO)]),
    "an address of Exchange": ("Ann Lee </O=ACME/CN=ANN>; Bob <bob@y.test>", [BOB], [("Ann Lee </O=ACME/CN=ANN>", NO)]),
    "a word beside addresses": (
        "carl@z.test, bob@y.test; nonsense",
        [CARL, ("", "bob@y.test")],
        [("nonsense", NO)],
    ),
    "one wrong of three": ("Ann Lee <ann@x.test>, bob@, carl@z.test", [ANN, CARL], [("bob@", BAD)]),
    # rows without a header line
    "Name;address": ("Ann Lee;ann@x.test", [ANN], []),
    "address;Name": ("ann@x.test;Ann Lee", [ANN], []),
    "address,first,last": ("ann@x.test,Ann,Lee", [ANN], []),
    "first and last by tabs": ("Ann\tLee\tann@x.test\nBob\t\tbob@y.test", [ANN, BOB], []),
    "quoted cells": ('"Lee, Ann","ann@x.test"', [("Lee, Ann", "ann@x.test")], []),
    "a cell with brackets": ("Bob <bob@y.test>\t", [BOB], []),
    "empty cells": ("Ann Lee;;ann@x.test;;", [ANN], []),
    "more than we read": ("Ann Lee;ann@x.test;Bonn", [ANN], [("Ann Lee;ann@x.test;Bonn", CELLS)]),
    "a row with two addresses": ("Ann;ann@x.test;bob@y.test", [], [("Ann;ann@x.test;bob@y.test", SEVERAL)]),
    "which separator": ("sep=;\nAnn Lee;ann@x.test", [ANN], []),
    # tables with a header line
    "Excel": ("Name;E-Mail\r\nAnn Lee;ann@x.test\r\n;carl@z.test", [ANN, CARL], []),
    "Excel, copied": ("First Name\tLast Name\tEmail\nAnn\tLee\tann@x.test", [ANN], []),
    "LibreOffice": ('"Vorname","Nachname","E-Mail-Adresse"\n"Ann","Lee","ann@x.test"', [ANN], []),
    "German, short": ("Vorname;Name;E-Mail\nAnn;Lee;ann@x.test", [ANN], []),
    "Spanish": ("Nombre,Apellidos,Correo electrónico\nAnn,Lee,ann@x.test", [ANN], []),
    "French": ("Prénom;Nom;Adresse e-mail\nAnn;Lee;ann@x.test", [ANN], []),
    "Norwegian": ("Fornavn;Etternavn;E-post\nAnn;Lee;ann@x.test", [ANN], []),
    "Swedish": ("Namn\tE-postadress\nAnn Lee\tann@x.test", [ANN], []),
    "Dutch": ("Naam;E-mailadres\nAnn Lee;ann@x.test", [ANN], []),
    "Polish": ("Imię;Nazwisko;Adres e-mail\nAnn;Lee;ann@x.test", [ANN], []),
    "Czech": ("Jméno;Příjmení;E-mail\nAnn;Lee;ann@x.test", [ANN], []),
    "Russian": ("Имя;Фамилия;Электронная почта\nAnn;Lee;ann@x.test", [ANN], []),
    "Japanese": ("氏名,メールアドレス\nAnn Lee,ann@x.test", [ANN], []),
    "Chinese": ("姓名,邮箱\nAnn Lee,ann@x.test", [ANN], []),
    "a list of customers": ("Kunde;Mailadresse\nAnn Lee;ann@x.test", [ANN], []),
    "one column": ("Email\ncarl@z.test\nbob@y.test", [CARL, ("", "bob@y.test")], []),
    "Mailchimp": (
        "Email Address,First Name,Last Name,MEMBER_RATING\nann@x.test,Ann,Lee,2",
        [ANN],
        [("Email Address,First Name,Last Name,MEMBER_RATING", COLUMNS)],
    ),
    "Odoo": ("Name,Email\nAnn Lee,ann@x.test", [ANN], []),
    "Google Contacts": (
        "First Name,Middle Name,Last Name,E-mail 1 - Value,E-mail 2 - Value\nAnn,,Lee,ann@x.test,lee@home.test",
        [ANN],
        [("lee@home.test", SECOND)],
    ),
    "Google, two in a cell": ("Name,E-mail 1 - Value\nBob,bob@y.test ::: b@z.test", [BOB], [("b@z.test", SECOND)]),
    "two in a cell": ("Name;Email\nBob;bob@y.test, b@z.test", [BOB], [("b@z.test", SECOND)]),
    "one wrong of two in a cell": ("Name;Email\nBob;bob@y.test, b@", [BOB], [("b@", BAD)]),
    "the first of two columns is wrong": ("Name,Email 1,Email 2\nBob,bob@,bob@y.test", [BOB], [("bob@", BAD)]),
    "Outlook contacts": ('"First Name","Last Name","E-mail Address"\n"Ann","Lee","ann@x.test"', [ANN], []),
    "Thunderbird's address book": (
        "First Name,Last Name,Display Name,Primary Email\nAnn,Lee,Ann Lee,ann@x.test",
        [ANN],
        [],
    ),
    "brackets in a column": ("Contact;Email\n;Bob <bob@y.test>", [BOB], []),
    "a row without an address": ("Name;Email\nAnn Lee;\nBob;bob@y.test", [BOB], [("Ann Lee;", NO)]),
    "a wrong address in a row": ("Name;Email\nAnn Lee;ann.x.test", [], [("Ann Lee;ann.x.test", BAD)]),
    "a line break in a cell": ('Name,Email\n"Ann\nLee",ann@x.test\nBob,bob@y.test', [ANN, BOB], []),
    "a formula made harmless": ("Name,Email\n'=Ann,ann@x.test", [("=Ann", "ann@x.test")], []),
    # what is no address
    "a comma for a dot": ("eve@readers,test", [], [("eve@readers,test", BAD)]),
    "a comma for the last dot": ("eve@my.readers,com", [], [("eve@my.readers,com", BAD)]),
    "a blank in the last word": ("eve@readers.t est", [], [("eve@readers.t est", BAD)]),
    "no dot at all": ("eve@readers", [], [("eve@readers", BAD)]),
    "two signs": ("eve@@readers.test", [], [("eve@@readers.test", BAD)]),
    "a blank inside": ("Eve <eve @readers.test>", [], [("Eve <eve @readers.test>", BAD)]),
    "two dots": ("eve@readers..test", [], [("eve@readers..test", BAD)]),
    "only a name": ("Eve", [], [("Eve", NO)]),
    "an address between brackets and words": ("<a@x.test> Ann <b@x.test>", [], [("<a@x.test> Ann <b@x.test>", BAD)]),
    "a bracket never closed": ("Ann Lee <ann@x.test", [ANN], []),
    "quotes in an address": ('"ann lee"@x.test', [("", '"ann lee"@x.test')], []),
    "a comma after a name alone": (
        "Eve, carl@z.test, Bob <bob@y.test>",
        [CARL, BOB],
        [("Eve", NO)],
    ),
    "a name that is too long": (
        f"{'Ann ' * 100}<ann@x.test>",
        [(("Ann " * 100).strip(), "ann@x.test")],
        [(f"{'Ann ' * 100}<ann@x.test>", "import_name_shortened")],
    ),
    "words beside two addresses": ("a@x.test and b@x.test", [], [("a@x.test and b@x.test", BAD)]),
    "the same twice": ("carl@z.test\nCarl@Z.test", [CARL], [("Carl@Z.test", TWICE)]),
    "a quote never closed": ('"Ann;ann@x.test\nBob;bob@y.test', [("Ann", "ann@x.test"), BOB], None),
    "nothing": ("\n \n", [], []),
}


@pytest.mark.parametrize(("text", "people", "words"), CASES.values(), ids=CASES)
def test_a_text_names_people(text, people, words):
    found = read_people(text, 100)
    assert [(person.name, person.address) for person in found.people] == people
    said = [(piece.text, piece.why["code"]) for piece in found.skipped + found.remarks]
    assert words is None or said == words
    assert all("%(" not in say(piece.why) for piece in found.skipped + found.remarks)


def test_addresses_that_are_not_taken_are_counted_truly():
    (skipped,) = read_people("Ann;ann@x.test, a@x.test;bob@y.test", 10).skipped
    assert "There are 3 addresses on this line" in say(skipped.why)


@pytest.mark.parametrize(
    "octets",
    [
        "Jürgen <j@x.test>".encode(),
        codecs.BOM_UTF8 + "Jürgen <j@x.test>".encode(),
        "Jürgen <j@x.test>".encode("cp1252"),
        "Jürgen <j@x.test>".encode("utf-16"),
        codecs.BOM_UTF16_BE + "Jürgen <j@x.test>".encode("utf-16-be"),
        "Jürgen <j@x.test>".encode("utf-16-le"),
        "Jürgen <j@x.test>".encode("utf-16-be"),
    ],
)
def test_a_file_is_read_whatever_wrote_it(octets):
    people = read_people(text_of_file(octets), 10).people
    assert [(person.name, person.address) for person in people] == [("Jürgen", "j@x.test")]


def test_a_workbook_is_no_text():
    with pytest.raises(NotText):
        text_of_file(b"PK\x03\x04 the rest")


def test_what_goes_beyond_the_number_is_kept_with_the_names_of_its_columns():
    found = read_people("Name;Email\n" + "\n".join(f"P{n};p{n}@x.test" for n in range(5)), 3)
    assert (len(found.people), found.rest, found.header) == (3, ["P3;p3@x.test", "P4;p4@x.test"], "Name;Email")


def test_a_cell_may_be_longer_than_the_reader_of_tables_takes():
    assert cells_of(f"{'x' * 200_000}; b;", ";") == ["x" * 200_000, "b", ""]


def test_the_company_of_a_table_is_read():
    (person,) = read_people("Company,Email,Name\nExample Ltd,ann@x.test,Ann Lee", 10).people
    assert (person.name, person.company) == ("Ann Lee", "Example Ltd")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ann@x.test", Address("", "ann@x.test")),
        (" Ann Lee <ann@x.test> ", Address("Ann Lee", "ann@x.test")),
        ("Ann Lee;ann@x.test", Address("Ann Lee", "ann@x.test")),
        ("root@localhost", Address("", "root@localhost")),
        ("ann@x.test, bob@x.test", SEVERAL),
        ("Ann <ann@x.test>; Bob <bob@x.test>", SEVERAL),
        ("ann@x.test bob@x.test", SEVERAL),
        ("Ann <ann@x.test>; Bob", NO),
        ("ann@", BAD),
        ("Ann Lee", NO),
        ("", NO),
    ],
)
def test_a_field_takes_one_person(text, found):
    read = one_person(text)
    assert (read if isinstance(read, Address) else read["code"]) == found


@pytest.mark.parametrize(("address", "code"), [("@x.test", "import_line_too_long"), ("", NO)])
def test_a_piece_that_is_too_long_is_nobody(address, code):
    text = "a" * 1_001 + address
    assert one_person(text)["code"] == code
    (skipped,) = read_people(text, 10).skipped
    assert (skipped.text, skipped.why["code"]) == (text, code)


@pytest.mark.heavy
@pytest.mark.parametrize("noise", ["<", "a@", '"', "a@x.test,", "("])
def test_an_odd_text_is_little_work(noise):
    with little_work():
        found = read_people(noise * (300_000 // len(noise)), 10)
    assert len(found.people) <= 1
