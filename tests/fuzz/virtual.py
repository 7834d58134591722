"""A trio program that a state machine drives step by step, in a time that only the machine moves."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

Value = TypeVar("Value")


class VirtualRun:
    """Trio in a thread of its own. Between two calls all its tasks wait, and time stands still.

    Attributes:
        nursery: for tasks that last as long as the run.
    """

    def __init__(self) -> None:
        self.nursery: trio.Nursery
        self._clock = trio.testing.MockClock()
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), kwargs={"clock": self._clock})
        self._thread.start()
        self._started.wait()

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._started.set()
            await trio.sleep_forever()

    def call(self, task: Callable[..., Awaitable[Value]], *arguments: object) -> Value:
        """Run a task to its end, and then everything else until all waits."""

        async def run() -> Value:
            value = await task(*arguments)
            await trio.testing.wait_all_tasks_blocked()
            return value

        return trio.from_thread.run(run, trio_token=self._token)

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that it brings."""

        async def jump() -> None:
            self._clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked()

        trio.from_thread.run(jump, trio_token=self._token)

    @property
    def now(self) -> float:
        """Seconds on its clock."""
        return trio.from_thread.run_sync(trio.current_time, trio_token=self._token)

    def close(self) -> None:
        """End all tasks."""
        trio.from_thread.run_sync(self.nursery.cancel_scope.cancel, trio_token=self._token)
        self._thread.join()
