"""All trackers of a node, as if they were one: questions go to each, answers are put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import trio

from osp2p.errors import (
    LineTooLong,
    NetworkError,
    NobodyHasIt,
    Osp2pError,
    TimedOut,
    TrackerError,
    TrackerUnreachable,
)
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.groups import one_error
from osp2p.peer.tracker_client import TrackerClient, connect_tracker, reason_of
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry, PeerEntry

Answer = TypeVar("Answer")


class _Contact:
    """One tracker: a connection that is opened when it is first needed, and again when it was lost."""

    def __init__(self, network: Network, host: str, port: int, limits: Limits) -> None:
        self._network = network
        self._host = host
        self._port = port
        self._limits = limits
        self._opening = trio.Lock()
        self._client: TrackerClient | None = None
        #: Until when it is asked only if no other tracker answers, because it could not be reached, or was silent.
        self.rests_until = float("-inf")

    @property
    def is_answering(self) -> bool:
        """Whether an answer of it has begun to come in."""
        return self._client is not None and self._client.is_answering

    def rest(self) -> None:
        """Ask it next only if no other tracker answers, for a while."""
        self.rests_until = trio.current_time() + self._limits.reconnect_most

    async def ask(self, question: Callable[[TrackerClient], Awaitable[Answer]]) -> Answer:
        """Ask. A connection that was lost since the last question is opened again; one that is silent is not.

        A tracker in a crowd closes connections to make room for newcomers, ours perhaps before it has answered; so one
        that it took and closed is opened once more, a moment later.

        Raises:
            TrackerError, NobodyHasIt.
        """
        pauses = deque([self._limits.retry_pause])
        if self._client is not None:
            pauses.appendleft(0.0)
        while True:
            client = self._client or await self._open()
            try:
                return await question(client)
            except (NetworkError, LineTooLong) as error:
                if isinstance(error, TimedOut | LineTooLong) or not pauses:
                    raise self._useless(client, error) from error
                self._drop(client)
            await trio.sleep(pauses.popleft())

    def _useless(self, client: TrackerClient, error: Osp2pError) -> TrackerUnreachable:
        self._drop(client)
        if isinstance(error, TimedOut):
            self.rest()
        return TrackerUnreachable(f"tracker {client.label} gives no answer: {reason_of(error, client.label)}")

    async def _open(self) -> TrackerClient:
        async with self._opening:
            if self._client is None:
                try:
                    self._client = await connect_tracker(self._network, self._host, self._port, self._limits)
                except TrackerError:
                    self.rest()
                    raise
                self._client.patience = self._limits.answer_timeout
            return self._client

    def _drop(self, client: TrackerClient) -> None:
        client.close()
        if self._client is client:
            self._client = None

    def close(self) -> None:
        if self._client is not None:
            self._drop(self._client)


class Trackers:
    """The trackers of a node.

    Args:
        addresses: host and port of each.

    Every method raises a TrackerError only if no tracker gave an answer.
    """

    def __init__(self, network: Network, addresses: Sequence[tuple[str, int]], limits: Limits) -> None:
        self._limits = limits
        self._contacts = [_Contact(network, host, port, limits) for host, port in addresses]

    def close(self) -> None:
        """Close all connections; waits for nothing."""
        for contact in self._contacts:
            contact.close()

    async def _ask_all(self, question: Callable[[TrackerClient], Awaitable[Answer]]) -> list[Answer]:
        """Ask each. Returns: the answers that came, in the trackers' order.

        One that could not be reached a moment ago, or was silent, holds nobody up: it is asked if no other answers.
        """
        now = trio.current_time()
        answers: dict[int, Answer] = {}
        failures: list[TrackerError | NobodyHasIt] = []
        fresh: list[tuple[int, _Contact]] = []
        resting: list[tuple[int, _Contact]] = []
        for index, contact in enumerate(self._contacts):
            (resting if contact.rests_until > now else fresh).append((index, contact))
        await self._ask_some(fresh, question, answers, failures)
        if not answers:
            await self._ask_some(resting, question, answers, failures)
        if not answers:
            if not failures:
                raise TrackerUnreachable("no tracker is known: name one with -t HOST:PORT")
            raise none_of(failures)
        return [answers[index] for index in sorted(answers)]

    async def _ask_some(
        self,
        contacts: Sequence[tuple[int, _Contact]],
        question: Callable[[TrackerClient], Awaitable[Answer]],
        answers: dict[int, Answer],
        failures: list[TrackerError | NobodyHasIt],
    ) -> None:
        """Ask some trackers at a time; each adds its answer or its failure.

        Once one has answered, those that are still silent have `tracker_patience` to begin.
        """
        answered = trio.Event()
        scopes = {index: trio.CancelScope() for index, _ in contacts}

        async def ask(index: int, contact: _Contact) -> None:
            try:
                with scopes[index]:
                    answers[index] = await contact.ask(question)
                    answered.set()
            except (TrackerError, NobodyHasIt) as error:
                failures.append(error)
            del scopes[index]
            if not scopes:
                nursery.cancel_scope.cancel()

        async def leave_the_silent() -> None:
            await answered.wait()
            await trio.sleep(self._limits.tracker_patience)
            for index, contact in contacts:
                if index in scopes and not contact.is_answering:
                    scopes[index].cancel()
                    contact.rest()

        with one_error():
            async with trio.open_nursery() as nursery:
                for index, contact in contacts:
                    nursery.start_soon(ask, index, contact)
                if len(contacts) > 1:
                    nursery.start_soon(leave_the_silent)

    async def list_files(self, prefix: bytes = b"") -> list[FileEntry]:
        """What there is, each (name, b3) once, in name order."""
        answers = await self._ask_all(lambda client: client.list_files(prefix))
        found = {(entry.name, entry.attributes.get(b"b3", b"")): entry for answer in answers for entry in answer}
        return [found[key] for key in sorted(found)]

    async def list_some(self, prefixes: Sequence[bytes], most: int) -> list[bytes]:
        """A few of the names that there are, each once. See `TrackerClient.list_some`."""
        answers = await self._ask_all(lambda client: client.list_some(prefixes, most))
        return list(dict.fromkeys(chain.from_iterable(answers)))

    async def list_peers(self) -> list[PeerEntry]:
        """Who is logged in, each (alias, address) once."""
        answers = await self._ask_all(lambda client: client.list_peers())
        return list({(entry.alias, entry.address): entry for answer in answers for entry in answer}.values())

    async def checksum(self, name: bytes) -> bytes:
        """The MD5 that the first tracker which knows one gives.

        Raises:
            NobodyHasIt: none knows one.
        """
        return (await self._ask_all(lambda client: client.checksum(name)))[0]

    async def facts(self, names: Sequence[bytes], unlisted: Collection[bytes] = ()) -> list[TrackerFacts]:
        """What the trackers together say of each name. See `TrackerClient.facts`."""
        answers = await self._ask_all(lambda client: _reachable_facts(client, names, unlisted))
        return [merge_facts(of_one_name) for of_one_name in zip(*answers, strict=True)]

    async def holder_counts(self, name: bytes, b3s: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """How many hold each content of a name, at the tracker that knows of most of them."""
        answers = await self._ask_all(lambda client: client.holder_counts(name, b3s))
        return {b3: max(answer.get(b3, (0, 0)) for answer in answers) for b3 in b3s}

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        """What the trackers say of one content of a name, which the caller knows by its id."""
        answers = await self._ask_all(lambda client: client.facts_of(name, b3))
        merged = merge_facts(answers)
        return replace(merged, holders=tuple(await self.holders(name, b3)))

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        """Who holds one content of a name, or a part of it, each address once. See `TrackerClient.holders`."""

        async def ask(client: TrackerClient) -> list[PeerEntry]:
            return _reachable(client, await client.holders(name, b3))

        return merge_holders(await self._ask_all(ask))


def none_of(failures: Sequence[TrackerError | NobodyHasIt]) -> TrackerError | NobodyHasIt:
    """What to raise where all trackers failed: what one of them said, else why none of them can be reached."""
    unreachable = [failure for failure in failures if isinstance(failure, TrackerUnreachable)]
    if len(unreachable) < len(failures):
        return next(failure for failure in failures if not isinstance(failure, TrackerUnreachable))
    texts = sorted(set(map(str, unreachable)))
    return unreachable[0] if len(texts) == 1 else TrackerUnreachable("; ".join(texts))


def _reachable(client: TrackerClient, holders: Iterable[PeerEntry]) -> list[PeerEntry]:
    """Holders without the loopback addresses that only the tracker itself could use."""
    return [entry for entry in holders if client.remote.is_loopback or not entry.address.is_loopback]


async def _reachable_facts(
    client: TrackerClient, names: Sequence[bytes], unlisted: Collection[bytes]
) -> list[TrackerFacts]:
    """One tracker's facts, without the loopback addresses that only the tracker itself could use."""
    facts = await client.facts(names, unlisted)
    return [replace(fact, holders=tuple(_reachable(client, fact.holders))) for fact in facts]


