"""What users ask of a node: who is near an id, who announced a key, what an item says; and to announce and to keep.

Each begins a lookup in every family that the node has, and calls back.

Source: BEP 5 (get_peers, announce_peer), BEP 44 (get, put).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from osp2p.errors import MalformedDatagram
from osp2p.overlay.compact import is_reachable, unpack_address
from osp2p.overlay.engine import Engine
from osp2p.overlay.item import ImmutableItem, MutableItem, immutable_target, mutable_target, read_mutable
from osp2p.overlay.krpc import Arguments, Failure, Response, bytes_of, int_of
from osp2p.overlay.lookup import Candidate
from osp2p.overlay.walk import Took, Walk
from osp2p.wire.address import Address


@dataclass(slots=True)
class Outcome:
    """What a lookup came to, in all families together.

    Attributes:
        nearest: the nodes that answered, nearest to the target, of each family; with their tokens.
        queries: how many nodes were asked.
        hops: over how many nodes the nearest one was found.
    """

    nearest: list[Candidate] = field(default_factory=list)
    queries: int = 0
    hops: int = 0


@dataclass(slots=True)
class Stored:
    """What became of something that was to be kept.

    Attributes:
        taken: how many nodes took it.
        refused: what those said that did not.
    """

    taken: int = 0
    refused: list[Failure] = field(default_factory=list)


class Searches:
    """The questions of one node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: How many lookups run now.
        self.running = 0

    def _walk(
        self,
        target: bytes,
        method: bytes,
        arguments: Arguments,
        now: float,
        took: Took,
        done: Callable[[Outcome, float], None],
        *,
        from_outside: bool = False,
        has_found: Callable[[], bool] | None = None,
    ) -> list[Walk]:
        """Look a target up in every family; `done` is called once, never before this returns."""
        outcome = Outcome()
        open_walks = len(self._engine.families)
        self.running += 1

        def end(walk: Walk, then: float) -> None:
            nonlocal open_walks
            open_walks -= 1
            nearest = walk.holders
            outcome.nearest += nearest
            outcome.queries += walk.lookup.queries
            outcome.hops = max(outcome.hops, nearest[0].depth + 1 if nearest else 0)
            if not open_walks:
                self.running -= 1
                self._engine.timers.at(then, lambda at: done(outcome, at))

        walks = [
            Walk(
                self._engine,
                family,
                target,
                method,
                arguments,
                took,
                end,
                family.table.far(self._engine.rng) if from_outside else None,
                has_found,
            )
            for family in self._engine.families.values()
        ]
        for walk in walks:
            walk.start(now)
        return walks

    def find_nodes(
        self, target: bytes, now: float, done: Callable[[Outcome, float], None], *, from_outside: bool = False
    ) -> None:
        """Find the nodes that are nearest to a target.

        Args:
            from_outside: begin at nodes that are far from us. For our own id: our nearest neighbours may know nobody
                but each other and us.
        """
        self._walk(target, b"find_node", {b"target": target}, now, _take_nothing, done, from_outside=from_outside)

    def get_peers(
        self,
        key: bytes,
        now: float,
        found: Callable[[list[Address], Candidate | None, float], None],
        done: Callable[[Outcome, float], None],
    ) -> None:
        """Find who announced a key.

        Args:
            found: called with peers as they are told, perhaps more than once with the same ones; with who told, or
                None for what this node itself keeps.
        """
        engine = self._engine
        anybody = False

        def took(candidate: Candidate, answer: Response, then: float) -> None:
            nonlocal anybody
            peers = peers_of(answer, candidate.contact.address)
            if peers:
                anybody = True
                found(peers, candidate, then)

        own = [peer for ipv6 in engine.families for peer in engine.answers.peers.peers(key, now, engine.rng, ipv6=ipv6)]
        if own:
            engine.timers.at(now, lambda then: found(own, None, then))
        self._walk(key, b"get_peers", {b"info_hash": key}, now, took, done, has_found=lambda: anybody)

    def announce(self, key: bytes, port: int, now: float, done: Callable[[Stored, float], None]) -> None:
        """Announce that this node has what a key stands for, where others look for it."""
        arguments: Arguments = {b"info_hash": key, b"port": port}

        def announce(outcome: Outcome, then: float) -> None:
            self._store(b"announce_peer", arguments, outcome, then, done)

        self._walk(key, b"get_peers", {b"info_hash": key}, now, _take_nothing, announce)

    def get_item(
        self,
        target: bytes,
        now: float,
        done: Callable[[ImmutableItem | MutableItem | None, Outcome, float], None],
        *,
        salt: bytes = b"",
    ) -> None:
        """Get an item: an immutable one, or of a signed one the newest that any node has.

        Args:
            salt: of the signed item; nodes do not tell it.
        """
        best = self._engine.answers.items.get(target, now)

        def took(candidate: Candidate, answer: Response, then: float) -> None:
            nonlocal best
            item = item_of(answer, target, salt)
            if isinstance(item, MutableItem):
                if not isinstance(best, MutableItem) or item.sequence > best.sequence:
                    best = item
            elif item is not None:
                best = item
                for walk in walks:
                    walk.stop(then)

        walks = self._walk(
            target,
            b"get",
            {b"target": target},
            now,
            took,
            lambda outcome, then: done(best, outcome, then),
            has_found=lambda: best is not None,
        )

    def put_item(
        self,
        item: ImmutableItem | MutableItem,
        now: float,
        done: Callable[[Stored, float], None],
        *,
        swap: int | None = None,
    ) -> None:
        """Have an item kept by the nodes that are nearest to its target, and by this one.

        Args:
            swap: the sequence number that the signed item must have there now.
        """
        try:
            self._engine.answers.items.put(item, _HERE, now, swap)
        except MalformedDatagram as error:
            stored = Stored(refused=[Failure(b"", error.code, str(error).encode())])
            self._engine.timers.at(now, lambda then: done(stored, then))
            return
        arguments: Arguments = {b"v": item.value}
        if isinstance(item, MutableItem):
            arguments |= {b"k": item.key, b"seq": item.sequence, b"sig": item.signature}
            if item.salt:
                arguments[b"salt"] = item.salt
            if swap is not None:
                arguments[b"cas"] = swap

        def put(outcome: Outcome, then: float) -> None:
            self._store(b"put", arguments, outcome, then, done)

        self._walk(item.target, b"get", {b"target": item.target, b"seq": _NO_VALUES}, now, _take_nothing, put)

    def _store(
        self,
        method: bytes,
        arguments: Arguments,
        outcome: Outcome,
        now: float,
        done: Callable[[Stored, float], None],
    ) -> None:
        """Give something to the nodes that a lookup came to, each with its own token."""
        stored = Stored()
        holders = [candidate for candidate in outcome.nearest if candidate.token is not None]
        open_queries = len(holders)
        if not holders:
            done(stored, now)

        def ended(answer: Response | Failure | None, then: float) -> None:
            nonlocal open_queries
            open_queries -= 1
            if isinstance(answer, Response):
                stored.taken += 1
            elif isinstance(answer, Failure):
                stored.refused.append(answer)
            if not open_queries:
                done(stored, then)

        for candidate in holders:
            assert candidate.token is not None
            self._engine.ask(
                candidate.contact.address,
                method,
                {**arguments, b"token": candidate.token},
                now,
                ended,
                expected=candidate.contact.id,
            )


