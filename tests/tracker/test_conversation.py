"""One connection: packets in any cut, deadlines, BLOCKNOTIFY, last words. In memory and virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from osp2p.errors import ConnectionLost
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.tracker.commands import VERBS
from osp2p.wire.reply import ReplyParser
from tests.tracker.talk import Client, client, running_tracker, start_tracker

PORT = 11111
LIMITS = Limits()


@dataclass
class World:
    """A tracker on a network in memory."""

    network: MemoryNetwork

    @asynccontextmanager
    async def client(self, host: str | None = None) -> AsyncIterator[Client]:
        """A client on the tracker's own host, or on another one."""
        network = self.network if host is None else self.network.host(host)
        async with client(PORT, self.network.address, network) as made:
            made.patience = inf
            yield made


@asynccontextmanager
async def world(limits: Limits = LIMITS, capacity: int = 65536, address: str = "127.0.0.1") -> AsyncIterator[World]:
    network = MemoryNetwork(address, capacity=capacity)
    async with running_tracker(network, limits=limits, port=PORT):
        yield World(network)


async def rest(talk: Client) -> list[bytes]:
    """All lines until the tracker closes."""
    lines = []
    while (line := await talk.line()) is not None:
        lines.append(line)
    return lines


# --- lines and packets ---


async def test_a_packet_of_lines_is_answered_with_one_write(autojump_clock: Any) -> None:
    async with world() as here, here.client() as talk:
        await talk.send(b"ADDR a 127.0.0.1:1\nHAVE f\n\nWANT f\nLIST\nNONSENSE\n")
        data = await talk.connection.receive(65536)
        assert [line[:3] for line in data.split(b"\n") if line[:1].isdigit()] == [b"200"] * 4 + [b"500"]
        assert data.endswith(b"\n")


SCRIPT = (
    b"ADDR a%20b 127.0.0.1:4001\r\nHAVE f\nHAVE g aaaaaaaaaaaaaaaaaaaaaa\n  \n"
    b"WANT f\nLIST\nMD5SUM g\nwho\nFOO\nQ\nLIST\n"
)


@pytest.mark.parametrize("seed", range(8))
async def test_any_cut_into_packets_gives_the_same_answers(seed: int, autojump_clock: Any) -> None:
    rng = random.Random(seed)
    size = rng.choice([1, 3, 20])
    async with world() as here:
        transcripts = []
        for cut in (False, True):
            async with here.client() as talk:
                whole = SCRIPT
                while whole:
                    count = rng.randint(1, size) if cut else len(whole)
                    await talk.send(whole[:count])
                    await trio.testing.wait_all_tasks_blocked()
                    whole = whole[count:]
                transcripts.append(await rest(talk))
        assert transcripts[0] == transcripts[1]
        assert [line[:3] for line in transcripts[0] if line[:1].isdigit()] == [b"200"] * 7 + [b"500", b"200"]


@pytest.mark.parametrize("line", [b"x" * 4097 + b"\n", b"x" * 4097, b"x" * 100_000])
async def test_an_overlong_line_is_answered_and_ends_the_connection(line: bytes, autojump_clock: Any) -> None:
    async with world() as here, here.client() as other, here.client() as talk:
        await talk.ask(b"ADDR a 127.0.0.1:1")
        await talk.send(b"LIST\n" + line)
        assert [text[:3] for text in await rest(talk)] == [b"200", b"500"]
        assert await other.data(b"WHO") == []


async def test_a_line_of_the_limit_is_a_line(autojump_clock: Any) -> None:
    async with world() as here, here.client() as talk:
        assert await talk.code(b"WANT " + b"x" * 4091) == 300


async def test_long_answers_go_out_in_parts_and_nothing_piles_up(autojump_clock: Any) -> None:
    async with world(capacity=4096) as here, here.client() as talk:
        await talk.ask(b"HELLO OSP2P/2")
        await talk.ask(b"ADDR a 127.0.0.1:1")
        for number in range(200):
            assert await talk.code(b"HAVE %03d-%s" % (number, b"x" * 240)) == 200
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.send, b"LIST\n" * 100)
            for _ in range(100):
                reply = await talk.reply()
                assert reply is not None
                assert len(reply.data) == 200


# --- deadlines ---


