"""Fetching one file in the base protocol: whole copies from one holder or several, the first that is proved wins.

The base protocol tells neither length nor error. A copy ends where the holder closes; or where its MD5 is the
tracker's, and nothing follows; or, where none is known, after some silence. What proves a copy is the tracker's MD5, or
a content id, for which it is hashed when it has ended. A size is only claimed: where something proves the copy, it
counts for nothing; else it binds the holder of whom it was claimed, and nobody else.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import trio

from osp2p.content.store import Part
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    ConnectionLost,
    DiskFull,
    MalformedLine,
    NetworkError,
    NobodyHasIt,
    Osp2pError,
    SourceRefused,
    Stalled,
    StoreError,
    TimedOut,
    TooLarge,
    TrackerError,
    TransferError,
)
from osp2p.limits import KIB, MIB, Limits
from osp2p.net import Connection, Network
from osp2p.net.errors import deadline
from osp2p.net.groups import one_error
from osp2p.net.throttle import OwnTime
from osp2p.peer.events import Report, Source, SourceFailed, TransferProgress
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.picker import Race, Runner
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry, parse_number
from osp2p.wire.request import write_request

#: How much is read at a time: little until a read fills it, since many holders are asked that give nothing.
_FIRST_BUFFER_BYTES = 64 * KIB
_BUFFER_BYTES = MIB

#: Where the holders of a file failed in different ways: which error stands for all, the first that occurs. A holder
#: that stopped might have given the file, so that it is a mismatch only where nobody stopped; who refuses or cannot
#: be reached says nothing.
_WEIGHT: tuple[tuple[type[Osp2pError], type[Osp2pError]], ...] = (
    (DiskFull, DiskFull),
    (Stalled, Stalled),
    (TimedOut, Stalled),
    (ConnectionLost, Stalled),
    (ChecksumMismatch, ChecksumMismatch),
    (TooLarge, TooLarge),
    (SourceRefused, NobodyHasIt),
    (ConnectFailed, ConnectFailed),
)


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole copy.

    Attributes:
        part: where its bytes are.
        size: bytes.
        verified: whether it was proved: its MD5 is the one that the tracker knows, or its content id the wanted one.
    """

    part: Part
    size: int
    verified: bool


class _Body:
    """What one holder has sent so far.

    Args:
        new_part: makes the file that takes the bytes: not before there is one, because most of many holders give none.
        md5: what the whole should have; None if nobody knows.
        claimed_size: how many bytes the holder gives, as the tracker says; None where that is of no matter.
    """

    def __init__(self, new_part: Callable[[], Part], md5: bytes | None, claimed_size: int | None) -> None:
        self._new_part = new_part
        self._wanted = md5
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._claimed_size = claimed_size
        self.part: Part | None = None
        self.size = 0

    @property
    def proved(self) -> bool:
        """Whether this is the file that the tracker means."""
        return self._md5.digest() == self._wanted

    def take(self, data: memoryview) -> None:
        """Take further bytes.

        Raises:
            ChecksumMismatch: more than was announced of this holder.
            TooLarge, DiskFull, StoreError.
        """
        size = self.size + len(data)
        if self._claimed_size is not None and size > self._claimed_size:
            raise ChecksumMismatch(f"sent more than the announced {self._claimed_size} bytes")
        if self.part is None:
            self.part = self._new_part()
        self.part.write_at(self.size, data)
        self._md5.update(data)
        self.size = size

    def looks_whole(self, silence: float, limits: Limits) -> bool:
        """Whether a holder that is silent, and does not close, has given all of the file."""
        if self._wanted is not None:
            return self.proved
        return self.size > 0 and (self.size == self._claimed_size or silence >= limits.silence_is_end)

    def finish(self, *, may_be_empty: bool) -> Copy:
        """Make a copy of it, now that it has ended.

        Args:
            may_be_empty: whether an empty answer is to be proved by its content id.

        Raises:
            SourceRefused: an empty answer that is not known to be an empty file.
            ConnectionLost: shorter than announced.
            ChecksumMismatch: it is not what the tracker means.
            StoreError.
        """
        proved = self.proved
        if self.size == 0 and not proved and not may_be_empty:
            raise SourceRefused("does not serve it")
        if self._claimed_size is not None and self.size < self._claimed_size and not proved:
            raise ConnectionLost(f"sent {self.size} of the announced {self._claimed_size} bytes")
        if self._wanted is not None and not proved:
            raise ChecksumMismatch(f"sent {self.size} bytes with another checksum")
        if self.part is None:
            self.part = self._new_part()
        return Copy(self.part, self.size, verified=proved)

    def discard(self) -> None:
        """Throw the bytes away."""
        if self.part is not None:
            self.part.discard()


