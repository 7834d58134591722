"""One holder: what it is asked and when, whom the chunk list is asked of, when it must leave its place, and threads."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from osp2p.content.chunk_store import ChunkStore, open_chunks
from osp2p.content.chunks import MIN_CHUNK
from osp2p.content.store import open_target
from osp2p.errors import ChecksumMismatch, ConnectionLost, MalformedLine
from osp2p.limits import MIB, Limits
from osp2p.net import Connection, Listener, MemoryNetwork, Network, TcpNetwork, serve_connections
from osp2p.net.groups import one_error
from osp2p.peer.chunk_client import NotHere, open_holder
from osp2p.peer.chunk_picker import Assignment
from osp2p.peer.holder_fetch import HolderFetch
from osp2p.peer.intake import Intake, Store
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from osp2p.wire.request import Request
from tests.peer.odd_holders import OddHolder, Twist, honest, silent_after, trickling, twisting
from tests.peer.swarm import VIRTUAL, SharedStore, truth_of

Clock = trio.testing.MockClock

SIZE = 10 * MIN_CHUNK


class World:
    """A fetch of one content, and holders of it on a network."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        size: int = SIZE,
        limits: Limits = VIRTUAL,
        store: Store | None = None,
        network: Network | None = None,
    ) -> None:
        self.truth = truth_of(size)
        self.nursery = nursery
        self.network = network or MemoryNetwork("127.0.0.1")
        self.shared = SharedStore(self.truth)
        self.store = store or self.shared
        self.limits = limits
        self.crowded = False
        self.gained: Callable[[], None] = lambda: None
        self.intake = Intake(
            self.truth.content, self.store, limits, random.Random(1), lambda: self.gained(), lambda event: None
        )
        self._listeners: list[Listener] = []
        self.ended: dict[Address, float] = {}

    async def add(self, twist: Twist = honest) -> tuple[OddHolder, Address]:
        """Put a holder on the network."""
        holder = OddHolder(self.truth, twist)
        listener = await self.network.listen(0, "127.0.0.1")
        self._listeners.append(listener)
        self.nursery.start_soon(serve_connections, listener, holder.serve, Limits())
        return holder, Address("127.0.0.1", listener.address.port)

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self.nursery.cancel_scope.cancel()

    async def use(self, key: Address) -> HolderFetch:
        """Fetch from one holder until that ends."""
        self.intake.begin(PeerEntry(b"x", key))
        async with open_holder(self.network, key, self.truth.content, self.limits) as client:
            fetch = HolderFetch(client, key, self.intake, self.network, lambda: self.crowded)
            with one_error():
                await fetch.run()
        self.ended[key] = trio.current_time()
        return fetch

    async def use_all(self, *keys: Address) -> None:
        """Fetch from several."""
        with one_error():
            async with trio.open_nursery() as nursery:
                for key in keys:
                    nursery.start_soon(self.use, key)


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    world = World(nursery)
    yield world
    world.close()


def verbs(requests: list[Request]) -> list[bytes]:
    return [request.verb for request in requests]


# --- the beginning ---


async def test_greeting_state_and_list_are_asked_in_one_go(world: World, autojump_clock: Clock) -> None:
    asked: list[bytes] = []

    async def twist(connection: Connection, request: Request, answer: bytes) -> None:
        asked.append(request.verb)
        if request.verb == b"CHUNKS":  # all three were sent before any answer was needed
            for verb in (b"HELLO", b"STAT"):
                await connection.send(holder.answer(Request(verb)))
            await connection.send(answer)
        elif request.verb == b"GET":
            await connection.send(answer)

    holder, key = await world.add(twist)
    await world.use(key)
    assert asked[:3] == [b"HELLO", b"STAT", b"CHUNKS"]
    assert world.intake.picker.complete


async def test_the_list_is_asked_of_one(world: World, autojump_clock: Clock) -> None:
    holders = [await world.add(trickling(4.0 * MIB)) for _ in range(4)]
    await world.use_all(*[key for _, key in holders])
    assert sum(holder.verbs.count(b"CHUNKS") for holder, _ in holders) == 1
    assert world.intake.picker.complete


