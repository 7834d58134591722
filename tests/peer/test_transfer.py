"""One file from what the trackers say of it: what is gone on with where those who speak OSP2P/2 do not give it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from osp2p.content.chunks import chunk_hash, content_id
from osp2p.errors import ChecksumMismatch
from osp2p.limits import Limits
from osp2p.net import Connection
from osp2p.peer.events import TransferDone
from osp2p.peer.tracker_client import TrackerFacts
from osp2p.peer.transfer import GetOptions, Surroundings, Transfer
from tests.peer.holders import NAME, Script, World, gives, md5_of

#: One chunk, so that its b3 is made of one hash.
DATA = random.Random(7).randbytes(100_000)
B3 = content_id(len(DATA), chunk_hash(DATA))
LIMITS = replace(Limits(), retry_window=0.2, retry_pause=0.05, first_refresh=0.05)


def lies(size: int, b3: bytes) -> Script:
    """Speaks OSP2P/2, claims to have all of a content of one chunk, and sends other bytes."""

    async def script(connection: Connection) -> None:
        await connection.send(b"200 hello\nSIZE %d\nB3 %s\nSERIAL 1\nHAVE all\n200 x\n" % (size, b3.hex().encode()))
        await connection.send(b"DATA %d\n200 x\n" % size + bytes(size))
        await connection.send_eof()

    return script


@pytest.fixture
async def world(nursery: trio.Nursery, tmp_path: Path) -> World:
    return World(nursery, tmp_path)


async def fetch(
    world: World,
    facts: TrackerFacts,
    *,
    b3: bytes | None = None,
    later: Callable[[], Awaitable[TrackerFacts]] | None = None,
) -> TransferDone:
    """Fetch from all of a world's holders, of whom a tracker says `facts` at first."""
    entries = tuple(holder.entry for holder in world.holders)
    facts = replace(facts, holders=entries)

    async def same() -> TrackerFacts:
        return facts

    async def holders(b3: bytes) -> tuple[()]:
        return ()

    around = Surroundings(
        network=world.network,
        limits=LIMITS,
        rng=random.Random(1),
        facts=later or same,
        holders=holders,
        own=set,
        fetching=lambda offer: nullcontext(),
        fetched=lambda offer, path: None,
    )
    options = GetOptions(sync=False)
    target = world.directory / "film"
    with trio.fail_after(20):
        return await Transfer(NAME, facts, target, options, around, world.events.append, b3=b3).run()


async def test_a_liar_that_speaks_osp2p_2_does_not_hide_an_old_holder(world: World) -> None:
    """The tracker puts the liar's b3 beside the MD5 of the old holder, since nothing contradicts it."""
    await world.add(gives(DATA))
    await world.add(lies(len(DATA), bytes(32)), v=b"2", b3=bytes(32).hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32), size=len(DATA)))
    assert done.verified == "md5"
    assert done.path.read_bytes() == DATA
    assert any(source.error for source in done.sources)


def gives_chunks(content: bytes) -> Script:
    """Speaks OSP2P/2, and serves a content of one chunk rightly."""
    b3 = content_id(len(content), chunk_hash(content)).hex().encode()

    async def script(connection: Connection) -> None:
        await connection.send(b"200 hello\nSIZE %d\nB3 %s\nSERIAL 1\nHAVE all\n200 x\n" % (len(content), b3))
        await connection.send(b"DATA %d\n200 x\n" % len(content) + content)
        await connection.send_eof()

    return script


async def test_another_content_that_proves_its_own_id_is_not_what_the_old_holder_registered(world: World) -> None:
    """Anybody may say the old holder's MD5, and with it a content id of his own."""
    other = random.Random(8).randbytes(5000)
    other_b3 = content_id(len(other), chunk_hash(other))
    await world.add(gives(DATA))
    await world.add(gives_chunks(other), v=b"2", b3=other_b3.hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=other_b3, size=len(other)))
    assert done.verified == "md5"
    assert done.path.read_bytes() == DATA


async def test_an_old_holder_beside_it_takes_nothing_from_the_right_content(world: World) -> None:
    await world.add(gives(b"never asked"))
    await world.add(gives_chunks(DATA), v=b"2", b3=B3.hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=B3, size=len(DATA)))
    assert done.verified == "b3"
    assert done.path.read_bytes() == DATA


async def test_nor_does_one_that_claims_another_size(world: World) -> None:
    await world.add(gives(DATA))
    await world.add(lies(5, bytes(32)), v=b"2", b3=bytes(32).hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32), size=5))
    assert done.path.read_bytes() == DATA


async def test_old_holders_are_asked_though_the_tracker_has_gone(world: World) -> None:
    async def gone() -> TrackerFacts:
        return TrackerFacts(())

    await world.add(gives(DATA))
    await world.add(None, v=b"2")
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=B3, size=len(DATA)), later=gone)
    assert done.path.read_bytes() == DATA


async def test_where_nobody_else_gives_it_the_lie_is_the_reason(world: World) -> None:
    await world.add(None)
    await world.add(lies(len(DATA), bytes(32)), v=b"2")
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32), size=len(DATA)))
    assert list(world.directory.iterdir()) == []


async def test_a_content_that_the_user_names_is_proved_by_nothing_else(world: World) -> None:
    await world.add(gives(DATA))
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32)), b3=bytes(32))
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=B3), b3=B3)
    assert done.verified == "b3"


async def test_what_only_a_tracker_says_does_not_refute_what_its_md5_proves(world: World) -> None:
    await world.add(gives(DATA))
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32)))
    assert done.verified == "md5"


async def test_a_trackers_b3_proves_where_it_knows_no_md5(world: World) -> None:
    await world.add(gives(DATA))
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), b3=bytes(32)))
    assert (await fetch(world, TrackerFacts((), b3=B3))).verified == "b3"
