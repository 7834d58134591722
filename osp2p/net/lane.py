"""Where costly answers wait for each other, so that they do not keep everybody else waiting.

A page of LIST takes a thousand times the work of a WANT, and so do its bytes in memory until they are sent. Costly
answers are therefore made one at a time, and each in slices, with a turn for all that is cheap between two of them.
Each source has its turn: however many connections an address has, it gets one answer for each that others get.

Source: the round robin over flows of fair queueing (RFC 970).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import TypeAlias

import trio

from osp2p.limits import Limits
from osp2p.net.admission import Visit

Making: TypeAlias = Generator[None, None, bytes]
"""Makes an answer: yields where others may have a turn, and returns it at the end."""


def make_at_once(making: Making) -> bytes:
    """Make an answer without a turn for anybody else."""
    while True:
        try:
            next(making)
        except StopIteration as end:
            answer: bytes = end.value
            return answer


class Lane:
    """One at a time.

    Args:
        limits: `max_unsent_answers`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._busy = False
        self._waiting: OrderedDict[str, deque[trio.Event]] = OrderedDict()
        self._unsent: dict[Visit, int] = {}

    @property
    def is_busy(self) -> bool:
        """Whether somebody has the turn."""
        return self._busy

    async def make(self, source: str, making: Making) -> bytes:
        """Wait for a turn, and make an answer.

        Args:
            source: whose turn it is to be.

        Cancellation: somebody else has the turn.
        """
        async with self.turn(source):
            while True:
                try:
                    next(making)
                except StopIteration as end:
                    answer: bytes = end.value
                    return answer
                await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[None]:
        """Wait for a turn, which lasts as long as the body. See `make`."""
        await self._wait(source)
        try:
            yield
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
