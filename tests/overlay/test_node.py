from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.testing import MockClock

from osp2p.errors import ListenFailed, NotStored, OverlayUnreachable
from osp2p.limits import DEFAULT
from osp2p.net.memory_datagrams import MemoryDatagrams
from osp2p.overlay.events import OverlayAlone, OverlayEvent, OverlayJoined
from osp2p.overlay.identifier import fits
from osp2p.overlay.item import ImmutableItem, sign_item
from osp2p.overlay.keys import name_key
from osp2p.overlay.node import Overlay, OverlayOptions, open_overlay
from osp2p.overlay.saved import load_contacts
from osp2p.overlay.stores import ItemStore, PeerStore
from osp2p.wire.address import Address

KEY = name_key("osp2p", b"cat.jpg")


def options_for(*others: Overlay, **more: bool | str | Path) -> OverlayOptions:
    return replace(OverlayOptions(joins=[("127.0.0.1", other.port) for other in others]), **more)  # type: ignore[arg-type]


async def test_two_nodes_find_what_is_announced() -> None:
    async with open_overlay(OverlayOptions()) as one, open_overlay(options_for(one)) as two:
        await two.wait_connected(5)
        assert two.silent_joins() == []
        two.publish([KEY], 7777)
        assert await two.wait_published(5)
        async with open_overlay(options_for(one, read_only=True)) as asker:
            await asker.wait_connected(5)
            assert await asker.find_peers(KEY) == [Address("127.0.0.1", 7777)]
            assert await asker.find_peers(bytes(20)) == []
        assert one.status().stored_peers == 1


async def test_several_may_wait_until_all_is_published(autojump_clock: MockClock) -> None:
    network = MemoryDatagrams("20.1.1.1", latency=0.01)
    waited: list[float] = []

    async def wait(node: Overlay) -> None:
        assert await node.wait_published(60)
        waited.append(trio.current_time() - began)

    async with (
        open_overlay(OverlayOptions(), port=9, datagrams=network) as one,
        open_overlay(OverlayOptions(joins=[("20.1.1.1", 9)]), datagrams=network.host("20.1.1.2")) as two,
    ):
        await two.wait_connected(5)
        began = trio.current_time()
        two.publish([KEY], 7777)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait, two)
        assert one.status().stored_peers == 1
    assert max(waited) < 5


async def test_what_others_forgot_while_the_machine_slept_is_made_known_again(autojump_clock: MockClock) -> None:
    asleep = 0.0
    network = MemoryDatagrams("20.1.1.1", latency=0.01)
    async with (
        open_overlay(OverlayOptions(), port=9, datagrams=network) as one,
        open_overlay(
            OverlayOptions(joins=[("20.1.1.1", 9)]), datagrams=network.host("20.1.1.2"), asleep=lambda: asleep
        ) as two,
    ):
        await two.wait_connected(5)
        two.publish([KEY], 7777)
        two.keep_item(item := ImmutableItem(b"kept"))
        assert await two.wait_published(60)
        await trio.sleep(60)
        one._engine.answers.peers = PeerStore(DEFAULT)
        one._engine.answers.items = ItemStore(DEFAULT)
        await trio.sleep(60)
        assert (one.status().stored_peers, one.status().stored_items) == (0, 0)
        asleep = 8 * 3600.0
        await trio.sleep(60)
        assert (one.status().stored_peers, one.status().stored_items) == (1, 1)
        assert await one.get_item(item.target) == item
        assert two.connected


async def test_items_are_kept_and_proved() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    async with open_overlay(OverlayOptions()) as one, open_overlay(options_for(one)) as two:
        await two.wait_connected(5)
        first, second = (sign_item(key, b"value", sequence, b"osp2p") for sequence in (1, 2))
        assert await two.put_item(first) == 1
        assert await one.get_item(first.target, b"osp2p") == first
        assert await one.put_item(second, swap=1) == 1
        assert await two.get_item(first.target, b"osp2p") == second
        with pytest.raises(NotStored, match="302"):
            await one.put_item(first)
        with pytest.raises(NotStored, match="301"):
            await one.put_item(sign_item(key, b"value", 3, b"osp2p"), swap=1)
        plain = ImmutableItem([b"list", 5])
        assert await two.put_item(plain)
        assert await one.get_item(plain.target) == plain