class BaseFetch:
    """One file, from the holders that a tracker names.

    Args:
        facts: holders, and the MD5 and size if the tracker knows them.
        new_part: makes a temporary file for one copy.
        refresh: asks the trackers again; a TrackerError of it only means that they name nobody else.
        report: takes `SourceFailed` and `TransferProgress`.
        prove: tells whether a copy is the wanted content, where its content id is what proves it; then no MD5 counts.
        link: what our own link takes.
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
        prove: Callable[[Part], Awaitable[bool]] | None = None,
        link: LinkRate | None = None,
    ) -> None:
        self._name = name
        self._md5 = facts.md5 if prove is None else None
        self._prove = prove
        self._claimed_size = facts.size
        self._network = network
        self._limits = limits
        self._new_part = new_part
        self._refresh = refresh
        self._report = report
        self._link = link or LinkRate()
        self._race = Race(limits, rng, self._link)
        self._race.add(_whole(facts.holders))
        self._scopes: dict[Runner, trio.CancelScope] = {}
        self._changed = trio.Event()
        self._failures: list[Osp2pError] = []
        self._oversized = 0
        self._copy: Copy | None = None
        self._fatal: StoreError | TooLarge | None = None
        self._next_report = float("-inf")
        #: What each holder gave, by address: for the result.
        self.sources: dict[Address, Source] = {}

    @property
    def fetched(self) -> int:
        """Bytes that came over the network, those of copies that lost among them."""
        return sum(source.fetched for source in self.sources.values())

    async def run(self) -> Copy:
        """Fetch.

        Returns: the copy that won; all others are discarded.

        Raises:
            NobodyHasIt, ChecksumMismatch, Stalled, TooLarge, ConnectFailed: no holder gave the file.
            DiskFull, StoreError: the disk.

        Cancellation: every temporary file is discarded.
        """
        self._link.fetches += 1
        try:
            with one_error():
                await self._run_race()
        except BaseException:
            if self._copy is not None:
                self._copy.part.discard()
            raise
        finally:
            self._link.fetches -= 1
        if self._copy is None:
            raise self._fatal or self._verdict()
        return self._copy

    async def _run_race(self) -> None:
        """Ask holders as the race says until one gives the file, the disk fails, or nobody is left."""
        give_up_at = float("inf")
        async with trio.open_nursery() as nursery:
            while self._copy is None and self._fatal is None:
                self._changed = trio.Event()
                while (runner := self._race.start(trio.current_time())) is not None:
                    self._scopes[runner] = trio.CancelScope()
                    nursery.start_soon(self._try, runner)
                self._cancel_dropped()
                if self._race.exhausted:
                    now = trio.current_time()
                    give_up_at = min(give_up_at, now + self._limits.retry_window)
                    if now >= give_up_at or not await self._find_more():
                        break
                    continue
                with trio.move_on_at(self._race.wake_at(trio.current_time())):
                    await self._changed.wait()
            nursery.cancel_scope.cancel()

    async def _find_more(self) -> bool:
        """Ask the trackers again, if that may help. Returns: whether there is anybody to ask."""
        if not any(isinstance(failure, NetworkError | Stalled | SourceRefused) for failure in self._failures):
            return False
        await trio.sleep(self._limits.retry_pause)
        try:
            facts = await self._refresh()
        except TrackerError:
            return False
        return self._race.add(_whole(facts.holders)) > 0

    def _binding_size(self, entry: PeerEntry) -> int | None:
        """How many bytes a tracker says that a holder gives, where nothing else tells whether a copy is whole."""
        if self._md5 is not None or self._prove is not None:
            return None
        try:
            return parse_number(entry.attributes[b"size"], 2**63 - 1)
        except (KeyError, MalformedLine):
            return None

    def _verdict(self) -> Osp2pError:
        """The error that stands for all that went wrong."""
        tried = f"{len(self.sources)} holder{'s' if len(self.sources) != 1 else ''} tried"
        for kind, verdict in _WEIGHT:
            last = next((failure for failure in reversed(self._failures) if isinstance(failure, kind)), None)
            if last is not None:
                return verdict(f"{tried}; the last word: {last}")
        return NobodyHasIt("nobody has it")

    async def _try(self, runner: Runner) -> None:
        """Ask one holder; note what came of it."""
        entry = runner.entry
        error: Osp2pError | None = None
        body = _Body(self._new_part, self._md5, self._binding_size(entry))
        try:
            with self._scopes[runner]:
                copy = await self._fetch_copy(runner, body)
                self._copy = self._copy or copy
        except (DiskFull, TooLarge) as failure:
            error = failure
            self._oversized += 1
            if self._oversized >= self._limits.max_oversized:
                self._fatal = failure
        except StoreError as failure:
            self._fatal = failure
        except (NetworkError, TransferError) as failure:
            error = failure
        finally:
            del self._scopes[runner]
            if self._copy is None or self._copy.part is not body.part:
                body.discard()
        if error is not None:
            self._failures.append(error)
            self._count(entry, 0, str(error))
            self._report(SourceFailed(self._name, entry.alias, entry.address, str(error)))
        self._race.ended(runner, again=isinstance(error, ConnectionLost | SourceRefused))
        self._changed.set()

    async def _fetch_copy(self, runner: Runner, body: _Body) -> Copy:
        """Fetch one whole copy and prove it, where there is something to prove it with.

        Raises:
            NetworkError, SourceRefused, Stalled, TooLarge, ChecksumMismatch, StoreError.
        """
        entry = runner.entry
        self._count(entry, 0)
        connection = await self._connect(entry.address)
        try:
            at = trio.current_time() + self._limits.send_timeout
            with deadline(at, str(entry.address)) as scope, OwnTime(connection, scope):
                await connection.send(write_request(b"GET", self._name, b"OSP2P"))
            await self._receive_body(connection, runner, body)
        except ConnectionLost:
            # A reset without a byte is what a close becomes where our request was not read. A reset behind all the
            # bytes takes nothing from a proved file.
            if body.size and not body.proved:
                raise
        finally:
            connection.close()
        copy = body.finish(may_be_empty=self._prove is not None)
        if self._prove is None:
            return copy
        if not await self._prove(copy.part):
            if not body.size:
                raise SourceRefused("does not serve it")
            raise ChecksumMismatch(f"sent {body.size} bytes with another content id")
        return replace(copy, verified=True)

    async def _connect(self, address: Address) -> Connection:
        """Connect to a holder.

        Raises:
            ConnectFailed.
        """
        try:
            with deadline(trio.current_time() + self._limits.connect_timeout, str(address)):
                return await self._network.connect(address.host, address.port)
        except TimedOut as error:
            raise ConnectFailed(str(error)) from error

    async def _receive_body(self, connection: Connection, runner: Runner, body: _Body) -> None:
        """Read until the file is whole, as far as one can tell.

        Raises:
            Stalled, ConnectionLost, ChecksumMismatch, TooLarge, StoreError.
        """
        limits = self._limits
        buffer = memoryview(bytearray(_FIRST_BUFFER_BYTES))
        last = window_start = trio.current_time()
        window_size = 0
        patience = limits.first_byte_timeout
        while True:
            now = trio.current_time()
            with trio.move_on_at(min(last + patience, now + limits.silence_check)) as scope:
                with OwnTime(connection, scope) as own_time:
                    count = await connection.receive_into(buffer)
            now = trio.current_time()
            last += own_time.waited
            window_start += own_time.waited
            if scope.cancelled_caught:
                if body.looks_whole(now - last, limits):
                    return
                if now >= last + patience:
                    raise Stalled(f"silent for {patience:.0f} s after {body.size} bytes")
                continue
            if count == 0:
                return
            self._count(runner.entry, count)
            body.take(buffer[:count])
            last, patience = now, limits.idle_transfer_timeout
            self._race.received(runner, count, now)
            self._cancel_dropped()
            self._changed_by_progress(now)
            if now - window_start >= limits.rate_window:
                if body.size - window_size < limits.min_rate * limits.rate_window:
                    raise Stalled(f"slower than {limits.min_rate:.0f} bytes/s")
                window_start, window_size = now, body.size
            if count == len(buffer) < _BUFFER_BYTES:
                buffer = memoryview(bytearray(_BUFFER_BYTES))

    def _cancel_dropped(self) -> None:
        for runner in self._race.take_dropped():
            if runner in self._scopes:
                self._scopes[runner].cancel()

    def _changed_by_progress(self, now: float) -> None:
        """Wake the race if another holder is due; tell the user now and then."""
        if self._race.wake_at(now) <= now:
            self._changed.set()
        if now >= self._next_report:
            self._next_report = now + self._limits.progress_interval
            giving = [runner.received for runner in self._race.running if runner.received]
            self._report(TransferProgress(self._name, max(giving, default=0), self._claimed_size, len(giving)))

    def _count(self, entry: PeerEntry, count: int, error: str | None = None) -> None:
        before = self.sources.get(entry.address)
        self.sources[entry.address] = Source(
            entry.alias, entry.address, count + (before.fetched if before else 0), error
        )


def _whole(entries: Iterable[PeerEntry]) -> list[PeerEntry]:
    """Those who hold all of the file: the base protocol cannot ask for parts."""
    return [entry for entry in entries if entry.attributes.get(b"part") != b"yes"]
