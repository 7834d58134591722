"""Runs one attack within its bounds, and tells how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import trio

from osp2p.evil.bounds import (
    DEFAULT_BOUNDS,
    LOOPBACK,
    BoundReached,
    Bounds,
    Budget,
    OtherSideLeft,
    Subnet,
    Unsound,
    find_allowed,
)
from osp2p.evil.datagrams import Port
from osp2p.evil.encounter import Target
from osp2p.evil.network import Network
from osp2p.evil.probe import PATIENCE, Probe
from osp2p.evil.registry import Attack, Expect
from osp2p.evil.wire import Exchange, Wire
from osp2p.limits import DEFAULT, Limits

Ended = Literal["done", "left", "bytes spent", "time spent", "unsound"]
"""The attack had nothing more to do; the other side left; a bound on bytes or on time was reached; the other side did
what no sound program does."""

Outcome = Expect | Literal["failed", "cut short"]
"""What the victim did; ``failed``: not what a sound one does; ``cut short``: nothing wrong in the time that the bounds
gave the attack, which is less than a sound victim may need to be done with it."""

#: How often an honest user looks at the victim while it is under attack: each second, or so many times in all.
_PROBE_EVERY = 1.0
_PROBES = 40

#: How much longer than `Attack.within` a victim is watched: it is slow then, but does it come to an end at all?
_SLACK = 1.0


@dataclass(frozen=True, slots=True)
class Attacked:
    """One downloader has been attacked.

    Attributes:
        attack: its id.
        host: the other side's address.
        name: the file that it asked for; b"" if that is not known.
        sent: bytes that it was given.
        seconds: from its connection to its end.
        ended: see `Ended`.
        why: what was unsound, in a sentence, or "".
        exchange: what went over the connection, if it is kept.
        digest: of all bytes sent, in hex.
    """

    attack: str
    host: str
    name: bytes
    sent: int
    seconds: float
    ended: Ended
    why: str = ""
    exchange: Exchange | None = None
    digest: str = ""


Report = Callable[[Attacked], None]


def ignore(event: Attacked) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a tracker or an uploader stood one attack.

    Attributes:
        attack: its id.
        passed: whether it did what a sound one does, in time, and was of use to an honest user all the while.
        outcome: see `Outcome`.
        why: what it did instead, in a sentence; "" if it passed.
        seconds: from the first connection to the end.
        sent, received: bytes, on all connections.
        digest: of all bytes sent, connection by connection, in hex: the same for the same seed and answers.
        slowest_probe: seconds of the slowest honest exchange; None without such a user.
        exchanges: the evidence: what went over the first connections, bounded.
    """

    attack: str
    passed: bool
    outcome: Outcome
    why: str
    seconds: float
    sent: int
    received: int
    digest: str
    slowest_probe: float | None
    exchanges: tuple[Exchange, ...]


async def run_bounded(attack: Attack, encounter: object, seconds: float) -> tuple[Ended, str]:
    """Run an attack until it ends, one way or another; its connections are the caller's to close.

    Args:
        encounter: what the attack takes: see `registry.attack`.

    Returns: how it ended, and for ``unsound`` a sentence.
    """
    with trio.move_on_after(seconds):
        try:
            await attack.run(encounter)
        except OtherSideLeft:
            return "left", ""
        except BoundReached:
            return "bytes spent", ""
        except Unsound as error:
            return "unsound", str(error)
        return "done", ""
    return "time spent", ""


def digest_of(wires: Iterable[Wire | Port]) -> str:
    """A digest of all that was sent, connection by connection."""
    return hashlib.blake2b(b"".join(wire.digest for wire in wires), digest_size=16).hexdigest()


