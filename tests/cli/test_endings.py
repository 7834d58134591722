"""How commands end: exit codes and signals, with real processes and the network's accidents."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.cli.processes import PEER_PY, TRACKER_PY, Words, World
from tests.standins.old_peer import Habits, open_old_peer
from tests.standins.old_tracker import OldTracker, open_old_tracker

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    async with world.tracker() as port:
        yield port


@asynccontextmanager
async def _old_peer(tracker: OldTracker, content: bytes, habits: Habits | None = None) -> AsyncIterator[None]:
    """A peer of 2007 that shares one file, `a`, and registers no checksum."""
    at = (tracker.host, tracker.port)
    async with open_old_peer({b"a": content}, habits or Habits(), tracker=at) as peer:
        await peer.ready.wait()
        yield


# --- no tracker ---


@pytest.mark.parametrize(
    "words", [["ls"], ["who"], ["get", "x"], ["get", "x*"], ["checksum", "x"], ["share", "."]], ids=" ".join
)
async def test_no_tracker_is_said_at_once(world: World, words: list[str]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can be there
        taken.bind(("127.0.0.1", 0))
        begun = time.monotonic()
        result = await world.run(*words, "-t", f"127.0.0.1:{taken.getsockname()[1]}")
        address = f"127.0.0.1:{taken.getsockname()[1]}".encode()
    assert (result.code, result.out) == (4, b"")
    assert f"no tracker answers at {address.decode()}: connection refused; start one" in result.err.decode()
    assert result.err.count(address) == 1
    assert b"Traceback" not in result.err
    assert time.monotonic() - begun < 5


async def test_a_tracker_that_says_nothing_is_given_up_in_time(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        result = await world.run("ls", OSP2P_TRACKER=f"127.0.0.1:{silent.getsockname()[1]}")
    assert result.code == 4, result.err
    assert time.monotonic() - begun < 7


@pytest.mark.parametrize("words", [["ls"], ["share", "."]], ids=" ".join)
async def test_every_tracker_that_was_named_is_named_in_the_error(world: World, words: list[str]) -> None:
    with socket.socket() as first, socket.socket() as second:
        trackers = []
        for taken in (first, second):
            taken.bind(("127.0.0.1", 0))
            trackers += ["-t", f"127.0.0.1:{taken.getsockname()[1]}"]
        result = await world.run(*words, *trackers)
    assert result.code == 4
    last = result.err.decode().splitlines()[-1]
    for address in (trackers[1], trackers[3]):
        assert f"no tracker answers at {address}: connection refused" in last


async def test_a_server_that_is_no_tracker(world: World) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"SSH-2.0-x\r\n")
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, greet, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        result = await world.run("ls", "-t", str(port))
        nursery.cancel_scope.cancel()
    assert result.code == 4
    assert f"what listens at 127.0.0.1:{port} is no tracker: it greets with 'SSH-2.0-x'" in result.err.decode()


async def test_sharing_that_never_begins_promises_no_next_try(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for more in ([], ["--json"]):
            result = await world.run("share", ".", "-t", str(taken.getsockname()[1]), *more)
            assert result.code == 4
            assert b"next try" not in result.err
            assert b"tracker-lost" not in result.out


async def test_a_port_that_is_taken(world: World, port: int) -> None:
    result = await world.run("tracker", "--port", str(port))
    assert result.code == 4
    assert result.err.decode().count("\n") == 1
    assert b"choose another port" in result.err


# --- nobody, some, the disk, no proof ---


async def test_nobody_has_it(world: World, port: int) -> None:
    for words in (["get", "x"], ["get", "x*"], ["get", "x", "y*"], ["checksum", "x"], ["ls", "x"]):
        result = await world.run(*words)
        assert (result.code, result.out) == (3, b""), words


async def test_a_target_that_cannot_be(world: World, port: int) -> None:
    async with world.sharer(world.files("docs", a=b"x")):
        result = await world.run("get", "a", "-o", "docs/a/b")
        assert result.code == 8, result.err


async def test_a_file_that_is_too_large(world: World, port: int) -> None:
    async with world.sharer(world.files("docs", a=b"x" * 2000)):
        result = await world.run("get", "a", "-o", "new/", "--max-size", "1kB")
        assert result.code == 8, result.err
        assert not (world.directory / "new" / "a").exists()


async def test_without_a_checksum(world: World) -> None:
    async with open_old_tracker() as tracker, _old_peer(tracker, b"content"):
        address = f"{tracker.host}:{tracker.port}"
        demanded = await world.run("get", "a", "-t", address, "--require-verified")
        assert demanded.code == 6, demanded.err
        assert not (world.directory / "a").exists()
        taken = await world.run("get", "a", "-t", address)
        assert taken.code == 0, taken.err
        assert b"unverified: no checksum known" in taken.out
        assert (world.directory / "a").read_bytes() == b"content"
        again = await world.run("get", "a", "-t", address)
        assert b"a -> a: 7 B, here already, unverified: no checksum known" in again.out
        assert os.listdir(world.directory) == ["a"]


# --- usage ---


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["share", "nowhere"], None),
        (["share", ".", "--host", "-t", "x"], None),
        (["share", ".", "--tracker-port", "5000"], None),
        (["get", "x", "-o", ""], None),
        (["get", "x", "-q", "-v"], None),
        (["ls", "-t", ":::"], None),
        (["md5", "."], None),
        (["verify", ".", "osp2p://h/n#b3=" + "0" * 64], None),
        (["link", "./nowhere"], None),
        (["share"], None),
        (["get", ""], None),
        (["get", "x", "-t", "host:99999"], None),
        (["checksum"], None),
        (["-dnowhere"], PEER_PY),
        (["-bnonsense", "-t5000"], PEER_PY),
        (["-pnonsense"], TRACKER_PY),
    ],
)
async def test_wrong_usage_is_one_line(world: World, words: list[str], program: Words | None) -> None:
    result = await world.run(*words, **({"program": program} if program else {}))  # type: ignore[arg-type]
    assert (result.code, result.out) == (2, b"")
    assert len(result.err.splitlines()) == 1
    assert len(result.err) < 300


# --- signals ---


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_tracker_tells_its_clients_that_it_ends(world: World, number: int) -> None:
    async with world.start("tracker", "--port", "0", "--json") as program:
        port = (await program.record("listening"))["port"]
        assert isinstance(port, int)
        async with await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.receive_some()
            assert await program.end(number) == 0
            last_words = b"".join([data async for data in client])
        assert b"goodbye" in last_words
        assert b"Traceback" not in program.err


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_sharer_leaves(world: World, port: int, number: int) -> None:
    async with world.sharer(world.files("docs", a=b"x")) as program:
        assert await program.end(number) == 0
        assert program.err == b""


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_fetch_that_is_interrupted_leaves_nothing_under_the_final_name(world: World, number: int) -> None:
    habits = Habits(rate=2000.0)
    async with open_old_tracker() as tracker, _old_peer(tracker, b"x" * 10**6, habits):
        here = world.files("here")
        address = f"{tracker.host}:{tracker.port}"
        async with world.start("get", "a", "--json", "-t", address, cwd=here) as program:
            await program.record("progress")
            assert await program.end(number) == 130
            assert (await program.record("interrupted"))["command"] == f"osp2p get a --json -t {address}"
            assert b"Traceback" not in program.err
        assert not (here / "a").exists()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
async def test_an_end_in_the_midst_of_starting(world: World, port: int, delay: float) -> None:
    """Whatever is being imported then. The first moments belong to Python itself, which dies of the signal."""
    async with world.start("share", ".") as program:
        await trio.sleep(delay)
        code = await program.end(signal.SIGTERM)
        assert code in (0, -signal.SIGTERM)
        assert b"Traceback" not in program.err


# --- the front doors of 2007 ---


async def test_the_tracker_and_the_peer_of_2007(world: World) -> None:
    docs = world.files("docs", a=b"x")
    new = world.files("new", a=b"other", b=b"y")
    async with world.start("-p0", "-l", "--json", program=TRACKER_PY) as tracker:
        port = (await tracker.record("listening"))["port"]
        async with world.start(f"-t127.0.0.1:{port}", "-d", str(docs), program=PEER_PY) as first:
            await first.heard("sharing 1 file of")
            world.environment["OSP2P_TRACKER"] = f"127.0.0.1:{port}"
            await world.wait_for_checksum(b"a")  # from now on this is what the name stands for
            async with world.start("a", f"-t{port}", "nope", f"-d{new}", program=PEER_PY) as second:
                await second.heard("sharing 2 files of")
                await second.heard("a~1~: ")
                await second.heard("nope: ")
                assert (new / "a~1~").read_bytes() == b"x"
                assert (new / "a").read_bytes() == b"other"
                listed = await world.run("ls", "-t", str(port))
                assert listed.out.split() == [b"a", b"b"]  # a name that ends in ~ is no file for others
                assert await second.end(signal.SIGINT) == 0
            assert await first.end() == 0
        assert await tracker.end(signal.SIGINT) == 0


async def test_the_evil_peer_of_2007(world: World, port: int) -> None:
    async with (
        world.sharer(world.files("docs", a=b"x" * 1000)),
        world.start("-bwrong", f"-t{port}", program=PEER_PY) as evil,
    ):
        await evil.heard("claims to hold a")
        result = await world.run("get", "a")
        assert result.code == 0, result.err
        assert await evil.end() == 0
    assert (world.directory / "a").read_bytes() == b"x" * 1000
    assert os.listdir(world.directory / "docs") == ["a"]
