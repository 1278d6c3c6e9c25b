"""Domains that are made to be taken for others are shown in ASCII; names lose what nobody sees."""

import pytest

from mail.message.address import parse_addresses
from mail.message.domains import normalise_domain, wire_domain
from mail.message.words import one_line


@pytest.mark.parametrize(
    "domain",
    [
        "g\u043e\u043egle.example",  # Cyrillic о among Latin letters
        "p\u0430yp\u0430l.example",
        "\u0430\u0440\u0440\u04cf\u0435.example",  # аррӏе: nothing but Cyrillic letters that look like Latin ones
        "\u0445\u043e\u0440.com",
        "\u03bf\u03bf.example",  # Greek
        "amaz\u03bfn.example",
        "\u0585\u0578.example",  # Armenian
        "bank\u0131.example",  # ı without its dot
        "pay\u0262al.example",
        "\u0261oogle.example",  # ɡ of phonetics
        "com\u30ceh.example",  # ノ, like a slash
        "a\u0327pple.example",  # a mark that no letter has
        "m\u0456crosoft.example",
        "mail.\u0455\u0441\u043e\u0440\u0435.example",
        "1\u0430.example",
        "ab\u05d0.example",  # Hebrew among Latin letters
        "\u0430" * 300,  # longer than any domain
    ],
)
def test_look_alikes_are_shown_in_ascii(domain):
    shown = normalise_domain(domain)
    assert shown is None or (shown.isascii() and "xn--" in shown)
    assert shown == (shown and normalise_domain(shown))


READABLE = """
    bücher.example straße.example пример.example почта.рф хор.рф παράδειγμα.example 日本語.example 日本go.example
    中文.example 한국어.example ไทย.example שלום.example مثال.example żółw.example kızılay.tr øl.example
"""


@pytest.mark.parametrize("domain", READABLE.split())
def test_other_domains_are_shown_as_people_write_them(domain):
    assert normalise_domain(domain) == domain
    assert normalise_domain(wire_domain(domain) or "") == domain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Pay\u200bPal", "PayPal"),
        ("Ann\u200e Lee\u200f", "Ann Lee"),
        ("\ufeffAnn", "Ann"),
        ("Ann\u202eeel", "Ann eel"),
        ("So\u00adphie", "Sophie"),
        ("A\u2060B\u2063C", "ABC"),
        ("Ann\u200d", "Ann"),
        ("a\u200cb", "ab"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian needs it
        ("👩\u200d💻", "👩\u200d💻"),
        ("tag\U000e0041", "tag"),
        ("\u061cAnn", "Ann"),
    ],
)
def test_names_lose_what_nobody_sees(text, shown):
    assert one_line(text) == shown
    assert parse_addresses(f'"{text}" <ann@x.test>')[0].name == shown
