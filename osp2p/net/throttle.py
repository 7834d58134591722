"""Rate limits: how many bytes a second may move, over all connections that share one limit."""

from __future__ import annotations

import trio

#: For how long one slice keeps the line busy at the limit: short, so that bytes move evenly.
_SLICE_SECONDS = 0.05

#: How far behind the limit a pause may fall and still be made up for: what the scheduler costs, and no burst.
_CATCH_UP_SECONDS = 0.1

_LEAST_SLICE = 1024


class Throttle:
    """A token bucket that begins full and holds a tenth of a second's bytes.

    Args:
        rate: bytes per second; None: no limit, and every call returns at once.
    """

    __slots__ = ("_free_at", "rate")

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._free_at = float("-inf")

    def slice(self, count: int) -> int:
        """How many of `count` bytes to move in one go."""
        if self.rate is None:
            return count
        return min(count, max(int(self.rate * _SLICE_SECONDS), _LEAST_SLICE))

    def reserve(self, count: int, now: float) -> float:
        """Account for `count` bytes that are moved now. Returns: the time until which nothing more may move."""
        if self.rate is None:
            return now
        self._free_at = max(self._free_at, now - _CATCH_UP_SECONDS) + count / self.rate
        return self._free_at

    async def moved(self, count: int) -> None:
        """Wait until the limit has made up for `count` bytes that were moved.

        Cancellation: the bytes stay accounted for.
        """
        if self.rate is not None:
            await trio.sleep_until(self.reserve(count, trio.current_time()))
