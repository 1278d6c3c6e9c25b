"""What the proofs may ask for."""

from collections.abc import Callable, Iterator

import pytest

from tests.proofs.scene import Chance, Say, Scene
from tests.servers.app import App
from tests.servers.postfix import Postfix


@pytest.fixture
def scene(running_app: App, postfix: Postfix) -> Iterator[Scene]:
    """An office without a worker yet, whose mails go to ``postfix``."""
    made = Scene(running_app, postfix)
    yield made
    made.close()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Chance:
    """Random moments, the same in every run of this test; the seed is printed with a failure."""
    made = Chance(sum(request.node.name.encode()))
    print(f"seed {made.seed}")
    return made


@pytest.fixture(params=[pytest.param("cut"), pytest.param("whole", marks=pytest.mark.slow)])
def kills(request: pytest.FixtureRequest) -> int:
    """How often a proof kills: a small cut for every day, twenty times in ``make soak``."""
    if request.param == "whole":
        return 20
    return 1 if "postgresql" in request.node.name else 3


@pytest.fixture(params=[pytest.param("cut"), pytest.param("whole", marks=pytest.mark.slow)])
def effort(request: pytest.FixtureRequest) -> int:
    """For how many seconds a proof tries to find something."""
    return 90 if request.param == "whole" else 3


@pytest.fixture
def say(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Say:
    """Say in one line what was proved."""
    seed = f" (seed {request.getfixturevalue('chance').seed})" if "chance" in request.fixturenames else ""

    def say(line: str) -> None:
        record_property("proof", line + seed)
        print(line)

    return say
