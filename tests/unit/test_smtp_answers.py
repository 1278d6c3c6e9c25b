"""What servers mean when they say no: real answers of many servers, and the sentence that explains each."""

import pytest

from mail.errors import (
    EncryptionWanted,
    GreetingDeferred,
    GreetingRefused,
    LoginDeferred,
    LoginNotOffered,
    LoginRefused,
    TooManyConnections,
)
from mail.sentences import say
from mail.transport.smtp_answers import (
    greeting_refused,
    login_refused,
    parts_of,
    reason_of,
    speaks_of_connections,
    speaks_of_session,
)


@pytest.mark.parametrize(
    ("at", "reply", "code"),
    [
        # the address is wrong
        ("rcpt", "550 5.1.1 <ann@x.test>: Recipient address rejected: User unknown in local recipient table",
         "recipient_refused"),
        ("rcpt", "550 5.1.1 The email account that you tried to reach does not exist.", "recipient_refused"),
        ("rcpt", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
         "recipient_refused"),
        ("rcpt", "550 No such user here", "recipient_refused"),
        ("rcpt", "550 5.1.2 Bad destination domain", "recipient_refused"),
        ("rcpt", "550", "recipient_refused"),
        # it is right, something else is not
        ("rcpt", "550 5.7.1 Recipient policy forbids this", "recipient_forbidden"),
        ("rcpt", "550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", "blocked_by_list"),
        ("rcpt", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
         "blocked_by_list"),
        ("rcpt", "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Part of their network is on our "
         "block list (S3150).", "blocked_by_list"),
        ("rcpt", "554 5.7.1 <ann@x.test>: Relay access denied", "relay_denied"),
        ("rcpt", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "relay_denied"),
        ("rcpt", "550-5.7.26 Unauthenticated email from x.test is not accepted due to domain's DMARC policy.",
         "blocked_without_proof"),
        ("rcpt", "550 5.7.23 The message was rejected because of Sender Policy Framework violation",
         "blocked_without_proof"),
        ("rcpt", "552 5.2.2 <ann@x.test>: user is over quota", "mailbox_full"),
        ("rcpt", "550 5.2.1 The mailbox is disabled", "recipient_disabled"),
        ("rcpt", "553 5.7.1 <me@x.test>: Sender address rejected: not owned by user me", "sender_refused"),
        ("rcpt", "530 5.7.0 Authentication required", "login_wanted"),
        ("rcpt", "550 5.4.5 Daily user sending limit exceeded", "sending_limit"),
        # at MAIL it is about us
        ("mail", "550 5.7.1 You may not send as this address", "sender_refused"),
        ("mail", "530 5.7.57 Client not authenticated to send mail", "login_wanted"),
        ("mail", "530 5.7.0 Must issue a STARTTLS command first", "encryption_wanted"),
        ("mail", "552 5.3.4 Message size exceeds fixed limit", "too_large_there"),
        ("mail", "553 5.6.7 SMTPUTF8 is not supported", "needs_smtputf8_there"),
        ("mail", "550", "sender_refused"),
        # the content
        ("end", "554 5.7.1 Spam message rejected", "blocked_as_spam"),
        ("end", "550 5.7.0 This message was blocked because its content presents a potential security issue: virus",
         "blocked_as_spam"),
        ("end", "552 5.3.4 Message too big", "too_large_there"),
        ("end", "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "sender_refused"),
        ("end", "554 Transaction failed", "refused"),
        # not now
        ("rcpt", "450 4.2.0 <ann@x.test>: Recipient address rejected: Greylisted, see http://postgrey.example",
         "greylisted"),
        ("rcpt", "452 4.2.2 The email account that you tried to reach is over quota", "mailbox_full_now"),
        ("rcpt", "450 4.7.28 Our system has detected an unusual rate of unsolicited mail", "sending_limit_now"),
        ("rcpt", "451 4.7.1 Please slow down", "sending_limit_now"),
        ("mail", "421 4.7.0 Too many concurrent SMTP connections; please try again later.", "too_many_connections"),
        ("mail", "452 4.4.5 Maximum number of messages per session exceeded", "session_full"),
        ("rcpt", "451 4.3.0 Temporary lookup failure", "deferred"),
        ("end", "452 4.3.1 Insufficient system storage", "deferred"),
    ],
)  # fmt: skip
def test_the_sentence_names_the_cause(at, reply, code):
    reason = reason_of(at, parts_of(reply.encode()), "me@x.test", "ann@x.test", "mx.test")
    assert reason["code"] == code
    assert "?" not in say(reason).replace(reply, "")
    wrong_address = "Check the address" in say(reason)
    assert wrong_address == (code == "recipient_refused")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("421 4.7.0 Too many connections from your IP", TooManyConnections),
        ("421 4.3.2 Too many concurrent sessions", TooManyConnections),
        ("421 mx.test: maximum of 1 simultaneous connections exceeded", TooManyConnections),
        ("554 5.7.0 Connection limit exceeded, only 2 allowed", TooManyConnections),
        ("421 4.3.0 Service not available, closing", GreetingDeferred),
        ("450 4.3.2 Please try again later", GreetingDeferred),
        ("554 5.7.1 Your address is on a block list", GreetingRefused),
        ("554 No SMTP service here", GreetingRefused),
    ],
)
def test_a_greeting_speaks_of_block_lists_only_when_it_is_final(reply, error):
    found = greeting_refused("mx.test", parts_of(reply.encode()))
    assert type(found) is error
    assert ("blocklist" in say(found.why).replace(reply, "")) == (error is GreetingRefused)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("535 5.7.8 Authentication credentials invalid", LoginRefused),
        ("534 5.7.9 Application-specific password required", LoginRefused),
        ("432 4.7.12 A password transition is needed", LoginRefused),
        ("454 4.7.0 Temporary authentication failure", LoginDeferred),
        ("451 4.3.0 Try later", LoginDeferred),
        ("421 4.7.0 Too many login attempts, try again later", LoginDeferred),
        ("421 4.7.0 Too many concurrent connections", TooManyConnections),
        ("538 5.7.11 Encryption required for requested authentication mechanism", EncryptionWanted),
        ("530 5.7.0 Must issue a STARTTLS command first", EncryptionWanted),
        ("504 5.5.4 Unrecognized authentication type", LoginNotOffered),
        ("502 5.5.1 Command not implemented", LoginNotOffered),
    ],
)
def test_a_login_asks_for_the_password_only_when_that_is_wrong(reply, error):
    found = login_refused("mx.test", "clerk", parts_of(reply.encode()), "PLAIN")
    assert type(found) is error
    assert ("Enter the user and the password" in say(found.why)) == (error is LoginRefused)


