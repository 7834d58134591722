"""Programs of ours as processes: started, watched, and told to leave, with all that they say kept in files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from osp2p.wire.address import Address

#: How long a process has for leaving when it is told to.
LEAVE_WITHIN = 10.0

#: How long the kernel has for ending a process that was killed.
_KILLED_WITHIN = 5.0

_TAIL_LINES = 12

#: How often, in seconds, it is looked at what a program has said.
_LOOK_EVERY = 0.05


class ProgramEnded(Exception):
    """A program has ended that should not. Its text says with what last words."""


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
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

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

    async def tell(self, **order: object) -> None:
        """Give it an order, one JSON object; only for programs that are started with `orders`."""
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(trio.BrokenResourceError):  # it has ended: who waits for its answer will notice
            await stdin.send_all(json.dumps(order).encode() + b"\n")

    async def wait_for(self, event: str, count: int = 1) -> list[dict[str, object]]:
        """Wait until it has written `count` records of a kind. Returns: all that there are.

        Raises:
            ProgramEnded: it has ended before.
        """
        while True:
            ended = not self.runs
            found = [record for record in self.records() if record.get("event") == event]
            if len(found) >= count:
                return found
            if ended:
                raise ProgramEnded("\n".join([f"{self.who} has ended; its last words:", *self.last_words()]))
            await trio.sleep(_LOOK_EVERY)

    def kill(self) -> None:
        """End it now; waits for nothing."""
        if self.runs:
            self._process.kill()

    def records(self) -> list[dict[str, object]]:
        """The complete JSON lines that it has written so far."""
        lines = self._out.read_bytes().split(b"\n")[:-1]
        return [record for line in lines if line and isinstance(record := json.loads(line), dict)]

    async def dismiss(self) -> None:
        """There are no more orders."""
        if self._process.stdin is not None:
            await self._process.stdin.aclose()

    def all_words(self) -> list[str]:
        """What it said to people."""
        return self._err.read_bytes().decode("utf-8", "backslashreplace").splitlines()

    def last_words(self) -> list[str]:
        """The end of what it said to people."""
        return self.all_words()[-_TAIL_LINES:]


async def kill_all(programs: Iterable[Program]) -> None:
    """Kill programs, and wait for the kernel's part, so that their directory can be removed. It is not cancelled."""
    programs = list(programs)
    for program in programs:
        program.kill()
    with trio.move_on_after(_KILLED_WITHIN, shield=True):
        for program in programs:
            await program.wait()


async def start_tracker(
    who: str, directory: Path, options: Sequence[str] = (), port: int = 0
) -> tuple[Program, Address]:
    """Start a tracker, and wait until it listens.

    Args:
        who: for people.
        directory: as `start_program` takes it.
        options: behind ``osp2p tracker``.
        port: where it listens; 0: any free one.

    Returns: the process, and its address on this machine.

    Raises:
        ProgramEnded: it has ended instead.
    """
    words = ["tracker", "--port", str(port), "--local", "--json", *options]
    program = await start_program(who, words, directory)
    try:
        listening = (await program.wait_for("listening"))[0]
    except BaseException:
        await kill_all([program])
        raise
    return program, Address("127.0.0.1", int(str(listening["port"])))


async def start_program(
    who: str, arguments: Sequence[str | bytes], directory: Path, module: str = "osp2p", *, orders: bool = False
) -> Program:
    """Start ``osp2p`` with `arguments`, in this very Python.

    Args:
        who: for people.
        arguments: behind ``osp2p``.
        directory: for what it says, and for its cache, which all programs of a world share.
        module: another program than ``osp2p``.
        orders: whether it is told what to do, by `Program.tell`.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OSP2P_TRACKER"}
    environment["XDG_CACHE_HOME"] = str(directory / "cache")
    out, err = directory / f"{who}.out", directory / f"{who}.err"
    command = [sys.executable, "-m", module, *map(os.fsdecode, arguments)]
    stdin = subprocess.PIPE if orders else subprocess.DEVNULL
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
        )
    return Program(who, process, out, err)
