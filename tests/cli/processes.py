"""The commands as real processes: run to their end, or started, listened to, and told to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from osp2p.wire.word import quote

ROOT = Path(__file__).resolve().parents[2]

OSP2P: tuple[str | bytes, ...] = (sys.executable, "-m", "osp2p")
TRACKER_PY = (sys.executable, str(ROOT / "tracker.py"))
PEER_PY = (sys.executable, str(ROOT / "peer.py"))

#: How long anything here may take, on a machine that is busy with other things.
PATIENCE = 30.0

Words = Sequence[str | bytes]
Record = dict[str, object]


@dataclass(frozen=True)
class Result:
    """What a process left."""

    code: int
    out: bytes
    err: bytes

    @property
    def records(self) -> list[Record]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, event: str) -> list[Record]:
        """Its records of one kind."""
        return [record for record in self.records if record["event"] == event]


class Program:
    """A process that runs, and all that it has said so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.out = bytearray()
        self.err = bytearray()
        self._news = trio.Condition()

    async def listen(self, stream: trio.abc.ReceiveStream, said: bytearray) -> None:
        """Take all that comes from one of its streams."""
        async for data in stream:
            said += data
            async with self._news:
                self._news.notify_all()

    async def heard(self, text: str, said: bytearray | None = None) -> str:
        """Wait for a line with this text on standard error (or elsewhere). Returns: the first such line."""
        said = self.err if said is None else said
        with trio.move_on_after(PATIENCE):
            while True:
                for line in bytes(said).splitlines(keepends=True):
                    if text.encode() in line and line.endswith(b"\n"):
                        return line.decode()
                async with self._news:
                    await self._news.wait()
        raise AssertionError(f"no {text!r} in what it said: {bytes(said)!r}")

    async def record(self, event: str) -> Record:
        """Wait for a record of this kind on standard output. Returns: the first."""
        found: Record = json.loads(await self.heard(f'"event": "{event}"', self.out))
        return found

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. Returns: the exit code."""
        self.process.send_signal(number)
        with trio.fail_after(PATIENCE):
            return await self.process.wait()


class World:
    """A place for processes: a directory, a cache of their own, and a tracker once it runs.

    Attributes:
        environment: what they get beside ours.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment: dict[str, str] = {"XDG_CACHE_HOME": str(directory / "cache")}

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("OSP2P_")}
        return ours | self.environment | dict(more)

    def files(self, directory: str, **contents: bytes) -> Path:
        """Make a directory with files; ``_`` in a keyword is a dot in the name."""
        path = self.directory / directory
        path.mkdir(exist_ok=True)
        for name, content in contents.items():
            (path / name.replace("_", ".")).write_bytes(content)
        return path

    async def run(
        self, *words: str | bytes, cwd: Path | None = None, program: Words = OSP2P, **environment: str
    ) -> Result:
        """Run a command to its end."""
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                [*program, *words],
                cwd=cwd or self.directory,
                env=self._environment(environment),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        return Result(done.returncode, done.stdout, done.stderr)

    async def run_on_terminal(
        self, *words: str | bytes, cwd: Path | None = None, **environment: str
    ) -> tuple[int, bytes]:
        """Run a command on a terminal of its own. Returns: the exit code, and all that the terminal was sent."""
        ours, theirs = os.openpty()
        shown = bytearray()

        async def look() -> None:
            while True:
                await trio.lowlevel.wait_readable(ours)
                try:
                    shown.extend(os.read(ours, 65536))
                except OSError:  # the other end is closed
                    return

        try:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(look)
                    done = await trio.run_process(
                        [*OSP2P, *words],
                        cwd=cwd or self.directory,
                        env=self._environment(environment),
                        stdout=theirs,
                        stderr=theirs,
                        check=False,
                    )
                    os.close(theirs)
        finally:
            os.close(ours)
        return done.returncode, bytes(shown)

    @asynccontextmanager
    async def start(
        self, *words: str | bytes, cwd: Path | None = None, program: Words = OSP2P, **environment: str
    ) -> AsyncIterator[Program]:
        """Start a command; it is killed at the end of the block if it still runs."""
        process = await trio.lowlevel.open_process(
            [*program, *words],
            cwd=cwd or self.directory,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        started = Program(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(started.listen, process.stdout, started.out)
            nursery.start_soon(started.listen, process.stderr, started.err)
            try:
                yield started
            finally:
                if process.returncode is None:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()

    @asynccontextmanager
    async def tracker(self, *words: str) -> AsyncIterator[int]:
        """Run a tracker on a free port, which all other commands then find. Yields: the port."""
        async with self.start("tracker", "--port", "0", "--json", *words) as program:
            port = (await program.record("listening"))["port"]
            assert isinstance(port, int)
            self.environment["OSP2P_TRACKER"] = f"127.0.0.1:{port}"
            yield port
            assert await program.end() == 0, bytes(program.err)

    @asynccontextmanager
    async def sharer(self, directory: Path, *words: str | bytes) -> AsyncIterator[Program]:
        """Share a directory. Its files are registered, with their checksums, when the block begins."""
        async with self.start("share", str(directory), "--json", *words) as program:
            await program.record("sharing")
            for path in directory.rglob("*"):
                if path.is_file():
                    await self.wait_for_checksum(os.fsencode(path.relative_to(directory)))
            yield program

    async def wait_for_checksum(self, name: bytes) -> None:
        """Ask the tracker until it knows one: it tells nobody when it learns it."""
        host, _, port = self.environment["OSP2P_TRACKER"].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            with trio.fail_after(PATIENCE):
                await stream.receive_some()
                while True:
                    await stream.send_all(b"MD5SUM " + quote(name) + b"\n")
                    if b"200 " in await stream.receive_some():
                        return
                    await trio.sleep(0.02)
