"""What a peer offers: which chunks are here, which were sent least, and who is told of what is gained."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.chunks import MIN_CHUNK, ChunkMap
from osp2p.peer.offer import Offer

COUNT = 20
SIZE = COUNT * MIN_CHUNK - 5
CHUNKS = st.integers(0, COUNT - 1)


def no_file() -> int:
    raise AssertionError("nobody opens it here")


def whole(size: int = SIZE) -> Offer:
    return Offer(b"a", size, no_file)


def part(*indexes: int, first_serial: int = 0) -> Offer:
    chunks = ChunkMap(COUNT, first_serial=first_serial)
    for index in indexes:
        chunks.add(index)
    return Offer(b"a", SIZE, no_file, chunks=chunks)


def gain(offer: Offer, index: int) -> None:
    assert offer.chunks is not None
    offer.chunks.add(index)
    offer.notify()


def test_a_whole_file_has_everything() -> None:
    offer = whole()
    assert offer.complete
    assert offer.has(0, COUNT - 1)
    assert offer.ranges() == [(0, COUNT - 1)]
    assert offer.here() == 2**COUNT - 1


def test_an_empty_file_has_no_chunks() -> None:
    offer = whole(0)
    assert offer.complete
    assert offer.ranges() == []
    assert offer.here() == 0
    assert offer.least_sent([(0, 0)]) is None


@given(st.sets(CHUNKS), CHUNKS, CHUNKS)
def test_a_part_has_what_it_has(indexes: set[int], one: int, other: int) -> None:
    offer = part(*indexes)
    first, last = sorted((one, other))
    assert offer.has(first, last) == set(range(first, last + 1)).issubset(indexes)
    assert offer.here() == sum(1 << index for index in indexes)
    assert offer.complete == (len(indexes) == COUNT)


def test_what_is_here_follows_what_is_gained() -> None:
    offer = part(3)
    assert offer.here() == 0b1000
    gain(offer, 0)
    gain(offer, 5)
    assert offer.here() == 0b101001
    assert offer.here() == 0b101001


@given(st.lists(st.tuples(CHUNKS, CHUNKS).map(sorted), max_size=12), st.sets(CHUNKS), st.sets(CHUNKS), st.sets(CHUNKS))
def test_of_the_least_sent_the_first(
    sent: list[list[int]], here: set[int], wanted: set[int], given_already: set[int]
) -> None:
    offer = part(*here)
    times = [0] * COUNT
    for first, last in sent:
        offer.count_sent(first, last)
        for index in range(first, last + 1):
            times[index] += 1
    possible = wanted & here - given_already or wanted & here
    expected = min(possible, key=lambda index: (times[index], index), default=None)
    chosen = offer.least_sent([(index, index) for index in sorted(wanted)], sum(1 << index for index in given_already))
    assert chosen == expected


def test_who_counts_what_it_chooses_spreads_every_chunk_before_any_twice() -> None:
    offer = whole()
    chosen = []
    for _ in range(2 * COUNT):
        chunk = offer.least_sent([(0, COUNT - 1)])
        assert chunk is not None
        offer.count_sent(chunk, chunk)
        chosen.append(chunk)
    assert chosen == [*range(COUNT), *range(COUNT)]


def test_choosing_among_the_most_chunks_a_file_can_have_is_quick() -> None:
    """At one GB/s a seed chooses 4000 times a second; a walk over the chunks would take 5 ms each."""
    offer = whole(16_384 * MIN_CHUNK)
    began = time.process_time()
    for _ in range(500):
        chunk = offer.least_sent([(0, 16_383)])
        assert chunk is not None
        offer.count_sent(chunk, chunk)
    assert time.process_time() - began < 0.5


# --- serial numbers ---


def test_the_serial_grows_with_each_chunk() -> None:
    offer = part(1, 2, first_serial=100)
    assert offer.serial == 102
    assert offer.gained_since(101) == [(2, 2)]
    assert offer.gained_since(102) == []
    assert offer.gained_since(99) is None  # of another process
    assert offer.gained_since(103) is None
    assert offer.gained_since(None) is None


def test_a_whole_file_is_what_a_part_becomes() -> None:
    """Who has followed a part to its end knows all of the whole file, and who has not must be told all of it."""
    offer = whole()
    complete = part(*range(COUNT))
    assert offer.serial == complete.serial
    assert offer.gained_since(complete.serial) == []
    for serial in (0, COUNT - 1, COUNT + 1):
        assert offer.gained_since(serial) is None


# --- waiting ---


async def test_who_waits_is_woken_by_a_gain(autojump_clock: trio.testing.MockClock) -> None:
    offer = part(1)
    woken: list[float] = []

    async def wait() -> None:
        await offer.wait_changed(1)
        woken.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        began = trio.current_time()
        await trio.sleep(5)
        gain(offer, 2)
    assert [at - began for at in woken] == [5, 5]


async def test_who_knows_less_does_not_wait() -> None:
    offer = part(1)
    with trio.fail_after(1):
        await offer.wait_changed(0)


async def test_who_does_not_wait_still_lets_others_run() -> None:
    with trio.testing.assert_checkpoints():
        await part(1).wait_changed(0)


async def test_a_withdrawal_wakes_too(autojump_clock: trio.testing.MockClock) -> None:
    offer = whole()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(offer.wait_changed, offer.serial)
        await trio.testing.wait_all_tasks_blocked()
        offer.notify()


async def test_nobody_is_woken_without_a_change(autojump_clock: trio.testing.MockClock) -> None:
    offer = part(1)
    with pytest.raises(trio.TooSlowError), trio.fail_after(1000):
        await offer.wait_changed(1)
