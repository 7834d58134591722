"""The asking side of one connection: what it sends, and every way in which an answer can be wrong."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.chunk_set import bits_of
from osp2p.content.chunks import MIN_CHUNK, chunk_hash, content_id
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    ConnectionLost,
    LineTooLong,
    MalformedLine,
    NetworkError,
    RemoteProtocolError,
    Stalled,
    TimedOut,
    TransferError,
)
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork
from osp2p.net.groups import one_error
from osp2p.net.memory import MemoryConnection
from osp2p.peer.chunk_client import ChunkClient, Content, NotHere, open_holder
from osp2p.wire.address import Address

BODY = random.Random(7).randbytes(9 * MIN_CHUNK + 10)
CHUNKS = [BODY[start : start + MIN_CHUNK] for start in range(0, len(BODY), MIN_CHUNK)]
HASHES = b"".join(chunk_hash(chunk) for chunk in CHUNKS)
CONTENT = Content(b"a file", len(BODY), content_id(len(BODY), HASHES))
B3 = CONTENT.b3.hex().encode()
LIMITS = Limits()
HELLO = b"FEATURE content b3\n200 hello\n"
OK = b"200 here it comes\n"


@dataclass
class Taken:
    """What a client has handed on."""

    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    gained: list[list[tuple[int, int]]] = field(default_factory=list)
    views: list[memoryview] = field(default_factory=list)

    async def take(self, first: int, data: memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.chunks.append((first, bytes(data)))
        self.views.append(data)


@asynccontextmanager
async def client_of(
    *answers: bytes, limits: Limits = LIMITS, end: bool = True
) -> AsyncIterator[tuple[ChunkClient, Connection]]:
    """A client, and the other end, which sends answers whatever is asked, and then ends if `end`."""
    network = MemoryNetwork("10.0.0.1")
    listener = await network.listen(80)
    connection = await network.host("10.0.0.2").connect("10.0.0.1", 80)
    holder = await listener.accept()

    async def send() -> None:
        try:
            for answer in answers:
                await holder.send(answer)
                await trio.sleep(0.01)
            if end:
                await holder.send_eof()
        except NetworkError:
            return

    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            yield ChunkClient(LineConnection(connection, limits), CONTENT, limits), holder
            nursery.cancel_scope.cancel()


async def sent_by(client: ChunkClient, holder: Connection, *requests: bytes) -> bytes:
    await client.send(requests)
    return await holder.receive(100_000)


# --- requests ---


async def test_hello_goes_ahead_of_the_first_request_alone() -> None:
    async with client_of() as (client, holder):
        assert await sent_by(client, holder, client.stat()) == b"HELLO OSP2P/2\nSTAT a%20file b3=" + B3 + b"\n"
        assert await sent_by(client, holder, client.stat(7, 30.5)) == (
            b"STAT a%20file b3=" + B3 + b" since=7 wait=30\n"
        )


async def test_requests_say_what_they_mean() -> None:
    async with client_of() as (client, _):
        assert client.chunks() == b"CHUNKS a%20file b3=" + B3 + b"\n"
        assert client.get_run(1, 2) == b"GET a%%20file OSP2P/2 range=%d-%d b3=%s\n" % (MIN_CHUNK, 3 * MIN_CHUNK - 1, B3)
        assert client.get_run(9, 9) == b"GET a%%20file OSP2P/2 range=%d-%d b3=%s\n" % (9 * MIN_CHUNK, len(BODY) - 1, B3)
        assert client.get_any(bits_of([(0, 2), (5, 5)])) == b"GET a%20file OSP2P/2 any=0-2,5 b3=" + B3 + b"\n"


async def test_the_longest_name_leaves_room_for_a_choice() -> None:
    network = MemoryNetwork()
    content = Content(b"%" * LIMITS.max_name, 16_384 * MIN_CHUNK, CONTENT.b3)
    await network.listen(80)
    lines = LineConnection(await network.connect("127.0.0.1", 80), LIMITS)
    client = ChunkClient(lines, content, LIMITS)
    bits = bits_of((index, index + 1) for index in range(16_000, 16_096, 3))
    assert len(client.get_any(bits)) <= LIMITS.max_line
    assert len(client.stat(2**63 - 1, 10_000)) <= LIMITS.max_line


# --- HELLO and refusals ---


@pytest.mark.parametrize(
    ("answer", "code", "retry"),
    [
        (b"300 no such file\n", 300, None),
        (b"B3 00\n301 other\n", 301, None),
        (b"302 not here\n", 302, None),
        (b"303 busy\n", 303, LIMITS.busy_retry),
        (b"RETRY 1500\n303 busy\n", 303, 1.5),
        (b"RETRY 2147483648\n303 busy\n", 303, LIMITS.max_busy_retry),
        (b"500 what\n", 500, None),
    ],
)
async def test_a_refusal_carries_its_code(answer: bytes, code: int, retry: float | None) -> None:
    async with client_of(HELLO + answer) as (client, _):
        await client.send([client.stat()])
        with pytest.raises(NotHere) as refusal:
            await client.read_stat()
    assert refusal.value.code == code
    assert retry is None or refusal.value.retry == retry


async def test_one_who_does_not_know_hello_is_no_holder() -> None:
    async with client_of(b"500 unknown command\n") as (client, _):
        with pytest.raises(NotHere, match="does not speak OSP2P/2"):
            await client.read_stat()


@pytest.mark.parametrize("answers", [[b""], [b"FEATURE x\n20"], [HELLO], [HELLO, b"DATA 5\n"]])
async def test_one_who_closes_early_is_lost(answers: list[bytes]) -> None:
    async with client_of(*answers) as (client, _):
        with pytest.raises(ConnectionLost):
            await client.read_stat()


async def test_one_who_says_nothing_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of(end=False) as (client, _):
        for read, patience in (
            (client.read_stat, LIMITS.reply_timeout),
            (lambda: client.read_stat(3.0), 3.0),
            (client.read_chunks, LIMITS.reply_timeout),
            (lambda: client.read_data(0, 0, Taken().take, print), LIMITS.first_byte_timeout),
        ):
            began = trio.current_time()
            with pytest.raises(TimedOut):
                await read()
            assert trio.current_time() - began == patience


async def test_a_reply_without_end_is_cut_off() -> None:
    async with client_of(HELLO, *[b"HAVE 0\n" * 5000] * 50) as (client, _):
        with pytest.raises(LineTooLong):
            await client.read_stat()


# --- STAT ---


@pytest.mark.parametrize(
    ("lines", "serial", "ranges", "delta"),
    [
        (b"SIZE %d\nB3 %s\nSERIAL 12\nHAVE all\n" % (len(BODY), B3), 12, None, False),
        (b"SERIAL 0\n", 0, [], False),
        (b"SERIAL 3\nHAVE 0-1,3\nHAVE 5\n", 3, [(0, 1), (3, 3), (5, 5)], False),
        (b"SERIAL 9\nSINCE 8\nHAVE 4\n", 9, [(4, 4)], True),
        (b"SERIAL 9\nSINCE 9\n", 9, [], True),
        (b"COLOUR blue\nHAVE 9\nSERIAL 1\n", 1, [(9, 9)], False),
    ],
)
async def test_stat(lines: bytes, serial: int, ranges: list[tuple[int, int]] | None, delta: bool) -> None:
    async with client_of(HELLO + lines + b"200 fine\n") as (client, _):
        state = await client.read_stat()
    assert (state.serial, state.ranges, state.delta) == (serial, ranges, delta)


@pytest.mark.parametrize(
    "line",
    [
        b"HAVE 10",  # there are only 0 to 9
        b"HAVE 3-2",
        b"HAVE 0-1,1",
        b"HAVE 5\nHAVE 4",
        b"HAVE 5\nHAVE 5",
        b"HAVE 0-99999999999999999999999",
        b"HAVE " + b",".join([b"1"] * 1000),
        b"HAVE x",
        b"SERIAL -1",
        b"SERIAL 99999999999999999999",
        b"SIZE big",
    ],
)
async def test_a_stat_that_makes_no_sense_is_malformed(line: bytes) -> None:
    async with client_of(HELLO + line + b"\n200 fine\n") as (client, _):
        with pytest.raises(MalformedLine):
            await client.read_stat()


async def test_a_holder_that_means_another_content_is_none() -> None:
    async with client_of(HELLO + b"SIZE 5\nB3 " + B3 + b"\nHAVE all\n200 fine\n") as (client, _):
        with pytest.raises(ChecksumMismatch, match=f"5 bytes, not {len(BODY)}"):
            await client.read_stat()
    async with client_of(HELLO + b"B3 " + B3[::-1] + b"\nHAVE all\n200 fine\n") as (client, _):
        with pytest.raises(NotHere) as refusal:
            await client.read_stat()
        assert refusal.value.code == 301


# --- the chunk list ---


def list_lines(count: int = len(CHUNKS)) -> list[bytes]:
    return [b"CHUNK %d %s\n" % (index, chunk_hash(CHUNKS[index % 10]).hex().encode()) for index in range(count)]


async def test_the_chunk_list() -> None:
    async with client_of(HELLO + b"".join(list_lines()) + b"200 fine\n") as (client, _):
        assert await client.read_chunks() == HASHES


@pytest.mark.parametrize(
    "lines",
    [
        [],
        list_lines(9),
        list_lines(11),
        list_lines()[::-1],
        [list_lines()[0]] * 10,
        [line.upper() for line in list_lines()],
        [line[:-2] + b"\n" for line in list_lines()],
        [line.replace(b"CHUNK", b"CHUNKS") for line in list_lines()],
        [line[:-1] + b" more\n" for line in list_lines()],
        [b"\n" for _ in range(10)],
    ],
)
async def test_a_list_that_is_too_short_or_long_or_out_of_order(lines: list[bytes]) -> None:
    async with client_of(HELLO + b"".join(lines) + b"200 fine\n") as (client, _):
        with pytest.raises(MalformedLine):
            await client.read_chunks()


# --- chunks ---


def data(first: int, last: int, more: bytes = b"") -> bytes:
    body = b"".join(CHUNKS[first : last + 1])
    return b"DATA %d%s\n" % (len(body), more) + OK + body


@pytest.mark.parametrize(("first", "last"), [(0, 0), (3, 3), (9, 9), (7, 9), (0, 9)])
@pytest.mark.parametrize("step", [1000, 65_536, 300_000])
async def test_a_run_arrives_chunk_by_chunk(
    first: int, last: int, step: int, autojump_clock: trio.testing.MockClock
) -> None:
    answer = HELLO + data(first, last)
    taken = Taken()
    limits = replace(LIMITS, thread_batch=1 << 40)
    pieces = [answer[start : start + step] for start in range(0, len(answer), step)]
    async with client_of(*pieces, limits=limits) as (client, _):
        await client.read_data(first, last, taken.take, taken.gained.append)
    assert taken.chunks == [(index, CHUNKS[index]) for index in range(first, last + 1)]
    assert taken.gained == [[]]


async def test_large_answers_come_in_batches_and_small_ones_by_chunks() -> None:
    taken = Taken()
    limits = replace(LIMITS, thread_batch=4 * MIN_CHUNK)
    async with client_of(HELLO + data(0, 9) + data(1, 3), limits=limits) as (client, _):
        await client.read_data(0, 9, taken.take, taken.gained.append)
        assert [(first, len(body)) for first, body in taken.chunks] == [
            (0, 4 * MIN_CHUNK),
            (4, 4 * MIN_CHUNK),
            (8, MIN_CHUNK + 10),
        ]
        assert b"".join(body for _, body in taken.chunks) == BODY
        await client.read_data(1, 3, taken.take, taken.gained.append)
        assert taken.chunks[3:] == [(1, CHUNKS[1]), (2, CHUNKS[2]), (3, CHUNKS[3])]


async def test_a_batch_is_left_alone_until_as_many_were_taken_as_there_are_spare_buffers() -> None:
    """It may still be in another thread's hand meanwhile."""
    limits = replace(LIMITS, thread_batch=2 * MIN_CHUNK)
    views: list[tuple[int, memoryview]] = []

    async def take(first: int, view: memoryview) -> None:
        await trio.lowlevel.checkpoint()
        for before, earlier in views[-client.spare :]:
            assert earlier == BODY[before * MIN_CHUNK : before * MIN_CHUNK + len(earlier)]
        views.append((first, view))

    async with client_of(HELLO + data(0, 8) + data(2, 2) + data(0, 6), limits=limits) as (client, _):
        for first, last in ((0, 8), (2, 2), (0, 6)):
            await client.read_data(first, last, take, print)
    assert len(views) == 5 + 1 + 4


