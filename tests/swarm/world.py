"""A tracker and a swarm in one process and in virtual time: what happens follows from the seed alone, to the byte.

The tracker is ours, and so is all of a peer but its disk: its connection to the tracker, its uploads, its fetch, its
limits. Only liars speak by hand. What a peer has is kept as a set of chunks of one true content, in memory.

Trio's scheduler draws lots. Here it draws them from the seed, and before it does, the tasks that are ready are put into
the order in which they began; so it does not matter in which order something that is no sequence was gone through.
"""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import trio
import trio.testing
from trio._core import _run

from osp2p.errors import NetworkError, Osp2pError
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork, serve_connections
from osp2p.net.memory_link import Link
from osp2p.net.throttle import ThrottledNetwork
from osp2p.peer.announce import Announcement, Announcer
from osp2p.peer.chunk_fetch import ChunkFetch
from osp2p.peer.events import Event, SourceFailed
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.peer.trackers import Trackers
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from tests.peer.odd_holders import OddHolder
from tests.peer.swarm import PORT, SharedStore, truth_of
from tests.swarm.liars import twist_of
from tests.swarm.plan import Plan, Resident

TRACKER = Address("10.200.0.1", 11111)

#: No threads, which virtual time would not wait for. Fewer holders at a time than on a machine of one's own: all the
#: memory that a thousand peers take is one process's here.
LIMITS = replace(Limits(), thread_batch=1 << 62, max_chunk_sources=8, max_request=1 << 20)

#: After so many seconds it has failed.
_LONGEST = 600.0


@dataclass(frozen=True, slots=True)
class Blame:
    """A holder was left by a peer: when, by whom, who, and why."""

    at: float
    by: int
    of: int
    reason: str