async def run_attack(
    attack: Attack,
    network: Network | Sequence[Network],
    address: tuple[str, int],
    *,
    seed: int,
    name: bytes = b"",
    forbidden: Sequence[bytes] = (),
    bounds: Bounds = DEFAULT_BOUNDS,
    allowed: Sequence[Subnet] = LOOPBACK,
    limits: Limits = DEFAULT,
    honest: Network | None = None,
    patience: float = PATIENCE,
) -> Verdict:
    """Go to a tracker or an uploader and run one attack against it.

    Args:
        attack: one against trackers or uploaders.
        network: where the attacker's connections come from; or several, for attackers with several addresses.
        address: the target's host and port.
        seed: the same seed sends the same bytes, whichever other attacks are run.
        name: for an uploader: a file that it serves, raw bytes.
        forbidden: for an uploader: names that lie on its disk and must not be served.
        bounds: how far the attack may go.
        allowed: the only networks whose hosts may be attacked.
        limits: the target's, as far as they are known; the default ones for the programs of 2007 and strangers'.
        honest: where an honest user comes from, who is to be served before, meanwhile and afterwards; None: nobody.
        patience: how many seconds that may take him each time.

    Raises:
        NotAllowed: the target is in none of the networks.
        ConnectFailed: there is no such host.

    Cancellation: all connections are closed.
    """
    networks: Sequence[Network] = network if isinstance(network, Sequence) else [network]
    host, port = await find_allowed(address[0], address[1], allowed), address[1]
    rng = Random(f"{seed} {attack.id}")
    target = Target(
        networks, host, port, Budget(bounds), rng, name=name, forbidden=forbidden, limits=limits, allowed=allowed
    )
    probe = Probe(honest, host, port, attack.against, name, seed, patience) if honest is not None else None
    began = trio.current_time()
    try:
        why = await _run_probed(attack, target, probe)
        seconds = trio.current_time() - began
    finally:
        target.close()
        if probe is not None:
            probe.close()
    most = target.bounds.evidence_connections
    return Verdict(
        attack.id,
        not why,
        "failed" if why else "cut short" if _is_cut_short(attack, bounds, seconds) else attack.expect,
        why,
        seconds,
        target.sent,
        target.received,
        digest_of([*target.wires, *target.ports]),
        None if probe is None else probe.slowest,
        (*(wire.exchange for wire in target.wires[:most]), *(port.exchange for port in target.ports[:most])),
    )


def _is_cut_short(attack: Attack, bounds: Bounds, seconds: float) -> bool:
    """Whether the bounds ended an attack that might have gone on."""
    return bounds.attack_seconds is not None and bounds.attack_seconds <= min(seconds, attack.within)


async def _run_probed(attack: Attack, target: Target, probe: Probe | None) -> str:
    """Run an attack with an honest user beside it. Returns: what the victim did wrong, or ""."""
    found: list[str] = []
    if probe is not None:
        try:
            await probe.begin()
        except Unsound as error:
            return f"before the attack, it {error}"

    async def watch(honest: Probe) -> None:
        while True:
            await trio.sleep(max(_PROBE_EVERY, attack.within / _PROBES))
            try:
                await honest.check()
            except Unsound as error:
                found.append(f"under the attack, it {error}")
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        if probe is not None and not attack.exhausts:
            nursery.start_soon(watch, probe)
        found.append(await _judge(attack, target))
        nursery.cancel_scope.cancel()
    target.close()
    if probe is not None and not any(found):
        try:
            await probe.end()
        except Unsound as error:
            found.append(f"after the attack, it {error}")
    return next(filter(None, found), "")


async def _judge(attack: Attack, target: Target) -> str:
    """Run an attack. Returns: what the victim did wrong, or ""."""
    most = target.bounds.attack_seconds
    seconds = attack.within + _SLACK if most is None else min(most, attack.within + _SLACK)
    ended, why = await run_bounded(attack, target, seconds)
    if ended == "unsound":
        return f"it {why}"
    if ended == "time spent" and seconds > attack.within:
        return f"it is not done with the attack after {seconds:g} s"
    if ended == "bytes spent" and attack.expect in ("closed", "out-waited"):
        return f"it takes all of {target.sent} bytes and does not end the connection"
    return ""
