"""One file, from what the trackers say of it to the rename: what is there already, who is asked, what proves it.

What a tracker names is tried first: the content that it says the name stands for, in chunks, from all who hold it. What
it says is only claimed, so one liar must not be the end of it: where a claimed size does not fit, the sizes that
holders claim are tried; where nobody gives the content, those who speak only the base protocol are asked for it; and
then the other contents of the name. Behind a tracker of 2007, which knows no content ids, holders that speak OSP2P/2
tell theirs: chunks are proved by it, and the whole by the tracker's MD5.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from osp2p.content.chunk_store import ChunkStore, Partial, open_chunks, read_partial
from osp2p.content.digest import digest_in_thread, find_same, find_same_bytes, verify_file
from osp2p.content.store import Part, Target, open_target
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    DiskFull,
    NobodyHasIt,
    Osp2pError,
    Stalled,
    TooLarge,
    Unverified,
)
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.errors import disk_errors
from osp2p.peer.base_fetch import BaseFetch
from osp2p.peer.chunk_client import Content
from osp2p.peer.chunk_fetch import ChunkFetch
from osp2p.peer.claims import contents_claimed, holders_of_content, is_being_hashed, needs_md5
from osp2p.peer.events import (
    NamedContent,
    Remark,
    Report,
    SeveralContents,
    Source,
    TransferDone,
    TransferFailed,
    TransferStarted,
)
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.offer import Offer
from osp2p.peer.probe import Prober, speaks
from osp2p.peer.tracker_facts import ListedContent, TrackerFacts
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


#: What a fetch of one content may end with, so that something else is tried.
_PASSING = (NobodyHasIt, ConnectFailed, Stalled, ChecksumMismatch, TooLarge, DiskFull)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a transfer needs of its node.

    Attributes:
        facts: asks the trackers of the file again; without an answer there are no holders. This node is never one.
        holders: asks them for the holders of one content of it, likewise.
        contents: asks them who holds each content that they list of it.
        prober: finds out who speaks OSP2P/2 where no tracker knows.
        own: where this node listens, as it was last told to a tracker.
        link: what our own link takes.
        fetching: offers what is fetched to others, as long as its body runs.
        fetched: goes on offering it, from its final path.
    """

    network: Network
    limits: Limits
    rng: random.Random
    facts: Callable[[], Awaitable[TrackerFacts]]
    holders: Callable[[bytes], Awaitable[Iterable[PeerEntry]]]
    contents: Callable[[Sequence[ListedContent]], Awaitable[tuple[NamedContent, ...]]]
    prober: Prober
    own: Callable[[], set[Address]]
    link: LinkRate
    fetching: Callable[[Offer], AbstractContextManager[None]]
    fetched: Callable[[Offer, Path], None]


