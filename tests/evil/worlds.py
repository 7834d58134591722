"""Small worlds in memory and in virtual time, in which a victim of ours, its times the default ones, meets one attack.

Threads would make virtual time jump, so their work is done where it is asked for. Links with rates make time pass where
bytes do, and no timeout needs to be waited for. Whom an attack meets is in `serving`, `fetching`, `asking` and `nodes`;
who is honest there, in `honest`.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import trio
import trio.testing

from osp2p.evil import Bounds
from osp2p.limits import Limits

T = TypeVar("T")

EVERYWHERE = [ipaddress.ip_network("10.0.0.0/8")]
TRACKER = "10.0.0.1"
TRACKER_PORT = 11111
PEER_PORT = 11112
NAME = b"cat 1.jpg"
SEED = 5

#: Limits whose default would cost seconds to pass: as many are enough to see that they bind.
LIMITS = replace(
    Limits(),
    max_connections=500,
    max_connections_per_host=300,
    max_peers_per_host=400,
    max_base_list=2000,
    max_answer_bytes=200_000,
    max_files=3000,
    max_registrations=20_000,
    max_list_page=2000,
    max_who_peers=300,
    unproved_before_hedge=4_000_000,
    swarm_from=1_000_000,
    idle_timeout=100.0,
    max_size=12_000_000,
    max_listed_files=20_000,
    max_reply_lines=20_000,
    max_reply_bytes=1_000_000,
    max_peer_reply_lines=5000,
    max_peer_reply_bytes=100_000,
    max_stored_peers_per_host=200,
    max_stored_items_per_host=50,
    neighbour_quiet=60.0,
    max_remembered_calls=500,
    max_call_body=50_000,
    max_call_bytes=1_000_000,
    max_contacts=100,
)

#: Everybody's line, and the attackers' to downloaders: bytes per second.
RATE = 20_000_000.0
EVIL_RATE = 4_000_000.0

#: Enough for any attack in virtual time, little enough for the machine.
BOUNDS = Bounds(connection_bytes=48_000_000, connection_seconds=700, buffer_bytes=1_000_000)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def run_in_virtual_time(work: Callable[..., Any], *args: Any) -> Any:
    """Run an async function in a loop of its own, in virtual time, with a scheduler that is seeded."""
    trio._core._run._r.seed(1)
    return trio.run(work, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def no_threads() -> Iterator[None]:
    """Have the work of threads done at once, by whoever asks for it."""

    async def run_here(work: Callable[..., T], *args: Any, **options: Any) -> T:
        await trio.lowlevel.checkpoint()
        return work(*args)

    before = trio.to_thread.run_sync
    trio.to_thread.run_sync = run_here  # type: ignore[assignment]
    try:
        yield
    finally:
        trio.to_thread.run_sync = before
