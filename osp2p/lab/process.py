"""Programs of ours as processes: started, watched, and told to leave, with all that they say kept in files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

#: How long a process has for leaving when it is told to.
LEAVE_WITHIN = 10.0

_TAIL_LINES = 12


class Program:
    """One ``osp2p`` command; `start_program` starts it.

    Attributes:
        who: for people.
    """

    def __init__(self, who: str, process: trio.Process, out: Path, err: Path) -> None:
        self.who = who
        self._process = process
        self._out = out
        self._err = err

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    async def wait(self) -> int:
        """Wait for its end. Returns: its exit code; negative for a signal."""
        return await self._process.wait()

    async def leave(self) -> int:
        """Tell it to end, with SIGTERM. Returns: its exit code; -9 if it had to be killed."""
        if self.runs:
            self._process.send_signal(signal.SIGTERM)
        with trio.move_on_after(LEAVE_WITHIN):
            return await self._process.wait()
        self._process.kill()
        return await self._process.wait()

    def kill(self) -> None:
        """End it now; waits for nothing."""
        if self.runs:
            self._process.kill()

    def records(self) -> list[dict[str, object]]:
        """The complete JSON lines that it has written so far."""
        lines = self._out.read_bytes().split(b"\n")[:-1]
        return [record for line in lines if line and isinstance(record := json.loads(line), dict)]

    def last_words(self) -> list[str]:
        """The end of what it said to people."""
        text = self._err.read_bytes().decode("utf-8", "backslashreplace")
        return text.splitlines()[-_TAIL_LINES:]


async def start_program(who: str, arguments: Sequence[str | bytes], directory: Path) -> Program:
    """Start ``osp2p`` with `arguments`, in this very Python.

    Args:
        who: for people.
        arguments: behind ``osp2p``.
        directory: for what it says, and for its cache, which all programs of a world share.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OSP2P_TRACKER"}
    environment["XDG_CACHE_HOME"] = str(directory / "cache")
    out, err = directory / f"{who}.out", directory / f"{who}.err"
    command = [sys.executable, "-m", "osp2p", *map(os.fsdecode, arguments)]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
        )
    return Program(who, process, out, err)