async def test_the_list_is_asked_of_another_after_a_while(world: World, autojump_clock: Clock) -> None:
    silent, one = await world.add(silent_after(b"CHUNKS", 10))
    good, two = await world.add()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.use, one)
        await trio.sleep(0.01)
        await world.use(two)
        nursery.cancel_scope.cancel()
    assert trio.current_time() == pytest.approx(world.limits.hedge_after, abs=0.02)
    assert (silent.verbs.count(b"CHUNKS"), good.verbs.count(b"CHUNKS")) == (1, 1)


@pytest.mark.parametrize("answer", [b"CHUNK 0 x\n200 here\n", b"200 here\n"])
async def test_a_wrong_list_is_asked_of_another_at_once(world: World, autojump_clock: Clock, answer: bytes) -> None:
    async def twist(connection: Connection, request: Request, right: bytes) -> None:
        if request.verb == b"CHUNKS":
            await trio.sleep(0.3)
        await connection.send(answer if request.verb == b"CHUNKS" else right)

    _, one = await world.add(twist)
    _, two = await world.add()
    async with trio.open_nursery() as nursery:

        async def use_liar() -> None:
            with pytest.raises(MalformedLine):
                await world.use(one)

        nursery.start_soon(use_liar)
        await trio.sleep(0.01)
        await world.use(two)
    assert trio.current_time() == pytest.approx(0.3, abs=0.01)


async def test_one_without_the_list_waits_for_it_from_another(world: World, autojump_clock: Clock) -> None:
    """And goes on as soon as it is there, however long it wanted to be left in peace."""
    poor, one = await world.add(twisting(b"CHUNKS", lambda request, right: b"RETRY 5000\n303 not yet\n"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.use, one)
        await trio.sleep(0.5)
        assert b"GET" not in poor.verbs
        world.intake.take_list(world.truth.hashes)
    assert trio.current_time() < 0.6
    assert world.intake.picker.complete
    assert poor.verbs.count(b"CHUNKS") == 1


async def test_one_that_is_gone_owes_nothing(world: World, autojump_clock: Clock) -> None:
    _, key = await world.add(silent_after(b"GET", 100))
    with trio.move_on_after(1):
        await world.use(key)
    assert key not in world.intake.picker
    assert not world.intake.delivering
    _, other = await world.add()
    await world.use(other)
    assert world.intake.picker.complete


# --- places ---


BUSY = b"RETRY 500\n303 busy\n"


@pytest.mark.parametrize("verb", [b"STAT", b"CHUNKS", b"GET"])
async def test_a_busy_one_leaves_its_place_if_others_wait(world: World, autojump_clock: Clock, verb: bytes) -> None:
    _, key = await world.add(twisting(verb, lambda request, right: BUSY))
    world.crowded = True
    if verb == b"STAT":
        with pytest.raises(NotHere):
            await world.use(key)
    else:
        await world.use(key)
    assert world.limits.idle_holder <= trio.current_time() <= world.limits.idle_holder + 0.5


@pytest.mark.parametrize("verb", [b"STAT", b"CHUNKS", b"GET"])
async def test_a_busy_one_is_borne_if_nobody_waits(world: World, autojump_clock: Clock, verb: bytes) -> None:
    _, key = await world.add(twisting(verb, lambda request, right: BUSY))
    with trio.move_on_after(100) as scope:
        await world.use(key)
    assert scope.cancelled_caught


async def test_one_with_nothing_to_give_leaves_when_others_come(world: World, autojump_clock: Clock) -> None:
    _, key = await world.add(twisting(b"STAT", lambda request, right: b"SERIAL 1\n200 nothing\n"))
    world.shared.hashes = world.truth.hashes

    async def come() -> None:
        await trio.sleep(10)
        world.crowded = True
        world.intake.wake()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come)
        await world.use(key)
    assert trio.current_time() == 10


# --- what a partial holder gains ---


def states(*answers: bytes) -> Callable[[Request, bytes], bytes]:
    """One STAT after the other is answered so; the last one again and again."""
    left = list(answers)

    def change(request: Request, right: bytes) -> bytes:
        return left.pop(0) if len(left) > 1 else left[0]

    return change


