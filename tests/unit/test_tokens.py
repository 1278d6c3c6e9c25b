"""Tokens: nobody but us can make one, every mail server can carry one, and old ones stay readable."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.settings.tokens import ALPHABET, EXPIRING, MAX_LENGTH, MAX_NUMBER, Named, TokenKind, Tokens
from tests.effort import little_work

KEY, OTHER = b"the secret of this office", b"the secret of another one"
TOKENS = Tokens({"a": KEY})
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SOON = NOW + timedelta(days=7)
LASTING = [kind for kind in TokenKind if kind not in EXPIRING]


def make(kind: TokenKind, number: int) -> str:
    return TOKENS.make(kind, number, SOON if kind in EXPIRING else None)


@given(kind=st.sampled_from(list(TokenKind)), number=st.integers(0, MAX_NUMBER))
def test_what_is_made_can_be_read_in_any_case(kind, number):
    token = make(kind, number)
    assert set(token) <= set(ALPHABET)
    assert len(token) <= MAX_LENGTH == 40
    for carried in (token, token.upper(), token.title()):
        assert TOKENS.read(carried, NOW) == Named(kind, number)


def test_a_token_is_the_same_every_time_and_for_no_other_row():
    made = {(kind, number): make(kind, number) for kind in TokenKind for number in (0, 1, 31, 32, 1023, 1024, 2**40)}
    assert made == {(kind, number): make(kind, number) for kind, number in made}
    assert len(set(made.values())) == len(made)


def test_the_signature_has_80_bits_and_depends_on_the_key():
    ours, theirs = TOKENS.make(TokenKind.TRACE, 1), Tokens({"a": OTHER}).make(TokenKind.TRACE, 1)
    assert ours[:-16] == theirs[:-16] == "tab"
    assert len(ours[-16:]) * 5 == 80
    assert ours[-16:] != theirs[-16:]
    assert TOKENS.read(theirs) is None


def test_every_single_changed_character_is_noticed():
    token = TOKENS.make(TokenKind.UNSUBSCRIBE, 123_456)
    for place, right in enumerate(token):
        for wrong in set(ALPHABET) - {right}:
            assert TOKENS.read(token[:place] + wrong + token[place + 1 :]) is None


@pytest.mark.parametrize(
    "token",
    ["", "t", "ta", "tab", "a" * 19, "a" * 40, "a" * 41, "t" * 1000, "ta1" + "a" * 16, "tä" + "a" * 20,
     "ta\n" + "a" * 16, TOKENS.make(TokenKind.TRACE, 1)[:-1], TOKENS.make(TokenKind.TRACE, 1) + "a",
     " " + TOKENS.make(TokenKind.TRACE, 1),
     "ta" + "a" + TOKENS.make(TokenKind.TRACE, 1)[2:], "K" * 20, "\u212a" * 20],
)  # fmt: skip
def test_what_is_no_token(token):
    assert TOKENS.read(token, NOW) is None


@given(st.text(max_size=60))
def test_nothing_read_from_outside_raises(text):
    assert TOKENS.read(text, NOW) is None
    assert TOKENS.from_references(text) == []


def test_keys_are_rotated_without_losing_old_links():
    old = Tokens({"a": KEY})
    both, new = Tokens({"b": OTHER, "a": KEY}), Tokens({"b": OTHER})
    assert both.make(TokenKind.POST, 7) == new.make(TokenKind.POST, 7)
    assert both.read(old.make(TokenKind.POST, 7)) == Named(TokenKind.POST, 7)
    assert new.read(old.make(TokenKind.POST, 7)) is None


@pytest.mark.parametrize("keys", [{}, {"A": KEY}, {"ab": KEY}, {"1": KEY}, {"": KEY}, {"a": b"short"}])
def test_unusable_keys_are_refused(keys):
    with pytest.raises(ValueError, match="key"):
        Tokens(keys)


@pytest.mark.parametrize("kind", sorted(EXPIRING))
@pytest.mark.parametrize(
    ("later", "read"),
    [
        (timedelta(0), True),
        (timedelta(days=7, seconds=-1), True),
        (timedelta(days=7), False),
        (timedelta(days=700), False),
    ],
)
def test_tokens_that_expire(kind, later, read):
    token = TOKENS.make(kind, 9, expires_at=SOON)
    assert TOKENS.read(token, NOW + later) == (Named(kind, 9) if read else None)
    assert TOKENS.read(token) is None  # without a clock nobody can say that it is still good


def test_an_expiry_can_not_be_moved():
    early, late = TOKENS.make(TokenKind.LOGIN, 9, NOW), TOKENS.make(TokenKind.LOGIN, 9, SOON)
    assert TOKENS.read(late[:-16] + early[-16:], NOW) is None


@pytest.mark.parametrize("kind", LASTING)
def test_tokens_in_old_mails_never_expire(kind):
    token = TOKENS.make(kind, 9)
    assert TOKENS.read(token) == TOKENS.read(token, NOW + timedelta(days=3650)) == Named(kind, 9)
    assert TOKENS.maker(kind)(9) == token


def test_expiry_and_kind_belong_together():
    with pytest.raises(ValueError, match="need expiry"):
        TOKENS.make(TokenKind.LOGIN, 1)
    with pytest.raises(ValueError, match="have no expiry"):
        TOKENS.make(TokenKind.TRACE, 1, SOON)
    with pytest.raises(ValueError, match="need expiry"):
        TOKENS.maker(TokenKind.LOGIN)


@pytest.mark.parametrize("number", [-1, MAX_NUMBER + 1])
def test_numbers_that_are_no_ids(number):
    with pytest.raises(ValueError, match="63 bits"):
        TOKENS.make(TokenKind.TRACE, number)


def test_message_ids():
    ours = TOKENS.message_id(TokenKind.TRACE, 456, "mycompany.test")
    assert ours == f"<{TOKENS.make(TokenKind.TRACE, 456)}@mycompany.test>"
    for header in (ours, ours.upper(), f"  {ours}\r\n", ours.strip("<>"), ours.replace("mycompany", "relay")):
        assert TOKENS.from_message_id(header) == Named(TokenKind.TRACE, 456)
    for header in (
        "",
        "<>",
        "<CAF=x@mail.example.com>",
        "<" + "a" * 19 + "@x>",
        f"x{ours[1:]}",
        ours.replace("@", "."),
    ):
        assert TOKENS.from_message_id(header) is None


def test_references_in_their_order():
    first, second = TOKENS.message_id(TokenKind.POST, 1, "a.test"), TOKENS.message_id(TokenKind.MAIL, 2, "a.test")
    header = f"<CAF123@mail.example.com>\r\n {first}\r\n\t<x@y.test> {second.upper()}"
    assert TOKENS.from_references(header) == [Named(TokenKind.POST, 1), Named(TokenKind.MAIL, 2)]


def test_a_long_references_header_costs_little():
    header = " ".join(f"<{'a' * 40}{number}@x.test>" for number in range(20_000)) + "a2" * 200_000
    with little_work():
        assert TOKENS.from_references(header) == []
