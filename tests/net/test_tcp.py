"""TCP over real sockets: connections, files over them, fairness."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectionLost, LocalProtocolError
from osp2p.net import Connection, TcpNetwork
from osp2p.net.tcp import TcpConnection
from tests.net.ipv6 import needs_ipv6

MIB = 1024 * 1024

#: More than a connection on loopback ever holds in its buffers.
PLENTY = 64 * MIB


@asynccontextmanager
async def open_pair(host: str = "127.0.0.1") -> AsyncIterator[tuple[Connection, Connection]]:
    """A connected pair: who connected, who accepted."""
    listener = await TcpNetwork().listen(0, host)
    try:
        here = await TcpNetwork().connect(host, listener.address.port)
        there = await listener.accept()
    finally:
        listener.close()
    try:
        yield here, there
    finally:
        here.close()
        there.close()


async def receive_all(connection: Connection) -> int:
    """How many bytes come until the end."""
    total = 0
    while data := await connection.receive(MIB):
        total += len(data)
    return total


async def fill(connection: Connection) -> None:
    """Send until the other side's and our own kernel take nothing more."""
    with trio.move_on_after(0.2) as scope:
        await connection.send(bytes(PLENTY))
    assert scope.cancelled_caught


# --- connections ---


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_both_ends_agree_on_their_addresses(host: str) -> None:
    async with open_pair(host) as (here, there):
        assert here.remote == there.local
        assert here.local == there.remote
        assert here.remote.host == host
        assert isinstance(here.remote.port, int)


async def test_small_answers_leave_at_once() -> None:
    """Nagle's algorithm would hold back one answer until the one before it is acknowledged."""
    async with open_pair() as ends:
        for end in ends:
            assert isinstance(end, TcpConnection)
            assert end._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_bytes_and_the_end_in_both_directions() -> None:
    async with open_pair() as (here, there):
        await here.send(b"abc")
        await here.send(memoryview(b"def"))
        await here.send(b"")
        with trio.testing.assert_checkpoints():
            await here.send_eof()
        assert await there.receive(2) == b"ab"
        buffer = bytearray(10)
        assert await there.receive_into(memoryview(buffer)) == 4
        assert buffer[:4] == b"cdef"
        assert await there.receive(10) == b""
        assert await there.receive_into(memoryview(buffer)) == 0
        await there.send(b"back")
        assert await here.receive(10) == b"back"
        there.close()
        assert await here.receive(10) == b""


async def test_a_send_longer_than_all_buffers_arrives_whole() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:

        async def send() -> None:
            await here.send(bytes(PLENTY))
            await here.send(b"end")
            await here.send_eof()

        nursery.start_soon(send)
        assert await receive_all(there) == PLENTY + 3


async def test_who_does_not_read_is_pushed_back_on_and_a_cancelled_send_is_the_last() -> None:
    async with open_pair() as (here, there):
        await fill(here)
        with pytest.raises(ConnectionLost, match="earlier send"):
            await here.send(b"x")
        with pytest.raises(ConnectionLost, match="earlier send"):
            await here.send_eof()
        with pytest.raises(ConnectionLost, match="earlier send"):
            await here.send_file_some(0, 0, 1)
        await there.send(b"still readable")
        assert await here.receive(100) == b"still readable"


async def test_two_sends_at_a_time_do_not_mix_their_bytes() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(here.send, bytes(PLENTY))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionLost):
            await here.send(b"x")
        total = 0
        while total < PLENTY:
            data = await there.receive(MIB)
            assert not data.strip(b"\0")
            total += len(data)


async def test_two_that_receive_at_a_time_are_a_fault() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(here.receive, 1)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalProtocolError):
            await here.receive(1)
        await there.send(b"x")


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with open_pair() as (here, there):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.receive, 1)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await there.send(b"x")
        assert await here.receive(10) == b"x"


async def test_a_reset_while_we_receive() -> None:
    async with open_pair() as (here, there):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_lost_receive, here)
            await trio.testing.wait_all_tasks_blocked()
            there.abort()
            there.abort()
        with pytest.raises(ConnectionLost):
            await here.send(b"x")


