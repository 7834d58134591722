"""What is to be done later: a heap of times and actions. It knows no clock."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import TypeAlias

Action: TypeAlias = Callable[[float], None]


class Timers:
    """Actions in the order of their times; of the same time, in the order in which they were given."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._serial = count()

    def at(self, when: float, action: Action) -> None:
        """Do something at a time. It is called with the time that it is then."""
        heappush(self._heap, (when, next(self._serial), action))

    @property
    def next_at(self) -> float:
        """When something is to be done next; infinity if nothing is."""
        return self._heap[0][0] if self._heap else float("inf")

    def run(self, now: float) -> None:
        """Do what is due; what that adds for later waits."""
        while self._heap and self._heap[0][0] <= now:
            heappop(self._heap)[2](now)
