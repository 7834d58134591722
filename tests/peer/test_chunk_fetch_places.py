"""Holders and places of a fetch: the slow ones leave theirs to those that nobody has asked; a huge file has few."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK
from osp2p.limits import MIB
from osp2p.net import Connection
from osp2p.peer.chunk_client import Content
from tests.peer.odd_holders import OddHolder, trickling
from tests.peer.swarm import RATE, VIRTUAL, Peer, SharedStore, Swarm

Clock = trio.testing.MockClock

GIB = 1024 * MIB
TIB = 1024 * GIB

CHUNKS = 40
PLACES = 4
LIMITS = replace(VIRTUAL, max_chunk_sources=PLACES)


def with_tricklers(count: int, rate: float) -> tuple[Swarm, list[OddHolder]]:
    """One who fetches, and holders that are honest and very slow."""
    swarm = Swarm(CHUNKS * MIN_CHUNK, LIMITS)
    slow = [OddHolder(swarm.truth, trickling(rate)) for _ in range(count)]
    for holder in slow:
        swarm.add(handler=holder.serve)
    return swarm, slow


def fetched_from(peer: Peer, holders: list[Peer]) -> int:
    assert peer.fetch is not None
    addresses = {holder.address for holder in holders}
    return sum(source.fetched for address, source in peer.fetch.sources.items() if address in addresses)


@pytest.mark.parametrize("rate", [200.0, 4000.0])
async def test_holders_just_above_the_least_rate_keep_no_other_from_a_place(autojump_clock: Clock, rate: float) -> None:
    swarm, slow = with_tricklers(5 * PLACES, rate)
    late = swarm.add(seed=True, up=RATE, delay=2.0)
    peer = swarm.add(down=RATE)
    assert await swarm.run() < 30  # each round of places takes `idle_holder`, and half a second more
    assert peer.error is None
    assert fetched_from(peer, [late]) > (CHUNKS - PLACES) * MIN_CHUNK
    assert peer.failed == {}, "slowness is nobody's fault"
    assert all(len(holder.requests) <= 2 for holder in slow)


async def test_where_all_are_slow_each_has_one_turn_and_then_they_stay(autojump_clock: Clock) -> None:
    swarm, slow = with_tricklers(3 * PLACES, 4000.0)
    peer = swarm.add(down=RATE)
    took = await swarm.run()
    assert peer.error is None
    assert took < 1.25 * CHUNKS * MIN_CHUNK / (PLACES * 4000.0)
    assert all(1 <= len(holder.requests) <= 2 for holder in slow)


async def test_slow_holders_that_nobody_waits_for_stay(autojump_clock: Clock) -> None:
    swarm, slow = with_tricklers(PLACES, 4000.0)
    swarm.add(down=RATE)
    await swarm.run()
    assert all(len(holder.requests) == 1 for holder in slow)


async def test_holders_that_are_not_so_slow_stay(autojump_clock: Clock) -> None:
    swarm, slow = with_tricklers(2 * PLACES, 10_000.0)
    swarm.add(down=RATE)
    await swarm.run()
    assert sum(bool(holder.requests) for holder in slow) == PLACES


@pytest.mark.parametrize(("size", "places"), [(MIB, 32), (16 * GIB, 32), (TIB, 5), (1000 * TIB, 2)])
async def test_a_huge_file_is_asked_of_few_at_a_time(autojump_clock: Clock, size: int, places: int) -> None:
    """Each holder's chunks are kept in memory until they are proved, and those of a huge file are huge."""
    swarm = Swarm(0)
    swarm.truth = replace(swarm.truth, content=Content(b"film", size, bytes(32)))
    open_now = most_open = 0

    async def serve(connection: Connection) -> None:
        nonlocal open_now, most_open
        open_now += 1
        most_open = max(most_open, open_now)
        try:
            while await connection.receive(1000):
                pass
        finally:
            open_now -= 1

    for _ in range(40):
        swarm.add(handler=serve)
    peer = swarm.add()
    peer.store = SharedStore(swarm.truth)
    with trio.move_on_after(1):
        await swarm.run()
    assert most_open == places
