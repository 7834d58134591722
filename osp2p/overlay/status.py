"""What a node of the overlay knows of itself, in numbers: for people, and for programs as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from osp2p.overlay.engine import Engine
from osp2p.wire.address import Address


@dataclass(frozen=True, slots=True)
class NeighbourStatus:
    """One neighbour.

    Attributes:
        quiet: seconds since it answered last.
        failures: queries in a row that it has not answered since.
    """

    id: bytes
    address: Address
    quiet: float
    failures: int


@dataclass(frozen=True, slots=True)
class FamilyStatus:
    """One address family.

    Attributes:
        host: our address, as others see it; None until somebody told.
        buckets: how many neighbours each holds, the far half of all ids first.
    """

    ipv6: bool
    id: bytes
    host: str | None
    buckets: tuple[int, ...]
    spares: int
    neighbours: tuple[NeighbourStatus, ...]


@dataclass(frozen=True, slots=True)
class OverlayStatus:
    """A node.

    Attributes:
        network: its name; None for BitTorrent's.
        port: where it is.
        stored_keys: of how many keys it keeps who announced them.
        stored_peers: how many announcements that are.
        stored_items: how many items it keeps.
        published: how many things of its own it keeps known.
        published_taken: how many of them somebody keeps.
        counts: datagrams and other things, since it began.
    """

    network: str | None
    port: int
    read_only: bool
    families: tuple[FamilyStatus, ...]
    stored_keys: int
    stored_peers: int
    stored_items: int
    published: int
    published_taken: int
    counts: dict[str, int]

    @property
    def neighbours(self) -> int:
        """How many neighbours there are, in all families."""
        return sum(len(family.neighbours) for family in self.families)


def family_statuses(engine: Engine, now: float) -> tuple[FamilyStatus, ...]:
    """What a node knows of each of its address families."""
    return tuple(
        FamilyStatus(
            ipv6=ipv6,
            id=family.own,
            host=family.host,
            buckets=tuple(len(bucket.neighbours) for bucket in family.table.buckets),
            spares=sum(len(bucket.spares) for bucket in family.table.buckets),
            neighbours=tuple(
                NeighbourStatus(n.contact.id, n.contact.address, now - n.heard, n.failures) for n in family.table
            ),
        )
        for ipv6, family in engine.families.items()
    )
