"""One email handed to a listener of our own, as a mail server next door does it."""

import smtplib
from typing import Literal, NamedTuple

TIMEOUT = 10.0  # seconds for each answer


class Handed(NamedTuple):
    """The listener's last reply."""

    accepted: bool
    reply: str


def hand_over(protocol: Literal["lmtp", "smtp"], host: str, port: int, recipient: str, content: bytes) -> Handed:
    """Hand an email with the null sender to a listener and return its reply; raises ``OSError`` without one."""
    speak = smtplib.LMTP if protocol == "lmtp" else smtplib.SMTP
    client = speak(timeout=TIMEOUT)
    try:
        code, words = client.connect(host, port)
        if code < 400:
            client.ehlo_or_helo_if_needed()
            code, words = client.mail("")
        if code < 400:
            code, words = client.rcpt(recipient)
        if code < 400:
            code, words = client.data(content)
        return Handed(code < 400, f"{code} {words.decode('utf-8', 'replace')}")
    except smtplib.SMTPResponseException as refused:
        said = refused.smtp_error
        words = said if isinstance(said, bytes) else said.encode()
        return Handed(False, f"{refused.smtp_code} {words.decode('utf-8', 'replace')}")
    finally:
        client.close()
