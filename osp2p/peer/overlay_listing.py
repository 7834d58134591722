"""What there is, where no tracker lists it: all who share are found under one key, and each is asked for its list.

That suits networks of some dozens of sharers. In a larger one it is a sample: answers name so many peers, and no more
are asked.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from osp2p.errors import NetworkError, RemoteProtocolError
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.net.errors import deadline
from osp2p.overlay.keys import sharers_key
from osp2p.overlay.node import Overlay
from osp2p.peer.chunk_client import HELLO
from osp2p.peer.tracker_facts import parse_entries
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry, parse_file_line
from osp2p.wire.request import write_request

#: What an entry takes beside the bytes of its name and of what is said of it.
_ENTRY_WEIGHT = 64

#: What tells two contents of one name apart.
_Key = tuple[bytes, bytes | None]


async def list_overlay(
    overlay: Overlay, network: Network, prefix: bytes, limits: Limits, tell: Callable[[str], None]
) -> list[FileEntry]:
    """What everybody who is found shares, in name order, each content of a name once.

    Args:
        prefix: only names that begin so.
        tell: takes a sentence for each limit at which the list was cut off.

    Raises:
        OverlayUnreachable: there is nobody to ask.
    """
    await overlay.wait_connected(limits.join_patience)
    listing = _Listing(network, prefix, limits)
    asked = 0
    with trio.move_on_after(limits.listing_timeout) as scope:
        async with trio.open_nursery() as nursery, overlay.open_search(sharers_key(overlay.network)) as found:
            async for peers in found:
                asked += len(peers)
                for peer in peers:
                    nursery.start_soon(listing.ask, peer)
    if asked >= limits.max_found_peers:
        tell(f"only {asked} of those who share were asked what they have (max_found_peers)")
    if scope.cancelled_caught:
        listing.reached.add(f"{limits.listing_timeout:g} s (listing_timeout)")
    for limit in sorted(listing.reached):
        tell(f"the overlay's list is cut off at {limit}")
    return [listing.found[key] for key in sorted(listing.found, key=lambda key: (key[0], key[1] or b""))]


class _Listing:
    def __init__(self, network: Network, prefix: bytes, limits: Limits) -> None:
        self._network = network
        self._prefix = prefix
        self._limits = limits
        self._asking = trio.CapacityLimiter(limits.max_asked_peers)
        self._weight = 0
        self.found: dict[_Key, FileEntry] = {}
        #: The limits that kept something out, as text.
        self.reached: set[str] = set()

    async def ask(self, peer: Address) -> None:
        """Ask one peer for its list; who gives none, or not to the end, has said what it has said."""
        async with self._asking:
            try:
                await self._read(peer)
            except (NetworkError, RemoteProtocolError):
                return

    async def _read(self, peer: Address) -> None:
        limits = self._limits
        with deadline(trio.current_time() + limits.connect_timeout, str(peer)):
            connection = await self._network.connect(peer.host, peer.port)
        lines = LineConnection(connection, limits, of_peer=True)
        try:
            at = trio.current_time() + limits.reply_timeout
            await lines.send(HELLO, at)
            after = b""
            more = (await lines.read_reply(at)).ok
            while more and self._has_room:
                pairs = ((b"prefix", self._prefix), (b"after", after), (b"max", b"%d" % limits.overlay_list_page))
                await lines.send(write_request(b"LIST", attributes={key: value for key, value in pairs if value}), at)
                page = (await lines.read_reply(at)).data
                before = after
                for entry in parse_entries(page, parse_file_line, hello=True):
                    after = max(after, entry.name)
                    self._keep(entry)
                more = after > before
            if more:
                self._note_full()
        finally:
            lines.close()

    @property
    def _has_room(self) -> bool:
        """Whether more may be kept."""
        return len(self.found) < self._limits.max_listed_files and self._weight < self._limits.max_listed_bytes

    def _keep(self, entry: FileEntry) -> None:
        """Keep what is new, as long as there is room: of many long lists, what comes first."""
        key = (entry.name, entry.attributes.get(b"b3"))
        if not entry.name.startswith(self._prefix) or key in self.found:
            return
        if self._has_room:
            self.found[key] = entry
            self._weight += len(entry.name) + sum(map(len, entry.attributes.values())) + _ENTRY_WEIGHT
        else:
            self._note_full()

    def _note_full(self) -> None:
        """Remember which limit keeps something out."""
        if len(self.found) >= self._limits.max_listed_files:
            self.reached.add(f"{self._limits.max_listed_files} files (max_listed_files)")
        else:
            self.reached.add(f"{self._limits.max_listed_bytes} bytes (max_listed_bytes)")
