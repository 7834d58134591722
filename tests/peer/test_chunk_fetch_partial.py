"""Fetching a content from holders of parts of it, in virtual time: what they gain is followed; places are for all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK
from osp2p.limits import MIB
from osp2p.net import Connection
from osp2p.peer.server import UploadServer
from tests.peer.fetches import SIZE, add_odd, check_done
from tests.peer.odd_holders import (
    trickling,
    twisting,
)
from tests.peer.swarm import RATE, VIRTUAL, Peer, Swarm

Clock = trio.testing.MockClock


# --- partial holders ---


async def test_partial_holders_give_what_they_have(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    swarm.add(has=range(8))
    swarm.add(has=range(6, 15))
    swarm.add(has=range(14, 20))
    peer = swarm.add()
    await swarm.run()
    check_done(peer)
    assert not peer.failed


async def test_a_seed_gives_only_what_partial_holders_do_not(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    swarm.add(has=range(15), up=8 * MIB)
    seed = swarm.add(seed=True, up=8 * MIB)
    peer = swarm.add(down=100 * MIB)
    await swarm.run()
    check_done(peer)
    assert peer.fetch is not None
    assert peer.fetch.sources[seed.address].fetched <= 6 * MIN_CHUNK


async def test_what_a_partial_holder_gains_is_followed(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    part = swarm.add(has=[0])
    peer = swarm.add()

    async def gain() -> None:
        await swarm.barrier.wait()
        for index in range(1, 20):
            await trio.sleep(0.5)
            part.gain(index)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(gain)
        took = await swarm.run()
    check_done(peer)
    assert took == pytest.approx(19 * 0.5, abs=0.2)


async def test_a_broken_watch_is_made_again(autojump_clock: Clock) -> None:
    """The second connection breaks; the first one has nothing to tell."""
    swarm = Swarm(SIZE)
    part = swarm.add(has=[0])
    peer = swarm.add()

    async def gain() -> None:
        await swarm.barrier.wait()
        await trio.sleep(1)
        for connection in connections[1:]:
            connection.abort()
        part.gain(*range(1, 20))

    connections = recorded_connections(part)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gain)
        took = await swarm.run()
    check_done(peer)
    assert len(connections) == 3
    assert took < 2 + VIRTUAL.retry_pause


def recorded_connections(peer: Peer) -> list[Connection]:
    """Every connection that a peer has taken so far, in order."""
    taken: list[Connection] = []
    server = UploadServer(peer, peer.swarm.limits, peer.report)

    async def serve(connection: Connection) -> None:
        taken.append(connection)
        await server.serve(connection)

    peer.handler = serve
    return taken


async def test_two_who_have_half_each_complete_each_other(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    one, two = swarm.add(), swarm.add()
    assert one.store is not None
    assert two.store is not None
    one.store.chunks.add_ranges([(0, 9)])
    two.store.chunks.add_ranges([(10, 19)])
    one.store.hashes = swarm.truth.hashes  # the other asks for the list
    one.offer.hashes = swarm.truth.hashes
    await swarm.run()
    check_done(one)
    check_done(two)


async def test_who_has_nothing_makes_room_for_who_has(autojump_clock: Clock) -> None:
    """More useless holders than there are places, and the only seed comes last."""
    swarm = Swarm(SIZE)
    peer = swarm.add()
    for _ in range(2 * VIRTUAL.max_chunk_sources):
        swarm.add(has=[])
    swarm.add(seed=True, delay=1)
    took = await swarm.run()
    check_done(peer)
    assert took < 1 + 3 * VIRTUAL.idle_holder
    assert not peer.failed


async def test_a_disputed_size_is_held_to_while_who_agrees_waits_for_our_own_limit(
    autojump_clock: Clock,
) -> None:
    swarm = Swarm(MIN_CHUNK - 7)
    digits = b"SIZE %d" % swarm.truth.content.size
    add_odd(swarm, twisting(b"STAT", lambda request, answer: answer.replace(digits, b"SIZE 7")))
    swarm.add(seed=True)
    peer = swarm.add(limit_down=MIN_CHUNK / 5)
    took = await swarm.run()
    check_done(peer)
    assert VIRTUAL.hedge_after < took < VIRTUAL.first_byte_timeout


async def test_who_claims_to_have_all_cannot_take_all_places(autojump_clock: Clock) -> None:
    limits = replace(VIRTUAL, max_chunk_sources=2)
    swarm = Swarm(SIZE, limits)
    for _ in range(3):
        add_odd(swarm, trickling(20_000.0))
    partial = swarm.add(has=range(20), up=RATE, down=RATE)
    peer = swarm.add()
    assert await swarm.run() < 10
    check_done(peer)
    assert peer.fetch is not None
    assert peer.fetch.sources[partial.address].fetched > 15 * MIN_CHUNK