async def expect_lost_receive(connection: Connection) -> None:
    with pytest.raises(ConnectionLost):
        await connection.receive(1)


async def expect_lost_send(connection: Connection) -> None:
    with pytest.raises(ConnectionLost):
        await connection.send(bytes(PLENTY))


async def test_a_reset_in_the_middle_of_a_send() -> None:
    async with open_pair() as (here, there):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_lost_send, here)
            await there.receive(1)
            await trio.testing.wait_all_tasks_blocked()
            there.abort()
        with pytest.raises(ConnectionLost):
            await here.send(b"x")


async def test_a_close_with_bytes_unread_is_a_reset_for_the_sender() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(expect_lost_send, here)
        await there.receive(1)
        there.close()


@pytest.mark.parametrize("waiting", [expect_lost_receive, expect_lost_send])
async def test_our_own_close_wakes_who_waits(waiting: Callable[[Connection], Awaitable[None]]) -> None:
    async with open_pair() as (here, _), trio.open_nursery() as nursery:
        nursery.start_soon(waiting, here)
        await trio.testing.wait_all_tasks_blocked()
        here.close()
        here.close()
        here.abort()


async def test_after_our_own_close_every_call_says_that_it_is_closed() -> None:
    async with open_pair() as (here, there):
        here.close()
        for call in (
            here.receive(1),
            here.receive_into(memoryview(bytearray(1))),
            here.send(b"x"),
            here.send_eof(),
            here.send_file(0, 0, 1),
            here.send_file_some(0, 0, 1),
        ):
            with pytest.raises(ConnectionLost, match="the connection is closed"):
                await call
        assert str(here.remote) == str(there.local)


async def test_a_closed_number_that_another_file_got_is_not_touched() -> None:
    async with open_pair() as (first, _):
        first.close()
        async with open_pair() as (here, there):  # very likely under the number that was closed
            with pytest.raises(ConnectionLost):
                await first.send(b"stray")
            first.close()
            await here.send(b"x")
            assert await there.receive(10) == b"x"


async def test_a_socket_that_is_not_connected_is_lost_and_closed() -> None:
    sock = socket.socket()
    with pytest.raises(ConnectionLost):
        TcpConnection(sock)
    assert sock.fileno() == -1


# --- files ---


@pytest.fixture
def hundred(tmp_path: Path) -> Iterator[int]:
    """A file of the bytes 0 to 99, open for reading."""
    path = tmp_path / "hundred"
    path.write_bytes(bytes(range(100)))
    with path.open("rb") as file:
        yield file.fileno()


async def test_a_part_of_a_file(hundred: int) -> None:
    async with open_pair() as (here, there):
        assert await here.send_file(hundred, 20, 30) == 30
        assert await there.receive(100) == bytes(range(20, 50))
        assert await here.send_file(hundred, 0, 0) == 0


async def test_a_file_that_is_shorter_than_it_should_be(hundred: int) -> None:
    async with open_pair() as (here, there):
        assert await here.send_file(hundred, 90, 30) == 10
        assert await here.send_file(hundred, 100, 30) == 0
        assert await here.send_file_some(hundred, 1000, 30) == 0
        await here.send_eof()
        assert await receive_all(there) == 10


async def test_a_file_longer_than_all_buffers_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.truncate(PLENTY)
        async with open_pair() as (here, there), trio.open_nursery() as nursery:

            async def send() -> None:
                assert await here.send_file(file.fileno(), 0, PLENTY + 5) == PLENTY
                await here.send_eof()

            nursery.start_soon(send)
            assert await receive_all(there) == PLENTY


