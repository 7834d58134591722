"""Runs a document's terminals and sessions, in the order in which they stand there, in one world.

``terminal NAME``
    A fenced block: ``$ COMMAND`` lines, each with what it prints. A command that runs on is the last one of its block,
    and later blocks of the same terminal say what it prints meanwhile, among other lines, until ``^C`` ends it.
``session NAME [here]``
    As in `dialogue`, on ports of this world.
``python FILE``
    Is saved as that file.

Other blocks are for readers. Ports of the document are other ones here, and what depends on chance or on the machine is
made equal before lines are compared: see `plain`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.docs.dialogue import Session, read_lines
from tests.docs.replay import Player, compare_step
from tests.docs.worlds import World
from tests.ports import free_ports

ROOT = Path(__file__).parent.parent.parent

#: Seconds that a command may take to print what the document says.
PATIENCE = 30.0

#: Seconds in which everything that still runs must have ended.
_ENDING = 5.0

#: Commands that change nothing are run again until the document is right: sharers tell trackers in their own time.
_LOOKING = ("osp2p ls ", "osp2p who ", "osp2p checksum ")


class Untrue(Exception):
    """Something went otherwise than in the document."""


@dataclass(slots=True)
class Block:
    """A fenced block: its first line in words, the number of that line, and what stands in it."""

    info: list[str]
    at: int
    lines: list[str] = field(default_factory=list)


def read_blocks(document: str) -> Iterator[Block]:
    """All fenced blocks that have a first line."""
    block: Block | None = None
    for at, line in enumerate(document.splitlines(), 1):
        if block is None:
            if line.startswith("```"):
                block = Block(line[3:].split(), at)
        elif line == "```":
            if block.info:
                yield block
            block = None
        else:
            block.lines.append(line)


def plain(line: str) -> str:
    """A line without what differs from run to run: this machine's addresses, ports, sizes, times, widths of columns."""
    line = re.sub(r" +", " ", line)
    line = re.sub(r"\bsent \d+ bytes\b", "sent # bytes", line)
    line = re.sub(r"osp2p://[\w.\[\]:]+", "osp2p://#", line)
    line = re.sub(r"(listens on port \d+:) .*", r"\1 #", line)
    line = re.sub(r"(127\.0\.0\.1:)\d{5}\b", r"\1#", line)
    line = re.sub(r"\b[0-9a-f]{40}\b", "# (address)", line)
    line = re.sub(r"(--join) [\w.:\[\]]+", r"\1 #", line)
    line = re.sub(r"\b\d+(\.\d+)? [kMG]?B\b", "# B", line)
    return re.sub(r"\b\d+(\.\d+)? s\b", "# s", line)


def in_any_order(lines: Sequence[str]) -> list[str]:
    """Lines for comparison: of files that are fetched at the same time, any may come first."""
    return sorted(map(plain, lines))


@dataclass(slots=True)
class _Command:
    """A ``$`` line and what it prints."""

    text: str
    printed: list[str]
    stays: bool = False


