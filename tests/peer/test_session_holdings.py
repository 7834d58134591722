"""OSP2P/2 sessions: what a holder has, which chunk of it it chooses, and how it tells what it gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK, ChunkMap, chunk_hash
from osp2p.errors import SourceChanged
from osp2p.limits import Limits
from osp2p.net import Connection
from tests.peer.sessions import (
    B3,
    BODY,
    CHUNKS,
    HASHES,
    LIMITS,
    NAME,
    QUOTED,
    World,
    hexed,
    receive,
    receive_line,
    receive_reply,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- partial holders ---


async def test_a_part_serves_what_it_has(world: World) -> None:
    world.add_part(1, 2)
    inside = b"GET %s OSP2P/2 range=%d-%d" % (QUOTED, MIN_CHUNK, 3 * MIN_CHUNK - 1)
    assert (await world.ask(inside)).endswith(CHUNKS[1] + CHUNKS[2])
    for first, last in ((MIN_CHUNK - 1, MIN_CHUNK), (3 * MIN_CHUNK - 1, 3 * MIN_CHUNK), (0, len(BODY) - 1)):
        assert (await world.ask(b"GET %s OSP2P/2 range=%d-%d" % (QUOTED, first, last))).startswith(b"302 ")
    assert (await world.ask(b"GET " + QUOTED + b" OSP2P/2")).startswith(b"302 ")


async def test_what_was_gained_is_told_with_the_next_answer(world: World) -> None:
    world.add_part(0)
    get = b"GET %s OSP2P/2 range=0-0\n" % QUOTED
    async with world.connect() as connection:
        await connection.send(get)
        assert await receive_reply(connection) == b"DATA 1\n200 here it comes\n"  # nobody has asked what is here
        await receive(connection, 1)
        await connection.send(b"STAT " + QUOTED + b"\n")
        assert b"\nHAVE 0\n" in await receive_reply(connection)
        world.gain(3)
        world.gain(2)
        await connection.send(get + get)
        assert await receive_reply(connection) == b"DATA 1 new=2-3\n200 here it comes\n"
        await receive(connection, 1)
        assert await receive_reply(connection) == b"DATA 1\n200 here it comes\n"


async def test_news_that_do_not_fit_into_a_line_are_left_to_stat(tmp_path: Path) -> None:
    world = World(tmp_path, replace(Limits(), max_line=200))
    size = 200 * MIN_CHUNK
    chunks = ChunkMap(200)
    chunks.add(0)
    world.add(b"a", size, chunks=chunks)
    async with world.connect() as connection:
        await connection.send(b"STAT a\n")
        await receive_reply(connection)
        for index in range(2, 200, 2):
            chunks.add(index)
        await connection.send(b"GET a OSP2P/2 range=0-0\nSTAT a since=1\n")
        assert await receive_reply(connection) == b"DATA 1\n200 here it comes\n"
        await receive(connection, 1)
        told = [line for line in (await receive_reply(connection)).split(b"\n") if line.startswith(b"HAVE ")]
    assert len(told) > 1
    assert all(len(line) <= 200 for line in told)
    assert sum(line.count(b",") + 1 for line in told) == 99


async def test_only_so_many_files_are_watched(tmp_path: Path) -> None:
    world = World(tmp_path, replace(Limits(), max_watched_offers=2))
    maps = {name: ChunkMap(len(CHUNKS)) for name in (b"a", b"b", b"c")}
    for name, chunks in maps.items():
        world.add(name, chunks=chunks)
    async with world.connect() as connection:
        for name in maps:
            await connection.send(b"STAT " + name + b"\n")
            await receive_reply(connection)
        for name, chunks in maps.items():
            chunks.add(0)
            await connection.send(b"GET " + name + b" OSP2P/2 range=0-0\n")
            news = b" new=0" if name != b"a" else b""
            assert await receive_reply(connection) == b"DATA 1" + news + b"\n200 here it comes\n"
            await receive(connection, 1)


# --- any= ---


def any_of(ranges: bytes) -> bytes:
    return b"GET %s OSP2P/2 any=%s b3=%s" % (QUOTED, ranges, hexed(B3))


async def test_the_holder_says_which_chunk_it_gives(world: World) -> None:
    answer = await world.ask(any_of(b"2"))
    assert answer == b"DATA %d chunk=2\n200 here it comes\n" % MIN_CHUNK + CHUNKS[2]
    answer = await world.ask(any_of(b"3"))
    assert answer == b"DATA 100 chunk=3\n200 here it comes\n" + CHUNKS[3]


async def test_many_who_ask_at_a_time_are_given_different_chunks(world: World) -> None:
    """Even though none of their answers has gone yet."""
    given: list[bytes] = []

    async def ask() -> None:
        async with world.connect(capacity=1000) as connection:
            await connection.send(any_of(b"0-3") + b"\n")
            head = await receive_reply(connection)
            await trio.testing.wait_all_tasks_blocked()
            given.append(head.split(b"chunk=")[1][:1])

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert sorted(given) == [b"0", b"1", b"2", b"3"]


async def test_ranges_count_as_sent_too(world: World) -> None:
    await world.ask(b"GET %s OSP2P/2 range=0-%d" % (QUOTED, 2 * MIN_CHUNK - 1))
    assert b"chunk=2" in await world.ask(any_of(b"0-3"))


async def test_one_connection_is_not_given_a_chunk_twice(world: World) -> None:
    for _ in range(3):
        await world.ask(any_of(b"0,2-3"))  # the others are sent more often: 0, 2, 3 once each, 1 never
    async with world.connect() as connection:
        chunks = []
        for _ in range(4):
            await connection.send(any_of(b"0-3") + b"\n")
            head = await receive_reply(connection)
            chunks.append(int(head.split(b"chunk=")[1][:1]))
            await receive(connection, len(CHUNKS[chunks[-1]]))
    assert sorted(chunks) == [0, 1, 2, 3]


async def test_a_part_chooses_from_what_it_has(world: World) -> None:
    world.add_part(1)
    assert b"chunk=1" in await world.ask(any_of(b"0-3"))
    assert (await world.ask(any_of(b"0,2-3"))).startswith(b"302 ")


# --- STAT ---


async def test_stat_of_a_whole_file(world: World) -> None:
    assert await world.ask(b"STAT " + QUOTED + b" b3=" + hexed(B3)) == (
        b"SIZE %d\nB3 %s\nSERIAL 4\nHAVE all\n200 all of it is here\n" % (len(BODY), hexed(B3))
    )


async def test_stat_of_a_part(world: World) -> None:
    world.add_part(0, 1, 3, first_serial=1000)
    assert await world.ask(b"STAT " + QUOTED) == (
        b"SIZE %d\nB3 %s\nSERIAL 1003\nHAVE 0-1,3\n200 a part of it is here\n" % (len(BODY), hexed(B3))
    )


async def test_a_file_whose_content_is_not_known_yet_is_served_by_its_name(world: World) -> None:
    world.add(b"new")
    assert await world.ask(b"STAT new") == b"SIZE %d\nSERIAL 4\nHAVE all\n200 all of it is here\n" % len(BODY)
    assert (await world.ask(b"GET new OSP2P/2")).endswith(BODY)
    assert (await world.ask(b"CHUNKS new")).startswith(b"RETRY 1000\n303 ")


async def test_since_a_serial_that_is_known_only_the_gained_ones(world: World) -> None:
    world.add_part(3, 0, 1, first_serial=1000)
    told = await world.ask(b"STAT " + QUOTED + b" since=1001")
    assert told.endswith(b"SERIAL 1003\nSINCE 1001\nHAVE 0-1\n200 a part of it is here\n")
    told = await world.ask(b"STAT " + QUOTED + b" since=1003")
    assert told.endswith(b"SERIAL 1003\nSINCE 1003\n200 a part of it is here\n")


@pytest.mark.parametrize("serial", [0, 999, 1004, 2**63 - 1])
async def test_since_a_serial_that_is_unknown_all_of_them(world: World, serial: int) -> None:
    world.add_part(3, 0, 1, first_serial=1000)
    told = await world.ask(b"STAT %s since=%d wait=60" % (QUOTED, serial))
    assert told.endswith(b"SERIAL 1003\nHAVE 0-1,3\n200 a part of it is here\n")


async def test_a_stat_is_held_until_a_chunk_is_gained(world: World, autojump_clock: trio.testing.MockClock) -> None:
    world.add_part(3)
    async with world.connect() as connection:
        began = trio.current_time()
        await connection.send(b"STAT " + QUOTED + b" since=1 wait=60\n")
        await trio.sleep(20)
        world.gain(0)
        told = await receive_reply(connection)
        assert trio.current_time() - began == 20
    assert told.endswith(b"SERIAL 2\nSINCE 1\nHAVE 0\n200 a part of it is here\n")


async def test_what_waits_before_a_held_stat_goes_out_first(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    world.add_part(3)
    async with world.connect() as connection:
        began = trio.current_time()
        await connection.send(b"HELP\nSTAT " + QUOTED + b" since=1 wait=30\n")
        assert (await receive_reply_with_context(connection)).endswith(b"200 that is all\n")
        assert trio.current_time() == began
        assert b"SINCE 1\n200 " in await receive_reply(connection)
        assert trio.current_time() - began == 30


async def receive_reply_with_context(connection: Connection) -> bytes:
    reply = b""
    while not reply.startswith(b"200 ") and b"\n200 " not in reply:
        reply += await receive_line(connection)
    return reply


async def test_a_stat_is_not_held_longer_than_the_limit(world: World, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    told = await world.ask(b"STAT " + QUOTED + b" since=4 wait=2147483648")
    assert trio.current_time() - began == Limits().max_held_stat
    assert told.endswith(b"SINCE 4\n200 all of it is here\n")


async def test_a_held_stat_learns_that_the_whole_file_is_here(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    part = world.add_part(0, 1, 2)
    async with world.connect() as connection:
        await connection.send(b"STAT " + QUOTED + b" since=3 wait=60\n")
        await trio.sleep(1)
        world.gain(3)
        world.add(NAME, b3=B3, hashes=HASHES)  # another offer takes its place on the shelf
        part.notify()
        assert (await receive_reply(connection)).endswith(b"HAVE all\n200 all of it is here\n")


async def test_a_held_stat_learns_that_the_file_is_withdrawn(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    part = world.add_part(0)
    async with world.connect() as connection:
        began = trio.current_time()
        await connection.send(b"STAT " + QUOTED + b" since=1 wait=60\n")
        await trio.sleep(1)
        del world.offers[NAME]
        part.notify()
        assert (await receive_reply(connection)).startswith(b"300 ")
        assert trio.current_time() - began == 1


# --- CHUNKS and LIST ---


async def test_the_chunk_list(world: World) -> None:
    lines = [b"CHUNK %d %s\n" % (index, chunk_hash(chunk).hex().encode()) for index, chunk in enumerate(CHUNKS)]
    assert await world.ask(b"CHUNKS " + QUOTED) == b"".join(lines) + b"200 4 chunks of 262144 bytes\n"
    assert await world.ask(b"CHUNKS " + QUOTED + b" 1-2") == b"".join(lines[1:3]) + b"200 2 chunks of 262144 bytes\n"
    assert await world.ask(b"CHUNKS " + QUOTED + b" 3") == lines[3] + b"200 1 chunks of 262144 bytes\n"


async def test_a_list_that_is_not_at_hand_is_brought(world: World) -> None:
    async def load() -> bytes:
        await trio.lowlevel.checkpoint()
        return HASHES

    async def fail() -> bytes:
        await trio.lowlevel.checkpoint()
        raise SourceChanged("it is another file now")

    offer = world.add(b"a", b3=B3)
    offer.load_hashes = load
    world.add(b"b", b3=B3).load_hashes = fail
    assert (await world.ask(b"CHUNKS a")).count(b"CHUNK ") == 4
    assert offer.hashes is None  # the library knows how many lists may be kept: an offer may live as long as its file
    assert (await world.ask(b"CHUNKS b")).startswith(b"300 ")


async def test_browsing(world: World) -> None:
    world.offers.clear()
    world.add(b"a", 5, b3=B3)
    world.add(b"b x", 6)
    world.add(b"c", 7)
    assert await world.ask(b"LIST") == (
        b"FILE a size=5 b3=%s\nFILE b%%20x size=6\nFILE c size=7\n200 3 files\n" % hexed(B3)
    )
    assert await world.ask(b"LIST after=a max=1") == b"FILE b%20x size=6\n200 1 files\n"
    assert await world.ask(b"LIST prefix=b%20") == b"FILE b%20x size=6\n200 1 files\n"
    assert await world.ask(b"LIST max=0") == b"200 0 files\n"


async def test_a_page_ends_at_so_many_bytes(tmp_path: Path) -> None:
    world = World(tmp_path, replace(LIMITS, max_answer_bytes=200))
    for number in range(100):
        world.add(b"name%02d" % number, 5)
    first = await world.ask(b"LIST prefix=n")
    assert first.endswith(b"FILE name11 size=5\n200 12 files\n")
    assert (await world.ask(b"LIST prefix=n after=name11")).startswith(b"FILE name12 size=5\n")
