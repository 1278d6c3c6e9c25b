"""Addresses: what is read, what is compared, what goes on the wire."""

import email
import email.policy
from email.utils import formataddr, getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.errors import InvalidAddress, NeedsSmtputf8
from mail.message.address import (
    Address,
    decode_words,
    domain_of,
    encode_words,
    first_address,
    format_address,
    local_part,
    needs_smtputf8,
    normalise,
    parse_addresses,
    shorten_name,
    show_address,
    wire_address,
)
from tests.effort import little_work


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("ann@example.com", "ann@example.com"),
        ("  Ann@EXAMPLE.com\t", "ann@example.com"),
        ("ann+spring@example.com", "ann+spring@example.com"),
        ("a.n.n@gmail.com", "a.n.n@gmail.com"),
        ("<ann@example.com>", "ann@example.com"),
        ("Ann <ann@example.com>", "ann@example.com"),
        ("ann@example.com.", "ann@example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("root@localhost", "root@localhost"),
        ("box..7.@docomo.example", "box..7.@docomo.example"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ("info@BÜCHER.example", "info@bücher.example"),
        ("info@xn--bcher-kva.example", "info@bücher.example"),
        ("info@XN--BCHER-KVA.Example", "info@bücher.example"),
        ("info@bu\u0308cher.example", "info@bücher.example"),
        ("info@straße.example", "info@straße.example"),
        (
            "info@xn--i-7iq.example",
            "info@xn--i-7iq.example",
        ),  # an emoji: no IDNA 2008 domain, but mail may come from it
        ("info@xn--zzzz.example", "info@xn--zzzz.example"),
        ("JÜRGEN@example.com", "jürgen@example.com"),
        ('"Ann"@example.com', "ann@example.com"),
        ('"the boss"@example.com', '"the boss"@example.com'),
        ('"Bike@Home"@example.com', '"bike@home"@example.com'),
        ("", None),
        (None, None),
        ("ann", None),
        ("ann@", None),
        ("@example.com", None),
        ("ann@exa mple.com", None),
        ("an n@example.com", None),
        ("ann@-example.com", None),
        ("ann@example..com", None),
        ("ann@ex\r\nample.com", None),
        ("ann\x00@example.com", None),
        ("ann@example.com\x00", None),
        ('"an\rn"@example.com', None),
        ("ann@bob@example.com", None),
        ("ann@example.com, bob@example.com", None),
        ("ann@[example]", None),
        ("an\u202en@example.com", None),
        ("ann@exa/mple.com", None),
        ("ann@℀.example", None),
        ("\u212aim@example.com", None),  # the Kelvin sign would become a "k": somebody else's address
        ("x" * 400 + "@example.com", None),
        ("ann@" + "x" * 64 + ".com", None),
    ],
)
def test_an_address_has_one_key(written, key):
    assert normalise(written) == key
    assert key is None or normalise(key) == key


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        (None, []),
        ("ann@example.com", [("", "ann@example.com")]),
        ("Ann <ann@example.com>", [("Ann", "ann@example.com")]),
        ('"Ann" <Ann@Example.com>', [("Ann", "Ann@Example.com")]),
        ("Ann\r\n <ann@example.com>", [("Ann", "ann@example.com")]),
        ('"Doe, Ann" <ann@example.com>', [("Doe, Ann", "ann@example.com")]),
        ("Doe, Ann <ann@example.com>", [("Doe, Ann", "ann@example.com")]),
        ("bob@x.com, Doe, Ann <ann@example.com>", [("", "bob@x.com"), ("Doe, Ann", "ann@example.com")]),
        (r'"Ann \"the boss\" Doe" <ann@example.com>', [('Ann "the boss" Doe', "ann@example.com")]),
        ("a@x.com, b@x.com", [("", "a@x.com"), ("", "b@x.com")]),
        ("a@x.com; b@x.com;", [("", "a@x.com"), ("", "b@x.com")]),
        ("a@x.com b@x.com", [("", "a@x.com"), ("", "b@x.com")]),
        (",, a@x.com,,b@x.com,", [("", "a@x.com"), ("", "b@x.com")]),
        ("a@x.com (Ann)", [("Ann", "a@x.com")]),
        ("a@x.com (Ann (the (boss)))", [("Ann (the (boss))", "a@x.com")]),
        ("Ann (at b@y.com) <a@x.com>", [("Ann", "a@x.com")]),
        ("Ann :-( <a@x.com>", [("-(", "a@x.com")]),
        ("Ann a@x.com", [("Ann", "a@x.com")]),
        # an address in a display name counts for nothing
        ('"boss@example.com" <thief@example.net>', [("boss@example.com", "thief@example.net")]),
        ("boss@example.com <thief@example.net>", [("boss@example.com", "thief@example.net")]),
        ("<boss@example.com> <thief@example.net>", [("<boss@example.com>", "thief@example.net")]),
        ('"boss <boss@example.com>" <thief@example.net>', [("boss <boss@example.com>", "thief@example.net")]),
        ('"a, b@x.com, c" <thief@example.net>', [("a, b@x.com, c", "thief@example.net")]),
        ("(boss@example.com) thief@example.net", [("boss@example.com", "thief@example.net")]),
        (
            "=?utf-8?q?boss=40example=2Ecom_=3Cx=40y=2Ez=3E=2C?= <thief@example.net>",
            [("boss@example.com <x@y.z>,", "thief@example.net")],
        ),
        ('"boss@example.com"', []),
        ("=?utf-8?q?=3Cboss=40example=2Ecom=3E?=", []),
        # broken quotes and brackets
        ("Ann <a@x.com", [("Ann", "a@x.com")]),
        ("Ann a@x.com>", [("Ann", "a@x.com")]),
        ("Ann <<a@x.com>>", [("Ann", "a@x.com")]),
        ("Ann < a @ x.com >", [("Ann", "a@x.com")]),
        ('"Ann <a@x.com>', [("Ann", "a@x.com")]),
        ('"Ann <a@x.com>, "Bob" <b@x.com>', [("Ann", "a@x.com"), ("Bob", "b@x.com")]),
        ("'Ann' <'a@x.com'>", [("Ann", "a@x.com")]),
        ("Ann [mailto:a@x.com]", [("", "a@x.com")]),
        ("<mailto:a@x.com>", [("", "a@x.com")]),
        ("Ann <@relay.com,@other.com:a@x.com>", [("Ann", "a@x.com")]),
        ('"the boss"@x.com', [("", '"the boss"@x.com')]),
        ('Ann <"the, boss"@x.com>', [("Ann", '"the, boss"@x.com')]),
        ("Ann <>", []),
        ("Ann <a@>, b@x.com", [("", "b@x.com")]),
        # groups
        ("undisclosed-recipients:;", []),
        ("Team: a@x.com, Bob <b@x.com>;, c@x.com", [("", "a@x.com"), ("Bob", "b@x.com"), ("", "c@x.com")]),
        # names in other letters
        ("=?utf-8?q?J=C3=BCrgen?= <j@x.com>", [("Jürgen", "j@x.com")]),
        ('"=?utf-8?q?J=C3=BCrgen?=" <j@x.com>', [("Jürgen", "j@x.com")]),
        ("=?utf-8?b?5pel?= =?utf-8?b?5pys?= <j@x.com>", [("日本", "j@x.com")]),
        ("=?nonsense?q?J=C3=BCrgen?= <j@x.com>", [("Jürgen", "j@x.com")]),
        ("=?utf-8?b?@@@?= <j@x.com>", [("", "j@x.com")]),
        ("Jürgen <jürgen@bücher.example>", [("Jürgen", "jürgen@bücher.example")]),
        ("J\udcc3\udcbcrgen <j@x.com>", [("Jürgen", "j@x.com")]),
        ("J\udcfcrgen <j@x.com>", [("Jürgen", "j@x.com")]),
        ("=?utf-8?q?A=0D=0ABcc=3A_x=40y=2Ez?= <a@x.com>", [("A Bcc: x@y.z", "a@x.com")]),
        ("An\x00n\u202e <a@x.com>", [("An n", "a@x.com")]),
    ],
)
def test_what_is_read_from_a_header(header, found):
    assert [(one.name, one.address) for one in parse_addresses(header)] == found
    assert first_address(header) == (Address(*found[0]) if found else None)


