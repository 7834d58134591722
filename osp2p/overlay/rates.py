"""Rates of many addresses: how much each may send us, and when we may send to each again.

A rate is a number that falls back to zero at a steady pace and rises by one with each datagram (a leaky bucket). The
addresses whose numbers would be lowest, those quiet longest, are forgotten first.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache

from osp2p.wire.address import Address

#: What sums of fractions may be off by.
_ROUNDING = 1e-6


@lru_cache(maxsize=8192)
def owner_of(address: Address) -> str:
    """Whom a datagram counts for: an IPv4 address, or an IPv6 network of 64 bits, which one host may use whole.

    On loopback every port counts by itself: all of them are this machine.
    """
    if address.is_loopback:
        return str(address)
    if address.is_ipv6:
        return str(ipaddress.IPv6Network((address.host, 64), strict=False))
    return address.host


@lru_cache(maxsize=8192)
def network_of(host: str) -> str:
    """A network whose addresses one party may well have all of: 24 bits of IPv4, 64 of IPv6."""
    if ":" in host:
        return str(ipaddress.IPv6Network((host, 64), strict=False))
    return host.rpartition(".")[0]


class Rates:
    """The rates of at most `most` addresses.

    Args:
        rate: how many a second each may have in the long run.
        burst: how many at once.
    """

    def __init__(self, rate: float, burst: int, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        #: When each address's number will have fallen to zero.
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._empty_at)

    def take(self, owner: str, now: float) -> bool:
        """Count one datagram. Returns: False if it is one too many, and is not counted."""
        empty_at = max(self._empty_at.get(owner, now), now)
        if (empty_at - now) * self._rate > self._burst - 1 + _ROUNDING:
            return False
        self._note(owner, empty_at)
        return True

    def reserve(self, owner: str, now: float) -> float:
        """Count one datagram that may wait. Returns: when it may go; `now` or later."""
        empty_at = max(self._empty_at.get(owner, now), now)
        self._note(owner, empty_at)
        return max(now, empty_at - (self._burst - 1) / self._rate)

    def note(self, owner: str, now: float) -> None:
        """Count one datagram that goes at once. What may wait never waits for more than a burst of such ones."""
        empty_at = max(self._empty_at.get(owner, now), now)
        if (empty_at - now) * self._rate < self._burst:
            self._note(owner, empty_at)

    def _note(self, owner: str, empty_at: float) -> None:
        self._empty_at[owner] = empty_at + 1 / self._rate
        self._empty_at.move_to_end(owner)
        if len(self._empty_at) > self._most:
            self._empty_at.popitem(last=False)
