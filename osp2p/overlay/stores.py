"""What a node keeps for others: who announced themselves under a key, and items.

Both are bounded, as a whole and by whoever put things here, and what is too old is forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from osp2p.errors import MalformedDatagram
from osp2p.limits import Limits
from osp2p.overlay.fair import FairTable
from osp2p.overlay.item import ImmutableItem, MutableItem
from osp2p.overlay.rates import network_of, owner_of
from osp2p.wire.address import Address

#: Codes of errors. Source: BEP 44, and BEP 5 for the first.
FULL = 202
SWAP_MISMATCH = 301
OUTDATED = 302


class PeerStore:
    """Who announced themselves under which key."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept = FairTable[tuple[bytes, Address], None](
            limits.max_stored_peers, limits.max_stored_peers_per_host, limits.peer_lifetime
        )
        self._by_key: dict[bytes, dict[Address, None]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._by_key)

    def put(self, key: bytes, peer: Address, now: float) -> None:
        """Keep an announcement.

        Raises:
            MalformedDatagram: it is one too many.
        """
        self._forget(self._kept.expire(now))
        peers = self._by_key.get(key, {})
        if peer not in peers:
            full = len(peers) >= self._limits.max_peers_per_key
            if full or _count_party(peers, peer) >= self._limits.max_peers_per_key_and_host:
                raise MalformedDatagram("there are enough peers of this key", FULL)
        lost = self._kept.put((key, peer), None, owner_of(peer), now)
        if lost is None:
            raise MalformedDatagram("there are enough announcements of this address", FULL)
        self._forget(lost)
        self._by_key.setdefault(key, {})[peer] = None

    def _forget(self, lost: list[tuple[bytes, Address]]) -> None:
        for key, peer in lost:
            peers = self._by_key[key]
            del peers[peer]
            if not peers:
                del self._by_key[key]

    def peers(self, key: bytes, now: float, rng: random.Random, *, ipv6: bool) -> list[Address]:
        """A random choice of the peers of a key, of one family."""
        self._forget(self._kept.expire(now))
        found = [peer for peer in self._by_key.get(key, ()) if peer.is_ipv6 == ipv6]
        return found if len(found) <= self._limits.max_values else rng.sample(found, self._limits.max_values)


def _count_party(peers: Iterable[Address], peer: Address) -> int:
    """How many peers have the address of one of them, or, in IPv6, are in its network, which one host may have."""
    if not peer.is_ipv6:
        return sum(1 for other in peers if other.host == peer.host)
    network = network_of(peer.host)
    return sum(1 for other in peers if other.is_ipv6 and network_of(other.host) == network)


class ItemStore:
    """Immutable and signed items, by target."""

    def __init__(self, limits: Limits) -> None:
        self._kept = FairTable[bytes, ImmutableItem | MutableItem](
            limits.max_stored_items, limits.max_stored_items_per_host, limits.item_lifetime
        )

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, target: bytes, now: float) -> ImmutableItem | MutableItem | None:
        """What is kept under a target."""
        return self._kept.get(target, now)

    def put(self, item: ImmutableItem | MutableItem, source: Address, now: float, swap: int | None = None) -> None:
        """Keep an item.

        Args:
            source: who put it here.
            swap: the sequence number that the item must have now, where it is here already (BEP 44, ``cas``).

        Raises:
            MalformedDatagram: with the code that fits.
        """
        self._kept.expire(now)
        there = self._kept.get(item.target, now)
        if isinstance(there, MutableItem) and isinstance(item, MutableItem):
            if swap is not None and swap != there.sequence:
                raise MalformedDatagram("another sequence number is here", SWAP_MISMATCH)
            if item.sequence < there.sequence or (item.sequence == there.sequence and item.value != there.value):
                raise MalformedDatagram("a newer one is here", OUTDATED)
        # Whoever put it here first is counted for it, or others could be made to own what is not theirs.
        owner = self._kept.owner(item.target) or owner_of(source)
        if self._kept.put(item.target, item, owner, now) is None:
            raise MalformedDatagram("there are enough items of this address", FULL)
