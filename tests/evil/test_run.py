"""Attacks that go to a tracker or an uploader: bounded, deterministic, and survived by whom they meet here."""

from __future__ import annotations

import ipaddress

import pytest
import trio

from osp2p.errors import ConnectFailed, NotAllowed
from osp2p.evil import Attack, Bounds, Target, list_attacks, run_attack, select_attacks
from tests.standins.old_client import Listed, fetch_from, open_old_connection
from tests.standins.old_peer import Habits, open_old_peer
from tests.standins.old_tracker import open_old_tracker

SHORT = Bounds(connection_seconds=0.5)
ON_TRACKERS = list_attacks("tracker")
ON_UPLOADERS = list_attacks("uploader")


@pytest.mark.parametrize("one", ON_TRACKERS, ids=lambda one: one.id)
async def test_a_tracker_serves_others_meanwhile(one: Attack[Target]) -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as other:
        with trio.fail_after(10):
            result = await run_attack(one, tracker.host, tracker.port, seed=1, bounds=SHORT)
            assert (await other.ask(b"LIST")).splitlines()[-1].startswith(b"200 ")
        assert result.attack == one.id
        assert result.sent > 0
        assert not tracker.registered, "all its connections are closed"


@pytest.mark.parametrize("one", ON_UPLOADERS, ids=lambda one: one.id)
async def test_an_uploader_serves_others_afterwards(one: Attack[Target]) -> None:
    files = {b"a": bytes(3_000_000), b"b": b"small"}
    async with open_old_peer(files, Habits(one_at_a_time=False)) as peer:
        with trio.fail_after(10):
            await run_attack(one, peer.host, peer.port, seed=1, name=b"a", bounds=SHORT)
            assert await fetch_from(Listed(b"x", peer.host, peer.port), b"b") == b"small"


async def test_a_line_without_end_is_bounded_too() -> None:
    (overlong,) = select_attacks("lines/overlong", "tracker")
    async with open_old_tracker() as tracker:
        bounds = Bounds(connection_bytes=1000, connection_seconds=5)
        result = await run_attack(overlong, tracker.host, tracker.port, seed=1, bounds=bounds)
    assert (result.sent, result.ended) == (1000, "bytes spent")


async def test_connections_are_bounded() -> None:
    (silent,) = select_attacks("requests/silent", "uploader")
    async with open_old_peer({}, Habits(one_at_a_time=False)) as peer:
        result = await run_attack(silent, peer.host, peer.port, seed=1, bounds=Bounds(connections=3))
    assert result.ended == "bytes spent"


async def test_only_allowed_networks_are_attacked() -> None:
    (one,) = select_attacks("lines/bytes", "tracker")
    with pytest.raises(NotAllowed, match=r"192\.0\.2\.1"):
        await run_attack(one, "192.0.2.1", 11111, seed=1)
    with pytest.raises(NotAllowed):
        await run_attack(one, "127.0.0.1", 11111, seed=1, allowed=[ipaddress.ip_network("10.0.0.0/8")])
    with pytest.raises(ConnectFailed):
        await run_attack(one, "no-such-host.invalid", 11111, seed=1)


async def test_a_target_that_does_not_listen_is_told() -> None:
    (one,) = select_attacks("lines/bytes", "tracker")
    assert (await run_attack(one, "127.0.0.1", 1, seed=1)).ended == "left"
