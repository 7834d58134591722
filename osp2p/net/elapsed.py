"""Time that goes on while the machine sleeps.

Trio's clock stands still then, and everything that a node knows would seem as fresh as before: its neighbours in the
overlay, the votes on its address, what it announced, which the others have forgotten meanwhile, and connections.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

#: So many seconds of sleep are one: the two clocks below are not read at the very same moment.
_LEAST_SLEEP = 1.0


def time_asleep() -> float:
    """For how many seconds this machine has slept since it was started.

    Source: clock_gettime(2); CLOCK_BOOTTIME goes on where CLOCK_MONOTONIC, which is trio's, stands still.
    """
    awake = time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - awake


class ElapsedTime:
    """Trio's time, and that of sleep since this was made.

    Args:
        asleep: for how many seconds the machine has slept so far.
    """

    def __init__(self, asleep: Callable[[], float] = time_asleep) -> None:
        self._asleep = asleep
        self._before = asleep()
        self._slept = 0.0

    def now(self) -> float:
        """What time it is, as far as it is known; it never goes back."""
        return trio.current_time() + self._slept

    def in_trio(self, at: float) -> float:
        """When it will be that time by trio's clock, unless the machine sleeps."""
        return at - self._slept

    def look(self) -> None:
        """Take note whether the machine has slept."""
        slept = self._asleep() - self._before
        if slept > self._slept + _LEAST_SLEEP:
            self._slept = slept
