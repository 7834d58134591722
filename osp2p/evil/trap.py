"""Ports of an attacker's own, a holder's or a tracker's, and what happens to whoever connects to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Protocol

import trio

from osp2p.errors import ListenFailed
from osp2p.evil.bounds import Bounds, Budget, Subnet, is_allowed
from osp2p.evil.encounter import Victim
from osp2p.evil.network import Listener, Network, Stream
from osp2p.evil.registry import Attack
from osp2p.evil.run import Attacked, Ended, Report, run_bounded
from osp2p.evil.wire import Exchange


class Met(Protocol):
    """Somebody who came: a `Victim`, a `Caller`, a `Called`."""

    host: str
    sent: int

    @property
    def exchange(self) -> Exchange:
        """What went over his connection."""

    @property
    def digest(self) -> bytes:
        """Of everything that was sent."""


Meet = Callable[[Stream], Awaitable[None]]


class Trap:
    """What all ports of one attacker share: bounds, a seed, and how many have come.

    Args:
        seed: the n-th who comes meets the same randomness in every run.
        allowed: the only networks whose hosts are attacked; others are let go.
        report: told of each attack when it ends; may not raise.
    """

    def __init__(self, seed: int, bounds: Bounds, allowed: Sequence[Subnet], report: Report) -> None:
        self._seed = seed
        self._allowed = allowed
        self._report = report
        self._number = 0
        self.budget = Budget(bounds)

    async def serve(self, listener: Listener, meet: Meet) -> None:
        """Take connections until cancelled, or the listener is closed: `meet` each in a task of its own."""
        places = trio.Semaphore(self.budget.bounds.connections)

        async def run(stream: Stream) -> None:
            try:
                await meet(stream)
            finally:
                stream.close()
                places.release()

        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                try:
                    stream = await listener.accept()
                except ListenFailed:
                    return
                if is_allowed(stream.remote.host, self._allowed) and self.budget.left > 0:
                    nursery.start_soon(run, stream)
                else:
                    stream.close()
                    places.release()

    def next_number(self) -> int:
        """How many have come before."""
        self._number += 1
        return self._number - 1

    def rng(self, attack: Attack, number: int) -> Random:
        """The randomness of one meeting."""
        return Random(f"{self._seed} {attack.id} {number}")

    async def attack(self, attack: Attack, met: Met) -> None:
        """Run one attack against somebody who came, and report it."""
        began = trio.current_time()
        ended: Ended = "time spent"
        why = ""
        try:
            ended, why = await run_bounded(attack, met, self.budget.bounds.connection_seconds)
        finally:  # who is let go in the middle has been attacked, too
            seconds = trio.current_time() - began
            name = met.name if isinstance(met, Victim) else b""
            self._report(
                Attacked(attack.id, met.host, name, met.sent, seconds, ended, why, met.exchange, met.digest.hex())
            )


async def listen(network: Network, port: int, allowed: Sequence[Subnet]) -> Listener:
    """Open a port: on loopback alone where nobody else may be attacked.

    Raises:
        ListenFailed.
    """
    only_here = all(subnet.is_loopback for subnet in allowed)
    return await network.listen(port, "127.0.0.1" if only_here else "0.0.0.0")
