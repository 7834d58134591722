"""Holders out of the overlay: who announced a name or a content, and what they say themselves when they are asked.

The overlay tells addresses alone, and any node may have put any address there. So each is asked, over TCP, what it has
under the name (``STAT``), and only what it says is passed on; that is claimed like everything else, and proved by the
content id. Whoever shares more files than are announced one by one is found under a key of its own, and asked likewise.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import trio

from osp2p.errors import NetworkError, OverlayUnreachable, RemoteProtocolError
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.net.errors import deadline
from osp2p.overlay.keys import content_key, many_key, name_key
from osp2p.overlay.node import Overlay
from osp2p.peer.probe import ask_state
from osp2p.peer.tracker_facts import ListedContent, TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

#: Of how many files it is remembered who has them.
_MAX_SEARCHES = 1000


class _Search:
    """Who has one file, as far as it is known: one lookup after the other, at most one at a time."""

    def __init__(self) -> None:
        self.holders: dict[Address, PeerEntry] = {}
        self.running = False
        self.ended = float("-inf")
        self.changed = trio.Event()

    def notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    @property
    def is_proved(self) -> bool:
        """Whether any holder has told a content id."""
        return any(b"b3" in entry.attributes for entry in self.holders.values())


class OverlaySource:
    """The overlay as a source of holders. See `HolderSource`.

    Args:
        nursery: in which lookups go on after a question has been answered.
        own: where this node listens.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        overlay: Overlay,
        network: Network,
        limits: Limits,
        own: Callable[[], set[Address]],
    ) -> None:
        self._nursery = nursery
        self._overlay = overlay
        self._network = network
        self._limits = limits
        self._own = own
        self._searches: OrderedDict[tuple[bytes, bytes | None], _Search] = OrderedDict()
        self._asking = trio.CapacityLimiter(limits.max_asked_peers)

    async def facts(self, names: Sequence[bytes], unlisted: Collection[bytes] = ()) -> list[TrackerFacts]:
        """See `HolderSource`. The content that most holders have is what a name stands for."""
        found: dict[bytes, TrackerFacts] = {}
        at_a_time = trio.Semaphore(max(1, self._limits.max_parallel_files))

        async def look(name: bytes) -> None:
            async with at_a_time:
                found[name] = facts_from(await self._look(name, None))

        async with trio.open_nursery() as nursery:
            for name in dict.fromkeys(names):
                nursery.start_soon(look, name)
        if not self._overlay.connected and not any(fact.holders for fact in found.values()):
            await self._overlay.wait_connected(0)
        return [found[name] for name in names]

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        """See `HolderSource`."""
        holders = await self._look(name, b3)
        if not self._overlay.connected and not holders:
            await self._overlay.wait_connected(0)
        return replace(facts_from(holders), b3=b3)

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        """See `HolderSource`."""
        return await self._look(name, b3)

    async def find(self, name: bytes, b3: bytes | None = None) -> list[PeerEntry]:
        """Everybody who has a file, whatever content: a whole lookup, and what each of them says.

        Args:
            b3: the content that they must have; None: any.

        Raises:
            OverlayUnreachable: there is nobody to ask.
        """
        search = _Search()
        await self._run(search, name, b3)
        if not self._overlay.connected:
            await self._overlay.wait_connected(0)
        return list(search.holders.values())

    async def _look(self, name: bytes, b3: bytes | None) -> list[PeerEntry]:
        """Who has a file: at once, if somebody is known; else when somebody is, or the lookup is through."""
        search = self._searches.setdefault((name, b3), _Search())
        self._searches.move_to_end((name, b3))
        while len(self._searches) > _MAX_SEARCHES:
            self._searches.popitem(last=False)
        known = bool(search.holders)
        pause = self._limits.find_again if search.is_proved else self._limits.digest_recheck
        if not search.running and trio.current_time() - search.ended >= pause:
            search.running = True
            self._nursery.start_soon(self._run, search, name, b3)
        if not known:
            with trio.move_on_after(self._limits.find_timeout):
                while search.running and not search.holders:
                    await search.changed.wait()
            with trio.move_on_after(self._limits.find_linger):
                while search.running:
                    await search.changed.wait()
        return list(search.holders.values())

    async def _run(self, search: _Search, name: bytes, b3: bytes | None) -> None:
        """Look a file up once, and ask everybody who is named."""
        network = self._overlay.network
        keys = (name_key(network, name) if b3 is None else content_key(network, b3), many_key(network))
        asked: set[Address] = set()

        async def follow(key: bytes) -> None:
            async with self._overlay.open_search(key) as found:
                async for peers in found:
                    for peer in peers:
                        if peer not in asked and peer not in self._own():
                            asked.add(peer)
                            nursery.start_soon(self._ask, search, peer, name, b3)

        try:
            with trio.move_on_after(self._limits.find_timeout):
                if not self._overlay.connected:
                    await self._wait_connected()
                async with trio.open_nursery() as nursery:
                    for key in keys:
                        nursery.start_soon(follow, key)
        finally:
            search.running = False
            search.ended = trio.current_time()
            search.notify()

    async def _wait_connected(self) -> None:
        try:
            await self._overlay.wait_connected(self._limits.join_patience)
        except OverlayUnreachable:
            return

    async def _ask(self, search: _Search, address: Address, name: bytes, b3: bytes | None) -> None:
        """Ask one peer what it has; who has nothing, or is not there, is none of the holders any more."""
        async with self._asking:
            try:
                entry = await ask_peer(self._network, address, name, b3, self._limits)
            except (NetworkError, RemoteProtocolError):
                entry = None
        if entry is None:
            search.holders.pop(address, None)
        else:
            search.holders[address] = entry
        search.notify()


