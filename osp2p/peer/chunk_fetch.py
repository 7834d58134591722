"""Fetching one content in OSP2P/2: proved chunks from all holders at a time.

Trust: the content id comes from the tracker or from the user's link. It proves the chunk list, the list proves each
chunk, and only a proved chunk is written. A holder whose chunk or list fails is dropped and named.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import trio

from osp2p.content.chunks import HASH_LENGTH, ChunkMap, chunk_hash, chunk_size, content_id
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    ConnectionLost,
    NetworkError,
    NobodyHasIt,
    Osp2pError,
    RemoteProtocolError,
    Stalled,
    StoreError,
    TransferError,
)
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.groups import one_error
from osp2p.peer.chunk_client import ChunkClient, Content, HolderState, NotHere, open_holder
from osp2p.peer.chunk_picker import Assignment, ChunkPicker, bits_of
from osp2p.peer.events import Report, Source, SourceFailed, TransferProgress
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry


class Store(Protocol):
    """Where proved chunks are kept."""

    @property
    def chunks(self) -> ChunkMap:
        """Which are there."""

    @property
    def hashes(self) -> bytes | None:
        """The proved chunk list, if it is known."""

    def set_hashes(self, hashes: bytes) -> None:
        """Take the proved chunk list. Raises: StoreError."""

    def put(self, index: int, data: memoryview) -> None:
        """Keep a proved chunk. Raises: DiskFull, StoreError."""


class ChunkFetch:
    """One content, from all who hold it or a part of it.

    Args:
        content: its name, size and content id.
        holders: those that speak OSP2P/2.
        store: what is there already is not fetched.
        own: addresses of this node, never asked.
        refresh: asks the trackers for holders of this content again.
        gained: called when a chunk was put into the store.
        report: takes `SourceFailed` and `TransferProgress`.
    """

    def __init__(
        self,
        content: Content,
        holders: Iterable[PeerEntry],
        store: Store,
        *,
        network: Network,
        limits: Limits,
        rng: random.Random,
        own: Callable[[], set[Address]],
        refresh: Callable[[], Awaitable[Iterable[PeerEntry]]],
        gained: Callable[[], None],
        report: Report,
    ) -> None:
        self._content = content
        self._store = store
        self._network = network
        self._limits = limits
        self._own = own
        self._refresh = refresh
        self._gained = gained
        self._report = report
        each = chunk_size(content.size)
        self._picker = ChunkPicker(content.count, each, store.chunks.ranges(), limits, rng)
        self._resumed = self._done = self._bytes_here()
        self._waiting: deque[PeerEntry] = deque()
        self._seen: set[Address] = set()
        self._running = 0
        self._delivering: set[Address] = set()
        self._changed = trio.Event()
        self._failures: list[Osp2pError] = []
        self._fatal: StoreError | None = None
        self._last_progress = trio.current_time()
        self._next_report = 0.0
        #: What each holder gave, by address: for the result.
        self.sources: dict[Address, Source] = {}
        self._add(holders)

    @property
    def fetched(self) -> int:
        """Bytes that came over the network, useless ones included."""
        return sum(source.fetched for source in self.sources.values())

    def _bytes_here(self) -> int:
        each, size = chunk_size(self._content.size), self._content.size
        return sum(min((last + 1) * each, size) - first * each for first, last in self._store.chunks.ranges())

    def _add(self, holders: Iterable[PeerEntry]) -> None:
        """Put holders that are not known yet at the back of those to be asked."""
        own = self._own()
        for entry in holders:
            if entry.address not in self._seen and entry.address not in own:
                self._seen.add(entry.address)
                self._waiting.append(entry)

    def _wake(self) -> None:
        """Something has changed for everybody who waits."""
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Fetch until every chunk is in the store.

        Raises:
            NobodyHasIt, ChecksumMismatch, Stalled, ConnectFailed: no holder gives what is missing.
            StoreError: the disk.

        Cancellation: what was proved is in the store.
        """
        give_up_at = float("inf")
        verdict: Osp2pError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_looking)
            while not self._picker.complete and self._fatal is None:
                while self._waiting and self._running < self._limits.max_chunk_sources:
                    self._running += 1
                    nursery.start_soon(self._use, self._waiting.popleft())
                now = trio.current_time()
                give_up_at = float("inf") if self._running else min(give_up_at, now + self._limits.retry_window)
                stalled_at = self._last_progress + self._limits.stall_timeout
                if now >= min(give_up_at, stalled_at):
                    verdict = self._verdict()
                    break
                with trio.move_on_at(min(give_up_at, stalled_at)):
                    await self._changed.wait()
            nursery.cancel_scope.cancel()
        verdict = self._fatal or verdict
        if verdict is not None:
            raise verdict
        self._tell(float("inf"))

    async def _keep_looking(self) -> None:
        """Ask the trackers for further holders, often at first: fetchers of one file tend to begin together."""
        pause = self._limits.first_refresh
        while True:
            with trio.move_on_after(pause):
                while self._running:
                    await self._changed.wait()
                await trio.sleep(self._limits.retry_pause)
            self._add(await self._refresh())
            self._wake()
            pause = min(2 * pause, self._limits.last_refresh)

    def _verdict(self) -> Osp2pError:
        """The error that stands for all that went wrong."""
        tried = f"{len(self.sources)} holder{'s' if len(self.sources) != 1 else ''} tried"
        last = f"; the last word: {self._failures[-1]}" if self._failures else ""
        kinds = [type(failure) for failure in self._failures]
        if self._running or self._done > self._resumed:
            return Stalled(f"{tried}, none gives more{last}")
        if any(issubclass(kind, ChecksumMismatch) for kind in kinds):
            return ChecksumMismatch(tried + last)
        if kinds and all(issubclass(kind, ConnectFailed) for kind in kinds):
            return ConnectFailed(tried + last)
        if any(issubclass(kind, Stalled | NetworkError) for kind in kinds):
            return Stalled(tried + last)
        return NobodyHasIt(f"{tried}, none of them serves it" if kinds else "nobody has it")

    # --- one holder ---

    async def _use(self, entry: PeerEntry) -> None:
        """Fetch from one holder for as long as it has something; note what came of it."""
        self._count(entry, 0)
        key = entry.address
        self._picker.add_holder(key)
        error: Osp2pError | None = None
        try:
            async with open_holder(self._network, key, self._content, self._limits) as client:
                await self._talk(client, entry)
        except StoreError as failure:
            self._fatal = failure
        except (NetworkError, RemoteProtocolError, TransferError) as failure:
            error = failure
        finally:
            self._picker.remove_holder(key)
            self._delivering.discard(key)
            self._running -= 1
        if error is not None and not self._picker.complete:
            self._failures.append(error)
            self._count(entry, 0, str(error))
            self._report(SourceFailed(self._content.name, entry.alias, key, str(error)))
            if isinstance(error, ConnectionLost | Stalled) or (isinstance(error, NotHere) and error.code == 303):
                self._seen.discard(key)  # may be asked again, should a tracker still name it
        self._wake()

    async def _talk(self, client: ChunkClient, entry: PeerEntry) -> None:
        """Learn what a holder has, and ask it for chunks."""
        needs_list = self._store.hashes is None and self._content.count > 1
        await client.send([client.stat(), client.chunks()] if needs_list else [client.stat()])
        state = await client.read_stat()
        if needs_list:
            self._take_list(await client.read_chunks())
        self._note_state(entry.address, state)
        with one_error():
            await self._ask_and_watch(client, entry, state)

    async def _ask_and_watch(self, client: ChunkClient, entry: PeerEntry, state: HolderState) -> None:
        async with trio.open_nursery() as nursery:
            if state.ranges is not None:
                nursery.start_soon(self._watch, entry, state.serial)
            await self._ask(client, entry)
            nursery.cancel_scope.cancel()

    def _take_list(self, hashes: bytes) -> None:
        """Take a chunk list if it proves to be the right one.

        Raises:
            ChecksumMismatch.
        """
        if content_id(self._content.size, hashes) != self._content.b3:
            raise ChecksumMismatch("sent a chunk list that is not this content's")
        if self._store.hashes is None:
            self._store.set_hashes(hashes)

    def _note_state(self, key: Address, state: HolderState) -> None:
        if state.ranges is None:
            self._picker.set_all(key)
        else:
            self._picker.gain(key, state.ranges)
        self._wake()

    async def _watch(self, entry: PeerEntry, serial: int) -> None:
        """Follow what a partial holder gains, on a connection of its own, until it has all."""
        wait = self._limits.max_held_stat / 2
        try:
            async with open_holder(self._network, entry.address, self._content, self._limits) as client:
                while True:
                    await client.send([client.stat(serial, wait)])
                    state = await client.read_stat(wait + self._limits.reply_timeout)
                    self._note_state(entry.address, state)
                    if state.ranges is None:
                        return
                    serial = state.serial
        except (NetworkError, RemoteProtocolError):
            return  # what it has given so far stands, and its other connection tells when it is gone

    async def _ask(self, client: ChunkClient, entry: PeerEntry) -> None:
        """Keep requests on their way to a holder, and take what it answers."""
        key = entry.address
        ahead: deque[Assignment] = deque()
        while not self._picker.complete:
            lines = []
            while len(ahead) < self._limits.requests_ahead:
                assignment = self._picker.assign(key, trio.current_time())
                if assignment is None:
                    break
                ahead.append(assignment)
                lines.append(
                    client.get_any(assignment.any)
                    if assignment.any
                    else client.get_run(assignment.first, assignment.last)
                )
            if lines:
                await client.send(lines)
            if not ahead:
                self._delivering.discard(key)
                with trio.move_on_at(
                    max(self._picker.next_take_over(), trio.current_time() + self._limits.idle_recheck)
                ):
                    await self._changed.wait()
                continue
            self._delivering.add(key)
            await self._take_answer(client, entry, ahead.popleft())

    async def _take_answer(self, client: ChunkClient, entry: PeerEntry, asked: Assignment) -> None:
        """Read the answer to one request."""
        key = entry.address
        started = trio.current_time()
        before = self.sources[key].fetched

        def take(index: int, data: memoryview) -> None:
            self._take_chunk(entry, index, data)

        def gained(ranges: list[tuple[int, int]]) -> None:
            self._picker.gain(key, ranges)
            self._wake()

        try:
            if asked.any:
                try:
                    await client.read_any(asked.any, take, gained)
                finally:
                    self._picker.answered_any(key)
            else:
                await client.read_data(asked.first, asked.last, take, gained)
        except NotHere as refusal:
            self._picker.give_back(key, asked.first, asked.last)
            await self._bear(refusal, key, asked)
            return
        seconds = max(trio.current_time() - started, 1e-6)
        self._picker.measured(key, (self.sources[key].fetched - before) / seconds)

    async def _bear(self, refusal: NotHere, key: Address, asked: Assignment) -> None:
        """Go on after a refusal, where that makes sense.

        Raises:
            NotHere: it does not.
        """
        if refusal.code == 302:
            self._picker.lose(key, asked.any or bits_of([(asked.first, asked.last)]))
        elif refusal.code == 303:
            await trio.sleep(refusal.retry)
        else:
            raise refusal

    def _take_chunk(self, entry: PeerEntry, index: int, data: memoryview) -> None:
        """Prove a chunk and keep it.

        Raises:
            ChecksumMismatch: it is not what the list says.
            StoreError: the disk.
        """
        self._count(entry, len(data))
        if not self._proved(index, chunk_hash(data)):
            raise ChecksumMismatch(f"sent a wrong chunk {index}")
        if not self._picker.arrived(entry.address, index):
            return
        self._store.put(index, data)
        self._done += len(data)
        self._last_progress = now = trio.current_time()
        self._gained()
        if self._picker.complete:
            self._wake()
        self._tell(now)

    def _proved(self, index: int, digest: bytes) -> bool:
        hashes = self._store.hashes
        if hashes is None:  # a single chunk needs no list: the content id proves it
            if content_id(self._content.size, digest) != self._content.b3:
                return False
            self._store.set_hashes(digest)
            return True
        return hashes[index * HASH_LENGTH : (index + 1) * HASH_LENGTH] == digest

    def _tell(self, now: float) -> None:
        if now >= self._next_report:
            self._next_report = now + self._limits.progress_interval
            name, size = self._content.name, self._content.size
            self._report(TransferProgress(name, self._done, size, len(self._delivering), self._resumed))

    def _count(self, entry: PeerEntry, count: int, error: str | None = None) -> None:
        before = self.sources.get(entry.address)
        total = count + (before.fetched if before else 0)
        error = error or (before.error if before else None)
        self.sources[entry.address] = Source(entry.alias, entry.address, total, error)
