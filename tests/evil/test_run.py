"""Attacks that go to a tracker or an uploader: bounded, deterministic, and survived by whom they meet here."""

from __future__ import annotations

import ipaddress

import pytest

from osp2p.errors import ConnectFailed, NotAllowed
from osp2p.evil import Bounds, SocketNetwork, find_attacks, run_attack
from tests.standins.old_peer import Habits, open_old_peer
from tests.standins.old_tracker import open_old_tracker

HERE = SocketNetwork()


async def test_a_line_without_end_is_bounded_too() -> None:
    (overlong,) = find_attacks(["lines/overlong"])
    async with open_old_tracker() as tracker:
        bounds = Bounds(connection_bytes=1000, attack_seconds=5)
        verdict = await run_attack(overlong, HERE, (tracker.host, tracker.port), seed=1, bounds=bounds)
    assert (verdict.sent, verdict.passed) == (1000, False)
    assert "takes all of 1000 bytes" in verdict.why


async def test_connections_are_bounded() -> None:
    (silent,) = find_attacks(["requests/silent"])
    async with open_old_peer({}, Habits(one_at_a_time=False)) as peer:
        verdict = await run_attack(silent, HERE, (peer.host, peer.port), seed=1, bounds=Bounds(connections=3))
    assert not verdict.passed
    assert len(verdict.exchanges) == 3


async def test_only_allowed_networks_are_attacked() -> None:
    (one,) = find_attacks(["lines/bytes"])
    with pytest.raises(NotAllowed, match=r"192\.0\.2\.1"):
        await run_attack(one, HERE, ("192.0.2.1", 11111), seed=1)
    with pytest.raises(NotAllowed):
        await run_attack(one, HERE, ("127.0.0.1", 11111), seed=1, allowed=[ipaddress.ip_network("10.0.0.0/8")])
    with pytest.raises(ConnectFailed):
        await run_attack(one, HERE, ("no-such-host.invalid", 11111), seed=1)


async def test_a_target_that_does_not_listen_fails() -> None:
    (one,) = find_attacks(["lines/bytes"])
    verdict = await run_attack(one, HERE, ("127.0.0.1", 1), seed=1, honest=HERE)
    assert not verdict.passed
    assert verdict.why.startswith("before the attack, it takes no honest user")
