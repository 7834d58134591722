"""Worlds whose victim fetches: from several holders of whom one is evil, or all that an evil tracker lists."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from osp2p.content.name import local_path
from osp2p.errors import Osp2pError, UnsafeName
from osp2p.evil import Attack, Attacked, Fact, Truth, run_evil_peer, run_evil_tracker
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.net.memory_link import Link
from osp2p.peer.events import Event, SourceFailed, TransferDone, TransferFailed
from osp2p.peer.node import Node, open_node
from osp2p.peer.transfer import GetOptions
from osp2p.peer.wanted import Wanted
from osp2p.wire.entry import FileEntry
from tests.evil.honest import FEWER_BYTES, FILES, old_holder, our_tracker, sharer
from tests.evil.worlds import BOUNDS, EVERYWHERE, EVIL_RATE, LIMITS, PEER_PORT, RATE, SEED, TRACKER, TRACKER_PORT


@dataclass
class Outcome:
    """How a downloader stood an attack.

    Attributes:
        met: each connection of it that was attacked.
        errors: what became of files that did not arrive, by name.
        done: what became of the others.
        wrong: complaints about what lies on its disk, or was said of others.
        seconds: from the first question to the last file.
        hung: whether it had not ended long after the time that the attack gives it.
    """

    attack: Attack
    met: list[Attacked] = field(default_factory=list)
    errors: dict[bytes, Osp2pError] = field(default_factory=dict)
    done: dict[bytes, TransferDone] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    hung: bool = False

    @property
    def why(self) -> str:
        """What an unsound downloader did, or ""."""
        if self.wrong:
            return "; ".join(self.wrong)
        if self.hung or self.seconds > self.attack.within:
            return f"took {self.seconds:.1f} s"
        unsound = next((event.why for event in self.met if event.ended == "unsound"), "")
        if unsound:
            return unsound
        if self.attack.expect != "refused" and self.errors:
            return f"did not get {next(iter(self.errors))!r}: {next(iter(self.errors.values()))}"
        if not self.met and self.attack.role != "registrant":
            return "was not attacked"
        return ""


#: Where honest holders are.
HONEST = ("10.0.1.1", "10.0.3.1")

#: What is done where the honest holder speaks no OSP2P/2, though the evil one does.
WITH_OLD_HOLDER = frozenset({"sybils/poison-b3", "chunks/base-lies"})

#: How often a downloader tries until it meets the attacker: holders are asked in random order.
_TRIES = 3


async def attack_downloader(attack: Attack, root: Path, limits: Limits = LIMITS) -> Outcome:
    """Fetch files with a node of ours, of which one holder, or the tracker, is evil, and others are honest."""
    if attack.role == "tracker":
        return await _lure(attack, root, limits)
    network = MemoryNetwork(TRACKER)
    outcome = Outcome(attack)
    files = FILES if attack.sybils == 1 else FEWER_BYTES
    evil = network.host("10.0.6.1", link=Link(EVIL_RATE, EVIL_RATE, 0.0005))
    async with trio.open_nursery() as nursery:
        await nursery.start(_open, our_tracker(network, replace(limits, max_connections_per_host=5000)))
        if attack.role == "old holder" or attack.id in WITH_OLD_HOLDER:
            await nursery.start(_open, old_holder(network, 1, files))
        else:
            await nursery.start(_open, sharer(network, limits, files))
        await nursery.start(
            partial(
                run_evil_peer, TRACKER, TRACKER_PORT, attack.id, seed=SEED, network=evil, bounds=BOUNDS,
                allowed=EVERYWHERE, limits=LIMITS, known=files, report=outcome.met.append, look_every=30.0,
            )
        )  # fmt: skip
        for number in range(_TRIES):
            if number and (outcome.met or attack.role == "registrant"):
                break
            target = root / f"fetched{number}"
            async with _downloader(network, root, limits, TRACKER, number) as node:
                await _fetch(node, map(FileEntry, files), target, outcome)
            _look_at(target, root, files, outcome)
        nursery.cancel_scope.cancel()
    return outcome


async def _open(manager: Any, task_status: trio.TaskStatus[None]) -> None:
    """Keep something open as a task of a nursery."""
    async with manager:
        task_status.started()
        await trio.sleep_forever()


@asynccontextmanager
async def _downloader(
    network: MemoryNetwork, root: Path, limits: Limits, tracker: str, number: int = 0
) -> AsyncIterator[Node]:
    here = network.host(f"10.0.2.{1 + number}", link=Link(RATE, RATE, 0.001))
    async with open_node(
        trackers=[f"{tracker}:{TRACKER_PORT}"],
        network=here,
        limits=limits,
        cache=root / f"cache{number}",
        rng=random.Random(number),
    ) as node:
        yield node


async def _fetch(node: Node, entries: Iterable[FileEntry], target: Path, outcome: Outcome) -> None:
    """Fetch files side by side; note what becomes of them."""
    target.mkdir()
    began = trio.current_time()
    wanted = []
    for entry in entries:
        with suppress(UnsafeName):
            wanted.append(Wanted(entry.name, local_path(target, entry.name, LIMITS), listed=entry))
    events: list[Event] = []
    with trio.move_on_after(2 * outcome.attack.within + 30) as scope:
        try:
            async with node.open_get(wanted, GetOptions(sync=False, beneath=target)) as coming:
                events += [event async for event in coming]
        except Osp2pError as error:
            outcome.errors |= {one.name: error for one in wanted}
    outcome.done |= {event.name: event for event in events if isinstance(event, TransferDone)}
    outcome.errors |= {event.name: event.error for event in events if isinstance(event, TransferFailed)}
    outcome.seconds = max(outcome.seconds, trio.current_time() - began)
    outcome.hung = outcome.hung or scope.cancelled_caught
    if outcome.attack.role != "tracker":  # which can make an honest holder's answers look wrong
        left = [event for event in events if isinstance(event, SourceFailed) and event.address.host in HONEST]
        outcome.wrong += [f"blamed an honest holder: {event.reason}" for event in left]


def _look_at(target: Path, root: Path, files: dict[bytes, bytes], outcome: Outcome) -> None:
    """See what lies on a downloader's disk: right files under their names, and what it needs to go on, nothing else."""
    for path in target.rglob("*"):
        name = os.fsencode(path.relative_to(target)).removesuffix(b"~1~")
        if path.is_dir() or (path.name.startswith(".") and "osp2p" in path.name):
            continue
        if path.read_bytes() != files.get(name):
            outcome.wrong.append(f"kept {name!r} with wrong content")
    escaped = [path.name for path in root.rglob("*escaped*")]
    if escaped:
        outcome.wrong.append(f"wrote {escaped[0]} outside")


