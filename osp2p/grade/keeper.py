"""Keeps the graded program in sight: is it of use to an honest user, and if it died, can it be had back?"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from osp2p.errors import CommandFailed, ConnectFailed
from osp2p.grade.program import Program, start_program
from osp2p.grade.stage import Stage, Subject
from osp2p.grade.steps import check_body
from osp2p.grade.verdict import Wrong
from osp2p.net import Network
from osp2p.net.groups import one_error

#: How long a program may take until it listens.
START_WITHIN = 10.0

#: How long somebody else may take to start a program again that has died.
RETURN_WITHIN = 2.0

_LOOK_EVERY = 0.05

#: How long a process may take from closing its connections to its end.
_DYING_SECONDS = 0.3

#: A listening socket's state in the kernel's tables.
_LISTENING = "0A"

#: Memory that a program which is started here may take.
MAX_MEMORY = 512 * 1024 * 1024

#: Why a check is not run.
GONE = "the program is gone, or of no use to anybody"


async def exchange(subject: Subject, *, registering: bool = True) -> None:
    """Be an honest user: of a tracker, register a file and find it; of a peer, fetch the file.

    Args:
        registering: whether to log in at a tracker, which others may be told of; else it is only asked.

    Raises:
        Wrong: the program is of no use.
    """
    stage = Stage(subject, f"exchange {trio.current_time()}")
    try:
        if subject.kind == "tracker":
            lines = ("ADDR {a} {host}:4001", "HAVE {file}", "WANT {file}") if registering else ("HELP",)
            for line in lines:
                reply = await stage.ask(line, await stage.on("a"))
                if not reply.ok:
                    raise Wrong(f"an honest {line.split()[0]} is answered {reply.code}")
        else:
            talk = await stage.open()
            if subject.specimen is not None:
                await talk.send(stage.fill("GET {file} OSP2P\n").encode("latin-1"))
                check_body(await talk.rest(len(stage.specimen.content)), stage.specimen.content, "the file")
    finally:
        stage.close()


async def listens(network: Network, host: str, port: int, within: float) -> bool:
    """Wait until somebody takes connections. Returns: whether somebody does in time."""
    with trio.move_on_after(within):
        while True:
            try:
                (await network.connect(host, port)).close()
            except ConnectFailed:
                await trio.sleep(_LOOK_EVERY)
            else:
                return True
    return False


def is_listening(port: int) -> bool:
    """Whether some process of this machine listens on a port; nobody notices that it was looked at."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # this machine has no IPv6
            continue
        for row in rows:
            _, local, _, state = row.split(None, 4)[:4]
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                return True
    return False


class Keeper:
    """Looks after the graded program. Made by `open_keeper`.

    Attributes:
        starts: how often it was started here.
        peak: bytes of memory at most, of all its lives; 0 where it was not started here.
    """

    def __init__(self, network: Network, host: str, port: int, command: Sequence[str], said: Path) -> None:
        self._network = network
        self._host = host
        self._port = port
        self._command = command
        self._said = said
        self._program: Program | None = None
        self.starts = 0
        self._peak = 0

    @property
    def peak(self) -> int:
        """Bytes of memory at most so far."""
        return max(self._peak, self._program.peak if self._program is not None else 0)

    async def start(self) -> None:
        """Start the program, and wait until it listens.

        Raises:
            CommandFailed: it does not.
        """
        if is_listening(self._port):
            raise CommandFailed(f"another program listens on port {self._port} already")
        self._program = await start_program(self._command, self._said)
        self.starts += 1
        with trio.move_on_after(START_WITHIN):
            while not is_listening(self._port) and self._program.code is None:  # noqa: ASYNC110 - the kernel tells no news
                await trio.sleep(_LOOK_EVERY)
        if not is_listening(self._port):
            death = await self.obituary()
            await self.end()
            raise CommandFailed(
                f"{self._command[0]} does not listen on port {self._port}{': ' if death else ''}{death}"
            )

    async def watch(self) -> None:
        """Look at its memory now and then, until cancelled; a program that takes too much is killed."""
        while True:
            if self._program is not None and self._program.code is None and self._program.look() > MAX_MEMORY:
                self._program.signal(signal.SIGKILL)
            await trio.sleep(_LOOK_EVERY)

    async def wait_death(self) -> None:
        """Wait until the program has died, if it was started here; else for ever."""
        if self._program is None:
            await trio.sleep_forever()
        else:
            await self._program.wait()

    async def obituary(self) -> str:
        """How it died, for a sentence; "" if it lives, or nobody knows.

        A process that dies closes its connections first, and is dead a moment later.
        """
        if self._program is None:
            return ""
        with trio.move_on_after(_DYING_SECONDS):
            await self._program.wait()
        if self._program.code is None:
            return ""
        if self._program.peak > MAX_MEMORY:
            return f"it took more than {MAX_MEMORY >> 20} MiB of memory"
        words = self._program.last_words(1)
        code = self._program.code
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"it ended with {ended}" + (f", saying: {words[0].strip()}" if words else "")

    async def revive(self) -> bool:
        """Have it back, after it was of no use. Returns: whether somebody listens now."""
        if self._program is None:
            return await listens(self._network, self._host, self._port, RETURN_WITHIN)
        await self.end()
        try:
            await self.start()
        except CommandFailed:
            return False
        return True

    async def end(self) -> None:
        """End the program, if it was started here."""
        if self._program is not None:
            self._peak = self.peak
            await self._program.leave()
            self._program = None


async def have_back(keeper: Keeper, subject: Subject) -> bool:
    """Have a program back that was of no use. Returns: whether it is of use again."""
    if not await keeper.revive():
        return False
    try:
        await exchange(subject)
    except Wrong:
        return False
    return True


@asynccontextmanager
async def open_keeper(network: Network, host: str, port: int, command: Sequence[str]) -> AsyncIterator[Keeper]:
    """Start the program by a command, if there is one, and look after it for as long as the block.

    Raises:
        CommandFailed: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="osp2p-grade-") as directory:
        keeper = Keeper(network, host, port, command, Path(directory, "said"))
        try:
            with one_error():
                async with trio.open_nursery() as nursery:
                    if command:
                        await keeper.start()
                        nursery.start_soon(keeper.watch)
                    yield keeper
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):  # bounded: a program has `LEAVE_WITHIN` to end, then it is killed
                await keeper.end()
