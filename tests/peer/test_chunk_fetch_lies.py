"""Fetching a content from holders that lie, in virtual time: who lies is named, and nobody else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from osp2p.errors import (
    ChecksumMismatch,
    NobodyHasIt,
    Stalled,
)
from osp2p.limits import MIB
from osp2p.net import Connection
from osp2p.wire.request import Request
from tests.peer.fetches import SIZE, add_odd, check_done
from tests.peer.odd_holders import (
    Twist,
    asked_for,
    list_answer,
    twisting,
)
from tests.peer.swarm import Swarm, truth_of

Clock = trio.testing.MockClock


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