class Transfer:
    """One file on its way. `run` fetches it; `sources` and `fetched` tell afterwards, even if it failed.

    Args:
        name: as the trackers list it.
        facts: what they say of it; or, from a link, what the user says.
        target: the final path.
        report: takes `SeveralContents`, `TransferStarted`, `TransferProgress`, `SourceFailed`, `Remark`.
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
        self._limits = around.limits
        if options.max_size is not None:
            self._limits = replace(around.limits, max_size=options.max_size)
        self._report = report
        self._fetches: list[BaseFetch | ChunkFetch] = []
        self._tried: set[Content] = set()
        self._store: ChunkStore | None = None
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

    @property
    def size(self) -> int | None:
        """Bytes of the file, as claimed."""
        return self._store.size if self._store is not None else self._facts.size

    @property
    def resumed(self) -> int:
        """Bytes that were here from an earlier run."""
        return self._store.resumed if self._store is not None else 0

    @property
    def proved(self) -> int:
        """Bytes that are here and proved, for a later run if this one fails."""
        return self._store.done if self._store is not None else 0

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
        await self._tell_of_several(facts)
        self._report(TransferStarted(self._name, facts.size, len(facts.holders)))
        with open_target(self._target, self._limits, beneath=self._options.beneath) as target:
            return await self._fetch(target)

    async def _wait_for_proof(self) -> TrackerFacts:
        """Give holders that have just begun to share a moment to tell the digests of the file.

        Returns: the trackers' facts, with what proves the content if it became known in time.
        """
        facts = self._facts
        until = trio.current_time() + self._limits.digest_patience
        while is_being_hashed(facts) and trio.current_time() < until:
            await trio.sleep(self._limits.digest_recheck)
            facts = await self._around.facts()
        return facts if facts.holders else self._facts

    async def _tell_of_several(self, facts: TrackerFacts) -> None:
        """Say so, where the name stands for several contents."""
        if self._b3 is None and len(facts.contents) > 1:
            contents = await self._around.contents(facts.contents)
            self._report(SeveralContents(self._name, facts.b3.hex() if facts.b3 else None, contents))

    # --- what is tried, one after the other ---

    async def _fetch(self, target: Target) -> TransferDone:
        """Try one way after the other. What is raised in the end is why the first one failed, or what tells more."""
        failure: Osp2pError | None = None
        for way in (self._as_named, self._as_claimed, self._as_changed, self._in_base, self._as_another):
            try:
                done = await way(target, failure)
            except _PASSING as error:
                if self.proved and isinstance(error, DiskFull | TooLarge):
                    raise  # the size is proved, so nobody has lied
                if failure is None or not isinstance(error, NobodyHasIt | ConnectFailed):
                    failure = error
            else:
                if done is not None:
                    return done
        raise failure or NobodyHasIt("nobody has it")

    async def _as_named(self, target: Target, failure: Osp2pError | None) -> TransferDone | None:
        """Chunks of the content that the trackers or the user name, of the size that the trackers say."""
        facts = self._facts
        speakers = holders_of_content(facts)
        if facts.b3 is None or not speakers:
            return None
        there = _proved_before(target, facts.b3)
        size = there.size if there is not None else facts.size
        if size is None:
            return None
        md5 = facts.md5 if self._b3 is None and needs_md5(facts) else None
        return await self._fetch_chunks(target, Content(self._name, size, facts.b3), speakers, md5=md5)

    async def _as_claimed(self, target: Target, failure: Osp2pError | None) -> TransferDone | None:
        """Chunks of what holders claim: the wanted content, of whatever size; or, behind a tracker of 2007 that knows
        nothing but an MD5, whatever content they have, the smallest first, so that a huge lie hides nothing. (There a
        whole copy of a small file is as good, and here sooner.)
        """
        facts = self._facts
        proved = self._store is not None and self._store.hashes is not None
        if proved or (facts.b3 is None and facts.md5 is None):
            return None
        error: Osp2pError | None = None
        try:
            done = await self._as_claimed_by(target, facts.holders, None)
        except _PASSING as reason:
            done, error = None, reason
        if done is None and not self.proved:
            # Liars are quick. Who is named for the content and was not heard in time may merely have had more to do.
            silent = [entry for entry in holders_of_content(facts) if not self._asked(entry)]
            done = await self._as_claimed_by(target, silent, self._limits.connect_timeout)
        if done is None and error is not None:
            raise error
        return done

    def _asked(self, entry: PeerEntry) -> bool:
        """Whether a holder was asked for chunks."""
        return any(entry.address in fetch.sources for fetch in self._fetches)

    async def _as_claimed_by(
        self, target: Target, asked: Sequence[PeerEntry], within: float | None
    ) -> TransferDone | None:
        """Chunks of what these holders claim within some seconds. Returns: None if they claim nothing new."""
        facts = self._facts
        claims = await self._around.prober.claims(self._name, facts.b3, asked, within)
        contents = contents_claimed(self._name, claims, facts.b3, _proved_before(target, facts.b3))
        error: Osp2pError | None = None
        for content, holders in contents[: self._limits.max_claimed_contents]:
            if content in self._tried and all(map(self._asked, holders)):
                continue
            if facts.b3 is None and content.size < self._limits.swarm_from:
                continue
            try:
                md5 = facts.md5 if facts.b3 is None or (self._b3 is None and needs_md5(facts)) else None
                return await self._fetch_chunks(target, content, holders, md5=md5, only_claimed=facts.b3 is None)
            except _PASSING as reason:
                error = error or reason
                if self.proved:
                    raise
        if error is not None:
            raise error
        return None

    async def _as_changed(self, target: Target, failure: Osp2pError | None) -> TransferDone | None:
        """Chunks of another content, if the name stands for one by now."""
        if failure is None:
            return None
        before, now = self._facts, await self._around.facts()
        self._facts = now if now.holders else before
        return await self._as_named(target, failure) if self._facts.b3 != before.b3 else None

    async def _in_base(self, target: Target, failure: Osp2pError | None) -> TransferDone | None:
        """Whole copies. Where chunks were tried in vain, of those alone who speak nothing but the base protocol, and
        only if what they give can be proved by something that the others did not say.
        """
        if failure is None:
            return await self._fetch_base(target)
        others = [entry for entry in self._facts.holders if not self._around.prober.speaks(entry)]
        if not others or (self._facts.md5 is None and self._b3 is None):
            return None
        self._facts = replace(self._facts, b3=self._b3, size=None)
        return await self._fetch_base(target)

    async def _as_another(self, target: Target, failure: Osp2pError | None) -> TransferDone | None:
        """Chunks of another content of the name, where nothing came of the one that it stands for; the user is told."""
        if self._b3 is not None or self.proved or read_partial(target) is not None:
            return None
        for content in self._facts.contents:
            if content.size is None or any(content.b3 == tried.b3 for tried in self._tried):
                continue
            holders = [entry for entry in await self._around.holders(content.b3) if speaks(entry)]
            if holders:
                text = f"what the name stands for is not to be had ({failure}); another content of it is fetched: b3"
                self._report(Remark(self._name, f"{text} {content.b3.hex()}"))
                return await self._fetch_chunks(target, Content(self._name, content.size, content.b3), holders)
        return None

    # --- one way ---

    async def _fetch_base(self, target: Target) -> TransferDone:
        """Fetch whole copies until one is proved by the user's content id, the trackers' MD5, or their content id; one
        that nothing can prove is taken as it is.
        """
        b3 = self._b3 or (None if self._facts.md5 else self._facts.b3)

        async def prove(part: Part) -> bool:
            return b3 is not None and await verify_file(Path(part.path), b3)

        fetch = BaseFetch(
            self._name,
            self._facts,
            network=self._around.network,
            limits=self._limits,
            rng=self._around.rng,
            new_part=target.new_part,
            refresh=self._around.facts,
            report=self._report,
            prove=prove if b3 else None,
            link=self._around.link,
        )
        self._fetches.append(fetch)
        copy = await fetch.run()
        proof = ("b3" if b3 else "md5") if copy.verified else await self._prove_late(copy.part)
        if proof is None and not self._options.force:
            there = await find_same_bytes(self._target, Path(copy.part.path), copy.size)
            if there is not None:
                copy.part.discard()
                return self._done(there, copy.size, proof, already=True)
        path = await copy.part.commit(force=self._options.force, sync=self._options.sync)
        return self._done(path, copy.size, proof)

    async def _prove_late(self, part: Part) -> str | None:
        """Prove a copy of a file whose holder had just begun to share it, by what it has told the trackers meanwhile.

        Returns: what proved it; None if nothing is known still.

        Raises:
            ChecksumMismatch: it is another content.
            StoreError: the copy cannot be read.
        """
        if not is_being_hashed(self._facts):
            return None
        facts = await self._wait_for_proof()
        if facts.b3 is None and facts.md5 is None:
            return None
        if facts.b3 is not None:
            right = await verify_file(Path(part.path), facts.b3)
        else:
            right = (await digest_in_thread(Path(part.path))).digests.md5 == facts.md5
        if not right:
            raise ChecksumMismatch("what arrived is not what the trackers have come to know since")
        return "b3" if facts.b3 else "md5"

    async def _fetch_chunks(
        self,
        target: Target,
        content: Content,
        holders: list[PeerEntry],
        *,
        md5: bytes | None = None,
        only_claimed: bool = False,
    ) -> TransferDone:
        """Fetch a content in chunks.

        Args:
            md5: what the whole must have in the end, where the content may not be the one that the name stands for.
            only_claimed: no tracker names the content: nothing but the MD5 proves it, and it is not offered to others.
        """
        self._tried.add(content)
        store = await self._open_store(target, content)
        offer = Offer(
            content.name,
            content.size,
            store.open_served,
            b3=content.b3,
            hashes=store.hashes,
            chunks=store.chunks,
        )

        def gained() -> None:
            offer.hashes = store.hashes
            offer.notify()

        async def refresh() -> list[PeerEntry]:
            return await self._around.prober.speakers(self._name, content.b3, await self._around.holders(content.b3))

        with self._around.fetching(offer) if not only_claimed else nullcontext():
            fetch = ChunkFetch(
                content,
                holders,
                store,
                network=self._around.network,
                limits=self._limits,
                rng=self._around.rng,
                own=self._around.own,
                refresh=refresh,
                gained=gained,
                report=self._report,
                link=self._around.link,
            )
            self._fetches.append(fetch)
            await fetch.run()
            if md5 is not None and (await digest_in_thread(Path(target.partial))).digests.md5 != md5:
                store.discard()
                self._store = None
                wrong = ChecksumMismatch("the content that some name is not the one whose checksum a tracker knows")
                if only_claimed:
                    fetch.refute(wrong)
                raise wrong
            path = await store.commit(force=self._options.force, sync=self._options.sync)
            if offer.size >= self._limits.swarm_from and not only_claimed:
                self._around.fetched(offer, path)
        return self._done(path, content.size, "md5" if only_claimed else "b3")

    async def _open_store(self, target: Target, content: Content) -> ChunkStore:
        """Begin or resume a content.

        Raises:
            TooLarge, DiskFull: it is too large, if its size is what it is said to be.
            StoreError.
        """
        self._store = None
        there = read_partial(target)
        if there is not None and (there.size, there.b3) != (content.size, content.b3):
            self._report(Remark(self._name, "its content has changed since the partial file was begun: begun anew"))
        self._store = await open_chunks(
            target,
            content.size,
            content.b3,
            start_anew=True,
            first_serial=self._around.rng.randrange(1, 1 << 40),
        )
        return self._store

    def failed(self, error: Osp2pError) -> TransferFailed:
        """The last event of a file that did not arrive."""
        return TransferFailed(self._name, error, self.fetched, self.sources, self.size, self.resumed, self.proved)

    def _done(self, path: Path, size: int, proof: str | None, already: bool = False) -> TransferDone:
        seconds = trio.current_time() - self._started
        return TransferDone(self._name, path, size, self.fetched, self.resumed, proof, seconds, already, self.sources)


def _proved_before(target: Target, b3: bytes | None) -> Partial | None:
    """What an earlier fetch has left of a content; None: of any. Its chunk list proves its size.

    Raises:
        StoreError.
    """
    there = read_partial(target)
    return there if there is not None and b3 in (None, there.b3) else None
