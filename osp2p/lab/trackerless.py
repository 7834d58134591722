"""A network of real processes without any tracker: a third of them is killed, another third stopped, and all is found.

Every node shares three of as many files as there are nodes, each file with two others, so that each file has a holder
as long as no three neighbours in a ring go. Those that are killed, and those that are stopped, are every third.
"""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from osp2p.lab.files import Pool
from osp2p.lab.process import Program, kill_all, start_program
from osp2p.lab.table import KB, File
from osp2p.limits import DEFAULT
from osp2p.net import TcpNetwork
from osp2p.overlay.keys import DEFAULT_NETWORK, name_key
from osp2p.overlay.node import Overlay, OverlayOptions, open_overlay
from osp2p.peer.overlay_status import ask_status

Tell = Callable[[str], None]

#: How many nodes start at a time, once there are some to join.
_WAVE = 6

#: How many files each node shares.
_COPIES = 3

#: How often, in seconds, it is looked whether all is announced, and how long that may take.
_LOOK_EVERY = 0.25
_ANNOUNCED_WITHIN = 120.0

#: How long those who announced when there were few nodes may take to notice that there are more.
_GROWN_SECONDS = 12.0

#: How long the fetch of everything may take.
_FETCHED_WITHIN = 120.0


@dataclass
class Trackerless:
    """What a run gave.

    Attributes:
        nodes: how many there were.
        announced: seconds until all was announced, from the last node's start.
        fetched: seconds in which everything was fetched, a third of the nodes gone.
        first, whole: seconds to the first peer, and to the end, of each lookup, another third stopped.
        faults: what must not be.
    """

    nodes: int
    announced: float = 0.0
    fetched: float = 0.0
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def medians(self) -> tuple[float, float]:
        """Of the first results, and of whole lookups."""
        return statistics.median(self.first or [0.0]), statistics.median(self.whole or [0.0])


async def run_trackerless(number: int, seed: int, directory: Path, tell: Tell) -> Trackerless:
    """Run it.

    Args:
        number: of nodes.
        seed: of what files hold, and of who joins through whom.
        directory: an empty one, for everything.
        tell: takes what happens.

    Raises:
        ProgramEnded: a node ended that should not.
    """
    run = _Run(number, seed, directory, tell)
    try:
        await run.start()
        await run.wait_until_announced()
        options = OverlayOptions(joins=run.some_places(3), read_only=True)
        async with open_overlay(options) as observer:
            await observer.wait_settled(30)
            run.kill_a_third()
            await run.fetch_everything()
            run.stop_a_third()
            await run.look_up(observer)
    finally:
        await kill_all(run.programs)
    return run.result


