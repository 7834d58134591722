"""What a node of the overlay tells its program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from osp2p.wire.address import Address


@dataclass(frozen=True, slots=True)
class OverlayJoined:
    """There are others.

    Attributes:
        neighbours: how many are known.
    """

    neighbours: int


@dataclass(frozen=True, slots=True)
class OverlayAlone:
    """Nobody is there; the node goes on trying.

    Attributes:
        tried: where nodes should be; empty if nobody said.
        other_network: whether one of them belongs to another network.
    """

    tried: tuple[Address, ...]
    other_network: Address | None = None


OverlayEvent: TypeAlias = "OverlayJoined | OverlayAlone"
OverlayReport: TypeAlias = Callable[[OverlayEvent], None]