@pytest.mark.parametrize("blanks", [b"", b"\n"])
async def test_a_silent_client_is_let_go(blanks: bytes, autojump_clock: Any) -> None:
    async with world() as here, here.client() as talk:
        began = trio.current_time()
        if blanks:
            await trio.sleep(50)
            await talk.send(blanks)
        lines = await rest(talk)
        assert [line[:3] for line in lines] == [b"300"]
        expected = LIMITS.first_command_timeout + (50 if blanks else 0)
        assert expected <= trio.current_time() - began <= expected + 2


async def test_after_a_command_patience_is_longer_and_blank_lines_renew_it(autojump_clock: Any) -> None:
    async with world() as here, here.client() as talk:
        await talk.ask(b"ADDR a 127.0.0.1:1")
        for _ in range(5):
            await trio.sleep(LIMITS.keepalive_interval)
            await talk.send(b"\n")
        await trio.sleep(LIMITS.idle_timeout - 5)
        assert await talk.code(b"HAVE f") == 200
        began = trio.current_time()
        assert [line[:3] for line in await rest(talk)] == [b"300"]
        assert LIMITS.idle_timeout <= trio.current_time() - began <= LIMITS.idle_timeout + 2


async def test_a_dripper_does_not_live_for_ever(autojump_clock: Any) -> None:
    async with world() as here, here.client() as talk:
        await talk.ask(b"LIST")
        began = trio.current_time()
        with pytest.raises(ConnectionLost):
            while True:
                await talk.send(b"x")
                await trio.sleep(1)
        assert LIMITS.line_timeout <= trio.current_time() - began <= LIMITS.line_timeout + 3


async def test_each_line_has_its_own_deadline(autojump_clock: Any) -> None:
    async with world() as here, here.client() as talk:
        for _ in range(5):
            await talk.send(b"LI")
            await trio.sleep(LIMITS.line_timeout - 5)
            await talk.send(b"ST\nLI")
            assert (await talk.reply()) is not None
            await trio.sleep(LIMITS.line_timeout - 5)
            assert await talk.code(b"ST") == 200


async def test_who_never_reads_is_dropped(autojump_clock: Any) -> None:
    async with world(capacity=1000) as here:
        async with here.client() as talk:
            await talk.ask(b"ADDR a 127.0.0.1:1")
            began = trio.current_time()
            with pytest.raises(ConnectionLost):
                while True:
                    await talk.send(b"HELP\n")
            assert trio.current_time() - began <= LIMITS.send_timeout + 2
        async with here.client() as other:
            assert await other.data(b"WHO") == []


# --- BLOCKNOTIFY ---


async def test_blocknotify_waits_without_limit(autojump_clock: Any) -> None:
    async with world() as here, here.client() as waiting:
        await waiting.send(b"BLOCKNOTIFY\n")
        await trio.sleep(10 * LIMITS.idle_timeout)
        async with here.client() as new:
            await new.ask(b"ADDR new 127.0.0.1:4001")
            reply = await waiting.reply()
            assert reply is not None
            assert (reply.code, reply.data) == (200, (b"PEER new 127.0.0.1:4001",))


async def test_later_commands_queue_behind_blocknotify(autojump_clock: Any) -> None:
    async with world() as here, here.client() as waiting, here.client() as new:
        await waiting.send(b"LIST\nBLOCKNOTIFY\nHELP\nBLOCKNOTIFY\nWH")
        first = await waiting.reply()
        assert first is not None
        await waiting.send(b"O\nBLOCKNOTIFY\n")
        with trio.move_on_after(50):
            pytest.fail(f"answered too early: {await waiting.line()!r}")
        await new.ask(b"ADDR new 127.0.0.1:4001")
        replies = [await waiting.reply() for _ in range(2)]
        assert [len(reply.data) for reply in replies if reply] == [1, 0]
        async with here.client() as newer:
            await newer.ask(b"ADDR newer 127.0.0.1:4002")
            replies = [await waiting.reply() for _ in range(2)]
            assert [len(reply.data) for reply in replies if reply] == [1, 2]


async def test_the_end_of_a_waiting_connection_is_noticed(autojump_clock: Any) -> None:
    async with world() as here:
        async with here.client() as waiting:
            await waiting.ask(b"ADDR waiting 127.0.0.1:4001")
            await waiting.send(b"BLOCKNOTIFY\nHELP\n")
            await trio.sleep(1000)
            async with here.client() as other:
                assert len(await other.data(b"WHO")) == 1
        await trio.testing.wait_all_tasks_blocked()
        async with here.client() as other:
            assert await other.data(b"WHO") == []


