"""What commands load before they do anything: modules are counted, which is the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.processes import World

#: Runs a command, and prints on standard error what is loaded by then, beside what trio alone loads.
SCRIPT = """
import sys
import trio
before = set(sys.modules)
from osp2p.cli.main import main
code = main(sys.argv[1:])
print(*sorted(set(sys.modules) - before), file=sys.stderr)
sys.exit(code)
"""

#: What a plain fetch has no use for, and what costs tens of milliseconds together.
FOREIGN = {
    "asyncio",
    "cryptography",
    "decimal",
    "difflib",
    "encodings.idna",
    "json",
    "multiprocessing",
    "sqlite3",
    "tqdm",
}
OURS = ("osp2p.overlay", "osp2p.rpc", "osp2p.tracker", "osp2p.evil", "osp2p.lab", "osp2p.grade")
MODULES = {"osp2p.peer.library", "osp2p.peer.membership", "osp2p.content.cache", "osp2p.cli.bars", "osp2p.cli.serving"}

#: How many modules a plain fetch may load beside trio's. It is at 100.
MOST = 115


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    async with world.tracker(), world.sharer(world.files("docs", a=b"content")):
        yield world


async def loaded(world: World, *words: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    result = await world.run("-c", SCRIPT, *words, program=(sys.executable,))
    assert result.code == 0, result.err
    return set(result.err.decode().splitlines()[-1].split())


async def test_a_plain_command_loads_little(world: World) -> None:
    for words in (["get", "a"], ["ls"]):
        modules = await loaded(world, *words)
        assert modules & FOREIGN == set()
        assert {module for module in modules if module.startswith(OURS)} == set()
        assert modules & MODULES == set()
        assert len(modules) <= MOST
    more = await loaded(world, "get", "a", "--json", "--max-size", "1MB", "-o", "x")
    assert more >= {"json", "decimal"}  # so this test sees what is loaded
