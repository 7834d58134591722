"""Who is found to speak OSP2P/2 where no tracker knows, and for how long that is believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.peer.probe import Prober
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

LIMITS = Limits()
B3 = bytes(32)
HELLO = b"200 hello\nSIZE 5\nB3 " + B3.hex().encode() + b"\nSERIAL 1\nHAVE all\n200 x\n"

Answer = Callable[[Connection], Awaitable[None]]


async def greets(connection: Connection) -> None:
    await connection.send(HELLO)


async def is_silent(connection: Connection) -> None:
    await trio.sleep_forever()


async def hangs_up(connection: Connection) -> None:
    connection.close()


async def refuses(connection: Connection) -> None:
    await connection.send(b"500 what?\n")


async def babbles(connection: Connection) -> None:
    await connection.send(b"the bytes of a file that is called HELLO" * 200)


class Holder:
    """One peer, which answers each connection as it does at that time."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.answer: Answer = is_silent
        self.asked = 0
        self.entry = PeerEntry(b"p", Address(network.address, 9), {})
        self._network = network

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listener = await self._network.listen(9)
        task_status.started()
        async with trio.open_nursery() as nursery:
            while True:
                connection = await listener.accept()
                self.asked += 1
                nursery.start_soon(self.answer, connection)


@pytest.fixture
async def holder(nursery: trio.Nursery) -> AsyncIterator[Holder]:
    holder = Holder(MemoryNetwork())
    await nursery.start(holder.run)
    yield holder
    nursery.cancel_scope.cancel()


def prober_for(holder: Holder, limits: Limits = LIMITS) -> Prober:
    return Prober(holder._network, limits)


async def claims(prober: Prober, holder: Holder) -> int:
    """How many claims come of asking the holder, if it is asked."""
    return len(await prober.claims(b"a", B3, [holder.entry]))


async def asked_in_vain(holder: Holder, answer: Answer) -> Prober:
    """One that has learnt from this answer that the holder does not speak; from now on the holder would greet."""
    holder.answer = answer
    prober = prober_for(holder)
    assert await claims(prober, holder) == 0
    assert prober.speaks(holder.entry) is False
    holder.answer = greets
    return prober


async def test_one_that_speaks_is_known_for_good(autojump_clock: MockClock, holder: Holder) -> None:
    holder.answer = greets
    prober = prober_for(holder)
    assert prober.speaks(holder.entry) is None
    assert await claims(prober, holder) == 1
    await trio.sleep(10 * LIMITS.probe_again)
    assert prober.speaks(holder.entry) is True
    assert await prober.speakers(b"a", B3, [holder.entry]) == [holder.entry]
    assert holder.asked == 1


@pytest.mark.parametrize("answer", [is_silent, hangs_up])
async def test_one_that_said_nothing_is_asked_again_later(
    autojump_clock: MockClock, holder: Holder, answer: Answer
) -> None:
    prober = await asked_in_vain(holder, answer)
    await trio.sleep(LIMITS.probe_again - 2 * LIMITS.probe_timeout)
    assert await claims(prober, holder) == 0
    assert holder.asked == 1, "it may be one of 2007, which serves one connection at a time"
    await trio.sleep(2 * LIMITS.probe_timeout)
    assert prober.speaks(holder.entry) is None
    assert len(await prober.speakers(b"a", B3, [holder.entry])) == 1
    assert prober.speaks(holder.entry) is True
    assert holder.asked == 2


@pytest.mark.parametrize("answer", [refuses, babbles])
async def test_one_that_answered_otherwise_is_never_asked_again(
    autojump_clock: MockClock, holder: Holder, answer: Answer
) -> None:
    prober = await asked_in_vain(holder, answer)
    await trio.sleep(10 * LIMITS.probe_again)
    assert prober.speaks(holder.entry) is False
    assert await claims(prober, holder) == 0
    assert holder.asked == 1


async def test_of_few_addresses_is_it_remembered(autojump_clock: MockClock, holder: Holder) -> None:
    holder.answer = greets
    prober = prober_for(holder, replace(LIMITS, max_probed=1))
    elsewhere = replace(holder.entry, address=Address("10.9.9.9", 9))
    assert await claims(prober, holder) == 1
    prober._remember(elsewhere, False, float("inf"))
    assert prober.speaks(elsewhere) is False
    assert prober.speaks(holder.entry) is None


@pytest.mark.parametrize(("version", "expected"), [(b"2", True), (b"1", False)])
async def test_what_a_tracker_knows_is_believed(holder: Holder, version: bytes, expected: bool) -> None:
    prober = prober_for(holder)
    entry = replace(holder.entry, attributes={b"v": version})
    assert prober.speaks(entry) is expected
    assert await prober.speakers(b"a", B3, [entry]) == ([entry] if expected else [])
    assert holder.asked == 0