@pytest.mark.parametrize("flood", [b"HELP\n" * 100_000, b"x" * 100_000])
async def test_what_a_waiting_client_may_send_is_bounded(flood: bytes, autojump_clock: Any) -> None:
    async with world() as here, here.client() as waiting:
        await waiting.send(b"BLOCKNOTIFY\n")
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(ConnectionLost):
                    while True:
                        await waiting.send(flood)

            nursery.start_soon(send)
            assert [line[:3] for line in await rest(waiting)] == [b"500"]


async def test_what_waits_behind_one_blocknotify_after_the_other_is_bounded_together(autojump_clock: Any) -> None:
    async with world() as here, here.client() as waiting:
        await waiting.send(b"BLOCKNOTIFY\n")
        codes = []
        for number in range(2):
            await waiting.send(b"BLOCKNOTIFY\n" * 4000)
            await trio.sleep(1)
            async with here.client() as new:
                await new.ask(b"ADDR new 127.0.0.1:%d" % (4000 + number))
                reply = await waiting.reply()
                assert reply is not None
                codes.append(reply.code)
        assert codes == [200, 500]
        assert await waiting.line() is None


async def test_news_that_come_while_an_answer_goes_out_are_not_missed(autojump_clock: Any) -> None:
    async with world(capacity=100) as here, here.client() as waiting, here.client() as new:
        await waiting.send(b"HELP\nBLOCKNOTIFY\n")
        await trio.sleep(1)  # HELP's answer is stuck in the pipe
        await new.ask(b"ADDR new 127.0.0.1:4001")
        replies = [await waiting.reply(), await waiting.reply()]
        assert [reply.data for reply in replies if reply] == [(), (b"PEER new 127.0.0.1:4001",)]


# --- the end ---


async def test_clients_are_told_that_the_tracker_ends(nursery: trio.Nursery, autojump_clock: Any) -> None:
    network = MemoryNetwork(capacity=4096)
    _, running = await start_tracker(nursery, network, port=PORT)
    idle, waiting, half, stuck = [Client(await network.connect("127.0.0.1", PORT)) for _ in range(4)]
    for talk in (idle, waiting, half):
        assert await talk.reply() is not None
    await waiting.send(b"BLOCKNOTIFY\n")
    await half.send(b"HAVE f")
    await stuck.send(b"HELP\n" * 30)
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()
    running.cancel()
    for talk in (idle, waiting, half):
        assert await rest(talk) == [b"300 this tracker ends; goodbye"]
    lines = await rest(stuck)
    assert not any(b"tracker ends" in line for line in lines), "no last words in the middle of an answer"
    assert trio.current_time() - began <= LIMITS.farewell_timeout


# --- anything at all ---

PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([verb.name + b" " for verb in VERBS]),
    st.sampled_from(
        [b"\n", b"\r\n", b" ", b"f", b"127.0.0.1:1", b"HELLO OSP2P/2\n", b"ADDR a 127.0.0.1:1\n", b"x" * 5000]
    ),
)


@given(pieces=st.lists(PIECES, max_size=30))
@settings(max_examples=150)
def test_no_bytes_harm_the_tracker_or_another_connection(pieces: list[bytes]) -> None:
    """Only documented replies come, and whoever else is there is served as before."""

    async def run() -> None:
        async with (
            world(address="10.0.0.1") as here,
            here.client("10.0.0.2") as witness,
            here.client("10.0.0.3") as hostile,
        ):
            await witness.ask(b"ADDR witness 10.0.0.2:4001")
            await witness.ask(b"HAVE treasure")
            received: list[bytes] = []
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    received.extend(await rest(hostile))

                nursery.start_soon(read)
                try:
                    for piece in pieces:
                        await hostile.send(piece)
                        await trio.lowlevel.checkpoint()
                    await hostile.connection.send_eof()
                except ConnectionLost:
                    pass  # it had sent QUIT or a line that is too long
            parser = ReplyParser(10**6, 10**9)
            replies = [reply for line in received if (reply := parser.feed_line(line))]
            assert all(reply.code in (200, 220, 300, 500) for reply in replies)
            assert not received or received[-1][:3].isdigit()
            assert await witness.data(b"WANT treasure") == [b"PEER witness 10.0.0.2:4001"]

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
