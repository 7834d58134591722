"""Fetching one file in the base protocol: whole copies from one holder or several, the first that is proved wins."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from osp2p.content.store import Part
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    ConnectionLost,
    MalformedLine,
    NetworkError,
    NobodyHasIt,
    Osp2pError,
    SourceRefused,
    Stalled,
    StoreError,
    TimedOut,
    TooLarge,
    TransferError,
)
from osp2p.limits import MIB, Limits
from osp2p.net import Connection, Network
from osp2p.net.errors import deadline
from osp2p.peer.events import Report, Source, SourceFailed, TransferProgress
from osp2p.peer.picker import Race
from osp2p.peer.tracker_client import TrackerFacts
from osp2p.wire.entry import PeerEntry, parse_number
from osp2p.wire.request import write_request

_BUFFER_BYTES = MIB


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole copy.

    Attributes:
        part: where its bytes are.
        size: bytes.
        verified: whether its MD5 is the one that the tracker knows.
    """

    part: Part
    size: int
    verified: bool


#: Which error stands for all, where the holders of a file failed in different ways: the first that occurs.
_WEIGHT: tuple[type[Osp2pError], ...] = (
    ChecksumMismatch,
    TooLarge,
    Stalled,
    StoreError,
    TimedOut,
    ConnectionLost,
    SourceRefused,
    ConnectFailed,
)


