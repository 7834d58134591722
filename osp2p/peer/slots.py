"""How many uploads may run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from osp2p.limits import Limits
from osp2p.net.serve import source_of


class UploadSlots:
    """Counts the uploads that run, altogether and for each source: an address, or a network of IPv6.

    Args:
        limits: `max_uploads`, `max_uploads_per_host`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sources: Counter[str] = Counter()
        self.running = 0
        self._last_used = float("-inf")

    def idle_at(self, now: float) -> float:
        """When nobody counts as being served any more, if nothing happens until then: `served_grace` after the last."""
        return now + self._limits.served_grace if self.running else self._last_used + self._limits.served_grace

    @contextmanager
    def slot(self, host: str) -> Iterator[bool]:
        """Hold a slot for the body. Yields: False where there is none left, and the body must refuse."""
        source = source_of(host)
        if self.running >= self._limits.max_uploads or self._sources[source] >= self._limits.max_uploads_per_host:
            yield False
            return
        self.running += 1
        self._sources[source] += 1
        try:
            yield True
        finally:
            self._last_used = trio.current_time()
            self.running -= 1
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]
