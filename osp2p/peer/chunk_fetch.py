"""Fetching one content in OSP2P/2: proved chunks from all holders at a time.

A holder whose chunk or chunk list fails its proof is dropped for this content, and named. What holders merely refuse,
or fail at, may pass: should a tracker still name them, they are tried again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import trio

from osp2p.content.chunks import chunk_size, content_id
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    NetworkError,
    NobodyHasIt,
    Osp2pError,
    RemoteProtocolError,
    Stalled,
    StoreError,
    TrackerError,
    TransferError,
)
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.groups import one_error
from osp2p.peer.chunk_client import BUFFERS, Content, NotHere, open_holder
from osp2p.peer.events import Report, Source, SourceFailed
from osp2p.peer.holder_fetch import HolderFetch
from osp2p.peer.intake import Intake, Store
from osp2p.peer.link_rate import LinkRate
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

__all__ = ["ChunkFetch", "Store"]


class ChunkFetch:
    """One content, from all who hold it or a part of it.

    Args:
        content: its name, size and content id.
        holders: those that speak OSP2P/2.
        store: what is there already is not fetched.
        own: addresses of this node, never asked.
        refresh: asks the trackers for holders of this content again.
        gained: called when chunks, or the chunk list, were put into the store.
        report: takes `SourceFailed` and `TransferProgress`.
        link: what our own link takes.
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
        link: LinkRate | None = None,
    ) -> None:
        self._content = content
        self._store = store
        self._network = network
        self._limits = limits
        self._own = own
        self._refresh = refresh
        self._report = report
        self._intake = Intake(content, store, limits, rng, gained, report)
        self._seeds: deque[PeerEntry] = deque()
        self._partial: deque[PeerEntry] = deque()
        #: Those whose places went to others that nobody had asked yet. They come last.
        self._slow: deque[PeerEntry] = deque()
        self._at_work: dict[Address, tuple[HolderFetch, trio.CancelScope]] = {}
        self._tried: set[Address] = set()
        self._lost = 0
        self._next_look = float("-inf")
        self._seen: set[Address] = set()
        self._again: set[Address] = set()
        self._running = 0
        self._running_whole = 0
        self._link = link or LinkRate()
        self._most_places = _most_places(content, limits)
        self._places = self._link.first_sources(chunk_size(content.size), self._most_places)
        self._next_place = trio.current_time() + limits.hedge_after
        self._last_talk = trio.current_time()
        self._last_error: Osp2pError | None = None
        self._add(holders)

    @property
    def sources(self) -> dict[Address, Source]:
        """What each holder gave, by address: for the result."""
        return self._intake.sources

    @property
    def fetched(self) -> int:
        """Bytes that came over the network, useless ones included."""
        return self._intake.fetched

    def _add(self, holders: Iterable[PeerEntry]) -> None:
        """Put holders at the back of those to be asked, if they are new or may be asked again.

        Those that claim to have all of it are asked first.
        """
        own = self._own()
        for entry in holders:
            key = entry.address
            new = key not in self._seen and key not in own and len(self._seen) < self._limits.max_holders
            if new or key in self._again:
                self._seen.add(key)
                self._again.discard(key)
                (self._seeds if _claims_all(entry) else self._partial).append(entry)

    async def run(self) -> None:
        """Fetch until every chunk is in the store.

        Raises:
            NobodyHasIt, ChecksumMismatch, Stalled, ConnectFailed: no holder gives what is missing.
            StoreError: the disk.

        Cancellation: what was proved is in the store.
        """
        if not self._content.size:
            self._prove_empty()
        self._last_talk = self._intake.last_progress = trio.current_time()
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_looking)
                verdict = await self._run_holders(nursery)
                nursery.cancel_scope.cancel()
        if verdict is not None:
            raise verdict
        self._intake.tell(now=True)

    def _prove_empty(self) -> None:
        """An empty file needs no holder.

        Raises:
            ChecksumMismatch: the content id is not that of the empty file.
        """
        if content_id(0, b"") != self._content.b3:
            raise ChecksumMismatch("announced as empty, but with the content id of something else")
        if self._store.hashes is None:
            self._store.set_hashes(b"")

    async def _run_holders(self, nursery: trio.Nursery) -> Osp2pError | None:
        """Have as many holders as are allowed at work, until all is here. Returns: why it is not."""
        intake = self._intake
        while not intake.picker.complete:
            if intake.fatal is not None:
                return intake.fatal
            self._make_places()
            look_at = self._replace_slow()
            while self._crowded() and self._running < self._places:
                entry = self._next_holder()
                self._running += 1
                self._running_whole += _claims_all(entry)
                nursery.start_soon(self._use, entry)
            give_up_at = intake.last_progress + self._limits.stall_timeout
            if not self._running:
                give_up_at = min(give_up_at, self._last_talk + self._limits.retry_window)
            if not intake.is_size_proved:
                give_up_at = min(give_up_at, intake.disputed_at + self._dispute_patience())
            if trio.current_time() >= give_up_at:
                return self._verdict()
            await intake.wait_changed(min(give_up_at, self._next_place, look_at))
        return None

    def _dispute_patience(self) -> float:
        """For how long a size that somebody disputes is held to: longer while others who agree with it are at work.

        They may have to wait for their turn, at their end or, where the user limits what comes in, at ours.
        """
        return self._limits.first_byte_timeout if len(self._intake.picker) else self._limits.hedge_after

    def _next_holder(self) -> PeerEntry:
        """Whom to ask next: those that claim to have all of it, but half of the places are for the others.

        The claim costs nothing. Without that, liars and holders that all others ask, too, could take every place, and
        the peers of a swarm would not come to each other.
        """
        if self._seeds and (not self._partial or 2 * self._running_whole < self._places):
            return self._seeds.popleft()
        return self._partial.popleft()

    def _make_places(self) -> None:
        """Where the user's limit keeps the holders at work few, have one more now and then, as long as it may help."""
        if self._places == self._most_places:
            self._next_place = float("inf")
        elif trio.current_time() >= self._next_place:
            self._places += self._link.has_room
            self._next_place = trio.current_time() + self._limits.hedge_after

    def _replace_slow(self) -> float:
        """Give the places of holders that are very slow to others that nobody has asked yet, if there are any.

        Else whoever lists as many holders as there are places, each a little faster than `min_rate`, would be all that
        is fetched from. Very slow is of whom a chunk would take longer than `stall_timeout`.

        Returns: when to look again.
        """
        if self._running < self._places and not self._crowded():
            self._partial.extend(self._slow)
            self._slow.clear()
        if self._places < self._most_places or self._running < self._places or not self._crowded():
            return float("inf")
        now = trio.current_time()
        if now < self._next_look:
            return self._next_look
        self._next_look = now + self._limits.hedge_after / 2
        if not self._link.has_room:
            return self._next_look
        waiting = sum(entry.address not in self._tried for entry in (*self._seeds, *self._partial))
        may_be_lost = self._limits.max_slow_loss + self._content.size * self._limits.slow_loss_share
        least = chunk_size(self._content.size) / self._limits.stall_timeout
        slow = [
            (holder.unfinished, scope)
            for holder, scope in self._at_work.values()
            if holder.works_for(now) > self._limits.idle_holder and holder.unfinished < least * holder.works_for(now)
        ]
        for unfinished, scope in sorted(slow, key=lambda item: item[0])[:waiting]:
            if self._lost + unfinished > may_be_lost:
                break
            self._lost += unfinished
            scope.cancel()
        return self._next_look

    def _crowded(self) -> bool:
        """Whether there are holders that nobody talks to."""
        return bool(self._seeds or self._partial)

    async def _keep_looking(self) -> None:
        """Ask the trackers for further holders, often at first: fetchers of one file tend to begin together.

        When nobody is left, sooner. A fetch goes on without its trackers.
        """
        pause = self._limits.first_refresh
        while True:
            look_at = trio.current_time() + pause
            soonest = trio.current_time() + min(pause, self._limits.retry_pause)
            while trio.current_time() < (look_at if self._running else soonest):
                await self._intake.wait_changed(look_at if self._running else soonest)
            try:
                self._add(await self._refresh())
            except (TrackerError, NetworkError, RemoteProtocolError) as error:
                self._last_error = error
            self._intake.wake()
            pause = min(2 * pause, self._limits.last_refresh)

    def refute(self, error: ChecksumMismatch) -> None:
        """Blame all who gave something of a content that has proved to be another than the one that they claimed."""
        for source in self._intake.sources.values():
            if source.fetched and self._intake.blame(source.address, error):
                self._report(SourceFailed(self._content.name, source.alias, source.address, str(error)))

    def _verdict(self) -> Osp2pError:
        """The error that stands for all that went wrong."""
        count = len(self.sources)
        tried = f"{count} holder{'s' if count != 1 else ''} tried"
        last = f"; the last word: {self._last_error}" if self._last_error is not None else ""
        errors = self._intake.errors
        lies = sum(isinstance(error, ChecksumMismatch) for error in errors)
        if errors and lies == len(errors):
            return ChecksumMismatch(tried + last)
        if self._running or self._intake.done > self._intake.resumed:
            return Stalled(f"{tried}, none gives more{last}")
        if lies:
            return ChecksumMismatch(tried + last)
        if errors and all(isinstance(error, ConnectFailed) for error in errors):
            return ConnectFailed(tried + last)
        if any(isinstance(error, Stalled | NetworkError) for error in errors):
            return Stalled(tried + last)
        return NobodyHasIt(f"{tried}, none of them serves it{last}" if errors else "nobody has it")

    # --- one holder ---

    async def _use(self, entry: PeerEntry) -> None:
        """Fetch from one holder for as long as it has something; note what came of it."""
        key = entry.address
        self._intake.begin(entry)
        self._tried.add(key)
        holder: HolderFetch | None = None
        error: Osp2pError | None = None
        scope = trio.CancelScope()
        try:
            with scope, one_error():
                async with open_holder(self._network, key, self._content, self._limits) as client:
                    holder = HolderFetch(client, key, self._intake, self._network, self._crowded)
                    self._at_work[key] = holder, scope
                    await holder.run()
            if scope.cancelled_caught:
                self._slow.append(entry)
            elif not self._intake.lied(key):
                self._partial.append(entry)  # it has nothing to give: others first
        except StoreError:
            pass  # the intake knows, and `run` raises it
        except (NetworkError, RemoteProtocolError, TransferError) as failure:
            error = failure
        finally:
            self._at_work.pop(key, None)
            self._running -= 1
            self._running_whole -= _claims_all(entry)
            if holder is not None and holder.talked:
                self._last_talk = trio.current_time()
        error = self._intake.lied(key) or error
        if error is not None:
            self._left(entry, error)
        self._intake.wake()

    def _left(self, entry: PeerEntry, error: Osp2pError) -> None:
        """Note why a holder was left, and whether it may be asked again, should a tracker still name it."""
        if self._intake.picker.complete and not isinstance(error, ChecksumMismatch):
            return  # it can have been no more than too late
        if isinstance(error, NetworkError | Stalled) or (isinstance(error, NotHere) and error.code != 301):
            self._again.add(entry.address)
        self._last_error = error
        if self._intake.blame(entry.address, error) or isinstance(error, ChecksumMismatch):
            self._report(SourceFailed(self._content.name, entry.alias, entry.address, str(error)))


def _claims_all(entry: PeerEntry) -> bool:
    """Whether a holder is said to have all of a content."""
    return entry.attributes.get(b"part") != b"yes"


def _most_places(content: Content, limits: Limits) -> int:
    """How many holders of a content are asked at a time, at most."""
    fit = limits.max_chunk_memory // (BUFFERS * chunk_size(content.size))
    return min(limits.max_chunk_sources, max(2, fit))
