"""The besiegers, a few processes at the lowest priority: ``python -m osp2p.lab.besiegers '{"against": …}'``.

Between them they run every attack of the catalogue, in an order that the seed gives, over and over, several at a time:

``tracker``, ``uploader``
    clients that go to the tracker, or to the members of the swarm in turn;
``downloader``
    holders that claim files which honest peers share, and registrants; whoever fetches meets them;
``lured``
    evil trackers, and for each an honest downloader that was told to use it and knows the links of what it wants.

An attack is ended after `seconds`, so that all of them have their turn. An ``attack`` is told at the end of each.
"""

from __future__ import annotations

import filecmp
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import Any

import trio

from osp2p.errors import Osp2pError
from osp2p.evil import (
    Attack,
    Attacked,
    Bounds,
    SocketNetwork,
    learn_truth,
    list_attacks,
    run_attack,
    run_evil_peer,
    run_evil_tracker,
)
from osp2p.lab.orders import read_orders, write_record
from osp2p.lab.process import kill_all, start_program
from osp2p.limits import MIB
from osp2p.net.groups import leaves
from osp2p.wire.link import Link
from osp2p.wire.word import unquote

#: How nice they are: they get what the besieged leave idle. Evil trackers have an honest downloader with them, and are
#: as nice as others.
NICENESS = 19

#: From where attacks come that need several addresses; none of them is an honest peer's.
_SOURCES = tuple(f"127.66.{number}.66" for number in range(1, 33))

#: What one attack may send, and what it may keep of other peers' files.
_BOUNDS = {"connection_bytes": 32 * MIB, "total_bytes": 256 * MIB, "connections": 1500, "content_bytes": 1}

#: How many of the files one evil holder claims.
_CLAIMED = 60

#: After an attack that could not even begin.
_PAUSE = 0.2


def main() -> None:
    """Besiege until there are no more orders."""
    plan = json.loads(sys.argv[1])
    os.nice(0 if plan["against"] == "lured" else NICENESS)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    trio.run(_besiege, plan)


async def _besiege(plan: Mapping[str, Any]) -> None:
    besieger = _Besieger(plan)
    work = {
        "tracker": besieger.attack_tracker,
        "uploader": besieger.attack_uploader,
        "downloader": besieger.be_evil_peer,
        "lured": besieger.be_evil_tracker,
    }[plan["against"]]
    turns = cycle(enumerate(besieger.attacks))
    async with trio.open_nursery() as nursery:
        for _ in range(plan["workers"]):
            nursery.start_soon(besieger.run, turns, work)
        write_record("ready", attacks=len(besieger.attacks))
        async for _ in read_orders():
            pass
        nursery.cancel_scope.cancel()


