"""The moment at which a mail's own server took it, from the first Received line."""

from datetime import UTC, datetime

import pytest

from mail.message.arrival import top_received

TOP = b"Received: from mx.customer.test by mx.office.test with ESMTPS id 4;"
EIGHT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "moment"),
    [
        (TOP + b" Mon, 23 Nov 2026 09:00:00 +0100\r\n", EIGHT),
        (TOP + b" Mon, 23 Nov 2026 09:00:00 +0100 (CET)\r\n", EIGHT),
        (TOP + b"\r\n\tMon, 23 Nov 2026 08:00:00 +0000\r\n", EIGHT),
        (TOP + b"\r\n Mon, 23\r\n Nov 2026 03:00:00 -0500\r\n", EIGHT),
        (TOP + b" 23 Nov 2026 08:00:00 GMT\r\n", EIGHT),
        (TOP + b" Mon, 23 Nov 2026 08:00:00\r\n", EIGHT),
        (b"received: by a; Mon, 23 Nov 2026 08:00:00 +0000\r\n", EIGHT),
        (b"Return-Path: <a@b>\r\n" + TOP + b" Mon, 23 Nov 2026 08:00:00 +0000\r\n", EIGHT),
        (TOP + b" Mon, 23 Nov 2026 08:00:00 +0000\r\nReceived: by b; Sun, 22 Nov 2026 01:00:00 +0000\r\n", EIGHT),
        (TOP.replace(b" id", b"; id") + b" Mon, 23 Nov 2026 08:00:00 +0000\n", EIGHT),
        (TOP + b" Mon, 23 Nov 2026 08:00:60 +0000\r\n", datetime(2026, 11, 23, 8, 0, 59, tzinfo=UTC)),
        (TOP + b" yesterday\r\n", None),
        (TOP + b" Mon, 99 Nov 2026 08:00:00 +0000\r\n", None),
        (TOP + b" Mon, 23 Nov 2026 08:00:00 +999999999\r\n", None),
        (TOP + b" \xff\xfe\r\n", None),
        (b"Received: by a, no date\r\n", None),
        (b"X-Received: by a; Mon, 23 Nov 2026 08:00:00 +0000\r\n", None),
        (b"Subject: Received: by a; Mon, 23 Nov 2026 08:00:00 +0000\r\n", None),
        (b"Subject: x\r\n\r\nReceived: by a; Mon, 23 Nov 2026 08:00:00 +0000\r\n", None),
        (b"", None),
    ],
)
def test_the_first_received_line_tells_the_arrival(header: bytes, moment: datetime | None) -> None:
    assert top_received(header + b"\r\nbody\r\n") == moment
