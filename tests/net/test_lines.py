"""Lines, replies and raw bytes over one connection."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectionLost, LineTooLong, NetworkError, TimedOut
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork
from osp2p.wire.reply import Reply

LIMITS = Limits(max_line=20, max_reply_lines=5, max_reply_bytes=50)


async def pair(capacity: int = 65536, limits: Limits = LIMITS) -> tuple[LineConnection, Connection]:
    """Our side, and the stranger's."""
    network = MemoryNetwork(capacity=capacity)
    listener = await network.listen(80)
    stranger = await network.connect("127.0.0.1", 80)
    return LineConnection(await listener.accept(), limits), stranger


async def drip(stranger: Connection, data: bytes, pause: float = 0) -> None:
    """Send byte by byte, and end."""
    for value in data:
        await stranger.send(bytes([value]))
        await trio.sleep(pause)
    await stranger.send_eof()


async def read_lines(lines: LineConnection) -> tuple[list[bytes], type[Exception] | None]:
    """Everything up to the end: the lines, and what ended them if it was an error."""
    found: list[bytes] = []
    try:
        while (line := await lines.read_line(math.inf)) is not None:
            found.append(line)
    except (LineTooLong, NetworkError) as error:
        return found, type(error)
    return found, None


@pytest.mark.parametrize(
    ("stream", "expected", "error"),
    [
        (b"", [], None),
        (b"one\ntwo\r\n\n", [b"one", b"two\r", b""], None),
        (b"one\nhalf", [b"one"], ConnectionLost),
        (b"one\n" + b"x" * 20 + b"\n", [b"one", b"x" * 20], None),
        (b"one\n" + b"x" * 21 + b"\ntwo\n", [b"one"], LineTooLong),
        (b"one\n" + b"x" * 21, [b"one"], LineTooLong),
        (b"\0\n", [b"\0"], None),
    ],
)
async def test_whole_or_byte_by_byte(
    stream: bytes, expected: list[bytes], error: type[Exception] | None, autojump_clock: trio.testing.MockClock
) -> None:
    lines, stranger = await pair()
    await stranger.send(stream)
    await stranger.send_eof()
    assert await read_lines(lines) == (expected, error)
    lines, stranger = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip, stranger, stream)
        assert await read_lines(lines) == (expected, error)


async def test_the_end_stays_the_end() -> None:
    lines, stranger = await pair()
    await stranger.send_eof()
    assert await lines.read_line(math.inf) is None
    assert await lines.read_line(math.inf) is None


async def test_a_dripper_is_late_though_every_read_is_quick(autojump_clock: trio.testing.MockClock) -> None:
    lines, stranger = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip, stranger, b"x" * 19, 1)
        with pytest.raises(TimedOut):
            await lines.read_line(5)
        assert trio.current_time() == 5
        nursery.cancel_scope.cancel()


async def test_a_line_that_has_begun_has_a_time_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    lines, stranger = await pair()
    async with trio.open_nursery() as nursery:

        async def talk() -> None:
            await trio.sleep(50)
            await drip(stranger, b"quick\nslow", pause=1)

        nursery.start_soon(talk)
        assert await lines.read_line(100, whole_within=6) == b"quick"
        assert trio.current_time() == 55
        with pytest.raises(TimedOut):
            await lines.read_line(100, whole_within=2)
        assert trio.current_time() == 58
        with pytest.raises(TimedOut):
            await lines.read_line(58.5, whole_within=2)
        assert trio.current_time() == 58.5


async def test_what_arrived_before_a_deadline_or_cancellation_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    lines, stranger = await pair()
    await stranger.send(b"one ")
    with pytest.raises(TimedOut):
        await lines.read_line(1)
    await stranger.send(b"two ")
    with trio.move_on_at(2):
        await lines.read_line(math.inf)
    await stranger.send(b"three\n")
    assert await lines.read_line(3) == b"one two three"


async def test_a_line_that_is_here_already_is_never_late(autojump_clock: trio.testing.MockClock) -> None:
    lines, stranger = await pair()
    await stranger.send(b"one\ntwo\n200 ok\n")
    assert not lines.has_buffered
    assert await lines.read_line(1) == b"one"
    assert lines.has_buffered
    await trio.sleep(10)
    assert await lines.read_line(1) == b"two"
    assert await lines.read_reply(1) == Reply(200, b"ok")
    assert not lines.has_buffered
    with pytest.raises(TimedOut):
        await lines.read_line(1)


async def test_a_single_byte_is_buffered_too() -> None:
    lines, stranger = await pair()
    await stranger.send(b"one\nx")
    await lines.read_line(math.inf)
    assert lines.has_buffered


