"""The stand-in downloaders have the weaknesses that answers to them must respect."""

from __future__ import annotations

import pytest
import trio

from tests.standins.old_client import Listed, OldConnection, ProgramExits, fetch, open_old_connection, read_peer_line
from tests.standins.old_peer import Habits, open_old_peer
from tests.standins.old_tracker import open_old_tracker


async def connected() -> tuple[OldConnection, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return OldConnection(ours), await listener.accept()


@pytest.mark.parametrize(
    "line",
    [
        b"PEER anna 10.0.0.1:0",
        b"PEER anna 10.0.0.256:1",
        b"PEER anna [::1]:1",
        b"PEER anna 10.0.0.1:1 v=2",
        b"PEER an na 10.0.0.1:1",
        b"PEER " + b"a" * 250 + b" 10.0.0.1:1",
    ],
)
def test_ends_on_a_peer_line_that_it_cannot_read(line: bytes) -> None:
    with pytest.raises(ProgramExits):
        read_peer_line(line)


def test_reads_a_peer_line() -> None:
    assert read_peer_line(b"PEER an%20na 10.0.0.1:4001") == Listed(b"an%20na", "10.0.0.1", 4001)


async def test_hangs_where_a_segment_ends_inside_the_terminator() -> None:
    connection, tracker = await connected()
    async with connection.stream, tracker:
        await tracker.send_all(b"FILE a\n200 two fi")
        with trio.move_on_after(0.3) as waiting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.read_answer)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await tracker.send_all(b"les\n")
        assert waiting.cancelled_caught


async def test_reads_an_answer_whose_segments_end_between_lines() -> None:
    connection, tracker = await connected()
    async with connection.stream, tracker, trio.open_nursery() as nursery:
        nursery.start_soon(connection.read_answer)
        await tracker.send_all(b"FILE a\n")
        await trio.testing.wait_all_tasks_blocked(0.05)
        await tracker.send_all(b"200 one file\n")
    assert connection.answers == [b"FILE a\n200 one file\n"]


async def test_an_answer_of_its_whole_buffer_ends_it() -> None:
    async with open_old_tracker(fakes=True) as tracker, open_old_connection(tracker.host, tracker.port) as peer:
        await peer.ask(b"ADDR anna 127.0.0.1:4001")
        await peer.ask(b"HAVE a")
        with pytest.raises(ProgramExits, match="buffer"):
            await peer.want(b"a")


async def test_takes_the_last_listed_that_gives_a_byte() -> None:
    async with (
        open_old_tracker() as tracker,
        open_old_peer({b"a": b"wrong"}, tracker=(tracker.host, tracker.port), alias=b"old1"),
        open_old_peer({b"a": b""}, Habits(sends="empty"), tracker=(tracker.host, tracker.port), alias=b"old2"),
        open_old_connection(tracker.host, tracker.port) as connection,
    ):
        with trio.fail_after(5):
            assert await fetch(connection, b"a") == b"wrong"
            assert await fetch(connection, b"b") is None
