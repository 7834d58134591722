"""A world of nodes in virtual time: a heap of datagrams and wakings, and nothing else.

The nodes are the real ones (`Engine` and what drives it), and so are the bytes. The same seed gives the same datagrams
at the same times, which `World.log` sums up. Hostile nodes are anything with the methods of `Inhabitant`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Protocol

from osp2p.limits import DEFAULT, Limits
from osp2p.overlay.compact import Contact
from osp2p.overlay.engine import Engine
from osp2p.overlay.maintenance import Maintenance
from osp2p.overlay.searches import Searches
from osp2p.wire.address import Address

#: How long a datagram takes from a host to the network, in seconds, and from there to another: between these.
_LEAST_LATENCY, _MOST_LATENCY = 0.005, 0.080

#: How much longer it may take by chance: so many times as long.
_JITTER = 0.2


class Inhabitant(Protocol):
    """Whoever has an address in a world."""

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take a datagram."""

    def wake(self, now: float) -> None:
        """Do what is due."""

    @property
    def next_wake(self) -> float:
        """When something is due."""

    def take_outgoing(self) -> list[tuple[bytes, Address]]:
        """What is to be sent now; it is no longer there afterwards."""


class HonestNode:
    """A node like any other, in a world."""

    def __init__(
        self, world: World, address: Address, joins: Sequence[Address], limits: Limits, own: bytes | None = None
    ) -> None:
        self.address = address
        ids = {} if own is None else {False: own}
        self.engine = Engine(network=world.network, limits=limits, rng=world.derive(), now=world.now, own=ids)
        self.searches = Searches(self.engine)
        self.maintenance = Maintenance(self.engine, self.searches, lambda: None)
        self.receive = self.engine.receive
        self.wake = self.engine.wake
        self.maintenance.start(joins, [], world.now)

    def know(self, contacts: Iterable[Contact], now: float) -> None:
        """Be a node that joined long ago, and has heard of these just now."""
        table = self.engine.families[False].table
        for contact in contacts:
            table.note_answer(contact, now)
        self.maintenance.connected = self.maintenance.settled = True

    @property
    def next_wake(self) -> float:
        """See `Inhabitant`."""
        return self.engine.next_wake

    @property
    def own(self) -> bytes:
        """Its id."""
        return self.engine.families[False].own

    def take_outgoing(self) -> list[tuple[bytes, Address]]:
        """See `Inhabitant`."""
        found = list(self.engine.outgoing)
        self.engine.outgoing.clear()
        return found


class World:
    """Hosts, a network between them, and a clock.

    Args:
        loss: which part of all datagrams is lost.
        private: whether all have addresses of a private network, where ids are free.
    """

    def __init__(
        self,
        seed: int,
        *,
        loss: float = 0.0,
        network: bytes = b"simulate",
        private: bool = False,
        limits: Limits = DEFAULT,
    ) -> None:
        self.now = 0.0
        self.network = network
        self.limits = limits
        self.rng = random.Random(seed)
        self._loss = loss
        self._private = private
        self._events: list[tuple[float, int, Address, bytes | None, Address | None]] = []
        self._serial = 0
        self._wakes: dict[Address, float] = {}
        self._latency: dict[str, float] = {}
        self._sum = blake2b(digest_size=16)
        self.inhabitants: dict[Address, Inhabitant] = {}
        #: What became of datagrams: sent, lost, delivered, and sent to nobody.
        self.counts: Counter[str] = Counter()

    @property
    def log(self) -> str:
        """What happened so far, in one number: every datagram, when, from whom and to whom."""
        return self._sum.hexdigest()

    def derive(self) -> random.Random:
        """Randomness for one inhabitant."""
        return random.Random(self.rng.getrandbits(64))

    def new_address(self) -> Address:
        """An address that nobody has."""
        first = (10, 11) if self._private else (11, 126)
        while True:
            host = ".".join(str(self.rng.randrange(*bounds)) for bounds in (first, (0, 256), (0, 256), (1, 255)))
            address = Address(host, self.rng.randrange(1024, 65536))
            if address not in self.inhabitants:
                return address

    def add_node(
        self,
        joins: Sequence[Address],
        address: Address | None = None,
        limits: Limits | None = None,
        own: bytes | None = None,
    ) -> HonestNode:
        """Let a node begin now."""
        address = address or self.new_address()
        node = HonestNode(self, address, joins, limits or self.limits, own)
        self.settle(address, node)
        return node

    def settle(self, address: Address, inhabitant: Inhabitant) -> None:
        """Give somebody an address."""
        self.inhabitants[address] = inhabitant
        self.flush(address)

    def remove(self, address: Address) -> None:
        """Let somebody vanish without a word."""
        del self.inhabitants[address]
        self._wakes.pop(address, None)

    def flush(self, address: Address) -> None:
        """Take up what somebody did outside of their turn."""
        inhabitant = self.inhabitants[address]
        for data, target in inhabitant.take_outgoing():
            self._carry(data, address, target)
        at = inhabitant.next_wake
        if at < self._wakes.get(address, float("inf")):
            self._wakes[address] = at
            self._push(max(at, self.now), address, None, None)

    def _push(self, at: float, address: Address, data: bytes | None, source: Address | None) -> None:
        self._serial += 1
        heappush(self._events, (at, self._serial, address, data, source))

    def _carry(self, data: bytes, source: Address, target: Address) -> None:
        self.counts["sent"] += 1
        self._sum.update(f"{self.now!r} {source} {target} ".encode() + data)
        if self._loss and self.rng.random() < self._loss:
            self.counts["lost"] += 1
            return
        latency = self._latency_of(source.host) + self._latency_of(target.host)
        self._push(self.now + latency * self.rng.uniform(1, 1 + _JITTER), target, data, source)

    def _latency_of(self, host: str) -> float:
        latency = self._latency.get(host)
        if latency is None:
            latency = self._latency[host] = self.rng.uniform(_LEAST_LATENCY, _MOST_LATENCY)
        return latency

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, to a moment or until something holds."""
        while self._events and self._events[0][0] <= until and not done():
            at, _, address, data, source = heappop(self._events)
            self.now = at
            inhabitant = self.inhabitants.get(address)
            if inhabitant is None:
                self.counts["to nobody"] += data is not None
                continue
            if data is not None and source is not None:
                self.counts["delivered"] += 1
                inhabitant.receive(data, source, at)
            elif self._wakes.get(address) == at:
                del self._wakes[address]
                inhabitant.wake(at)
            else:
                continue
            self.flush(address)
        if not done():
            self.now = max(self.now, until)