async def test_a_watch_asks_from_the_last_serial_on(world: World, autojump_clock: Clock) -> None:
    change = states(
        b"SERIAL 7\nHAVE 0\n200 a part\n",
        b"SERIAL 9\nSINCE 7\nHAVE 1-2\n200 a part\n",
        b"SERIAL 12\nSINCE 9\nHAVE 3-5\n200 a part\n",
        b"SERIAL 10\nHAVE all\n200 all of it\n",
    )
    holder, key = await world.add(twisting(b"STAT", change))
    await world.use(key)
    assert world.intake.picker.complete
    main, watch = holder.requests
    assert b"GET" not in verbs(watch)
    assert [request.attributes.get(b"since") for request in watch if request.verb == b"STAT"] == [b"7", b"9", b"12"]
    assert trio.current_time() == pytest.approx(2 * world.limits.watch_pause, abs=0.01)
    assert verbs(main)[:3] == [b"HELLO", b"STAT", b"CHUNKS"]


async def test_a_watch_asks_nothing_while_the_holder_delivers(world: World, autojump_clock: Clock) -> None:
    """Its answers say what it has gained; a word about each chunk to each watcher would be most of a swarm's talk."""
    asked: list[float] = []

    async def twist(connection: Connection, request: Request, answer: bytes) -> None:
        if request.verb == b"STAT" and b"since" in request.attributes:
            asked.append(trio.current_time())
            await connection.send(b"SERIAL 2\nSINCE 1\nHAVE 1\n200 a part\n")
        elif request.verb == b"STAT":
            await connection.send(b"SERIAL 1\nHAVE 0\n200 a part\n")
        else:
            if request.verb == b"GET":
                await trio.sleep(4)
                answer = answer.replace(b"\n", b" new=0-9\n", 1) if not asked[1:] else answer
            await connection.send(answer)

    _, key = await world.add(twist)
    await world.use(key)
    assert world.intake.picker.complete
    assert len([at for at in asked if at < 4.0]) <= 1
    assert len(asked) <= 3


async def test_what_one_holder_gains_wakes_no_other(world: World, autojump_clock: Clock) -> None:
    looked: dict[Address, int] = {}
    assign = world.intake.picker.assign

    def count(key: Hashable, now: float) -> Assignment | None:
        assert isinstance(key, Address)
        looked[key] = looked.get(key, 0) + 1
        return assign(key, now)

    def part(serial: int, first: int) -> bytes:
        return b"SERIAL %d\nSINCE %d\nHAVE %d\n200 a part\n" % (serial, serial - 1, first)

    useless, gaining = b"SERIAL 1\n200 a part\n", [part(2 + index, index) for index in range(9)]
    _, idle = await world.add(twisting(b"STAT", lambda request, answer: useless))
    _, busy = await world.add(twisting(b"STAT", states(b"SERIAL 1\n200 a part\n", *gaining)))
    world.intake.picker.assign = count  # type: ignore[method-assign]
    with trio.move_on_after(3):
        await world.use_all(idle, busy)
    assert len(world.shared.chunks) == 9
    assert looked[busy] >= 9
    assert looked[idle] <= 3


@pytest.mark.parametrize(("have", "most"), [(b"0", 31), (b"0,2,4,6,8", 7)])
async def test_who_says_much_is_asked_less_often(world: World, autojump_clock: Clock, have: bytes, most: int) -> None:
    """It takes longer to read than to write, and there may be many who have nothing else to say."""
    world.limits = world.intake.limits = replace(world.limits, max_ranges_rate=10)
    said = b"SERIAL 1\nHAVE %b\n200 a part\n" % have
    holder, key = await world.add(twisting(b"STAT", lambda request, answer: said))
    with trio.move_on_after(3):
        await world.use(key)
    asked = sum(request.verb == b"STAT" for requests in holder.requests[1:] for request in requests)
    assert most - 3 <= asked <= most


async def test_a_watch_that_breaks_is_made_again_ever_more_slowly(world: World, autojump_clock: Clock) -> None:
    async def twist(connection: Connection, request: Request, answer: bytes) -> None:
        if request.verb == b"STAT" and b"since" in request.attributes:
            tried.append(trio.current_time())
            connection.abort()
        elif request.verb == b"STAT":
            await connection.send(b"SERIAL 1\nHAVE 0\n200 a part\n")
        else:
            await connection.send(answer)

    tried: list[float] = []
    _, key = await world.add(twist)
    with trio.move_on_after(60):
        await world.use(key)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8])
    assert world.shared.chunks.serial == 1  # what it has given stands


