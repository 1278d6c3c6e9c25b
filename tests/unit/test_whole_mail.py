"""From what people type to the bytes on the wire and back: nothing breaks out, all is read as meant."""

import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.decide.domains import MailDomain, Office, TypeAlias
from mail.decide.sender import Decision, Request, decide
from mail.decide.servers import Server, parse_filter
from mail.decide.verp import bounce_address_of
from mail.errors import MailError
from mail.message.address import needs_smtputf8, normalise, parse_addresses, shorten_name, show_address
from mail.message.compose import Draft, compose, header, with_addresses, with_id
from mail.message.extra_headers import encoded_headers, read_headers
from mail.message.parse import parse
from mail.message.words import one_line
from mail.sentences import say
from mail.transport.smtp_envelope import envelope, on_the_wire
from mail.transport.smtp_session import SmtpSession, SmtpTarget

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
OURS = Server(1, "ours", filters=parse_filter("office.test, bücher.example"))
ONE_ADDRESS = Server(2, "one", filters=parse_filter("notifications@office.test"))
OPEN = Server(3, "open")
SECOND = MailDomain.of("bücher.example", bounce="bounce", catchall="catchall", default_from="post")

NASTY = st.text(
    alphabet=st.sampled_from(list("aB@<>\"'\\,;:=?_.% \t\r\n\0\x0b\x85\u2028\u202eü日😀\ud800-")), max_size=80
)
ANY = st.one_of(st.text(max_size=120), NASTY)
LOCALS = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
DOMAINS = st.sampled_from(["office.test", "bücher.example", "xn--bcher-kva.example", "home.net", "a-b.co.uk"])
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS)
SENDERS = st.one_of(
    ANY, ADDRESSES, st.builds(show_address, ANY, ADDRESSES), st.builds("{} <{}>".format, ANY, ADDRESSES),
    st.builds("{}, {}".format, ANY, ADDRESSES),
)  # fmt: skip
REQUESTS = st.builds(
    Request, SENDERS, reply_to=SENDERS, return_path=st.one_of(st.just(""), st.just("<>"), ANY, ADDRESSES),
    document=st.one_of(st.none(), ANY), aliases=st.sampled_from([(), (TypeAlias("sales@office.test"),)]),
)  # fmt: skip
OFFICES = st.builds(
    Office, default_from=st.sampled_from(["", "notifications", "info@office.test"]),
    catchall_domain=st.sampled_from(["office.test", "bücher.example", ""]), company=ANY, verp=st.booleans(),
    domains=st.sampled_from([(), (SECOND,)]),
)  # fmt: skip
SERVERS = st.lists(st.sampled_from([OURS, ONE_ADDRESS, OPEN]), min_size=1, unique=True)
KNOWN = {
    "From", "To", "Date", "Message-ID", "In-Reply-To", "References", "X-CoquiMail-Id", "Subject", "Reply-To",
    "X-Auto-Response-Suppress", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "X-Tag",
}  # fmt: skip


@pytest.mark.heavy
@given(REQUESTS, OFFICES, SERVERS, ANY, ANY, ADDRESSES, ANY, ANY)
def test_a_mail_reads_as_it_was_meant(request, office, servers, subject, to_name, to_address, reference, tag):
    decision = decide(request, servers, office)
    assert all("%(" not in say(one) for one in (*decision.steps, *decision.warnings))
    if decision.failure:
        assert say(decision.failure) and not decision.from_after
        return
    headers = f"X-Tag: {tag}"
    wrong = read_headers(headers)[1]
    if wrong:
        assert say(wrong)
        headers = ""
    draft = Draft(
        subject=subject, date=NOW, html="<p>Hello</p>", reply_to=decision.reply_to, references=[reference],
        suppress_auto_replies=True,
    )  # fmt: skip
    content = with_id(compose(draft), "<id1@office.test>")
    content = with_addresses(content, decision.from_after, show_address(to_name, to_address))
    content = header("X-CoquiMail-Id", "token") + encoded_headers(headers) + content

    assert_the_envelope(decision, to_address, content)
    whole = b"".join(on_the_wire(content))
    assert whole.count(b"\r\n") == whole.count(b"\n") == whole.count(b"\r")
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    if decision.smtputf8 or not content.isascii():
        assert any(
            needs_smtputf8(one.address) for one in parse_addresses(decision.from_after + "," + decision.reply_to)
        )
        return
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert set(message.keys()) <= KNOWN
    assert len(message.keys()) == len(set(message.keys()))
    assert not message.defects

    read = parse(content, NOW)
    (sent_as,) = parse_addresses(decision.from_after)
    assert read.from_ is not None
    assert read.from_.key == sent_as.key == normalise(message["From"].addresses[0].addr_spec)
    assert read.from_.name == shorten_name(sent_as.name, sent_as.address)
    assert read.to == [normalise(to_address)]
    assert read.subject == str(message["Subject"]) == one_line(subject)[: len(read.subject)]
    assert [one.key for one in parse_addresses(decision.reply_to)] == [
        normalise(one.addr_spec) for one in (message["Reply-To"].addresses if message["Reply-To"] else ())
    ]


def assert_the_envelope(decision: Decision, to_address: str, content: bytes) -> None:
    """Check that the commands of the envelope hold one address each, or that the mail fails with a reason."""
    session = SmtpSession(SmtpTarget("x", "mail.test", 25, "none"), None)
    session.esmtp_features = {"smtputf8": "", "8bitmime": ""}
    sender = bounce_address_of(decision.envelope_sender, "b" * 40)
    try:
        commands = envelope(session, sender, to_address, content)
    except MailError as error:
        raise AssertionError(say(error.why)) from error
    for command, address in zip(commands, (sender, to_address), strict=True):
        assert command.count(b"\r") == command.count(b"\n") == 1 and command.endswith(b"\r\n")
        assert command.count(b"<") == command.count(b">") == 1
        assert command.split(b"<")[1].split(b">")[0].decode() == address
