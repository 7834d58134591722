"""Attacks on our tracker and uploader over real sockets: where the kernel's buffers, resets and half-closed connections
are the point. Times are short, so that what is waited for comes soon."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from osp2p.evil import Attack, SocketNetwork, Verdict, find_attacks, run_attack
from osp2p.limits import Limits
from osp2p.net import TcpNetwork
from osp2p.peer.events import Event, Listening
from osp2p.peer.node import open_node
from osp2p.tracker import TrackerOptions, serve_tracker
from tests.evil.worlds import content

LIMITS = replace(
    Limits(),
    first_command_timeout=3.0,
    line_timeout=3.0,
    send_timeout=2.0,
    request_timeout=3.0,
    upload_rate_window=2.0,
    linger_timeout=0.5,
    max_connections_per_host=100,
    max_uploads_per_host=20,
    max_uploads=40,
)

ON_TRACKERS = (
    "connections/flood",
    "connections/goodbye",
    "connections/half-closed",
    "connections/idle",
    "connections/resets",
    "connections/sip",
    "connections/unread",
    "lines/bytewise",
    "lines/drip",
    "lines/endless",
    "lines/packed",
    "notify/reflect",
    "notify/storm",
)

ON_UPLOADERS = (
    "paths/devices",
    "paths/outside",
    "requests/half-closed",
    "requests/resets",
    "requests/sends-on",
    "requests/sends-on-slowly",
    "session/half-closed",
    "session/unread",
    "uploads/flood",
    "uploads/greedy",
    "uploads/hello-and-close",
    "uploads/unread",
)

#: More than two kernels hold of what nobody reads.
SIZE = 24_000_000


async def attack_all(attacks: list[Attack], port: int) -> list[Verdict]:
    """Run attacks at a time, each from addresses of its own, with an honest user each."""
    verdicts: list[Verdict] = []

    async def run(number: int, attack: Attack) -> None:
        networks = [SocketNetwork(f"127.66.{number}.{last}") for last in range(1, 4)]
        verdicts.append(
            await run_attack(
                attack,
                networks,
                ("127.0.0.1", port),
                seed=1,
                name=b"large" if attack.id == "uploads/unread" else b"small",
                limits=LIMITS,
                honest=SocketNetwork(f"127.77.{number}.1", None),
                patience=30.0,  # many attacks go on in one process, which others may keep from running
            )
        )

    async with trio.open_nursery() as nursery:
        for number, attack in enumerate(attacks, start=1):
            nursery.start_soon(run, number, attack)
    return verdicts


def complaints(verdicts: list[Verdict]) -> dict[str, str]:
    return {verdict.attack: verdict.why for verdict in verdicts if not verdict.passed}


async def test_a_tracker_of_ours_stands_them_all_at_a_time() -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(
            serve_tracker,
            network=TcpNetwork(),
            port=0,
            options=TrackerOptions(local=True),
            limits=LIMITS,
            rng=random.Random(1),
        )
        addresses = await nursery.start(serve)
        with trio.fail_after(120):
            verdicts = await attack_all(find_attacks(ON_TRACKERS), addresses[0].port)
        nursery.cancel_scope.cancel()
    assert complaints(verdicts) == {}


async def test_an_uploader_of_ours_stands_them_all_at_a_time(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "small").write_bytes(content(1000))
    (shared / "large").write_bytes(content(SIZE))
    events: list[Event] = []
    options: dict[str, Any] = {"port": 0, "cache": tmp_path / "cache", "report": events.append}
    async with open_node(network=TcpNetwork(), limits=LIMITS, **options) as node:
        await node.share(shared)
        port = next(event.address.port for event in events if isinstance(event, Listening))
        with trio.fail_after(120):
            verdicts = await attack_all(find_attacks(ON_UPLOADERS), port)
    assert complaints(verdicts) == {}
