"""One file, from what the trackers say of it to the rename: what is there already, who is asked, what proves it."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from osp2p.content.chunk_store import open_chunks, read_partial
from osp2p.content.digest import find_same, find_same_bytes, same_content, verify_file
from osp2p.content.store import Target, open_target
from osp2p.errors import ChecksumMismatch, ConnectFailed, NobodyHasIt, Osp2pError, Stalled, Unverified
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.errors import disk_errors
from osp2p.peer.base_fetch import BaseFetch
from osp2p.peer.chunk_client import Content
from osp2p.peer.chunk_fetch import ChunkFetch
from osp2p.peer.events import Remark, Report, Source, TransferDone, TransferStarted
from osp2p.peer.offer import Offer
from osp2p.peer.tracker_client import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class GetOptions:
    """How files are fetched.

    Attributes:
        force: replace a target that has other content, instead of writing NAME~1~ beside it.
        require_verified: fail where nothing proves the content.
        max_size: bytes beyond which a file is not taken; None: what `Limits.max_size` and the disk allow.
        seed: share each file as soon as it is here.
        sync: wait for the disk before a file gets its final name.
        beneath: a directory that targets must not leave through a symbolic link; None: they may lie anywhere.
    """

    force: bool = False
    require_verified: bool = False
    max_size: int | None = None
    seed: bool = False
    sync: bool = True
    beneath: Path | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a transfer needs of its node.

    Attributes:
        facts: asks the trackers of the file again; without an answer there are no holders.
        holders: asks them for the holders of one content of it, likewise.
        own: where this node listens.
        fetching: offers what is fetched to others, as long as its body runs.
        fetched: goes on offering it, from its final path.
    """

    network: Network
    limits: Limits
    rng: random.Random
    facts: Callable[[], Awaitable[TrackerFacts]]
    holders: Callable[[bytes], Awaitable[Iterable[PeerEntry]]]
    own: Callable[[], set[Address]]
    fetching: Callable[[Offer], AbstractContextManager[None]]
    fetched: Callable[[Offer, Path], None]