@pytest.mark.parametrize(
    ("name", "address", "header"),
    [
        ("", "ann@example.com", "ann@example.com"),
        (None, "ann@example.com", "ann@example.com"),
        ("Ann", "Ann@Example.com", '"Ann" <Ann@example.com>'),
        ("Doe, Ann", "ann@example.com", '"Doe, Ann" <ann@example.com>'),
        ('Ann "A" \\ Doe', "ann@example.com", r'"Ann \"A\" \\ Doe" <ann@example.com>'),
        ("ann@home.test", "ann@example.com", '"ann@home.test" <ann@example.com>'),
        ("Ann\r\nBcc: x@y.z", "ann@example.com", '"Ann Bcc: x@y.z" <ann@example.com>'),
        ("Jürgen\r\nBcc: x@y.z", "j@example.com", "=?utf-8?q?J=C3=BCrgen_Bcc=3A_x=40y=2Ez?= <j@example.com>"),
        ("Ann\x00", "ann@example.com", '"Ann" <ann@example.com>'),
        ("=?utf-8?q?x?=", "ann@example.com", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <ann@example.com>"),
        ("Ann", "ann@bücher.example", '"Ann" <ann@xn--bcher-kva.example>'),
        ("Ann", "jürgen@bücher.example", '"Ann" <jürgen@xn--bcher-kva.example>'),
    ],
)
def test_how_a_mailbox_is_written(name, address, header):
    assert format_address(name, address) == header


@pytest.mark.parametrize(
    "address", ["", "ann", "ann@", "ann@x.com\r\nBcc: b@x.com", "a@x.com, b@x.com", "<a@x.com>", "a b@x.com"]
)
def test_what_is_no_address_is_not_written(address):
    with pytest.raises(InvalidAddress) as refused:
        format_address("Ann", address)
    assert refused.value.why["code"] == "invalid_address"


def test_a_local_part_beyond_ascii_needs_smtputf8():
    assert needs_smtputf8("jürgen@example.com")
    assert not needs_smtputf8("info@bücher.example")
    assert wire_address("jürgen@bücher.example", smtputf8=True) == "jürgen@xn--bcher-kva.example"
    with pytest.raises(NeedsSmtputf8) as refused:
        wire_address("jürgen@bücher.example")
    assert refused.value.why == {"code": "needs_smtputf8", "values": {"address": "jürgen@bücher.example"}}


def test_parts():
    assert domain_of("ann@XN--BCHER-KVA.example") == "bücher.example"
    assert domain_of("ann") == domain_of("ann@") == domain_of("") == ""
    assert local_part(r'"the \"boss\""@example.com') == 'the "boss"'
    assert show_address('J"ürgen', "J@xn--bcher-kva.example") == r'"J\"ürgen" <J@bücher.example>'
    assert Address("Ann", "Ann@X.com").key == "ann@x.com"
    assert str(Address("Ann", "Ann@X.com")) == '"Ann" <Ann@x.com>'


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ("=?utf-8?Q?a_b?= c", "a b c"),
        ("a =?utf-8?q?b?= =?utf-8?q?c?= d", "a bc d"),
        ("=?utf-8?q?a?=\r\n =?iso-8859-1?q?=E9?=", "aé"),
        ("=?UTF-8*de?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?b?5pc=?= =?utf-8?b?pQ==?=", "日"),
        ("=?gb2312?b?xOO6ww==?=", "你好"),
        ("Re: =?utf-8?q?x=0AY?=", "Re: x Y"),
        ("=?utf-8?b?x?=", "x"),
        ("=?broken", "=?broken"),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?unicode_escape?q?=5Cx0a?=", "\\x0a"),
    ],
)
def test_encoded_words_are_read(raw, text):
    assert decode_words(raw) == text


