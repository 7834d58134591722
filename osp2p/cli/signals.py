"""SIGINT and SIGTERM, from the first moment to the last: an orderly end, the right exit code, never a traceback.

Until trio runs, and after it has, a signal ends the process at once: there is nothing to tidy up. While trio runs the
first signal cancels the work, which tidies up; a second one ends the process at once.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

ENDING = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """What the process ends with when a signal ends it.

    Attributes:
        code: the exit code; a command that has done its work and only serves on may change it.
        signalled: whether a signal has ended the work.
        last_words: called when a signal has cancelled the work, and it is through with its tidying.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        self.signalled = False
        self.last_words: Callable[[], None] | None = None
        for number in ENDING:
            signal.signal(number, self._end_at_once)

    def _end_at_once(self, *_: object) -> None:
        os._exit(self.code)

    def run(self, work: Callable[[], Awaitable[int]]) -> int:
        """Run `work` in trio.

        Returns: its exit code, or ours if a signal cancelled it.
        """
        import trio

        gc.enable()  # which `main` has disabled for the imports
        return trio.run(self._run, work)

    async def _run(self, work: Callable[[], Awaitable[int]]) -> int:
        import trio

        code: int | None = None
        with trio.open_signal_receiver(*ENDING) as arrivals:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(self._watch, arrivals, scope)
                    code = await work()
                nursery.cancel_scope.cancel()
        if code is not None:
            return code
        if self.last_words is not None:
            self.last_words()
        return self.code

    async def _watch(self, arrivals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for _ in arrivals:
            if scope.cancel_called:
                os._exit(self.code)
            self.signalled = True
            scope.cancel()