#: Who puts here what this node keeps known itself.
_HERE = Address("127.0.0.1", 1)

#: A sequence number that no item is beyond: the answer leaves the value out.
_NO_VALUES = (1 << 63) - 1


def _take_nothing(candidate: Candidate, answer: Response, now: float) -> None:
    """Where only the nodes count."""


def peers_of(answer: Response, source: Address) -> list[Address]:
    """The peers that an answer names: claimed, and at most as many as fit it; loopback is for who is there."""
    values = answer.values.get(b"values")
    found: list[Address] = []
    port = answer.values.get(b"own")
    if isinstance(port, int) and 0 < port < 65536:
        found.append(Address(source.host, port))
    for packed in values if isinstance(values, list) else []:
        if not isinstance(packed, bytes):
            continue
        try:
            peer = unpack_address(packed)
        except MalformedDatagram:
            continue
        if is_reachable(peer) and (source.is_loopback or not peer.is_loopback):
            found.append(peer)
    return found


def item_of(answer: Response, target: bytes, salt: bytes) -> ImmutableItem | MutableItem | None:
    """The item of an answer, if it is the target's; None for anything else."""
    values = answer.values
    if b"v" not in values:
        return None
    if b"k" not in values:
        return ImmutableItem(values[b"v"]) if immutable_target(values[b"v"]) == target else None
    try:
        key = bytes_of(values, b"k")
        if mutable_target(key, salt) != target:
            return None
        return read_mutable(key, salt, int_of(values, b"seq"), values[b"v"], bytes_of(values, b"sig"))
    except MalformedDatagram:
        return None