async def test_nonsense_from_a_watch_ends_it_all(world: World, autojump_clock: Clock) -> None:
    change = states(b"SERIAL 1\nHAVE 0\n200 a part\n", b"SERIAL 1\nSINCE 1\nHAVE 5-2\n200 a part\n")
    _, key = await world.add(twisting(b"STAT", change))
    with pytest.raises(MalformedLine):
        await world.use(key)


async def test_one_that_was_started_anew_may_have_less(world: World, autojump_clock: Clock) -> None:
    change = states(b"SERIAL 3\nHAVE 0-8\n200 a part\n", b"SERIAL 1\nHAVE 0\n200 a part\n")

    async def twist(connection: Connection, request: Request, right: bytes) -> None:
        if request.verb == b"STAT":
            right = change(request, right)
        elif request.verb == b"GET" and trio.current_time() < 1:
            right = BUSY
        await connection.send(right)

    _, key = await world.add(twist)
    with trio.move_on_after(5):
        await world.use(key)
    assert list(world.shared.chunks) == [0]


# --- threads, real sockets, a real disk ---


LARGE = 40 * MIB + 5


@asynccontextmanager
async def real_world(path: Path) -> AsyncIterator[tuple[World, ChunkStore]]:
    """A store on the disk, and TCP; threads work from 1 MiB on, and the first chunk says that a holder is fast."""
    truth = truth_of(LARGE)
    limits = replace(Limits(), request_time=5.0)
    with one_error(), open_target(path, limits) as target:
        async with trio.open_nursery() as nursery:
            store = await open_chunks(target, LARGE, truth.content.b3)
            world = World(nursery, size=LARGE, limits=limits, store=store, network=TcpNetwork())
            yield world, store
            world.close()


def check_whole(store: ChunkStore) -> None:
    truth = truth_of(LARGE)
    assert store.chunks.complete
    for index in range(truth.content.count):
        assert os.pread(store.fd, MIN_CHUNK, index * MIN_CHUNK) == truth.chunk(index)


@pytest.mark.parametrize("holders", [1, 3])
async def test_batches_are_proved_and_written_in_threads(tmp_path: Path, holders: int) -> None:
    async with real_world(tmp_path / "file") as (world, store):
        await world.use_all(*[(await world.add())[1] for _ in range(holders)])
        check_whole(store)


async def test_a_wrong_chunk_in_a_batch_is_found_and_the_rest_is_right(tmp_path: Path) -> None:
    """Who sent it closes behind its lie, and is a liar all the same."""

    async def twist(connection: Connection, request: Request, answer: bytes) -> None:
        if request.verb != b"GET" or len(answer) < 5 * MIB:
            await connection.send(answer)
            return
        middle = len(answer) // 2
        await connection.send(answer[:middle] + bytes([answer[middle] ^ 1]) + answer[middle + 1 :])
        connection.close()

    async with real_world(tmp_path / "file") as (world, store):
        _, liar = await world.add(twist)
        _, good = await world.add()
        with pytest.raises((ChecksumMismatch, ConnectionLost)):
            await world.use(liar)
        assert "wrong chunk" in str(world.intake.lied(liar))
        assert not store.chunks.complete
        await world.use(good)
        check_whole(store)


async def test_cancelled_beside_threads_the_store_is_sound(tmp_path: Path) -> None:
    async with real_world(tmp_path / "file") as (world, store):
        _, key = await world.add()
        with trio.CancelScope() as scope:
            world.gained = lambda: scope.cancel() if len(store.chunks) >= 8 else None
            await world.use(key)
        assert scope.cancelled_caught
        assert 8 <= len(store.chunks) < world.truth.content.count
        for index in store.chunks:
            assert os.pread(store.fd, MIN_CHUNK, index * MIN_CHUNK) == world.truth.chunk(index)
        assert world.intake.done == store.done
        await world.use(key)
        check_whole(store)
