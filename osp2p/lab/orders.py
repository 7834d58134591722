"""How programs of the lab talk with it: orders come on standard input, records leave on standard output, JSON both."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

import trio

#: How often somebody wants a turn, to see how long it takes, in seconds.
_TURN_EVERY = 0.02


def write_record(event: str, **fields: object) -> None:
    """Tell the lab something. Its end of the line is a file, so this waits for nobody."""
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


async def read_orders() -> AsyncIterator[dict[str, object]]:
    """Each order, until there are no more."""
    buffer = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for data in stream:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                assert isinstance(order, dict)
                yield order


def count_open() -> dict[str, int]:
    """What this process holds: file descriptors, and tasks of trio's."""
    return {"descriptors": len(os.listdir("/proc/self/fd")), "tasks": trio.lowlevel.current_statistics().tasks_living}


class StallMeter:
    """Finds out how long the tasks of this process had to wait for their turn at most.

    Attributes:
        longest: seconds, since the last `reset`.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    def reset(self) -> float:
        """Begin anew. Returns: the longest stall so far."""
        longest, self.longest = self.longest, 0.0
        return longest

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = trio.current_time() + _TURN_EVERY
            await trio.sleep_until(due)
            self.longest = max(self.longest, trio.current_time() - due)
