"""A node whose trackers fall silent, and calls that are cancelled at a bad moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.peer import GetOptions, Node, Wanted, open_node
from osp2p.peer.events import TransferDone
from tests.peer.scripted import HOST, PORT, ScriptedTracker, here, new, open_scripted

HOLDER = "10.0.0.3"
LIMITS = replace(Limits(), register_patience=0.2)
ADDR, HAVE = b"ADDR", b"HAVE"


def answer(line: bytes) -> bytes:
    """A tracker that knows a holder of everything, and falls silent when it is told of a file."""
    if line.startswith(HAVE):
        return b""
    return b"PEER holder %s:11112\n200 x\n" % HOLDER.encode() if line.startswith(b"WANT") else b"200 x\n"


@asynccontextmanager
async def world(tmp_path: Path, limits: Limits) -> AsyncIterator[tuple[Node, MemoryNetwork]]:
    """A node, such a tracker, and a holder that gives the name of whatever it is asked for."""
    network = here()

    async def give(connection: Connection) -> None:
        request = await connection.receive(4096)
        await connection.send(request.split()[1])
        connection.close()

    async def hold() -> None:
        listener = await network.host(HOLDER).listen(11112)
        async with trio.open_nursery() as connections:
            while True:
                connections.start_soon(give, await listener.accept())

    async with (
        trio.open_nursery() as nursery,
        open_scripted(network, ScriptedTracker(new(answer))),
        open_node(
            trackers=[f"{HOST}:{PORT}"], network=network, limits=limits, cache=tmp_path / "cache", alias=b"a"
        ) as node,
    ):
        nursery.start_soon(hold)
        yield node, network
        nursery.cancel_scope.cancel()


async def test_files_arrive_though_the_tracker_does_not_take_them_as_seeds(tmp_path: Path) -> None:
    names = [b"f%d" % number for number in range(40)]
    wanted = [Wanted(name, tmp_path / "got" / name.decode()) for name in names]
    async with world(tmp_path, LIMITS) as (node, _):
        with trio.fail_after(15):
            async with node.open_get(wanted, GetOptions(seed=True)) as events:
                done = [event async for event in events if isinstance(event, TransferDone)]
    assert sorted(event.name for event in done) == sorted(names)


async def test_a_port_that_was_cancelled_while_it_opened_is_opened_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, LIMITS) as (node, network):
        resolve = network.resolve

        async def hang(host: str) -> Any:
            await trio.sleep_forever()

        monkeypatch.setattr(network, "resolve", hang)
        with trio.move_on_after(0.1) as scope:
            await node.listen()
        assert scope.cancelled_caught
        monkeypatch.setattr(network, "resolve", resolve)
        with trio.fail_after(5):
            address = await node.listen()
        assert address.port == 11112
        assert {own.port for own in node._sharing.own_addresses()} == {11112}  # the tracker has been told


async def test_a_name_that_is_never_resolved_holds_up_no_more_than_a_dead_tracker(tmp_path: Path) -> None:
    async with world(tmp_path, replace(LIMITS, connect_timeout=0.2)) as (node, network):

        async def hang(host: str) -> Any:
            await trio.sleep_forever()

        with pytest.MonkeyPatch.context() as patch, trio.fail_after(5):
            patch.setattr(network, "resolve", hang)
            await node.listen()