def merge_facts(facts: Sequence[TrackerFacts]) -> TrackerFacts:
    """Put together what several trackers say of one name.

    The first tracker that knows anything decides what the name stands for. What another says of it counts if both name
    the same MD5 or content id. Holders that another names for another content are left out; those that it names without
    saying for which are kept, since what they give is proved anyway. All contents that any of them lists are named.
    """
    merged = next((fact for fact in facts if fact.b3 or fact.md5), None)
    if merged is None:
        sizes = {fact.size for fact in facts if fact.size is not None}
        merged = TrackerFacts((), size=sizes.pop() if len(sizes) == 1 else None)
    for fact in facts:
        if _same_content(fact, merged):
            merged = TrackerFacts(
                (), merged.md5 or fact.md5, merged.b3 or fact.b3, fact.size if merged.size is None else merged.size
            )
    agreeing = [fact.holders for fact in facts if _agree(fact, merged)]
    contents = {content.b3: content for fact in reversed(facts) for content in reversed(fact.contents)}
    return replace(merged, holders=tuple(merge_holders(agreeing)), contents=tuple(reversed(contents.values())))


def merge_holders(answers: Iterable[Iterable[PeerEntry]]) -> list[PeerEntry]:
    """Each address once, as the tracker puts it that says most of it: an old one does not know who speaks OSP2P/2."""
    merged: dict[Address, PeerEntry] = {}
    for entry in chain.from_iterable(answers):
        known = merged.get(entry.address)
        if known is None or len(known.attributes) < len(entry.attributes):
            merged[entry.address] = entry
    return list(merged.values())


def _same_content(one: TrackerFacts, other: TrackerFacts) -> bool:
    """Whether two trackers certainly mean the same content."""
    same = (one.b3 is not None and one.b3 == other.b3) or (one.md5 is not None and one.md5 == other.md5)
    return same and _agree(one, other)


def _agree(one: TrackerFacts, other: TrackerFacts) -> bool:
    """Whether nothing that two trackers say of a name contradicts the other."""
    same_b3 = one.b3 is None or other.b3 is None or one.b3 == other.b3
    return same_b3 and (one.md5 is None or other.md5 is None or one.md5 == other.md5)
