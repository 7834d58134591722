"""Who lives in a swarm of virtual time, drawn from a seed: lines, limits, who comes and goes when, and who lies."""

from __future__ import annotations

import random
from dataclasses import dataclass

from osp2p.limits import MIB

MEGABIT = 125_000.0

#: Kinds of lines: how many of ten peers have one, what leaves and what arrives at most, in bytes per second, and the
#: seconds between a peer and the network's middle: at least, at most.
LINES = (
    (3, 100 * MEGABIT, 100 * MEGABIT, 0.001, 0.010),
    (4, 20 * MEGABIT, 100 * MEGABIT, 0.005, 0.030),
    (3, 10 * MEGABIT, 20 * MEGABIT, 0.010, 0.080),
)

#: In so many seconds all but the first peers come.
_CROWD_SECONDS = 3.0

#: How a liar lies. See `tests.swarm.liars`.
LIES = ("wrong chunks", "a wrong chunk now and then", "a wrong list", "has nothing", "silent", "trickles")


@dataclass(frozen=True)
class Resident:
    """One peer.

    Attributes:
        number: from 0 on; the first ones are the seeds.
        up: bytes per second that its line takes, as `down`.
        latency: seconds between it and the network's middle.
        limit_up: bytes per second that its user allows, as `limit_down`; None: any number.
        is_seed: it has everything from the beginning, and stays.
        lie: one of `LIES`, or None for an honest peer.
        stays: from when to when it is there, in seconds; more than once if it comes back.
    """

    number: int
    up: float
    down: float
    latency: float
    limit_up: float | None = None
    limit_down: float | None = None
    is_seed: bool = False
    lie: str | None = None
    stays: tuple[tuple[float, float], ...] = ((0.0, float("inf")),)

    @property
    def fetches(self) -> bool:
        """Whether it wants the content."""
        return not self.is_seed and self.lie is None

    @property
    def is_to_finish(self) -> bool:
        """Whether it wants the content, and is there until it has it."""
        return self.fetches and self.stays[-1][1] == float("inf")

    @property
    def usable_up(self) -> float:
        """Bytes per second that leave it at most, as `usable_down`."""
        return min(self.up, self.limit_up or self.up)

    @property
    def usable_down(self) -> float:
        """Bytes per second that arrive at most."""
        return min(self.down, self.limit_down or self.down)

    def soonest(self, size: int) -> float:
        """When it can have so many bytes, if its own line is all that limits it."""
        left = float(size)
        for comes, leaves in self.stays:
            if left <= (leaves - comes) * self.usable_down:
                return comes + left / self.usable_down
            left -= (leaves - comes) * self.usable_down
        return float("inf")


@dataclass(frozen=True)
class Plan:
    """A swarm that is to be.

    Args:
        seed: of everything that is drawn here, and of every choice of the peers.
        peers: how many, seeds and liars included.
        size: of the content, in bytes.
        seeds: how many have it at the beginning.
        liars: which part of the peers lies.
        leaving: which part leaves before it has everything; half of them come back.
        limited: which part has a user who limits what it sends and receives to a half.
    """

    seed: int
    peers: int
    size: int = 16 * MIB
    seeds: int = 2
    liars: float = 0.05
    leaving: float = 0.2
    limited: float = 0.1

    def residents(self) -> list[Resident]:
        """All peers: the same ones each time."""
        rng = random.Random(f"residents {self.seed}")
        kinds = [kind[1:] for kind in LINES for _ in range(kind[0])]
        found = [
            Resident(number, 100 * MEGABIT, 100 * MEGABIT, rng.uniform(0.001, 0.01), is_seed=True)
            for number in range(self.seeds)
        ]
        liars = set(rng.sample(range(self.seeds, self.peers), round(self.liars * self.peers)))
        for number in range(self.seeds, self.peers):
            up, down, nearest, farthest = rng.choice(kinds)
            latency = rng.uniform(nearest, farthest)
            comes = rng.uniform(0.0, _CROWD_SECONDS)
            leaves, limited = rng.random() < self.leaving, rng.random() < self.limited
            stay, away, returns = rng.uniform(0.5, 4.0), rng.uniform(0.5, 4.0), rng.random() < 0.5
            if number in liars:
                found.append(Resident(number, up, down, latency, lie=LIES[len(liars) % len(LIES)]))
                liars.remove(number)
                continue
            stays = [(comes, comes + stay if leaves else float("inf"))]
            if leaves and returns:
                stays.append((comes + stay + away, float("inf")))
            found.append(
                Resident(
                    number,
                    up,
                    down,
                    latency,
                    limit_up=up / 2 if limited else None,
                    limit_down=down / 2 if limited else None,
                    stays=tuple(stays),
                )
            )
        return found

    def fluid_bound(self) -> float:
        """No swarm with these lines is quicker, in seconds: until everybody who stays has everything.

        The bound of Kumar and Ross (2006) with lines that differ: the seeds must give one copy; each peer must receive
        one while it is there; and all uploads together must give one to each who stays.
        """
        residents = self.residents()
        staying = [resident for resident in residents if resident.is_to_finish]
        uploads = sum(resident.usable_up for resident in residents if resident.lie is None)
        return max(
            self.size / sum(resident.usable_up for resident in residents if resident.is_seed),
            max(resident.soonest(self.size) for resident in staying),
            len(staying) * self.size / uploads,
        )