async def test_news_stand_in_the_answer() -> None:
    taken = Taken()
    async with client_of(HELLO + data(0, 0, b" new=3,5-6")) as (client, _):
        await client.read_data(0, 0, taken.take, taken.gained.append)
    assert taken.gained == [[(3, 3), (5, 6)]]


async def test_a_chunk_of_the_holders_choice() -> None:
    taken = Taken()
    async with client_of(HELLO + data(9, 9, b" chunk=9") + data(4, 4, b" new=1 chunk=4")) as (client, _):
        await client.read_any(bits_of([(3, 9)]), taken.take, taken.gained.append)
        await client.read_any(bits_of([(3, 4)]), taken.take, taken.gained.append)
    assert taken.chunks == [(9, CHUNKS[9]), (4, CHUNKS[4])]


@pytest.mark.parametrize(
    "answer",
    [
        data(1, 1),  # which one?
        data(5, 5, b" chunk=5"),  # not asked for
        data(1, 1, b" chunk=10"),  # there is none
        data(1, 1, b" chunk=x"),
        data(1, 1, b" chunk="),
        b"DATA 5 chunk=1\n" + OK + b"xxxxx",
        b"DATA %d chunk=1\n" % len(BODY) + OK,
        OK,
        b"CHUNK 0 x\n" + OK,
        b"DATA\n" + OK,
        b"DATA x\n" + OK,
        b"DATA -1\n" + OK,
        b"DATA 99999999999999999999999999 chunk=1\n" + OK,
        data(1, 1, b" chunk=1 new=10"),
        data(1, 1, b" chunk=1 new=3-1"),
    ],
)
async def test_a_choice_that_was_not_given_is_malformed(answer: bytes) -> None:
    taken = Taken()
    async with client_of(HELLO + answer) as (client, _):
        with pytest.raises(MalformedLine):
            await client.read_any(bits_of([(1, 2)]), taken.take, taken.gained.append)
    assert not taken.chunks


