"""Commands that may open few files: strangers take them from each other, never from those who belong there."""

from __future__ import annotations

import resource
import socket
import sys
from pathlib import Path

import pytest
import trio

from osp2p.cli.descriptors import raise_descriptor_limit
from tests.cli.processes import World

#: How many descriptors the programs here may have.
FEW = 96

#: Runs a command with few descriptors.
WITH_FEW = (
    sys.executable,
    "-c",
    f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({FEW}, {FEW}));"
    "from osp2p.cli.main import main; sys.exit(main(sys.argv[1:]))",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def flood(port: int, count: int, hello: bytes = b"") -> list[socket.socket]:
    """Connections from other addresses than honest ones have; a server may close them at any time."""
    made = []
    for number in range(count):
        sock = socket.create_connection(("127.0.0.1", port), 10, (f"127.0.1.{1 + number % 4}", 0))
        try:
            sock.send(hello)
        except OSError:
            sock.close()
        else:
            made.append(sock)
    return made


async def ask(stream: trio.SocketStream, line: bytes) -> bytes:
    await stream.send_all(line + b"\n")
    return await stream.receive_some()


async def test_a_tracker_keeps_its_peers_and_answers_newcomers(world: World) -> None:
    async with world.start("tracker", "--port", "0", "--json", program=WITH_FEW) as tracker:
        port = (await tracker.record("listening"))["port"]
        assert isinstance(port, int)
        peers = []
        for number in range(10):
            peer = await trio.open_tcp_stream("127.0.0.1", port)
            await peer.receive_some()
            assert (await ask(peer, b"ADDR p%d 127.0.0.1:%d" % (number, 4000 + number))).startswith(b"200")
            peers.append(peer)
        strangers = await trio.to_thread.run_sync(flood, port, 3 * FEW, b"HAV")
        with trio.fail_after(20):
            late = await trio.open_tcp_stream("127.0.0.1", port)
            await late.receive_some()
            assert (await ask(late, b"WHO")).count(b"PEER p") == 10
            for number, peer in enumerate(peers):
                assert (await ask(peer, b"HAVE f%d" % number)).startswith(b"200")
            assert (await ask(late, b"LIST")).count(b"FILE f") == 10
        for sock in strangers:
            sock.close()
        for stream in (*peers, late):
            await stream.aclose()
        assert await tracker.end() == 0
    assert b"Traceback" not in tracker.err


@pytest.mark.parametrize("hello", [b"", b"HELLO OSP2P/2\n"])
async def test_a_sharer_serves_files_however_many_strangers_hang_on(world: World, hello: bytes) -> None:
    directory = world.files("shared", cat_jpg=b"meow" * 1000)
    async with world.start("share", str(directory), "--host", "--tracker-port", "0", "--json", program=WITH_FEW) as one:
        hosting = await one.record("hosting")
        listening = await one.record("listening")
        assert isinstance(hosting["addresses"], list)
        port = int(str(listening["address"]).rpartition(":")[2])
        strangers = await trio.to_thread.run_sync(flood, port, 3 * FEW, hello)
        done = await world.run("get", "cat.jpg", "-t", hosting["addresses"][0], "--json", "-o", "fetched/")
        assert done.code == 0, done.err
        assert (world.directory / "fetched" / "cat.jpg").read_bytes() == b"meow" * 1000
        for sock in strangers:
            sock.close()
        assert await one.end() == 0
    assert b"Traceback" not in one.err


def test_the_soft_limit_is_raised_and_never_lowered() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raise_descriptor_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft > 256 or hard == 256
        assert hard == before[1]
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