# --- properties

NAMES = st.text(max_size=120)
ADDRESSES = st.builds(
    "{}@{}".format,
    st.from_regex(r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True),
    st.sampled_from(["example.com", "bücher.example", "a-b.co.uk", "xn--bcher-kva.example"]),
)


@pytest.mark.heavy
@given(NAMES, ADDRESSES)
def test_a_name_never_forges_a_header_and_is_read_back(name, address):
    header = format_address(name, address)
    assert header.isascii()
    assert not set(header) & {"\r", "\n", "\x00"}
    read = email.message_from_string(f"From: {header}\n\n", policy=email.policy.default)["From"].addresses
    assert [one.addr_spec for one in read] == [wire_address(address)]
    found = parse_addresses(header)
    assert [normalise(one.address) for one in found] == [normalise(address)]
    assert parse_addresses(show_address(name, address))[0].key == found[0].key


@pytest.mark.heavy
@given(
    st.text(
        alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Zs", "Cn", "Co"]),
        max_size=200,
    )
)
def test_encoded_words_are_short_and_decode_to_what_was_given(text):
    words = encode_words(text)
    assert all(len(word) <= 60 for word in words)
    assert decode_words(" ".join(words)) == text


@given(st.text(alphabet=st.sampled_from(list("ab@.,;:<>()\"\\' \r\n\0[]=?ü\udce9")), max_size=60))
def test_no_header_raises_and_every_address_found_is_usable(header):
    for found in parse_addresses(header):
        assert normalise(found.address)
        assert format_address(found.name, found.address)


