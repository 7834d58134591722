"""Fetching a content from many holders, in virtual time: who fails is left, and everything arrives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK, content_id
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    NobodyHasIt,
    Stalled,
    StoreError,
)
from osp2p.limits import MIB, Limits
from osp2p.net import Connection
from osp2p.peer.chunk_client import Content
from osp2p.peer.events import SourceFailed
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from osp2p.wire.request import Request
from tests.peer.fetches import SIZE, add_odd, check_done, fetch_of
from tests.peer.odd_holders import (
    Twist,
    closing_after,
    honest,
    silent_after,
    trickling,
    twisting,
)
from tests.peer.swarm import RATE, VIRTUAL, Peer, SharedStore, Swarm, truth_of

Clock = trio.testing.MockClock


# --- what holds of every fetch ---


@pytest.mark.parametrize("size", [1, 100, MIN_CHUNK - 1, MIN_CHUNK, MIN_CHUNK + 1, SIZE])
async def test_one_seed_gives_everything_once(autojump_clock: Clock, size: int) -> None:
    swarm = Swarm(size)
    seed, peer = swarm.add(seed=True), swarm.add()
    await swarm.run()
    check_done(peer)
    assert peer.fetch is not None
    assert peer.fetch.fetched == size
    assert {key: (source.fetched, source.error) for key, source in peer.fetch.sources.items()} == {
        seed.address: (size, None)
    }


async def test_a_single_chunk_needs_no_list(autojump_clock: Clock) -> None:
    swarm = Swarm(MIN_CHUNK)
    holder, _ = add_odd(swarm, honest)
    peer = swarm.add()
    await swarm.run()
    check_done(peer)
    assert holder.verbs == [b"HELLO", b"STAT", b"GET"]


async def test_an_empty_file_needs_nobody(autojump_clock: Clock) -> None:
    swarm = Swarm(0)
    peer = swarm.add()
    assert await swarm.run() == 0
    check_done(peer)
    assert peer.store is not None
    assert peer.store.hashes == b""


async def test_an_empty_file_with_the_id_of_another_is_none(autojump_clock: Clock) -> None:
    store = SharedStore(truth_of(0))
    fetch = fetch_of(Content(b"a", 0, content_id(1, bytes(32))), store)
    with pytest.raises(ChecksumMismatch):
        await fetch.run()


async def test_what_is_here_is_not_fetched_again(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    swarm.add(seed=True)
    peer = swarm.add()
    assert peer.store is not None
    for index in (0, 3, 19):
        peer.store.chunks.add(index)
    await swarm.run()
    check_done(peer)
    assert sorted(peer.store.writes) == [index for index in range(20) if index not in (0, 3, 19)]
    assert peer.fetch is not None
    assert peer.fetch.fetched == SIZE - 3 * MIN_CHUNK + 77
    assert peer.progress[-1].resumed == 3 * MIN_CHUNK - 77


async def test_nothing_is_asked_if_all_is_here(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    holder, _ = add_odd(swarm, honest)
    peer = swarm.add()
    assert peer.store is not None
    peer.store.chunks.add_ranges([(0, 19)])
    await swarm.run()
    assert peer.progress[-1].done == peer.progress[-1].resumed == SIZE
    assert not holder.requests


async def test_chunks_come_from_all_at_a_time(autojump_clock: Clock) -> None:
    swarm = Swarm(4 * MIB)
    for _ in range(4):
        swarm.add(seed=True, up=MIB)
    peer = swarm.add(down=100 * MIB)
    took = await swarm.run()
    check_done(peer)
    assert took < 1.3  # each by itself would take 4 s
    assert peer.fetch is not None
    assert min(source.fetched for source in peer.fetch.sources.values()) >= MIB / 2
    assert max(progress.sources for progress in peer.progress) == 4


async def test_progress_never_goes_back(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    swarm.add(seed=True, up=RATE)
    peer = swarm.add(down=RATE)
    await swarm.run()
    done = [event.done for event in peer.progress]
    assert done == sorted(done)
    assert done[-1] == SIZE
    assert len(done) > 2


# --- failures ---


FAILURES: dict[str, Twist] = {
    "silent from the beginning": silent_after(b"HELLO", 0),
    "silent to the first question": silent_after(b"STAT", 0),
    "silent to the list": silent_after(b"CHUNKS", 100),
    "silent to chunks": silent_after(b"GET", 0),
    "silent in the middle of a chunk": silent_after(b"GET", 100_000, after=1),
    "closes at once": closing_after(b"HELLO", 0),
    "closes in the middle": closing_after(b"GET", 100_000),
    "resets in the middle": closing_after(b"GET", 100_000, reset=True),
    "trickles": trickling(5000),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_one_who_fails_among_the_good_delays_little(autojump_clock: Clock, failure: str) -> None:
    swarm = Swarm(SIZE)
    add_odd(swarm, FAILURES[failure])
    good = swarm.add(seed=True, up=4 * MIB)
    peer = swarm.add(down=100 * MIB)
    took = await swarm.run()
    check_done(peer)
    assert took < 1.25 + 2 * Limits().end_game_after + 0.5
    assert peer.fetch is not None
    assert peer.fetch.sources[good.address].error is None


@pytest.mark.parametrize("failure", ["silent to chunks", "silent to the first question", "silent from the beginning"])
async def test_silence_everywhere_is_a_stall(autojump_clock: Clock, failure: str) -> None:
    swarm = Swarm(SIZE)
    add_odd(swarm, FAILURES[failure])
    peer = swarm.add()
    took = await swarm.run()
    assert isinstance(peer.error, Stalled)
    assert took <= VIRTUAL.stall_timeout


async def test_nobody(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    peer = swarm.add()
    took = await swarm.run()
    assert isinstance(peer.error, NobodyHasIt)
    assert str(peer.error) == "nobody has it"
    assert took == pytest.approx(VIRTUAL.retry_window, abs=0.1)


async def test_nobody_but_oneself(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    peer = swarm.add()
    swarm.strangers.append(peer.entry)
    await swarm.run()
    assert isinstance(peer.error, NobodyHasIt)
    assert peer.fetch is not None
    assert not peer.fetch.sources


async def test_nobody_listens(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    swarm.strangers += [PeerEntry(b"x", Address("10.7.7.7", port)) for port in range(1, 40)]
    peer = swarm.add()
    took = await swarm.run()
    assert isinstance(peer.error, ConnectFailed)
    assert took < VIRTUAL.retry_window + 1
    assert len(peer.failed) == 39


async def test_a_holder_that_comes_later_is_found(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    swarm.add(seed=True, delay=2)
    peer = swarm.add()
    assert await swarm.run() < 3
    check_done(peer)


async def test_a_holder_that_was_lost_is_tried_again(autojump_clock: Clock) -> None:
    """Should the tracker still name it: it may have been started anew."""
    swarm = Swarm(SIZE)
    _, odd = add_odd(swarm, one_failure_then_honest())
    peer = swarm.add()
    await swarm.run()
    check_done(peer)
    assert set(peer.failed) == {odd.address}


def one_failure_then_honest() -> Twist:
    failed = False

    async def twist(connection: Connection, request: Request, answer: bytes) -> None:
        nonlocal failed
        if request.verb == b"GET" and not failed:
            failed = True
            connection.abort()
            return
        await connection.send(answer)

    return twist


async def test_a_fetch_goes_on_without_its_tracker(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    swarm.add(seed=True, up=MIB)
    peer = swarm.add(down=100 * MIB)

    async def fail() -> None:
        await swarm.barrier.wait()
        await trio.sleep(0.1)
        swarm.tracker_fails = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await swarm.run()
    check_done(peer)


async def test_one_that_is_left_for_good_reason_is_reported_once(autojump_clock: Clock) -> None:
    """However often the tracker names it, and it fails in the same way."""
    swarm = Swarm(SIZE)
    swarm.strangers.append(PeerEntry(b"x", Address("10.7.7.7", 1)))
    swarm.add(seed=True, up=MIB / 2)
    peer = swarm.add(down=100 * MIB)
    assert await swarm.run() > 9
    check_done(peer)
    reports = [event for _, event in peer.events if isinstance(event, SourceFailed)]
    assert len(reports) == 1


async def test_more_addresses_than_anybody_needs_are_not_remembered(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE, replace(VIRTUAL, max_holders=50, stall_timeout=5))
    peer = swarm.add()
    for number in range(1000):
        swarm.strangers.append(PeerEntry(b"x", Address(f"10.7.{number // 250}.{number % 250 + 1}", 1)))
    await swarm.run()
    assert peer.fetch is not None
    assert len(peer.fetch.sources) == 50


# --- refusals ---


async def test_a_busy_holder_is_asked_again(autojump_clock: Clock) -> None:
    for verb in (b"STAT", b"CHUNKS", b"GET"):
        busy = 3

        def refuse(request: Request, answer: bytes) -> bytes:
            nonlocal busy
            busy -= 1
            return b"RETRY 400\n303 busy\n" if busy >= 0 else answer

        swarm = Swarm(SIZE)
        _, odd = add_odd(swarm, twisting(verb, refuse))
        peer = swarm.add()
        took = await swarm.run()
        check_done(peer)
        assert 1.1 < took < 2
        assert not peer.failed
        assert odd.number == 0


async def test_a_busy_holder_does_not_keep_others_from_what_it_was_asked_for(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    add_odd(swarm, twisting(b"GET", lambda request, answer: b"RETRY 60000\n303 busy\n"))
    swarm.add(seed=True, up=4 * MIB)
    peer = swarm.add(down=100 * MIB)
    assert await swarm.run() < 2
    check_done(peer)


@pytest.mark.parametrize("refusal", [b"300 no such file\n", b"301 another\n", b"500 what\n"])
@pytest.mark.parametrize("verb", [b"STAT", b"CHUNKS", b"GET"])
async def test_one_who_does_not_serve_it_is_left(autojump_clock: Clock, refusal: bytes, verb: bytes) -> None:
    swarm = Swarm(SIZE)
    _, odd = add_odd(swarm, twisting(verb, lambda request, answer: refusal))
    swarm.add(seed=True, up=4 * MIB, delay=0.01)
    peer = swarm.add(down=100 * MIB)
    await swarm.run()
    check_done(peer)
    assert set(peer.failed) == {odd.address}


async def test_one_who_refuses_every_chunk_is_not_asked_for_ever(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    odd, _ = add_odd(swarm, twisting(b"GET", lambda request, answer: b"302 not here\n"))
    peer = swarm.add()
    await swarm.run()
    assert isinstance(peer.error, Stalled | NobodyHasIt)
    assert odd.verbs.count(b"GET") <= 20


# --- the disk, cancellation ---


@pytest.mark.parametrize("chunks", [0, 1, 7])
async def test_a_disk_that_fails_ends_it_with_that_error_alone(autojump_clock: Clock, chunks: int) -> None:
    swarm = Swarm(SIZE)
    for _ in range(5):
        swarm.add(seed=True, up=MIB)
    add_odd(swarm, closing_after(b"GET", 1000))
    peer = swarm.add(down=100 * MIB)
    assert peer.store is not None
    peer.store.fails_after = chunks
    await swarm.run()
    assert type(peer.error) is StoreError
    assert len(peer.store.chunks) == chunks
    assert not [key for key in peer.failed if key != swarm.peers[5].address]  # it was nobody's fault


@pytest.mark.parametrize(("at", "seed"), [(0.0, 1), (0.01, 2), (0.3, 3), (0.77, 4), (1.1, 5), (1.7, 6), (2.2, 7)])
async def test_cancelled_at_any_time_what_was_proved_is_there(autojump_clock: Clock, at: float, seed: int) -> None:
    """And a second fetch brings the rest, and nothing else."""
    swarm = Swarm(SIZE, seed=seed)
    swarm.add(seed=True, up=MIB)
    swarm.add(seed=True, up=MIB)
    store = SharedStore(swarm.truth)
    peer = Peer(swarm, 100, None, store, True, None, 0.0)
    async with trio.open_nursery() as nursery:
        for other in swarm.peers:
            nursery.start_soon(other.run)
        await trio.testing.wait_all_tasks_blocked()
        swarm.barrier.set()
        with trio.move_on_after(at):
            await fetch_of(swarm.truth.content, store, swarm, peer).run()
        assert len(store.writes) >= len(store.chunks)
        before = set(store.chunks)
        store.writes = []
        rest = fetch_of(swarm.truth.content, store, swarm, peer)
        await rest.run()
        nursery.cancel_scope.cancel()
    assert store.chunks.complete
    assert sorted(store.writes) == sorted(set(range(20)) - before)