class Terminal:
    """One terminal: a command that runs on, or none."""

    def __init__(self, name: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.code = 0
        self._directory = directory
        self._environment = environment
        self._process: trio.Process | None = None
        self._printed, self._unread = trio.open_memory_channel[str](0)

    async def run(self, text: str) -> list[str]:
        """Run a command to its end. Returns: the lines that it printed."""
        process = await trio.run_process(
            ["bash", "-c", f"(exit {self.code}); {text}"],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=self._directory,
            env=self._environment,
        )
        self.code = process.returncode
        return process.stdout.decode().splitlines()

    async def start(self, text: str, nursery: trio.Nursery) -> None:
        """Start a command that runs on."""
        self._printed, self._unread = trio.open_memory_channel[str](10_000)
        self._process = await trio.lowlevel.open_process(
            ["bash", "-c", f"exec {text}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
            env=self._environment,
        )
        nursery.start_soon(self._read)

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                await self._printed.send(line.decode())

    async def next_line(self) -> str:
        """The next line that the running command prints."""
        return await self._unread.receive()

    async def interrupt(self) -> None:
        """Press Ctrl-C."""
        assert self._process is not None, f"nothing runs in terminal {self.name}"
        self._process.send_signal(signal.SIGINT)
        self.code = await self._process.wait()
        self._process = None

    async def aclose(self) -> None:
        """Kill what still runs."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()


class Lesson:
    """One run of a document.

    Args:
        directory: an empty one. What the document calls the checkout is there.
        ports: those of the document that are other ones here.
    """

    def __init__(self, directory: Path, ports: Sequence[int], peer_ports: Sequence[int]) -> None:
        self._ports = dict(zip(ports, free_ports(len(ports)), strict=True))
        self._directory = directory / "lesson"
        self._directory.mkdir()
        (directory / "peer.py").symlink_to(ROOT / "peer.py")
        (directory / "tracker.py").symlink_to(ROOT / "tracker.py")
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self._terminals: dict[str, Terminal] = {}
        self._players: dict[str, Player] = {}
        self._peer_ports = frozenset(peer_ports)

    def _real(self, text: str) -> str:
        for told, real in self._ports.items():
            text = re.sub(rf"(?<!\d){told}(?!\d)", str(real), text)
        return text

    def _told(self, text: str) -> str:
        for told, real in self._ports.items():
            text = re.sub(rf"(?<=[: ]){real}(?!\d)", str(told), text)
        return text

    async def run(self, document: str) -> None:
        """Do everything that stands in a document.

        Raises:
            Untrue: something goes otherwise.
        """
        blocks = list(read_blocks(document))
        async with trio.open_nursery() as nursery:
            try:
                for index, block in enumerate(blocks):
                    match block.info:
                        case ["terminal", name]:
                            await self._run_terminal(block, name, blocks[index + 1 :], nursery)
                        case ["session", name, *_]:
                            await self._run_session(block, name)
                        case ["python", file]:
                            (self._directory / file).write_text("\n".join(block.lines) + "\n")
            finally:
                with trio.move_on_after(_ENDING, shield=True):
                    for player in self._players.values():
                        await player.aclose()
                    for terminal in self._terminals.values():
                        await terminal.aclose()
            nursery.cancel_scope.cancel()

    # --- terminals ---

    async def _run_terminal(self, block: Block, name: str, later: Sequence[Block], nursery: trio.Nursery) -> None:
        terminal = self._terminals.setdefault(name, Terminal(name, self._directory, self._environment))
        meanwhile, commands = read_terminal(block.lines)
        runs_on = stays(commands, [following for following in later if following.info == block.info])
        await self._hear(terminal, meanwhile, block.at)
        for number, command in enumerate(commands):
            if number == len(commands) - 1 and runs_on:
                await terminal.start(self._real(command.text), nursery)
                await self._hear(terminal, command.printed, block.at, every_line=True)
            else:
                await self._run_command(terminal, command, block.at)

    async def _run_command(self, terminal: Terminal, command: _Command, at: int) -> None:
        told = in_any_order(command.printed)
        real: list[str] = []
        with trio.move_on_after(PATIENCE):
            while True:
                real = [self._told(line) for line in await terminal.run(self._real(command.text))]
                if in_any_order(real) == told:
                    return
                if not command.text.startswith(_LOOKING):
                    break
        raise Untrue(f"block at line {at}: {command.text} prints\n" + "\n".join(real))

    async def _hear(self, terminal: Terminal, told: Sequence[str], at: int, *, every_line: bool = False) -> None:
        """Wait for lines of a running command."""
        heard: list[str] = []
        for line in told:
            if line == "^C":
                await terminal.interrupt()
                continue
            with trio.move_on_after(PATIENCE):
                while not heard or plain(heard[-1]) != plain(line):
                    heard.append(self._told(await terminal.next_line()))
                    if every_line and plain(heard[-1]) != plain(line):
                        break
            if not heard or plain(heard[-1]) != plain(line):
                raise Untrue(
                    f"block at line {at}: instead of {line!r} terminal {terminal.name} has\n" + "\n".join(heard)
                )
            heard.append("")

    # --- sessions ---

    async def _run_session(self, block: Block, name: str) -> None:
        player = self._players.get(name)
        if player is None:
            player = self._players[name] = Player(World(dict(self._ports)), self._peer_ports)
        session = Session(name, "here")
        read_lines(session, block.lines, block.at + 1)
        for step in session.steps:
            found = [f"line {step.at}: no such answer"]
            with trio.move_on_after(PATIENCE):
                found = await compare_step(player, step)
            if found:
                raise Untrue("; ".join(found))


def read_terminal(lines: Sequence[str]) -> tuple[list[str], list[_Command]]:
    """Read a terminal's block. Returns: what a running command prints first, and the commands."""
    meanwhile: list[str] = []
    commands: list[_Command] = []
    for line in lines:
        if line.startswith("$ "):
            commands.append(_Command(line[2:], []))
        else:
            (commands[-1].printed if commands else meanwhile).append(line)
    return meanwhile, commands


def stays(commands: Sequence[_Command], later: Sequence[Block]) -> bool:
    """Whether the last command of a block runs on: then a ``^C`` comes before the terminal's next command."""
    if not commands:
        return False
    following = commands[-1].printed + [line for block in later for line in block.lines]
    for line in following:
        if line == "^C":
            return True
        if line.startswith("$ "):
            return False
    return False