@pytest.mark.parametrize(
    "reply",
    [
        "452 4.4.5 Maximum number of messages per session exceeded",
        "451 Mails per session limit",
        "421 too many messages in this connection",
        "421 4.3.2 The maximum number of messages per connection was exceeded",
        "421 Max message per connection reached, closing transmission channel",
        "450 4.7.0 Message limit for this connection exceeded",
        "452 4.5.3 Too many recipients in this session",
        "451 4.3.0 Session message limit exceeded",
        "421 4.7.0 session limit exceeded",
        "452 Too many mails in one SMTP session",
        "450 Only 10 emails per SMTP connection allowed",
        "421 Number of transactions per connection exceeded, please reconnect",
        "550 5.7.0 Too many messages in a single session",
        "421 Connection has reached its limit of mails. Open a new connection",
        "452 4.7.1 Recipient count of this session is at its maximum",
    ],
)
def test_this_connection_has_had_its_share(reply):
    assert speaks_of_session(parts_of(reply.encode()))


@pytest.mark.parametrize(
    "reply",
    [
        "450 4.2.0 Greylisted",
        "451 4.7.1 Too many messages, slow down",
        "421 4.7.0 Too many concurrent connections",
        "450 4.7.28 limit of messages per hour exceeded",
        "452 4.2.2 Over quota",
        "451 4.3.0 Temporary lookup failure",
    ],
)
def test_this_is_no_matter_of_the_session(reply):
    assert not speaks_of_session(parts_of(reply.encode()))


@pytest.mark.parametrize("reply", ["421 4.7.0 Too many messages, slow down", "450 Greylisted", "554 Blocked"])
def test_this_is_no_matter_of_connections(reply):
    assert not speaks_of_connections(parts_of(reply.encode()))
