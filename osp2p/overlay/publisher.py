"""Keeping things known: announcements and items that are made again and again, a few at a time, until withdrawn.

What nobody took, since this node was alone, is tried again soon, with growing pauses; what was taken is made again
before the others forget it. Where the network has grown by half since, it is made again at once: those who are nearest
now were not there then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from osp2p.limits import Limits
from osp2p.overlay.timers import Timers

#: Makes something known now, and says by how many nodes it was taken.
Make: TypeAlias = Callable[[float, Callable[[int, float], None]], None]

#: By how much the number of nodes that we know may grow before what was made known is made known again.
_GROWTH = 1.5

#: First and longest pause before something that nobody took is tried again.
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 120.0


@dataclass(slots=True, eq=False)
class _Job:
    make: Make
    interval: float
    pause: float = _FIRST_PAUSE
    taken: int = 0
    size: int = 0
    running: bool = False
    serial: int = 0


class Publisher:
    """Things that are kept known, each under a name of its own."""

    def __init__(self, timers: Timers, limits: Limits, rng: random.Random) -> None:
        self._timers = timers
        self._limits = limits
        self._rng = rng
        self._jobs: dict[Hashable, _Job] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._serial = count()
        self._running = 0
        self._wakes_at = float("inf")
        self._size = 0
        #: Called whenever something was taken, or was not.
        self.changed: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._jobs

    @property
    def taken(self) -> int:
        """How many of them somebody keeps."""
        return sum(1 for job in self._jobs.values() if job.taken)

    def taken_by(self, name: Hashable) -> int:
        """How many nodes took one of them last."""
        return self._jobs[name].taken

    def add(self, name: Hashable, make: Make, interval: float, now: float) -> None:
        """Make something known, and keep it known.

        Args:
            make: begins to make it known, and calls back with the number of nodes that took it.
            interval: seconds until it is to be made known again.
        """
        job = self._jobs[name] = _Job(make, interval)
        self._schedule(name, job, now)
        self._proceed(now)

    def withdraw(self, names: Iterable[Hashable]) -> None:
        """Keep things known no longer; those who keep them forget them in time."""
        for name in names:
            self._jobs.pop(name, None)

    def hurry(self, now: float) -> None:
        """Try again what nobody took, now: there is somebody."""
        for name, job in self._jobs.items():
            if not job.taken and not job.running:
                job.pause = _FIRST_PAUSE
                self._schedule(name, job, now)
        self._proceed(now)

    def note_size(self, size: int, now: float) -> None:
        """Take note of how many nodes we know; make known again what was made known among much fewer."""
        self._size = size
        for name, job in self._jobs.items():
            if job.taken and not job.running and size > _GROWTH * job.size:
                job.size = size
                self._schedule(name, job, now)
        self._proceed(now)

    def _schedule(self, name: Hashable, job: _Job, at: float) -> None:
        job.serial = next(self._serial)
        heappush(self._due, (at, job.serial, name))
        if len(self._due) > 2 * len(self._jobs) + 64:
            self._due = [due for due in self._due if self._is_valid(due)]
            heapify(self._due)

    def _is_valid(self, due: tuple[float, int, Hashable]) -> bool:
        job = self._jobs.get(due[2])
        return job is not None and job.serial == due[1]

    def _proceed(self, now: float) -> None:
        """Begin what is due, as many at a time as may be."""
        while self._due and self._running < self._limits.publish_at_a_time:
            at, serial, name = self._due[0]
            if not self._is_valid((at, serial, name)):
                heappop(self._due)
                continue
            if at > now:
                self._wake_at(at)
                return
            heappop(self._due)
            self._make(name, self._jobs[name], now)

    def _wake_at(self, at: float) -> None:
        if at < self._wakes_at:
            self._wakes_at = at
            self._timers.at(at, self._wake)

    def _wake(self, now: float) -> None:
        self._wakes_at = float("inf")
        self._proceed(now)

    def _make(self, name: Hashable, job: _Job, now: float) -> None:
        self._running += 1
        job.running = True
        job.size = self._size

        def done(taken: int, then: float) -> None:
            self._running -= 1
            job.running = False
            job.taken = taken
            if self._jobs.get(name) is job:
                if taken:
                    job.pause = _FIRST_PAUSE
                    again = job.interval * self._rng.uniform(0.9, 1.0)
                else:
                    again = job.pause
                    job.pause = min(2 * job.pause, _LONGEST_PAUSE)
                self._schedule(name, job, then + again)
            self.changed()
            self._proceed(then)

        job.make(now, done)