#: How often a node may connect to an evil tracker in half a minute and more: it asks, and it shares.
_COMES_BACK = 60


async def _lure(attack: Attack, root: Path, limits: Limits) -> Outcome:
    """Let a node fetch everything that an evil tracker lists, and share through it, too."""
    network = MemoryNetwork(TRACKER)
    outcome = Outcome(attack)
    holder = b"10.0.1.1:%d" % PEER_PORT
    truth = Truth({name: Fact.of(body, [holder]) for name, body in FILES.items()})
    evil = network.host("10.0.6.1", link=Link(RATE, RATE, 0.0005))
    async with trio.open_nursery() as nursery:
        await nursery.start(_open, sharer(network, limits, FILES, at_tracker=False))
        host, _ = await nursery.start(
            partial(
                run_evil_tracker, attack, truth, seed=SEED, network=evil, port=TRACKER_PORT, bounds=BOUNDS,
                allowed=EVERYWHERE, limits=LIMITS, report=outcome.met.append,
            )
        )  # fmt: skip
        target = root / "fetched"
        began = trio.current_time()
        async with _downloader(network, root, limits, host) as node:
            nursery.start_soon(_share_something, node, root)
            listed: list[FileEntry] = []
            with trio.move_on_after(2 * attack.within + 30) as scope:
                try:
                    listed, _ = await node.find([b"**"])
                except Osp2pError as error:
                    outcome.errors[b"**"] = error
            outcome.hung = scope.cancelled_caught
            outcome.seconds = trio.current_time() - began
            entries = {name: FileEntry(name) for name in FILES} | {entry.name: entry for entry in listed[:400]}
            await _fetch(node, entries.values(), target, outcome)
            outcome.errors = {name: error for name, error in outcome.errors.items() if name in FILES}
            await trio.sleep(30)
            if len(outcome.met) > _COMES_BACK:
                outcome.wrong.append(f"comes back {len(outcome.met)} times")
        _look_at(target, root, FILES, outcome)
        nursery.cancel_scope.cancel()
    return outcome


async def _share_something(node: Node, root: Path) -> None:
    """Share a file of one's own, too: whatever the tracker makes of it."""
    path = root / "own"
    path.write_bytes(b"own")
    with suppress(Osp2pError):
        await node.share_file(b"own", path)
