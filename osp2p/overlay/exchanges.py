"""Queries that are on their way: when they may go, which answer is whose, and who is silent.

An answer counts only from the very address that was asked, with the transaction of four bytes that nobody else knows.
How long silence is usual is measured as TCP measures it.

Source: BEP 5; RFC 6298 (round trip times).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from osp2p.limits import Limits
from osp2p.overlay.krpc import Failure, Response
from osp2p.overlay.rates import Rates, owner_of
from osp2p.overlay.timers import Timers
from osp2p.wire.address import Address

#: What becomes of a query: an answer, or None for silence; and the time.
Ended: TypeAlias = Callable[[Response | Failure | None, float], None]

_TRANSACTION_BYTES = 4


class RoundTrips:
    """How long answers take."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._smooth: float | None = None
        self._variation = 0.0

    def note(self, seconds: float) -> None:
        """Take a measurement."""
        if self._smooth is None:
            self._smooth, self._variation = seconds, seconds / 2
            return
        self._variation += (abs(self._smooth - seconds) - self._variation) / 4
        self._smooth += (seconds - self._smooth) / 8

    @property
    def slow(self) -> float:
        """Silence that is longer than is usual."""
        if self._smooth is None:
            return self._limits.slow_most
        usual = self._smooth + 4 * self._variation
        return min(max(usual, self._limits.slow_least), self._limits.slow_most)


@dataclass(slots=True)
class Exchange:
    """One query.

    Attributes:
        expected: the id that the answer must come from; None if any will do.
        sent: when it went out; None while it waits for its turn.
    """

    address: Address
    expected: bytes | None
    ended: Ended
    slow: Callable[[float], None] | None
    sent: float | None = None


class Exchanges:
    """The queries of a node.

    Args:
        send: sends a datagram.
        rates: when something may go to an address.
    """

    def __init__(
        self,
        limits: Limits,
        timers: Timers,
        rng: random.Random,
        rates: Rates,
        send: Callable[[bytes, Address], None],
    ) -> None:
        self._limits = limits
        self._timers = timers
        self._rng = rng
        self._rates = rates
        self._send = send
        self._open: dict[bytes, Exchange] = {}
        self.round_trips = RoundTrips(limits)
        self.silent = 0

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, write: Callable[[bytes], bytes], exchange: Exchange, now: float) -> None:
        """Send a query as soon as its address may be sent something.

        Args:
            write: writes the datagram, given the transaction.
        """
        if len(self._open) >= self._limits.max_pending_queries:
            self._timers.at(now, lambda at: exchange.ended(None, at))
            return
        transaction = self._rng.randbytes(_TRANSACTION_BYTES)
        while transaction in self._open:
            transaction = self._rng.randbytes(_TRANSACTION_BYTES)
        self._open[transaction] = exchange
        data = write(transaction)
        at = self._rates.reserve(owner_of(exchange.address), now)
        if at <= now:
            self._go(transaction, exchange, data, now)
        else:
            self._timers.at(at, lambda then: self._go(transaction, exchange, data, then))

    def _go(self, transaction: bytes, exchange: Exchange, data: bytes, now: float) -> None:
        exchange.sent = now
        self._send(data, exchange.address)
        if exchange.slow is not None:
            self._timers.at(now + self.round_trips.slow, lambda then: self._look(transaction, exchange, then))
        self._timers.at(now + self._limits.query_timeout, lambda then: self._give_up(transaction, exchange, then))

    def _look(self, transaction: bytes, exchange: Exchange, now: float) -> None:
        if self._open.get(transaction) is exchange and exchange.slow is not None:
            exchange.slow(now)

    def _give_up(self, transaction: bytes, exchange: Exchange, now: float) -> None:
        if self._open.get(transaction) is exchange:
            del self._open[transaction]
            self.silent += 1
            exchange.ended(None, now)

    def match(self, transaction: bytes, source: Address) -> Exchange | None:
        """The query that an answer from this address belongs to; it is over now."""
        exchange = self._open.get(transaction)
        if exchange is None or exchange.address != source or exchange.sent is None:
            return None
        del self._open[transaction]
        return exchange
