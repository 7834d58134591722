"""The routing table: many nodes near our own id, few far from it, and only such as have answered us.

A bucket holds the nodes that share a number of leading bits with our own id, eight at most; the last one holds all that
share more, and is split when it is full. A full bucket keeps further nodes as spares. A node that was quiet for a
quarter of an hour is questionable: it is pinged before anything else becomes of it; one that left two queries in a row
unanswered gives its place to a spare.

Source: Maymounkov and Mazières, 2002; BEP 5.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nsmallest

from osp2p.limits import Limits
from osp2p.overlay.compact import Contact
from osp2p.overlay.identifier import ID_BITS, id_with_prefix, is_exempt, shared_bits
from osp2p.overlay.rates import network_of

#: How many nodes a bucket holds, how many an answer names, and at how many something is kept. Source: BEP 5.
K = 8


@dataclass(slots=True)
class Neighbour:
    """A node that has answered us.

    Attributes:
        number: its id.
        heard: when it answered last.
        failures: how many queries in a row it has left unanswered since.
    """

    contact: Contact
    number: int
    heard: float
    failures: int = 0


@dataclass(slots=True)
class Bucket:
    """Some neighbours, the one that was heard longest ago first, and some to replace them."""

    neighbours: list[Neighbour] = field(default_factory=list)
    spares: list[Neighbour] = field(default_factory=list)
    touched: float = float("-inf")


class RoutingTable:
    """The neighbours of one node, in one family.

    Args:
        own: the node's id.
    """

    def __init__(self, own: bytes, limits: Limits) -> None:
        self.own = own
        self._limits = limits
        self.buckets = [Bucket()]
        self._known: dict[bytes, Neighbour] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Neighbour]:
        for bucket in self.buckets:
            yield from bucket.neighbours

    def get(self, node_id: bytes) -> Neighbour | None:
        """A neighbour by its id."""
        return self._known.get(node_id)

    def _index(self, node_id: bytes) -> int:
        return min(shared_bits(self.own, node_id), len(self.buckets) - 1)

    def nearest(self, target: bytes, count: int = K) -> list[Contact]:
        """The neighbours that are nearest to a target, the nearest first, leaving out those that seem to be gone."""
        number = int.from_bytes(target, "big")
        at = self._index(target)
        # What is nearest shares most bits with the target: its own bucket, then all nearer to us, then one by one away.
        found = [n for n in self.buckets[at].neighbours if not n.failures]
        if len(found) < count:
            for bucket in self.buckets[at + 1 :]:
                found += [n for n in bucket.neighbours if not n.failures]
            for bucket in reversed(self.buckets[:at]):
                if len(found) >= count:
                    break
                found += [n for n in bucket.neighbours if not n.failures]
        return [n.contact for n in nsmallest(count, found, key=lambda n: n.number ^ number)]

    def far(self, rng: random.Random, count: int = K) -> list[Contact]:
        """A random choice of the neighbours that are not in the last bucket; of all, where there are no others."""
        everybody = [n.contact for bucket in self.buckets[:-1] for n in bucket.neighbours if not n.failures]
        everybody = everybody or [n.contact for n in self]
        return rng.sample(everybody, min(count, len(everybody)))

    # --- what is taken in ---

    def has_room(self, contact: Contact) -> bool:
        """Whether a node that we know by hearsay is worth a ping: it would be a neighbour, or the first spare."""
        if contact.id == self.own or contact.id in self._known:
            return False
        index = self._index(contact.id)
        bucket = self.buckets[index]
        full = len(bucket.neighbours) == K and not any(n.failures for n in bucket.neighbours)
        return (not full or not bucket.spares or self._may_split(index)) and self._may_join(bucket, contact)

    def note_answer(self, contact: Contact, now: float) -> Neighbour | None:
        """Take note of a node that has answered.

        Returns: a questionable neighbour that should be pinged, since this one would take its place.
        """
        if contact.id == self.own:
            return None
        known = self._known.get(contact.id)
        if known is not None:
            # An id that is here at another address stays where it was, as long as it answers there.
            if known.contact.address == contact.address:
                self._refresh(known, now)
            return None
        return self._insert(Neighbour(contact, int.from_bytes(contact.id, "big"), now), now)

    def _refresh(self, neighbour: Neighbour, now: float) -> None:
        bucket = self.buckets[self._index(neighbour.contact.id)]
        neighbour.heard = bucket.touched = now
        neighbour.failures = 0
        bucket.neighbours.remove(neighbour)
        bucket.neighbours.append(neighbour)

    def _insert(self, newcomer: Neighbour, now: float) -> Neighbour | None:
        while True:
            index = self._index(newcomer.contact.id)
            bucket = self.buckets[index]
            if not self._may_join(bucket, newcomer.contact):
                return None
            if len(bucket.neighbours) < K:
                self._add(bucket, newcomer, now)
                return None
            if not self._may_split(index):
                break
            self._split()
        failed = next((n for n in bucket.neighbours if n.failures), None)
        if failed is not None:
            self._drop(bucket, failed)
            self._add(bucket, newcomer, now)
            return None
        self._spare(bucket, newcomer)
        oldest = bucket.neighbours[0]
        return oldest if now - oldest.heard > self._limits.neighbour_quiet else None

    def _add(self, bucket: Bucket, newcomer: Neighbour, now: float) -> None:
        bucket.spares = [spare for spare in bucket.spares if spare.contact.id != newcomer.contact.id]
        bucket.neighbours.append(newcomer)
        bucket.touched = now
        self._known[newcomer.contact.id] = newcomer

    def _drop(self, bucket: Bucket, neighbour: Neighbour) -> None:
        bucket.neighbours.remove(neighbour)
        del self._known[neighbour.contact.id]

    def _spare(self, bucket: Bucket, newcomer: Neighbour) -> None:
        """Keep a node for later; the newest are kept."""
        bucket.spares = [spare for spare in bucket.spares if spare.contact.id != newcomer.contact.id]
        bucket.spares = [*bucket.spares, newcomer][-K:]

    def _may_join(self, bucket: Bucket, contact: Contact) -> bool:
        """Whether not too many of the bucket are of one network already, which one party may have all of."""
        host = contact.address.host
        if is_exempt(host):
            return True
        network = network_of(host)
        same = sum(1 for n in bucket.neighbours if network_of(n.contact.address.host) == network)
        return same < self._limits.max_bucket_same_network

    def _may_split(self, index: int) -> bool:
        return index == len(self.buckets) - 1 < ID_BITS - 1

    def _split(self) -> None:
        """Give those that share more bits with our own id a bucket of their own."""
        last = self.buckets[-1]
        bits = len(self.buckets) - 1
        further = Bucket(touched=last.touched)
        for kind in ("neighbours", "spares"):
            everybody: list[Neighbour] = getattr(last, kind)
            setattr(further, kind, [n for n in everybody if shared_bits(self.own, n.contact.id) > bits])
            setattr(last, kind, [n for n in everybody if shared_bits(self.own, n.contact.id) == bits])
        self.buckets.append(further)

    # --- who goes ---

    def note_silence(self, contact: Contact) -> bool:
        """Take note of a node that has left a query unanswered. Returns: whether it is a neighbour no more."""
        neighbour = self._known.get(contact.id)
        if neighbour is None or neighbour.contact.address != contact.address:
            return False
        neighbour.failures += 1
        if neighbour.failures < self._limits.neighbour_failures:
            return False
        bucket = self.buckets[self._index(contact.id)]
        self._drop(bucket, neighbour)
        while bucket.spares:
            spare = bucket.spares.pop()
            if self._may_join(bucket, spare.contact):
                self._add(bucket, spare, bucket.touched)
                break
        return True

    def questionable(self, now: float) -> list[Neighbour]:
        """Of each bucket the neighbour that should be pinged now, if there is one: quiet for long, or failing."""
        quiet = self._limits.neighbour_quiet
        found = []
        for bucket in self.buckets:
            worst = next((n for n in bucket.neighbours if n.failures or now - n.heard > quiet), None)
            if worst is not None:
                found.append(worst)
        return found

    def stale_targets(self, now: float, rng: random.Random) -> list[bytes]:
        """A random target in each bucket of which nothing was heard for long; our own id for the last one."""
        quiet = self._limits.neighbour_quiet
        last = len(self.buckets) - 1
        return [
            self.own if bits == last else id_with_prefix(self.own, bits, rng)
            for bits, bucket in enumerate(self.buckets)
            if now - bucket.touched > quiet
        ]

    def thin_targets(self, rng: random.Random) -> list[bytes]:
        """A random target in each bucket that is not half full, the last one aside."""
        return [
            id_with_prefix(self.own, bits, rng)
            for bits, bucket in enumerate(self.buckets[:-1])
            if len(bucket.neighbours) < K // 2
        ]

    def touch(self, target: bytes, now: float) -> None:
        """Take note that a target's bucket was looked after, whatever came of it."""
        self.buckets[self._index(target)].touched = now

    # --- another id, another start ---

    def with_own(self, own: bytes) -> RoutingTable:
        """The same neighbours, as seen from another id."""
        table = RoutingTable(own, self._limits)
        for neighbour in sorted(self, key=lambda n: n.heard):
            if neighbour.contact.id != own:
                table._insert(neighbour, neighbour.heard)
        return table

    def spares(self) -> Iterable[Neighbour]:
        """Nodes that are kept to replace others."""
        for bucket in self.buckets:
            yield from bucket.spares