class Transfer:
    """One file on its way. `run` fetches it; `sources` and `fetched` tell afterwards, even if it failed.

    Args:
        name: as the trackers list it.
        facts: what they say of it; or, from a link, what the user says.
        target: the final path.
        report: takes `TransferStarted`, `TransferProgress`, `SourceFailed`, `Remark`.
        b3: the content id, where the user names it: then nothing else proves the file.
    """

    def __init__(
        self,
        name: bytes,
        facts: TrackerFacts,
        target: Path,
        options: GetOptions,
        around: Surroundings,
        report: Report,
        *,
        b3: bytes | None = None,
    ) -> None:
        self._name = name
        self._facts = facts
        self._b3 = b3
        self._target = target
        self._options = options
        self._around = around
        most = options.max_size if options.max_size is not None else around.limits.max_size
        self._limits = replace(around.limits, max_size=most)
        self._report = report
        self._fetches: list[BaseFetch | ChunkFetch] = []
        self._resumed = 0
        self._started = trio.current_time()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Who gave what, those who gave nothing and did not fail left out."""
        found = [source for fetch in self._fetches for source in fetch.sources.values()]
        return tuple(source for source in found if source.fetched or source.error)

    @property
    def fetched(self) -> int:
        """Bytes that came over the network."""
        return sum(fetch.fetched for fetch in self._fetches)

    async def run(self) -> TransferDone:
        """Fetch the file.

        Raises:
            TransferError, NetworkError, UnsafeName, StoreError.

        Cancellation: nothing is under the final name; chunks that were proved stay for a later fetch.
        """
        self._started = trio.current_time()
        facts = self._facts = await self._wait_for_proof()
        if not facts.holders:
            raise NobodyHasIt("nobody has it")
        if self._options.require_verified and facts.md5 is None and facts.b3 is None:
            raise Unverified("unverified: no checksum known, and one is required")
        there = await find_same(
            self._target,
            md5=None if facts.b3 else facts.md5,
            b3=facts.b3,
            size=facts.size,
            copies=not self._options.force,
        )
        if there is not None:
            with disk_errors(f"cannot read {there}"):
                size = there.stat().st_size
            return self._done(there, size, "b3" if facts.b3 else "md5", already=True)
        self._report(TransferStarted(self._name, facts.size, len(facts.holders)))
        with open_target(self._target, self._limits, beneath=self._options.beneath) as target:
            speakers = holders_of_content(facts)
            if facts.b3 is None or facts.size is None or not speakers:
                return await self._fetch_base(target)
            try:
                return await self._fetch_chunks(target, Content(self._name, facts.size, facts.b3), speakers)
            except (NobodyHasIt, ConnectFailed, Stalled, ChecksumMismatch) as error:
                return await self._try_otherwise(target, error)

    async def _try_otherwise(self, target: Target, error: Osp2pError) -> TransferDone:
        """Go on where no holder gives the content that the trackers named.

        The name may stand for another content by now; else those who speak only the base protocol may have it. To them
        nothing applies that the trackers say of it but the MD5: it may have been said by those who did not give it.
        """
        before, now = self._facts, await self._around.facts()
        self._facts = now if now.holders else before
        speakers = holders_of_content(self._facts)
        b3, size = self._facts.b3, self._facts.size
        if b3 is not None and size is not None and b3 != before.b3 and speakers:
            return await self._fetch_chunks(target, Content(self._name, size, b3), speakers)
        if self._facts.md5 is None or len(speakers) == len(self._facts.holders):
            raise error
        self._facts = replace(self._facts, b3=None, size=None)
        try:
            return await self._fetch_base(target)
        except (NobodyHasIt, ConnectFailed):
            raise error from None

    async def _wait_for_proof(self) -> TrackerFacts:
        """Give holders that have just begun to share a moment to tell the digests of the file.

        Returns: the trackers' facts, with what proves the content if it became known in time.
        """
        facts = self._facts
        until = self._started + self._limits.digest_patience
        while _is_being_hashed(facts) and trio.current_time() < until:
            await trio.sleep(self._limits.digest_recheck)
            facts = await self._around.facts()
        return facts if facts.holders else self._facts

    async def _fetch_base(self, target: Target) -> TransferDone:
        fetch = BaseFetch(
            self._name,
            self._facts,
            network=self._around.network,
            limits=self._limits,
            rng=self._around.rng,
            new_part=target.new_part,
            refresh=self._around.facts,
            report=self._report,
        )
        self._fetches.append(fetch)
        copy = await fetch.run()
        proof = "md5" if copy.verified else None
        b3 = self._b3 or (None if copy.verified else self._facts.b3)
        if b3 is not None:
            if not await verify_file(Path(copy.part.path), b3):
                raise ChecksumMismatch("what arrived has another content id than the one that was asked for")
            proof = "b3"
        if proof is None and not self._options.force:
            there = await find_same_bytes(self._target, Path(copy.part.path), copy.size)
            if there is not None:
                copy.part.discard()
                return self._done(there, copy.size, proof, already=True)
        path = await copy.part.commit(force=self._options.force, sync=self._options.sync)
        return self._done(path, copy.size, proof)

    async def _fetch_chunks(self, target: Target, content: Content, speakers: list[PeerEntry]) -> TransferDone:
        there = read_partial(target)
        if there is not None and (there.size, there.b3) != (content.size, content.b3):
            self._report(Remark(self._name, "its content has changed since the partial file was begun: begun anew"))
        store = await open_chunks(
            target,
            content.size,
            content.b3,
            start_anew=True,
            first_serial=self._around.rng.randrange(1, 1 << 40),
        )
        self._resumed = store.resumed
        offer = Offer(
            content.name,
            content.size,
            lambda: os.dup(store.fd),
            b3=content.b3,
            hashes=store.hashes,
            chunks=store.chunks,
        )

        def gained() -> None:
            offer.hashes = store.hashes
            offer.notify()

        with self._around.fetching(offer):
            fetch = ChunkFetch(
                content,
                speakers,
                store,
                network=self._around.network,
                limits=self._limits,
                rng=self._around.rng,
                own=self._around.own,
                refresh=lambda: self._around.holders(content.b3),
                gained=gained,
                report=self._report,
            )
            self._fetches.append(fetch)
            await fetch.run()
            if self._b3 is None and needs_md5(self._facts) and not await self._has_md5(target, content.size):
                store.discard()
                raise ChecksumMismatch("the content that some name is not that of a holder who registered a checksum")
            path = await store.commit(force=self._options.force, sync=self._options.sync)
            if offer.size >= self._limits.swarm_from:
                self._around.fetched(offer, path)
        return self._done(path, content.size, "b3")

    async def _has_md5(self, target: Target, size: int) -> bool:
        """Whether a partial file that is all here has the MD5 that the trackers name."""
        return await same_content(Path(target.partial), md5=self._facts.md5, size=size)

    def _done(self, path: Path, size: int, proof: str | None, already: bool = False) -> TransferDone:
        seconds = trio.current_time() - self._started
        return TransferDone(self._name, path, size, self.fetched, self._resumed, proof, seconds, already, self.sources)


def needs_md5(facts: TrackerFacts) -> bool:
    """Whether the content id may be the word of somebody who registered after a holder that named none.

    A tracker takes an old holder to mean the content that a later one names, as long as both say the same MD5. That
    says anybody who reads it, so only the MD5 of what arrives tells whether it is what the old one meant.
    """
    is_mixed = any(entry.attributes.get(b"v") != b"2" for entry in facts.holders)
    return is_mixed and facts.b3 is not None and facts.md5 is not None


def _is_being_hashed(facts: TrackerFacts) -> bool:
    """Whether nothing proves the content yet, but a holder is one that will tell."""
    speakers = any(entry.attributes.get(b"v") == b"2" for entry in facts.holders)
    return facts.b3 is None and facts.md5 is None and speakers


def holders_of_content(facts: TrackerFacts) -> list[PeerEntry]:
    """The holders that speak OSP2P/2 and claim to have the content that the name stands for."""
    if facts.b3 is None:
        return []
    b3 = facts.b3.hex().encode()
    return [
        entry for entry in facts.holders if entry.attributes.get(b"v") == b"2" and entry.attributes.get(b"b3", b3) == b3
    ]
