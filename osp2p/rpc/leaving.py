"""Callers that leave before their call is answered, whose calls are cancelled then.

Whoever waits for a result sends nothing, so the end of the connection is all that can come from it. A task that waits
for that would cost as much as a short call itself, so only calls that take a while get one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from osp2p.errors import NetworkError
from osp2p.limits import Limits
from osp2p.net import LineConnection


class Attendance:
    """One call that is carried out, and its caller.

    Attributes:
        scope: what the call runs in.
        left: whether the caller has left.
        began: when the call did.
        watch: what the task runs in that watches the caller.
        watched: set when that task has ended; None where there is none.
    """

    def __init__(self, lines: LineConnection) -> None:
        self._lines = lines
        self.scope = trio.CancelScope()
        self.left = False
        self.began = trio.current_time()
        self.watch = trio.CancelScope()
        self.watched: trio.Event | None = None

    async def watch_caller(self, watched: trio.Event) -> None:
        """Cancel the call when its caller leaves. One who sends the next request meanwhile has not left."""
        try:
            with self.watch:
                await self._lines.wait_begun(float("inf"))
        except NetworkError:
            self.left = True
            self.scope.cancel()
        finally:
            watched.set()


class Attendances:
    """The calls that are carried out. `run` looks after their callers.

    Args:
        limits: `call_attention`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[Attendance, None] = {}
        self._first = trio.Event()

    @asynccontextmanager
    async def attend(self, lines: LineConnection, until: float) -> AsyncIterator[Attendance]:
        """Run the body until its time is over, or the caller has left; then it ends quietly.

        Args:
            lines: the caller's connection, from which nobody else reads meanwhile.
        """
        attendance = Attendance(lines)
        attendance.scope.deadline = until
        self._open[attendance] = None
        self._first.set()
        try:
            with attendance.scope:
                yield attendance
        finally:
            del self._open[attendance]
            if attendance.watched is not None:
                attendance.watch.cancel()
                # It has nothing to tidy up; and nobody else may read from the connection until it has stopped.
                with trio.move_on_after(self._limits.farewell_timeout, shield=True):
                    await attendance.watched.wait()

    async def run(self) -> None:
        """Watch the callers of calls that take a while, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                if not self._open:
                    self._first = trio.Event()
                    await self._first.wait()
                await trio.sleep(self._limits.call_attention)
                before = trio.current_time() - self._limits.call_attention
                for attendance in self._open:
                    if attendance.watched is None and attendance.began <= before:
                        attendance.watched = trio.Event()
                        nursery.start_soon(attendance.watch_caller, attendance.watched)
