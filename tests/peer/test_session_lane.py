"""Costly answers of a session: in turns of addresses, with others served in between, bounded if nobody reads."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from osp2p.content.chunks import MIN_CHUNK, content_id
from osp2p.limits import Limits
from osp2p.net import Admission, Connection, MemoryNetwork, Network, TcpNetwork, serve_visits
from osp2p.peer.events import Event
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from tests.net.lanes import count_turns
from tests.tracker.talk import Client

LIMITS = Limits()
COUNT = 2000
HASHES = random.Random(1).randbytes(32 * COUNT)
SIZE = COUNT * MIN_CHUNK


class Shelf:
    """Many files, and one with a long chunk list. It counts the requests for that."""

    def __init__(self) -> None:
        self.asked = 0
        self.offers = [Offer(b"file %06d" % number, 10, lambda: -1) for number in range(3000)]
        self.large = Offer(b"large", SIZE, lambda: -1, b3=content_id(SIZE, HASHES), hashes=HASHES)

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        self.asked += 1
        return self.large if name == b"large" else None

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return [offer for offer in self.offers if offer.name > after][:count]


@asynccontextmanager
async def serving(network: Network, limits: Limits = LIMITS, shelf: Shelf | None = None) -> AsyncIterator[int]:
    events: list[Event] = []
    server = UploadServer(shelf or Shelf(), limits, events.append)
    listener = await network.listen(0)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_visits, listener, server.serve, Admission(limits))
            yield listener.address.port
            nursery.cancel_scope.cancel()
    listener.close()


async def say_hello(connection: Connection) -> Client:
    talk = Client(connection)
    assert await talk.code(b"HELLO OSP2P/2") == 200
    return talk


async def test_long_lists_take_turns_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = count_turns(monkeypatch)
    network = MemoryNetwork("10.0.0.1")
    async with serving(network) as port:
        talks = [
            await say_hello(await network.host(f"10.0.1.{number}").connect("10.0.0.1", port)) for number in range(3)
        ]
        for talk in talks:
            await talk.send(b"LIST\nSTAT large\nCHUNKS large\nCHUNKS large 3-5\n")
        for talk in talks:
            replies = [await talk.reply() for _ in range(4)]
            assert [len(reply.data) for reply in replies if reply is not None] == [3000, 4, COUNT, 3]
    assert turns == {f"10.0.1.{number}": 2 for number in range(3)}


@pytest.mark.parametrize("flood", [b"LIST\n" * 400, b"CHUNKS large\n" * 400, b"STAT large\n" * 20_000])
async def test_requests_sent_far_ahead_let_others_have_their_turn(flood: bytes) -> None:
    """On real sockets, where to send and to receive gives nobody a turn as long as nothing has to wait."""
    shelf = Shelf()
    async with serving(TcpNetwork(), shelf=shelf) as port:
        greedy = await say_hello(await TcpNetwork().connect("127.0.0.1", port))
        modest = await say_hello(await TcpNetwork().connect("127.0.0.1", port))
        answered = 0

        async def read() -> None:
            nonlocal answered
            for _ in range(flood.count(b"\n")):
                assert await greedy.reply() is not None
                answered += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(greedy.send, flood)
            nursery.start_soon(read)
            for _ in range(5):
                before = shelf.asked
                assert await modest.code(b"STAT large") == 200
                assert shelf.asked - before < 1000
            assert answered < flood.count(b"\n")
            nursery.cancel_scope.cancel()
        for talk in (greedy, modest):
            talk.connection.close()


async def test_who_never_reads_makes_room_for_who_does() -> None:
    network = MemoryNetwork("10.0.0.1", capacity=1000)
    limits = replace(LIMITS, max_unsent_answers=300_000, max_unsent=50_000)
    async with serving(network, limits) as port:
        hosts = [network.host(f"10.0.1.{number}") for number in range(12)]
        slow = [await say_hello(await host.connect("10.0.0.1", port)) for host in hosts]
        for talk in slow:
            await talk.send(b"LIST\n")
            await wait_all_tasks_blocked()
        honest = await say_hello(await network.host("10.0.0.3").connect("10.0.0.1", port))
        assert len(await honest.data(b"LIST")) == 3000
        replies = [await talk.reply() for talk in slow]
        assert [reply is None for reply in replies] == sorted([reply is None for reply in replies], reverse=True)
        assert 0 < replies.count(None) < len(replies)
