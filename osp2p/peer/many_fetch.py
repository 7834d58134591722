"""Many files at a time: whom to ask, which way each file goes, and when the disk has them all."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from osp2p.content.publish import sync_filesystem
from osp2p.errors import Osp2pError, TrackerError
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.errors import disk_errors
from osp2p.peer.events import Event, TransferFailed
from osp2p.peer.small_fetch import SmallFetch, SmallFile, small_file, whole_holders
from osp2p.peer.tracker_client import TrackerFacts
from osp2p.peer.transfer import GetOptions, Transfer
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

#: How many names the trackers are asked about in one go.
_FACTS_PAGE = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: as the tracker lists it, raw bytes.
        target: the final path; its directories are made.
        b3: the content id, 32 bytes, where the user knows it from a link; None: what the trackers say.
    """

    name: bytes
    target: Path
    b3: bytes | None = None


Job = tuple[Wanted, TrackerFacts]


class ManyFetch:
    """Files that are fetched side by side, `Limits.max_parallel_files` at a time.

    Args:
        facts: asks the trackers about files.
        transfer: makes the transfer of one file.
        seed: shares a file that has arrived.
        events: gets what happens; closed at the end.
    """

    def __init__(
        self,
        options: GetOptions,
        *,
        network: Network,
        limits: Limits,
        rng: random.Random,
        facts: Callable[[Sequence[Wanted]], Awaitable[list[TrackerFacts]]],
        transfer: Callable[[Wanted, TrackerFacts, GetOptions], Transfer],
        seed: Callable[[bytes, Path], Awaitable[None]],
        events: trio.MemorySendChannel[Event],
    ) -> None:
        self._options = options
        self._network = network
        self._limits = limits
        self._rng = rng
        self._facts = facts
        self._transfer = transfer
        self._seed = seed
        self._events = events
        self._places: dict[int, Path] = {}

    async def run(self, wanted: Sequence[Wanted]) -> None:
        """Ask the trackers page by page, and let a few workers fetch what they name.

        Many files wait for the disk together, at the end: once for each file system, not once for each file.

        Raises:
            TrackerError: no tracker answered at the beginning. One that goes later ends only what it was not asked yet.
            StoreError: the disk did not take what has arrived.
        """
        together = self._options.sync and len(wanted) > 1
        self._options = replace(self._options, sync=self._options.sync and not together)
        jobs_in, jobs_out = trio.open_memory_channel[Job](0)
        with self._events:
            async with trio.open_nursery() as workers:
                for _ in range(min(self._limits.max_parallel_files, len(wanted))):
                    workers.start_soon(self._work, jobs_out.clone())
                jobs_out.close()
                async with jobs_in:
                    await self._hand_out(wanted, jobs_in)
            if together:
                for place in self._places.values():
                    with disk_errors(f"cannot write {place}"):
                        await sync_filesystem(place)

    async def _hand_out(self, wanted: Sequence[Wanted], jobs: trio.MemorySendChannel[Job]) -> None:
        """Ask page by page what there is; give small files of one holder to one lane, and the others to the workers."""
        lanes: dict[Address, trio.MemorySendChannel[Sequence[SmallFile]]] = {}

        async def leave(file: SmallFile) -> None:
            await jobs.send((Wanted(file.name, file.target, file.named), file.facts))

        async with trio.open_nursery() as nursery:
            for number, page in enumerate(_pages(wanted)):
                try:
                    facts = await self._facts(page)
                except TrackerError as error:
                    if number == 0:
                        raise
                    for one in page:
                        self._events.send_nowait(TransferFailed(one.name, error))
                    continue
                small, others = self._sort_out(page, facts)
                for holder, files in small:
                    if holder.address not in lanes:
                        lanes[holder.address], receive = trio.open_memory_channel[Sequence[SmallFile]](float("inf"))
                        lane = SmallFetch(
                            holder,
                            self._options,
                            network=self._network,
                            limits=self._limits,
                            leave=leave,
                            arrived=self._note_arrival,
                            report=self._events.send_nowait,
                        )
                        nursery.start_soon(lane.run, receive)
                    lanes[holder.address].send_nowait(files)
                for job in others:
                    await jobs.send(job)
            for channel in lanes.values():
                channel.close()

    def _sort_out(
        self, page: Sequence[Wanted], facts: Sequence[TrackerFacts]
    ) -> tuple[list[tuple[PeerEntry, list[SmallFile]]], list[Job]]:
        """Of files that were asked for: the small ones, each with one of its holders, and the others."""
        small: dict[Address, tuple[PeerEntry, list[SmallFile]]] = {}
        others: list[Job] = []
        for one, fact in zip(page, facts, strict=True):
            file = small_file(one.name, one.target, fact, named=one.b3)
            holders = whole_holders(fact) if file is not None else []
            if file is None or not holders:
                others.append((one, fact))
                continue
            holder = self._rng.choice(holders)
            small.setdefault(holder.address, (holder, []))[1].append(file)
        return list(small.values()), others

    async def _note_arrival(self, name: bytes, path: Path) -> None:
        """Do what is to be done with a file that is on the disk."""
        with disk_errors(f"cannot read {path}"):
            self._places.setdefault(os.stat(path).st_dev, path.parent)
        if self._options.seed:
            await self._seed(name, path)

    async def _work(self, jobs: trio.MemoryReceiveChannel[Job]) -> None:
        """Fetch one file after the other."""
        async with jobs:
            async for wanted, facts in jobs:
                transfer = self._transfer(wanted, facts, self._options)
                try:
                    done = await transfer.run()
                except Osp2pError as error:
                    self._events.send_nowait(TransferFailed(wanted.name, error, transfer.fetched, transfer.sources))
                    continue
                await self._note_arrival(wanted.name, done.path)
                self._events.send_nowait(done)


def _pages(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    for start in range(0, len(wanted), _FACTS_PAGE):
        yield wanted[start : start + _FACTS_PAGE]
