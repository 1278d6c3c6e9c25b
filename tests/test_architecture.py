"""The promises that nobody would notice being broken: which part may know which."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ({"models"}, {"mail"}, {"webapp", "scheduler"})  # each may import the ones before it, never its neighbours
PACKAGES = set().union(*LAYERS)

# ``mail`` floor by floor: a folder may import the floors below it, never its neighbours and never those above.
FLOORS = (
    {"sentences"},
    {"errors", "dns_answers"},
    {"message", "transport"},
    {"decide"},
    {"settings"},
    {"queue"},
    {"outgoing", "deliverability"},
    {"documents"},
    {"mailing"},
    {"incoming"},
    {"maintenance"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# These decide with values: no rows, no clock, no network, no request.
PURE = ("message", "decide")
# The clock, a database, a request, a server, or a library that is made for one of them.
IMPURE = {
    "flask", "flask_sqlalchemy", "sqlalchemy", "socket", "smtplib", "imaplib", "poplib", "imapclient", "flask_mail",
    "threading", "subprocess", "urllib.request", "models", "mail.settings", "mail.transport",
}  # fmt: skip
EDGE_KNOWS = {"mail.errors", "mail.sentences", "mail.dns_answers", "mail.transport"}


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def nodes_in(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports_of(path: Path) -> set[str]:
    """Return the full names that a file imports, those inside of functions and for type checkers too."""
    found: set[str] = set()
    for node in nodes_in(path):
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


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_imported_by(path: Path, known: set[str]) -> set[str]:
    """Return the modules of ``known`` that a file imports, by whatever name it takes from them."""
    return {module for name in imports_of(path) for module in known if name == module or name.startswith(f"{module}.")}


MAIL = {name_of(path): path for path in modules_of("mail") if path.name != "__init__.py"}


def test_each_room_of_mail_has_its_floor() -> None:
    assert {name.split(".")[1] for name in MAIL} == set(FLOOR_OF)


@pytest.mark.parametrize("module", sorted(MAIL))
def test_imports_in_mail_point_down(module: str) -> None:
    room = module.split(".")[1]
    others = {name.split(".")[1] for name in modules_imported_by(MAIL[module], set(MAIL))} - {room}
    assert not sorted(other for other in others if FLOOR_OF[other] >= FLOOR_OF[room])


def test_no_circle_of_imports() -> None:
    """Modules that import each other, even by a detour or inside of a function, are one module in two files."""
    product = {name_of(path): path for package in PACKAGES for path in modules_of(package)}
    leaves = {name: path for name, path in product.items() if path.name != "__init__.py" and name[:6] != "models"}
    waiting = {name: modules_imported_by(path, set(leaves)) - {name} for name, path in leaves.items()}
    while ready := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {name: needs for name, needs in waiting.items() if name not in ready}
    assert not sorted(waiting)


@pytest.mark.parametrize("module", sorted(name for name in MAIL if name.split(".")[1] in PURE))
def test_pure_modules_decide_with_values_only(module: str) -> None:
    assert not sorted(name for name in imports_of(MAIL[module]) if touches(name, IMPURE))


@pytest.mark.parametrize("path", modules_of("mail/transport"), ids=lambda path: path.stem)
def test_transports_know_only_errors_and_sentences(path: Path) -> None:
    ours = {name for name in imports_of(path) if name.partition(".")[0] in PACKAGES}
    assert not sorted(name for name in ours if not touches(name, EDGE_KNOWS))


def test_only_the_edge_knows_the_libraries_of_mail_servers() -> None:
    libraries = {"imapclient", "imaplib", "poplib", "smtplib", "flask_mail", "ssl", "dns"}
    outside = [path for package in PACKAGES for path in modules_of(package) if "transport" not in path.parts]
    assert not sorted(
        f"{path.relative_to(ROOT)}: {name}" for path in outside for name in imports_of(path) if touches(name, libraries)
    )


def test_only_one_place_asks_what_time_it_is() -> None:
    """Business time is an argument; ``mail.settings.clock`` is where the doors get it."""
    pure = [path for room in PURE for path in modules_of(f"mail/{room}")]
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in pure
        for node in nodes_in(path)
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


# --- the size of the rooms

DATA = "mail/sentences/"  # a table of sentences is as long as it is
FILES = [path for package in sorted(PACKAGES) for path in modules_of(package)]


def nodes_of(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> list[tuple[Path, ast.AST]]:
    return [(path, node) for path in FILES for node in nodes_in(path) if isinstance(node, kind)]


def test_no_file_is_more_than_one_room() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > 400 and not name.startswith(DATA)}


def test_functions_do_one_thing() -> None:
    """Counted in lines of code, from the line after the docstring to the end."""
    lengths = []
    for _, node in nodes_of((ast.FunctionDef, ast.AsyncFunctionDef)):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        lengths.append((body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0)
    lengths.sort()
    assert lengths[len(lengths) // 2] <= 7
    assert lengths[len(lengths) * 95 // 100] <= 28


def test_class_names_are_unique() -> None:
    names = Counter(node.name for _, node in nodes_of(ast.ClassDef) if isinstance(node, ast.ClassDef))
    assert not [name for name, count in names.items() if count > 1]