class BaseFetch:
    """One file, from the holders that a tracker names.

    Args:
        facts: holders, and the MD5 if the tracker knows it.
        new_part: makes a temporary file for one copy.
        refresh: asks the trackers again.
        report: takes `SourceFailed` and `TransferProgress`.
    """

    def __init__(
        self,
        name: bytes,
        facts: TrackerFacts,
        *,
        network: Network,
        limits: Limits,
        rng: random.Random,
        new_part: Callable[[], Part],
        refresh: Callable[[], Awaitable[TrackerFacts]],
        report: Report,
    ) -> None:
        self._name = name
        self._md5 = facts.md5
        self._network = network
        self._limits = limits
        self._new_part = new_part
        self._refresh = refresh
        self._report = report
        self._race = Race(limits, rng)
        self._race.add(facts.holders)
        self._changed = trio.Event()
        self._failures: list[Osp2pError] = []
        self._copy: Copy | None = None
        self._fatal: StoreError | None = None
        self._next_report = 0.0
        #: What each holder gave, by address: for the result.
        self.sources: dict[tuple[str, int], Source] = {}

    @property
    def fetched(self) -> int:
        """Bytes that came over the network, those of copies that lost among them."""
        return sum(source.fetched for source in self.sources.values())

    async def run(self) -> Copy:
        """Fetch.

        Returns: the copy that won; all others are discarded.

        Raises:
            NobodyHasIt, ChecksumMismatch, Stalled, TooLarge, SourceRefused, NetworkError: no holder gave the file.
            StoreError: the disk.

        Cancellation: every temporary file is discarded.
        """
        give_up_at = float("inf")
        async with trio.open_nursery() as nursery:
            while self._copy is None and self._fatal is None:
                self._changed = trio.Event()
                while (entry := self._race.start(trio.current_time())) is not None:
                    nursery.start_soon(self._try, entry)
                if self._race.exhausted:
                    give_up_at = min(give_up_at, trio.current_time() + self._limits.retry_window)
                    if trio.current_time() >= give_up_at or not await self._find_more():
                        break
                    continue
                with trio.move_on_at(self._race.wake_at(trio.current_time())):
                    await self._changed.wait()
            nursery.cancel_scope.cancel()
        if self._fatal is not None:
            raise self._fatal
        if self._copy is None:
            raise self._verdict()
        return self._copy

    async def _find_more(self) -> bool:
        """Ask the trackers again, if that may help. Returns: whether there is anybody to ask."""
        if not any(isinstance(failure, NetworkError | Stalled | SourceRefused) for failure in self._failures):
            return False
        await trio.sleep(self._limits.retry_pause)
        return self._race.add((await self._refresh()).holders) > 0

    def _verdict(self) -> Osp2pError:
        """The error that stands for all that went wrong."""
        failures = sorted(self._failures, key=lambda failure: _rank(failure))
        if not failures:
            return NobodyHasIt("nobody has it")
        worst = failures[0]
        tried = f"{len(self.sources)} holder{'s' if len(self.sources) != 1 else ''} tried"
        if isinstance(worst, TimedOut | ConnectionLost):
            return Stalled(f"{tried}; the last word: {worst}")
        if isinstance(worst, SourceRefused):
            return NobodyHasIt(f"{tried}, none of them serves it")
        kind = type(worst) if isinstance(worst, TransferError | ConnectFailed) else TransferError
        return kind(f"{tried}; the last word: {worst}")

    async def _try(self, entry: PeerEntry) -> None:
        """Ask one holder; note what came of it."""
        error: Osp2pError | None = None
        part = self._new_part()
        try:
            copy = await self._fetch_copy(entry, part)
            if self._copy is None:
                self._copy = copy
        except StoreError as failure:
            self._fatal = failure
        except (NetworkError, TransferError) as failure:
            error = failure
        finally:
            if self._copy is None or self._copy.part is not part:
                part.discard()
        if error is not None:
            self._failures.append(error)
            self._count(entry, 0, str(error))
            self._report(SourceFailed(self._name, entry.alias, entry.address, str(error)))
        self._race.ended(entry, again=isinstance(error, ConnectionLost | SourceRefused))
        self._changed.set()

    async def _fetch_copy(self, entry: PeerEntry, part: Part) -> Copy:
        """Fetch one whole copy and prove it, where there is something to prove it with.

        Raises:
            NetworkError, SourceRefused, Stalled, TooLarge, ChecksumMismatch, StoreError.
        """
        self._count(entry, 0)
        with deadline(trio.current_time() + self._limits.connect_timeout, str(entry.address)):
            connection = await self._network.connect(entry.address.host, entry.address.port)
        try:
            with deadline(trio.current_time() + self._limits.send_timeout, str(entry.address)):
                await connection.send(write_request(b"GET", self._name, b"OSP2P"))
            md5 = hashlib.md5(usedforsecurity=False)
            size = await self._receive_body(connection, entry, part, md5)
        finally:
            connection.close()
        if self._md5 is not None and md5.digest() != self._md5:
            if size == 0:
                raise SourceRefused("does not serve it")
            raise ChecksumMismatch(f"sent {size} bytes with another checksum")
        if self._md5 is None and size == 0:
            raise SourceRefused("does not serve it")
        claimed_size = _claimed_size(entry)
        if self._md5 is None and claimed_size is not None and claimed_size != size:
            raise ConnectionLost(f"{entry.address}: sent {size} of {claimed_size} bytes")
        return Copy(part, size, verified=self._md5 is not None)

    async def _receive_body(self, connection: Connection, entry: PeerEntry, part: Part, md5: hashlib._Hash) -> int:
        """Read until the file is whole, as far as one can tell. Returns: its bytes."""
        limits = self._limits
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        size = 0
        last = window_start = trio.current_time()
        window_size = 0
        patience = limits.first_byte_timeout
        while True:
            with trio.move_on_at(min(last + patience, trio.current_time() + limits.silence_check)) as scope:
                count = await connection.receive_into(buffer)
            now = trio.current_time()
            if scope.cancelled_caught:
                if size and self._looks_whole(md5, now - last):
                    return size
                if now >= last + patience:
                    raise Stalled(f"silent for {patience:.0f} s after {size} bytes")
                continue
            if count == 0:
                return size
            md5.update(buffer[:count])
            part.write_at(size, buffer[:count])
            size += count
            last, patience = now, limits.idle_transfer_timeout
            self._count(entry, count)
            self._race.received(entry, count, now)
            self._changed_by_progress(now)
            if now - window_start >= limits.rate_window:
                if size - window_size < limits.min_rate * limits.rate_window:
                    raise Stalled(f"slower than {limits.min_rate:.0f} bytes/s")
                window_start, window_size = now, size

    def _looks_whole(self, md5: hashlib._Hash, silence: float) -> bool:
        """Whether a silent holder that does not close has given all of the file."""
        if self._md5 is not None:
            return md5.digest() == self._md5
        return silence >= self._limits.silence_is_end

    def _changed_by_progress(self, now: float) -> None:
        """Wake the race if another holder is due; tell the user now and then."""
        if self._race.wake_at(now) <= now:
            self._changed.set()
        if now >= self._next_report:
            self._next_report = now + self._limits.progress_interval
            giving = [runner.received for runner in self._race.running if runner.received]
            self._report(TransferProgress(self._name, max(giving, default=0), None, len(giving)))

    def _count(self, entry: PeerEntry, count: int, error: str | None = None) -> None:
        before = self.sources.get(entry.address)
        self.sources[entry.address] = Source(
            entry.alias, entry.address, count + (before.fetched if before else 0), error
        )


def _rank(failure: Osp2pError) -> int:
    return next((rank for rank, kind in enumerate(_WEIGHT) if isinstance(failure, kind)), len(_WEIGHT))


def _claimed_size(entry: PeerEntry) -> int | None:
    try:
        return parse_number(entry.attributes[b"size"], 2**63 - 1)
    except (KeyError, MalformedLine):
        return None
