"""Where holders of files come from: trackers, the overlay, or both at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

import trio

from osp2p.errors import NobodyHasIt, Osp2pError, OverlayError, TrackerError, TrackerUnreachable
from osp2p.limits import Limits
from osp2p.net.groups import one_error
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.peer.trackers import merge_facts, merge_holders
from osp2p.wire.entry import PeerEntry

Answer = TypeVar("Answer")


class HolderSource(Protocol):
    """Somebody who knows who has what. Each method raises a TrackerError or an OverlayError if it cannot be asked."""

    async def facts(self, names: Sequence[bytes], unlisted: Collection[bytes] = ()) -> list[TrackerFacts]:
        """What is said of each name; and of those `unlisted`, for which contents it stands."""

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        """What is said of one content of a name, which the caller knows by its id."""

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        """Who holds one content of a name, or a part of it, each address once."""


class Sources:
    """Several sources as if they were one: all are asked at a time, and what they say is put together.

    Once one has given an answer that will do, the others have `Limits.source_patience` left: what they would have said
    is asked for again later, as long as the file is being fetched. An error is raised only if none answers: that of
    the first source, with the others' sentences as its notes.
    """

    def __init__(self, sources: Sequence[HolderSource], limits: Limits) -> None:
        self._sources = sources
        self._limits = limits

    async def facts(self, names: Sequence[bytes], unlisted: Collection[bytes] = ()) -> list[TrackerFacts]:
        """See `HolderSource`."""
        answers = await self._ask_all(
            lambda source: source.facts(names, unlisted), lambda facts: all(fact.holders for fact in facts)
        )
        return [merge_facts(of_one_name) for of_one_name in zip(*answers, strict=True)]

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        """See `HolderSource`."""
        return merge_facts(
            await self._ask_all(lambda source: source.facts_of(name, b3), lambda facts: bool(facts.holders))
        )

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        """See `HolderSource`."""
        return merge_holders(await self._ask_all(lambda source: source.holders(name, b3), bool))

    async def _ask_all(
        self, question: Callable[[HolderSource], Awaitable[Answer]], will_do: Callable[[Answer], bool]
    ) -> list[Answer]:
        """Ask each. Returns: the answers that came, in the sources' order; at least one."""
        if not self._sources:
            raise TrackerUnreachable("no tracker is known: name one with -t HOST:PORT, or a node with --join HOST:PORT")
        if len(self._sources) == 1:
            return [await question(self._sources[0])]
        answers: dict[int, Answer] = {}
        failures: dict[int, Osp2pError] = {}
        ends = trio.CancelScope()

        async def ask(index: int, source: HolderSource) -> None:
            try:
                answer = answers[index] = await question(source)
            except (TrackerError, OverlayError, NobodyHasIt) as error:
                failures[index] = error
                return
            if will_do(answer):
                ends.deadline = min(ends.deadline, trio.current_time() + self._limits.source_patience)

        with one_error(), ends:
            async with trio.open_nursery() as nursery:
                for index, source in enumerate(self._sources):
                    nursery.start_soon(ask, index, source)
        if not answers:
            first, *others = (failures[index] for index in sorted(failures))
            for other in others:
                first.add_note(str(other))
            raise first
        return [answers[index] for index in sorted(answers)]
