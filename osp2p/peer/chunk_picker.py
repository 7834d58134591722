"""Which chunks are asked of whom, in OSP2P/2: pure.

The rules, in this order:

1. Of a holder that has only a part, the rarest chunks first. Of a whole holder (a seed), when there are partial ones
   too, only what none of them has, for as long as they deliver: a seed is not asked for what a partial one can give.
2. As much at a time as the holder gives in `request_time`: one chunk of a slow one, a run of neighbours of a fast one.
   Where it is one chunk of a seed, the seed itself picks it (``any=``), so that it gives every fetcher another one.
   Seeds are given disjoint sets to pick from, so that no two of them send the same chunk here.
3. A holder that has nothing else to do takes over what another owes and would deliver much later, or has stalled on:
   the end game.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from osp2p.content.chunk_set import Tally, bits_of, lowest, ranges_of, run_length
from osp2p.limits import Limits
from osp2p.peer.chunk_holder import Holder, Request

#: From how many ranges at most a seed picks: enough to choose from, in a line that is quickly read.
_ANY_RANGES = 32

#: A holder without work is looked at again after such a part of the time that a chunk of it takes.
_RECHECK = 0.125

#: A chunk is taken over from a holder that would take so many times longer.
_MUCH_LATER = 2.0

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Assignment:
    """What to ask a holder for.

    Attributes:
        first: the first chunk of a run.
        last: its last, inclusive.
        any: if not 0, the set from which the holder picks one chunk; `first` and `last` mean nothing.
        taken_over: whether another holder owes it too.
    """

    first: int = 0
    last: int = -1
    any: int = 0
    taken_over: bool = False

    @property
    def bits(self) -> int:
        """The chunks, or those from which one comes, as a set."""
        return self.any or bits_of([(self.first, self.last)])


class ChunkPicker:
    """The chunks of one content that are still missing, and the holders who may give them.

    Args:
        count: how many chunks the content has.
        each: bytes of a chunk.
        have: the chunks that are here already, as ranges.
        limits: `request_time`, `max_request`, `requests_ahead`, `end_game_after`, `seed_spared`.
        rng: where to begin, among equally good chunks.
    """

    def __init__(
        self, count: int, each: int, have: Iterable[tuple[int, int]], limits: Limits, rng: random.Random
    ) -> None:
        self._count = count
        self._each = each
        self._limits = limits
        self._rng = rng
        self._all = (1 << count) - 1
        self._missing = self._all & ~bits_of(have)
        self._asked = 0
        self._in_hand = 0
        self._holders: dict[Hashable, Holder] = {}
        self._choosing: dict[Holder, None] = {}
        self._held = 0
        self._rarity = Tally(0)

    # --- what is here ---

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self._missing

    def hold(self, first: int, last: int) -> int:
        """Chunks have come and will be proved and written. Others are not asked for them meanwhile.

        Returns: those that are worth it, as a set: not here yet, and in nobody's hand. `arrived` or `let_go` follows.
        """
        bits = bits_of([(first, last)]) & self._missing & ~self._in_hand
        self._in_hand |= bits
        return bits

    def arrived(self, bits: int) -> None:
        """Chunks in hand are proved and here."""
        self._missing &= ~bits
        self._in_hand &= ~bits

    def let_go(self, bits: int) -> None:
        """Chunks in hand proved wrong, or were not written."""
        self._in_hand &= ~bits

    # --- who has what ---

    def __contains__(self, key: Hashable) -> bool:
        return key in self._holders

    def __len__(self) -> int:
        """How many holders there are."""
        return len(self._holders)

    def add_holder(self, key: Hashable, latency: float = 0.0) -> None:
        """A holder of whom nothing is known yet, but how many seconds it takes to answer."""
        self._holders[key] = Holder(self._each, self._limits, latency)

    def remove_holder(self, key: Hashable) -> None:
        """A holder is gone; what it owes is free for others."""
        self._choosing.pop(self._holders.pop(key), None)
        self._recount_asked()
        self._recount_held()

    def set_all(self, key: Hashable, now: float) -> bool:
        """A holder says that it has everything. Returns: whether that brings something that is missing."""
        return self._set(key, self._all, now)

    def set_only(self, key: Hashable, ranges: Iterable[tuple[int, int]], now: float) -> bool:
        """A holder says that it has these chunks and no others. Returns: as `set_all`."""
        return self._set(key, bits_of(ranges) & self._all, now)

    def gain(self, key: Hashable, ranges: Iterable[tuple[int, int]], now: float) -> bool:
        """A holder says that it has these chunks too. Returns: as `set_all`."""
        return self._set(key, self._holders[key].has | bits_of(ranges) & self._all, now)

    def lose(self, key: Hashable, bits: int) -> None:
        """A holder refuses these chunks: whatever it says, it counts as not having them."""
        holder = self._holders[key]
        holder.lost |= bits
        self._set(key, holder.has, 0)

    def _set(self, key: Hashable, has: int, now: float) -> bool:
        holder = self._holders[key]
        has &= ~holder.lost
        new = has & ~holder.has
        if new and holder.delivered_at is None:
            holder.delivered_at = now
            holder.cursor = self._rng.randrange(self._count)
        only_gains = has == holder.has | new
        was_whole, holder.whole = holder.whole, has == self._all
        holder.has = has
        if only_gains and not was_whole and not holder.whole:
            self._held |= new
            self._rarity.add(new)
        elif new or not only_gains:
            self._recount_held()
        return bool(new & self._missing)

    def _recount_held(self) -> None:
        """Count what the partial holders have."""
        self._held = 0
        self._rarity = Tally(0)
        for holder in self._holders.values():
            if not holder.whole:
                self._held |= holder.has
                self._rarity.add(holder.has)

    def wants(self, key: Hashable) -> bool:
        """Whether a holder has something that is missing here, asked for or not."""
        return bool(self._missing & ~self._in_hand & self._holders[key].has)

    def idle_for(self, key: Hashable) -> float:
        """After how many seconds a holder without work is worth another look, unless something changes before.

        The slower it is, the less there is to be won by looking soon.
        """
        if not self.wants(key):
            return float("inf")
        rate = self._holders[key].rate
        return max(self._limits.idle_recheck, _RECHECK * self._each / rate if rate else 0.0)

    # --- what comes ---

    def begins(self, key: Hashable, now: float) -> None:
        """A holder begins to answer what it was asked for first."""
        self._holders[key].begins(now)

    def heard(self, key: Hashable, count: int, now: float) -> None:
        """So many bytes of chunks came from a holder."""
        holder = self._holders[key]
        if holder.busy:
            holder.busy = False
            self._recount_asked()
        holder.hear(count, now)

    def answered(self, key: Hashable) -> None:
        """A holder has answered what it was asked for first. What that did not bring is free again."""
        holder = self._holders[key]
        request = holder.take_answered()
        if request.is_any:
            if not holder.choices:
                del self._choosing[holder]
            return
        if request.bits & self._missing & ~self._in_hand:
            self._recount_asked()
        else:
            self._asked &= ~request.bits

    def refused(self, key: Hashable) -> None:
        """A holder is too busy for what it was asked for first."""
        self._holders[key].busy = True
        self._recount_asked()

    def _recount_asked(self) -> None:
        requests = (request for holder in self._holders.values() if not holder.busy for request in holder.queue)
        self._asked = _union(request.bits for request in requests if not request.is_any)

    # --- what to ask for ---

    def assign(self, key: Hashable, now: float) -> Assignment | None:
        """What to ask a holder for next, which then counts as asked for; None if there is nothing now."""
        holder = self._holders[key]
        if not holder.has_room(sum(bool(other.queue) for other in self._holders.values())):
            return None
        free = self._missing & ~self._asked & ~self._in_hand & holder.has
        if holder.whole and self._held & free:
            if not free & ~self._held and self._others_deliver(free, now):
                return None
            free = free & ~self._held or free
        budget = holder.budget()
        its_choice = holder.whole and (budget == 1 or self._held > 0)
        free = self._uncommitted(holder, free, its_choice, now)
        if not free:
            return self._take_over(holder, now)
        return self._assign_any(holder, free, now) if its_choice else self._assign_run(holder, free, budget, now)

    def _uncommitted(self, holder: Holder, free: int, its_choice: bool, now: float) -> int:
        """Leave out what seeds may be sending as their own choice.

        Where others leave nothing, all of it will do, as long as most of it is not on its way. The holder itself will
        not choose twice what it sends; but as long as its choice is open, no run is asked from what it chooses from.
        """
        own = holder.choice_sets()
        if its_choice and free.bit_count() <= len(own):
            return 0
        if not self._choosing:
            return free
        if not its_choice:
            free &= ~_union(own)
        committed = coming = 0
        for other in self._choosing:
            if other is not holder and not other.is_stalled(now):
                committed |= _union(other.choice_sets())
                coming += other.choices
        left = free & ~committed or (free if free.bit_count() > 2 * (coming + len(own)) else 0)
        if its_choice and not left & ~_union(own) and left.bit_count() <= len(own):
            return 0  # all of it may be on its way already, by the choices that it still has
        return left

    def _others_deliver(self, free: int, now: float) -> bool:
        """Whether the partial holders will soon have given what a seed could give too.

        Those count that have delivered a moment ago, and those that are new; not who claims much and is busy.
        """
        rate = 0.0
        for other in self._holders.values():
            if other.whole or other.delivered_at is None or not other.has & self._missing:
                continue
            if now - other.delivered_at > other.patience():
                continue
            if not other.rate:
                return True
            rate += other.rate
        return free.bit_count() * self._each < rate * self._limits.seed_spared

    def _assign_any(self, holder: Holder, free: int, now: float) -> Assignment:
        """Let a seed choose: as long as it can from what it chooses from already, so that others have the rest.

        Else from none of that, since it would be sent twice. (`_uncommitted` has left more than that.)
        """
        own = holder.choice_sets()
        bits = _union(own) & free
        if bits.bit_count() <= len(own):
            free &= ~bits
            shares = 2 * sum(other.whole for other in self._holders.values())
            if not self._held:
                shares *= 2  # what no seed chooses from is there for runs, once their rate is known
            elif shares == 2:
                shares = 1
            bits = _portion(free, -(-free.bit_count() // shares), self._rng)
        if bits & (bits - 1) == 0:  # a single one
            first = lowest(bits)
            return self._ask(holder, Assignment(first, first), now)
        return self._ask(holder, Assignment(any=bits), now)

    def _assign_run(self, holder: Holder, free: int, budget: int, now: float) -> Assignment:
        if holder.whole:
            turn = holder.cursor
        else:
            free = self._rarity.least(free)
            turn = self._rng.randrange(free.bit_length())
        first = turn + lowest(free >> turn) if free >> turn else lowest(free)
        last = first + min(run_length(free >> first), budget) - 1
        holder.cursor = last + 1
        return self._ask(holder, Assignment(first, last), now)

    def _ask(self, holder: Holder, assignment: Assignment, now: float) -> Assignment:
        """Note what a holder is asked for."""
        bits = assignment.bits
        count = 1 if assignment.any else assignment.last - assignment.first + 1
        holder.ask(Request(bits, count, bool(assignment.any), now))
        if assignment.any:
            self._choosing[holder] = None
        elif not holder.busy:
            self._asked |= bits
        return assignment

    # --- the end game ---

    def _take_over(self, holder: Holder, now: float) -> Assignment | None:
        """Ask for a chunk that another holder owes and would deliver much later, the latest one first."""
        wanted = self._missing & ~self._in_hand & holder.has
        if not wanted:
            return None
        soon = holder.soon()
        bits, latest = 0, max(_MUCH_LATER * soon, self._limits.idle_recheck)
        early = self._is_early(holder)
        for owed, due in self._owed_by_one(holder, now):
            if owed & wanted and due > latest and not (early and due < _NEVER):
                bits, latest = owed & wanted, due
        if not bits:
            return None
        chunk = bits.bit_length() - 1  # the last one of a run is what its holder comes to last
        return self._ask(holder, Assignment(chunk, chunk, taken_over=True), now)

    def _is_early(self, holder: Holder) -> bool:
        """Whether there is more to ask others for, so that what is owed by somebody who is merely slow can wait.

        In a swarm, a partial holder often has nothing but what others were asked for already. What it would send twice
        then, its other downloaders would wait for. A seed is not asked in vain: it has everything.
        """
        if holder.whole:
            return False
        some = self._all if any(other.whole for other in self._holders.values()) else self._held
        unasked = some & self._missing & ~self._asked & ~self._in_hand
        return unasked.bit_count() > 2 * sum(other.choices for other in self._choosing)

    def _owed_by_one(self, holder: Holder, now: float) -> list[tuple[int, float]]:
        """What others owe, and in how many seconds it is due; but for what two live ones were asked for already."""
        once = twice = 0
        live: list[tuple[int, float]] = []
        stalled = 0
        for other in self._holders.values():
            if other is holder:
                continue
            ahead = 0
            is_stalled = other.is_stalled(now)
            for request in other.queue:
                if is_stalled:
                    stalled |= request.bits
                    continue
                if not request.is_any:
                    twice |= once & request.bits
                    once |= request.bits
                ahead += 1 if request.is_any else (request.bits & self._missing).bit_count()
                live.append((request.bits, other.due_in(ahead, now)))
        for request in holder.queue:
            once |= request.bits
            twice |= request.bits
        return [(stalled & ~once, _NEVER), *((bits & ~twice, due) for bits, due in live)]


def _union(sets: Iterable[int]) -> int:
    union = 0
    for bits in sets:
        union |= bits
    return union


def _portion(bits: int, count: int, rng: random.Random) -> int:
    """Neighbours of a set, beginning anywhere: at most `count`, and few ranges. All of it, if that is not more."""
    turn = rng.randrange(bits.bit_length())
    chosen = 0
    ranges = 0
    for start, part in ((turn, bits >> turn), (0, bits & ((1 << turn) - 1))):
        for first, last in ranges_of(part):
            if not count or ranges == _ANY_RANGES:
                return chosen
            last = min(last, first + count - 1)
            chosen |= bits_of([(start + first, start + last)])
            count -= last - first + 1
            ranges += 1
    return chosen
