"""Quoted-printable (RFC 2045 6.7) with room for the soft line break behind a slot. Pure."""

import binascii

LINE = 75  # 76 with the "=" of a soft line break (RFC 2045 6.7)

_OCTETS = [
    chr(octet) if 32 <= octet < 127 and octet != 61 else "\t" if octet == 9 else f"={octet:02X}" for octet in range(256)
]


def quoted_printable(text: str) -> bytes:
    """Return text (line breaks as LF) in quoted-printable, lines of at most 75 characters, so that "=" may follow.

    Dots and ``From `` at the start of a line are encoded too.

    >>> quoted_printable(".a = b \\nFrom ä")
    b'=2Ea =3D b=20\\r\\n=46rom =C3=A4'
    """
    return b"\r\n".join(_quoted_line(line) for line in text.split("\n"))


def _quoted_line(line: str) -> bytes:
    out, start, used = [], 0, 0
    octets = [_OCTETS[octet] for octet in line.encode("utf-8", "replace")]
    if octets and octets[-1] in " \t":
        octets[-1] = f"={ord(octets[-1]):02X}"
    for position, octet in enumerate(octets):
        if used + len(octet) > LINE:
            out.append("".join(octets[start:position]))
            start, used = position, 0
        if used == 0 and (octet == "." or (octet == "F" and octets[position : position + 5] == list("From "))):
            octet = octets[position] = f"={ord(octet):02X}"
        used += len(octet)
    out.append("".join(octets[start:]))
    return "=\r\n".join(out).encode()


def quoted_value(value: str) -> bytes:
    """Return a value for its slot; nearly always one short line."""
    octets = value.encode("utf-8", "replace")
    quoted = binascii.b2a_qp(octets)
    if len(quoted) <= LINE and quoted[:1] != b"." and quoted[:5] != b"From ":
        return quoted
    return quoted_printable(value)