async def test_a_node_without_others_stores_nothing() -> None:
    async with open_overlay(OverlayOptions()) as one:
        with pytest.raises(NotStored, match="no node"):
            await one.announce(KEY, 5)
        with pytest.raises(OverlayUnreachable, match="no node to join through"):
            await one.wait_connected(0.01)


class _Nameless(MemoryDatagrams):
    """A network that knows no names."""

    async def resolve(self, host: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [host] if host[0].isdigit() else []


class _Patient(MemoryDatagrams):
    """A network whose name server takes its time for some names."""

    async def resolve(self, host: str) -> list[str]:
        await trio.sleep(40 if host.startswith("slow") else 0)
        return [host] if host[0].isdigit() else []


async def test_a_name_that_takes_long_to_look_up_keeps_no_other_waiting(autojump_clock: MockClock) -> None:
    network = _Patient("20.1.1.1", latency=0.01)
    options = OverlayOptions(joins=[("slow.example", 9), ("20.1.1.1", 9)])
    async with (
        open_overlay(OverlayOptions(), port=9, datagrams=network),
        open_overlay(options, datagrams=_Patient("20.1.1.2", shared=network)) as two,
    ):
        await two.wait_connected(5)


async def test_a_host_without_an_address_is_named(autojump_clock: MockClock) -> None:
    options = OverlayOptions(joins=[("nosuch.example", 9), ("20.1.1.2", 9)])
    async with open_overlay(options, port=9, datagrams=_Nameless("20.1.1.1")) as one:
        with pytest.raises(OverlayUnreachable, match=r"20\.1\.1\.2:9, nosuch\.example has no address"):
            await one.wait_connected(1)
        assert one.silent_joins() == ["20.1.1.2:9", "nosuch.example has no address"]


async def test_networks_are_kept_apart() -> None:
    async with open_overlay(OverlayOptions(network="one")) as one, open_overlay(options_for(one, network="two")) as two:
        with pytest.raises(OverlayUnreachable, match="another network than two"):
            await two.wait_connected(0.3)
        assert not one.connected
        async with open_overlay(options_for(one, mainline=True)) as mainline:
            with pytest.raises(OverlayUnreachable, match="no node of the overlay answers"):
                await mainline.wait_connected(0.3)


async def test_a_port_that_is_taken_is_said_so() -> None:
    async with open_overlay(OverlayOptions()) as one:
        with pytest.raises(ListenFailed, match="another program has it"):
            async with open_overlay(OverlayOptions(), port=one.port):
                pass


async def test_neighbours_are_saved_and_used(tmp_path: Path) -> None:
    saved = tmp_path / "deep" / "overlay"
    async with open_overlay(OverlayOptions()) as one:
        async with open_overlay(options_for(one, saved=saved)) as two:
            await two.wait_connected(5)
        assert [contact.address.port for contact in load_contacts(saved, DEFAULT)] == [one.port]
        async with open_overlay(OverlayOptions(saved=saved)) as again:
            await again.wait_connected(5)
    saved.write_bytes(b"d5:nodes3:abce")
    assert load_contacts(saved, DEFAULT) == []


async def test_both_families_of_one_host() -> None:
    async with (
        open_overlay(OverlayOptions()) as one,
        open_overlay(OverlayOptions(joins=[("::1", one.port)])) as two,
    ):
        await two.wait_connected(5)
        assert two.silent_joins() == []
        two.publish([KEY], 7777)
        assert await two.wait_published(5)
        assert Address("::1", 7777) in await one.find_peers(KEY)


async def test_who_was_told_an_address_of_one_family_finds_the_nodes_of_the_other(autojump_clock: MockClock) -> None:
    """Else nobody who joined over IPv4 would find what nodes have that can be reached over IPv6 alone."""
    network = MemoryDatagrams("20.1.1.1", ipv6_address="2001:db8:1::1", latency=0.01)
    hosts = [network.host(f"20.1.1.{number}", f"2001:db8:{number}::1") for number in (2, 3)]
    async with (
        open_overlay(OverlayOptions(), port=9, datagrams=network) as first,
        open_overlay(OverlayOptions(joins=[("20.1.1.1", 9)]), datagrams=hosts[0]) as over_ipv4,
        open_overlay(OverlayOptions(joins=[("2001:db8:1::1", 9)]), datagrams=hosts[1]) as over_ipv6,
    ):
        nodes = (first, over_ipv4, over_ipv6)
        await over_ipv6.wait_connected(5)
        await trio.sleep(DEFAULT.neighbour_quiet)
        for node in nodes:
            assert [(family.ipv6, len(family.neighbours)) for family in node.status().families] == [
                (False, 2),
                (True, 2),
            ]
        over_ipv6.publish([KEY], 7777)
        assert await over_ipv6.wait_published(60)
        assert Address("2001:db8:3::1", 7777) in await over_ipv4.find_peers(KEY)


async def test_a_node_that_is_alone_goes_on_trying(autojump_clock: MockClock) -> None:
    network = MemoryDatagrams("20.0.0.1")
    events: list[OverlayEvent] = []
    alone_again = trio.Event()

    def report(event: OverlayEvent) -> None:
        events.append(event)
        if len(events) == 3:
            alone_again.set()

    options = OverlayOptions(joins=[("20.0.0.2", 5000)])
    async with open_overlay(options, datagrams=network, rng=random.Random(1), report=report) as one:
        await trio.sleep(60)
        assert events == [OverlayAlone((Address("20.0.0.2", 5000),))]
        there = network.host("20.0.0.2")
        async with open_overlay(OverlayOptions(), port=5000, datagrams=there, rng=random.Random(2)):
            await one.wait_connected(40)
            assert events[1:] == [OverlayJoined(1)]
        with trio.fail_after(3600):
            await alone_again.wait()
        assert events[2:] == [OverlayAlone((Address("20.0.0.2", 5000),))]


async def test_the_first_node_of_a_network_is_asked_whatever_its_id(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nobody has told it its public address, so its id does not fit; and who only asks will not tell it either."""
    network = MemoryDatagrams("20.0.0.1")
    there = network.host("20.0.0.2")
    saved = tmp_path / "neighbours"
    async with open_overlay(OverlayOptions(), port=5000, datagrams=network, rng=random.Random(1)) as first:
        first.publish([KEY], 4000)
        by_name = OverlayOptions(joins=[("20.0.0.1", 5000)], read_only=True, saved=saved)
        for options in (by_name, replace(by_name, joins=[])):
            async with open_overlay(options, datagrams=there, rng=random.Random(2)) as asker:
                await asker.wait_connected(5)
                assert await asker.find_peers(KEY) == [Address("20.0.0.1", 4000)]
        assert not fits(first._engine.families[False].own, "20.0.0.1")


async def test_announcements_live_as_long_as_they_are_made_again(autojump_clock: MockClock) -> None:
    network = MemoryDatagrams("20.0.0.1", latency=0.01)
    async with AsyncExitStack() as stack:

        async def start(number: int, *joins: Overlay) -> Overlay:
            return await stack.enter_async_context(
                open_overlay(
                    OverlayOptions(joins=[("20.0.0.1", other.port) for other in joins]),
                    datagrams=network.host(f"20.0.{number}.1"),
                    rng=random.Random(number),
                )
            )

        first = await stack.enter_async_context(open_overlay(OverlayOptions(), datagrams=network, rng=random.Random(0)))
        nodes = [first] + [await start(number, first) for number in range(1, 12)]
        await trio.sleep(20)
        nodes[3].publish([KEY], 4000)
        assert await nodes[3].wait_published(10)
        assert await nodes[9].find_peers(KEY) == [Address("20.0.3.1", 4000)]
        await trio.sleep(3 * DEFAULT.peer_lifetime)
        assert await nodes[9].find_peers(KEY) == [Address("20.0.3.1", 4000)]
        nodes[3].withdraw([KEY])
        await trio.sleep(DEFAULT.peer_lifetime)
        assert await nodes[9].find_peers(KEY) == []
