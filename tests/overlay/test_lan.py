"""Nodes that find each other by multicast DNS, on loopback."""

from __future__ import annotations

import logging
import socket

import pytest
import trio

from osp2p.limits import Limits
from osp2p.overlay.lan import addresses_of, find_on_lan, is_available
from osp2p.overlay.node import OverlayOptions, open_overlay
from osp2p.wire.address import Address

zeroconf = pytest.importorskip("zeroconf")

LOOPBACK = ("127.0.0.1",)

#: Of DNS: the flags of an answer that somebody knows himself, the type PTR, the class IN. Source: RFC 1035.
_ANSWER, _POINTER, _INTERNET = 0x8400, 12, 1


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


def _say_that_there_is(name: str) -> None:
    """Tell everybody on the local network of a node by its name, as anybody there can."""
    answer = zeroconf.DNSOutgoing(_ANSWER)
    answer.add_answer_at_time(zeroconf.DNSPointer("_osp2p._udp.local.", _POINTER, _INTERNET, 4500, name), 0)
    teller = zeroconf.Zeroconf(interfaces=list(LOOPBACK), ip_version=zeroconf.IPVersion.V4Only)
    teller.send(answer)
    teller.close()


async def test_a_name_that_can_be_nobodys_ends_nothing() -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            noticed.set()

    noticed = trio.Event()
    handler = Handler()
    logger = logging.getLogger("osp2p.overlay")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        async with open_overlay(OverlayOptions(network="lan test of names", lan=LOOPBACK)) as one:
            with trio.fail_after(20):
                while not noticed.is_set():
                    await trio.to_thread.run_sync(_say_that_there_is, "two\x01._osp2p._udp.local.")
            async with open_overlay(OverlayOptions(network="lan test of names", lan=LOOPBACK)) as two:
                await two.wait_connected(20)
                assert one.network == two.network
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert any("two" in text for text in seen)


async def test_without_a_responder_nobody_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library gives up with ends the search, and not the node."""
    closed: list[object] = []
    close = zeroconf.Zeroconf.close

    def refuse(*arguments: object, **named: object) -> None:
        raise zeroconf.EventLoopBlocked

    def note(self: object) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(zeroconf.Zeroconf, "register_service", refuse)
    monkeypatch.setattr(zeroconf.Zeroconf, "close", note)
    await find_on_lan("tag", "one", 5000, LOOPBACK, Limits(), lambda addresses: None)
    assert len(closed) == 1


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
