"""OSP2P/2 sessions: each request and refusal as bytes on a connection, and files and clients that change meanwhile."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import assume, given
from hypothesis import strategies as st

from osp2p.content.chunks import MIN_CHUNK, ChunkMap, chunk_hash, content_id
from osp2p.errors import ConnectionLost, NetworkError, Osp2pError, SourceChanged, StoreError, TimedOut, UnsafeName
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork
from osp2p.net.groups import one_error
from osp2p.peer.events import Event, Uploaded
from osp2p.peer.offer import Offer
from osp2p.peer.sending import Sender
from osp2p.peer.session import Session
from osp2p.peer.slots import UploadSlots

LIMITS = Limits()
HELLO_REPLY = b"FEATURE content b3\nFEATURE range\nFEATURE any\nFEATURE held\n200 hello\n"
BODY = random.Random(5).randbytes(3 * MIN_CHUNK + 100)
CHUNKS = [BODY[start : start + MIN_CHUNK] for start in range(0, len(BODY), MIN_CHUNK)]
HASHES = b"".join(chunk_hash(chunk) for chunk in CHUNKS)
B3 = content_id(len(BODY), HASHES)
OTHER_B3 = content_id(0, b"")
NAME = b"dir/a file"
QUOTED = b"dir%2Fa%20file"


@dataclass
class World:
    """A shelf and its sessions, over memory.

    Attributes:
        errors: what each session that failed was ended by.
    """

    directory: Path
    limits: Limits = LIMITS
    offers: dict[bytes, Offer] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    errors: list[Osp2pError] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.directory / "file"
        self.path.write_bytes(BODY)
        self.slots = UploadSlots(self.limits)
        self.add(NAME, b3=B3, hashes=HASHES, mtime_ns=self.path.stat().st_mtime_ns)

    def open(self) -> int:
        fd = os.open(self.path, os.O_RDONLY)
        self.opened.append(fd)
        return fd

    def add(
        self,
        name: bytes,
        size: int = len(BODY),
        *,
        open: Callable[[], int] | None = None,
        b3: bytes | None = None,
        hashes: bytes | None = None,
        chunks: ChunkMap | None = None,
        mtime_ns: int | None = None,
    ) -> Offer:
        offer = Offer(name, size, open or self.open, b3=b3, hashes=hashes, chunks=chunks, mtime_ns=mtime_ns)
        self.offers[name] = offer
        return offer

    def add_part(self, *here: int, first_serial: int = 0) -> Offer:
        chunks = ChunkMap(len(CHUNKS), first_serial=first_serial)
        for index in here:
            chunks.add(index)
        return self.add(NAME, b3=B3, hashes=HASHES, chunks=chunks)

    def gain(self, index: int) -> None:
        offer = self.offers[NAME]
        assert offer.chunks is not None
        offer.chunks.add(index)
        offer.notify()

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        names = sorted(name for name in self.offers if name.startswith(prefix) and name > after)
        return [self.offers[name] for name in names[:count]]

    async def serve(self, connection: Connection) -> None:
        lines = LineConnection(connection, self.limits)
        try:
            await Session(lines, self, Sender(self.limits), self.slots, self.limits, self.events.append).run()
        except Osp2pError as error:
            self.errors.append(error)
        finally:
            connection.close()

    @asynccontextmanager
    async def connect(self, capacity: int = 1 << 20) -> AsyncIterator[Connection]:
        """A client's end of a session behind HELLO, the reply to which has been read."""
        network = MemoryNetwork("10.0.0.1", capacity=capacity)
        listener = await network.listen(80)
        connection = await network.host("10.0.0.2").connect("10.0.0.1", 80)
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.serve, await listener.accept())
                assert await receive(connection, len(HELLO_REPLY)) == HELLO_REPLY
                yield connection
                connection.close()

    async def ask(self, *lines: bytes) -> bytes:
        """What a session answers to lines, which are sent in one piece."""
        async with self.connect() as connection:
            await connection.send(b"".join(line + b"\n" for line in lines))
            await connection.send_eof()
            return await receive_all(connection)


