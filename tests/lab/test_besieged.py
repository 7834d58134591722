"""The besieged: peers with an address of their own on this machine."""

from __future__ import annotations

import pytest
import trio

from osp2p.errors import ConnectFailed
from osp2p.lab.besieged import AddressNetwork
from osp2p.net import TcpNetwork


async def test_connections_come_from_the_address() -> None:
    network = AddressNetwork("127.0.1.9")
    assert network.local_addresses() == ["127.0.1.9"]
    assert network.local_ipv6_addresses() == []
    listener = await network.listen(0)
    with trio.fail_after(10):
        connections = [await network.connect("127.0.0.1", listener.address.port) for _ in range(3)]
        for connection in connections:
            accepted = await listener.accept()
            assert accepted.remote.host == "127.0.1.9"
            assert connection.local.host == "127.0.1.9"
            accepted.close()
            connection.close()
    listener.close()


async def test_nobody_there_is_an_error() -> None:
    listener = await TcpNetwork().listen(0)
    port = listener.address.port
    listener.close()
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port}: connection refused"):
        await AddressNetwork("127.0.1.9").connect("127.0.0.1", port)
