"""Many files at a time: whom to ask, which way each file goes, and when the disk has them all."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import trio

from osp2p.content.chunks import MIN_CHUNK
from osp2p.content.digest import which_stand
from osp2p.content.publish import sync_filesystem
from osp2p.content.small_store import SmallStore
from osp2p.errors import MalformedLine, Osp2pError, OverlayError, TrackerError
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.errors import disk_errors
from osp2p.peer.claims import holders_of_content, needs_md5
from osp2p.peer.event_stream import EventStream
from osp2p.peer.events import Event, TransferDone, TransferFailed
from osp2p.peer.small_fetch import SmallFetch, SmallFile
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.peer.transfer import GetOptions, Transfer
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry, parse_b3, parse_number

#: How many names the trackers are asked about in one go.
_FACTS_PAGE = 500


#: Of how many files of a page the trackers are asked who has them, before the others are taken to be there too.
_SAMPLE = 8

Item = TypeVar("Item")

Job = tuple[Wanted, TrackerFacts]

#: Files that one holder is asked for.
Share = tuple[PeerEntry, list[SmallFile]]


class ManyFetch:
    """Files that are fetched side by side, `Limits.max_parallel_files` at a time.

    Args:
        facts: asks the trackers about files.
        transfer: makes the transfer of one file.
        seed: shares a file that has arrived.
        events: gets what happens; ended at the end.
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
        events: EventStream[Event],
    ) -> None:
        self._options = options
        self._network = network
        self._limits = limits
        self._rng = rng
        self._facts = facts
        self._transfer = transfer
        self._seed = seed
        self._events = events
        self._store = SmallStore(limits, options.beneath)
        most = options.max_size if options.max_size is not None else limits.max_size
        self._most = MIN_CHUNK if most is None else most
        self._refused: dict[bytes, set[Address]] = {}
        #: Holders that could not be reached, or did something wrong. They are asked in no further lane.
        self._failed: set[Address] = set()
        self._places = trio.CapacityLimiter(limits.max_lanes)
        self._lane_ended = trio.Event()

    async def run(self, wanted: Sequence[Wanted]) -> None:
        """Ask the trackers page by page, and let lanes and a few workers fetch what they name.

        Many files wait for the disk together, at the end: once for each file system, not once for each file.

        Raises:
            TrackerError, OverlayError: nobody answered at the beginning. Who goes later ends only what was not asked.
            StoreError: the disk did not take what has arrived.
        """
        together = self._options.sync and len(wanted) > 1
        self._options = replace(self._options, sync=self._options.sync and not together)
        jobs_in, jobs_out = trio.open_memory_channel[Job](0)
        with closing(self._events), closing(self._store):
            async with trio.open_nursery() as workers:
                for _ in range(min(max(1, self._limits.max_parallel_files), len(wanted))):
                    workers.start_soon(self._work, jobs_out.clone())
                jobs_out.close()
                async with jobs_in:
                    await self._hand_out(wanted, jobs_in)
            if together:
                for place in self._store.places.values():
                    with disk_errors(f"cannot write {place}"):
                        await sync_filesystem(place)

    async def _hand_out(self, wanted: Sequence[Wanted], jobs: trio.MemorySendChannel[Job]) -> None:
        """Give small files to lanes, one for each holder, and the others to the workers.

        What the lanes do not fetch at first gets a second chance with other holders, and then goes to the workers.

        Raises:
            TrackerError, OverlayError.
        """
        left = await self._hand_out_once(wanted, jobs, sampled=True)
        left = [file for page in _pages(left) for file in await self._report_standing(page)]
        again = await self._hand_out_once([file.wanted for file in left], jobs, sampled=False)
        for file in again:
            assert file.facts is not None
            await jobs.send((file.wanted, file.facts))

    async def _hand_out_once(
        self, wanted: Sequence[Wanted], jobs: trio.MemorySendChannel[Job], *, sampled: bool
    ) -> list[SmallFile]:
        """Ask page by page what there is, and hand it out; wait for the lanes.

        Args:
            sampled: whether small files that were listed are taken to be where some of them are.

        Returns: the small files that did not arrive.
        """
        left: list[SmallFile] = []
        lanes: dict[Address, trio.MemorySendChannel[Sequence[SmallFile]]] = {}
        running: list[SmallFetch] = []
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, page in enumerate(_pages(wanted)):
                try:
                    small, others = await self._find(page, sampled=sampled)
                except (TrackerError, OverlayError) as error:
                    if number == 0 and sampled:
                        raise
                    for one in page:
                        self._events.put(TransferFailed(one.name, error))
                    continue
                for holder, files in small:
                    if holder.address not in lanes:
                        lanes[holder.address], receive = trio.open_memory_channel[Sequence[SmallFile]](float("inf"))
                        running.append(self._open_lane(holder, left))
                        nursery.start_soon(self._run_lane, running[-1], receive)
                    lanes[holder.address].send_nowait(files)
                for job in others:
                    await jobs.send(job)
            for channel in lanes.values():
                channel.close()
            await self._end_slow(running, began)
        return left

    async def _report_standing(self, files: Sequence[SmallFile]) -> list[SmallFile]:
        """Report those of some files that the lanes have left which stand at their targets already: mostly, all.

        One by one, each would take a thread, and a question to the trackers.

        Returns: the others.
        """
        began = trio.current_time()
        standing = await which_stand([(file.wanted.target, file.size, file.b3) for file in files])
        for file, stands in zip(files, standing, strict=True):
            if stands:
                seconds = trio.current_time() - began
                name, target = file.wanted.name, file.wanted.target
                await self._settle(TransferDone(name, target, file.size, 0, 0, "b3", seconds, already=True))
        return [file for file, stands in zip(files, standing, strict=True) if not stands]

    async def _run_lane(self, lane: SmallFetch, files: trio.MemoryReceiveChannel[Sequence[SmallFile]]) -> None:
        await lane.run(files)
        self._lane_ended.set()

    async def _end_slow(self, lanes: Sequence[SmallFetch], began: float) -> None:
        """Wait for the lanes. Once one is through, those that would need as long again are left, for others to do it.

        Args:
            began: when the first of them did.
        """
        while running := [lane for lane in lanes if not lane.ended]:
            now = trio.current_time()
            if any(lane.ended and not lane.failed for lane in lanes):
                for lane in running:
                    if lane.due_in(now) > max(self._limits.idle_holder, now - began):
                        lane.give_up()
            self._lane_ended = trio.Event()
            with trio.move_on_after(self._limits.hedge_after):
                await self._lane_ended.wait()

    def _open_lane(self, holder: PeerEntry, left: list[SmallFile]) -> SmallFetch:
        def leave(file: SmallFile) -> None:
            self._refused.setdefault(file.wanted.name, set()).add(holder.address)
            left.append(file)

        return SmallFetch(
            holder,
            network=self._network,
            limits=self._limits,
            store=self._store,
            places=self._places,
            leave=leave,
            fail=lambda: self._failed.add(holder.address),
            arrived=self._note_arrival,
            report=self._events.put,
        )

    async def _find(self, page: Sequence[Wanted], *, sampled: bool) -> tuple[list[Share], list[Job]]:
        """Find out who has the files of a page.

        Returns: the small ones, each with one of its holders, and the others.

        Raises:
            TrackerError, OverlayError.
        """
        listed = [file for one in page if (file := self._listed_file(one)) is not None] if sampled else []
        if len(listed) > _SAMPLE:
            sample = self._rng.sample(listed, _SAMPLE)
            facts = await self._facts([file.wanted for file in sample])
            holders = self._usable(_common_holders(sample, facts))
            if holders:
                theirs = {file.wanted.name for file in listed}
                rest = [one for one in page if one.name not in theirs]
                shares = self._share_out((file._replace(holders=len(holders)), holders) for file in listed)
                more, others = self._sort_out(rest, await self._facts(rest)) if rest else ([], [])
                return [*shares, *more], others
        return self._sort_out(page, await self._facts(page))

    def _listed_file(self, one: Wanted) -> SmallFile | None:
        """A wanted file as it was listed, if that tells all that a lane needs."""
        if one.listed is None or one.b3 is not None or self._options.sync:
            return None
        try:
            size = parse_number(one.listed.attributes.get(b"size", b""), MIN_CHUNK, "size")
            b3 = parse_b3(one.listed.attributes.get(b"b3", b""))
        except MalformedLine:
            return None
        return SmallFile(one, size, b3, 0, None) if self._is_small(size) else None

    def _is_small(self, size: int) -> bool:
        return 0 < size <= min(MIN_CHUNK, self._most) and self._limits.max_lanes > 0

    def _sort_out(self, page: Sequence[Wanted], facts: Sequence[TrackerFacts]) -> tuple[list[Share], list[Job]]:
        """Of files that were asked for: the small ones, each with one of its holders, and the others."""
        small: list[tuple[SmallFile, list[PeerEntry]]] = []
        others: list[Job] = []
        for one, fact in zip(page, facts, strict=True):
            refused = self._refused.get(one.name, set())
            holders = [entry for entry in self._usable(_whole_holders(fact)) if entry.address not in refused]
            if (
                fact.b3 is None
                or fact.size is None
                or not self._is_small(fact.size)
                or self._options.sync
                or needs_md5(fact)
                or not holders
                or len(fact.contents) > 1
            ):
                others.append((one, fact))
            else:
                small.append((SmallFile(one, fact.size, fact.b3, len(fact.holders), fact), holders))
        return self._share_out(small), others

    def _usable(self, holders: Iterable[PeerEntry]) -> list[PeerEntry]:
        """Those of some holders that have not failed yet."""
        return [entry for entry in holders if entry.address not in self._failed]

    def _share_out(self, files: Iterable[tuple[SmallFile, list[PeerEntry]]]) -> list[Share]:
        """Give each file to one of its holders."""
        shares: dict[Address, Share] = {}
        for file, holders in files:
            holder = self._rng.choice(holders)
            shares.setdefault(holder.address, (holder, []))[1].append(file)
        return list(shares.values())

    async def _note_arrival(self, name: bytes, path: Path) -> None:
        """Do what is to be done with a file that is on the disk."""
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
                    self._events.put(transfer.failed(error))
                    continue
                await self._settle(done)

    async def _settle(self, done: TransferDone) -> None:
        """Report a file that is here, and remember what has to be written to which disk."""
        with suppress(OSError):  # somebody has taken it away, or what is above it: it has arrived all the same
            self._store.places.setdefault(os.stat(done.path).st_dev, done.path.parent)
        await self._note_arrival(done.name, done.path)
        self._events.put(done)


def _pages(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _FACTS_PAGE):
        yield items[start : start + _FACTS_PAGE]


def _whole_holders(facts: TrackerFacts) -> list[PeerEntry]:
    """The holders that speak OSP2P/2 and claim to have all of the content."""
    return [entry for entry in holders_of_content(facts) if entry.attributes.get(b"part") != b"yes"]


def _common_holders(files: Sequence[SmallFile], facts: Sequence[TrackerFacts]) -> list[PeerEntry]:
    """Who has all of some files, if each file is what it was listed as, and all are in the same hands."""
    hands = [
        {entry.address: entry for entry in _whole_holders(fact)} if fact.b3 == file.b3 else {}
        for file, fact in zip(files, facts, strict=True)
    ]
    return list(hands[0].values()) if all(hand.keys() == hands[0].keys() for hand in hands) else []
