"""The honest client: waits until a tracker knows everything, and times answers, whatever becomes of the tracker."""

from __future__ import annotations

from math import inf

import trio
from trio.testing import MockClock

from osp2p.lab.asking import Asker
from osp2p.net import MemoryNetwork
from osp2p.wire.address import Address
from tests.tracker.talk import client, start_tracker

B3 = "ab" * 32


async def test_it_waits_until_enough_have_the_file_and_say_what_it_is(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = MemoryNetwork("10.0.0.1")
    await start_tracker(nursery, network, port=11111)
    known: list[float] = []

    async def wait() -> None:
        await Asker(network.host("10.0.0.9"), Address("10.0.0.1", 11111)).wait_until_known({b"a": 2, b"b": 1}, {b"a"})
        known.append(trio.current_time())

    nursery.start_soon(wait)
    async with (
        client(11111, "10.0.0.1", network.host("10.0.0.2")) as one,
        client(11111, "10.0.0.1", network.host("10.0.0.3")) as two,
    ):
        for talk, host in ((one, 2), (two, 3)):
            assert await talk.code(b"HELLO OSP2P/2") == 200
            assert await talk.code(b"ADDR x 10.0.0.%d:1" % host) == 200
        for talk, line in (
            (one, b"HAVE b"),
            (one, f"HAVE a size=1 b3={B3}".encode()),
            (two, f"HAVE a size=1 b3={B3}".encode()),
        ):
            await trio.sleep(1)
            assert not known
            assert await talk.code(line) == 200
        await trio.sleep(1)
    assert len(known) == 1


async def test_answers_are_timed_and_a_tracker_that_goes_is_found_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = MemoryNetwork("10.0.0.1")
    _, running = await start_tracker(nursery, network, port=11111)
    latencies: list[float] = []
    asker = Asker(network.host("10.0.0.9"), Address("10.0.0.1", 11111))
    nursery.start_soon(asker.ask_again_and_again, [b"a", b"b"], latencies, 0.1)
    await trio.sleep(1)
    assert 8 <= len(latencies) <= 11
    assert inf not in latencies
    running.cancel()
    await trio.sleep(1)
    assert latencies[-1] == inf
    await start_tracker(nursery, network, port=11111)
    await trio.sleep(1)
    assert latencies[-1] < inf
    nursery.cancel_scope.cancel()
