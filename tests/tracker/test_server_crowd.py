"""The tracker in a crowd: attackers at addresses of their own, idle or dripping, and honest peers among them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from tests.tracker.talk import PATIENCE, Client, client, running_tracker

PORT = 11111
HONEST = "10.0.0.2"
LIMITS = Limits()


class World:
    """A tracker on a network in memory, and hosts around it."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network

    @asynccontextmanager
    async def client(self, host: str) -> AsyncIterator[Client]:
        async with client(PORT, self.network.address, self.network.host(host)) as made:
            yield made

    async def connect(self, host: str) -> Client:
        return Client(await self.network.host(host).connect(self.network.address, PORT))


@asynccontextmanager
async def world(limits: Limits) -> AsyncIterator[World]:
    network = MemoryNetwork("10.0.0.1")
    with trio.fail_after(PATIENCE):
        async with running_tracker(network, limits=limits, port=PORT):
            yield World(network)


async def is_open(talk: Client) -> bool:
    await trio.testing.wait_all_tasks_blocked()
    while True:
        with trio.move_on_after(0.01) as scope:
            if await talk.line() is None:
                return False
        if scope.cancelled_caught:
            return True


async def test_registered_peers_stay_whoever_comes() -> None:
    async with world(replace(LIMITS, max_connections=12)) as made, made.client(HONEST) as peer:
        assert await peer.code(b"ADDR honest 10.0.0.2:4000") == 200
        assert await peer.code(b"HAVE f") == 200
        idle = [await made.connect(f"10.0.1.{number}") for number in range(50)]
        assert [await is_open(talk) for talk in idle] == [False] * 39 + [True] * 11
        async with made.client("10.0.0.3") as late:
            assert await late.data(b"WANT f") == [b"PEER honest 10.0.0.2:4000"]
        assert await peer.code(b"LIST") == 200


async def test_who_speaks_stays_longer_than_who_is_silent() -> None:
    async with world(replace(LIMITS, max_connections=12)) as made, made.client(HONEST) as talker:
        for number in range(50):
            assert await talker.code(b"LIST") == 200
            await made.connect(f"10.0.1.{number}")
            await trio.testing.wait_all_tasks_blocked()
        assert await talker.code(b"LIST") == 200


async def test_a_line_that_never_ends_is_silence() -> None:
    async with world(replace(LIMITS, max_connections=12)) as made:
        drippers = [await made.connect(f"10.0.2.{number}") for number in range(12)]
        for _ in range(3):
            for talk in drippers:
                await talk.send(b"x")
        async with made.client(HONEST) as peer:
            assert await peer.code(b"LIST") == 200
        assert [await is_open(talk) for talk in drippers[:2]] == [False, True]


async def test_an_address_loses_its_own_and_nobody_elses() -> None:
    async with world(replace(LIMITS, max_connections_per_host=5)) as made, made.client("10.0.0.9") as quiet:
        flood = [await made.connect("10.0.1.1") for _ in range(40)]
        assert [await is_open(talk) for talk in flood].count(True) == 5
        assert await quiet.code(b"LIST") == 200
        async with made.client("10.0.1.1") as neighbour:  # even one behind the same address is served
            assert await neighbour.code(b"LIST") == 200


async def test_registered_peers_do_not_count_against_their_address() -> None:
    async with world(replace(LIMITS, max_connections_per_host=2)) as made:
        peers = [await made.connect(HONEST) for _ in range(1)]
        for number in range(6):
            talk = await made.connect(HONEST)
            assert await talk.reply() is not None
            assert await talk.code(b"ADDR p%d 10.0.0.2:%d" % (number, 4000 + number)) == 200
            peers.append(talk)
        assert [await is_open(talk) for talk in peers] == [True] * 7
        strangers = [await made.connect(HONEST) for _ in range(3)]
        assert [await is_open(talk) for talk in [*peers[1:], *strangers]] == [True] * 6 + [False, True, True]


async def test_an_address_has_so_many_peers_and_no_more() -> None:
    async with (
        world(replace(LIMITS, max_peers_per_host=2)) as made,
        made.client(HONEST) as one,
        made.client(HONEST) as two,
        made.client(HONEST) as three,
    ):
        assert await one.code(b"ADDR a 10.0.0.2:4001") == 200
        assert await two.code(b"ADDR b 10.0.0.2:4002") == 200
        assert await three.code(b"ADDR c 10.0.0.2:4003") == 300
        async with made.client("10.0.0.3") as other:
            assert await other.code(b"ADDR d 10.0.0.3:4004") == 200
        assert await one.code(b"QUIT") == 200
        assert await one.line() is None
        assert await three.code(b"ADDR c 10.0.0.2:4003") == 200
        assert len(await two.data(b"WHO")) == 2


async def test_a_host_with_many_ipv6_addresses_is_one() -> None:
    network = MemoryNetwork("10.0.0.1", ipv6_address="fd00::1")
    with trio.fail_after(PATIENCE):
        async with running_tracker(network, limits=replace(LIMITS, max_peers_per_host=1), port=PORT):
            codes = []
            for host in ("fd00:0:0:1::1", "fd00:0:0:1::2", "fd00:0:0:2::1"):
                talk = Client(await network.host("10.0.0.2", host).connect("fd00::1", PORT))
                await talk.reply()
                assert await talk.code(b"HELLO OSP2P/2") == 200
                codes.append(await talk.code(b"ADDR x [%s]:4000" % host.encode()))
            assert codes == [200, 300, 200]


# --- on real sockets ---


@contextmanager
def attackers(port: int, addresses: int, each: int) -> Iterator[list[socket.socket]]:
    """Connections from 127.0.1.1 and so on, none of which has said anything yet."""
    made: list[socket.socket] = []
    try:
        for number in range(addresses):
            source = (f"127.0.1.{1 + number}", 0)
            made += [socket.create_connection(("127.0.0.1", port), 5, source) for _ in range(each)]
        yield made
    finally:
        for sock in made:
            sock.close()


async def test_hundreds_of_idle_and_dripping_connections_hold_up_nobody() -> None:
    with trio.fail_after(PATIENCE):
        async with running_tracker() as (address, *_):
            with attackers(address.port, 5, 80) as crowd:
                for sock in crowd[::3]:
                    sock.send(b"HAV")
                async with client(address.port) as peer, client(address.port) as asker:
                    assert await peer.code(b"ADDR honest 127.0.0.1:4000") == 200
                    for number in range(200):
                        for sock in crowd[number % 3 :: 30]:
                            sock.send(b"E")
                        assert await peer.code(b"HAVE f%d" % number) == 200
                        assert await asker.data(b"WANT f%d" % number) == [b"PEER honest 127.0.0.1:4000"]


@pytest.mark.parametrize("addresses", [1, 10])
async def test_a_flood_of_connections_that_come_and_go(addresses: int) -> None:
    limits = replace(LIMITS, max_connections=100, max_connections_per_host=50)
    with trio.fail_after(PATIENCE):
        async with running_tracker(limits=limits) as (address, *_), client(address.port) as peer:
            assert await peer.code(b"ADDR honest 127.0.0.1:4000") == 200
            for _ in range(5):
                with attackers(address.port, addresses, 200 // addresses):
                    assert await peer.code(b"LIST") == 200
                    async with client(address.port) as late:
                        assert await late.data(b"WHO") == [b"PEER honest 127.0.0.1:4000"]
