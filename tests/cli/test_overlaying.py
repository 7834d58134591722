"""The commands that need no tracker, as real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from osp2p.cli.arguments import UsageError
from osp2p.cli.exits import NOBODY_HAS_IT, UNREACHABLE, USAGE
from osp2p.cli.overlay_options import chosen_overlay, chosen_sources
from osp2p.cli.parsers import get_parser, share_parser
from tests.cli.processes import Program, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def sharer(world: World, *more: str) -> AsyncIterator[tuple[Program, str]]:
    """A process that shares two files in an overlay. Yields: it, and where others join."""
    world.files("shared", cat_txt=b"meow", dog_txt=b"wuff" * 1000)
    async with world.start("share", "shared", "--overlay", "--json", *more) as program:
        record = await program.record("listening")
        await program.record("joinable")
        yield program, f"127.0.0.1:{str(record['address']).rpartition(':')[2]}"


async def test_two_commands_and_no_tracker(world: World) -> None:
    async with sharer(world) as (_, place):
        done = await world.run("get", "cat.txt", "--join", place, "-o", "fetched.txt")
        assert (done.code, done.err) == (0, done.err)
        assert (world.directory / "fetched.txt").read_bytes() == b"meow"
        assert (await world.run("ls", "--join", place)).out == b"cat.txt\ndog.txt\n"
        found = await world.run("find", "cat.txt", "--join", place, "--json")
        (holder,) = found.of("holder")
        assert holder["address"] == place
        assert holder["size"] == 4
        by_link = await world.run("get", str(holder["link"]), "--join", place, "-o", "by-link.txt")
        assert by_link.code == 0
        assert (world.directory / "by-link.txt").read_bytes() == b"meow"


async def test_the_next_start_knows_its_neighbours(world: World) -> None:
    async with sharer(world) as (_, place):
        assert (await world.run("get", "dog.txt", "--join", place)).code == 0
        assert (await world.run("get", "cat.txt", "--overlay")).code == 0


async def test_what_a_node_knows(world: World) -> None:
    async with sharer(world) as (_, place), world.start("node", "--join", place, "--json") as node:
        joined = await node.record("joined")
        assert joined["neighbours"] == 1
        shown = await world.run("overlay", place, "--json")
        (record,) = shown.records
        assert record["network"] == "osp2p"
        plain = await world.run("overlay", place)
        assert b"network osp2p, 1 neighbour" in plain.out
        assert b"seen at 127.0.0.1" in plain.out


async def test_networks_are_kept_apart(world: World) -> None:
    async with sharer(world, "--network", "cats") as (_, place):
        other = await world.run("find", "cat.txt", "--join", place)
        assert other.code == UNREACHABLE
        assert b"another network" in other.err
        same = await world.run("find", "cat.txt", "--join", place, "--network", "cats")
        assert same.code == 0


async def test_what_is_not_there(world: World) -> None:
    async with sharer(world) as (_, place):
        assert (await world.run("find", "cow.txt", "--join", place)).code == NOBODY_HAS_IT
        missing = await world.run("get", "cow.txt", "--join", place)
        assert (missing.code, missing.err) == (NOBODY_HAS_IT, b"cow.txt: nobody has it\n")
        dead = await world.run("get", "cow.txt", "--join", place, "--join", "127.0.0.1:1")
        assert dead.code == NOBODY_HAS_IT
        assert dead.err.endswith(b"cow.txt: others may have it: no answer from 127.0.0.1:1\n")
        assert (await world.run("find", "a" * 40, "--join", place)).code == NOBODY_HAS_IT


async def test_what_cannot_be_obeyed(world: World) -> None:
    assert (await world.run("get", "osp2p:///cat.txt#b3=" + "a" * 64)).code == USAGE
    assert (await world.run("find", "", "--overlay")).code == USAGE
    assert (await world.run("overlay", "127.0.0.1:1")).code == UNREACHABLE


def test_who_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSP2P_TRACKER", raising=False)
    monkeypatch.delenv("OSP2P_JOIN", raising=False)

    def sources(*words: str) -> tuple[list[str], bool]:
        trackers, overlay = chosen_sources(get_parser().read(["cat", *words]), read_only=True)
        return trackers, overlay is not None

    assert sources() == (["127.0.0.1:11111"], False)
    assert sources("--join", "192.0.2.7") == ([], True)
    assert sources("--overlay") == ([], True)
    assert sources("--network", "cats") == ([], True)
    assert sources("--join", "192.0.2.7", "-t", "192.0.2.8") == (["192.0.2.8"], True)
    monkeypatch.setenv("OSP2P_JOIN", "192.0.2.7 192.0.2.9:5000")
    assert sources() == ([], True)
    monkeypatch.setenv("OSP2P_TRACKER", "192.0.2.8")
    assert sources() == (["192.0.2.8"], True)


def test_what_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSP2P_JOIN", "192.0.2.7 [::1]:5000 6000")
    options = chosen_overlay(share_parser().read(["photos"]), read_only=False)
    assert options is not None
    assert options.joins == (("192.0.2.7", 11112), ("::1", 5000), ("127.0.0.1", 6000))
    mainline = chosen_overlay(share_parser().read(["photos", "--mainline"]), read_only=False)
    assert mainline is not None
    assert mainline.mainline
    assert mainline.saved != options.saved
    with pytest.raises(UsageError, match="a network's name"):
        chosen_overlay(share_parser().read(["photos", "--network", ""]), read_only=False)
    monkeypatch.setenv("OSP2P_JOIN", "a:b:c")
    with pytest.raises(UsageError, match="OSP2P_JOIN"):
        chosen_overlay(share_parser().read(["photos"]), read_only=False)
