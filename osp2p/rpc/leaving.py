"""Callers that leave before their call is answered, whose calls are cancelled then.

Whoever waits for a result sends nothing, so the end of the connection is all that can come from it. A task that waits
for that would cost as much as a short call itself, so only calls that take a while get one.
"""

from __future__ import annotations

from types import TracebackType

import trio

from osp2p.errors import NetworkError
from osp2p.limits import Limits
from osp2p.net import LineConnection


class _Watch:
    """A task that reads from the connection of a caller who is thought to send nothing."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()


class Attendance:
    """One call that is carried out, and its caller.

    Attributes:
        left: whether the caller has left.
        began: when the call did.
    """

    def __init__(self, lines: LineConnection, until: float, limits: Limits, among: dict[Attendance, None]) -> None:
        self._lines = lines
        self._limits = limits
        self._among = among
        self._scope = trio.CancelScope(deadline=until)
        self._watch: _Watch | None = None
        self.left = False
        self.began = trio.current_time()

    async def __aenter__(self) -> Attendance:
        self._among[self] = None
        self._scope.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return self._scope.__exit__(kind, error, traceback)
        finally:
            del self._among[self]
            if self._watch is not None:
                self._watch.scope.cancel()
                # It has nothing to tidy up; and nobody else may read from the connection until it has stopped.
                with trio.move_on_after(self._limits.farewell_timeout, shield=True):
                    await self._watch.ended.wait()

    def watch(self, nursery: trio.Nursery) -> None:
        """Watch the caller from now on, if nobody does."""
        if self._watch is None:
            self._watch = _Watch()
            nursery.start_soon(self._watch_caller, self._watch)

    async def _watch_caller(self, watch: _Watch) -> None:
        """Cancel the call when its caller leaves. One who sends the next request meanwhile has not left."""
        try:
            with watch.scope:
                await self._lines.wait_begun(float("inf"))
        except NetworkError:
            self.left = True
            self._scope.cancel()
        finally:
            watch.ended.set()


class Attendances:
    """The calls that are carried out. `run` looks after their callers.

    Args:
        limits: `call_attention`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[Attendance, None] = {}
        self._first = trio.Event()

    def attend(self, lines: LineConnection, until: float) -> Attendance:
        """Run the body of an ``async with`` until its time is over, or the caller has left; then it ends quietly.

        Args:
            lines: the caller's connection, from which nobody else reads meanwhile.
        """
        attendance = Attendance(lines, until, self._limits, self._open)
        self._first.set()
        return attendance

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
                    if attendance.began <= before:
                        attendance.watch(nursery)
