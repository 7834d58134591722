"""NOTIFY: who asked for it is told, in order, and nobody waits for a port that does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import trio
import trio.testing

from osp2p.limits import Limits
from osp2p.net import MemoryNetwork, TcpNetwork
from osp2p.tracker.holdings import Peer
from osp2p.tracker.lines import write_base_line, write_hello_line
from osp2p.tracker.notify import Notifier
from osp2p.wire.address import Address
from tests.tracker.talk import PATIENCE, client, running_tracker

HOME = "10.0.0.1"


def make_peer(alias: bytes, port: int, host: str = HOME, *, hello: bool = False) -> Peer:
    address = Address(host, port)
    return Peer(
        alias,
        address,
        host,
        hello=hello,
        base_line=write_base_line(alias, address, Limits()),
        hello_line=write_hello_line(alias, address, Limits(), hello=hello),
    )


class Ear:
    """A peer's port: what was said to it, a connection each."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.anything = trio.Event()

    async def listen(self, network: MemoryNetwork, port: int) -> None:
        listener = await network.listen(port)
        while True:
            connection = await listener.accept()
            said = b""
            while data := await connection.receive(1000):
                said += data
            self.heard.append(said)
            self.anything.set()


@asynccontextmanager
async def world(limits: Limits) -> AsyncIterator[tuple[MemoryNetwork, Notifier, trio.Nursery]]:
    network = MemoryNetwork(HOME)
    notifier = Notifier(network, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run)
        yield network, notifier, nursery
        nursery.cancel_scope.cancel()


async def test_who_asked_is_told_of_each_new_peer_in_order(autojump_clock: Any) -> None:
    async with world(Limits()) as (network, notifier, nursery):
        ears = [Ear() for _ in range(3)]
        peers = [make_peer(b"p%d" % number, 5000 + number) for number in range(3)]
        for number, ear in enumerate(ears):
            nursery.start_soon(ear.listen, network, 5000 + number)
        await trio.testing.wait_all_tasks_blocked()
        for peer in peers[:2]:
            notifier.subscribe(peer)
        for number in range(5):
            notifier.tell(make_peer(b"new %d" % number, 6000 + number))
        await trio.testing.wait_all_tasks_blocked()
        notifier.unsubscribe(peers[0])
        notifier.tell(make_peer(b"last", 7000))
        await trio.testing.wait_all_tasks_blocked()
        lines = [b"NOTIFY new%%20%d 10.0.0.1:%d OSP2P\n" % (number, 6000 + number) for number in range(5)]
        assert [ear.heard for ear in ears] == [lines, [*lines, b"NOTIFY last 10.0.0.1:7000 OSP2P\n"], []]


async def test_nobody_is_told_of_itself_and_base_peers_not_of_ipv6(autojump_clock: Any) -> None:
    async with world(Limits()) as (network, notifier, nursery):
        old_ear, new_ear = Ear(), Ear()
        nursery.start_soon(old_ear.listen, network, 5000)
        nursery.start_soon(new_ear.listen, network, 5001)
        await trio.testing.wait_all_tasks_blocked()
        old, new = make_peer(b"old", 5000), make_peer(b"new", 5001, hello=True)
        for peer in (old, new):
            notifier.subscribe(peer)
        notifier.tell(new)
        notifier.tell(make_peer(b"far", 9, "2001:db8::1", hello=True))
        await trio.testing.wait_all_tasks_blocked()
        assert old_ear.heard == [b"NOTIFY new 10.0.0.1:5001 OSP2P\n"]
        assert new_ear.heard == [b"NOTIFY far [2001:db8::1]:9 OSP2P\n"]


