"""Signatures: whatever is in an email, dkimpy verifies it as it is received, and no longer when it was changed."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mail.decide.domains import Office
from mail.decide.sender import Request, decide
from mail.decide.servers import Server
from mail.mailing.template import MailingAttachment, compile_mailing
from mail.message.compose import Draft, File, compose, with_addresses, with_id
from mail.message.dkim import LONGEST_LINE, SIGNED, SigningKey, signature_headers
from mail.message.extra_headers import is_reserved
from mail.sentences import say
from mail.settings.signing import SigningKeys
from tests.signatures import KnownKey, as_received, known_key, verified

NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
RSA, ED25519 = known_key("rsa"), known_key("ed25519")
BOTH = (RSA, ED25519)
RECORDS = RSA.records | ED25519.records
HEAD = (
    b"From: Ann <ann@office.test>\r\nTo: bob@example.com\r\nSubject: Hello\r\nDate: today\r\n"
    b"Message-ID: <1@office.test>\r\n"
)


def signed(content: bytes, *keys: KnownKey) -> bytes:
    return signature_headers(content, [key.signing for key in keys]) + content


def all_verified(mail: bytes, number: int = 2) -> bool:
    return verified(as_received(mail), RECORDS) == [True] * number


LINES = st.sampled_from(["", " ", "  ", "\t", ".", "..", "a", "a  b\t c ", "From me", "x" * 998, "=20", "Grüße", "\f"])
ENDINGS = st.sampled_from(["\r\n", "\n", "\r"])


@given(st.lists(st.tuples(LINES, ENDINGS), max_size=8), st.text(max_size=40))
@example([], "")
@example([("", "\r\n"), (" ", "\r\n")], "")
@example([("a", "\r\n"), (" ", "\r\n"), ("", "\r\n")], " ")
def test_every_body_verifies(lines: list[tuple[str, str]], last: str) -> None:
    body = "".join(line + ending for line, ending in lines) + last
    assert all_verified(signed(HEAD + b"\r\n" + body.encode("utf-8", "replace"), *BOTH))


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=120)


@settings(max_examples=60)
@given(WORDS, st.text(max_size=200), WORDS, st.binary(max_size=200))
def test_every_email_that_we_compose_verifies(subject: str, text: str, name: str, data: bytes) -> None:
    draft = Draft(
        subject=subject, date=NOW, html=f"<p>{text}</p>", text=text, reply_to="reply@office.test", references=["<0@x>"],
        auto_submitted="auto-generated", attachments=[File(name, "application/pdf", data)],
    )  # fmt: skip
    content = with_addresses(
        with_id(compose(draft), "<1@office.test>"), f'"{name}" <ann@office.test>', "bob@example.com"
    )
    assert all_verified(signed(content, *BOTH))


@pytest.mark.parametrize(
    ("changed", "to"),
    [
        (b"Subject: Hello", b"Subject: Goodbye"),
        (b"Ann <ann@", b"Eve <eve@"),
        (b"bob@", b"eve@"),
        (b"Pay 10", b"Pay 99"),
        (b"To: bob", b"From: eve@office.test\r\nTo: bob"),  # a second From, which a reader might show
        (b"Pay 10 euros\r\n", b"Pay 10 euros\r\nand more\r\n"),  # l= would let it pass
        (b"From: Ann", b"From: Eve <eve@office.test>\r\nFrom: Ann"),
    ],
)
def test_what_was_changed_on_the_way_does_not_verify(changed: bytes, to: bytes) -> None:
    mail = signed(HEAD + b"\r\nPay 10 euros\r\n", *BOTH)
    assert all_verified(mail)
    assert changed in mail and verified(mail.replace(changed, to, 1), RECORDS) == [False, False]


def test_what_relays_do_on_the_way_still_verifies() -> None:
    mail = signed(HEAD + b"\r\nDear  Bob \t\r\n.\r\n\r\n\r\n", *BOTH)
    for changed, to in [
        (b"Dear  Bob \t", b"Dear Bob"),
        (b"\r\n\r\n\r\n", b"\r\n"),
        (b"Subject: Hello", b"SUBJECT:  Hello "),
    ]:
        assert changed in mail
        mail = mail.replace(changed, to, 1)
    assert all_verified(b"Received: by relay\r\n" + mail)


def test_each_header_that_is_signed_is_ours_to_write() -> None:
    """An extra header of a server of that name would come in front of ours, unsigned or instead of it."""
    assert not [name for name in SIGNED if not is_reserved(name.decode())]


def test_the_header_of_a_signature_is_well_formed() -> None:
    long = "x" * 63
    key = SigningKey(f"{long}.{long}.example.com", "coqui2611ab", "rsa", RSA.signing.sign)
    header = signature_headers(HEAD + b"References: <1@a>\r\nList-Unsubscribe: <a>\r\n\r\nHello", [key])
    assert header.endswith(b"\r\n") and header.isascii() and b"l=" not in header.replace(b"rel", b"")
    assert all(line[:1] == b" " for line in header.split(b"\r\n")[1:-1])
    folded = [line for line in header.split(b"\r\n") if b" d=" not in line]
    assert all(len(line) <= LONGEST_LINE for line in folded), header
    assert b"From:From;" in header.replace(b"\r\n ", b"")


# --- mailings: the same signatures, over parts that were made ready once

HTML = (
    '<html><head><style>p  {{ margin:  0 }}</style></head><body>\n\t<h1>Dear  {{{{ contact.name or "friend" }}}}</h1>\n'
    "<p>.\n.. {field}  {{{{ contact.email }}}} "
    "<a href='https://office.test/{{{{ contact.company }}}}?a=1&b=2'>x</a> \n</p>"
    "{more}</body></html>\n\n\n"
)
FILE = MailingAttachment("Prüfung.pdf", "application/pdf", bytes(range(256)) * 30)


@settings(max_examples=80)
@given(WORDS, WORDS, WORDS, WORDS, st.booleans())
@example("Ann", "a  b", "..", " From  me\t", True)
@example("", "", "", "", False)
def test_each_email_of_a_mailing_verifies(
    name: str, company: str, words: str, subject: str, unsubscribes: bool
) -> None:
    words = words.replace("{", "(")
    mailing = compile_mailing(
        subject=subject.replace("{", "(") + " {{ contact.name }}",
        html=HTML.format(field='{{ contact.first_name or "  you " }}', more=words),
        from_header='"Büro  News" <news@office.test>',
        reply_to="reply@office.test",
        list_id="list-1.office.test",
        feedback_id="1:list-1:mailing:office.test",
        attachments=[FILE] if unsubscribes else [],
    )
    more = (
        {"unsubscribe_url": "https://office.test/u/t1", "unsubscribe_mailto": "c@office.test"} if unsubscribes else {}
    )

    def rendered(keys: tuple[KnownKey, ...]) -> bytes:
        return mailing.render(
            {"contact.name": name, "contact.company": company, "contact.email": "ann@example.com"},
            to_address="ann@example.com", to_name=name, message_id="<t1@office.test>", own_id="t1",
            date="Sat, 28 Nov 2026 09:30:00 +0000", keys=[key.signing for key in keys], **more,
        )  # fmt: skip

    mail = rendered(BOTH)
    assert all_verified(mail)
    assert mail == signed(rendered(()), *BOTH), "the two ways to sign are one"
    if unsubscribes:
        assert b"List-Unsubscribe-Post:List-Unsubscribe:" in mail.replace(b"\r\n ", b"")


# --- who signs

ACME = Server(1, "one", filters=("acme.com", "news.acme.com", "other.com"))
SIGNING = Office("notifications", "acme.com", signing=frozenset({"acme.com", "bücher.example"}))


@pytest.mark.parametrize(
    ("sender", "server", "office", "domain", "words"),
    [
        ("ann@acme.com", ACME, SIGNING, "acme.com", ["The email is signed for acme.com (DKIM)."]),
        ("ann@news.acme.com", ACME, SIGNING, "acme.com",
         ["The email is signed for acme.com (DKIM), because news.acme.com has no key of its own."]),
        ("ann@other.com", ACME, SIGNING, "",
         ["The email is not signed (DKIM): no key of other.com is in use."]),
        # as it is sent: under the default address
        ("ann@home.net", ACME, SIGNING, "acme.com", ["The email is signed for acme.com (DKIM)."]),
        ("ann@acme.com", Server(1, "SES", signs_itself=True), SIGNING, "",
         ["CoquiMail does not sign the email (DKIM): “SES” signs emails itself."]),
        ("ann@acme.com", ACME, Office("notifications", "acme.com"), "", []),
        ("info@xn--bcher-kva.example", Server(1, "one", filters=("bücher.example",)), SIGNING, "bücher.example",
         ["The email is signed for bücher.example (DKIM)."]),
    ],
)  # fmt: skip
def test_the_decision_says_which_domain_signs(sender, server, office, domain, words) -> None:
    decision = decide(Request(sender), [server], office)
    assert decision.dkim == domain
    assert [say(step) for step in decision.steps if step["code"].startswith("dkim_")] == words


def test_the_keys_go_by_the_from_that_is_sent() -> None:
    keys = SigningKeys({"acme.com": (RSA.signing,), "bücher.example": (ED25519.signing,)})
    assert keys.of_sender('"Ann" <ann@news.acme.com>') == (RSA.signing,)
    assert keys.of_sender("info@bücher.example") == (ED25519.signing,)
    assert keys.of_sender("ann@notacme.com") == keys.of_sender("nobody") == SigningKeys().of_sender("a@acme.com") == ()
