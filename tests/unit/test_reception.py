"""Whose recipients a listener takes, and where a provider must redirect our addresses to."""

from datetime import UTC, datetime

import pytest

from mail.decide.facts import AddressBook, AliasRule, Facts, look_up
from mail.decide.outcomes import Ignored
from mail.decide.reception import Reception, Standing
from mail.decide.routing import route
from mail.incoming.push import LONGEST_ADDRESS, PushedMail, _as_fetched
from mail.message.parse import parse

BOOK = AddressBook(
    [
        AliasRule(1, "sales@first.test", type_id=1),
        AliasRule(2, "shop@second.test", type_id=3, one_domain=True),
        AliasRule(3, "info@first.test", type_id=1, any_domain=True),
        AliasRule(10, "catchall@first.test", "catchall", one_domain=True),
        AliasRule(11, "bounce@first.test", "bounce", one_domain=True),
        AliasRule(20, "sales@former.test", type_id=1, one_domain=True, retired=True),
    ],
    own=["notifications@first.test"],
    domains=["first.test", "second.test", "bücher.example"],
)
AT_HOME = Reception(BOOK, "first.test")
HOSTED = Reception(BOOK, "first.test", "office7.host.test")
NEW = Reception(AddressBook([]), "", "office7.host.test")


@pytest.mark.parametrize(
    ("recipient", "standing"),
    [
        ("sales@first.test", Standing.KNOWN),
        ("SALES@First.Test", Standing.KNOWN),
        ("sales@second.test", Standing.KNOWN),
        ("bounce+ta2bc@first.test", Standing.KNOWN),
        ("catchall@first.test", Standing.KNOWN),
        ("notifications@first.test", Standing.KNOWN),
        ("sales@former.test", Standing.KNOWN),
        ("shop@xn--bcher-kva.example", Standing.UNKNOWN),
        ("nobody@first.test", Standing.UNKNOWN),
        ("nobody@former.test", Standing.UNKNOWN),
        ("postmaster", Standing.KNOWN),
        ("postmaster@second.test", Standing.KNOWN),
        ("info@elsewhere.test", Standing.KNOWN),  # of any domain
        ("sales@elsewhere.test", Standing.FOREIGN),
        ("sales@sub.first.test", Standing.FOREIGN),
        ("sales@first.test.", Standing.KNOWN),
        ("sales%elsewhere.test@first.test", Standing.UNKNOWN),  # kept, never passed on
        ("elsewhere.test!sales@first.test", Standing.UNKNOWN),
        ('"sales@elsewhere.test"@first.test', Standing.UNKNOWN),
        ("sales@elsewhere.test@first.test", Standing.FOREIGN),
        ("@first.test:sales@elsewhere.test", Standing.FOREIGN),
        ("sales@[127.0.0.1]", Standing.FOREIGN),
        ("sales@office7.host.test", Standing.FOREIGN),
        ("", Standing.FOREIGN),
        ("@", Standing.FOREIGN),
    ],
)
def test_only_mail_to_our_domains_is_taken(recipient: str, standing: Standing) -> None:
    assert AT_HOME.standing(recipient) is standing


@pytest.mark.parametrize(
    ("recipient", "ours"),
    [
        ("sales@office7.host.test", "sales@first.test"),
        ("bounce+ta2bc@office7.host.test", "bounce+ta2bc@first.test"),
        ("shop=second.test@office7.host.test", "shop@second.test"),
        ("a=b=second.test@office7.host.test", "a=b@second.test"),
        ("shop=bücher.example@office7.host.test", "shop@bücher.example"),
        ("a=elsewhere.test@office7.host.test", "a=elsewhere.test@first.test"),
        ("=second.test@office7.host.test", "=second.test@first.test"),
        ("sales@second.test", "sales@second.test"),
        ("sales@other7.host.test", ""),
    ],
)
def test_mail_to_the_receiving_domain_is_mail_to_the_office(recipient: str, ours: str) -> None:
    assert HOSTED.ours(recipient) == ours
    assert Reception(BOOK, "first.test", "first.test").ours("sales@first.test") == "sales@first.test"
    assert NEW.ours("sales@office7.host.test") == ""


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("sales@first.test", "sales@office7.host.test"),
        ("shop@second.test", "shop=second.test@office7.host.test"),
        ("shop@bücher.example", "shop=xn--bcher-kva.example@office7.host.test"),
        ("sales@office7.host.test", ""),
    ],
)
def test_where_an_address_is_redirected_to(address: str, target: str) -> None:
    assert HOSTED.target_of(address) == target
    assert not target or HOSTED.ours(target) == address
    assert AT_HOME.target_of(address) == ""


