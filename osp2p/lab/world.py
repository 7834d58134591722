"""A running world: everybody of a table, built step by step, and what they did."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from osp2p.errors import Osp2pError
from osp2p.evil import Attacked, Bounds, run_evil_peer
from osp2p.lab.files import Pool
from osp2p.lab.holder import run_holder
from osp2p.lab.process import Program, ProgramEnded, kill_all, start_program, start_tracker
from osp2p.lab.table import MB, Attack, File, Get, Hold, Row, Scenario, Share, Track
from osp2p.limits import DEFAULT, MIB
from osp2p.net import LineConnection, TcpNetwork
from osp2p.wire.address import Address
from osp2p.wire.reply import Reply
from osp2p.wire.request import write_request

Tell = Callable[[str], None]
"""Takes a line of text for people."""

#: Evil on a shared machine: enough to be endless for any file of a scenario, not for its disk.
BOUNDS = Bounds(connection_bytes=32 * MIB, connection_seconds=60, total_bytes=4096 * MIB)

_LOOK_EVERY = 0.05


class WorldFailed(Exception):
    """The world could not be built. Its text says by whose fault."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a fetch ended.

    Attributes:
        exit_code: of the process.
        seconds: of the whole process, its start included.
        directory: where the files should lie.
        records: by quoted name, the last ``done`` or ``failed`` record of each file.
    """

    exit_code: int
    seconds: float
    directory: Path
    records: dict[str, dict[str, object]]


@dataclass
class World:
    """What there is, and what happened.

    Attributes:
        tracker: where the tracker listens.
        fetched: by who.
        attacked: by who: each attack that was tried.
        logged_in: how many peers the tracker named at the end.
        exit_codes: of trackers and sharers, at the end, by who.
        died: who ended before the end.
        at_work: in whose row the current step waits.
    """

    scenario: Scenario
    seed: int
    directory: Path
    tell: Tell
    tracker: Address = field(init=False)
    fetched: dict[str, Fetched] = field(default_factory=dict)
    attacked: dict[str, list[Attacked]] = field(default_factory=dict)
    logged_in: int = 0
    exit_codes: dict[str, int] = field(default_factory=dict)
    died: list[str] = field(default_factory=list)
    at_work: set[str] = field(default_factory=set)
    programs: dict[str, Program] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the files' directory."""
        self.pool = Pool(self.directory / "pool", self.seed)


async def run_world(scenario: Scenario, seed: int, directory: Path, tell: Tell) -> World:
    """Build the world of a table, let it run, and end it.

    Args:
        scenario: the table.
        seed: of all contents and attacks.
        directory: an empty one, for everything.
        tell: takes what happens.

    Raises:
        WorldFailed: somebody could not begin, or time ran out.

    Cancellation: every process is killed.
    """
    world = World(scenario, seed, directory, tell)
    with trio.move_on_after(scenario.within) as scope:
        async with _open_nursery() as nursery:
            async with _end_programs(world):
                for step in scenario.steps:
                    async with trio.open_nursery() as rows:
                        for row in step:
                            rows.start_soon(_begin, world, row, nursery)
                world.logged_in = await _count_peers(world)
            nursery.cancel_scope.cancel()
    if scope.cancelled_caught:
        raise WorldFailed("\n".join(_describe_delay(world)))
    return world


def _describe_delay(world: World) -> Iterator[str]:
    """Whom a world waited for in vain, and what they said last."""
    late = sorted(world.at_work)
    whom = ", ".join(late) or "those who should leave"
    yield f"not done within {world.scenario.within:g} s: still waiting for {whom}"
    for who in late:
        if program := world.programs.get(who):
            records = [json.dumps(record) for record in program.records()[-3:]]
            yield from (f"{who}: | {line}" for line in [*records, *program.last_words()])


