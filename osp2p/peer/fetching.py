"""The part of a node that fetches files, and shares what has arrived."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from osp2p.errors import ListenFailed, Osp2pError, TrackerError
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.groups import one_error
from osp2p.peer.event_stream import EventStream
from osp2p.peer.events import Event, Remark, Report, TransferDone
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.many_fetch import ManyFetch
from osp2p.peer.offer import Offer
from osp2p.peer.probe import Prober
from osp2p.peer.questions import Questions
from osp2p.peer.sharing import Sharing
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.peer.transfer import GetOptions, Surroundings, Transfer
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address

_AS_USUAL = GetOptions()


def ignore(event: Event) -> None:
    """The report of a user who does not look."""


class Fetching:
    """One node's fetches.

    Args:
        nursery: ends with the node.
        network: for connections to holders, under the user's limits.
        questions: asks who has what.
        prober: finds out who speaks OSP2P/2 where no tracker knows.
        link: what the node's own link takes.
        sharing: offers what is being fetched.
        report: takes what happens to what has arrived.
        own: where the node listens.
        listen: opens the node's port.
        share_file: shares a file of any name, as `Node.share_file`.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        network: Network,
        questions: Questions,
        prober: Prober,
        link: LinkRate,
        sharing: Sharing,
        limits: Limits,
        rng: random.Random,
        report: Report,
        *,
        own: Callable[[], set[Address]],
        listen: Callable[[], Awaitable[Address]],
        share_file: Callable[[bytes, Path], Awaitable[None]],
    ) -> None:
        self._nursery = nursery
        self._network = network
        self._questions = questions
        self._prober = prober
        self._link = link
        self._sharing = sharing
        self._limits = limits
        self._rng = rng
        self._report = report
        self._own = own
        self._listen = listen
        self._share_file = share_file
        self._trackers_answer = True

    async def get(self, wanted: Wanted, options: GetOptions, report: Report) -> TransferDone:
        """Fetch one file. See `FetchingNode.get`."""
        (facts,) = await self._questions.facts([wanted])
        done = await self._transfer(wanted, facts, options, report).run()
        if options.seed:
            await self._seed(wanted.name, done.path)
        return done

    async def get_many(self, wanted: Sequence[Wanted], options: GetOptions, events: EventStream[Event]) -> None:
        """Fetch many files, and tell what happens; then end the events. See `FetchingNode.open_get`."""
        many = ManyFetch(
            options,
            network=self._network,
            limits=self._limits,
            rng=self._rng,
            facts=self._questions.facts,
            transfer=lambda one, facts, each: self._transfer(one, facts, each, events.put),
            seed=self._seed,
            events=events,
        )
        await many.run(wanted)

    def _transfer(self, wanted: Wanted, facts: TrackerFacts, options: GetOptions, report: Report) -> Transfer:
        around = Surroundings(
            network=self._network,
            limits=self._limits,
            rng=self._rng,
            facts=partial(self._questions.facts_again, wanted),
            holders=partial(self._questions.holders, wanted),
            contents=partial(self._questions.contents, wanted),
            prober=self._prober,
            own=self._own,
            link=self._link,
            fetching=self._offer_meanwhile,
            fetched=partial(self._sharing.fetched, self._nursery),
        )
        return Transfer(wanted.name, facts, wanted.target, options, around, report, b3=wanted.b3)

    # --- sharing it ---

    @contextmanager
    def _offer_meanwhile(self, offer: Offer) -> Iterator[None]:
        """Offer a large file to others while it is being fetched: a swarm that nobody asked for."""
        if offer.size < self._limits.swarm_from:
            yield
            return
        self._nursery.start_soon(self._listen_meanwhile)
        with self._sharing.fetching(offer):
            yield

    async def _listen_meanwhile(self) -> None:
        """Open the port for others; a node that cannot still fetches."""
        try:
            await self._listen()
        except (ListenFailed, TrackerError) as error:
            self._report(Remark(b"", f"what is fetched is not offered to others: {error}"))

    async def _seed(self, name: bytes, path: Path) -> None:
        """Share a file that has arrived; that it has does not depend on it, nor on trackers that are gone by now."""
        registered = trio.Event()
        self._nursery.start_soon(self._share_arrived, name, path, registered)
        if self._trackers_answer:
            with trio.move_on_after(self._limits.register_patience) as scope:
                await registered.wait()
            self._trackers_answer = not scope.cancelled_caught

    async def _share_arrived(self, name: bytes, path: Path, registered: trio.Event) -> None:
        try:
            await self._share_file(name, path)
        except Osp2pError as error:
            self._report(Remark(name, f"it arrived, and cannot be shared: {error}"))
        else:
            self._trackers_answer = True
        registered.set()


class FetchingNode:
    """A node's fetches, as its users see them. `Node` is one."""

    _fetching: Fetching

    async def get(
        self,
        name: bytes,
        target: Path,
        options: GetOptions = _AS_USUAL,
        report: Report = ignore,
        *,
        b3: bytes | None = None,
    ) -> TransferDone:
        """Fetch one file.

        Args:
            name: as the tracker lists it.
            target: the final path.
            report: takes what happens on the way.
            b3: the content id, where the user knows it from a link.

        Raises:
            TransferError, NetworkError: it did not arrive.
            TrackerError: no tracker answered.
            StoreError: the disk.

        Cancellation: nothing is under the final name.
        """
        return await self._fetching.get(Wanted(name, target, b3), options, report)

    @asynccontextmanager
    async def open_get(
        self, wanted: Sequence[Wanted], options: GetOptions = _AS_USUAL
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Fetch many files side by side, `Limits.max_parallel_files` at a time.

        Yields: an iterator of events, that ends after each file's `TransferDone` or `TransferFailed`. Leaving the
            block early cancels what still runs.

        Raises:
            TrackerError: no tracker answered at the beginning.
        """
        events = EventStream[Event]()
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fetching.get_many, wanted, options, events)
                yield events
                nursery.cancel_scope.cancel()
