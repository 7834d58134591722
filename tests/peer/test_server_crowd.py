"""Uploads in a crowd of strangers: who is served, who has to leave, and who gives way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectionLost
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.peer.node import Node, open_node
from tests.tracker.talk import running_tracker

CONTENT = bytes(range(256)) * 1000
PORT = 11112


class World:
    """A sharer on a host of its own, and others around it."""

    def __init__(self, network: MemoryNetwork, node: Node) -> None:
        self.network = network
        self.node = node

    async def connect(self, host: str) -> Connection:
        return await self.network.host(host).connect(self.network.address, PORT)

    async def fetch(self, host: str) -> bytes:
        return await rest(await self.ask(host))

    async def ask(self, host: str) -> Connection:
        connection = await self.connect(host)
        await connection.send(b"GET f OSP2P\n")
        return connection


async def rest(connection: Connection) -> bytes:
    received = b""
    try:
        while data := await connection.receive(65536):
            received += data
    except ConnectionLost:
        return received
    return received


@asynccontextmanager
async def sharing(directory: Path, limits: Limits) -> AsyncIterator[World]:
    """One file, shared as a node shares it."""
    (directory / "shared").mkdir()
    (directory / "shared" / "f").write_bytes(CONTENT)
    network = MemoryNetwork("10.0.0.1")
    async with (
        running_tracker(network, port=11111),
        open_node(
            trackers=["10.0.0.1:11111"], network=network, limits=limits, port=PORT, cache=directory / "digests"
        ) as node,
    ):
        await node.share(directory / "shared")
        yield World(network, node)


async def test_silent_strangers_make_room_and_downloads_go_on(tmp_path: Path) -> None:
    limits = replace(Limits(), max_connections=20)
    with trio.fail_after(30):
        async with sharing(tmp_path, limits) as world:
            served = await world.ask("10.0.0.2")
            silent = [await world.connect(f"10.0.1.{number}") for number in range(100)]
            await trio.testing.wait_all_tasks_blocked()
            assert await world.fetch("10.0.0.3") == CONTENT
            assert await rest(served) == CONTENT
            assert await rest(silent[0]) == b""  # closed
            with trio.move_on_after(0.05) as scope:
                await silent[-1].receive(1)
            assert scope.cancelled_caught  # still there


async def test_one_address_does_not_fill_the_server(tmp_path: Path) -> None:
    limits = replace(Limits(), max_connections=20, max_connections_per_host=5)
    with trio.fail_after(30):
        async with sharing(tmp_path, limits) as world:
            quiet = await world.connect("10.0.0.2")
            for _ in range(100):
                await world.connect("10.0.1.1")
            await trio.testing.wait_all_tasks_blocked()
            await quiet.send(b"GET f OSP2P\n")
            assert await rest(quiet) == CONTENT


@pytest.mark.parametrize("speak", [b"GET f OSP2P\n", b"HELLO OSP2P/2\nGET f OSP2P/2\n"])
async def test_downloaders_that_never_read_keep_nobody_out(tmp_path: Path, speak: bytes) -> None:
    limits = replace(Limits(), max_uploads=8, max_uploads_per_host=4)
    with trio.fail_after(30):
        async with sharing(tmp_path, limits) as world:
            readers = []
            for number in range(12):
                connection = await world.connect(f"10.0.1.{number % 3}")
                await connection.send(speak)
                readers.append(connection)
            await trio.testing.wait_all_tasks_blocked()
            assert await world.fetch("10.0.0.3") == CONTENT
