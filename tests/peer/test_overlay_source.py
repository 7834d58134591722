"""Holders out of the overlay: what they say is claimed, and a content that the user names stays what he named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
import trio.testing

from osp2p.limits import Limits
from osp2p.net import LineConnection, MemoryNetwork
from osp2p.overlay.node import Overlay
from osp2p.peer.overlay_source import OverlaySource, ask_peer
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address

LIMITS = Limits()
WANTED = bytes(range(32))
OTHER = bytes(32)
HOLDERS = {"10.0.0.2": WANTED, "10.0.0.3": OTHER, "10.0.0.4": OTHER, "10.0.0.5": None}


class FakeOverlay:
    """Names the same holders for each key."""

    network = "osp2p"
    connected = True

    @asynccontextmanager
    async def open_search(self, key: bytes) -> AsyncIterator[trio.MemoryReceiveChannel[list[Address]]]:
        send, receive = trio.open_memory_channel[list[Address]](1)
        send.send_nowait([Address(host, 11112) for host in HOLDERS])
        send.close()
        yield receive


@pytest.fixture
async def network(nursery: trio.Nursery) -> MemoryNetwork:
    """Holders that say which content they have, whichever they are asked about."""
    network = MemoryNetwork("10.0.0.1")

    async def serve(host: str, task_status: trio.TaskStatus[None]) -> None:
        listener = await network.host(host).listen(11112)
        task_status.started()
        while True:
            connection = await listener.accept()
            b3 = HOLDERS[host]
            said = b"B3 %s\n" % b3.hex().encode() if b3 is not None else b""
            lines = LineConnection(connection, LIMITS)
            await lines.read_line(float("inf"))
            await connection.send(b"200 hello\nSIZE 5\n%sSERIAL 0\nHAVE all\n200 all\n" % said)

    for host in HOLDERS:
        await nursery.start(serve, host)
    return network


async def test_who_has_another_content_than_the_wanted_one_is_no_holder(
    autojump_clock: trio.testing.MockClock, network: MemoryNetwork
) -> None:
    asked = {
        host: await ask_peer(network, Address(host, 11112), b"cat", WANTED, LIMITS) is not None for host in HOLDERS
    }
    assert asked == {"10.0.0.2": True, "10.0.0.3": False, "10.0.0.4": False, "10.0.0.5": False}
    assert await ask_peer(network, Address("10.0.0.3", 11112), b"cat", None, LIMITS) is not None


@pytest.mark.parametrize("liars_alone", [False, True])
async def test_liars_do_not_replace_the_content_that_the_user_names(
    autojump_clock: trio.testing.MockClock, network: MemoryNetwork, nursery: trio.Nursery, liars_alone: bool
) -> None:
    own = {Address("10.0.0.2", 11112)} if liars_alone else set[Address]()
    source = OverlaySource(nursery, cast(Overlay, FakeOverlay()), network, LIMITS, lambda: own)
    facts = await source.facts_of(b"cat", WANTED)
    assert [entry.address.host for entry in facts.holders] == ([] if liars_alone else ["10.0.0.2"])
    assert facts.b3 == WANTED
    if liars_alone:
        assert facts == TrackerFacts((), b3=WANTED)