@pytest.mark.parametrize("length", [0, 1, MIN_CHUNK - 1, MIN_CHUNK + 1, 2**63 - 1])
async def test_a_length_that_was_not_asked_for_is_malformed(length: int) -> None:
    taken = Taken()
    async with client_of(HELLO + b"DATA %d\n" % length + OK + b"x" * 1000) as (client, _):
        with pytest.raises(MalformedLine):
            await client.read_data(1, 1, taken.take, taken.gained.append)
    assert not taken.chunks


async def test_the_answer_to_anothers_request_is_malformed() -> None:
    async with client_of(HELLO + data(2, 2, b" chunk=2")) as (client, _):
        with pytest.raises(MalformedLine):
            await client.read_data(1, 1, Taken().take, print)


async def test_more_bytes_than_were_announced_are_no_reply() -> None:
    taken = Taken()
    async with client_of(HELLO + data(0, 0) + b"\0" * 100_000 + data(1, 1)) as (client, _):
        await client.read_data(0, 0, taken.take, taken.gained.append)
        with pytest.raises(RemoteProtocolError):
            await client.read_data(1, 1, taken.take, taken.gained.append)
    assert taken.chunks == [(0, CHUNKS[0])]


async def test_fewer_bytes_than_were_announced_are_no_chunk() -> None:
    taken = Taken()
    async with client_of(HELLO + data(0, 1)[:-1]) as (client, _):
        with pytest.raises(ConnectionLost):
            await client.read_data(0, 1, taken.take, taken.gained.append)
    assert taken.chunks == [(0, CHUNKS[0])]  # what was whole by then counts


