"""Programs of others as processes: started in a session of their own, watched, ended with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from osp2p.errors import CommandFailed

#: How long a program has for ending when it is told to.
LEAVE_WITHIN = 3.0

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TAIL_BYTES = 4000


def memory_of(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold now, shared pages counted once for each."""
    total = 0
    family = [pid]
    while family:
        process = Path("/proc", str(family.pop()))
        try:
            total += int((process / "statm").read_text().split()[1]) * _PAGE
            for task in os.listdir(process / "task"):
                family += map(int, (process / "task" / task / "children").read_text().split())
        except OSError:  # it has ended meanwhile
            continue
    return total


class Program:
    """One process, and those that it started; `open_program` starts it.

    Attributes:
        peak: bytes of memory at most so far, as far as it was looked at.
    """

    def __init__(self, process: trio.Process, said: Path) -> None:
        self._process = process
        self._said = said
        self.peak = 0

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait for its end. Returns: its exit code."""
        return await self._process.wait()

    def look(self) -> int:
        """Look at its memory. Returns: how many bytes it holds now."""
        now = memory_of(self._process.pid)
        self.peak = max(self.peak, now)
        return now

    def signal(self, number: int) -> None:
        """Send a signal to it and all that it started."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:  # all of them have ended
            return

    async def leave(self) -> int:
        """Tell it to end, and make it end. Returns: its exit code."""
        if self.code is None:
            self.signal(signal.SIGTERM)
        with trio.move_on_after(LEAVE_WITHIN):
            await self._process.wait()
        self.signal(signal.SIGKILL)
        return await self._process.wait()

    def last_words(self, lines: int = 12) -> list[str]:
        """The end of what it printed."""
        with self._said.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", "backslashreplace").splitlines()[-lines:]


async def start_program(command: Sequence[str], said: Path, environment: Mapping[str, str] | None = None) -> Program:
    """Start a command.

    Args:
        said: the file that gets all that it prints; what is there already stays.
        environment: beside ours.

    Raises:
        CommandFailed: there is no such program, or it may not be run.
    """
    with said.open("ab") as output:
        try:
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(f"cannot run {command[0]}: {os.strerror(error.errno or 0).lower()}") from error
    return Program(process, said)


@asynccontextmanager
async def open_program(
    command: Sequence[str], said: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run a command for as long as the block; then it is ended, with all that it started.

    Raises:
        CommandFailed.
    """
    program = await start_program(command, said, environment)
    try:
        yield program
    finally:
        with trio.CancelScope(shield=True):  # bounded by LEAVE_WITHIN
            await program.leave()
