"""What a tracker must bear from the programs of 2007, one test each, with programs that do exactly that."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import trio

from osp2p.net.tcp import TcpConnection
from osp2p.tracker import TrackerOptions
from tests.standins.odd import CHECKUPLOAD, RAW_NAMES, run_forked_children
from tests.standins.old_client import ProgramExits, open_old_connection
from tests.tracker.talk import PATIENCE, Client, client, running_tracker, until


@pytest.fixture(autouse=True)
async def patience() -> AsyncIterator[None]:
    """An old program that hangs must not hang the tests."""
    with trio.fail_after(3 * PATIENCE):
        yield


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with running_tracker() as addresses:
        yield addresses[0].port


async def log_in(
    port: int, count: int, stack: AsyncExitStack, name: bytes = b"song.mp3", alias: bytes = b"peer"
) -> None:
    """Log peers in that hold one file each."""
    for number in range(count):
        talk: Client = await stack.enter_async_context(client(port))
        await talk.send(b"ADDR %s%d 127.0.0.1:%d\nHAVE %s\n" % (alias, number, 20000 + number, name))
        for _ in range(2):
            assert await talk.reply() is not None


async def test_one_command_at_a_time_with_one_buffer(port: int) -> None:
    async with open_old_connection("127.0.0.1", port) as old:
        for line, code in [
            (b"ADDR anna 127.0.0.1:4001", b"200"),
            (b"HAVE a.txt", b"200"),
            (b"HAVE a.txt aaaaaaaaaaaaaaaaaaaaaa", b"220"),
            (b"WHO", b"200"),
            (b"MD5SUM a.txt", b"200"),
            (b"HELP", b"200"),
            (b"DONTHAVE a.txt", b"200"),
            (b"WANT a.txt", b"300"),
        ]:
            assert (await old.ask(line)).split(b"\n")[-2][:3] == code


async def test_every_segment_of_a_reply_ends_with_a_terminator(port: int) -> None:
    """A segment that ended inside the terminator hung them, so a reply is one segment."""
    async with AsyncExitStack() as stack:
        await log_in(port, 120, stack)
        stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        await stream.receive_some(4096)
        for line in [b"WANT song.mp3\n", b"WHO\n", b"HELP\n", b"LIST\n"] * 10:
            await stream.send_all(line)
            segment = await stream.receive_some(1 << 20)
            assert segment.endswith(b"\n")
            assert segment.split(b"\n")[-2][:4] == b"200 "


@pytest.mark.parametrize("alias", [b"peer", b"x" * 1500, b"%0APEER%20x"])
async def test_hundreds_of_peers_fit_their_buffer_and_each_line_their_format(port: int, alias: bytes) -> None:
    async with AsyncExitStack() as stack:
        await log_in(port, 300, stack, alias=alias)
        old = await stack.enter_async_context(open_old_connection("127.0.0.1", port))
        for _ in range(20):
            holders = await old.want(b"song.mp3")
            assert 10 < len(holders) < 300
            assert all(holder.host == "127.0.0.1" and 20000 <= holder.port < 20300 for holder in holders)
        who = await old.ask(b"WHO")
        assert b" of 300 peers" in who


async def test_new_peers_break_no_old_client(port: int) -> None:
    async with client(port) as new, open_old_connection("127.0.0.1", port) as old:
        await new.ask(b"HELLO OSP2P/2")
        await new.ask(b"ADDR new 127.0.0.1:4001")
        await new.ask(b"HAVE whole size=5 b3=" + b"1" * 64)
        await new.ask(b"HAVE part size=5 part=yes b3=" + b"2" * 64)
        assert [holder.alias for holder in await old.want(b"whole")] == [b"new"]
        assert await old.want(b"part") == []
        assert await old.ask(b"LIST") == b"FILE whole\n200 1 of 2 names\n"


async def test_fakes_break_them_on_purpose() -> None:
    fakes = TrackerOptions(fakes=True)
    async with running_tracker(options=fakes) as (address, *_), open_old_connection("127.0.0.1", address.port) as old:
        with pytest.raises(ProgramExits):
            await old.ask(b"WHO")


async def test_a_stranger_does_not_crowd_the_others_out(port: int) -> None:
    async with AsyncExitStack() as stack:
        await log_in(port, 400, stack)
        honest = Client(TcpConnection(socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))))
        stack.callback(honest.connection.close)
        assert await honest.reply() is not None
        await honest.ask(b"ADDR honest 127.0.0.2:4001")
        await honest.ask(b"HAVE song.mp3")
        old = await stack.enter_async_context(open_old_connection("127.0.0.1", port))
        for _ in range(10):
            assert b"honest" in [holder.alias for holder in await old.want(b"song.mp3")]
            assert b"PEER honest 127.0.0.2:4001\n" in await old.ask(b"WHO")


async def test_children_share_one_connection(port: int) -> None:
    scripts = [[b"HAVE %s" % name, b"WANT nothing", b"HAVE %s" % name, CHECKUPLOAD.rstrip()] for name in RAW_NAMES]
    async with open_old_connection("127.0.0.1", port) as parent, client(port) as other:
        await parent.ask(b"ADDR parent 127.0.0.1:4001")
        answers = await run_forked_children(parent, scripts)
        assert sorted(answer[:3] for answer in answers) == sorted([b"200", b"300", b"220", b"500"] * 3)
        assert await other.data(b"LIST") == [b"FILE %E5%9B%BE.png", b"FILE %FCbung3.pdf", b"FILE caf%E9.txt"]


async def test_they_leave_without_quit(port: int) -> None:
    async with client(port) as other:
        async with open_old_connection("127.0.0.1", port) as old:
            await old.ask(b"ADDR old 127.0.0.1:4001")
            await old.ask(b"HAVE f aaaaaaaaaaaaaaaaaaaaaa")

        async def gone() -> bool:
            return not await other.data(b"WHO")

        await until(gone)
        assert await other.code(b"WANT f") == await other.code(b"MD5SUM f") == 300


async def test_a_refused_checksum_is_not_got_round(port: int) -> None:
    async with open_old_connection("127.0.0.1", port) as first, open_old_connection("127.0.0.1", port) as second:
        await first.ask(b"ADDR first 127.0.0.1:4001")
        await first.ask(b"HAVE f aaaaaaaaaaaaaaaaaaaaaa")
        await second.ask(b"ADDR second 127.0.0.1:4002")
        for line in (b"HAVE f bbbbbbbbbbbbbbbbbbbbba", b"HAVE f"):
            assert (await second.ask(line)).startswith(b"500")
        assert [holder.alias for holder in await second.want(b"f")] == [b"first"]


async def test_odd_requests_are_answered_like_any_other(port: int) -> None:
    async with open_old_connection("127.0.0.1", port) as old:
        assert (await old.ask(CHECKUPLOAD.rstrip())).startswith(b"500")
        assert (await old.ask(b"LIST")).startswith(b"200")


async def test_a_notified_peer_serves_one_connection_at_a_time(port: int) -> None:
    """The tracker's notice must not keep the old peer's only connection: it sends its line and closes."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener, open_old_connection("127.0.0.1", port) as old, AsyncExitStack() as stack:
        await old.ask(b"ADDR old 127.0.0.1:%d" % listener.socket.getsockname()[1])
        await old.ask(b"NOTIFY")
        await log_in(port, 3, stack)
        for number in range(3):
            stream = await listener.accept()
            heard = b"".join([data async for data in stream])
            assert heard == b"NOTIFY peer%d 127.0.0.1:%d OSP2P\n" % (number, 20000 + number)
            await stream.aclose()
