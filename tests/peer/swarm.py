"""A swarm in virtual time: peers that fetch one content and serve on what they have, on links with rates and latency.

All stores share the one true content, in memory: what is proved is what stands there, so only who has which chunk is
kept for each peer. Proofs are real.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache

import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK, ChunkMap, chunk_hash, chunk_size, content_id
from osp2p.errors import Osp2pError, StoreError, TrackerError
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork, serve_connections
from osp2p.net.memory_link import Link
from osp2p.net.throttle import ThrottledNetwork
from osp2p.peer.chunk_client import Content
from osp2p.peer.chunk_fetch import ChunkFetch
from osp2p.peer.events import Event, SourceFailed, TransferProgress, Uploaded
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

#: 100 Mbit/s, in bytes per second.
RATE = 12_500_000.0

PORT = 11112

#: No threads: virtual time would run on while one works.
VIRTUAL = replace(Limits(), thread_batch=1 << 62)

#: Serves one connection of a peer that behaves in a way of its own.
Handler = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True)
class Truth:
    """A content: its bytes in an open file in memory, and what proves it."""

    content: Content
    hashes: bytes
    fd: int

    def chunk(self, index: int) -> bytes:
        each = chunk_size(self.content.size)
        return os.pread(self.fd, each, index * each)


@cache
def truth_of(size: int) -> Truth:
    """A content of so many bytes, all chunks of which differ."""
    fd = os.memfd_create("content")
    each = chunk_size(size)
    block = random.Random(size).randbytes(MIN_CHUNK)
    hashes = []
    for offset in range(0, size, each):
        body = (b"%012d" % offset + block)[: min(each, size - offset)]
        os.pwrite(fd, body, offset)
        hashes.append(chunk_hash(body))
    joined = b"".join(hashes)
    return Truth(Content(b"film", size, content_id(size, joined)), joined, fd)


class SharedStore:
    """Which chunks of the truth one peer has.

    Attributes:
        writes: each chunk that was written, in order.
        fails_after: how many chunks the disk takes; None: any number.
    """

    def __init__(self, truth: Truth, have: Iterable[int] = ()) -> None:
        self._truth = truth
        self.chunks = ChunkMap(truth.content.count)
        for index in have:
            self.chunks.add(index)
        self.hashes: bytes | None = None
        self.writes: list[int] = []
        self.fails_after: int | None = None

    def set_hashes(self, hashes: bytes) -> None:
        assert hashes == self._truth.hashes
        self.hashes = hashes

    def write_run(self, first: int, data: memoryview) -> None:
        if self.fails_after is not None and len(self.writes) >= self.fails_after:
            raise StoreError("the disk is gone")
        while data:
            chunk = self._truth.chunk(first)
            assert first not in self.chunks
            assert data[: len(chunk)] == chunk
            self.writes.append(first)
            first, data = first + 1, data[len(chunk) :]

    def mark_proved(self, first: int, last: int) -> None:
        for index in range(first, last + 1):
            assert index in self.writes
            assert self.chunks.add(index)


@dataclass(eq=False)
class Peer:
    """One host: what it has, whom it serves, what it fetches.

    Attributes:
        store: what it has of the content; None: all.
        fetches: whether it fetches what is missing.
        handler: what serves its connections, if not an upload server.
        delay: seconds after the beginning at which it comes.
        limit_up: bytes per second that its user allows; None: any number.
        limit_down: likewise.
        events: what it was told, and when.
        finished: when its fetch ended, and `error` how.
        scope: cancelled, it is gone.
    """

    swarm: Swarm
    number: int
    link: Link | None
    store: SharedStore | None
    fetches: bool
    handler: Handler | None
    delay: float
    limit_up: float | None = None
    limit_down: float | None = None
    fetch: ChunkFetch | None = None
    events: list[tuple[float, Event]] = field(default_factory=list)
    finished: float | None = None
    error: Osp2pError | None = None
    joined: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def __post_init__(self) -> None:
        truth = self.swarm.truth
        self.address = Address(f"10.0.{self.number // 200}.{self.number % 200 + 1}", PORT)
        host = self.swarm.network.host(self.address.host, link=self.link)
        self.network = ThrottledNetwork(host, self.limit_up, self.limit_down)
        self.offer = Offer(
            truth.content.name,
            truth.content.size,
            lambda: os.dup(truth.fd),
            b3=truth.content.b3,
            hashes=None if self.fetches else truth.hashes,
            chunks=self.store.chunks if self.store else None,
        )

    @property
    def entry(self) -> PeerEntry:
        """How the tracker lists it."""
        part = {b"part": b"yes"} if self.store is not None else {}
        return PeerEntry(b"p%d" % self.number, self.address, {b"v": b"2", **part})

    @property
    def uploaded(self) -> int:
        """Bytes of content that it has sent, as it says itself."""
        return sum(event.sent for _, event in self.events if isinstance(event, Uploaded))

    @property
    def progress(self) -> list[TransferProgress]:
        return [event for _, event in self.events if isinstance(event, TransferProgress)]

    @property
    def failed(self) -> dict[Address, str]:
        """Whom it left, and why."""
        return {event.address: event.reason for _, event in self.events if isinstance(event, SourceFailed)}

    # its shelf

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offer if name == self.offer.name else None

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return []

    def gain(self, *indexes: int) -> None:
        """Have more chunks."""
        assert self.store is not None
        for index in indexes:
            self.store.chunks.add(index)
        self.offer.notify()

    def _gained(self) -> None:
        assert self.store is not None
        self.offer.hashes = self.store.hashes
        self.offer.notify()

    def report(self, event: Event) -> None:
        self.events.append((trio.current_time() - self.swarm.began, event))

    async def run(self) -> None:
        """Serve; fetch what is missing; go on serving."""
        if self.delay:
            await self.swarm.barrier.wait()
            await trio.sleep(self.delay)
        listener = await self.network.listen(PORT)
        serve = self.handler or UploadServer(self, self.swarm.limits, self.report).serve

        async def server(connection: Connection) -> None:
            await serve(self.network.throttled(connection))

        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(serve_connections, listener, server, self.swarm.limits)
                    if self.fetches:
                        await self.swarm.barrier.wait()
                        holders = self.swarm.holders()
                        self.joined = True
                        await self._fetch(holders)
                    self.joined = True
        finally:
            self.joined = False
            listener.close()
            if self.fetches and self.finished is None:
                self._finish()

    async def _fetch(self, holders: Iterable[PeerEntry]) -> None:
        assert self.store is not None
        self.fetch = ChunkFetch(
            self.swarm.truth.content,
            holders,
            self.store,
            network=self.network,
            limits=self.swarm.limits,
            rng=random.Random(self.swarm.seed * 1000 + self.number),
            own=lambda: {self.address},
            refresh=self.swarm.refresh,
            gained=self._gained,
            report=self.report,
            link=LinkRate(self.limit_down, lambda: self.network.is_down_full),
        )
        try:
            await self.fetch.run()
        except Osp2pError as error:
            self.error = error
        self._finish()

    def _finish(self) -> None:
        self.finished = trio.current_time() - self.swarm.began
        self.swarm.note_finished()


class Swarm:
    """Peers, and a tracker that knows them.

    Args:
        size: of the content, in bytes.
        seed: of every choice, the scheduler's too.
        capacity: bytes that a connection holds.

    Attributes:
        strangers: holders that the tracker lists, though they are none of the peers.
        tracker_fails: whether the tracker is gone.
    """

    def __init__(self, size: int, limits: Limits = VIRTUAL, seed: int = 1, capacity: int = 131_072) -> None:
        self.truth = truth_of(size)
        self.limits = limits
        self.seed = seed
        self.network = MemoryNetwork("10.9.9.9", capacity=capacity)
        self.peers: list[Peer] = []
        self.strangers: list[PeerEntry] = []
        self.tracker_fails = False
        self.began = 0.0
        self.barrier = trio.Event()
        self.first_finished = trio.Event()
        self._finished = trio.Event()
        trio._core._run._r.seed(seed)

    def add(
        self,
        *,
        seed: bool = False,
        has: Iterable[int] | None = None,
        handler: Handler | None = None,
        up: float | None = None,
        down: float | None = None,
        latency: float = 0.0,
        delay: float = 0.0,
        limit_up: float | None = None,
        limit_down: float | None = None,
    ) -> Peer:
        """Put a peer on the network: one that fetches, unless it is said otherwise.

        Args:
            seed: it has everything.
            has: it has these chunks, and fetches nothing.
            handler: what serves its connections; what it has is then no matter.
            up: bytes per second, as `down`; without both and without latency, it has no link that could limit it.
            delay: seconds after the beginning at which it comes.
            limit_up: bytes per second that its user allows, as `limit_down`.
        """
        fetches = not seed and has is None and handler is None
        store = SharedStore(self.truth, has or ()) if fetches or has is not None else None
        link = Link(up, down, latency) if up or down or latency else None
        peer = Peer(self, len(self.peers), link, store, fetches, handler, delay, limit_up, limit_down)
        self.peers.append(peer)
        return peer

    def add_limited(self, count: int = 1, *, seed: bool = False) -> None:
        """Put peers on the network, each behind 100 Mbit/s in both directions."""
        for _ in range(count):
            self.add(seed=seed, up=RATE, down=RATE, latency=0.0005)

    def holders(self) -> list[PeerEntry]:
        """What the tracker lists, in an order of its own."""
        entries = [*self.strangers, *(peer.entry for peer in self.peers if peer.joined)]
        random.Random(self.seed).shuffle(entries)
        return entries

    async def refresh(self) -> list[PeerEntry]:
        await trio.lowlevel.checkpoint()
        if self.tracker_fails:
            raise TrackerError("the tracker is gone")
        return self.holders()

    @property
    def fetchers(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.fetches]

    def note_finished(self) -> None:
        self.first_finished.set()
        if all(peer.finished is not None for peer in self.fetchers):
            self._finished.set()

    async def run(self) -> float:
        """Let everybody fetch. Returns: when the last one was done, in seconds."""
        async with trio.open_nursery() as nursery:
            for peer in self.peers:
                nursery.start_soon(peer.run)
            await trio.testing.wait_all_tasks_blocked()
            self.began = trio.current_time()
            self.barrier.set()
            await self._finished.wait()
            nursery.cancel_scope.cancel()
        return max(peer.finished or 0.0 for peer in self.fetchers)
