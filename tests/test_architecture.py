"""The promises that nobody would notice being broken: which part may know which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ({"models"}, {"mail"}, {"webapp", "scheduler"})  # each may import the ones before it, never its neighbours
PACKAGES = set().union(*LAYERS)

# In ``mail`` these decide with values: no rows, no clock, no network, no request.
PURE = {
    "address", "body", "bounce", "compose", "errors", "journal", "merge", "message", "retry", "routing", "sender",
    "sentences", "servers", "tokens", "winmail",
}  # fmt: skip
# The clock, a database, a request, a server, or a library that is made for one of them.
IMPURE = {
    "flask", "flask_sqlalchemy", "sqlalchemy", "socket", "smtplib", "imaplib", "poplib", "imapclient", "flask_mail",
    "threading", "subprocess", "urllib.request", "mail.clock", "mail.wake", "mail.config",
}  # fmt: skip
EDGE_KNOWS = {"mail.errors", "mail.sentences", "mail.transport"}


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Return the full names that a file imports, those inside of functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} imports by dots: write the whole name"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def packages_imported_by(package: str) -> set[str]:
    return {name.partition(".")[0] for path in modules_of(package) for name in imports_of(path)} & PACKAGES


def touches(name: str, forbidden: set[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in forbidden)


@pytest.mark.parametrize("depth", range(len(LAYERS)))
def test_imports_point_one_way(depth: int) -> None:
    below = set().union(*LAYERS[:depth])
    for package in LAYERS[depth]:
        assert modules_of(package), f"{package} is gone: so is this test"
        assert packages_imported_by(package) - {package} <= below


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_decide_with_values_only(module: str) -> None:
    path = ROOT / "mail" / f"{module}.py"
    known = imports_of(path)
    flows = {f"mail.{other.stem}" for other in (ROOT / "mail").glob("*.py")} - {f"mail.{pure}" for pure in PURE}
    forbidden = IMPURE | flows | {"models", "mail.transport"}
    assert not sorted(name for name in known if touches(name, forbidden))


@pytest.mark.parametrize("path", modules_of("mail/transport"), ids=lambda path: path.stem)
def test_transports_know_only_errors_and_sentences(path: Path) -> None:
    ours = {name for name in imports_of(path) if name.partition(".")[0] in PACKAGES}
    assert not sorted(name for name in ours if not touches(name, EDGE_KNOWS))


def test_only_the_edge_knows_the_libraries_of_mail_servers() -> None:
    libraries = {"imapclient", "imaplib", "poplib", "smtplib", "flask_mail", "ssl"}
    outside = [path for package in PACKAGES for path in modules_of(package) if "transport" not in path.parts]
    assert not sorted(
        f"{path.relative_to(ROOT)}: {name}" for path in outside for name in imports_of(path) if touches(name, libraries)
    )


def test_only_one_place_asks_what_time_it_is() -> None:
    """Business time is an argument; ``mail.clock`` is where the doors get it."""
    pure = [ROOT / "mail" / f"{module}.py" for module in PURE]
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in pure
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("now", "utcnow", "today", "time")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("datetime", "date", "time")
    ]
    assert not calls


def test_the_pages_never_speak_to_a_mail_server() -> None:
    """Tests of servers, fetches and deliveries are rows that the worker picks up."""
    known = {name for path in modules_of("webapp") for name in imports_of(path)}
    assert not sorted(name for name in known if touches(name, {"mail.transport", "aiosmtpd", "socket"}))
