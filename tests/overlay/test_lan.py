"""Nodes that find each other by multicast DNS, on loopback."""

from __future__ import annotations

import socket

import pytest

from osp2p.overlay.lan import addresses_of, is_available
from osp2p.overlay.node import OverlayOptions, open_overlay
from osp2p.wire.address import Address

zeroconf = pytest.importorskip("zeroconf")

LOOPBACK = ("127.0.0.1",)


async def test_two_nodes_find_each_other() -> None:
    assert is_available()
    async with (
        open_overlay(OverlayOptions(network="lan test", lan=LOOPBACK)) as one,
        open_overlay(OverlayOptions(network="another", lan=LOOPBACK)) as other,
        open_overlay(OverlayOptions(network="lan test", lan=LOOPBACK)) as two,
    ):
        await two.wait_connected(20)
        await one.wait_connected(20)
        assert not other.connected


@pytest.mark.parametrize(
    ("net", "port", "hosts", "found"),
    [
        ("tag", 5000, ["192.0.2.1"], [Address("192.0.2.1", 5000)]),
        ("tag", 5000, ["0.0.0.0"], []),
        ("tag", 0, ["192.0.2.1"], []),
        ("other", 5000, ["192.0.2.1"], []),
        ("tag", 5000, [], []),
        ("tag", 5000, [f"192.0.2.{number}" for number in range(50)], 8),
    ],
)
def test_what_is_said_is_an_address_or_nothing(
    net: str, port: int, hosts: list[str], found: list[Address] | int
) -> None:
    info = zeroconf.ServiceInfo(
        "_osp2p._udp.local.",
        "x._osp2p._udp.local.",
        addresses=[socket.inet_aton(host) for host in hosts],
        port=port,
        properties={"net": net},
    )
    addresses = addresses_of(info, "tag")
    assert (len(addresses) if isinstance(found, int) else addresses) == found
    assert addresses_of(None, "tag") == []
