"""The bar of a mailing: every piece can be seen, and all of them fit."""

from itertools import pairwise

import pytest

from models import Mailing
from webapp.pages.mailings import parts_of


def mailing(total: int, **counts: int) -> Mailing:
    names = ("sent", "failed", "deferred", "unknown", "bounced", "cancelled")
    return Mailing(total=total, **{name: counts.get(name, 0) for name in names})


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (mailing(0), []),
        (mailing(604), ["queued"]),
        (mailing(604, sent=100), ["sent", "queued"]),
        (mailing(604, sent=604), ["sent"]),
        (mailing(1000, sent=999, failed=1), ["sent", "failed"]),
        (
            mailing(100_000, sent=99_996, failed=1, bounced=1, unknown=1),
            ["sent", "bounced", "failed", "unknown", "queued"],
        ),
        (mailing(1_000_000, sent=999_995, failed=1, bounced=1, unknown=1, deferred=1, cancelled=1), None),
        (mailing(10, sent=12), ["sent"]),
    ],
)
def test_the_pieces_of_a_bar_fit_and_are_seen(row: Mailing, shown: list[str] | None) -> None:
    parts = parts_of(row)
    assert shown is None or [part.state for part in parts] == shown
    assert all(part.width > 0 for part in parts)
    assert all(round(one.start + one.width, 1) == round(next_.start, 1) for one, next_ in pairwise(parts))
    assert not parts or round(parts[-1].start + parts[-1].width, 1) == 100