async def test_a_file_goes_in_parts_that_can_be_counted(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.truncate(PLENTY)
        async with open_pair() as (here, there), trio.open_nursery() as nursery:

            async def send() -> None:
                sent = 0
                while sent < PLENTY:
                    part = await here.send_file_some(file.fileno(), sent, PLENTY - sent)
                    assert 0 < part < PLENTY
                    sent += part
                await here.send_eof()

            nursery.start_soon(send)
            assert await receive_all(there) == PLENTY


async def test_a_reset_in_the_middle_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.truncate(PLENTY)
        async with open_pair() as (here, there), trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(ConnectionLost):
                    await here.send_file(file.fileno(), 0, PLENTY)

            nursery.start_soon(send)
            await there.receive(1)
            there.abort()


# --- fairness ---


async def test_a_busy_connection_lets_others_run_and_can_be_cancelled() -> None:
    """Bytes are always ready here, so nothing in the loop ever has to wait."""
    async with open_pair() as (here, there):
        calls = 0
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            while calls < 1000:
                await there.send(b"ping")
                await here.receive(100)
                calls += 2
            assert turns >= 1000 // 16 // 2  # each connection gives one every 16 calls; their order is by chance
            nursery.cancel_scope.cancel()

        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(100):
                await there.send(b"ping")
        assert scope.cancelled_caught


@pytest.mark.parametrize("call", ["receive", "receive_into"])
async def test_much_at_a_time_counts_as_many_calls(call: str) -> None:
    """A packet full of lines is long work: after each there is a turn."""
    async with open_pair() as (here, there), trio.open_nursery() as nursery:

        async def send() -> None:
            await there.send(bytes(8 * MIB))

        nursery.start_soon(send)
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(count_turns)
        received = blocks = 0
        buffer = memoryview(bytearray(65536))
        while received < 8 * MIB:
            received += await here.receive_into(buffer) if call == "receive_into" else len(await here.receive(65536))
            blocks += 1
        assert turns >= blocks // 2
        nursery.cancel_scope.cancel()


async def test_a_gathering_reader_is_woken_seldom_and_gets_everything() -> None:
    sizes: list[int] = []
    block = bytes(range(256)) * 8  # half a gathering is 16 of these
    async with open_pair() as (here, there):
        buffer = bytearray(64 * len(block))

        async def read() -> None:
            filled = 0
            while filled < len(buffer):
                count = await here.receive_into(memoryview(buffer)[filled:], gather=True)
                assert count > 0
                sizes.append(count)
                filled += count

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for _ in range(64):
                await trio.testing.wait_all_tasks_blocked()
                await there.send(block)
    assert bytes(buffer) == 64 * block
    assert len(sizes) < 32


async def test_a_gathering_reader_does_not_wait_for_ever_for_much() -> None:
    buffer = memoryview(bytearray(MIB))
    async with open_pair() as (here, there):
        await there.send(b"few")
        assert await here.receive_into(buffer, gather=True) == 3
        async with trio.open_nursery() as nursery:
            got: list[int] = []

            async def read() -> None:
                got.append(await here.receive_into(buffer, gather=True))

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await there.send(b"more")
        assert got == [4]
        await there.send(b"a line\n")
        assert await here.receive(100) == b"a line\n"


async def test_a_gathering_reader_sees_the_end_at_once() -> None:
    async with open_pair() as (here, there):
        buffer = memoryview(bytearray(MIB))
        async with trio.open_nursery() as nursery:
            got: list[int] = []

            async def read() -> None:
                got.extend([await here.receive_into(buffer, gather=True) for _ in range(2)])

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await there.send(b"last")
            await there.send_eof()
        assert got == [4, 0]


async def test_a_line_behind_what_was_gathered_wakes_a_reader_of_lines() -> None:
    async with open_pair() as (here, there):
        buffer = memoryview(bytearray(100_000))
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                filled = 0
                while filled < len(buffer):
                    filled += await here.receive_into(buffer[filled:], gather=True)
                assert await here.receive(100) == b"200 ok\n"

            nursery.start_soon(read)
            for _ in range(10):
                await trio.testing.wait_all_tasks_blocked()
                await there.send(bytes(10_000))
            await trio.testing.wait_all_tasks_blocked()
            await there.send(b"200 ok\n")
