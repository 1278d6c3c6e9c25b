"""When the silence of a worker means something: not right after the database's clock was set forward."""

import pytest

from mail.queue.lease import Clocks


@pytest.mark.parametrize(
    ("looks", "trusted"),  # each look: seconds by the database's clock, and by ours
    [
        ([(1000, 50)], [True]),
        ([(1000, 50), (1002, 52), (1004, 54)], [True, True, True]),
        ([(1000, 50), (1002.9, 52), (1004, 54)], [True, True, True]),
        ([(1000, 50), (4602, 52), (4604, 54), (4606, 56)], [True, False, False, True]),
        ([(1000, 50), (4602, 52), (8204, 54), (8206, 56), (8208, 58)], [True, False, False, False, True]),
        ([(1000, 50), (990, 52), (992, 54)], [True, True, True]),  # set back: nobody seems older than they are
        # The machine slept, and both clocks know; or the database was away: nobody could show life.
        ([(1000, 50), (4600, 3650), (4602, 3652), (4604.5, 3654.5)], [True, False, False, True]),
        ([(1000, 50), (1005, 55), (1060, 110), (1062, 112), (1065, 115)], [True, True, False, False, True]),
    ],
    ids=["first", "steady", "slow look", "jump", "two jumps", "back", "asleep", "away"],
)
def test_after_a_jump_nobody_is_judged_for_a_while(looks: list[tuple[float, float]], trusted: list[bool]) -> None:
    clocks = Clocks()
    assert [clocks.trusted(*look) for look in looks] == trusted
