"""Fetching a content from many holders, in virtual time: who lies is named, who fails is left, everything arrives."""

from __future__ import annotations

import random
from collections.abc import Callable
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
from osp2p.peer.chunk_fetch import ChunkFetch
from osp2p.peer.events import Event, SourceFailed
from osp2p.peer.server import UploadServer
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from osp2p.wire.request import Request
from tests.peer.odd_holders import (
    OddHolder,
    Twist,
    asked_for,
    closing_after,
    honest,
    list_answer,
    silent_after,
    trickling,
    twisting,
)
from tests.peer.swarm import RATE, VIRTUAL, Peer, SharedStore, Swarm, truth_of

SIZE = 20 * MIN_CHUNK - 77

Clock = trio.testing.MockClock


def check_done(peer: Peer) -> None:
    """A peer has everything, each chunk written once, and its last progress event says so."""
    assert peer.error is None
    assert peer.store is not None
    size, count = peer.swarm.truth.content.size, peer.swarm.truth.content.count
    assert peer.store.chunks.complete
    assert len(peer.store.writes) == len(set(peer.store.writes))
    last = peer.progress[-1]
    assert (last.done, last.size) == (size, size)
    assert last.resumed == size - sum(
        min(MIN_CHUNK, size - index * MIN_CHUNK) for index in set(peer.store.writes) if index < count
    )


def add_odd(swarm: Swarm, twist: Twist) -> tuple[OddHolder, Peer]:
    holder = OddHolder(swarm.truth, twist)
    return holder, swarm.add(handler=holder.serve)


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


# --- lies ---


def wrong_byte(request: Request, answer: bytes) -> bytes:
    return answer[:-1] + bytes([answer[-1] ^ 1])


def another_chunk(request: Request, answer: bytes) -> bytes:
    """The answer to somebody else's request: right bytes, but not those that were asked for."""
    truth = truth_of(SIZE)
    head, _, body = answer.partition(b"200 here\n")
    chunk = (asked_for(request, truth, answer) + 7) % 19
    return head + b"200 here\n" + truth.chunk(chunk)[: len(body)]


def another_number(request: Request, answer: bytes) -> bytes:
    return answer.replace(b"chunk=", b"chunk=1", 1) if b"chunk=" in answer else wrong_byte(request, answer)


def longer(request: Request, answer: bytes) -> bytes:
    head, rest = answer.split(b"\n", 1)
    words = head.split()
    return b" ".join([b"DATA", b"%d" % (int(words[1]) + 1), *words[2:]]) + b"\n" + rest + b"x"


def shorter(request: Request, answer: bytes) -> bytes:
    head, rest = answer.split(b"\n", 1)
    words = head.split()
    return b" ".join([b"DATA", b"%d" % (int(words[1]) - 1), *words[2:]]) + b"\n" + rest[:-1]


def more_bytes(request: Request, answer: bytes) -> bytes:
    return answer + b"more"


def twice(request: Request, answer: bytes) -> bytes:
    return answer + answer


def huge(request: Request, answer: bytes) -> bytes:
    return b"DATA 9223372036854775807\n200 here\n" + answer


def nonsense(request: Request, answer: bytes) -> bytes:
    return random.Random(3).randbytes(5000).replace(b"\n", b"")


def endless(request: Request, answer: bytes) -> bytes:
    return b"HAVE 1\n" * 210_000


