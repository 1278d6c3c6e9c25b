"""Connections at once: what a record allows, what is kept for personal mail, and who gives way."""

import pytest

from mail.queue.concurrency import ServerConcurrency

SERVER = 7


def served(allowed: int | None, asks: str, learned: int | None = None) -> str:
    """Let lanes ask for a connection one after the other (``p`` and ``m``) and return who got one."""
    servers = ServerConcurrency(mass=5)
    servers.allow(SERVER, allowed)
    if learned:
        servers.takes_only(SERVER, learned, 60)
    return "".join(ask for ask in asks if servers.take(SERVER, "personal" if ask == "p" else "mass"))


@pytest.mark.parametrize(
    ("allowed", "asks", "got"),
    [
        (None, "mmmmmmpppp", "mmmmmpp"),
        (1, "mmp", "m"),
        (1, "pmp", "p"),
        (2, "mmmppp", "mp"),
        (2, "ppm", "pp"),
        (3, "mmmmpp", "mmp"),
        (4, "mmmmpppp", "mmmp"),
        (0, "mp", ""),  # other workers have them all
    ],
)
def test_the_last_connection_is_for_personal_mail(allowed: int | None, asks: str, got: str) -> None:
    assert served(allowed, asks) == got


@pytest.mark.parametrize(("allowed", "learned", "got"), [(4, 2, "mp"), (2, 4, "mp"), (None, 2, "mp"), (1, 4, "m")])
def test_the_lower_of_what_is_allowed_and_what_was_learned_counts(allowed, learned, got) -> None:
    assert served(allowed, "mmmpp", learned) == got


def test_of_a_server_that_nobody_knows_yet_there_is_one_connection() -> None:
    servers = ServerConcurrency()
    assert servers.take(SERVER, "mass") and not servers.take(SERVER, "personal")
    servers.first_seen(SERVER, 3)
    assert not servers.take(SERVER, "personal"), "how many of the three are ours is not known yet"
    servers.allow(SERVER, 2)
    assert servers.take(SERVER, "personal") and not servers.take(SERVER, "personal")


def test_a_server_without_a_limit_is_known_by_its_first_use() -> None:
    servers = ServerConcurrency()
    servers.first_seen(SERVER, None)
    assert [servers.take(SERVER, "mass") for _ in range(3)] == [True, True, False]
    assert [servers.take(SERVER, "personal") for _ in range(3)] == [True, True, False]


def test_over_one_connection_personal_mail_goes_first() -> None:
    servers = ServerConcurrency()
    servers.allow(SERVER, 1)
    assert servers.take(SERVER, "mass") and not servers.yields(SERVER)
    assert servers.full("personal") == {SERVER} and not servers.yields(SERVER), "nothing is due yet"
    servers.want(SERVER)
    assert servers.yields(SERVER)
    servers.free(SERVER, "mass")
    assert not servers.take(SERVER, "mass"), "personal mail is to have it"
    assert servers.take(SERVER, "personal") and not servers.yields(SERVER)
    servers.free(SERVER, "personal")
    assert servers.take(SERVER, "mass")


def test_a_mailing_is_not_interrupted_for_a_second_personal_connection() -> None:
    servers = ServerConcurrency()
    servers.allow(SERVER, 2)
    assert servers.take(SERVER, "mass") and servers.take(SERVER, "personal")
    servers.want(SERVER)
    assert not servers.yields(SERVER)
