"""Datagrams, over UDP and in memory."""

from __future__ import annotations

import random
import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from osp2p.errors import ConnectionLost, ListenFailed
from osp2p.net.datagrams import DatagramNetwork
from osp2p.net.memory_datagrams import MemoryDatagrams
from osp2p.net.udp import UdpNetwork
from osp2p.wire.address import Address


@pytest.fixture(params=["udp", "memory"])
def network(request: pytest.FixtureRequest) -> DatagramNetwork:
    return UdpNetwork() if request.param == "udp" else MemoryDatagrams()


async def test_there_and_back(network: DatagramNetwork) -> None:
    one, two = await network.open_datagrams(0), await network.open_datagrams(0)
    one.send(b"hello", Address("127.0.0.1", two.address.port))
    with trio.fail_after(5):
        data, source = await two.receive()
        assert (data, source) == (b"hello", Address("127.0.0.1", one.address.port))
        two.send(b"back", source)
        assert (await one.receive())[0] == b"back"
    one.close()
    two.close()
    one.close()


async def test_what_is_here_can_be_taken_at_once() -> None:
    one, two = await UdpNetwork().open_datagrams(0), await UdpNetwork().open_datagrams(0)
    assert one.receive_now() is None
    two.send(b"x", Address("127.0.0.1", one.address.port))
    assert one.receive_now() == (b"x", Address("127.0.0.1", two.address.port))
    one.close()
    two.close()
    assert one.receive_now() is None


async def test_a_port_is_one_sockets(network: DatagramNetwork) -> None:
    one = await network.open_datagrams(0)
    with pytest.raises(ListenFailed, match="another program has it"):
        await network.open_datagrams(one.address.port)
    one.close()
    again = await network.open_datagrams(one.address.port)
    again.close()


async def test_closed_while_somebody_waits(network: DatagramNetwork) -> None:
    one = await network.open_datagrams(0)
    raised: list[ConnectionLost] = []

    async def wait() -> None:
        try:
            await one.receive()
        except ConnectionLost as error:
            raised.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        one.close()
    assert len(raised) == 1
    with pytest.raises(ConnectionLost):
        await one.receive()


async def test_nobody_there_is_no_error(network: DatagramNetwork) -> None:
    one = await network.open_datagrams(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    for _ in range(3):
        one.send(b"x", Address("127.0.0.1", free))
        one.send(bytes(100_000), Address("127.0.0.1", free))  # longer than any datagram: lost, too
    with trio.move_on_after(0.05) as scope:
        await one.receive()
    assert scope.cancelled_caught
    one.close()


async def test_impossible_ports() -> None:
    with pytest.raises(ListenFailed):
        await UdpNetwork().open_datagrams(70_000)
    with pytest.raises(ListenFailed):
        await UdpNetwork().open_datagrams(0, "192.0.2.1")


async def test_udp_over_ipv6() -> None:
    one, two = await UdpNetwork().open_datagrams(0, "::"), await UdpNetwork().open_datagrams(0, "::1")
    one.send(b"six", Address("::1", two.address.port))
    with trio.fail_after(5):
        assert (await two.receive())[1] == Address("::1", one.address.port)
    one.close()
    two.close()


async def test_many_do_not_keep_others_waiting() -> None:
    one, two = await UdpNetwork().open_datagrams(0), await UdpNetwork().open_datagrams(0)
    for _ in range(200):
        two.send(b"x", Address("127.0.0.1", one.address.port))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(200):
            await one.receive()
        nursery.cancel_scope.cancel()
    assert turns >= 5
    one.close()
    two.close()


async def test_latency_and_losses_in_memory(autojump_clock: MockClock) -> None:
    network = MemoryDatagrams("20.0.0.1", latency=0.5, loss=0.5, rng=random.Random(1))
    one = await network.open_datagrams(5)
    two = await network.host("20.0.0.2").open_datagrams(6)
    for number in range(100):
        one.send(b"%d" % number, Address("20.0.0.2", 6))
    received = []
    with trio.move_on_after(2):
        while True:
            received.append((await two.receive())[0])
            assert trio.current_time() >= 0.5
    assert 30 < len(received) < 70
    with pytest.raises(ListenFailed):
        await network.open_datagrams(7, "::")
    assert await network.resolve("20.0.0.2") == ["20.0.0.2"]
