"""How much our own link takes: so that a full link is not taken for slow holders. Pure.

It is known where the user has set a limit; else a trial shows it: a second holder was asked beside a slow one, and both
together give no more than the one did.
"""

from __future__ import annotations

from collections.abc import Callable

#: A holder that gives so much of what the link takes is not slow.
_FAIR_SHARE = 0.5

#: With a limit, one begins with as many holders as give a chunk each in so many seconds.
_CHUNK_SECONDS = 2.0


class LinkRate:
    """The link of one node, shared by all its fetches.

    Args:
        limit: bytes per second that the user allows; None: any number.
        is_full: whether as much as the limit allows comes in just now.

    Attributes:
        fetches: how many fetches of whole copies there are now.
    """

    def __init__(self, limit: float | None = None, is_full: Callable[[], bool] = lambda: False) -> None:
        self._limit = limit
        self._is_full = is_full
        self._shown: float | None = None
        self.fetches = 0

    def slow_rate(self, usual: float) -> float:
        """Bytes per second below which a holder is slow: `usual`, or less where the link is what is slow."""
        known = [rate for rate in (self._limit, self._shown) if rate is not None]
        return min([usual, *(rate * _FAIR_SHARE / max(self.fetches, 1) for rate in known)])

    def show_full(self, rate: float) -> None:
        """A further holder has brought nothing: this is what the link takes, in bytes per second."""
        self._shown = rate

    def show_room(self) -> None:
        """A further holder has brought more: whatever was shown before, the link takes more than that."""
        self._shown = None

    def first_sources(self, chunk: int, most: int) -> int:
        """How many holders of a content to begin with.

        Args:
            chunk: bytes of one of its chunks.
            most: where there is no limit.
        """
        return most if self._limit is None else max(1, min(most, int(self._limit * _CHUNK_SECONDS) // chunk))

    @property
    def has_room(self) -> bool:
        """Whether a further holder may bring more."""
        return self._limit is None or not self._is_full()
