"""What a node knows in one address family: its id and neighbours there, and its own address as others see it.

IPv4 and IPv6 are two overlays; a node of both has an id in each, and each tells of the other when it is asked.

Source: BEP 32.
"""

from __future__ import annotations

import random

from osp2p.limits import Limits
from osp2p.overlay.compact import Contact
from osp2p.overlay.identifier import fits, id_for, random_id
from osp2p.overlay.table import RoutingTable
from osp2p.overlay.votes import Votes
from osp2p.wire.address import Address

#: How often a neighbour is asked anew, at least, while its vote on our address counts.
_VOTE_ROUNDS = 2


class Family:
    """One of the two.

    Args:
        own: the id to begin with; None: a random one, until others tell our address.
    """

    def __init__(self, *, ipv6: bool, own: bytes | None, limits: Limits, rng: random.Random) -> None:
        self.ipv6 = ipv6
        self.table = RoutingTable(own or random_id(rng), limits)
        self._votes = Votes(limits.max_voters, _VOTE_ROUNDS * limits.neighbour_quiet)
        self._rng = rng

    @property
    def own(self) -> bytes:
        """Our id."""
        return self.table.own

    @property
    def host(self) -> str | None:
        """Our address, as others see it; None until somebody told."""
        return self._votes.winner

    def note_vote(self, voter: str, host: str, now: float) -> bool:
        """Take note of how somebody sees us. Returns: whether we have another id now, one that fits."""
        if (":" in host) != self.ipv6 or not self._votes.count(voter, host, now) or fits(self.own, host):
            return False
        self.table = self.table.with_own(id_for(host, self._rng))
        return True

    def shown_to(self, asker: Address, address: Address) -> Address | None:
        """An address as somebody else can use it. Returns: None if they cannot.

        Whoever is at loopback here is at our own address for others.
        """
        if not address.is_loopback or asker.is_loopback:
            return address
        if self.host is None or Address(self.host, 1).is_loopback:
            return None
        return Address(self.host, address.port)

    def nearest_for(self, asker: Address, target: bytes) -> list[Contact]:
        """The neighbours nearest to a target, as somebody else can use them."""
        found = []
        for contact in self.table.nearest(target):
            if contact.address == asker:
                continue
            shown = self.shown_to(asker, contact.address)
            if shown is not None:
                found.append(contact if shown is contact.address else Contact(contact.id, shown))
        return found