async def test_what_waits_for_many_is_kept_once() -> None:
    """Who logs in many times, asks to be told and does not listen fills no memory with what others are called."""
    notifier = Notifier(MemoryNetwork(HOME), Limits())
    waiting = [make_peer(b"p%d" % number, 2000 + number, hello=number % 2 == 0) for number in range(1000)]
    for peer in waiting:
        notifier.subscribe(peer)
    for number in range(200):
        notifier.tell(make_peer(b"x" * 500, 4000 + number))
    notices = [notice for queue in notifier._queues.values() for notice in queue]
    assert len(notices) == 1000 * Limits().max_block_queue
    assert len({id(notice) for notice in notices}) == 2 * Limits().max_block_queue


async def test_a_peer_that_leaves_while_its_turn_begins_ends_nothing(autojump_clock: Any) -> None:
    network = MemoryNetwork(HOME)
    notifier = Notifier(network, Limits())
    ear = Ear()
    leaving, staying = make_peer(b"leaving", 1), make_peer(b"staying", 5000)

    class Watched(set[Peer]):
        """The peer leaves between the choice of its turn and the turn."""

        def add(self, peer: Peer) -> None:
            super().add(peer)
            notifier.unsubscribe(leaving)

    notifier._busy = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run)
        nursery.start_soon(ear.listen, network, 5000)
        await trio.testing.wait_all_tasks_blocked()
        for peer in (leaving, staying):
            notifier.subscribe(peer)
        notifier.tell(make_peer(b"new", 6000))
        await trio.testing.wait_all_tasks_blocked()
        assert ear.heard == [b"NOTIFY new 10.0.0.1:6000 OSP2P\n"]
        nursery.cancel_scope.cancel()


class SlowNetwork(MemoryNetwork):
    """Connections to port 1 never stand; how many are tried at a time is counted."""

    trying = 0
    most = 0

    async def connect(self, host: str, port: int) -> Any:
        self.trying += 1
        self.most = max(self.most, self.trying)
        try:
            if port == 1:
                await trio.sleep_forever()
            return await super().connect(host, port)
        finally:
            self.trying -= 1


async def test_a_port_that_does_not_answer_holds_up_nobody(autojump_clock: Any) -> None:
    network = SlowNetwork(HOME)
    limits = replace(Limits(), max_notify_connections=4, max_block_queue=3)
    notifier = Notifier(network, limits)
    ear = Ear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run)
        nursery.start_soon(ear.listen, network, 5000)
        deaf = [make_peer(b"deaf%d" % number, 1, f"10.0.1.{number}") for number in range(10)]
        nobody = make_peer(b"nobody", 2)
        for peer in [*deaf, nobody, make_peer(b"ear", 5000)]:
            notifier.subscribe(peer)
        began = trio.current_time()
        notifier.tell(make_peer(b"new", 6000))
        await ear.anything.wait()
        # Ten deaf ones share four connections: two rounds of them pass before it is the ear's turn.
        assert trio.current_time() - began <= 3 * limits.notify_timeout
        for number in range(20):
            notifier.tell(make_peer(b"n%d" % number, 6001 + number))
        await trio.sleep(1000)
        assert network.most == 4
        assert ear.heard[1:] == [b"NOTIFY n%d 10.0.0.1:%d OSP2P\n" % (n, 6001 + n) for n in (17, 18, 19)]
        nursery.cancel_scope.cancel()


async def test_over_real_sockets() -> None:
    with trio.fail_after(PATIENCE):
        listener = await TcpNetwork().listen(0, "127.0.0.1")
        async with running_tracker() as addresses, client(addresses[0].port) as peer, client(addresses[0].port) as new:
            await peer.ask(b"ADDR peer 127.0.0.1:%d" % listener.address.port)
            assert await peer.code(b"NOTIFY") == 200
            await new.ask(b"ADDR new%0Aone 127.0.0.1:4001")
            connection = await listener.accept()
            assert await connection.receive(1000) == b"NOTIFY new%0Aone 127.0.0.1:4001 OSP2P\n"
            assert await connection.receive(1000) == b""
            connection.close()
        listener.close()