async def receive(connection: Connection, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = await connection.receive(count - len(data))
        assert block, data
        data += block
    return data


async def receive_line(connection: Connection) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += await receive(connection, 1)
    return line


async def receive_reply(connection: Connection) -> bytes:
    reply = b""
    while True:
        line = await receive_line(connection)
        reply += line
        if line[:3].isdigit():
            return reply


async def receive_all(connection: Connection) -> bytes:
    data = b""
    while block := await connection.receive(1 << 20):
        data += block
    return data


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def hexed(b3: bytes) -> bytes:
    return b3.hex().encode()


# --- bytes of a file ---


async def test_a_whole_file(world: World) -> None:
    head = b"DATA %d\n200 here it comes\n" % len(BODY)
    assert await world.ask(b"GET " + QUOTED + b" OSP2P/2") == head + BODY


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (0, len(BODY) - 1), (5, 9), (len(BODY) - 1, len(BODY) - 1), (1, 70_000), (7, 300_000)]
)
async def test_a_range_includes_both_its_ends(world: World, first: int, last: int) -> None:
    answer = await world.ask(b"GET %s OSP2P/2 range=%d-%d b3=%s" % (QUOTED, first, last, hexed(B3)))
    assert answer == b"DATA %d\n200 here it comes\n" % (last - first + 1) + BODY[first : last + 1]