async def ask_peer(
    network: Network, address: Address, name: bytes, b3: bytes | None, limits: Limits
) -> PeerEntry | None:
    """Ask a peer what it has under a name.

    Args:
        b3: the content that it must have; None: any.

    Returns: what it claims, as a tracker would tell it; None if it has no such file, or says that it is another.

    Raises:
        NetworkError, RemoteProtocolError.
    """
    with deadline(trio.current_time() + limits.connect_timeout, str(address)):
        connection = await network.connect(address.host, address.port)
        try:
            _, claimed = await ask_state(LineConnection(connection, limits, of_peer=True), name, b3)
        finally:
            connection.close()
    if claimed is None or (b3 is not None and claimed.get(b"b3") != b3.hex().encode()):
        return None
    return PeerEntry(str(address).encode(), address, claimed)


def facts_from(holders: Iterable[PeerEntry]) -> TrackerFacts:
    """What holders together say of a file: what most of them have, the first named where it is undecided."""
    holders = list(holders)
    counts = Counter(
        (entry.attributes[b"b3"], entry.attributes[b"size"])
        for entry in holders
        if b"b3" in entry.attributes and b"size" in entry.attributes
    )
    if not counts:
        return TrackerFacts(tuple(holders))
    b3, size = counts.most_common(1)[0][0]
    same = tuple(entry for entry in holders if entry.attributes.get(b"b3", b3) == b3)
    contents = tuple(_listed(claimed, size, holders) for (claimed, size), _ in counts.most_common())
    return TrackerFacts(same, b3=bytes.fromhex(b3.decode()), size=int(size), contents=contents)


def _listed(b3: bytes, size: bytes, holders: Iterable[PeerEntry]) -> ListedContent:
    """One content that holders claim to have, and how many."""
    theirs = [entry.attributes for entry in holders if entry.attributes.get(b"b3") == b3]
    partial = sum(b"part" in attributes for attributes in theirs)
    return ListedContent(bytes.fromhex(b3.decode()), int(size), "", (len(theirs) - partial, partial))