class _Run:
    def __init__(self, number: int, seed: int, directory: Path, tell: Tell) -> None:
        self._number = number
        self._directory = directory
        self._tell = tell
        self._rng = Random(f"{seed} trackerless")
        self._pool = Pool(directory / "pool", seed)
        self._files = [File(f"shelf {at % 5}/file {at}.bin", (1 + at * 37 % 400) * KB) for at in range(number)]
        self.programs: list[Program] = []
        self._ports: list[int] = []
        self.result = Trackerless(number)

    async def start(self) -> None:
        """Start all nodes, each joining through any that is there."""
        await self._start_some(1)
        while len(self._ports) < self._number:
            await self._start_some(min(_WAVE, self._number - len(self._ports)))
        self._tell(
            f"{self._number} nodes share {len(self._files)} files, each at {_COPIES} of them; there is no tracker"
        )

    async def _start_some(self, number: int) -> None:
        new = []
        for at in range(len(self.programs), len(self.programs) + number):
            shared = self._directory / f"node{at}"
            self._pool.lay_out(shared, [self._files[(at + step) % self._number] for step in range(_COPIES)])
            place = f"127.0.0.1:{self._rng.choice(self._ports)}" if self._ports else ""
            words = ["share", str(shared), "--json", "--overlay", *(["--join", place] if place else [])]
            program = await start_program(f"node {at}", words, self._directory)
            self.programs.append(program)
            new.append(program)
        for program in new:
            (listening, *_) = await program.wait_for("listening")
            await program.wait_for("sharing")
            self._ports.append(int(str(listening["address"]).rpartition(":")[2]))

    async def wait_until_announced(self) -> None:
        """Wait until other nodes keep all that each announces."""
        begun = trio.current_time()
        waiting = set(self._ports)
        taken: dict[int, str] = {}
        with trio.move_on_after(_ANNOUNCED_WITHIN):
            while waiting:
                for port in sorted(waiting):
                    status = await ask_status(TcpNetwork(), "127.0.0.1", port, DEFAULT)
                    taken[port] = f"{status.published_taken} of {status.published}, {status.neighbours} neighbours"
                    if status.published_taken == status.published == 2 * _COPIES + 1:
                        waiting.discard(port)
                await trio.sleep(_LOOK_EVERY)
        self.result.announced = trio.current_time() - begun
        await trio.sleep(_GROWN_SECONDS)
        if waiting:
            behind = "; ".join(taken[port] for port in sorted(waiting))
            self.result.faults.append(f"{len(waiting)} nodes have not announced everything: {behind}")
        self._tell(f"everything is announced after {self.result.announced:.1f} s")

    def some_places(self, number: int) -> list[tuple[str, int]]:
        """Where nodes are that live to the end."""
        return [("127.0.0.1", port) for port in self._rng.sample(self._ports[2::3], number)]

    def _third(self, first: int) -> list[Program]:
        """Every third node. Who is left behind the last whole three stays: the ring's first ones are his neighbours."""
        return self.programs[first : self._number - self._number % 3 : 3]

    def kill_a_third(self) -> None:
        """Kill every third node."""
        killed = self._third(0)
        for program in killed:
            program.kill()
        self._tell(f"{len(killed)} nodes are killed")

    def stop_a_third(self) -> None:
        """Stop another third: they are there, and say nothing."""
        stopped = self._third(1)
        for program in stopped:
            os.kill(program.pid, signal.SIGSTOP)
        self._tell(f"{len(stopped)} more are stopped")

    async def fetch_everything(self) -> None:
        """Fetch every file, by its name, in a process that has just begun."""
        target = self._directory / "fetched"
        target.mkdir()
        (place,) = self.some_places(1)
        words = ["get", *(file.path for file in self._files), "-o", f"{target}/", "--join", f"127.0.0.1:{place[1]}"]
        begun = trio.current_time()
        fetch = await start_program("fetch", words, self._directory)
        self.programs.append(fetch)
        with trio.move_on_after(_FETCHED_WITHIN):
            code = await fetch.wait()
            if code:
                self.result.faults.append(f"the fetch ended with {code}: {' '.join(fetch.last_words())}")
        self.programs.remove(fetch)
        await kill_all([fetch])
        self.result.fetched = trio.current_time() - begun
        missing = [file for file in self._files if not self._pool.is_same(target / file.path, file)]
        self.result.faults += [f"{file.path} has not arrived" for file in missing]
        self._tell(
            f"{len(self._files) - len(missing)} of {len(self._files)} files arrive in {self.result.fetched:.1f} s"
        )

    async def look_up(self, observer: Overlay) -> None:
        """Look every name up, one after the other, while two thirds of the nodes are silent."""
        for file in self._files:
            begun = trio.current_time()
            first: float | None = None
            async with observer.open_search(name_key(DEFAULT_NETWORK, file.raw)) as found:
                async for _ in found:
                    first = trio.current_time() - begun if first is None else first
            if first is None:
                self.result.faults.append(f"{file.path} is not found")
            else:
                self.result.first.append(first)
            self.result.whole.append(trio.current_time() - begun)
        first_median, whole_median = self.result.medians
        self._tell(
            f"{len(self.result.first)} of {len(self._files)} names are found: first result after {first_median:.2f} s, "
            f"complete after {whole_median:.2f} s, at the median; at most {max(self.result.first, default=0.0):.2f} s "
            f"and {max(self.result.whole, default=0.0):.2f} s"
        )
        if first_median > 1 or whole_median > 2:
            self.result.faults.append("lookups take longer than 1 s to the first result, or 2 s in all, at the median")