async def test_silence_in_the_middle_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of(HELLO + data(0, 0)[:100_000], end=False) as (client, _):
        began = trio.current_time()
        with pytest.raises(Stalled):
            await client.read_data(0, 0, Taken().take, print)
        assert trio.current_time() - began == pytest.approx(LIMITS.idle_transfer_timeout, abs=1)


async def test_a_dripper_does_not_live_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    limits = replace(LIMITS, min_rate=1000, rate_window=10)
    drips = [b"x" * 100] * 1000  # each 0.01 s, and then each 10 s
    async with client_of(HELLO + data(0, 0)[:50], *drips[:10], limits=limits, end=False) as (client, holder):

        async def drip() -> None:
            try:
                for _ in range(1000):
                    await trio.sleep(5)
                    await holder.send(b"x")
            except NetworkError:
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            began = trio.current_time()
            with pytest.raises(Stalled):
                await client.read_data(0, 0, Taken().take, print)
            assert trio.current_time() - began <= 20
            nursery.cancel_scope.cancel()


async def test_a_slow_disk_is_not_the_holders_fault(autojump_clock: trio.testing.MockClock) -> None:
    taken = Taken()

    async def take(first: int, data: memoryview) -> None:
        await trio.sleep(LIMITS.idle_transfer_timeout * 3)
        await taken.take(first, data)

    async with client_of(HELLO, b"DATA %d\n" % len(BODY), OK, BODY) as (client, _):
        await client.read_data(0, 9, take, print)
    assert b"".join(data for _, data in taken.chunks) == BODY


