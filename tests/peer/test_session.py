"""OSP2P/2 sessions: GET and refusals as bytes on a connection, and files and clients that change meanwhile."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import assume, given
from hypothesis import strategies as st

from osp2p.content.chunks import MIN_CHUNK, ChunkMap, content_id
from osp2p.errors import ConnectionLost, NetworkError, SourceChanged, StoreError, TimedOut, UnsafeName
from osp2p.limits import Limits
from osp2p.peer.events import Uploaded
from tests.peer.sessions import (
    B3,
    BODY,
    CHUNKS,
    LIMITS,
    NAME,
    OTHER_B3,
    QUOTED,
    World,
    hexed,
    receive,
    receive_all,
    receive_reply,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
