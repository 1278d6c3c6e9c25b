"""Signing in with access tokens by SMTP, IMAP and POP3, as the providers speak it."""

import base64
from dataclasses import replace

import pytest

from mail.errors import MailError
from mail.sentences import say
from mail.transport.mailbox import MailboxTarget
from mail.transport.mailbox_open import open_mailbox
from mail.transport.smtp_session import SmtpSession, SmtpTarget, Transcript
from tests.servers.misbehaving import misbehaving
from tests.servers.process import HOST
from tests.servers.tokens import Tokens, TokenServer

KINDS = ("smtp", "imap", "pop3")
LONG = "L" + "o" * 2500 + "ng"


def sign_in(server: TokenServer, tokens: Tokens, host: str = HOST, transcripts: list[Transcript] | None = None) -> str:
    """Sign in to a server and return what the transcript shows, "" where there is none."""
    with misbehaving(server.talk) as port:
        if server.kind == "smtp":
            transcript = Transcript()
            (transcripts if transcripts is not None else []).append(transcript)
            target = SmtpTarget("x", host, port, auth="oauth2", user="ann@x.test", tokens=tokens, allow_local=True)
            SmtpSession(target, transcript).open().part()
            assert "ann" not in repr(tokens) and "Tokens" not in repr(target)
            return transcript.take()
        box = MailboxTarget(
            "x", server.kind, host, port, "none", "ann@x.test", auth="oauth2", tokens=tokens, allow_local=True
        )  # type: ignore[arg-type]
        with open_mailbox(box) as opened:
            assert opened.look().mails == 0
        return ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["XOAUTH2", "OAUTHBEARER", "PLAIN OAUTHBEARER XOAUTH2"])
def test_a_token_opens_the_server(kind: str, way: str) -> None:
    server = TokenServer(kind, offers=way)
    shown = sign_in(server, Tokens("fresh"))
    said = b" ".join(server.heard)
    used = "OAUTHBEARER" if way == "OAUTHBEARER" else "XOAUTH2"
    assert used.encode() in said and b"fresh" not in said
    assert base64.b64encode(b"Bearer fresh")[2:-4] not in shown.encode()
    assert kind != "smtp" or f"AUTH {used} ***" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_token_waits_until_the_server_asks_for_it(kind: str) -> None:
    server = TokenServer(kind, good=LONG)
    shown = sign_in(server, Tokens(LONG))
    command = next(line for line in server.heard if b"XOAUTH2" in line)
    assert command.endswith(b"XOAUTH2") and len(shown) < 1000
    assert all(len(line) < 512 or line.isalnum() or line.endswith(b"=") for line in server.heard)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("explains", [b'{"status":"401","scope":"mail"}', b""])
def test_a_refused_token_is_renewed_once_and_tried_again(kind: str, way: str, explains: bytes) -> None:
    tokens, server = Tokens("stale", "fresh"), TokenServer(kind, offers=way, explains=explains)
    sign_in(server, tokens)
    assert tokens.refused == ["stale"]
    assert not explains or (b"" if way == "XOAUTH2" else b"AQ==") in server.heard


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_twice_is_told_with_what_the_server_explained(kind: str) -> None:
    tokens, server = Tokens("stale", "staler", "fresh"), TokenServer(kind)
    with pytest.raises(MailError) as refused:
        sign_in(server, tokens)
    assert refused.value.why["code"] == ("token_refused" if kind == "smtp" else "mailbox_token_refused")
    assert "status 400, scope https://mail.google.com/" in say(refused.value.why)
    assert tokens.refused == ["stale"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_repeats_the_token_does_not_make_us_show_it(kind: str) -> None:
    words = base64.b64encode(b"user=ann@x.test\1auth=Bearer stale-token\1\1")
    server = TokenServer(kind, explains=b'{"status":"401 stale-token"}')
    server.refusal = (b"535 5.7.8 " if kind == "smtp" else b"") + b"stale-token " + words
    transcripts: list[Transcript] = []
    with pytest.raises(MailError) as refused:
        sign_in(server, Tokens("stale-token"), transcripts=transcripts)
    shown = "".join(one.take() for one in transcripts) + say(refused.value.why)
    assert "***" in shown and "stale-token" not in shown and words.decode() not in shown


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("explains", [b"{", b"\xff\xfe", b'["401"]', b'{"status":' * 5000, b"{}"])
def test_an_explanation_that_nobody_can_read_is_left_out(kind: str, explains: bytes) -> None:
    with pytest.raises(MailError) as refused:
        sign_in(TokenServer(kind, explains=explains), Tokens("stale"))
    assert refused.value.why["code"].endswith("token_refused")


@pytest.mark.parametrize(
    ("kind", "refusal", "code"),
    [
        ("smtp", b"454 4.7.0 Temporary authentication failure", "login_deferred"),
        ("smtp", b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
         "smtp_login_off"),
        ("smtp", b"535 5.7.3 Authentication unsuccessful [XX.eurprd01.prod.outlook.com]", "token_refused"),
        ("smtp", b"535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "token_refused"),
        ("imap", b"AUTHENTICATE failed.", "mailbox_token_refused"),
        ("imap", b"[UNAVAILABLE] Temporary authentication failure.", "mailbox_later"),
        ("imap", b"User is authenticated but not connected.", "mailbox_login_blocked"),
        ("pop3", b"Authentication failure: unknown user name or bad password.", "mailbox_token_refused"),
        ("pop3", b"[SYS/TEMP] not now", "mailbox_later"),
    ],
)  # fmt: skip
def test_what_a_server_says_to_a_token(kind: str, refusal: bytes, code: str) -> None:
    tokens = Tokens("stale")
    with pytest.raises(MailError) as refused:
        sign_in(TokenServer(kind, refusal=refusal, explains=b""), tokens)
    assert refused.value.why["code"] == code
    assert (tokens.refused == ["stale"]) == code.endswith("token_refused")  # nothing else is helped by a new token


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("token", ["", "a\1b", "a b", "a\r\nQUIT"])
def test_a_token_that_would_say_something_else_is_not_sent(kind: str, token: str) -> None:
    server = TokenServer(kind)
    with pytest.raises(MailError):
        sign_in(server, Tokens(token))
    assert not any(b"QUIT" in line and b"AUTH" in line for line in server.heard)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_takes_no_tokens_is_told_and_gets_none(kind: str) -> None:
    server = TokenServer(kind, offers="PLAIN LOGIN")
    with pytest.raises(MailError) as refused:
        sign_in(server, Tokens("fresh"))
    assert refused.value.why["code"] == "token_login_not_offered"
    assert "PLAIN" in say(refused.value.why) and not any(b"AUTH" in line for line in server.heard)


def test_two_targets_with_other_tokens_are_the_same_target() -> None:
    one = SmtpTarget("x", HOST, 25, auth="oauth2", tokens=Tokens("a"))
    assert one == replace(one, tokens=Tokens("b"))
