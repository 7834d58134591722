"""The house stands: a room imports only rooms below it, what decides knows no world, and only the top prints.

All of it is read from the source, so that an import inside a function counts, too; one that is only for the type
checker does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "osp2p"

#: What each room may import, itself aside. `limits` and `errors` are the ground that everybody stands on.
GROUND = frozenset({"limits", "errors"})
ALLOWED: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "limits": frozenset(),
    "wire": GROUND,
    "net": GROUND | {"wire"},
    "content": GROUND | {"wire", "net"},
    "tracker": GROUND | {"wire", "net", "content"},
    "overlay": GROUND | {"wire", "net"},
    "rpc": GROUND | {"wire", "net", "overlay"},
    "peer": GROUND | {"wire", "net", "content", "overlay", "rpc"},
    "evil": GROUND,
    "lab": GROUND | {"wire", "net", "content", "tracker", "overlay", "peer", "evil"},
    "grade": GROUND | {"wire", "net", "content", "tracker", "peer", "evil"},
    "cli": GROUND | {"wire", "net", "content", "tracker", "overlay", "rpc", "peer", "evil", "lab", "grade"},
}

#: Not rooms: the package's own door, and `python -m osp2p`.
DOORS = frozenset({"__init__", "__main__"})

#: Modules that decide: they are told the time and given randomness, and touch neither socket nor disk.
PURE = (
    "errors",
    "limits",
    "wire/*",
    "content/name",
    "content/chunks",
    "content/chunk_set",
    "content/sorted_names",
    "tracker/registry",
    "tracker/holdings",
    "overlay/answers",
    "overlay/bencode",
    "overlay/compact",
    "overlay/engine",
    "overlay/exchanges",
    "overlay/fair",
    "overlay/family",
    "overlay/identifier",
    "overlay/item",
    "overlay/krpc",
    "overlay/lookup",
    "overlay/maintenance",
    "overlay/rates",
    "overlay/searches",
    "overlay/stores",
    "overlay/table",
    "overlay/timers",
    "overlay/tokens",
    "overlay/votes",
    "overlay/walk",
    "rpc/document",
    "rpc/message",
    "rpc/replay",
    "peer/picker",
    "peer/chunk_holder",
    "peer/chunk_picker",
    "peer/claims",
    "peer/tracker_facts",
    "peer/events",
    "grade/transcript",
    "grade/verdict",
    "grade/html",
    "grade/junit",
    "cli/text",
    "cli/exits",
    "cli/patterns",
    "cli/progress",
    "cli/targets",
)

#: What no module that decides imports.
WORLD = frozenset({"trio", "socket", "ssl", "select", "subprocess", "threading", "time", "secrets", "sqlite3"})

#: What it may use of two modules that hold more than the world: names as text, and the type of a parameter `rng`.
HARMLESS = {"os": frozenset({"fsencode", "fsdecode"}), "random": frozenset({"Random"})}

#: Rooms that speak to people.
PRINTING = frozenset({"cli"})


def module_paths() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def is_for_type_checker(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def nodes_of(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that is there at run time."""
    for child in ast.iter_child_nodes(tree):
        if not is_for_type_checker(child):
            yield child
            yield from nodes_of(child)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(tree: ast.Module) -> set[str]:
    """The full names of imported modules; of ``from package import name`` both, as `name` may be a module."""
    found: set[str] = set()
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def rooms_in(imports: set[str]) -> set[str]:
    """The rooms that are imported: the second part of ``osp2p.room.module``."""
    parts = (name.split(".") for name in imports)
    return {part[1] for part in parts if part[0] == "osp2p" and len(part) > 1 and part[1] in ALLOWED}


def test_every_room_is_in_the_plan() -> None:
    assert {room_of(path) for path in module_paths()} - DOORS == set(ALLOWED)


def test_the_plan_has_no_circles() -> None:
    seen: set[str] = set()
    for room, below in ALLOWED.items():
        assert below <= seen, f"{room} stands below what it imports"
        seen.add(room)


def test_tracker_and_peer_know_nothing_of_each_other() -> None:
    assert "peer" not in ALLOWED["tracker"]
    assert "tracker" not in ALLOWED["peer"]


@pytest.mark.parametrize("path", module_paths(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    if room in DOORS:
        return
    assert rooms_in(imports_of(parse(path))) <= ALLOWED[room] | {room}


def pure_paths() -> list[Path]:
    found: list[Path] = []
    for pattern in PURE:
        matching = sorted(PACKAGE.glob(f"{pattern}.py"))
        assert matching, f"there is no {pattern}"
        found += matching
    return found


def uses_of(tree: ast.Module, module: str) -> set[str]:
    """What is taken out of a module; ``Random()`` for a call of `Random`, which would be randomness of its own."""
    found: set[str] = set()
    for node in nodes_of(tree):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and is_name(node.value, module):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and module == "random" and ast.unparse(node.func).endswith("Random"):
            found.add("Random()")
    return found


def is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@pytest.mark.parametrize("path", pure_paths(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_decides_knows_no_world(path: Path) -> None:
    tree = parse(path)
    assert {name.split(".")[0] for name in imports_of(tree)} & WORLD == set()
    for module, harmless in HARMLESS.items():
        assert uses_of(tree, module) <= harmless


def prints(tree: ast.Module) -> list[int]:
    """The lines on which something is printed, or a standard stream is touched."""
    return [
        node.lineno
        for node in nodes_of(tree)
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "__stdout__", "__stderr__"))
        or (isinstance(node, ast.alias) and node.name in ("stdout", "stderr"))
    ]


@pytest.mark.parametrize("path", module_paths(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_top_prints(path: Path) -> None:
    if room_of(path) not in PRINTING:
        assert prints(parse(path)) == []


@pytest.mark.parametrize(
    ("source", "module", "uses"),
    [
        ("import os\nos.fsencode(x)\nos.stat(y)", "os", {"fsencode", "stat"}),
        ("from os import stat", "os", {"stat"}),
        ("import random\ndef f(rng: random.Random): rng.choice(x)", "random", {"Random"}),
        ("import random\nrng = random.Random()", "random", {"Random", "Random()"}),
        ("import random\nrandom.choice(x)", "random", {"choice"}),
    ],
)
def test_this_reader_sees_what_is_used(source: str, module: str, uses: set[str]) -> None:
    assert uses_of(ast.parse(source), module) == uses


@pytest.mark.parametrize(
    ("source", "rooms", "printing"),
    [
        ("import osp2p.peer.node", {"peer"}, False),
        ("from osp2p import tracker", {"tracker"}, False),
        ("from osp2p.net.tcp import TcpNetwork", {"net"}, False),
        ("def f():\n    from osp2p.lab import main", {"lab"}, False),
        ("if TYPE_CHECKING:\n    from osp2p.lab import main", set(), False),
        ("def f():\n    print(1)", set(), True),
        ("import sys\nsys.stderr.write('')", set(), True),
        ("from sys import stdout", set(), True),
    ],
)
def test_this_reader_sees_what_it_should(source: str, rooms: set[str], printing: bool) -> None:
    tree = ast.parse(source)
    assert rooms_in(imports_of(tree)) == rooms
    assert bool(prints(tree)) == printing
