"""Trackers that die: killed under load, started again after a while, and how soon everything is registered again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import trio

from osp2p.errors import NetworkError
from osp2p.lab.files import Pool
from osp2p.lab.process import Program, kill_all, start_program, start_tracker
from osp2p.lab.table import KB, MB, File
from osp2p.lab.world import Tell
from osp2p.limits import DEFAULT
from osp2p.net import LineConnection, TcpNetwork
from osp2p.wire.address import Address
from osp2p.wire.request import write_request

SHARERS = ("anna", "ben", "clara", "dora")
FILES = tuple(File(f"shared/{number}.bin", 1 * KB + number * 37) for number in range(200))
LARGE = File("large.bin", 8 * MB)

#: How long a tracker stays away: less and more than the longest pause between two attempts to reach it.
_AWAY_SECONDS = (0.1, 9.0)

#: A fetch that runs when the tracker dies takes about so many bytes a second.
_FETCH_RATE = "4MB"

_ASKERS = 4
_LOOK_EVERY = 0.02

#: Everything must be registered so many seconds after a tracker's return.
WITHIN = 5.0


@dataclass
class Restarts:
    """What a run gave.

    Attributes:
        seconds: from each return of the tracker until it knew everything again.
        answers: how many the load got.
        faults: what must not be: a fetch that did not survive, a tracker that took longer than `WITHIN`.
    """

    seconds: list[float] = field(default_factory=list)
    answers: int = 0
    faults: list[str] = field(default_factory=list)


async def run_restarts(times: int, seed: int, directory: Path, tell: Tell) -> Restarts:
    """Kill a tracker `times` times, while it is asked and a file is fetched, and start it again.

    Args:
        seed: of the files' contents, and of how long it is away.
        directory: an empty one, for everything.
        tell: takes what happens.

    Raises:
        ProgramEnded, Osp2pError: the world around it does not work.
    """
    pool = Pool(directory / "pool", seed)
    rng = Random(f"{seed} restarts")
    result = Restarts()
    tracker, address = await start_tracker("tracker", directory)
    programs = [tracker]
    try:
        for who in SHARERS:
            pool.lay_out(directory / who, (*FILES, LARGE))
            words = ["share", str(directory / who), "-t", str(address), "--alias", who, "--json"]
            programs.append(await start_program(who, words, directory))
        for program in programs[1:]:
            await program.wait_for("sharing")
        await _wait_until_known(address)
        async with trio.open_nursery() as nursery:
            for _ in range(_ASKERS):
                nursery.start_soon(_ask, address, result)
            for number in range(1, times + 1):
                fetch = await _begin_fetch(number, address, directory)
                programs.append(fetch)
                tracker.kill()
                await tracker.wait()
                away = rng.uniform(*_AWAY_SECONDS)
                await trio.sleep(away)
                programs.remove(tracker)
                tracker, _ = await start_tracker(f"tracker{number}", directory, port=address.port)
                programs.append(tracker)
                await _await_return(number, away, address, result, tell)
                await _end_fetch(fetch, number, pool, directory, result)
                programs.remove(fetch)
            nursery.cancel_scope.cancel()
    finally:
        await kill_all(programs)
    return result


async def _await_return(number: int, away: float, tracker: Address, result: Restarts, tell: Tell) -> None:
    back = trio.current_time()
    await _wait_until_known(tracker)
    seconds = trio.current_time() - back
    result.seconds.append(seconds)
    tell(f"tracker killed for {away:.1f} s, {number}: everything registered again {seconds:.2f} s after its return")
    if seconds > WITHIN:
        result.faults.append(f"restart {number}: {seconds:.1f} s until everything was registered again")


async def _wait_until_known(tracker: Address) -> None:
    """Wait until a tracker knows every file of every sharer, with its content."""
    wanted = b"PEERS %d" % len(SHARERS)
    names = [file.raw for file in (*FILES, LARGE)]
    connection = await TcpNetwork().connect(tracker.host, tracker.port)
    try:
        lines = LineConnection(connection, DEFAULT)
        at = trio.current_time() + 60
        await lines.read_reply(at)
        await lines.send(b"HELLO OSP2P/2\n", at)
        await lines.read_reply(at)
        while names:
            await lines.send(b"".join(write_request(b"STAT", name) for name in names), at)
            replies = [await lines.read_reply(at) for _ in names]
            names = [
                name
                for name, reply in zip(names, replies, strict=True)
                if wanted not in reply.data or not any(line.startswith(b"B3 ") for line in reply.data)
            ]
            await trio.sleep(_LOOK_EVERY if names else 0)
    finally:
        connection.close()


async def _ask(tracker: Address, result: Restarts) -> None:
    """Ask a tracker without a pause, whenever it is there; runs until cancelled."""
    requests: Sequence[bytes] = [write_request(b"WANT", file.raw) for file in FILES[:20]] + [b"LIST\n", b"WHO\n"]
    while True:
        try:
            connection = await TcpNetwork().connect(tracker.host, tracker.port)
            try:
                lines = LineConnection(connection, DEFAULT)
                await lines.read_reply(trio.current_time() + DEFAULT.reply_timeout)
                for number in count():
                    at = trio.current_time() + DEFAULT.reply_timeout
                    await lines.send(requests[number % len(requests)], at)
                    await lines.read_reply(at)
                    result.answers += 1
            finally:
                connection.close()
        except NetworkError:
            await trio.sleep(_LOOK_EVERY)


async def _begin_fetch(number: int, tracker: Address, directory: Path) -> Program:
    """Start a fetch that will still run when the tracker is gone. Returns when its bytes come."""
    target = directory / f"fetched{number}.bin"
    options = ["get", "--json", "-t", str(tracker), "-o", str(target), "--limit-down", _FETCH_RATE]
    program = await start_program(f"get{number}", [*options, "--", LARGE.raw], directory)
    await program.wait_for("started")
    return program


async def _end_fetch(program: Program, number: int, pool: Pool, directory: Path, result: Restarts) -> None:
    with trio.move_on_after(60):
        code = await program.wait()
        if code or not pool.is_same(directory / f"fetched{number}.bin", LARGE):
            result.faults.append(f"fetch {number} did not survive its tracker: {code}, {program.last_words()}")
        return
    await kill_all([program])
    result.faults.append(f"fetch {number} did not end")