async def test_replies_with_the_rest_of_the_packet_left_alone() -> None:
    lines, stranger = await pair()
    await stranger.send(b"FILE a\n200-x\r\n200 one\n300 two\nFILE b\n200 three\n")
    assert await lines.read_reply(math.inf) == Reply(200, b"one", (b"FILE a",), ((200, b"x"),))
    assert await lines.read_reply(math.inf) == Reply(300, b"two")
    assert await lines.read_reply(math.inf) == Reply(200, b"three", (b"FILE b",))


async def test_a_reply_byte_by_byte(autojump_clock: trio.testing.MockClock) -> None:
    lines, stranger = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip, stranger, b"FILE a\n200 one\n200 two\n", 0.01)
        assert await lines.read_reply(math.inf) == Reply(200, b"one", (b"FILE a",))
        assert await lines.read_reply(math.inf) == Reply(200, b"two")


async def test_a_reply_goes_on_after_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    lines, stranger = await pair()
    await stranger.send(b"FILE a\nFI")
    with pytest.raises(TimedOut):
        await lines.read_reply(1)
    await stranger.send(b"LE b\n200 ok\n")
    assert await lines.read_reply(2) == Reply(200, b"ok", (b"FILE a", b"FILE b"))


@pytest.mark.parametrize("stream", [b"", b"FILE a\n", b"FILE a\n200 o"])
async def test_an_end_before_the_terminator_is_a_loss(stream: bytes) -> None:
    lines, stranger = await pair()
    await stranger.send(stream)
    await stranger.send_eof()
    with pytest.raises(ConnectionLost):
        await lines.read_reply(math.inf)


async def flood(stranger: Connection, line: bytes, pause: float) -> None:
    try:
        while True:
            await stranger.send(line)
            await trio.sleep(pause)
    except ConnectionLost:
        pass


@pytest.mark.parametrize("line", [b"FILE a\n", b"\n", b"200-remark\n", b"x" * 19 + b"\n"])
async def test_a_tracker_that_never_ends_its_reply_is_given_up(
    line: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    lines, stranger = await pair(capacity=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood, stranger, line, 0)
        with pytest.raises(LineTooLong):
            await lines.read_reply(math.inf)
        nursery.cancel_scope.cancel()


async def test_a_tracker_that_drips_its_reply_is_late(autojump_clock: trio.testing.MockClock) -> None:
    """Each line comes in time; the reply does not."""
    lines, stranger = await pair(limits=replace(LIMITS, max_reply_lines=1000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood, stranger, b"\n", 1)
        with pytest.raises(TimedOut):
            await lines.read_reply(10)
        nursery.cancel_scope.cancel()


async def test_raw_bytes_between_lines() -> None:
    lines, stranger = await pair()
    await stranger.send(b"DATA 5\n200 ok\nab\ncd200 next\n")
    assert (await lines.read_reply(math.inf)).data == (b"DATA 5",)
    buffer = bytearray(5)
    assert await lines.receive_into(memoryview(buffer)[:2]) == 2
    assert await lines.receive_into(memoryview(buffer)[2:]) == 3
    assert buffer == b"ab\ncd"
    assert lines.buffered_line() == b"200 next"
    assert lines.buffered_line() is None


async def test_raw_bytes_come_first_from_the_buffer_and_then_from_the_connection() -> None:
    lines, stranger = await pair()
    await stranger.send(b"x\nab")
    assert await lines.read_line(math.inf) == b"x"
    await stranger.send(b"cd")
    await stranger.send_eof()
    buffer = bytearray(10)
    with trio.testing.assert_checkpoints():
        assert await lines.receive_into(memoryview(buffer)) == 2
    assert await lines.receive_into(memoryview(buffer)[2:]) == 2
    assert buffer[:4] == b"abcd"
    assert await lines.receive_into(memoryview(buffer)) == 0


async def test_raw_bytes_are_bound_by_no_line_limit() -> None:
    lines, stranger = await pair()
    await stranger.send(b"x\n" + b"y" * 1000)
    assert await lines.read_line(math.inf) == b"x"
    assert await lines.receive_into(memoryview(bytearray(2000))) == 1000


async def test_a_buffered_line_over_the_limit() -> None:
    lines, stranger = await pair()
    await stranger.send(b"x\n" + b"y" * 21)
    assert await lines.read_line(math.inf) == b"x"
    with pytest.raises(LineTooLong):
        lines.buffered_line()


async def test_a_send_that_nobody_takes_is_late_and_ruins_the_stream(autojump_clock: trio.testing.MockClock) -> None:
    lines, _ = await pair(capacity=10)
    with pytest.raises(TimedOut):
        await lines.send(b"x" * 100, 5)
    assert trio.current_time() == 5
    with pytest.raises(ConnectionLost):
        await lines.send(b"y", 10)


async def test_close_closes_the_connection() -> None:
    lines, stranger = await pair()
    lines.close()
    lines.close()
    assert await stranger.receive(1) == b""
    with pytest.raises(ConnectionLost):
        await lines.read_line(math.inf)
