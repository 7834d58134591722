"""Which holder is asked next, and when: pure, so that every decision can be tested without a network.

`Race` is for the base protocol, where each holder gives the whole file from its first byte. One holder is asked
first. Others are asked beside it while it gives nothing, when it is slow, and when it has given suspiciously much of a
file whose size nobody knows; the first whole and proved copy wins.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from osp2p.limits import Limits
from osp2p.wire.entry import PeerEntry


@dataclass(slots=True)
class Runner:
    """One holder that is being asked, or was.

    Attributes:
        entry: the holder.
        started: when it was asked.
        received: bytes of its answer.
        last: when the last byte came, or when it was asked.
        samples: (time, received) pairs of the last seconds, oldest first.
    """

    entry: PeerEntry
    started: float
    received: int = 0
    last: float = 0.0
    samples: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, now: float) -> float:
        """Bytes per second over the samples, or since the start."""
        then, count = self.samples[0] if self.samples else (self.started, 0)
        return (self.received - count) / max(now - then, 1e-3)


class Race:
    """The holders of one file, in the base protocol.

    Args:
        limits: `hedge_after`, `max_connecting`, `max_sources_per_file`, `max_source_tries`, `unproved_before_hedge`,
            `slow_rate`, `connect_stagger`.
        rng: orders the holders.
    """

    def __init__(self, limits: Limits, rng: random.Random) -> None:
        self._limits = limits
        self._rng = rng
        self._waiting: list[PeerEntry] = []
        self._seen: set[tuple[str, int]] = set()
        self._running: dict[PeerEntry, Runner] = {}
        self._last_start = float("-inf")
        self._hedges = 0
        self.tries = 0

    @property
    def running(self) -> list[Runner]:
        """Those who are being asked now."""
        return list(self._running.values())

    @property
    def exhausted(self) -> bool:
        """Whether nobody is being asked and nobody is left to be."""
        return not self._running and (not self._waiting or self.tries >= self._limits.max_source_tries)

    def add(self, entries: Iterable[PeerEntry]) -> int:
        """Add holders that are not known yet, at the back and in random order. Returns: how many were new."""
        new = [entry for entry in entries if entry.address not in self._seen]
        self._seen.update(entry.address for entry in new)
        new = list({entry.address: entry for entry in new}.values())
        self._rng.shuffle(new)
        self._waiting += new
        return len(new)

    def start(self, now: float) -> PeerEntry | None:
        """The holder to ask now, if one should be asked now; it counts as running from here on."""
        if self.wake_at(now) > now:
            return None
        self._hedges += 1 if any(runner.received for runner in self.running) else 0
        entry = self._waiting.pop(0)
        self._running[entry] = Runner(entry, now, last=now)
        self._last_start = now
        self.tries += 1
        return entry

    def received(self, entry: PeerEntry, count: int, now: float) -> None:
        """Note `count` further bytes of a running holder."""
        runner = self._running[entry]
        runner.received += count
        runner.last = now
        if not runner.samples or now - runner.samples[-1][0] >= self._limits.hedge_after / 4:
            runner.samples.append((now, runner.received))
            del runner.samples[:-5]

    def ended(self, entry: PeerEntry, *, again: bool = False) -> None:
        """Note that a holder is not asked any more.

        Args:
            again: whether it may be asked again later, because its failure proves nothing (busy, silent, gone).
        """
        del self._running[entry]
        if again:
            self._seen.discard(entry.address)

    def wake_at(self, now: float) -> float:
        """When the next holder should be asked if nothing happens until then: `now` or earlier means at once."""
        if not self._waiting or self.tries >= self._limits.max_source_tries:
            return float("inf")
        running = self.running
        if not running:
            return now
        giving = [runner for runner in running if runner.received]
        if not giving:
            full = len(running) >= self._limits.max_connecting
            return float("inf") if full else self._last_start + self._limits.connect_stagger
        if len(running) >= self._limits.max_sources_per_file:
            return float("inf")
        best = max(giving, key=lambda runner: runner.rate(now))
        if best.received >= self._limits.unproved_before_hedge << self._hedges:
            return now
        idle_since = best.started if best.rate(now) < self._limits.slow_rate else best.last
        return max(idle_since, self._last_start) + self._limits.hedge_after
