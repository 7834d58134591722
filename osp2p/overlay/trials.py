"""Trials in a world of virtual time: nodes that come and go, and what those who look for something find."""

from __future__ import annotations

import random
import statistics
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from osp2p.limits import DEFAULT, Limits
from osp2p.overlay.compact import Contact
from osp2p.overlay.identifier import ID_BITS, ID_BYTES, id_for, random_id
from osp2p.overlay.lookup import Candidate
from osp2p.overlay.searches import Outcome, Stored
from osp2p.overlay.simulation import HonestNode, World
from osp2p.overlay.table import K
from osp2p.wire.address import Address

#: In how many seconds the nodes of a large network join.
_JOIN_SECONDS = 120.0

#: Seconds after the last one joined.
_SETTLE_SECONDS = 20.0


@dataclass(slots=True)
class _Search:
    """Somebody who looks for a key: what is found, when, and over how many nodes."""

    asker: Address
    begun: float
    first: float | None = None
    hops: int = 0
    ended: float | None = None
    queries: int = 0

    def found(self, peers: list[Address], teller: Candidate | None, now: float) -> None:
        if self.first is None:
            self.first = now
            self.hops = 0 if teller is None else teller.depth + 1

    def done(self, outcome: Outcome, now: float) -> None:
        self.ended = now
        self.queries = outcome.queries


class Trial:
    """A network of honest nodes.

    Args:
        number: of nodes.
        loss, private: as of the world.
    """

    def __init__(
        self, seed: int, number: int, *, loss: float = 0.0, private: bool = False, limits: Limits = DEFAULT
    ) -> None:
        self.world = World(seed, loss=loss, private=private, limits=limits)
        self._number = number
        self.nodes: list[HonestNode] = []

    def grow(self, settle: float = _SETTLE_SECONDS) -> None:
        """Let all nodes join, each through any that is there.

        Args:
            settle: seconds after the last one.
        """
        world = self.world
        pause = min(0.03, _JOIN_SECONDS / self._number)
        self.nodes = [world.add_node([])]
        while len(self.nodes) < self._number:
            world.run(world.now + pause)
            self.nodes.append(world.add_node([world.rng.choice(self.nodes).address]))
        world.run(world.now + settle)

    def begin_settled(self) -> None:
        """Let all nodes be there, and know whom they would know after long: eight of each part of the space.

        It is a network in which nobody has joined so far; whoever comes later joins as ever.
        """
        world = self.world
        for _ in range(self._number):
            address = world.new_address()
            self.nodes.append(world.add_node([], address, own=id_for(address.host, world.rng)))
        contacts = sorted(Contact(node.own, node.address) for node in self.nodes)
        for node in self.nodes:
            node.know(_some_of_each_part(contacts, node.own, world.rng), world.now)

    def announce(self, node: HonestNode, key: bytes, port: int = 1) -> list[Stored]:
        """Let a node announce a key. Returns: a list that holds what became of it, once that is known."""
        results: list[Stored] = []
        node.searches.announce(key, port, self.world.now, lambda stored, _now: results.append(stored))
        self.world.flush(node.address)
        return results

    def search(self, node: HonestNode, key: bytes) -> _Search:
        """Let a node look for a key."""
        search = _Search(node.address, self.world.now)
        node.searches.get_peers(key, self.world.now, search.found, search.done)
        self.world.flush(node.address)
        return search

    def look_up(self, lookups: int, replaced: float, seconds: float = 120.0) -> dict[str, float]:
        """Announce keys; then let nodes look for them while others go without a word and new ones come.

        Args:
            lookups: how many.
            replaced: which part of the nodes has gone at the end.
            seconds: how long all of it takes.

        Returns: figures. `success` is the part that found something; `median` and `p99` are seconds to the first
            result, `whole_…` to the end; `hops_…` tell over how many nodes the first result was found.
        """
        world = self.world
        keys = [random_id(world.rng) for _ in range(max(1, lookups // 10))]
        owners = [world.rng.choice(self.nodes) for _ in keys]
        for owner, key in zip(owners, keys, strict=True):
            self.announce(owner, key)
            world.run(world.now + 0.02)
        world.run(world.now + 5)
        going = int(len(self.nodes) * replaced)
        gone = 0
        searches: list[_Search] = []
        for number in range(1, lookups + 1):
            while gone < going * number // lookups:
                self._replace_one()
                gone += 1
            connected = [node for node in world.rng.sample(self.nodes, 5) if node.maintenance.connected]
            searches.append(self.search(connected[0], world.rng.choice(keys)))
            world.run(world.now + seconds / lookups)
        waiting = deque(searches)

        def all_ended() -> bool:
            while waiting and (waiting[0].ended is not None or waiting[0].asker not in world.inhabitants):
                waiting.popleft()
            return not waiting

        world.run(world.now + world.limits.lookup_timeout, all_ended)
        # Who was replaced while looking is no longer there to find anything.
        return _figures([search for search in searches if search.ended is not None])

    def _replace_one(self) -> None:
        """Let one node go without a word, and another come."""
        world = self.world
        at = world.rng.randrange(len(self.nodes))
        world.remove(self.nodes[at].address)
        self.nodes[at] = self.nodes[-1]
        self.nodes.pop()
        joins = [node.address for node in world.rng.sample(self.nodes, min(3, len(self.nodes)))]
        self.nodes.append(world.add_node(joins))


def _some_of_each_part(contacts: Sequence[Contact], own: bytes, rng: random.Random) -> Iterator[Contact]:
    """Up to eight of those that share no bit with an id, of those that share one, two, and so on.

    Args:
        contacts: all of them, in the order of their ids.
    """
    number = int.from_bytes(own, "big")
    first, end = 0, len(contacts)
    for depth in range(ID_BITS):
        if end - first <= 1:
            return
        bit = 1 << (ID_BITS - 1 - depth)
        upper_half = (number & -bit | bit).to_bytes(ID_BYTES, "big")
        middle = bisect_left(contacts, upper_half, first, end, key=lambda contact: contact.id)
        first, end, other = (middle, end, range(first, middle)) if number & bit else (first, middle, range(middle, end))
        yield from (contacts[at] for at in rng.sample(other, min(K, len(other))))


def _figures(searches: list[_Search]) -> dict[str, float]:
    found = [(search.first - search.begun, search.hops) for search in searches if search.first is not None]
    times = sorted(seconds for seconds, _ in found)
    whole = sorted(search.ended - search.begun for search in searches if search.ended is not None)
    return {
        "lookups": len(searches),
        "success": len(found) / len(searches),
        "median": round(statistics.median(times), 3),
        "p99": round(times[int(len(times) * 0.99)], 3),
        "whole_median": round(statistics.median(whole), 3),
        "whole_p99": round(whole[int(len(whole) * 0.99)], 3),
        "hops_mean": round(statistics.mean(hops for _, hops in found), 2),
        "hops_most": max(hops for _, hops in found),
        "queries": round(statistics.mean(search.queries for search in searches), 1),
    }