class _Besieger:
    """Runs attacks of one kind, one after the other."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._tracker: tuple[str, int] = (plan["tracker"][0], plan["tracker"][1])
        self._members = cycle([(host, port, _unquoted(names)) for host, port, names in plan["members"]])
        self._files = {unquote(name.encode()): Path(path) for name, path in plan["files"].items()}
        self._directory = Path(plan["directory"])
        self._links: dict[str, str] = plan.get("links", {})
        self._seconds = float(plan["seconds"])
        self._seed = int(plan["seed"])
        self._rng = Random(f"{self._seed} {plan['against']}")
        self._numbers = count(1)
        self._networks = [SocketNetwork(), *(SocketNetwork(source) for source in _SOURCES)]
        self._contents: dict[bytes, bytes] = {}
        self.attacks = choose(plan["against"])
        self._rng.shuffle(self.attacks)
        if plan["against"] == "downloader":
            self._contents = {name: path.read_bytes() for name, path in self._files.items()}

    @property
    def _bounds(self) -> Bounds:
        return Bounds(attack_seconds=self._seconds, connection_seconds=self._seconds, **_BOUNDS)

    async def run(
        self, turns: Iterator[tuple[int, Attack]], work: Callable[[Attack, int], Awaitable[dict[str, Any]]]
    ) -> None:
        """Attack, until cancelled. What does not succeed in attacking is told, too."""
        while True:
            _, attack = next(turns)
            number = next(self._numbers)
            begun = trio.current_time()
            try:
                told = await work(attack, number)
            except (Osp2pError, BaseExceptionGroup) as error:
                told = {"error": "; ".join(f"{type(one).__name__}: {one}" for one in leaves(error))}
                if any(not isinstance(one, Osp2pError) for one in leaves(error)):
                    raise
                await trio.sleep(_PAUSE)
            write_record("attack", id=attack.id, seconds=trio.current_time() - begun, **told)

    def _some_names(self) -> list[bytes]:
        names = sorted(self._files)
        return self._rng.sample(names, min(_CLAIMED, len(names)))

    async def attack_tracker(self, attack: Attack, number: int) -> dict[str, Any]:
        """Go to the tracker."""
        verdict = await run_attack(attack, self._networks, self._tracker, seed=self._seed + number, bounds=self._bounds)
        return {"passed": verdict.passed, "why": verdict.why, "sent": verdict.sent}

    async def attack_uploader(self, attack: Attack, number: int) -> dict[str, Any]:
        """Go to the next member of the swarm, knowing a name that it shares."""
        host, port, names = next(self._members)
        name = self._rng.choice(names)
        verdict = await run_attack(
            attack, self._networks, (host, port), seed=self._seed + number, name=name, bounds=self._bounds
        )
        return {"passed": verdict.passed, "why": verdict.why, "sent": verdict.sent}

    async def be_evil_peer(self, attack: Attack, number: int) -> dict[str, Any]:
        """Claim files for a while."""
        victims: list[Attacked] = []
        with trio.move_on_after(self._seconds):
            await run_evil_peer(
                *self._tracker,
                attack.id,
                self._some_names(),
                seed=self._seed + number,
                network=SocketNetwork(None, None),
                alias=b"evil%d" % number,
                bounds=self._bounds,
                known=self._contents,
                report=victims.append,
            )
        return {"sent": sum(one.sent for one in victims), "victims": len(victims)}

    async def be_evil_tracker(self, attack: Attack, number: int) -> dict[str, Any]:
        """Be a tracker, and let a downloader fetch a few links there. Nothing wrong may arrive."""
        truth = await learn_truth(*self._tracker)
        victims: list[Attacked] = []
        target = self._directory / f"lured{number}"
        target.mkdir(parents=True)
        async with trio.open_nursery() as nursery:
            start = partial(
                run_evil_tracker,
                attack,
                truth,
                seed=self._seed + number,
                bounds=self._bounds,
                report=victims.append,
            )
            host, port = await nursery.start(start)
            names = self._rng.sample(sorted(self._links), min(3, len(self._links)))
            links = [Link(host, port, unquote(name.encode()), bytes.fromhex(self._links[name])) for name in names]
            words = ["get", "--json", "-o", f"{target}/", "--", *map(str, links)]
            program = await start_program(f"lured{number}", words, self._directory)
            try:
                with trio.move_on_after(self._seconds):
                    await program.wait()
            finally:
                await kill_all([program])
            nursery.cancel_scope.cancel()
        arrived = [path for path in target.rglob("*") if path.is_file() and not path.name.startswith(".")]
        wrong = [str(path.relative_to(target)) for path in arrived if not self._is_right(path, target)]
        said = program.last_words()
        fault = any("Traceback" in line or "OSP2P_DEBUG" in line for line in said)
        return {"passed": not wrong and not fault, "why": f"{wrong} {said if fault else ''}", "victims": len(victims)}

    def _is_right(self, path: Path, target: Path) -> bool:
        true = self._files.get(os.fsencode(path.relative_to(target)))
        return true is not None and filecmp.cmp(path, true, shallow=False)


def _unquoted(names: Sequence[str]) -> list[bytes]:
    return [unquote(name.encode()) for name in names]


def choose(against: str) -> list[Attack]:
    """The attacks of one kind of besieger."""
    attacks: Sequence[Attack] = list_attacks()
    if against == "lured":
        return [one for one in attacks if one.role == "tracker"]
    if against == "downloader":
        return [one for one in attacks if one.role in ("holder", "old holder", "registrant")]
    return [one for one in attacks if one.role == "client" and one.against == against]


if __name__ == "__main__":
    main()
