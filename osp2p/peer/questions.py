"""What a node's fetches ask those who know who has what. This node itself is nobody's holder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import trio

from osp2p.errors import OverlayError, TrackerError
from osp2p.limits import Limits
from osp2p.net.groups import one_error
from osp2p.peer.events import NamedContent
from osp2p.peer.sources import HolderSource
from osp2p.peer.tracker_facts import ListedContent, TrackerFacts
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address, parse_tracker
from osp2p.wire.entry import PeerEntry
from osp2p.wire.link import Link

CountHolders = Callable[[bytes, Sequence[bytes]], Awaitable[Mapping[bytes, tuple[int, int]]]]


class Questions:
    """The questions of fetches.

    Args:
        source: gives whom to ask: trackers, the overlay, or both.
        count: tells how many hold each content of a name, by its id, as far as trackers know.
        own: where this node listens.
        limits: `max_parallel_files`.
    """

    def __init__(
        self, source: Callable[[], HolderSource], count: CountHolders, own: Callable[[], set[Address]], limits: Limits
    ) -> None:
        self._source = source
        self._count = count
        self._own = own
        self._limits = limits

    async def facts(self, wanted: Sequence[Wanted]) -> list[TrackerFacts]:
        """What is said of files; of a content that the user named, who has it.

        Raises:
            TrackerError, OverlayError: nobody answered.
        """
        plain = [one.name for one in wanted if one.b3 is None]
        unlisted = [one.name for one in wanted if one.listed is None or b"b3" not in one.listed.attributes]
        told = iter(await self._source().facts(plain, unlisted) if plain else [])
        of_links = iter(await self._facts_of([(one.name, one.b3) for one in wanted if one.b3 is not None]))
        found = [next(told if one.b3 is None else of_links) for one in wanted]
        return [replace(facts, holders=tuple(self._others(facts.holders))) for facts in found]

    async def _facts_of(self, contents: Sequence[tuple[bytes, bytes]]) -> list[TrackerFacts]:
        """What is said of contents, each a name and an id; some of them are asked about at a time.

        Raises:
            TrackerError, OverlayError: nobody answered.
        """
        found: dict[tuple[bytes, bytes], TrackerFacts] = {}
        at_a_time = trio.Semaphore(max(1, self._limits.max_parallel_files))

        async def ask(name: bytes, b3: bytes) -> None:
            async with at_a_time:
                found[name, b3] = await self._source().facts_of(name, b3)

        with one_error():
            async with trio.open_nursery() as nursery:
                for name, b3 in dict.fromkeys(contents):
                    nursery.start_soon(ask, name, b3)
        return [found[content] for content in contents]

    # A running download goes on without its trackers, and without the overlay.

    async def facts_again(self, wanted: Wanted) -> TrackerFacts:
        """The same of one file that is being fetched; without an answer there are no holders."""
        try:
            return (await self.facts([wanted]))[0]
        except (TrackerError, OverlayError):
            return TrackerFacts(())

    async def holders(self, wanted: Wanted, b3: bytes) -> list[PeerEntry]:
        """Who holds one content of a file, or a part of it; without an answer nobody."""
        try:
            return self._others(await self._source().holders(wanted.name, b3))
        except (TrackerError, OverlayError):
            return []

    async def contents(self, wanted: Wanted, listed: Sequence[ListedContent]) -> tuple[NamedContent, ...]:
        """How many hold each content that is listed of a file; without an answer, that is not known."""
        unknown = [content.b3 for content in listed if content.counts is None]
        counts: Mapping[bytes, tuple[int, int]] = {}
        if unknown:
            try:
                counts = await self._count(wanted.name, unknown)
            except TrackerError:
                counts = {}
        named = []
        for content in listed:
            whole, partial = content.counts or counts.get(content.b3, (0, 0))
            host, port = parse_tracker(content.tracker) if content.tracker else ("", 0)
            link = Link(host, port, wanted.name, content.b3)
            named.append(NamedContent(content.b3.hex(), content.size, whole, partial, str(link)))
        return tuple(named)

    def _others(self, holders: Iterable[PeerEntry]) -> list[PeerEntry]:
        own = self._own()
        return [entry for entry in holders if entry.address not in own]
