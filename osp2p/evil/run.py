"""Runs one attack within its bounds, and tells how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import trio

from osp2p.evil.encounter import (
    DEFAULT_BOUNDS,
    LOOPBACK,
    BoundReached,
    Bounds,
    Budget,
    Network,
    OtherSideLeft,
    Target,
    find_allowed,
)
from osp2p.evil.registry import Attack, Encounter

Ended = Literal["done", "left", "bytes spent", "time spent"]
"""The attack had nothing more to do; the other side left; a bound on bytes or on time was reached."""


@dataclass(frozen=True, slots=True)
class Attacked:
    """One attack has been tried.

    Attributes:
        attack: its id.
        host: the other side's address.
        name: the file that it asked for or was asked for; b"" if that is not known.
        sent: bytes that it was given.
        seconds: from its connection to its end.
        ended: see `Ended`.
    """

    attack: str
    host: str
    name: bytes
    sent: int
    seconds: float
    ended: Ended


Report = Callable[[Attacked], None]


def ignore(event: Attacked) -> None:
    """Tell nobody."""


async def run_bounded(attack: Attack[Encounter], encounter: Encounter, bounds: Bounds) -> Ended:
    """Run an attack until it ends, one way or another; its connections are the caller's to close."""
    with trio.move_on_after(bounds.connection_seconds):
        try:
            await attack.run(encounter)
        except OtherSideLeft:
            return "left"
        except BoundReached:
            return "bytes spent"
        return "done"
    return "time spent"


async def run_attack(
    attack: Attack[Target],
    host: str,
    port: int,
    *,
    seed: int,
    name: bytes = b"",
    bounds: Bounds = DEFAULT_BOUNDS,
    allowed: Sequence[Network] = LOOPBACK,
) -> Attacked:
    """Go to a tracker or an uploader and run one attack against it.

    Args:
        attack: one of `select_attacks(mode, "tracker")` or `select_attacks(mode, "uploader")`.
        host, port: the target.
        seed: the same seed makes the same attack.
        name: for an uploader: a file that it serves, raw bytes.
        bounds: how far the attack may go.
        allowed: the only networks whose hosts may be attacked.

    Raises:
        NotAllowed: the target is in none of them.
        ConnectFailed: there is no such host.

    Cancellation: all connections are closed.
    """
    address = await find_allowed(host, port, allowed)
    target = Target(address, port, name, Budget(bounds), Random(f"{seed} {attack.id}"))
    begun = trio.current_time()
    try:
        ended = await run_bounded(attack, target, bounds)
    finally:
        target.close()
    return Attacked(attack.id, address, name, target.sent, trio.current_time() - begun, ended)
