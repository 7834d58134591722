"""A tracker that dies and comes back, in virtual time: within five seconds everything is registered again."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.peer.announce import Announcement, Announcer
from osp2p.peer.events import Event
from tests.tracker.talk import client, start_tracker

PORT = 11111
PEERS = 12
FILES = 3

#: What users are promised.
WITHIN = 5.0


def ignore(event: Event) -> None:
    """Nobody listens."""


async def registrations(network: MemoryNetwork) -> int:
    """How many there are at the tracker."""
    async with client(PORT, network.address, network) as talk:
        assert await talk.code(b"HELLO OSP2P/2") == 200
        count = 0
        for number in range(FILES):
            data = (await talk.ask(b"STAT f%d" % number)).data
            count += sum(int(line.split()[1]) for line in data if line.startswith(b"PEERS "))
        return count


@pytest.mark.parametrize("away", [0.01, 0.3, 1.0, 3.9, 4.1, 30.0, 1000.0])
async def test_everything_is_registered_again_soon(away: float, autojump_clock: MockClock) -> None:
    network = MemoryNetwork("10.0.0.1")
    async with trio.open_nursery() as nursery:
        _, tracker = await start_tracker(nursery, network, port=PORT)
        for number in range(PEERS):
            host = network.host(f"10.0.1.{number}")
            announcer = Announcer(host, "10.0.0.1", PORT, b"p%d" % number, 4000, Limits(), ignore)
            announcer.offer((b"f%d" % file, Announcement(1000, bytes(16), bytes(32))) for file in range(FILES))
            nursery.start_soon(announcer.run)
        await trio.sleep(1)
        assert await registrations(network) == PEERS * FILES
        tracker.cancel()
        await trio.sleep(away)
        await start_tracker(nursery, network, port=PORT)
        back = trio.current_time()
        while await registrations(network) < PEERS * FILES:  # noqa: ASYNC110
            await trio.sleep(0.05)
        assert trio.current_time() - back <= WITHIN
        nursery.cancel_scope.cancel()
