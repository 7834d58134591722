"""More slow holders than there are places: those that nobody has asked yet have a turn, and little is lost by that."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK
from tests.peer.odd_holders import OddHolder, trickling
from tests.peer.swarm import RATE, VIRTUAL, Peer, Swarm

Clock = trio.testing.MockClock

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
