"""How a method is doing: how often it was called, how often it failed, how long it took."""

from __future__ import annotations

from bisect import bisect_left

#: Upper ends of the classes into which durations are counted, in seconds: 0.1 ms, and always twice as much.
_CLASSES = tuple(0.0001 * float(2**power) for power in range(24))


class Tally:
    """Counts calls; its memory does not grow with them, so quantiles are upper ends of classes."""

    __slots__ = ("_classes", "_longest", "_total", "calls", "errors", "running")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.running = 0
        self._total = 0.0
        self._longest = 0.0
        self._classes = [0] * (len(_CLASSES) + 1)

    def note(self, seconds: float, *, failed: bool) -> None:
        """Count a call that is over."""
        self.calls += 1
        self.errors += failed
        self._total += seconds
        self._longest = max(self._longest, seconds)
        self._classes[bisect_left(_CLASSES, seconds)] += 1

    def _quantile(self, part: float) -> float:
        """A duration in seconds that at least `part` of the calls did not exceed."""
        left = part * self.calls
        for count, end in zip(self._classes, _CLASSES, strict=False):
            left -= count
            if left <= 0:
                return min(end, self._longest)
        return self._longest

    def record(self) -> dict[str, int | float]:
        """What `stats` says of it; durations in milliseconds."""
        mean = self._total / self.calls if self.calls else 0.0
        latency = {"mean": mean, "median": self._quantile(0.5), "p99": self._quantile(0.99), "most": self._longest}
        return {
            "calls": self.calls,
            "errors": self.errors,
            "running": self.running,
            **{f"{name}_ms": round(seconds * 1000, 3) for name, seconds in latency.items()},
        }
