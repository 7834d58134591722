"""What comes of one content: proved, put into the store, and counted. All who fetch from its holders share it.

Trust: the content id comes from the tracker or from the user's link. It proves the chunk list, the list proves each
chunk, and only a proved chunk counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import trio

from osp2p.content.chunks import HASH_LENGTH, ChunkMap, chunk_hash, chunk_size, content_id
from osp2p.errors import ChecksumMismatch, Osp2pError, RemoteProtocolError, StoreError
from osp2p.limits import Limits
from osp2p.peer.chunk_client import Content
from osp2p.peer.chunk_picker import ChunkPicker
from osp2p.peer.events import Report, Source, TransferProgress
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

#: How many batches of a file are written at a time. The kernel lets one write to a file at a time, and a second thread
#: spins for its turn: a twentieth of the fetch's processor time.
_THREADS = 1


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

    def write_run(self, first: int, data: memoryview) -> None:
        """Write proved chunks that are not there yet. May run in a worker thread. Raises: DiskFull, StoreError."""

    def mark_proved(self, first: int, last: int) -> None:
        """Count chunks that are proved and written. Raises: DiskFull, StoreError."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks that have come, to be proved.

    Attributes:
        key: who sent them.
        first: the first one's number.
        last: the last one's.
        data: all of them, in a row.
        wanted: those that are not here yet, nor in another hand, as a set.
    """

    key: Address
    first: int
    last: int
    data: memoryview
    wanted: int


class Intake:
    """The books of one fetch.

    Args:
        content: its name, size and content id.
        store: what is there already counts as resumed.
        rng: for the picker.
        gained: called when chunks, or the chunk list, were put into the store.
        report: takes `TransferProgress`.
    """

    def __init__(
        self,
        content: Content,
        store: Store,
        limits: Limits,
        rng: random.Random,
        gained: Callable[[], None],
        report: Report,
    ) -> None:
        self.content = content
        self.limits = limits
        self._store = store
        self._gained = gained
        self._report = report
        self._each = chunk_size(content.size)
        self.picker = ChunkPicker(content.count, self._each, store.chunks.ranges(), limits, rng)
        self._threads = trio.CapacityLimiter(_THREADS)
        self._waiting: dict[trio.Event, None] = {}
        self._next_report = 0.0
        self._entries: dict[Address, PeerEntry] = {}
        self._fetched: dict[Address, int] = {}
        self._errors: dict[Address, Osp2pError] = {}
        self.resumed = self.done = sum(self._length(first, last) for first, last in store.chunks.ranges())
        #: When bytes last came that may be of use.
        self.last_progress = trio.current_time()
        self._unproved = 0
        #: When the chunk list may be asked for, of one more holder.
        self.list_due = 0.0
        #: Whoever is about to deliver.
        self.delivering: set[Address] = set()
        #: When a holder first said that the content has another size than was announced.
        self.disputed_at = float("inf")
        #: What the disk said, if it failed: the end of the fetch.
        self.fatal: StoreError | None = None

    # --- waiting ---

    def wake(self) -> None:
        """Something has changed for everybody who waits."""
        waiting, self._waiting = self._waiting, {}
        for bell in waiting:
            bell.set()

    async def wait_changed(self, at: float = float("inf"), bell: trio.Event | None = None) -> None:
        """Wait for the next `wake`, or until the time `at`.

        Args:
            bell: a new event, with which this waiter alone can be woken.
        """
        bell = trio.Event() if bell is None else bell
        self._waiting[bell] = None
        try:
            with trio.move_on_at(at):
                await bell.wait()
        finally:
            self._waiting.pop(bell, None)

    # --- who gave what ---

    @property
    def sources(self) -> dict[Address, Source]:
        """Each holder that was tried."""
        return {
            key: Source(entry.alias, key, self._fetched[key], str(self._errors[key]) if key in self._errors else None)
            for key, entry in self._entries.items()
        }

    @property
    def fetched(self) -> int:
        """Bytes of chunks that came over the network, useless ones included."""
        return sum(self._fetched.values())

    @property
    def errors(self) -> list[Osp2pError]:
        """Why holders were left, the last time for each."""
        return list(self._errors.values())

    def begin(self, entry: PeerEntry) -> None:
        """A holder is tried."""
        self._entries[entry.address] = entry
        self._fetched.setdefault(entry.address, 0)

    def blame(self, key: Address, error: Osp2pError) -> bool:
        """Note why a holder was left. That it lied is never hidden by how it went. Returns: whether that is new."""
        before = self._errors.get(key)
        if isinstance(before, ChecksumMismatch):
            return False
        self._errors[key] = error
        return str(before) != str(error)

    def lied(self, key: Address) -> ChecksumMismatch | None:
        """What a holder sent that proved wrong."""
        error = self._errors.get(key)
        return error if isinstance(error, ChecksumMismatch) else None

    # --- the chunk list ---

    def dispute(self) -> None:
        """A holder says that the content has another size than was announced."""
        self.disputed_at = min(self.disputed_at, trio.current_time())
        self.wake()

    @property
    def is_size_proved(self) -> bool:
        """Whether the announced size is the content's: the chunk list proves it, and of one chunk the chunk itself."""
        return self._store.hashes is not None

    @property
    def needs_list(self) -> bool:
        """Whether the chunk list is wanted. The content id alone proves a single chunk."""
        return self._store.hashes is None and self.content.count > 1

    def take_list(self, hashes: bytes) -> None:
        """Take a chunk list if it proves to be the right one.

        Raises:
            ChecksumMismatch.
            StoreError: the disk.
        """
        known = self._store.hashes
        try:
            right = hashes == known if known is not None else content_id(self.content.size, hashes) == self.content.b3
        except RemoteProtocolError:  # not as many hashes as the content has chunks
            right = False
        if not right:
            raise ChecksumMismatch("sent a chunk list that is not this content's")
        if known is None:
            try:
                self._store.set_hashes(hashes)
            except StoreError as error:
                self._fail(error)
                raise
            self._gained()
            self.wake()

    # --- chunks ---

    def comes(self, count: int) -> None:
        """Bytes of a chunk have come, that is not whole yet. They are progress, unless nothing ever comes of them."""
        self._unproved += count
        if self._unproved <= 2 * self.limits.max_chunk_sources * self._each:
            self.last_progress = trio.current_time()
            self.tell()  # a chunk may take a slow holder half a minute, and silence looks otherwise

    def heard(self, key: Address, count: int) -> None:
        """Bytes of chunks came from a holder."""
        self._fetched[key] += count
        self.picker.heard(key, count, trio.current_time())

    def hold(self, key: Address, first: int, data: memoryview) -> Batch:
        """Take whole chunks into the hand, beginning with number `first`: `keep` or `keep_in_thread` must follow.

        Raises:
            ChecksumMismatch: the only chunk is wrong.
            StoreError: the disk.
        """
        if self._store.hashes is None:
            self.take_list(chunk_hash(data))  # the only chunk's hash is the list
        last = first + -(-len(data) // self._each) - 1
        return Batch(key, first, last, data, self.picker.hold(first, last))

    def keep(self, batch: Batch) -> None:
        """Prove chunks, and keep those that are wanted.

        Raises:
            ChecksumMismatch: one is wrong; those before it are kept.
            StoreError: the disk.
        """
        try:
            end = self._prove(batch)
            self._write(batch, end)
        except BaseException as error:
            self._let_go(batch.wanted, error)
            raise
        self._settle(batch, end)

    async def keep_in_thread(self, batch: Batch) -> None:
        """As `keep`, but written while other tasks go on. The batch's memory may not change meanwhile.

        Proving stays in this thread, where the bytes are still in the processor's cache: proving in the worker too
        took half as long again, as each chunk's hash made both threads wait for the interpreter's lock.

        Cancellation: is heeded when the thread is through, and its chunks count.
        """
        try:
            end = self._prove(batch)
            await trio.to_thread.run_sync(self._write, batch, end, limiter=self._threads)
        except BaseException as error:
            self._let_go(batch.wanted, error)
            raise
        self._settle(batch, end)

    def _prove(self, batch: Batch) -> int:
        """Prove chunks one after the other. Returns: the number of the first wrong one, or that behind the last."""
        hashes, each = self._store.hashes, self._each
        assert hashes is not None
        for index in range(batch.first, batch.last + 1):
            start = (index - batch.first) * each
            digest = chunk_hash(batch.data[start : start + each])
            if digest != hashes[index * HASH_LENGTH : (index + 1) * HASH_LENGTH]:
                return index
        return batch.last + 1

    def _write(self, batch: Batch, end: int) -> None:
        """Write the chunks before `end` that are wanted."""
        for first, last in _runs(batch.wanted, batch.first, end):
            start, stop = (first - batch.first) * self._each, (last + 1 - batch.first) * self._each
            self._store.write_run(first, batch.data[start:stop])

    def _let_go(self, bits: int, error: BaseException) -> None:
        self.picker.let_go(bits)
        if isinstance(error, StoreError):
            self._fail(error)

    def _settle(self, batch: Batch, end: int) -> None:
        """Count what was proved and written: the chunks before `end` of those that were wanted."""
        left = batch.wanted
        for first, last in _runs(batch.wanted, batch.first, end):
            try:
                self._store.mark_proved(first, last)
            except StoreError as error:
                self._let_go(left, error)
                raise
            here = (2 << last) - (1 << first)
            self.picker.arrived(here)
            left &= ~here
            self.done += self._length(first, last)
            self.last_progress = trio.current_time()
            self._unproved = 0
        self._gained()
        if left:
            self.picker.let_go(left)
        if left or self.picker.complete:
            self.wake()
        self.tell()
        if end <= batch.last:
            wrong = ChecksumMismatch(f"sent a wrong chunk {end}")
            self.blame(batch.key, wrong)
            raise wrong

    def _length(self, first: int, last: int) -> int:
        """How many bytes the chunks from `first` to `last` have."""
        return min((last + 1) * self._each, self.content.size) - first * self._each

    def _fail(self, error: StoreError) -> None:
        self.fatal = self.fatal or error
        self.wake()

    # --- progress ---

    def tell(self, *, now: bool = False) -> None:
        """Report how far it is: at once, or if the last report is old enough."""
        time = trio.current_time()
        if now or time >= self._next_report:
            self._next_report = time + self.limits.progress_interval
            name, size = self.content.name, self.content.size
            self._report(TransferProgress(name, self.done, size, len(self.delivering), self.resumed))


def _runs(bits: int, first: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of set bits from `first` to before `end`, each as its first and last number."""
    while first < end:
        if not bits >> first & 1:
            first += 1
            continue
        last = first
        while last + 1 < end and bits >> (last + 1) & 1:
            last += 1
        yield first, last
        first = last + 1
