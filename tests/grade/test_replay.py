"""Transcripts played again: the same server shows no difference, another one the first, and what may differ may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from osp2p.errors import ConnectFailed, MalformedLine
from osp2p.grade.recording import RecordedNetwork, Recorder
from osp2p.grade.replay import Difference, Replay, choose_part, shape
from osp2p.grade.transcript import Entry, parse_transcript
from osp2p.net import TcpNetwork
from tests.standins.old_tracker import open_old_tracker
from tests.tracker.talk import client, running_tracker

SAID: Sequence[tuple[str, bytes]] = (
    ("a", b"ADDR alice 127.0.0.1:4001"),
    ("b", b"ADDR bob 127.0.0.1:4002"),
    ("a", b"HAVE x.txt"),
    ("b", b"HAVE x.txt"),
    ("a", b"WANT x.txt"),
    ("a", b"SING"),
    ("b", b"QUIT"),
)


async def record() -> list[Entry]:
    """What a tracker of ours writes down of a dialogue."""
    entries: list[Entry] = []
    network = RecordedNetwork(TcpNetwork(), Recorder(entries.append))
    async with running_tracker(network=network) as addresses:
        async with client(addresses[0].port) as a, client(addresses[0].port) as b:
            for label, line in SAID:
                await {"a": a, "b": b}[label].ask(line)
            assert await b.line() is None
        await trio.testing.wait_all_tasks_blocked(0.01)
    return entries


async def play(entries: Sequence[Entry], port: int, *, codes_only: bool = False) -> tuple[Difference | None, int]:
    replay = Replay(TcpNetwork(), "127.0.0.1", port, codes_only=codes_only)
    return await replay.run(choose_part(entries).entries), replay.compared


async def test_the_same_tracker_and_one_of_2007_show_no_difference() -> None:
    entries = await record()
    for _ in range(3):  # the order of holders is random
        async with running_tracker() as addresses:
            assert await play(entries, addresses[0].port) == (None, 10)
    async with open_old_tracker() as old:
        assert await play(entries, old.port) == (None, 10)


@asynccontextmanager
async def scripted(*replies: bytes) -> AsyncIterator[int]:
    """A server that answers each line by the next of these, whatever was asked; b"" ends the connection."""

    async def serve(stream: trio.SocketStream) -> None:
        left = list(replies)
        await stream.send_all(left.pop(0))
        async for data in stream:
            for _ in range(data.count(b"\n")):
                reply = left.pop(0) if left else b""
                if not reply:
                    return
                await stream.send_all(reply)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


GREETED = ["0.0 1 connect 127.0.0.1:5", "0.1 1 < 200 hi", "0.2 1 > LIST", "0.3 1 < FILE a", "0.3 1 < FILE b"]
WANTED = [*GREETED, "0.3 1 < 200 2 files"]


@pytest.mark.parametrize(
    ("lines", "replies", "expected", "found"),
    [
        (WANTED, [b"200 HI\n", b"FILE a\n300 no\n"], "200 2 files, with FILE a; FILE b", "300 no, with FILE a"),
        (WANTED, [b"200 HI\n", b"FILE a\n200 x\n"], "200 2 files, with FILE a; FILE b", "200 x, with FILE a"),
        (WANTED, [b"200 HI\n", b""], "200 2 files, with FILE a; FILE b", "the end of the connection"),
        (
            [*WANTED, "0.4 1 <!"],
            [b"200 a\n", b"FILE a\nFILE b\n200 x\nmore"],
            "the end of the connection",
            "more bytes: more",
        ),
    ],
)
async def test_differences(lines: list[str], replies: list[bytes], expected: str, found: str) -> None:
    async with scripted(*replies) as port:
        difference, _ = await play(parse_transcript(lines), port)
    assert difference == Difference(1, "LIST", expected, found)


async def test_order_texts_remarks_and_times_do_not_matter() -> None:
    async with scripted(b"200-well\n200 HI\n", b"FILE b\nFILE a\n220-hm\n200\n") as port:
        assert await play(parse_transcript(WANTED), port) == (None, 2)
    async with scripted(b"200 HI\n", b"FILE zzz\n200\n") as port:
        assert (await play(parse_transcript(WANTED), port, codes_only=True))[0] is None


async def test_bodies_are_compared_by_hash() -> None:
    lines = ["0.0 1 accept 127.0.0.1:5", "0.1 1 < GET a OSP2P", f"0.2 1 >= 3 sha256:{'0' * 64}", "0.3 1 close"]
    async with scripted(b"", b"abc") as port:
        difference, _ = await play(parse_transcript(lines), port)
    assert difference is not None
    assert difference.found.startswith("3 bytes, SHA-256 ba7816bf8f01cfea")


async def test_what_nobody_asked_for_is_not_waited_for() -> None:
    goodbye = [
        "9.0 1 accept 127.0.0.1:5",
        "9.1 1 > 200 hi",
        "9.2 1 < WHO",
        "9.3 1 > 200 x",
        "80.0 1 > 300 idle",
        "80.0 1 close",
    ]
    async with scripted(b"200 a\n", b"200 b\n") as port:
        assert await play(parse_transcript(goodbye), port) == (None, 2)


def test_which_connections_are_played() -> None:
    lines = ["0.0 1 connect 127.0.0.1:5", "0.1 2 connect 127.0.0.1:6", "0.1 1 > LIST", "0.2 2 > WHO"]
    entries = parse_transcript(lines)
    assert [entry.data for entry in choose_part(entries).entries] == [b"", b"LIST"]
    assert [entry.data for entry in choose_part(entries, "127.0.0.1:6").entries] == [b"", b"WHO"]
    assert choose_part(entries).left_out == 1
    accepted = parse_transcript([*lines, "0.3 3 accept 127.0.0.1:7", "0.4 3 < GET a OSP2P"])
    assert [(entry.kind, entry.data) for entry in choose_part(accepted).entries] == [
        ("accept", b""), (">", b"GET a OSP2P"),
    ]  # fmt: skip
    for what in ([], entries):
        with pytest.raises(MalformedLine, match="no connection"):
            choose_part(what, "127.0.0.1:9")


async def test_what_cannot_be_played() -> None:
    body = parse_transcript(["0.0 1 connect 127.0.0.1:5", f"0.1 1 >= 9999 sha256:{'0' * 64}"])
    async with scripted(b"200 a\n") as port:
        with pytest.raises(MalformedLine, match="9999 bytes that no transcript holds"):
            await play(body, port)
    with pytest.raises(ConnectFailed):
        await play(body, 1)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"PEER alice 127.0.0.1:4001 v=2", "PEER alice ADDRESS v=2"),
        (b"PEER alice [2001:db8::7]:4001", "PEER alice ADDRESS"),
        (b"SERIAL 71294", "SERIAL NUMBER"),
        (b"FILE 127.0.0.1", "FILE 127.0.0.1"),
        (b"CHUNK 0 ab\xff", r"CHUNK 0 ab\xff"),
    ],
)
def test_shapes(line: bytes, text: str) -> None:
    assert shape(line) == text