@asynccontextmanager
async def _open_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for all that is inside this process; what fails there fails the world with one sentence."""
    failed: WorldFailed | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except* (Osp2pError, WorldFailed, OSError) as group:
        failed = WorldFailed(str(_first(group)))
        failed.__cause__ = group
    if failed is not None:
        raise failed


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def _end_programs(world: World) -> AsyncIterator[None]:
    """At the end of the body all programs are told to leave; if it fails or is cancelled, they are killed."""
    try:
        yield
        for who, program in world.programs.items():
            if not program.runs:
                world.died.append(who)
        async with trio.open_nursery() as nursery:
            for who in world.programs:
                nursery.start_soon(_end_program, world, who)
    finally:
        await kill_all(world.programs.values())


async def _end_program(world: World, who: str) -> None:
    world.exit_codes[who] = await world.programs[who].leave()


async def _begin(world: World, row: Row, nursery: trio.Nursery) -> None:
    """Let somebody do what its row says; returns when the next step may begin."""
    world.at_work.add(row.who)
    match row.does:
        case Track():
            await _track(world, row.who, row.does)
        case Share():
            await _share(world, row.who, row.does)
        case Hold():
            await _hold(world, row.who, row.does, nursery)
        case Attack():
            await _attack(world, row.who, row.does, nursery)
        case Get():
            await _get(world, row.who, row.does)
    world.at_work.remove(row.who)


def _files(files: Sequence[File]) -> str:
    total = sum(file.size for file in files)
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    return f"{count} ({total / MB:.1f} MB)"


async def _track(world: World, who: str, action: Track) -> None:
    try:
        world.programs[who], world.tracker = await start_tracker(
            who, world.directory, ["--fakes"] if action.fakes else []
        )
    except ProgramEnded as error:
        raise WorldFailed(str(error)) from error
    fakes = ", which puts 250 fake peers into every answer" if action.fakes else ""
    world.tell(f"{who}: a tracker at {world.tracker}{fakes}")


async def _ask(tracker: Address, requests: Sequence[bytes]) -> list[Reply]:
    """Send requests on a connection of their own, behind HELLO. Returns: their replies."""
    connection = await TcpNetwork().connect(tracker.host, tracker.port)
    try:
        lines = LineConnection(connection, DEFAULT)
        at = trio.current_time() + DEFAULT.reply_timeout
        await lines.read_reply(at)
        await lines.send(b"HELLO OSP2P/2\n" + b"".join(requests), at)
        return [await lines.read_reply(at) for _ in range(len(requests) + 1)][1:]
    finally:
        connection.close()


async def _count_peers(world: World) -> int:
    (reply,) = await _ask(world.tracker, [b"WHO\n"])
    return len(reply.data)


def _check_runs(program: Program) -> None:
    if not program.runs:
        raise WorldFailed("\n".join([f"{program.who} has ended; its last words:", *program.last_words()]))


async def _share(world: World, who: str, action: Share) -> None:
    directory = world.directory / who
    await trio.to_thread.run_sync(world.pool.lay_out, directory, action.files)
    arguments: list[str | bytes] = ["share", str(directory), "-t", str(world.tracker), "--alias", who, "--json"]
    program = world.programs[who] = await start_program(who, arguments, world.directory)
    while not _has_registered(program, len(action.files)):
        _check_runs(program)
        await trio.sleep(_LOOK_EVERY)
    names = [file.raw for file in action.files]
    while names:
        replies = await _ask(world.tracker, [write_request(b"MD5SUM", name) for name in names])
        names = [name for name, reply in zip(names, replies, strict=True) if not reply.ok]
        _check_runs(program)
        await trio.sleep(_LOOK_EVERY if names else 0)
    world.tell(f"{who}: shares {_files(action.files)}")


def _has_registered(program: Program, total: int) -> bool:
    return any(
        record.get("event") == "registered" and record.get("registered") == total for record in program.records()
    )


def aliases(who: str, peers: int) -> list[str]:
    """What those are called who share one row: by its name alone, or with a number behind it."""
    return [who] if peers == 1 else [f"{who}{number}" for number in range(1, peers + 1)]


async def _hold(world: World, who: str, action: Hold, nursery: trio.Nursery) -> None:
    contents = {file.raw: world.pool.read(file) for file in action.files}
    for alias in aliases(who, action.peers):
        await nursery.start(run_holder, world.tracker, alias.encode(), contents, action.rate, DEFAULT)
    slow = f", at {action.rate / 1000:.0f} kB/s" if action.rate else ""
    kind = "a simple peer holds" if action.peers == 1 else f"{action.peers} simple peers hold"
    world.tell(f"{who}: {kind} {_files(action.files)}{slow}")


async def _attack(world: World, who: str, action: Attack, nursery: trio.Nursery) -> None:
    done = world.attacked[who] = []
    contents = {file.raw: world.pool.read(file) for file in action.files}
    for number, alias in enumerate(aliases(who, action.peers)):
        start = partial(
            run_evil_peer,
            world.tracker.host,
            world.tracker.port,
            action.mode,
            [file.raw for file in action.files],
            seed=world.seed + number,
            alias=alias.encode(),
            bounds=BOUNDS,
            known=contents,
            report=done.append,
        )
        await nursery.start(start)
    kind = "an evil peer" if action.peers == 1 else f"{action.peers} evil peers"
    world.tell(f"{who}: {kind} ({action.mode or 'all families'}) claim {_files(action.files)}")


async def _get(world: World, who: str, action: Get) -> None:
    directory = world.directory / who
    directory.mkdir()
    names = [file.raw for file in action.files]
    options: list[str | bytes] = ["get", "--json", "-t", str(world.tracker), "-o", str(directory), "--", *names]
    begun = trio.current_time()
    program = await start_program(who, options, world.directory)
    try:
        code = await program.wait()
    finally:
        await kill_all([program])
    seconds = trio.current_time() - begun
    final = {str(one.get("wire")): one for one in program.records() if one.get("event") in ("done", "failed")}
    world.fetched[who] = Fetched(code, seconds, directory, final)
    world.tell(f"{who}: has fetched {_files(action.files)} in {seconds:.1f} s, exit code {code}")
    if code:
        for line in program.last_words():
            world.tell(f"{who}: | {line}")