class Log:
    """Everything that anybody was told, with the time. Its order is that of time, peer and serial number."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, int, int, str]] = []
        self.is_closed = False

    def note(self, number: int, text: str) -> None:
        """Note something that a peer was told."""
        if not self.is_closed:
            self._lines.append((trio.current_time(), number, len(self._lines), text))

    def __len__(self) -> int:
        return len(self._lines)

    def text(self) -> bytes:
        """All of it, a line each."""
        lines = sorted(self._lines)
        return "".join(f"{at!r} p{number} {text}\n" for at, number, _, text in lines).encode()

    def digest(self) -> str:
        """What stands for all of it."""
        return hashlib.blake2b(self.text(), digest_size=16).hexdigest()


class SwarmPeer:
    """One resident of a swarm.

    Attributes:
        store: which chunks it has; None: all.
        finished: when it had everything.
        error: how its fetch failed.
        fetched: bytes of chunks that came to it, useless ones included.
    """

    def __init__(self, world: SwarmWorld, resident: Resident) -> None:
        self.world = world
        self.resident = resident
        truth = world.truth
        number = resident.number
        self.address = Address(f"10.0.{number // 200}.{number % 200 + 1}", PORT)
        link = Link(resident.up, resident.down, resident.latency)
        self._host = world.network.host(self.address.host, link=link)
        self._network = ThrottledNetwork(self._host, resident.limit_up, resident.limit_down)
        self.store = SharedStore(truth) if resident.fetches else None
        self._offer = Offer(
            truth.content.name,
            truth.content.size,
            lambda: os.dup(truth.fd),
            b3=truth.content.b3,
            hashes=None if resident.fetches else truth.hashes,
            chunks=self.store.chunks if self.store is not None else None,
        )
        self.finished: float | None = None
        self.error: Osp2pError | None = None
        self.fetched = 0

    # its shelf

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self._offer if name == self._offer.name else None

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return []

    def report(self, event: Event) -> None:
        self.world.log.note(self.resident.number, str(event))
        if isinstance(event, SourceFailed):
            blamed = self.world.number_of(event.address)
            self.world.blames.append(Blame(trio.current_time(), self.resident.number, blamed, event.reason))

    # its life

    async def run(self) -> None:
        """Be there whenever the plan says so."""
        for comes, leaves in self.resident.stays:
            await trio.sleep_until(comes)
            self.world.log.note(self.resident.number, "comes")
            with trio.CancelScope(deadline=leaves):
                await self._stay()
            self.world.log.note(self.resident.number, "leaves")

    async def _stay(self) -> None:
        announcer = Announcer(
            self._host, TRACKER.host, TRACKER.port, b"p%d" % self.resident.number, PORT, LIMITS, self.report
        )
        listener = await self._host.listen(PORT)
        try:
            async with trio.open_nursery() as nursery:
                self._announce(announcer)
                nursery.start_soon(announcer.run)
                nursery.start_soon(serve_connections, listener, self._handler(), LIMITS)
                if self.store is not None and not self.store.chunks.complete:
                    await self._fetch()
                    self._announce(announcer)
        finally:
            listener.close()

    def _handler(self) -> Any:
        """What serves its connections."""
        if self.resident.lie is not None:
            rng = random.Random(f"liar {self.world.plan.seed} {self.resident.number}")
            return OddHolder(self.world.truth, twist_of(self.resident.lie, rng)).serve
        server = UploadServer(self, LIMITS, self.report)

        async def serve(connection: Connection) -> None:
            await server.serve(self._network.throttled(connection))

        return serve

    def _announce(self, announcer: Announcer) -> None:
        content = self.world.truth.content
        partial = self.store is not None and not self.store.chunks.complete
        announcer.offer([(content.name, Announcement(content.size, b3=content.b3, partial=partial))])

    async def _fetch(self) -> None:
        """Fetch what is missing, and tell when that was."""
        assert self.store is not None
        content = self.world.truth.content
        trackers = Trackers(self._host, [TRACKER[:2]], LIMITS)

        async def look() -> list[PeerEntry]:
            return await trackers.holders(content.name, content.b3)

        fetch = ChunkFetch(
            content,
            await look(),
            self.store,
            network=self._network,
            limits=LIMITS,
            rng=random.Random(f"peer {self.world.plan.seed} {self.resident.number}"),
            own=lambda: {self.address},
            refresh=look,
            gained=self._gained,
            report=self.report,
            link=LinkRate(self.resident.limit_down, lambda: self._network.is_down_full),
        )
        try:
            await fetch.run()
            self.finished = trio.current_time()
            self.world.log.note(self.resident.number, "has everything")
        except (Osp2pError, NetworkError) as error:
            self.error = error
            self.world.log.note(self.resident.number, f"has failed: {error}")
        finally:
            trackers.close()
            self.fetched += fetch.fetched
            self.world.look()

    def _gained(self) -> None:
        assert self.store is not None
        self._offer.hashes = self.store.hashes
        self._offer.notify()


class SwarmWorld:
    """A swarm. See `run_swarm`.

    Attributes:
        blames: whom anybody left, and why.
        took: when the last peer that stays had everything, in seconds.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.truth = truth_of(plan.size)
        self.network = MemoryNetwork(TRACKER.host)
        self.log = Log()
        self.blames: list[Blame] = []
        self.peers = [SwarmPeer(self, resident) for resident in plan.residents()]
        self._numbers = {peer.address: peer.resident.number for peer in self.peers}
        self._done = trio.Event()
        self.took = 0.0

    def number_of(self, address: Address) -> int:
        """Whose address it is."""
        return self._numbers[address]

    @property
    def staying(self) -> list[SwarmPeer]:
        """Who is to have everything in the end."""
        return [peer for peer in self.peers if peer.resident.is_to_finish]

    @property
    def false_blames(self) -> list[Blame]:
        """Honest peers who were left for a lie, or whom somebody left although they were there all the time."""
        residents = [peer.resident for peer in self.peers]
        return [
            blame
            for blame in self.blames
            if residents[blame.of].lie is None and residents[blame.of].stays[0][1] == float("inf")
        ]

    def look(self) -> None:
        """See whether everybody has everything."""
        if all(peer.finished is not None or peer.error is not None for peer in self.staying):
            self._done.set()

    async def run(self) -> None:
        """Let it happen."""
        options = TrackerOptions()
        rng = random.Random(f"tracker {self.plan.seed}")
        async with trio.open_nursery() as nursery:

            async def track(task_status: trio.TaskStatus[Any]) -> None:
                await serve_tracker(
                    network=self.network, port=TRACKER.port, options=options, limits=LIMITS, rng=rng,
                    task_status=task_status,
                )  # fmt: skip

            await nursery.start(track)
            for peer in self.peers:
                nursery.start_soon(peer.run)
            with trio.move_on_after(_LONGEST):
                await self._done.wait()
            self.took = trio.current_time()
            self.log.is_closed = True
            nursery.cancel_scope.cancel()


def run_swarm(plan: Plan) -> SwarmWorld:
    """Let a swarm happen, in a loop of its own."""

    async def run() -> SwarmWorld:
        world = SwarmWorld(plan)
        await world.run()
        return world

    before = _run._r.getstate()
    _run._r.seed(plan.seed)
    try:
        with patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
            return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        _run._r.setstate(before)