@given(data=st.data())
async def test_answers_come_in_order_however_many_are_asked_at_a_time(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(tmp_path_factory.mktemp("shelf"))
    edges = st.sampled_from([0, 1, MIN_CHUNK - 1, MIN_CHUNK, 65_536, 65_537, len(BODY) - 1]) | st.integers(
        0, len(BODY) - 1
    )
    ranges = data.draw(st.lists(st.tuples(edges, edges).map(sorted), min_size=1, max_size=8))
    lines = [b"GET %s OSP2P/2 range=%d-%d" % (QUOTED, first, last) for first, last in ranges]
    expected = [b"DATA %d\n200 here it comes\n" % (last - first + 1) + BODY[first : last + 1] for first, last in ranges]
    assert await world.ask(*lines) == b"".join(expected)


@pytest.mark.parametrize(
    "text",
    [
        b"5-4",
        b"0-%d" % len(BODY),
        b"%d-%d" % (len(BODY), len(BODY)),
        b"0-99999999999999999999999999",
        b"-5",
        b"5-",
        b"5",
        b"",
        b"-",
        b"0--5",
        b"+1-5",
        b"0-5,7-9",
        b"0x0-0x5",
        b"0-5%00",
    ],
)
async def test_a_range_that_is_none_is_malformed(world: World, text: bytes) -> None:
    answer = await world.ask(b"GET " + QUOTED + b" OSP2P/2 range=" + text, b"QUIT")
    assert answer.startswith(b"500 ")
    assert answer.endswith(b"\n200 goodbye\n")  # and the connection goes on


async def test_an_empty_file(world: World) -> None:
    world.path.write_bytes(b"")
    world.add(b"empty", 0, b3=content_id(0, b""), hashes=b"")
    assert await world.ask(b"GET empty OSP2P/2") == b"DATA 0\n200 here it comes\n"
    for line in (b"GET empty OSP2P/2 range=0-0", b"GET empty OSP2P/2 any=0 b3=" + hexed(content_id(0, b""))):
        assert (await world.ask(line)).startswith(b"500 ")
    assert await world.ask(b"CHUNKS empty") == b"200 0 chunks of 262144 bytes\n"
    assert (await world.ask(b"CHUNKS empty 0")).startswith(b"500 ")
    assert await world.ask(b"STAT empty") == (
        b"SIZE 0\nB3 %s\nSERIAL 0\nHAVE all\n200 all of it is here\n" % hexed(content_id(0, b""))
    )


async def test_the_base_form_does_not_belong_behind_hello(world: World) -> None:
    assert (await world.ask(b"GET " + QUOTED + b" OSP2P")).startswith(b"500 ")


# --- refusals ---


@pytest.mark.parametrize("verb", [b"GET %s OSP2P/2", b"STAT %s", b"CHUNKS %s"])
async def test_refusals_name_their_reason(world: World, verb: bytes) -> None:
    assert (await world.ask(verb % b"nothing")).startswith(b"300 ")
    other = await world.ask(verb % QUOTED + b" b3=" + hexed(OTHER_B3))
    assert other.startswith(b"B3 " + hexed(B3) + b"\n301 ")
    assert (await world.ask(verb % QUOTED + b" b3=" + hexed(B3).upper())).startswith(b"500 ")
    world.add(b"new")
    assert (await world.ask(verb % b"new" + b" b3=" + hexed(B3))).startswith(b"RETRY 1000\n303 ")


@pytest.mark.parametrize(
    "line",
    [
        b"BREW coffee",
        b"GET",
        b"GET " + QUOTED,
        b"GET " + QUOTED + b" OSP2P/2 more",
        b"GET " + QUOTED + b" OSP2P/3",
        b"GET " + QUOTED + b" OSP2P/2 range=0-1 range=0-1",
        b"GET " + QUOTED + b" OSP2P/2 any=0",  # without b3
        b"GET " + QUOTED + b" OSP2P/2 any=0 range=0-1 b3=" + hexed(B3),
        b"GET " + QUOTED + b" OSP2P/2 any= b3=" + hexed(B3),
        b"GET " + QUOTED + b" OSP2P/2 any=4 b3=" + hexed(B3),  # there are only 0 to 3
        b"GET " + QUOTED + b" OSP2P/2 any=2-1 b3=" + hexed(B3),
        b"GET " + QUOTED + b" OSP2P/2 any=0-2,2 b3=" + hexed(B3),
        b"GET " + QUOTED + b" OSP2P/2 any=%s b3=" % b",".join([b"0"] * 1500),
        b"CHUNKS " + QUOTED + b" 2-1",
        b"CHUNKS " + QUOTED + b" 0-4",
        b"CHUNKS " + QUOTED + b" 0,2",
        b"STAT " + QUOTED + b" since=-1",
        b"STAT " + QUOTED + b" since=99999999999999999999999",
        b"STAT " + QUOTED + b" since=1 wait=x",
        b"LIST max=-1",
        b"LIST extra",
    ],
)
async def test_what_is_malformed_is_said_and_the_connection_goes_on(world: World, line: bytes) -> None:
    answer = await world.ask(line, b"STAT " + QUOTED)
    assert answer.startswith(b"500 ")
    assert answer.count(b"\n200 ") == 1


async def test_a_line_that_is_too_long_ends_the_connection_with_a_word(world: World) -> None:
    answer = await world.ask(b"STAT " + QUOTED, b"x" * 5000, b"STAT " + QUOTED)
    assert answer.count(b"200 all of it is here\n") == 1
    assert answer.splitlines()[-1].startswith(b"500 ")


async def test_blank_lines_are_ignored(world: World) -> None:
    assert await world.ask(b"", b" \t", b"\r", b"QUIT now") == b"200 goodbye\n"


async def test_nothing_is_answered_behind_quit(world: World) -> None:
    assert await world.ask(b"QUIT", b"STAT " + QUOTED) == b"200 goodbye\n"


async def test_help_is_printed_from_the_table(world: World) -> None:
    answer = await world.ask(b"help")
    for verb in (b"GET file", b"STAT file", b"CHUNKS file", b"LIST", b"QUIT", b"HELP"):
        assert b"200-" + verb in answer


async def test_a_file_that_cannot_be_opened_any_more_is_not_there(world: World) -> None:
    def gone() -> int:
        raise StoreError("gone")

    def unsafe() -> int:
        raise UnsafeName("a link out of here")

    world.add(b"gone", open=gone)
    world.add(b"unsafe", open=unsafe)
    answer = await world.ask(b"GET gone OSP2P/2", b"GET unsafe OSP2P/2", b"GET " + QUOTED + b" OSP2P/2 range=0-0")
    assert [line[:4] for line in answer.split(b"\n")[:3]] == [b"300 ", b"300 ", b"DATA"]


async def test_a_busy_holder_says_when_to_come_again(tmp_path: Path) -> None:
    world = World(tmp_path, replace(Limits(), max_uploads=1, busy_retry=2.5))
    with world.slots.slot("10.0.0.3"):
        assert (await world.ask(b"GET " + QUOTED + b" OSP2P/2")).startswith(b"RETRY 2500\n303 ")
    assert (await world.ask(b"GET " + QUOTED + b" OSP2P/2")).startswith(b"DATA")


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


# --- what goes wrong in the middle ---


async def test_a_file_that_shrinks_is_cut_off_never_padded(world: World) -> None:
    async with world.connect(capacity=1000) as connection:
        await connection.send(b"GET " + QUOTED + b" OSP2P/2\n")
        await receive_reply(connection)
        os.truncate(world.path, MIN_CHUNK)
        with pytest.raises(ConnectionLost):
            await receive_all(connection)
    assert [type(error) for error in world.errors] == [SourceChanged]
    assert [type(event.error) for event in world.events if isinstance(event, Uploaded)] == [SourceChanged]


@pytest.mark.parametrize("length", [100, 200_000])
async def test_a_file_that_changes_is_cut_off(world: World, length: int) -> None:
    """Of the same length, but not the same: its time says so, behind the small answers as behind the large."""
    world.path.write_bytes(bytes(len(BODY)))
    os.utime(world.path, ns=(1, 1))
    with pytest.raises(ConnectionLost):
        await world.ask(b"GET %s OSP2P/2 range=0-%d" % (QUOTED, length - 1))
    assert [type(error) for error in world.errors] == [SourceChanged]


async def test_a_short_file_is_cut_off_in_small_answers_too(world: World) -> None:
    os.truncate(world.path, 50)
    with pytest.raises(ConnectionLost):
        await world.ask(b"GET %s OSP2P/2 range=0-99" % QUOTED)
    assert [type(error) for error in world.errors] == [SourceChanged]


async def test_who_takes_nothing_is_dropped(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    world = World(tmp_path)
    async with world.connect(capacity=1000) as connection:
        await connection.send(b"GET " + QUOTED + b" OSP2P/2\n")
        await trio.sleep(200)
        assert [type(error) for error in world.errors] == [ConnectionLost]


async def test_who_says_nothing_is_dropped(world: World, autojump_clock: trio.testing.MockClock) -> None:
    async with world.connect() as connection:
        began = trio.current_time()
        assert await receive_all(connection) == b""
        assert trio.current_time() - began == Limits().idle_timeout
    assert [type(error) for error in world.errors] == [TimedOut]


async def test_who_drips_a_line_is_dropped(world: World, autojump_clock: trio.testing.MockClock) -> None:
    async with world.connect() as connection:
        await trio.sleep(300)  # nothing is said for a while, which is allowed
        began = trio.current_time()
        with pytest.raises(NetworkError):
            while True:
                await connection.send(b"x")
                await trio.sleep(10)
        assert trio.current_time() - began <= Limits().line_timeout + 10


async def test_every_file_is_closed_whatever_happens(world: World) -> None:
    await world.ask(*[b"GET " + QUOTED + b" OSP2P/2 range=0-0"] * 5)
    assert len(world.opened) == 1  # kept open from request to request
    async with world.connect(capacity=1000) as connection:
        await connection.send(b"GET " + QUOTED + b" OSP2P/2\n")
        await receive_reply(connection)
        connection.abort()
    world.add(b"b")
    await world.ask(b"GET " + QUOTED + b" OSP2P/2 range=0-0", b"GET b OSP2P/2 range=0-0")
    assert len(world.opened) == 4
    for fd in world.opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


async def test_a_file_does_not_stay_open_for_who_asks_for_nothing_more(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Not even for one who says now and then that he is there: it may have been removed to free its space."""
    request = b"GET " + QUOTED + b" OSP2P/2 range=0-9\n"
    async with world.connect() as connection:
        for _ in range(3):
            await connection.send(request)
            await receive(connection, len(b"DATA 10\n200 here it comes\n") + 10)
            await trio.sleep(LIMITS.served_grace / 2)
        assert len(world.opened) == 1, "from request to request it stays open"
        for _ in range(3):
            await connection.send(b"\n")
            await trio.sleep(LIMITS.served_grace / 2)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(world.opened[0])
        assert [event.sent for event in world.events if isinstance(event, Uploaded)] == [30]
        await connection.send(request)
        await receive(connection, len(b"DATA 10\n200 here it comes\n") + 10)
        assert len(world.opened) == 2


async def test_what_was_sent_is_reported_once_for_each_file(world: World) -> None:
    await world.ask(*[b"GET " + QUOTED + b" OSP2P/2 range=0-9"] * 3)
    uploads = [event for event in world.events if isinstance(event, Uploaded)]
    assert [(event.name, event.sent, event.error) for event in uploads] == [(NAME, 30, None)]


VERBS = [b"GET", b"STAT", b"CHUNKS", b"LIST", b"HELP", b"HELLO"]
ARGUMENTS = [QUOTED, b"part", b"OSP2P/2", b"OSP2P", b"0-1", b"3"]
ATTRIBUTES = [b"any=0-3", b"range=5-9", b"range=9-5", b"b3=" + hexed(B3), b"b3=0", b"since=0", b"since=7", b"wait=9"]
WORDS = st.sampled_from([*VERBS, *ARGUMENTS, *ATTRIBUTES, b"max=1", b"after=a"])


@given(st.lists(st.lists(WORDS | st.binary(max_size=4), max_size=6).map(b" ".join), max_size=8))
async def test_whatever_comes_gets_an_answer_or_none(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    """No line, however odd, ends a session with anything but its own errors, and the next one is answered."""
    assume(not any(line.upper().split()[:1] == [b"QUIT"] for line in b"\n".join(lines).split(b"\n")))
    world = World(tmp_path_factory.mktemp("shelf"), replace(LIMITS, max_held_stat=0))
    world.add(b"part", chunks=ChunkMap(len(CHUNKS)))
    answer = await world.ask(*lines, b"QUIT")
    assert answer.endswith(b"200 goodbye\n")
    assert not world.errors