@given(st.text(max_size=30), st.text(max_size=20))
def test_a_key_is_final(local, domain):
    key = normalise(f"{local}@{domain}")
    assert key is None or normalise(key) == key
    assert key is None or key.isprintable()


@pytest.mark.heavy
@pytest.mark.parametrize(
    "noise",
    ['"\\', '"', "<", "(", "(\\", '<"\\', ",", "a@b:", "a,", "=?a?q?", " ", "<a", '"a" ', "\\", "a@b.c,", "((", ")"],
)
def test_reading_is_work_by_the_length_and_not_by_its_square(noise):
    header = "x@y.z " + noise * (300_000 // len(noise))
    with little_work():
        found = parse_addresses(header)
    assert all(normalise(one.address) for one in found)


# --- compared with the standard library

NAMES = st.text(alphabet=st.sampled_from(list('abc XYZ,.;:"\\()<>@-_äß日')), max_size=20).map(lambda name: name.strip())
LOCALS = st.from_regex(r"[a-z0-9][a-z0-9.+_-]{0,10}[a-z0-9]", fullmatch=True).filter(lambda local: ".." not in local)
MAILBOXES = st.lists(st.tuples(NAMES, LOCALS.map(lambda local: f"{local}@example.com")), min_size=1, max_size=5)


@given(MAILBOXES, st.sampled_from([", ", ",", " , ", ",\r\n\t"]))
def test_what_the_standard_library_writes_and_reads_is_read_the_same(mailboxes, comma):
    header = comma.join(formataddr(mailbox) for mailbox in mailboxes)
    standard = [(decode_words(name), address) for name, address in getaddresses([header])]
    assert [(one.name, one.address) for one in parse_addresses(header)] == standard


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Ann Lee", "Ann Lee"),
        ("A " + "long name " * 20, "A " + ("long name " * 20).strip()),  # 200 letters: nothing is cut
        ("Grüße " * 25, ("Grüße " * 25).strip()),
        ("word " * 200, ("word " * 76).strip()),
        ("日本 " * 200, ("日本 " * 96).strip()),
        ("x" * 1000, "x" * 50),
        ("", ""),
    ],
)
def test_a_name_is_shortened_at_a_word_and_only_where_it_must_be(name, kept):
    short = shorten_name(name, "ann@example.com")
    assert kept.startswith(short) and len(kept) - len(short) < 40
    assert all(len(line) <= 998 for line in format_address(short, "ann@example.com").split(" "))
    assert short == name.strip() or len(name) > 200
