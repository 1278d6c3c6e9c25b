"""Programs that answer: people who are away are nobody's failure, and two programs and we do not write for ever."""

from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import func, select

from mail.settings import office
from mail.settings.tokens import TokenKind
from models import AddressHealth, BlacklistedAddress, Bounce, Recipient, db
from tests.integration.frontdesk import DOMAIN, FrontDesk, SentMail, mail
from tests.unit.test_automatic_answers import FILES, SAYS_SO

CATCHALL = f"catchall@{DOMAIN}"
ANN, BOB = "ann@customer.test", "bob@partner.test"


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


def thread(desk: FrontDesk, *followers: str) -> tuple[int, SentMail]:
    """A document with these followers, and what a user wrote to them."""
    document = desk.document(followers=[desk.contact(address) for address in followers])
    post = desk.post(desk.user("Clerk"), document.thread_id)
    desk.mark_sent()
    return document.thread_id, desk.sent(post_id=post.id)[0]


@pytest.mark.heavy
def test_who_is_away_is_no_failure_not_even_at_a_unique_bounce_address(desk: FrontDesk) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", "0")
    thread_id, sent = thread(desk, ANN)
    with desk.app.app_context():
        token = office.tokens().make(TokenKind.LINE_BOUNCE, sent.lines[ANN])
    whole = [file.read_bytes() for file in FILES]
    bare = [SAYS_SO.sub(b"", raw).replace(b"Message-ID: <auto", b"Message-ID: <bare") for raw in whole]
    raws = [
        raw.replace(b"bounce+a2b3c4@mycompany.test", f"bounce+{token}@{DOMAIN}".encode())
        .replace(b"<n1@mycompany.test>", sent.message_id.encode())
        .replace(b"Tue, 3 Nov", b"Sun, 22 Nov")
        for raw in (*whole, *bare)
    ]
    to, text = f"bounce+{token}@{DOMAIN}", "Spam Arrest: confirm that you are a person"
    *rows, challenged = desk.receive(*raws, mail(f"Mail System <{ANN}>", to, "Confirm", text, Return_Path="<>"))
    assert {row.state for row in (*rows, challenged)} == {"processed"} and challenged.result == "challenge"
    assert Counter(row.result for row in rows[: len(whole)]) == {"auto_reply": len(whole)}
    posts = desk.posts(thread_id)
    assert len(posts) == 1 + 2 * len(whole) - 2 + 1, "two machines without a header are recorded, and blame nobody"
    assert [one for one in desk.sent() if one.id > sent.id and one.to == {ANN}] == [], "nobody answered a machine"
    with desk.app.app_context():
        assert db.session.scalars(select(Recipient.state).where(Recipient.id == sent.lines[ANN])).all() == ["sent"]
        assert db.session.scalar(select(func.count(Bounce.id)).where(Bounce.address_key.is_not(None))) == 0
        assert db.session.scalars(select(BlacklistedAddress.address_key)).all() == []
        assert db.session.scalars(select(AddressHealth.address_key)).all() == []


# --- loops


def answering(desk: FrontDesk, answer: Callable[[SentMail, str], bytes], *machines: str) -> int:
    """Let the mailboxes of these addresses answer each mail that they get until nothing comes; return how often."""
    answered: set[tuple[int, str]] = set()
    while len(answered) < 200:
        new = [
            (sent, address)
            for sent in desk.sent()
            for address in machines
            if address in sent.to and (sent.id, address) not in answered
        ]
        if not new:
            break
        answered |= {(sent.id, address) for sent, address in new}
        desk.receive(*(answer(sent, address) for sent, address in new))
    return len(answered)


def politely(sent: SentMail, address: str) -> bytes:
    """What a program answers that knows the rules (RFC 3834)."""
    away = {"Auto_Submitted": "auto-replied", "Return_Path": "<>"}
    return mail(address, sent.reply_to or CATCHALL, f"Re: {sent.subject}", "Away.", answers=[sent.message_id], **away)


def rudely(sent: SentMail, address: str) -> bytes:
    """What a program answers that shows by nothing that it is one."""
    return mail(address, sent.reply_to or CATCHALL, f"Re: {sent.subject}", "We got it!", answers=[sent.message_id])


def without_ids(sent: SentMail, address: str) -> bytes:
    """What a program answers that forgets what it answers."""
    return mail(address, CATCHALL, "Thank you for your email", "We got it!")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("answer", "most", "states"),
    [
        (politely, 2, Counter(processed=2)),
        # Each answer of one goes to the other: four of each get in, then they are told once, and answer that too.
        (rudely, 14, Counter(processed=8, rejected=2, ignored=2, quarantined=0)),
    ],
)
def test_two_machines_in_one_thread_end_by_themselves(
    desk: FrontDesk, answer: Callable[[SentMail, str], bytes], most: int, states: Counter[str]
) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", "4")
    thread(desk, ANN, BOB)
    assert answering(desk, answer, ANN, BOB) <= most
    assert desk.states() == +states
    assert desk.states().total() == len(desk.ledger())


@pytest.mark.heavy
@pytest.mark.parametrize(("answer", "rejected"), [(politely, 1), (rudely, 1), (without_ids, 4)])
def test_a_machine_that_answers_our_rejections_ends_by_itself(
    desk: FrontDesk, answer: Callable[[SentMail, str], bytes], rejected: int
) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", "4")
    desk.receive(mail(ANN, CATCHALL))
    assert answering(desk, answer, ANN) == rejected
    assert desk.states() == Counter(rejected=rejected, ignored=1)
    assert len(desk.sent(kind="rejection")) == rejected
