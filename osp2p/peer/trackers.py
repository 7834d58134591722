"""All trackers of a node, as if they were one: questions go to each, answers are put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import trio

from osp2p.errors import LineTooLong, MalformedLine, NetworkError, NobodyHasIt, TrackerError, TrackerUnreachable
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.peer.tracker_client import TrackerClient, TrackerFacts, connect_tracker
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

    async def ask(self, question: Callable[[TrackerClient], Awaitable[Answer]]) -> Answer:
        """Ask. A connection that was lost since the last question is opened again, once.

        Raises:
            TrackerError, NobodyHasIt.
        """
        fresh = self._client is None
        client = await self._open()
        try:
            return await question(client)
        except (NetworkError, LineTooLong, MalformedLine) as error:
            self._drop(client)
            if fresh:
                raise TrackerUnreachable(f"tracker {client.label} is gone: {error}") from error
        return await self.ask(question)

    async def _open(self) -> TrackerClient:
        async with self._opening:
            if self._client is None:
                self._client = await connect_tracker(self._network, self._host, self._port, self._limits)
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
        self._contacts = [_Contact(network, host, port, limits) for host, port in addresses]

    def close(self) -> None:
        """Close all connections; waits for nothing."""
        for contact in self._contacts:
            contact.close()

    async def _ask_all(self, question: Callable[[TrackerClient], Awaitable[Answer]]) -> list[Answer]:
        """Ask each. Returns: the answers that came, in the trackers' order."""
        answers: dict[int, Answer] = {}
        failures: list[TrackerError | NobodyHasIt] = []

        async def ask(index: int, contact: _Contact) -> None:
            try:
                answers[index] = await contact.ask(question)
            except (TrackerError, NobodyHasIt) as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for index, contact in enumerate(self._contacts):
                nursery.start_soon(ask, index, contact)
        if not answers:
            if not failures:
                raise TrackerUnreachable("no tracker is known: name one with -t HOST:PORT")
            raise min(failures, key=lambda failure: isinstance(failure, TrackerUnreachable))
        return [answers[index] for index in sorted(answers)]

    async def list_files(self, prefix: bytes = b"") -> list[FileEntry]:
        """What there is, each (name, b3) once, in name order."""
        answers = await self._ask_all(lambda client: client.list_files(prefix))
        found = {(entry.name, entry.attributes.get(b"b3", b"")): entry for answer in answers for entry in answer}
        return [found[key] for key in sorted(found)]

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

    async def facts(self, names: Sequence[bytes]) -> list[TrackerFacts]:
        """What the trackers together say of each name. See `TrackerClient.facts`."""
        answers = await self._ask_all(lambda client: _reachable_facts(client, names))
        return [merge_facts(of_one_name) for of_one_name in zip(*answers, strict=True)]

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        """What the trackers say of one content of a name, which the caller knows by its id."""
        answers = await self._ask_all(lambda client: client.facts_of(name, b3))
        merged = merge_facts(answers)
        return replace(merged, holders=tuple(await self.holders(name, b3)))

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        """Who holds one content of a name, or a part of it, each address once. See `TrackerClient.holders`."""

        async def ask(client: TrackerClient) -> list[PeerEntry]:
            return _reachable(client, await client.holders(name, b3))

        answers = await self._ask_all(ask)
        return list({entry.address: entry for answer in answers for entry in answer}.values())


def _reachable(client: TrackerClient, holders: Iterable[PeerEntry]) -> list[PeerEntry]:
    """Holders without the loopback addresses that only the tracker itself could use."""
    return [entry for entry in holders if client.remote.is_loopback or not entry.address.is_loopback]


async def _reachable_facts(client: TrackerClient, names: Sequence[bytes]) -> list[TrackerFacts]:
    """One tracker's facts, without the loopback addresses that only the tracker itself could use."""
    return [replace(fact, holders=tuple(_reachable(client, fact.holders))) for fact in await client.facts(names)]


def merge_facts(facts: Sequence[TrackerFacts]) -> TrackerFacts:
    """Put together what several trackers say of one name.

    The first tracker that knows anything decides what the name stands for. Holders that another tracker names for
    another content are left out.
    """
    decides = next((fact for fact in facts if fact.b3 or fact.md5), None)
    if decides is None:
        holders = {entry.address: entry for fact in facts for entry in fact.holders}
        return TrackerFacts(tuple(holders.values()))
    agreeing = [fact for fact in facts if _agree(fact, decides)]
    merged: dict[Address, PeerEntry] = {}
    for fact in agreeing:
        for entry in fact.holders:
            merged.setdefault(entry.address, entry)
    md5 = next((fact.md5 for fact in agreeing if fact.md5), None)
    return TrackerFacts(tuple(merged.values()), md5, decides.b3, decides.size)


def _agree(fact: TrackerFacts, decides: TrackerFacts) -> bool:
    """Whether nothing that two trackers say of a name contradicts the other."""
    same_b3 = fact.b3 is None or decides.b3 is None or fact.b3 == decides.b3
    return same_b3 and (fact.md5 is None or decides.md5 is None or fact.md5 == decides.md5)
