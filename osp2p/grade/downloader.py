"""Grades a downloader: it is started in one world after the other, and judged by what it leaves on the disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from osp2p.errors import CommandFailed, NothingAsked
from osp2p.evil import Attacked, Bounds, Fact, Truth, run_evil_peer, run_evil_tracker
from osp2p.grade.attacks import entries_of
from osp2p.grade.holder import LooseTracker, run_holder
from osp2p.grade.leavings import SPARE_BYTES, Sandbox
from osp2p.grade.program import Program, open_program
from osp2p.grade.recording import RecordedNetwork, Recorder
from osp2p.grade.scenes import Report
from osp2p.grade.stage import EVIDENCE
from osp2p.grade.transcript import Entry
from osp2p.grade.verdict import Check, Grade, Judged, Selection, Wrong
from osp2p.grade.worlds import World, all_worlds
from osp2p.limits import DEFAULT
from osp2p.net import Network, TcpNetwork
from osp2p.net.groups import one_error
from osp2p.peer.node import open_node
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.address import Address

#: Worlds at a time: more than processors, as most of them wait for something.
_TOGETHER = 4

#: Memory that a downloader may take.
MAX_MEMORY = 256 * 1024 * 1024

#: How often a downloader is looked at.
_LOOK_EVERY = 0.1

#: How long a program that keeps running is left alone where it may have nothing to fetch.
_NOTHING_WITHIN = 15.0

#: How much one liar sends at most: more than a downloader may keep in memory.
_EVIL_BYTES = 300 * 1024 * 1024

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloaderTerms:
    """On what terms a downloader is graded.

    Attributes:
        command: starts it. ``{tracker}``, ``{host}``, ``{port}``, ``{dir}`` and ``{file}`` in its words are filled in,
            and a word ``{files}`` becomes one word for each file. With ``{file}`` it is run once for each file.
        seed: of all files, and of the attacks.
        selection: which checks are asked.
        within: seconds that it may take in one world.
        keeps_running: whether it serves on when it has fetched everything, and must be ended.
        thorough: whether each attack has a world of its own, and as much time as a sound program may need.
    """

    command: Sequence[str]
    seed: int = 1
    selection: Selection = field(default_factory=Selection)
    within: float = 60.0
    keeps_running: bool = False
    thorough: bool = False


def downloader_checks(*, thorough: bool = False) -> list[Check]:
    """The catalogue: the check of every world."""
    return [world.check for world in all_worlds(thorough=thorough)]


async def grade_downloader(terms: DownloaderTerms, report: Report) -> Grade:
    """Grade a downloader.

    Args:
        report: told of each verdict; may not raise.

    Raises:
        NothingAsked: the selection leaves no check.
        CommandFailed: there is no such program.

    Cancellation: all worlds and all processes are ended.
    """
    worlds = [world for world in all_worlds(thorough=terms.thorough) if terms.selection.takes(world.check)]
    if not worlds:
        raise NothingAsked("no check has an id that was asked for; --list shows all")
    begun = trio.current_time()
    judged: dict[Check, Judged] = {}
    places = trio.Semaphore(_TOGETHER)
    failed: list[CommandFailed] = []
    speaks: list[bool] = []

    def tell(one: Judged) -> None:
        judged[one.check] = one
        report(one)

    async def run(world: World) -> None:
        async with places:
            try:
                one, says_hello = await _run_world(world, terms)
            except CommandFailed as error:
                failed.append(error)
                nursery.cancel_scope.cancel()
                return
        speaks.append(says_hello)
        tell(one)

    usual = [world for world in worlds if world.check.category not in ("OSP2P/2", "speed")]
    speed = [world for world in worlds if world.check.category == "speed"]
    further = [world for world in worlds if world.check.category == "OSP2P/2"]
    for group in (usual, *([world] for world in speed), further):  # what is timed runs alone
        demanded = terms.selection.demands_osp2p2
        plain = [world for world in (*usual, *speed) if not world.evil and world.tracker is None]
        if group is further and plain and not any(speaks):
            for world in further:
                outcome = "failed" if demanded else "not offered"
                tell(Judged(world.check, outcome, "it does not speak OSP2P/2"))  # type: ignore[arg-type]
            continue
        async with trio.open_nursery() as nursery:
            for world in group:
                nursery.start_soon(run, world)
        if failed:
            raise failed[0]
    ordered = tuple(judged[world.check] for world in worlds)
    return Grade("downloader", " ".join(terms.command), terms.seed, trio.current_time() - begun, ordered)


class _Company:
    """Who is in a world besides the downloader, and what they saw of it.

    Attributes:
        said_hello: whether the downloader is known to speak OSP2P/2; where evil peers come and go, nobody can tell.
    """

    def __init__(self, world: World, contents: dict[bytes, bytes], seed: int, directory: Path) -> None:
        self._world = world
        self._contents = contents
        self._seed = seed
        self._directory = directory
        self._entries: list[Entry] = []
        self._met: list[Attacked] = []
        self._others = 0
        self.said_hello = False

    def _note(self, entry: Entry) -> None:
        if len(self._entries) < EVIDENCE and entry.connection > self._others:
            self._entries.append(entry)

    @property
    def evidence(self) -> tuple[Entry, ...]:
        """What the downloader said to the tracker, and then what liars said to it."""
        entries = list(self._entries)
        for number, met in enumerate(self._met, 1 + max((entry.connection for entry in entries), default=0)):
            if met.exchange is not None:
                part = entries_of(met.exchange, met.host)
                entries += [_renumbered(entry, number) for entry in part]
        return tuple(entries[:EVIDENCE])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Address]:
        """Let everybody in. Yields: the tracker that the downloader is told of."""
        plain = TcpNetwork()
        recorder = Recorder(self._hear)
        with one_error():
            async with trio.open_nursery() as nursery:
                tracker = await self._start_tracker(nursery, RecordedNetwork(plain, recorder))
                evil = list(enumerate(self._world.evil))
                before = (
                    len(evil) // 2 if self._world.loose else 0
                )  # it lists in this order, and nobody begins in the middle
                for number, mode in evil[:before]:
                    await self._start_evil(nursery, tracker, mode, number)
                await self._start_honest(nursery, plain, tracker)
                for number, mode in evil[before:]:
                    await self._start_evil(nursery, tracker, mode, number)
                self._others = recorder.connections
                yield await self._start_evil_tracker(nursery, tracker)
                nursery.cancel_scope.cancel()

    def _hear(self, entry: Entry) -> None:
        self._note(entry)
        alone = not self._world.evil and entry.connection > self._others
        if alone and entry.kind == "<" and entry.data[:5].upper() == b"HELLO":
            self.said_hello = True

    async def _start_tracker(self, nursery: trio.Nursery, network: Network) -> Address:
        if self._world.loose:
            address: Address = await nursery.start(LooseTracker().serve, network)
            return address
        options = TrackerOptions(local=True, fakes=self._world.fakes)
        serve = partial(serve_tracker, network=network, port=0, options=options, limits=DEFAULT, rng=Random(self._seed))
        addresses: list[Address] = await nursery.start(serve)
        return Address(_LOOPBACK, addresses[0].port)

    async def _start_honest(self, nursery: trio.Nursery, network: Network, tracker: Address) -> None:
        if self._world.honest == "old":
            run = partial(run_holder, network, tracker, b"honest", self._contents, self._world.manners)
            self._holder: Address = await nursery.start(run)
        elif self._world.honest == "new":
            await nursery.start(self._run_node, tracker)

    async def _run_node(self, tracker: Address, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        shared = self._directory / "shared"
        shared.mkdir()
        for name, content in self._contents.items():
            (shared / os.fsdecode(name)).write_bytes(content)
        cache = self._directory / "cache.sqlite"
        async with open_node(trackers=[str(tracker)], port=0, alias=b"honest", cache=cache) as node:
            await node.share(shared)
            task_status.started()
            await trio.sleep_forever()

    async def _start_evil(self, nursery: trio.Nursery, tracker: Address, mode: str, number: int) -> None:
        run = partial(
            run_evil_peer,
            tracker.host,
            tracker.port,
            mode,
            list(self._contents),
            seed=self._seed + number,
            alias=b"evil%d" % number,
            bounds=Bounds(connection_bytes=_EVIL_BYTES, total_bytes=_EVIL_BYTES),
            known=self._contents,
            report=self._met.append,
        )
        await nursery.start(run)

    async def _start_evil_tracker(self, nursery: trio.Nursery, tracker: Address) -> Address:
        if self._world.tracker is None:
            return tracker
        holders = [str(self._holder).encode()]
        truth = Truth({name: Fact.of(content, holders) for name, content in self._contents.items()})
        run = partial(run_evil_tracker, self._world.tracker, truth, seed=self._seed, report=self._met.append)
        host, port = await nursery.start(run)
        return Address(host, port)


def _renumbered(entry: Entry, connection: int) -> Entry:
    return Entry(entry.seconds, connection, entry.kind, entry.data, entry.address, entry.size, entry.sha256)


async def _run_world(world: World, terms: DownloaderTerms) -> tuple[Judged, bool]:
    """Run one world. Returns: the verdict, and whether the downloader said HELLO."""
    with tempfile.TemporaryDirectory(prefix="osp2p-grade-") as root:
        sandbox = Sandbox(Path(root, "downloader"))
        outside = os.fsencode(sandbox.outside)
        names = [content.name.replace(b"{outside}", outside) for content in world.files]
        contents = {name: file.make(terms.seed) for name, file in zip(names, world.files, strict=True)}
        due = {name: file.due for name, file in zip(names, world.files, strict=True)}
        company = _Company(world, contents, terms.seed, Path(root))
        begun = trio.current_time()
        runner = _Runner(world, terms, sandbox, contents)
        reason = ""
        async with company.open() as tracker:
            begun = trio.current_time()
            try:
                await runner.run(tracker)
                seconds = trio.current_time() - begun
                sandbox.check(contents, due)
                runner.check_speed(seconds)
            except Wrong as wrong:
                reason = str(wrong)
        seconds = trio.current_time() - begun
        outcome = "failed" if reason else "passed"
        figures = runner.figures(seconds)
        return Judged(world.check, outcome, reason, seconds, company.evidence, figures), company.said_hello  # type: ignore[arg-type]


class _Runner:
    """Runs the downloader in one world."""

    def __init__(self, world: World, terms: DownloaderTerms, sandbox: Sandbox, contents: dict[bytes, bytes]) -> None:
        self._world = world
        self._terms = terms
        self._sandbox = sandbox
        self._contents = contents
        self._peak = 0
        self._codes: list[int] = []
        self._words: list[str] = []
        self._within = world.within or terms.within

    def figures(self, seconds: float) -> dict[str, str]:
        """What was measured, and how the program ended."""
        found = {"memory": f"{self._peak / (1 << 20):.0f} MiB"}
        if self._codes:
            found["exit code"] = " ".join(map(str, self._codes))
        if self._world.speed is not None:
            found["rate"] = f"{self._total / seconds / 1e6:.1f} MB/s"
        if self._words:
            found["last words"] = self._words[-1].strip()
        return found

    @property
    def _total(self) -> int:
        return sum(map(len, self._contents.values()))

    def check_speed(self, seconds: float) -> None:
        """Judge the time. Raises: Wrong."""
        least = self._world.speed
        if least is not None and self._total / seconds < least:
            raise Wrong(f"it takes {seconds:.1f} s for {self._total} bytes, start and all")

    async def run(self, tracker: Address) -> None:
        """Run the command, once or for each file.

        Raises:
            Wrong: it does not end in time, or takes too much.
            CommandFailed: there is no such program.
        """
        names = list(self._contents)
        words = self._terms.command
        each = any("{file}" in word for word in words)
        latest = trio.current_time() + self._within
        for some in [[name] for name in names] if each else [names]:
            async with open_program(
                [filled for word in words for filled in self._fill(word, tracker, some)],
                self._sandbox.said,
                self._sandbox.environment,
            ) as program:
                try:
                    await self._watch(program, latest, {name: self._contents[name] for name in some})
                finally:
                    self._peak = max(self._peak, program.peak)
                    self._words = program.last_words(1) or self._words

    def _fill(self, word: str, tracker: Address, names: Sequence[bytes]) -> list[str]:
        if word == "{files}":
            return [os.fsdecode(name) for name in names]
        filled = word.replace("{tracker}", str(tracker)).replace("{host}", tracker.host)
        filled = filled.replace("{port}", str(tracker.port)).replace("{dir}", str(self._sandbox.directory))
        return [filled.replace("{file}", os.fsdecode(names[0]))]

    async def _watch(self, program: Program, latest: float, contents: dict[bytes, bytes]) -> None:
        """Look at the program until it ends.

        Raises:
            Wrong: it takes too much, or too long.
        """
        enough = SPARE_BYTES + 2 * self._total
        if self._terms.keeps_running and not all(file.due for file in self._world.files):
            latest = min(latest, trio.current_time() + _NOTHING_WITHIN)
        while program.code is None:
            with trio.move_on_after(_LOOK_EVERY):
                await program.wait()
                break
            if program.look() > MAX_MEMORY:
                raise Wrong(f"it takes more than {MAX_MEMORY >> 20} MiB of memory")
            if self._sandbox.size() > enough:
                raise Wrong(f"it has written more than {enough >> 20} MiB for {self._total} bytes")
            if self._terms.keeps_running and self._sandbox.has(contents):
                return
            if trio.current_time() > latest:
                if self._terms.keeps_running:
                    return
                raise Wrong(f"it has not ended after {self._within:g} s")
        if program.code is not None:
            self._codes.append(program.code)
            if program.code < 0:
                raise Wrong(f"it was ended by signal {-program.code}")
