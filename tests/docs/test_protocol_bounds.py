"""What docs/protocol.md says of lengths and numbers, where a session that shows it would be too long to print."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from osp2p.tracker import TrackerOptions
from tests.docs.dialogue import Reply
from tests.docs.replay import Wire
from tests.docs.worlds import PEER_PORT, TRACKER_PORT, World, open_world


@asynccontextmanager
async def connected(world: World, port: int = TRACKER_PORT) -> AsyncIterator[Wire]:
    """A connection; a tracker's greeting has been read."""
    wire = Wire(await trio.open_tcp_stream("127.0.0.1", world.ports[port]), to_peer=port == PEER_PORT)
    try:
        if port == TRACKER_PORT:
            await wire.read_answer()
        yield wire
    finally:
        await wire.aclose()


async def ask(wire: Wire, line: str) -> Reply:
    """Send a line and read its answer, which must come."""
    await wire.say(line)
    reply = await wire.read_answer()
    assert reply is not None, line
    return reply


@asynccontextmanager
async def crowd(world: World, size: int, alias: str) -> AsyncIterator[None]:
    """Many peers that are logged in and have ``song.mp3``."""
    async with AsyncExitStack() as stack:
        for number in range(size):
            wire = await stack.enter_async_context(connected(world))
            assert (await ask(wire, f"ADDR {alias}{number} 127.0.0.1:{10_000 + number}")).code == "200"
            assert (await ask(wire, "HAVE song.mp3")).code == "200"
        yield


async def test_a_line_of_4096_bytes_is_answered_and_a_longer_one_ends_the_connection(tmp_path: Path) -> None:
    async with open_world("tracker", tmp_path) as world, connected(world) as wire:
        assert (await ask(wire, "SING " + "x" * 4091)).code == "500"
        assert (await ask(wire, "LIST")).code == "200"
        assert (await ask(wire, "SING " + "x" * 4092)).code == "500"
        assert await wire.read_answer() is None


async def test_a_peer_answers_a_line_that_is_too_long_and_closes(tmp_path: Path) -> None:
    async with open_world("holder", tmp_path) as world, connected(world, PEER_PORT) as wire:
        assert (await ask(wire, "HELLO OSP2P/2")).code == "200"
        assert (await ask(wire, "SING " + "x" * 4091)).code == "500"
        assert (await ask(wire, "SING " + "x" * 4092)).code == "500"
        assert await wire.read_answer() is None


@pytest.mark.parametrize(("alias", "code"), [("x" * 2047, "200"), ("x" * 2048, "300"), ("x%00y", "500")])
async def test_aliases(alias: str, code: str, tmp_path: Path) -> None:
    async with open_world("tracker", tmp_path) as world, connected(world) as wire:
        assert (await ask(wire, f"ADDR {alias} 127.0.0.1:4001")).code == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("x/" * 511 + "xx", "200"),
        ("x/" * 511 + "xxx", "500"),
        ("x" * 255, "200"),
        ("x" * 256, "500"),
        ("/etc/passwd", "500"),
        ("a//b", "500"),
        ("a/../b", "500"),
        ("a%2F.%2Fb", "500"),
        ("a%00b", "500"),
        ("...", "200"),
        ("%FF", "200"),
    ],
)
async def test_names(name: str, code: str, tmp_path: Path) -> None:
    async with open_world("tracker", tmp_path) as world, connected(world) as wire:
        assert (await ask(wire, "ADDR alice 127.0.0.1:4001")).code == "200"
        assert (await ask(wire, f"HAVE {name}")).code == code


@pytest.mark.parametrize("question", ["WHO", "WANT song.mp3"])
async def test_an_old_client_gets_what_its_buffer_holds(question: str, tmp_path: Path) -> None:
    async with open_world("tracker", tmp_path) as world, crowd(world, 150, "%20" * 300), connected(world) as base:
        reply = await ask(base, question)
        sizes = [len(line) for line in reply.data]
        assert max(sizes) <= 256
        assert 0 < len(sizes) < 150
        assert sum(sizes) + len(sizes) + len("200 \n") <= 4095
        async with connected(world) as hello:
            await ask(hello, "HELLO OSP2P/2")
            reply = await ask(hello, question)
            assert len(reply.data) == 150
            assert 256 < max(map(len, reply.data)) <= 600


async def test_fakes_stand_in_every_answer(tmp_path: Path) -> None:
    options = TrackerOptions(local=True, fakes=True)
    async with (
        open_world("tracker", tmp_path, options) as world,
        crowd(world, 2, "real"),
        connected(world) as wire,
    ):
        for question in ("WHO", "WANT song.mp3"):
            reply = await ask(wire, question)
            assert len(reply.data) == 252
            assert sum("PEER real" in line for line in reply.data) == 2
            assert len("\n".join(reply.data)) > 4096


@pytest.mark.parametrize("name", ["..%2Fcache.sqlite", "%2Fetc%2Fpasswd", "photos/../../cache.sqlite", "photos"])
async def test_a_name_that_escapes_is_just_one_that_is_not_shared(name: str, tmp_path: Path) -> None:
    async with open_world("node", tmp_path) as world:
        async with connected(world, PEER_PORT) as wire:
            await ask(wire, "HELLO OSP2P/2")
            assert (await ask(wire, f"GET {name} OSP2P/2")).code == "300"
        async with connected(world, PEER_PORT) as wire:
            await wire.say(f"GET {name} OSP2P")
            assert await wire.read_all() == b""


async def test_names_and_contents_are_as_many_as_the_document_says(tmp_path: Path) -> None:
    async with open_world("tracker", tmp_path) as world, AsyncExitStack() as stack:
        replies = []
        for number in range(65):
            wire = await stack.enter_async_context(connected(world))
            await ask(wire, "HELLO OSP2P/2")
            await ask(wire, f"ADDR a{number} 127.0.0.1:{4000 + number}")
            replies.append((await ask(wire, f"HAVE film.mkv b3={number:064x}")).code)
        assert replies == ["200"] * 64 + ["300"]
