"""One connection of an attack: bytes, lines, evidence, and the ends of several at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from osp2p.evil import Victim
from osp2p.evil.bounds import BoundReached, Bounds, Budget, OtherSideLeft, Unsound
from osp2p.evil.wire import Wire, beside, together
from osp2p.net import Connection, MemoryNetwork


@asynccontextmanager
async def pair(**bounds: int) -> AsyncIterator[tuple[Wire, Connection]]:
    """A wire, and the other side of it."""
    network = MemoryNetwork("10.0.0.1")
    listener = await network.listen(1)
    stream = await network.connect("10.0.0.1", 1)
    yield Wire(stream, Budget(Bounds(**bounds)), 0, Random(1)), await listener.accept()
    listener.close()


async def test_answers_are_read_whole() -> None:
    async with pair() as (wire, other):
        await other.send(b"FILE a\nPEER x\r\n220-remark\n200 ok\n3")
        answer = await wire.read_answer()
        assert answer is not None
        assert (answer.code, answer.data, answer.context) == (200, (b"FILE a", b"PEER x"), (b"220-remark",))
        other.close()
        assert await wire.read_answer() is None
        assert wire.ended == "theirs"


async def test_an_answer_must_come_and_have_a_code() -> None:
    async with pair() as (wire, other):
        await other.send(b"300 no\n500 no\n")
        assert (await wire.expect(b"A", 3)).code == 300
        with pytest.raises(Unsound, match=r"answers 'B' with '500 no'"):
            await wire.expect(b"B", 2, 300)
        assert await other.receive(100) == b"A\nB\n"
        other.close()
        with pytest.raises((Unsound, OtherSideLeft)):
            await wire.ask(b"C")


async def test_nothing_means_nothing() -> None:
    async with pair() as (wire, other):
        await other.send(b"x")
        with pytest.raises(Unsound, match="without a byte"):
            await wire.expect_nothing()
    async with pair() as (wire, other):
        other.abort()
        await wire.expect_nothing()
        assert wire.ended == "reset"


async def test_what_is_sent_is_bounded_and_kept_as_evidence() -> None:
    async with pair(connection_bytes=100, evidence_bytes=10) as (wire, other):
        await wire.send(b"a" * 60)
        await other.send(b"b" * 20)
        assert await wire.receive() == b"b" * 20
        with pytest.raises(BoundReached):
            await wire.send(b"c" * 60)
        exchange = wire.exchange
        assert exchange.parts == ((">", b"a" * 10), ("<", b"b" * 10))
        assert (exchange.sent, exchange.received, exchange.ended) == (100, 20, "open")


async def test_the_digest_is_of_all_that_was_sent() -> None:
    digests = []
    for parts in ((b"abc",), (b"a", b"bc"), (b"abd",)):
        async with pair(evidence_bytes=0) as (wire, _):
            for part in parts:
                await wire.send(part)
            digests.append(wire.digest)
    assert digests[0] == digests[1] != digests[2]


def raising(error: type[Exception] | None) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        await trio.lowlevel.checkpoint()
        if error is not None:
            raise error

    return work


async def test_of_several_at_a_time_the_worst_counts() -> None:
    await together()
    await together(raising(None), raising(OtherSideLeft))
    with pytest.raises(OtherSideLeft):
        await together(raising(OtherSideLeft), raising(OtherSideLeft))
    with pytest.raises(BoundReached):
        await together(raising(OtherSideLeft), raising(BoundReached), trio.sleep_forever)
    with pytest.raises(Unsound):
        await together(raising(OtherSideLeft), raising(Unsound), trio.sleep_forever)


async def test_what_goes_on_beside_ends_with_the_work() -> None:
    await beside(trio.sleep_forever, raising(None))
    await beside(raising(OtherSideLeft), raising(None))
    with pytest.raises(OtherSideLeft):
        await beside(trio.sleep_forever, raising(OtherSideLeft))
    with pytest.raises(Unsound):
        await beside(raising(Unsound), trio.sleep_forever)


async def test_who_asks_for_what_is_not_claimed_gets_nothing() -> None:
    network = MemoryNetwork("10.0.0.1")
    listener = await network.listen(1)
    for asked, given in ((b"GET a OSP2P\n", b"content"), (b"GET ../../etc/passwd OSP2P\n", None)):
        stream = await network.connect("10.0.0.1", 1)
        victim = Victim(stream, Budget(Bounds()), 0, Random(1), {b"a": b"content"})
        other = await listener.accept()
        await other.send(asked)
        if given is None:
            with pytest.raises(OtherSideLeft):
                await victim.read_content()
        else:
            assert await victim.read_content() == given
        victim.close()
        other.close()
    listener.close()
