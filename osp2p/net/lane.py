"""Where costly answers wait for each other, so that they do not keep everybody else waiting.

A page of LIST takes a thousand times the work of a WANT, and so do its bytes in memory until they are sent. Costly
answers are therefore made one at a time. Each source has its turn: however many connections an address has, it gets
one answer for each that others get. Behind an answer there is a pause as long as it took, so that half of the time is
left to all that is cheap.

Source: the round robin over flows of fair queueing (RFC 970).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from osp2p.limits import Limits
from osp2p.net.admission import Visit


class Lane:
    """One at a time.

    Args:
        limits: `max_unsent_answers`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._busy = False
        self._free_at = float("-inf")
        self._waiting: OrderedDict[str, deque[trio.Event]] = OrderedDict()
        self._unsent: dict[Visit, int] = {}

    @asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[None]:
        """Wait for a turn; the body makes one answer.

        Args:
            source: whose turn it is to be.

        Cancellation: somebody else has the turn.
        """
        await self._wait(source)
        try:
            if self._free_at > trio.current_time():
                await trio.sleep_until(self._free_at)
            begun = trio.current_time()
            yield
            now = trio.current_time()
            self._free_at = 2 * now - begun
        finally:
            self._pass_on()

    async def _wait(self, source: str) -> None:
        await trio.lowlevel.checkpoint()
        if not self._busy:
            self._busy = True
            return
        turn = trio.Event()
        own = self._waiting.setdefault(source, deque())
        own.append(turn)
        try:
            await turn.wait()
        except trio.Cancelled:
            if turn.is_set():
                self._pass_on()
            else:
                own.remove(turn)
                if not own:
                    del self._waiting[source]
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next source, if any waits; a source that still waits then is the last one."""
        if not self._waiting:
            self._busy = False
            return
        source, own = next(iter(self._waiting.items()))
        own.popleft().set()
        if own:
            self._waiting.move_to_end(source)
        else:
            del self._waiting[source]

    # --- what is not sent yet ---

    def hold(self, visit: Visit, size: int) -> None:
        """Note that an answer waits to be sent. Where there are too many, the one that has waited longest is given up.

        Args:
            visit: whose answer it is; dismissed, if it is given up.
            size: bytes.
        """
        self._unsent[visit] = self._unsent.get(visit, 0) + size
        while sum(self._unsent.values()) > self._limits.max_unsent_answers and len(self._unsent) > 1:
            slowest = next(iter(self._unsent))
            del self._unsent[slowest]
            slowest.dismiss()

    def release(self, visit: Visit) -> None:
        """An answer has been sent, or never will be. Safe to call for whom there is none."""
        self._unsent.pop(visit, None)
