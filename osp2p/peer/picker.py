"""Which holder is asked next, and when: pure, so that every decision can be tested without a network.

`Race` is for the base protocol, where each holder gives the whole file from its first byte. One holder is asked
first. Others are asked beside it while nobody gives a byte, when it is slow or falls silent, and when it has given
suspiciously much, since any size is only claimed; the first whole and proved copy wins.

A peer of 2007 serves one connection at a time, so one that waits there keeps others out. Hence a holder that gives
nothing is dropped once another gives, or when it is in the way of holders that nobody has asked yet: once, and it keeps
its turn, because its silence proves nothing. Where as many give as may, and all of them next to nothing, the one that
has given least makes room for one that nobody has asked yet.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from osp2p.limits import Limits
from osp2p.peer.link_rate import LinkRate
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

#: A further holder has helped where all together give so many times what the others gave before.
_HELPS = 1.25

#: Those who share a link give at least such a part of what another one gives.
_EVEN = 0.5

#: From how many pieces on a rate tells anything: bursts now and then do not.
_PIECES = 8

#: Where all who give are slower than such a part of `slow_rate`, they make room for those who were never asked.
_VERY_SLOW = 1 / 128

#: A further holder tells something if it gives at least such a part of what the others gave before.
_COUNTS = 0.3


@dataclass(slots=True, eq=False)
class Runner:
    """One holder that is being asked, or was.

    Attributes:
        entry: the holder.
        started: when it was asked.
        patient: whether it stays, however long it gives nothing, because it was dropped before.
        suspicion: whether it was asked because another has given so much.
        beside: bytes per second that the others gave when it was asked because they were slow; None: it was asked for
            another reason, or it is known by now whether that has helped.
        received: bytes of its answer.
        pieces: in how many pieces they came.
        first: when the first byte came.
        last: when the last byte came, or when it was asked.
        samples: (time, received) pairs of the last seconds, oldest first.
    """

    entry: PeerEntry
    started: float
    patient: bool = False
    suspicion: bool = False
    beside: float | None = None
    received: int = 0
    pieces: int = 0
    first: float = 0.0
    last: float = 0.0
    samples: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, now: float) -> float:
        """Bytes per second over the samples, or since the start."""
        then, count = self.samples[0] if self.samples else (self.started, 0)
        return (self.received - count) / max(now - then, 1e-3)


class Race:
    """The holders of one file, in the base protocol.

    Args:
        limits: `hedge_after`, `max_connecting`, `max_sources_per_file`, `max_source_tries`, `unproved_before_hedge`,
            `slow_rate`, `connect_stagger`.
        rng: orders the holders.
        link: what our own link takes.
    """

    def __init__(self, limits: Limits, rng: random.Random, link: LinkRate | None = None) -> None:
        self._limits = limits
        self._rng = rng
        self._link = link or LinkRate()
        self._waiting: list[PeerEntry] = []
        self._seen: set[Address] = set()
        self._known: set[Address] = set()
        self._dropped_once: set[Address] = set()
        self._asked: set[Address] = set()
        self._dropped: list[Runner] = []
        self._running: dict[Runner, None] = {}
        self._newest: Runner | None = None
        self._suspicions = 0
        self._judged_at = float("-inf")

    @property
    def running(self) -> list[Runner]:
        """Those who are being asked now."""
        return list(self._running)

    @property
    def exhausted(self) -> bool:
        """Whether nobody is being asked and nobody is left to be."""
        return not self._running and not self._waiting

    def add(self, entries: Iterable[PeerEntry]) -> int:
        """Add holders that are not known yet, at the back and in random order, as many as may be tried.

        Returns: how many were new.
        """
        new = list({entry.address: entry for entry in entries if entry.address not in self._seen}.values())
        self._rng.shuffle(new)
        added = 0
        for entry in new:
            if entry.address in self._known or len(self._known) < self._limits.max_source_tries:
                self._known.add(entry.address)
                self._seen.add(entry.address)
                self._waiting.append(entry)
                added += 1
        return added

    def start(self, now: float) -> Runner | None:
        """The holder to ask now, if one should be asked now; it counts as running from here on."""
        if self.wake_at(now) > now:
            return None
        live = self._live(now)
        if len(live) >= self._limits.max_sources_per_file:
            least = min(live, key=lambda runner: runner.received)
            live.remove(least)
            self._make_room(least)
        elif self._is_full(live) and (idle := self._idlest()) is not None:
            self._drop(idle, len(self._waiting))
        entry = self._waiting.pop(0)
        suspicion = bool(live) and self._gave_much(live)
        self._suspicions += suspicion
        tells = bool(live) and not suspicion and all(other.pieces >= _PIECES for other in live)
        beside = sum(other.rate(now) for other in live) if tells else None
        runner = Runner(entry, now, entry.address in self._dropped_once, suspicion, beside, last=now)
        self._running[runner] = None
        self._asked.add(entry.address)
        self._newest = runner
        return runner

    def received(self, runner: Runner, count: int, now: float) -> None:
        """Note `count` further bytes of a holder. Where nobody gave any just now, those who wait are not needed now."""
        if runner in self._running and not self._live(now):
            for silent in [other for other in self._running if other is not runner and _may_go(other)]:
                self._drop(silent, 0)
        if not runner.received:
            runner.first = now
        runner.received += count
        runner.pieces += 1
        runner.last = now
        if not runner.samples or now - runner.samples[-1][0] >= self._limits.hedge_after / 4:
            runner.samples.append((now, runner.received))
            del runner.samples[:-5]
        if runner.beside is not None and runner in self._running and now - runner.first >= self._limits.hedge_after:
            self._judge(runner, runner.beside, now)

    def _judge(self, runner: Runner, before: float, now: float) -> None:
        """See whether a holder that was asked beside slow ones has helped, or only takes from what the others give.

        If so, our own link is what is slow, and it is dropped, since the others are further. It says nothing if it is
        slow itself, or if the others give much less than it does: then they have become slower by themselves.
        """
        runner.beside = None
        others = sum(other.rate(now) for other in self._live(now) if other is not runner)
        rate = runner.rate(now)
        if others + rate >= _HELPS * before:
            self._link.show_room()
        elif rate >= _COUNTS * before and others >= _EVEN * rate and runner.pieces >= _PIECES:
            self._link.show_full(others + rate)
            self._judged_at = now
            self._make_room(runner)

    def ended(self, runner: Runner, *, again: bool = False) -> None:
        """Note that a holder is not asked any more; of one that was dropped that is known already.

        Args:
            again: whether it may be asked again, should somebody name it again, because its failure proves nothing
                (busy, gone).
        """
        if runner not in self._running:
            return
        self._leave(runner)
        if again:
            self._seen.discard(runner.entry.address)

    def take_dropped(self) -> list[Runner]:
        """Those who are not to be asked any longer since the last call. They wait for another turn already."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def wake_at(self, now: float) -> float:
        """When the next holder should be asked if nothing happens until then: `now` or earlier means at once."""
        if not self._waiting:
            return float("inf")
        if not self._running:
            return now
        live = self._live(now)
        if len(live) >= self._limits.max_sources_per_file:
            return self._replace_at(live, now)
        at = self._hedge_at(live, now) if live else self._newest_start + self._limits.connect_stagger
        if not self._is_full(live):
            return at
        idle = self._idlest()
        return max(at, idle.started + self._limits.hedge_after) if idle is not None else float("inf")

    def _hedge_at(self, live: list[Runner], now: float) -> float:
        """When a holder should be asked beside those who give."""
        if self._gave_much(live):
            return now
        best = max(live, key=lambda runner: runner.rate(now))
        is_slow = best.rate(now) < self._link.slow_rate(self._limits.slow_rate)
        since = max(best.started, self._newest_start, self._judged_at) if is_slow else best.last
        on_trial = [runner.last for runner in live if runner.beside is not None]  # they are judged, or fall silent
        return max([since, *on_trial]) + self._limits.hedge_after

    def _replace_at(self, live: list[Runner], now: float) -> float:
        """When one of those who give should make room, since all are very slow: for one who was never asked.

        Else a few who send a byte now and then would be all that is ever asked.
        """
        rate = max(max(runner.rate(now), runner.received / max(now - runner.started, 1e-3)) for runner in live)
        if self._waiting[0].address in self._asked or rate >= _VERY_SLOW * self._link.slow_rate(self._limits.slow_rate):
            return float("inf")
        return max(*(runner.started for runner in live), self._judged_at) + self._limits.hedge_after

    @property
    def _newest_start(self) -> float:
        return self._newest.started if self._newest is not None else float("-inf")

    def _live(self, now: float) -> list[Runner]:
        """Those who have given something just now."""
        return [runner for runner in self._running if runner.received and now - runner.last < self._limits.hedge_after]

    def _gave_much(self, live: list[Runner]) -> bool:
        most = max(runner.received for runner in live)
        return most >= self._limits.unproved_before_hedge << self._suspicions

    def _is_full(self, live: list[Runner]) -> bool:
        """Whether nobody may be asked unless another is dropped. Who stopped giving is in nobody's way."""
        if len(self._running) >= self._limits.max_connecting:
            return True
        silent = sum(not runner.received for runner in self._running)
        return bool(live) and len(live) + silent >= self._limits.max_sources_per_file

    def _idlest(self) -> Runner | None:
        """Who has given nothing for longest, and may be dropped."""
        return next((runner for runner in self._running if _may_go(runner)), None)

    def _drop(self, runner: Runner, turn: int) -> None:
        """Drop a holder that gave nothing. It is asked again when `turn` others have been."""
        self._leave(runner)
        self._dropped.append(runner)
        self._dropped_once.add(runner.entry.address)
        self._waiting.insert(turn, runner.entry)

    def _make_room(self, runner: Runner) -> None:
        """Drop a holder that gives too little. It is asked again when all others have been."""
        self._leave(runner)
        self._dropped.append(runner)
        self._waiting.append(runner.entry)

    def _leave(self, runner: Runner) -> None:
        del self._running[runner]
        self._suspicions -= runner.suspicion
        if self._newest is runner:
            self._newest = None  # the next need not wait for what it gives


def _may_go(runner: Runner) -> bool:
    return not runner.received and not runner.patient