RELAYED = b"Received: from a by b id 7; Mon, 23 Nov 2026 09:00:00 +0100\nFrom: ann@home.test\n\nHello\n"
BARE = b"From: ann@home.test\n\nReceived: in the text\n"


@pytest.mark.parametrize(
    ("mail", "header"),
    [
        (PushedMail(BARE), b""),
        (PushedMail(BARE, "", ("a@b.test",)), b"Return-Path: <>\nDelivered-To: a@b.test\n"),
        (PushedMail(BARE.replace(b"\n", b"\r\n"), "c@d.test"), b"Return-Path: <c@d.test>\r\n"),
        (PushedMail(BARE, "c@d>\r\nBcc: x", ()), b"Return-Path: <c@dBcc:x>\n"),
        (PushedMail(BARE, "x" * 2000), b"Return-Path: <" + b"x" * LONGEST_ADDRESS + b">\n"),
        (PushedMail(b"From c@d.test Mon Nov 23 09:00:00 2026\n" + BARE), b"Return-Path: <c@d.test>\n"),
        (PushedMail(b"From MAILER-DAEMON Mon Nov 23 09:00:00 2026\n" + BARE), b"Return-Path: <>\n"),
        (PushedMail(b"From root Mon Nov 23 09:00:00 2026\n" + BARE), b""),
        (PushedMail(b"From c@d.test Mon Nov 23 2026\n" + BARE, "e@f.test"), b"Return-Path: <e@f.test>\n"),
        (PushedMail(BARE, received="Received: by us"), b"Received: by us\n"),
    ],
)
def test_the_envelope_is_kept_above_the_header(mail: PushedMail, header: bytes) -> None:
    body = BARE if b"\r\n" not in mail.content else BARE.replace(b"\n", b"\r\n")
    assert _as_fetched(mail).raw == header + body


def test_a_delivery_that_is_tried_again_is_the_same_one() -> None:
    first = PushedMail(RELAYED, "ann@home.test", ("a@b.test",), received="Received: at 9:00")
    again = PushedMail(RELAYED, "ann@home.test", ("a@b.test",), received="Received: at 9:05")
    assert _as_fetched(first).source_key == _as_fetched(again).source_key
    for other in (
        PushedMail(RELAYED, "ann@home.test", ("c@b.test",)),
        PushedMail(RELAYED, "", ("a@b.test",)),
        PushedMail(RELAYED + b"!", "ann@home.test", ("a@b.test",)),
    ):
        assert _as_fetched(other).source_key != _as_fetched(first).source_key
    assert _as_fetched(PushedMail(BARE)).source_key != _as_fetched(PushedMail(BARE)).source_key
    assert _as_fetched(first).arrived is not None and _as_fetched(PushedMail(BARE)).arrived is None


def test_of_a_test_of_the_listener_nothing_is_made() -> None:
    raw = (
        b"From: catchall@first.test\nTo: catchall@first.test\nMessage-ID: <t@first.test>\nX-CoquiMail-Id: t\n\nHello\n"
    )
    mail = parse(raw, datetime(2026, 11, 28, tzinfo=UTC))
    routing = route(mail, look_up(mail, BOOK), Facts(book=BOOK, arrivals=frozenset({"t"})))
    assert [type(one) for one in routing.outcomes] == [Ignored]
    assert routing.steps[-1]["code"] == "route_listener_test"
    assert route(mail, look_up(mail, BOOK), Facts(book=BOOK)).steps[-1]["code"] != "route_listener_test"
