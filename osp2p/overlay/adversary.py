"""Nodes that lie, for worlds in virtual time: what they do to others is a figure in docs/overlay.md.

They are nodes like any other but for what they answer, so others take them into their tables. Whoever is in league
knows all the others of the league.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from osp2p.overlay.answers import Answers
from osp2p.overlay.compact import Contact, pack_contacts
from osp2p.overlay.identifier import ID_BITS, distance, fits, id_for, is_exempt
from osp2p.overlay.krpc import Arguments, Query
from osp2p.overlay.simulation import HonestNode, World
from osp2p.overlay.table import K
from osp2p.wire.address import Address

_LOOKUPS = frozenset({b"find_node", b"get_peers", b"get"})


def id_near(target: bytes, host: str, rng: random.Random, tries: int = 64) -> bytes:
    """The id nearest to a target that a host may have: what the address does not fix is the target's."""
    if is_exempt(host):
        return (int.from_bytes(target, "big") ^ rng.getrandbits(ID_BITS - 64)).to_bytes(len(target), "big")
    best = min((id_for(host, rng) for _ in range(tries)), key=lambda found: distance(found, target))
    near = best[:3] + target[3:-1] + best[-1:]
    return near if fits(near, host) else best


class _LyingAnswers:
    """Answers of a node, with lies."""

    def __init__(self, honest: Answers, lie: Callable[[Query, Address, Arguments], Arguments]) -> None:
        self._honest = honest
        self._lie = lie

    def __getattr__(self, name: str) -> object:
        return getattr(self._honest, name)

    def answer(self, query: Query, source: Address, now: float) -> Arguments:
        return self._lie(query, source, self._honest.answer(query, source, now))


class League:
    """Hosts that work together.

    Args:
        joins: where they join.
    """

    def __init__(self, world: World, joins: Sequence[Address]) -> None:
        self._world = world
        self._joins = joins
        self.members: list[HonestNode] = []

    def _add(self, lie: Callable[[Query, Address, Arguments], Arguments], own: bytes | None, address: Address) -> None:
        node = self._world.add_node(self._joins, address, own=own)
        node.engine.answers = _LyingAnswers(node.engine.answers, lie)  # type: ignore[assignment]
        self.members.append(node)

    def contacts(self, target: bytes) -> list[Contact]:
        """The members nearest to a target."""
        found = [Contact(node.own, node.address) for node in self.members]
        return sorted(found, key=lambda contact: distance(contact.id, target))[:K]

    def _target(self, query: Query) -> bytes | None:
        target = query.arguments.get(b"info_hash", query.arguments.get(b"target"))
        return target if query.method in _LOOKUPS and isinstance(target, bytes) else None

    def besiege(self, key: bytes, number: int) -> None:
        """Settle around a key: know of nobody who announced it, and of no nodes near it but each other."""

        def lie(query: Query, source: Address, values: Arguments) -> Arguments:
            if self._target(query) == key:
                values = {name: value for name, value in values.items() if name not in (b"values", b"own", b"v")}
                values[b"nodes"] = pack_contacts(self.contacts(key))
            return values

        for _ in range(number):
            address = self._world.new_address()
            self._add(lie, id_near(key, address.host, self._world.rng), address)

    def eclipse(self, number: int) -> None:
        """Name nobody but each other, whatever is looked for."""

        def lie(query: Query, source: Address, values: Arguments) -> Arguments:
            target = self._target(query)
            if target is not None:
                values = {name: value for name, value in values.items() if name not in (b"values", b"own", b"v")}
                values[b"nodes"] = pack_contacts(self.contacts(target))
            return values

        for _ in range(number):
            self._add(lie, None, self._world.new_address())

    def poison(self, number: int) -> None:
        """Name nodes that are not there, each with an id that fits its address and is near to what is looked for."""

        def lie(query: Query, source: Address, values: Arguments) -> Arguments:
            target = self._target(query)
            if target is not None:
                values[b"nodes"] = pack_contacts(self._invent(target) for _ in range(K))
            return values

        for _ in range(number):
            self._add(lie, None, self._world.new_address())

    def _invent(self, target: bytes) -> Contact:
        address = self._world.new_address()
        return Contact(id_near(target, address.host, self._world.rng, 8), address)
