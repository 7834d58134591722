"""Trackers that die: killed under load, started again after a while, and how soon everything is registered again."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random

import trio

from osp2p.lab.asking import Asker
from osp2p.lab.files import Pool
from osp2p.lab.process import Program, kill_all, start_program, start_tracker
from osp2p.lab.table import KB, MB, File
from osp2p.lab.world import Tell
from osp2p.net import TcpNetwork
from osp2p.net.groups import one_error
from osp2p.wire.address import Address

SHARERS = ("anna", "ben", "clara", "dora")
FILES = tuple(File(f"shared/{number}.bin", 1 * KB + number * 37) for number in range(200))
LARGE = File("large.bin", 8 * MB)

#: How long a tracker stays away: less and more than the longest pause between two attempts to reach it.
_AWAY_SECONDS = (0.1, 9.0)

#: A fetch that runs when the tracker dies takes about so many bytes a second.
_FETCH_RATE = "4MB"

#: What a tracker must know: how many have each file.
_KNOWN = {file.raw: len(SHARERS) for file in (*FILES, LARGE)}

_ASKERS = 4

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
    result = Restarts()
    with one_error():
        await _restart(times, seed, directory, tell, result)
    return result


async def _restart(times: int, seed: int, directory: Path, tell: Tell, result: Restarts) -> None:
    pool = Pool(directory / "pool", seed)
    rng = Random(f"{seed} restarts")
    tracker, address = await start_tracker("tracker", directory)
    programs = [tracker]
    try:
        for who in SHARERS:
            pool.lay_out(directory / who, (*FILES, LARGE))
            words = ["share", str(directory / who), "-t", str(address), "--alias", who, "--json"]
            programs.append(await start_program(who, words, directory))
        for program in programs[1:]:
            await program.wait_for("sharing")
        asker = Asker(TcpNetwork(), address)
        await asker.wait_until_known(_KNOWN, _KNOWN)
        latencies: list[float] = []
        async with trio.open_nursery() as nursery:
            for _ in range(_ASKERS):
                nursery.start_soon(asker.ask_again_and_again, list(_KNOWN), latencies, 0.0)
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
                await _await_return(number, away, asker, result, tell)
                await _end_fetch(fetch, number, pool, directory, result)
                programs.remove(fetch)
            nursery.cancel_scope.cancel()
        result.answers = len([latency for latency in latencies if latency != inf])
    finally:
        await kill_all(programs)


async def _await_return(number: int, away: float, asker: Asker, result: Restarts, tell: Tell) -> None:
    back = trio.current_time()
    await asker.wait_until_known(_KNOWN, _KNOWN)
    seconds = trio.current_time() - back
    result.seconds.append(seconds)
    tell(f"tracker killed for {away:.1f} s, {number}: everything registered again {seconds:.2f} s after its return")
    if seconds > WITHIN:
        result.faults.append(f"restart {number}: {seconds:.1f} s until everything was registered again")


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