def lies() -> dict[str, Callable[[], Twist]]:
    truth = truth_of(SIZE)
    count = len(truth.hashes) // 32
    swapped = truth.hashes[32:64] + truth.hashes[:32] + truth.hashes[64:]
    return {
        "a wrong byte": lambda: twisting(b"GET", wrong_byte),
        "a wrong byte, later": lambda: twisting(b"GET", wrong_byte, after=1),
        "another chunk": lambda: twisting(b"GET", another_chunk),
        "another number": lambda: twisting(b"GET", another_number),
        "a length too large": lambda: twisting(b"GET", longer),
        "a length too small": lambda: twisting(b"GET", shorter),
        "a huge length": lambda: twisting(b"GET", huge),
        "more bytes than announced": lambda: twisting(b"GET", more_bytes),
        "each answer twice": lambda: twisting(b"GET", twice),
        "answers out of thin air": lambda: twisting(b"STAT", twice),
        "nonsense for chunks": lambda: twisting(b"GET", nonsense),
        "nonsense for a greeting": lambda: twisting(b"HELLO", nonsense),
        "nonsense for a state": lambda: twisting(b"STAT", nonsense),
        "a state without end": lambda: twisting(b"STAT", endless),
        "chunks that no such file has": lambda: twisting(b"STAT", lambda r, a: b"SERIAL 1\nHAVE 0-20\n200 here\n"),
        "ranges the wrong way": lambda: twisting(b"STAT", lambda r, a: b"SERIAL 1\nHAVE 9-3\n200 here\n"),
        "ranges that overlap": lambda: twisting(b"STAT", lambda r, a: b"SERIAL 1\nHAVE 1-5,3-8\n200 here\n"),
        "another size": lambda: twisting(b"STAT", lambda r, a: a.replace(b"SIZE ", b"SIZE 1")),
        "another content": lambda: twisting(b"STAT", lambda r, a: a.replace(b"B3 ", b"B3 0")),
        "a wrong list": lambda: twisting(b"CHUNKS", lambda r, a: list_answer(swapped)),
        "a list too short": lambda: twisting(b"CHUNKS", lambda r, a: list_answer(truth.hashes[:-32])),
        "a list too long": lambda: twisting(b"CHUNKS", lambda r, a: list_answer(truth.hashes + bytes(32))),
        "a list much too long": lambda: twisting(
            b"CHUNKS", lambda r, a: list_answer(truth.hashes * (250_000 // count))
        ),
    }


@pytest.mark.parametrize("lie", lies())
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_liar_is_named_and_the_honest_are_not(autojump_clock: Clock, lie: str, seed: int) -> None:
    swarm = Swarm(SIZE, seed=seed)
    _, liar = add_odd(swarm, lies()[lie]())
    good = swarm.add(seed=True, up=4 * MIB, delay=0.05)  # the liar is asked first
    peer = swarm.add(down=100 * MIB)
    await swarm.run()
    check_done(peer)
    assert set(peer.failed) == {liar.address}
    assert peer.fetch is not None
    assert peer.fetch.sources[liar.address].error == peer.failed[liar.address]
    assert peer.fetch.sources[good.address].error is None
    assert peer.fetch.sources[good.address].fetched > 0


@pytest.mark.parametrize("lie", lies())
async def test_of_a_liar_alone_nothing_wrong_is_kept(autojump_clock: Clock, lie: str) -> None:
    """What it proved before its lie may stay; `SharedStore` refuses all else."""
    swarm = Swarm(SIZE)
    add_odd(swarm, lies()[lie]())
    peer = swarm.add()
    await swarm.run()
    assert isinstance(peer.error, ChecksumMismatch | Stalled | NobodyHasIt)
    assert peer.store is not None
    assert not peer.store.chunks.complete


async def test_wrong_everywhere_is_a_mismatch(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    for _ in range(3):
        add_odd(swarm, twisting(b"GET", wrong_byte, after=2))
    peer = swarm.add()
    await swarm.run()
    assert isinstance(peer.error, ChecksumMismatch)
    assert len(peer.failed) == 3


async def test_a_liar_is_asked_for_nothing_more(autojump_clock: Clock) -> None:
    swarm = Swarm(SIZE)
    liar, _ = add_odd(swarm, twisting(b"GET", wrong_byte))
    swarm.add(seed=True, up=MIB)
    peer = swarm.add(down=100 * MIB)
    await swarm.run()
    check_done(peer)
    assert len(liar.requests) == 1  # though the tracker goes on naming it


async def test_a_liar_who_closes_behind_its_lie_has_lied_all_the_same(autojump_clock: Clock) -> None:
    async def twist(connection: Connection, request: Request, answer: bytes) -> None:
        await connection.send(wrong_byte(request, answer) if request.verb == b"GET" else answer)
        if request.verb == b"GET":
            connection.close()

    swarm = Swarm(SIZE)
    liar, entry = add_odd(swarm, twist)
    swarm.add(seed=True, up=MIB)
    peer = swarm.add(down=100 * MIB)
    await swarm.run()
    check_done(peer)
    assert "wrong chunk" in peer.failed[entry.address]
    assert len(liar.requests) == 1


async def test_a_wrong_single_chunk_is_noticed_without_a_list(autojump_clock: Clock) -> None:
    swarm = Swarm(1000)
    _, liar = add_odd(swarm, twisting(b"GET", wrong_byte))
    peer = swarm.add()
    swarm.add(seed=True, delay=1)
    await swarm.run()
    check_done(peer)
    assert set(peer.failed) == {liar.address}


async def test_a_partial_holder_that_claims_too_much_is_no_liar(autojump_clock: Clock) -> None:
    """It may have lost chunks; what it refuses is asked of others."""
    swarm = Swarm(SIZE)
    poor = swarm.add(has=[1, 2, 3])
    swarm.add(seed=True, up=MIB)
    peer = swarm.add(down=100 * MIB)
    assert poor.store is not None
    whole = poor.offer.chunks
    poor.offer.chunks = None
    poor.find = lambda name, b3=None: poor.offer  # type: ignore[method-assign]

    async def forget() -> None:
        await trio.sleep(0.2)
        poor.offer.chunks = whole

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forget)
        await swarm.run()
    check_done(peer)
    assert not peer.failed


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


def fetch_of(content: Content, store: SharedStore, swarm: Swarm | None = None, peer: Peer | None = None) -> ChunkFetch:
    async def refresh() -> list[PeerEntry]:
        await trio.lowlevel.checkpoint()
        return []

    events: list[Event] = []
    return ChunkFetch(
        content,
        swarm.holders() if swarm else [],
        store,
        network=peer.network if peer else Swarm(0).network,
        limits=VIRTUAL,
        rng=random.Random(1),
        own=set,
        refresh=refresh,
        gained=lambda: None,
        report=events.append,
    )
