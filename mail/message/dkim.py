"""DKIM signatures (RFC 6376, RFC 8463): relaxed/relaxed over all of the body. Pure.

The fields are signed from the last one up, as a verifier looks for them, and From once more than there is, so that
nobody can add a second one. There is no time in a signature: it is the same at each try, and a clock that is wrong does
no harm.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Algorithm = Literal["rsa", "ed25519"]

# What relays neither add nor rewrite. Both headers of one-click unsubscription must be among them (RFC 8058 3), and
# Feedback-ID counts only if it is signed.
SIGNED = frozenset({
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"list-unsubscribe", b"list-unsubscribe-post",
    b"list-id", b"auto-submitted", b"feedback-id",
})  # fmt: skip
LONGEST_LINE = 76

_BLANKS = re.compile(rb"[ \t]+")
_ENDING = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key in use: ``domain`` as it stands in DNS, ``sign`` returns the signature of the octets it is given.

    ``private`` is the key itself, for a process that signs in our place.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    sign: Callable[[bytes], bytes] = field(repr=False)
    private: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Return the name of its record.

        >>> str(SigningKey("acme.com", "a1", "rsa", bytes))
        'a1._domainkey.acme.com'
        """
        return f"{self.selector}._domainkey.{self.domain}"


def signature_headers(content: bytes, keys: Sequence[SigningKey], body_hash: str = "") -> bytes:
    """Return the signatures of a whole mail, one for each key, as headers to be put in front of it.

    `content` is the mail before its dots are stuffed; line endings that are not CRLF count as such, as they are sent.
    `body_hash` is what ``hash_of_body`` returned for another mail with the same body.
    """
    fields = signed_fields(head_of(content))
    return sign_fields(fields, body_hash or hash_of_body(split(content)[1]), keys)


def head_of(content: bytes) -> bytes:
    """Return the headers of a mail, without touching its body, which may be large.

    >>> head_of(b"To: a@b\\r\\n\\r\\nHello\\r\\n\\r\\n"), head_of(b"To: a@b\\n\\nHello\\r\\n\\r\\n")
    (b'To: a@b\\r\\n', b'To: a@b\\r\\n')
    >>> head_of(b"To: a@b\\n")
    b'To: a@b\\r\\n'
    """
    end = content.find(b"\r\n\r\n")
    return split(content[: end + 4] if end >= 0 else content)[0]


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return the headers, the last one with its line break, and the body of a mail.

    >>> split(b"To: a@b\\r\\n\\r\\nHello\\r\\n"), split(b"To: a@b\\n\\nHello"), split(b"To: a@b\\r\\n")
    ((b'To: a@b\\r\\n', b'Hello\\r\\n'), (b'To: a@b\\r\\n', b'Hello'), (b'To: a@b\\r\\n', b''))
    """
    head, empty, body = with_crlf(content).partition(b"\r\n\r\n")
    return (head + b"\r\n", body) if empty else (head, b"")


def with_crlf(content: bytes) -> bytes:
    """Return octets whose lines end with CRLF, as they are sent."""
    endings = content.count(b"\r\n")
    if content.count(b"\n") == endings == content.count(b"\r"):
        return content
    return _ENDING.sub(b"\r\n", content)


# --- relaxed (RFC 6376 3.4)


def relaxed(text: bytes) -> bytes:
    """Return lines (CRLF) with one blank for many and none at their ends.

    >>> relaxed(b"a \\t b  \\r\\n\\tc\\r\\n")
    b'a b\\r\\n c\\r\\n'
    """
    if b"\t" in text or b"  " in text:
        text = _BLANKS.sub(b" ", text)
    return text.replace(b" \r\n", b"\r\n") if b" \r\n" in text else text


def hash_of_body(body: bytes) -> str:
    """Return the hash of a body as a signature has it.

    >>> hash_of_body(b"") == hash_of_body(b"\\r\\n \\r\\n")  # without the empty lines at its end
    True
    >>> hash_of_body(b"a") == hash_of_body(b"a \\r\\n\\r\\n") == hash_of_body(b"a\\n")
    True
    """
    digest = hashlib.sha256()
    text = relaxed(with_crlf(body)).rstrip(b" \r\n")
    if text:
        digest.update(text)
        digest.update(b"\r\n")
    return base64_of(digest.digest())


def signed_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields to be signed, each with its name and as it is hashed, the last one first.

    >>> signed_fields(b"To: Ann\\r\\n  <a@b>\\r\\nX-Own: 1\\r\\nSubject:  a  b \\r\\n")
    [(b'Subject', b'subject:a b\\r\\n'), (b'To', b'to:Ann <a@b>\\r\\n')]
    """
    found = []
    for line in relaxed(_unfolded(head)).split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.rstrip(b" ")
        lower = name.lower()
        if lower in SIGNED:
            found.append((name, b"%b:%b\r\n" % (lower, value.strip(b" "))))
    found.reverse()
    return found


def _unfolded(head: bytes) -> bytes:
    return head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")


# --- the signature


def sign_fields(fields: Sequence[tuple[bytes, bytes]], body_hash: str, keys: Sequence[SigningKey]) -> bytes:
    """Return the headers of the signatures over fields, the last one first, and a body."""
    names = names_of(fields)
    hashed = b"".join([canonical for _, canonical in fields])
    return b"".join([unsigned_header(key, names, hashed, body_hash).signed() for key in keys])


def names_of(fields: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the names of fields as the tag h has them, with a place for another From; LF is where it may be folded.

    >>> names_of([(b"Subject", b""), (b"From", b"")])
    'Subject:From:From'
    """
    lines, used = [""], len(" h=")
    for name in [*(name.decode() for name, _ in fields), "From"]:
        if used + len(name) + 1 > LONGEST_LINE:
            lines.append("")
            used = 1
        lines[-1] += f"{name}:"
        used += len(name) + 1
    return "\n".join(lines)[:-1]


class UnsignedHeader(NamedTuple):
    """The header of a signature that only waits for it: ``octets`` are what is to be signed, ``tags`` what it says."""

    key: SigningKey
    tags: bytes
    octets: bytes

    def with_signature(self, signature: bytes) -> bytes:
        """Return the header."""
        value = base64_of(signature)
        folded = "\r\n ".join([value[start : start + 73] for start in range(0, len(value), 73)]).encode()
        return b"DKIM-Signature: %b%b\r\n" % (self.tags.replace(b"\n", b"\r\n "), folded)

    def signed(self) -> bytes:
        """Return the header with the signature of its key."""
        return self.with_signature(self.key.sign(self.octets))


def unsigned_header(key: SigningKey, names: str, hashed: bytes, body_hash: str) -> UnsignedHeader:
    """Return the header of one signature without it; `hashed` are the fields that `names` names."""
    tags = (
        f"v=1; a={key.algorithm}-sha256; c=relaxed/relaxed; d={key.domain};\ns={key.selector};\nh={names};\n"
        f"bh={body_hash};\nb="
    ).encode()
    return UnsignedHeader(key, tags, b"%bdkim-signature:%b" % (hashed, tags.replace(b"\n", b" ")))


def base64_of(octets: bytes) -> str:
    """Return octets in base64, without a line break."""
    return base64.b64encode(octets).decode()
