"""Which chunks are asked of whom, in OSP2P/2: pure.

Sets of chunks are Python integers, bit `i` for chunk `i`: at most 16,384 bits, so that "missing, not asked for, and
held by this one, by the fewest others" is a handful of operations that take less than a microsecond each.

The rules, in this order:

1. Of a holder that has only a part, the rarest chunks first; of a whole holder, when there are partial ones too, only
   what none of them has: a seed is not asked for what a partial holder can give. The seed itself picks which
   (``any=``), so that it gives every fetcher another one.
2. Else runs of neighbouring chunks, as many as the holder gives in `request_time`: one chunk from a slow holder, many
   from a fast one.
3. A holder that has nothing else to do takes over chunks that another has owed for too long: the end game.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from osp2p.limits import Limits

#: Beyond so many partial holders, a chunk is not rarer than another.
_LEVELS = 8


def bits_of(ranges: Iterable[tuple[int, int]]) -> int:
    """The set of all numbers in ranges (first, last), both inclusive."""
    bits = 0
    for first, last in ranges:
        bits |= ((1 << (last - first + 1)) - 1) << first
    return bits


def ranges_of(bits: int) -> Iterator[tuple[int, int]]:
    """A set as ascending ranges (first, last), both inclusive."""
    base = 0
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        run = run_length(bits)
        yield base + gap, base + gap + run - 1
        bits >>= run
        base += gap + run


def run_length(bits: int) -> int:
    """How many neighbouring numbers from 0 on are in a set."""
    return (bits ^ (bits + 1)).bit_length() - 1


@dataclass(frozen=True, slots=True)
class Assignment:
    """What to ask a holder for.

    Attributes:
        first: the first chunk of a run.
        last: its last, inclusive.
        any: if not 0, the set from which the holder picks one chunk; `first` and `last` mean nothing.
    """

    first: int = 0
    last: int = -1
    any: int = 0


@dataclass(slots=True)
class _Holder:
    """What is known of one holder.

    Attributes:
        has: its chunks; -1 for all.
        owes: chunk to the time at which it was asked for.
        asked_any: how many ``any=`` requests are on their way.
        rate: bytes per second, measured, 0 before the first answer.
        cursor: behind the last run that it was asked for.
    """

    has: int = 0
    owes: dict[int, float] = field(default_factory=dict)
    asked_any: int = 0
    rate: float = 0.0
    cursor: int = 0


class ChunkPicker:
    """The chunks of one content that are still missing, and the holders who may give them.

    Args:
        count: how many chunks the content has.
        each: bytes of a chunk.
        have: the chunks that are here already, as ranges.
        limits: `request_time`, `max_request`, `end_game_after`.
        rng: breaks ties among equally rare chunks.
    """

    def __init__(
        self, count: int, each: int, have: Iterable[tuple[int, int]], limits: Limits, rng: random.Random
    ) -> None:
        self._each = each
        self._limits = limits
        self._rng = rng
        self._all = (1 << count) - 1
        self._missing = self._all & ~bits_of(have)
        self._asked = 0
        self._holders: dict[Hashable, _Holder] = {}
        # _levels[k]: the chunks that more than k partial holders have.
        self._levels = [0] * _LEVELS

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self._missing

    def __contains__(self, key: Hashable) -> bool:
        return key in self._holders

    def add_holder(self, key: Hashable) -> None:
        """A holder of whom nothing is known yet."""
        self._holders[key] = _Holder()

    def remove_holder(self, key: Hashable) -> None:
        """A holder is gone; what it owes is free for others."""
        holder = self._holders.pop(key)
        for chunk in holder.owes:
            self._release(chunk)
        if holder.has > 0:
            self._recount()

    def set_all(self, key: Hashable) -> None:
        """A holder has everything."""
        holder = self._holders[key]
        was_partial = holder.has > 0
        holder.has = -1
        if was_partial:
            self._recount()

    def gain(self, key: Hashable, ranges: Iterable[tuple[int, int]]) -> None:
        """A partial holder has these chunks too."""
        holder = self._holders[key]
        if holder.has < 0:
            return
        new = bits_of(ranges) & self._all & ~holder.has
        holder.has |= new
        self._count(new)

    def _count(self, new: int) -> None:
        for level in range(_LEVELS):
            carried = self._levels[level] & new
            self._levels[level] |= new
            new = carried

    def _recount(self) -> None:
        self._levels = [0] * _LEVELS
        for holder in self._holders.values():
            if holder.has > 0:
                self._count(holder.has)

    def wants(self, key: Hashable) -> bool:
        """Whether a holder has something that is missing here."""
        return bool(self._missing & self._holders[key].has)

    def assign(self, key: Hashable, now: float) -> Assignment | None:
        """What to ask a holder for next, which then counts as asked for; None if there is nothing now."""
        holder = self._holders[key]
        free = self._missing & ~self._asked & holder.has
        if holder.has < 0 and self._levels[0]:
            nobody_else = free & ~self._levels[0]
            if nobody_else:
                # One that is on its way may turn out to be any of these.
                return self._assign_any(holder, nobody_else)
            if holder.rate and self._others_deliver(key, now):
                free = 0
        if free:
            return self._assign_run(holder, free, now)
        return self._take_over(key, holder, now)

    def _assign_any(self, holder: _Holder, bits: int) -> Assignment | None:
        if holder.asked_any and bits.bit_count() <= holder.asked_any:
            return None
        holder.asked_any += 1
        return Assignment(any=bits)

    def _others_deliver(self, key: Hashable, now: float) -> bool:
        """Whether a partial holder is at work on what a seed could give too."""
        return any(
            other.owes and now - min(other.owes.values()) < self._limits.end_game_after
            for name, other in self._holders.items()
            if name != key and other.has > 0
        )

    def _assign_run(self, holder: _Holder, free: int, now: float) -> Assignment:
        first, longest = self._first_of(holder, free)
        budget = holder.rate * self._limits.request_time // self._each
        run = min(longest, max(1, int(min(budget, self._limits.max_request // self._each))))
        for chunk in range(first, first + run):
            holder.owes[chunk] = now
        self._asked |= ((1 << run) - 1) << first
        holder.cursor = first + run
        return Assignment(first, first + run - 1)

    def _first_of(self, holder: _Holder, free: int) -> tuple[int, int]:
        """Where to begin, and how many neighbours may follow."""
        if holder.has < 0:
            ahead = free >> holder.cursor
            start = holder.cursor if ahead else 0
            bits = ahead or free
            first = start + (bits & -bits).bit_length() - 1
            return first, run_length(free >> first)
        for level in self._levels:
            rare = free & ~level
            if rare:
                free = rare
                break
        turn = self._rng.randrange(free.bit_length())
        bits, start = (free >> turn, turn) if free >> turn else (free, 0)
        first = start + (bits & -bits).bit_length() - 1
        return first, run_length(free >> first)

    def _take_over(self, key: Hashable, holder: _Holder, now: float) -> Assignment | None:
        """Ask for a chunk that another holder has owed for too long, and that nobody else was asked for since."""
        if holder.owes or holder.asked_any:
            return None
        latest: dict[int, float] = {}
        for other in self._holders.values():
            for chunk, since in other.owes.items():
                latest[chunk] = max(since, latest.get(chunk, since))
        late = [
            (since, chunk)
            for chunk, since in latest.items()
            if now - since >= self._limits.end_game_after and holder.has >> chunk & 1 and self._missing >> chunk & 1
        ]
        if not late:
            return None
        _, chunk = min(late)
        holder.owes[chunk] = now
        return Assignment(chunk, chunk)

    def arrived(self, key: Hashable, chunk: int) -> bool:
        """A proved chunk is here. Returns: whether it was still missing."""
        holder = self._holders.get(key)
        if holder is not None:
            holder.owes.pop(chunk, None)
        bit = 1 << chunk
        was_missing = bool(self._missing & bit)
        self._missing &= ~bit
        self._asked &= ~bit
        return was_missing

    def measured(self, key: Hashable, rate: float) -> None:
        """A holder gives so many bytes per second."""
        self._holders[key].rate = rate

    def answered_any(self, key: Hashable) -> None:
        """An ``any=`` request is answered, or refused."""
        self._holders[key].asked_any -= 1

    def give_back(self, key: Hashable, first: int, last: int) -> None:
        """A holder does not give these chunks; others may."""
        holder = self._holders[key]
        for chunk in range(first, last + 1):
            if holder.owes.pop(chunk, None) is not None:
                self._release(chunk)

    def lose(self, key: Hashable, chunks: int) -> None:
        """A holder has not got these chunks after all."""
        holder = self._holders[key]
        if holder.has != 0:
            holder.has = (self._all if holder.has < 0 else holder.has) & ~chunks
            self._recount()

    def _release(self, chunk: int) -> None:
        if not any(chunk in other.owes for other in self._holders.values()):
            self._asked &= ~(1 << chunk)

    def next_take_over(self) -> float:
        """When the end game next has something to take over."""
        owed = [since for holder in self._holders.values() for since in holder.owes.values()]
        return min(owed, default=float("inf")) + self._limits.end_game_after