async def test_a_slow_holder_is_borne_as_long_as_it_moves(autojump_clock: trio.testing.MockClock) -> None:
    answer = HELLO + data(0, 0)
    taken = Taken()
    async with client_of(*[answer[start : start + 4000] for start in range(0, len(answer), 4000)], end=False) as (
        client,
        _,
    ):
        await client.read_data(0, 0, taken.take, print)
    assert taken.chunks == [(0, CHUNKS[0])]


@given(st.binary(max_size=200), st.sampled_from(["stat", "chunks", "data", "any"]), st.booleans())
async def test_whatever_comes_only_documented_errors_go(noise: bytes, kind: str, greeted: bool) -> None:
    async with client_of((HELLO if greeted else b"") + noise) as (client, _):
        try:
            if kind == "stat":
                await client.read_stat()
            elif kind == "chunks":
                await client.read_chunks()
            elif kind == "data":
                await client.read_data(0, 1, Taken().take, Taken().gained.append)
            else:
                await client.read_any(0b110, Taken().take, Taken().gained.append)
        except (NetworkError, RemoteProtocolError, TransferError):
            return
        assert kind == "stat"  # nothing but an empty answer to it can be right by chance


# --- connecting ---


async def test_nobody_there() -> None:
    with pytest.raises(ConnectFailed):
        async with open_holder(MemoryNetwork(), Address("127.0.0.1", 9), CONTENT, LIMITS):
            raise AssertionError("there is no such holder")


async def test_a_connection_that_does_not_come_about_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    class Nowhere(MemoryNetwork):
        async def connect(self, host: str, port: int) -> MemoryConnection:
            await trio.sleep_forever()
            raise AssertionError

    began = trio.current_time()
    with pytest.raises(TimedOut):
        async with open_holder(Nowhere(), Address("127.0.0.1", 9), CONTENT, LIMITS):
            raise AssertionError("there is no such holder")
    assert trio.current_time() - began == LIMITS.connect_timeout


async def test_the_connection_is_closed_in_any_case() -> None:
    network = MemoryNetwork()
    listener = await network.listen(9)
    with pytest.raises(KeyError):
        async with open_holder(network, Address("127.0.0.1", 9), CONTENT, LIMITS):
            raise KeyError
    assert await (await listener.accept()).receive(1) == b""


# --- limits ---


@asynccontextmanager
async def answered(answer: bytes, content: Content, limits: Limits) -> AsyncIterator[ChunkClient]:
    """A client of a holder that sends `answer`, whatever it is asked."""
    network = MemoryNetwork(capacity=1 << 24)
    listener = await network.listen(9)
    async with open_holder(network, Address("127.0.0.1", 9), content, limits) as client:
        await (await listener.accept()).send(HELLO + answer)
        yield client


async def test_the_longest_chunk_list_is_read_and_a_longer_answer_is_not() -> None:
    content = Content(b"a", 16_384 * MIN_CHUNK, bytes(32))
    lines = b"".join(b"CHUNK %d %s\n" % (index, b"0" * 64) for index in range(content.count))
    async with answered(lines + b"200 fine\n", content, LIMITS) as client:
        assert await client.read_chunks() == bytes(32 * content.count)
    for endless in (b"CHUNK 0 %s\n" % (b"0" * 4000) * 600, b"x\n" * 20_001):
        async with answered(endless + b"200 fine\n", content, LIMITS) as client:
            with pytest.raises(LineTooLong):
                await client.read_chunks()
