"""Fetching from the peers of 2007, on real sockets."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from osp2p.content.store import Target, open_target
from osp2p.limits import MIB, Limits
from osp2p.net import TcpNetwork
from osp2p.peer.base_fetch import BaseFetch, Copy
from osp2p.peer.tracker_client import open_tracker
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from tests.peer.holders import CONTENT, NAME, md5_of
from tests.standins.old_peer import Habits, OldPeer, open_old_peer
from tests.standins.old_tracker import open_old_tracker

LIMITS = Limits()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with open_target(tmp_path / "cat.jpg", LIMITS) as opened:
        yield opened


def entry(peer: OldPeer) -> PeerEntry:
    return PeerEntry(b"old", Address(peer.host, peer.port))


def content_of(copy: Copy) -> bytes:
    return os.pread(copy.part.fd, copy.part.end + 1, 0)


def fetch(
    target: Target, *holders: PeerEntry, md5: bytes | None = md5_of(CONTENT), limits: Limits = LIMITS
) -> BaseFetch:
    facts = TrackerFacts(holders, md5=md5)

    async def refresh() -> TrackerFacts:
        return facts

    return BaseFetch(
        NAME,
        facts,
        network=TcpNetwork(),
        limits=limits,
        rng=random.Random(1),
        new_part=target.new_part,
        refresh=refresh,
        report=lambda event: None,
    )


@pytest.mark.parametrize("habits", [Habits(), Habits(closes=False), Habits(one_at_a_time=False, closes=False)])
async def test_those_that_close_and_those_that_never_close(target: Target, habits: Habits) -> None:
    async with open_old_peer({NAME: CONTENT}, habits) as peer:
        with trio.fail_after(5):
            assert content_of(await fetch(target, entry(peer)).run()) == CONTENT


async def test_one_that_never_closes_and_no_checksum(target: Target) -> None:
    async with open_old_peer({NAME: CONTENT}, Habits(closes=False)) as peer:
        with trio.fail_after(5):
            copy = await fetch(target, entry(peer), md5=None, limits=replace(LIMITS, silence_is_end=0.5)).run()
    assert content_of(copy) == CONTENT
    assert not copy.verified


@pytest.mark.parametrize("sends", ["nothing", "empty"])
async def test_those_that_give_nothing_are_left_for_another(target: Target, sends: str) -> None:
    habits = Habits(sends="nothing" if sends == "nothing" else "empty")
    async with AsyncExitStack() as stack:
        empty = [await stack.enter_async_context(open_old_peer({NAME: CONTENT}, habits)) for _ in range(5)]
        honest = await stack.enter_async_context(open_old_peer({NAME: CONTENT}))
        with trio.fail_after(5):
            copy = await fetch(target, *map(entry, empty), entry(honest)).run()
        assert content_of(copy) == CONTENT


async def test_one_that_serves_one_at_a_time_serves_several_of_us_in_turn(tmp_path: Path) -> None:
    arrived: list[bytes] = []

    async def fetch_too(number: int, peer: OldPeer) -> None:
        with open_target(tmp_path / f"cat{number}.jpg", LIMITS) as target:
            arrived.append(content_of(await fetch(target, entry(peer)).run()))

    with trio.fail_after(10):
        async with open_old_peer({NAME: CONTENT}, Habits(rate=3_000_000)) as peer, trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(fetch_too, number, peer)
    assert arrived == [CONTENT] * 5


async def test_one_that_still_fetches_its_own_files_is_left_for_another(target: Target) -> None:
    async with (
        open_old_tracker() as tracker,
        open_old_peer({b"b": b"bb"}, Habits(sends="nothing"), tracker=(tracker.host, tracker.port)),
        open_old_peer({NAME: CONTENT}, tracker=(tracker.host, tracker.port), alias=b"busy", wants=[b"b"]) as busy,
        open_old_peer({NAME: CONTENT}, tracker=(tracker.host, tracker.port), alias=b"free") as free,
    ):
        with trio.fail_after(5):
            assert content_of(await fetch(target, entry(busy), entry(free)).run()) == CONTENT
        assert not busy.ready.is_set()


async def test_one_that_is_killed_in_mid_transfer_leaves_the_file_to_another(target: Target) -> None:
    limits = replace(LIMITS, hedge_after=60.0, connect_stagger=60.0)
    dying = trio.CancelScope()
    asked = trio.Event()
    peers: list[OldPeer] = []

    async def live_and_die() -> None:
        with dying:
            async with open_old_peer({NAME: CONTENT}, Habits(rate=100_000)) as peer:
                peers.append(peer)
                asked.set()
                await trio.sleep_forever()

    async with open_old_peer({NAME: CONTENT}) as other, trio.open_nursery() as nursery:
        nursery.start_soon(live_and_die)
        await asked.wait()
        race = fetch(target, entry(peers[0]), limits=limits)
        race._race.add([entry(other)])

        async def kill() -> None:
            while not race.fetched:
                await trio.lowlevel.checkpoint()
            dying.cancel()

        nursery.start_soon(kill)
        with trio.fail_after(5):
            assert content_of(await race.run()) == CONTENT
    assert 0 < race.sources[entry(peers[0]).address].fetched < len(CONTENT)
    assert race.sources[entry(other).address].fetched == len(CONTENT)


async def test_none_of_several_is_asked_beside_one_that_is_fast(target: Target) -> None:
    content = random.Random(2).randbytes(30 * MIB)
    limits = replace(LIMITS, connect_stagger=2.0, hedge_after=2.0)
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(open_old_peer({NAME: content})) for _ in range(4)]
        with trio.fail_after(20):
            copy = await fetch(target, *map(entry, peers), md5=md5_of(content), limits=limits).run()
        assert copy.size == len(content)
        assert sum(len(peer.requests) for peer in peers) == 1


async def test_one_slow_one_among_fast_ones_does_not_slow_the_file(target: Target) -> None:
    limits = replace(LIMITS, hedge_after=0.2)
    async with (
        open_old_peer({NAME: CONTENT}, Habits(rate=10_000)) as slow,
        open_old_peer({NAME: CONTENT}) as fast,
    ):
        race = fetch(target, entry(slow), limits=limits)
        race._race.add([entry(fast)])
        with trio.fail_after(10):
            assert content_of(await race.run()) == CONTENT
        assert slow.requests


async def test_the_fakes_of_an_old_tracker_and_silent_ones_are_got_past_in_seconds(target: Target) -> None:
    async with (
        open_old_tracker(fakes=True) as tracker,
        open_old_peer({NAME: CONTENT}, tracker=(tracker.host, tracker.port)),
        open_tracker(TcpNetwork(), tracker.host, tracker.port, LIMITS) as client,
        AsyncExitStack() as stack,
    ):
        (facts,) = await client.facts([NAME])
        assert len(facts.holders) == 251
        silent = []
        for number in range(1, 11):
            (listener,) = await trio.open_tcp_listeners(0, host=f"127.77.0.{number}")
            stack.push_async_callback(listener.aclose)
            silent.append(PeerEntry(b"silent", Address(f"127.77.0.{number}", listener.socket.getsockname()[1])))
        with trio.fail_after(5):
            assert content_of(await fetch(target, *facts.holders, *silent).run()) == CONTENT
