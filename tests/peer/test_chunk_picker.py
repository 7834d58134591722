"""Which chunks are asked of whom: examples of each rule, and what must hold whatever holders do."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from osp2p.content.chunk_set import bits_of, ranges_of
from osp2p.content.chunks import MIN_CHUNK
from osp2p.limits import MIB, Limits
from osp2p.peer.chunk_picker import Assignment, ChunkPicker

COUNT = 40
EVERYTHING = 2**COUNT - 1
LIMITS = Limits()
FAST = 100.0 * MIB
SLOW = 1.0 * MIB


def picker_of(count: int = COUNT, have: list[tuple[int, int]] | None = None, seed: int = 1) -> ChunkPicker:
    return ChunkPicker(count, MIN_CHUNK, have or [], LIMITS, random.Random(seed))


def chunks_in(bits: int) -> set[int]:
    return {index for first, last in ranges_of(bits) for index in range(first, last + 1)}


def bring(picker: ChunkPicker, key: str, assignment: Assignment, now: float, begins_at: float | None = None) -> None:
    """A holder answers with all that it was asked for."""
    first, last = assignment.first, assignment.last
    if assignment.any:
        first = last = min(chunks_in(assignment.any))
    picker.begins(key, now if begins_at is None else begins_at)
    for index in range(first, last + 1):
        picker.heard(key, MIN_CHUNK, now)
        picker.arrived(picker.hold(index, index))
    picker.answered(key)


def add_seed(picker: ChunkPicker, key: str, rate: float = 0.0) -> None:
    """A seed, of which it is known that it gives so many bytes per second."""
    picker.add_holder(key)
    picker.set_all(key, 0)
    if rate:
        picker._holders[key].rate = rate


def add_part(picker: ChunkPicker, key: str, *chunks: int, rate: float = 0.0) -> None:
    picker.add_holder(key)
    picker.set_only(key, [(index, index) for index in sorted(chunks)], 0)
    picker._holders[key].rate = rate


def all_assignments(picker: ChunkPicker, key: str, now: float = 0.0) -> list[Assignment]:
    found = []
    while (assignment := picker.assign(key, now)) is not None:
        found.append(assignment)
    return found


# --- one holder ---


def test_nothing_is_asked_of_one_who_has_nothing() -> None:
    picker = picker_of()
    picker.add_holder("a")
    assert picker.assign("a", 0) is None
    assert not picker.wants("a")


def test_a_seed_chooses_first_because_its_rate_is_unknown() -> None:
    """Of many who begin at a time, each is then given something else."""
    picker = picker_of()
    add_seed(picker, "seed")
    assignment = picker.assign("seed", 0)
    assert assignment is not None
    assert assignment.any.bit_count() > 1
    assert picker.assign("seed", 0) is None  # one at a time, until more is known


def test_a_fast_seed_is_asked_for_long_runs() -> None:
    picker = picker_of(1000)
    add_seed(picker, "seed", FAST)
    assignments = all_assignments(picker, "seed")
    assert [a.last - a.first + 1 for a in assignments] == [20, 20]  # 0.05 s at 100 MiB/s is 5 MiB
    assert assignments[1].first == assignments[0].last + 1


def test_no_request_is_larger_than_the_limit() -> None:
    picker = picker_of(10_000)
    add_seed(picker, "seed", 1000 * FAST)
    assignments = all_assignments(picker, "seed")
    assert [(a.last - a.first + 1) * MIN_CHUNK for a in assignments] == [LIMITS.max_request] * 2


def test_a_chunk_larger_than_the_largest_request_is_asked_for_all_the_same() -> None:
    picker = ChunkPicker(100, 2 * LIMITS.max_request, [], LIMITS, random.Random(1))
    add_part(picker, "a", *range(10), rate=1000 * FAST)
    assignment = picker.assign("a", 0)
    assert assignment is not None
    assert assignment.first == assignment.last


def test_what_is_here_is_never_asked_for() -> None:
    picker = picker_of(have=[(0, 4), (6, COUNT - 1)])
    add_seed(picker, "seed", FAST)
    assert picker.assign("seed", 0) == Assignment(5, 5)
    assert picker.assign("seed", 0) is None


def test_a_single_chunk_left_is_no_choice() -> None:
    picker = picker_of(have=[(0, COUNT - 2)])
    add_seed(picker, "seed")
    assert picker.assign("seed", 0) == Assignment(COUNT - 1, COUNT - 1)


def test_a_distant_holder_has_more_on_its_way() -> None:
    near, far = picker_of(1000), picker_of(1000)
    for picker, latency in ((near, 0.0), (far, 0.5)):
        picker.add_holder("a", latency)
        picker.set_only("a", [(0, 900)], 0)
        picker._holders["a"].rate = SLOW
    assert len(all_assignments(near, "a")) == 1
    assert len(all_assignments(far, "a")) == 3  # 0.6 s at 1 MiB/s are 2.4 chunks


def test_one_that_runs_dry_has_more_on_its_way_next_time() -> None:
    picker = picker_of(1000)
    add_part(picker, "a", *range(900), rate=4 * SLOW)
    first, second = all_assignments(picker, "a")
    bring(picker, "a", first, 1.0)
    bring(picker, "a", second, 1.4)  # nothing came for 0.4 s
    assert len(all_assignments(picker, "a", 1.4)) > 2


# --- several ---


def test_the_rarest_chunk_first() -> None:
    picker = picker_of()
    add_part(picker, "a", 1, 2, 3)
    add_part(picker, "b", 1, 2)
    add_part(picker, "c", 1)
    assert picker.assign("a", 0) == Assignment(3, 3)
    assert picker.assign("b", 0) == Assignment(2, 2)
    assert picker.assign("c", 0) == Assignment(1, 1)


def test_rarity_forgets_those_who_leave() -> None:
    picker = picker_of()
    add_part(picker, "a", 1, 2)
    add_part(picker, "b", 1)
    add_part(picker, "c", 2)
    add_part(picker, "d", 2)
    picker.remove_holder("c")
    picker.remove_holder("d")
    assert picker.assign("a", 0) == Assignment(2, 2)


def test_equally_rare_ones_are_begun_anywhere() -> None:
    firsts = set()
    for seed in range(20):
        picker = picker_of(seed=seed)
        add_part(picker, "a", *range(COUNT))
        picker.lose("a", 1 << (COUNT - 1))
        assignment = picker.assign("a", 0)
        assert assignment is not None
        firsts.add(assignment.first)
    assert len(firsts) > 5


def test_a_seed_is_not_asked_for_what_a_partial_holder_gives() -> None:
    picker = picker_of()
    add_part(picker, "part", *range(30))
    add_seed(picker, "seed")
    assignment = picker.assign("seed", 0)
    assert assignment is not None
    assert chunks_in(assignment.any) == set(range(30, COUNT))


def test_a_seed_is_spared_while_partial_holders_deliver_all_that_is_left() -> None:
    picker = picker_of(8)
    add_part(picker, "part", *range(7), rate=3.0 * MIB)
    picker.arrived(picker.hold(7, 7))
    add_seed(picker, "seed", FAST)
    assert picker.assign("seed", 0) is None
    assert picker.wants("seed")  # look again


def test_a_seed_is_not_spared_for_a_partial_holder_that_is_too_slow() -> None:
    picker = picker_of(8)
    add_part(picker, "part", *range(7), rate=0.1 * MIB)
    picker.arrived(picker.hold(7, 7))
    add_seed(picker, "seed", FAST)
    assert picker.assign("seed", 0) is not None


def test_a_seed_is_not_spared_for_long_for_one_that_has_not_delivered_yet() -> None:
    picker = picker_of(8)
    add_part(picker, "part", *range(7))
    picker.arrived(picker.hold(7, 7))
    add_seed(picker, "seed", FAST)
    assert picker.assign("seed", LIMITS.end_game_after - 0.01) is None
    assert picker.assign("seed", LIMITS.end_game_after + 0.01) is not None


def test_two_seeds_choose_from_different_sets() -> None:
    picker = picker_of()
    add_seed(picker, "one")
    add_seed(picker, "two")
    one, two = picker.assign("one", 0), picker.assign("two", 0)
    assert one is not None
    assert two is not None
    assert one.any
    assert two.any
    assert not one.any & two.any


def test_no_run_is_asked_from_what_the_seed_still_chooses_from() -> None:
    picker = picker_of()
    add_seed(picker, "seed")
    choice = picker.assign("seed", 0)
    assert choice is not None
    picker._holders["seed"].rate = FAST
    runs = all_assignments(picker, "seed")
    assert runs
    assert not any(run.bits & choice.any for run in runs)


@pytest.mark.parametrize("seed", range(40))
def test_a_seed_alone_sends_nothing_twice(seed: int) -> None:
    """Whatever it chooses, and however much is on its way: what it chose for one request it does not for another."""
    picker = picker_of(24, seed=seed)
    add_seed(picker, "seed")
    rng = random.Random(seed)
    given: set[int] = set()
    waiting: deque[Assignment] = deque()
    now = 0.0
    while not picker.complete:
        waiting += all_assignments(picker, "seed", now)
        while len(waiting) > rng.randrange(3):
            asked = waiting.popleft()
            chunks = chunks_in(asked.any) - given if asked.any else {asked.first}
            assert chunks - given, "it has sent all that it is asked for"
            now += 0.08
            chunk = rng.choice(sorted(chunks))
            given.add(chunk)
            bring(picker, "seed", replace(asked, first=chunk, last=chunk, any=0), now)


def test_a_seed_is_asked_for_nothing_more_where_others_leave_only_what_it_chooses_from() -> None:
    picker = picker_of(3)
    for key, choice in (("a", 0b011), ("b", 0b110)):
        add_seed(picker, key)
        picker._ask(picker._holders[key], Assignment(any=choice), 0)
        picker._holders[key].rate = 5 * SLOW
    assert picker._holders["a"].has_room(at_work=2)
    assert picker.assign("a", 0) is None


def test_a_choice_is_from_few_ranges() -> None:
    """So that it stands in one line and is quickly read."""
    picker = ChunkPicker(16_384, MIN_CHUNK, [(index, index) for index in range(0, 16_384, 2)], LIMITS, random.Random(1))
    add_seed(picker, "seed")
    assignment = picker.assign("seed", 0)
    assert assignment is not None
    assert len(list(ranges_of(assignment.any))) == 32


def test_a_partial_holder_that_has_all_is_a_seed() -> None:
    picker = picker_of()
    add_part(picker, "a", *range(COUNT - 1))
    add_part(picker, "b", 1)
    picker.gain("a", [(COUNT - 1, COUNT - 1)], 0)
    assignment = picker.assign("a", 0)
    assert assignment is not None
    assert chunks_in(assignment.any) <= set(range(COUNT)) - {1}


def test_news_are_those_of_missing_chunks() -> None:
    picker = picker_of(have=[(0, 4)])
    picker.add_holder("a")
    assert not picker.gain("a", [(0, 4)], 0)
    assert picker.gain("a", [(3, 5)], 0)
    assert not picker.gain("a", [(3, 5)], 0)
    assert picker.set_all("a", 0)


def test_chunks_that_no_such_file_has_are_ignored() -> None:
    picker = picker_of()
    picker.add_holder("a")
    assert not picker.gain("a", [(COUNT, COUNT + 5)], 0)
    assert picker.assign("a", 0) is None


# --- what goes wrong ---


def test_what_a_holder_owes_is_free_when_it_is_gone() -> None:
    picker = picker_of(5)
    add_part(picker, "a", 0, 1, 2, 3, rate=FAST)
    add_part(picker, "b", 0, 1, 2, 3, rate=FAST)
    asked = picker.assign("a", 0)
    assert asked == Assignment(asked.first, asked.last) if asked else False
    picker.remove_holder("a")
    found = all_assignments(picker, "b")
    assert set().union(*(chunks_in(a.bits) for a in found)) == {0, 1, 2, 3}
    assert not any(a.taken_over for a in found)


def test_what_an_answer_did_not_bring_is_free_again() -> None:
    picker = picker_of(5)
    add_part(picker, "a", 1)
    assert picker.assign("a", 0) == Assignment(1, 1)
    picker.answered("a")
    assert picker.assign("a", 0) == Assignment(1, 1)


def test_what_a_holder_refuses_is_not_asked_of_it_again_whatever_it_says() -> None:
    picker = picker_of(5)
    add_part(picker, "a", 1, 2)
    picker.lose("a", 0b10)
    picker.gain("a", [(1, 1)], 0)
    picker.set_all("a", 0)
    asked = all_assignments(picker, "a")
    assert all(not assignment.bits & 0b10 for assignment in asked)


def test_what_a_busy_holder_is_asked_for_is_free_for_others_until_it_delivers() -> None:
    picker = picker_of(count=1)
    add_seed(picker, "busy")
    add_seed(picker, "idle")
    assert picker.assign("busy", 0) is not None
    assert picker.assign("idle", 0) is None
    picker.refused("busy")
    picker.answered("busy")
    assert picker.assign("busy", 0.1) is not None, "it may be free by now"
    assert picker.assign("idle", 0.1) == Assignment(0, 0), "it need not wait to see that"
    bring(picker, "busy", Assignment(0, 0), 0.2)
    assert picker.complete


def test_one_that_has_less_than_before_is_believed() -> None:
    picker = picker_of(5)
    add_part(picker, "a", 1, 2, 3)
    picker.set_only("a", [(2, 2)], 0)
    assert picker.assign("a", 0) == Assignment(2, 2)
    assert picker.assign("a", 0) is None


def test_a_chunk_in_hand_is_asked_of_nobody_until_it_proves_wrong() -> None:
    picker = picker_of(5)
    add_part(picker, "a", 1)
    add_part(picker, "b", 1)
    assert picker.assign("a", 0) is not None
    bits = picker.hold(1, 1)
    assert bits == 0b10
    assert picker.hold(1, 1) == 0  # not twice
    picker.answered("a")
    assert picker.assign("b", 0) is None
    assert not picker.wants("b")
    picker.let_go(bits)
    assert picker.assign("b", 0) == Assignment(1, 1)


# --- the end game ---


def test_a_stalled_holder_loses_what_it_owes() -> None:
    picker = picker_of(5)
    add_part(picker, "stalled", 1, 2, rate=FAST)
    add_part(picker, "idle", 1, 2, rate=FAST)
    owed = picker.assign("stalled", 0)
    assert owed is not None
    assert all_assignments(picker, "idle", LIMITS.idle_recheck / 2) == []
    taken = all_assignments(picker, "idle", LIMITS.end_game_after + 0.1)
    assert {a.first for a in taken} == {1, 2}
    assert all(a.taken_over for a in taken)


def test_a_slow_holder_loses_what_a_fast_one_brings_much_sooner() -> None:
    picker = picker_of(5)
    add_part(picker, "slow", 1, rate=SLOW / 10)  # 2.5 s
    add_part(picker, "fast", 1, rate=FAST)
    assert picker.assign("slow", 0) == Assignment(1, 1)
    assert picker.assign("fast", 0.01) == Assignment(1, 1, taken_over=True)


def test_one_that_is_late_loses_what_it_owes_the_sooner_the_faster_the_other_is() -> None:
    """What has taken so long is reckoned to take as long again."""
    picker = picker_of(5)
    add_part(picker, "new", 1)
    add_part(picker, "fast", 1, rate=5 * SLOW)  # 0.05 s
    assert picker.assign("new", 0) == Assignment(1, 1)
    assert picker.assign("fast", 0.09) is None
    assert picker.assign("fast", 0.11) == Assignment(1, 1, taken_over=True)


def test_equals_take_nothing_from_each_other() -> None:
    picker = picker_of(5)
    add_part(picker, "a", 1, rate=SLOW)
    add_part(picker, "b", 1, rate=SLOW)
    assert picker.assign("a", 0) == Assignment(1, 1)
    for now in (0.0, 0.1, 0.2):
        assert picker.assign("b", now) is None


def test_no_third_is_asked_while_two_are_at_it() -> None:
    picker = picker_of(5)
    add_part(picker, "slow", 1, rate=SLOW / 10)
    add_part(picker, "fast", 1, rate=FAST)
    add_part(picker, "third", 1, rate=FAST)
    picker.assign("slow", 0)
    picker.assign("fast", 0.01)
    assert picker.assign("third", 0.011) is None


def test_a_third_is_asked_where_both_have_stalled() -> None:
    picker = picker_of(5)
    add_part(picker, "slow", 1, rate=SLOW / 10)
    add_part(picker, "fast", 1, rate=FAST)
    add_part(picker, "third", 1, rate=FAST)
    picker.assign("slow", 0)
    picker.assign("fast", 0.01)
    assert picker.assign("third", 100) == Assignment(1, 1, taken_over=True)


def test_the_last_of_a_long_run_is_taken_over_first() -> None:
    picker = picker_of(COUNT)
    add_part(picker, "slow", *range(5, 9), rate=20 * SLOW)
    (*_, run) = all_assignments(picker, "slow")
    assert run.last > run.first
    picker._holders["slow"].rate = SLOW
    add_part(picker, "fast", *range(run.first, run.last + 1), rate=FAST)
    taken = picker.assign("fast", 0.01)
    assert taken == Assignment(run.last, run.last, taken_over=True)


def test_a_partial_holder_takes_nothing_over_while_others_can_be_asked_for_more() -> None:
    """In a swarm that would be sent twice, while the others who want something of the same holder wait."""
    picker = picker_of(5)
    add_part(picker, "slow", 1, rate=SLOW / 10)
    add_part(picker, "fast", 1, rate=FAST)
    add_part(picker, "third", 2, rate=SLOW)
    assert picker.assign("slow", 0) == Assignment(1, 1)
    assert picker.assign("fast", 0.01) is None
    assert picker.assign("third", 0.01) == Assignment(2, 2)  # now nothing else is left
    assert picker.assign("fast", 0.02) == Assignment(1, 1, taken_over=True)


def test_what_is_owed_by_one_who_has_stalled_is_taken_over_at_any_time() -> None:
    picker = picker_of(5)
    add_part(picker, "stalled", 1, rate=SLOW)
    add_part(picker, "fast", 1, rate=FAST)
    add_part(picker, "third", 2, rate=SLOW)
    picker.assign("stalled", 0)
    assert picker.assign("fast", 100) == Assignment(1, 1, taken_over=True)


def test_the_slower_an_idle_holder_the_later_it_is_looked_at_again() -> None:
    picker = picker_of(5)
    for key, rate in (("new", 0.0), ("slow", SLOW), ("fast", FAST)):
        add_part(picker, key, 1, rate=rate)
    add_part(picker, "useless")
    assert picker.idle_for("useless") == float("inf")
    assert picker.idle_for("new") == picker.idle_for("fast") == LIMITS.idle_recheck
    add_part(picker, "slowest", 1, rate=SLOW / 10)
    assert picker.idle_for("slowest") == pytest.approx(MIN_CHUNK / (SLOW / 10) / 8)
    assert LIMITS.idle_recheck <= picker.idle_for("slow") < picker.idle_for("slowest")


def test_nothing_is_taken_over_as_long_as_there_is_other_work() -> None:
    picker = picker_of(5)
    add_part(picker, "stalled", 1, rate=FAST)
    add_part(picker, "busy", 1, 2, rate=SLOW)
    picker.assign("stalled", 0)
    assert picker.assign("busy", 50) == Assignment(2, 2)


# --- speed ---


def test_assigning_among_the_most_chunks_and_holders_is_quick() -> None:
    picker = ChunkPicker(16_384, MIN_CHUNK, [], LIMITS, random.Random(1))
    rng = random.Random(2)
    for number in range(31):
        chunks = [index for index in range(16_384) if rng.random() < 0.5]
        add_part(picker, f"part{number}", *chunks, rate=SLOW)
    add_seed(picker, "seed", SLOW)
    began = time.process_time()
    for turn in range(300):
        key = "seed" if turn % 2 else f"part{turn % 31}"
        if (assignment := picker.assign(key, turn / 100)) is not None:
            bring(picker, key, assignment, turn / 100 + 0.01)
    assert time.process_time() - began < 1.5  # far less than a walk over the chunks would take


# --- whatever happens ---


class AnySchedule(RuleBasedStateMachine):
    """Holders come, gain, deliver, refuse, lie, stall and go in any order.

    Nothing that is here or in hand is asked for, nothing of one who does not have it, nothing twice but in the end
    game; and whenever one honest seed stays, everything arrives.
    """

    @initialize(seed=st.integers(0, 1000), have=st.sets(st.integers(0, COUNT - 1), max_size=COUNT // 2))
    def begin(self, seed: int, have: set[int]) -> None:
        limits = replace(LIMITS, requests_ahead=2)
        ranges = [(index, index) for index in sorted(have)]
        self.picker = ChunkPicker(COUNT, MIN_CHUNK, ranges, limits, random.Random(seed))
        self.here = set(have)
        self.in_hand: dict[int, int] = {}
        self.has: dict[int, set[int]] = {}
        self.whole: set[int] = set()
        self.asked: dict[int, deque[Assignment]] = {}
        self.now = 0.0
        self.next_key = 0

    def some_holder(self, choice: int) -> int | None:
        keys = sorted(self.has)
        return keys[choice % len(keys)] if keys else None

    @rule(chunks=st.sets(st.integers(0, COUNT - 1)), rate=st.sampled_from([0.0, SLOW / 50, SLOW, FAST]))
    @precondition(lambda self: len(self.has) < 6)
    def join(self, chunks: set[int], rate: float) -> None:
        key = self.next_key = self.next_key + 1
        self.picker.add_holder(key, 0.01)
        self.picker._holders[key].rate = rate
        self.has[key], self.asked[key] = set(), deque()
        self.say(key, chunks)

    def say(self, key: int, chunks: set[int]) -> None:
        self.picker.gain(key, [(index, index) for index in sorted(chunks)], self.now)
        self.has[key] |= chunks

    @rule(choice=st.integers(0, 5), chunks=st.sets(st.integers(0, COUNT - 1), max_size=8))
    def gain(self, choice: int, chunks: set[int]) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.say(key, chunks)

    @rule(choice=st.integers(0, 5))
    def become_whole(self, choice: int) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.picker.set_all(key, self.now)
            self.has[key] = set(range(COUNT))

    @rule(choice=st.integers(0, 5))
    def leave(self, choice: int) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.picker.remove_holder(key)
            del self.has[key], self.asked[key]

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.5, 3.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(choice=st.integers(0, 5))
    def ask(self, choice: int) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.ask_of(key)

    def ask_of(self, key: int) -> Assignment | None:
        assignment = self.picker.assign(key, self.now)
        if assignment is None:
            return None
        chunks = chunks_in(assignment.bits)
        others = {other: queue for other, queue in self.asked.items() if other != key}
        definite = {
            other: set().union(*(chunks_in(a.bits) for a in queue if not a.any)) for other, queue in self.asked.items()
        }
        assert chunks
        assert chunks <= self.has[key]
        assert not chunks & self.here
        assert not bits_of((index, index) for index in chunks) & sum(self.in_hand.values())
        assert not chunks & definite[key]
        if assignment.taken_over:
            owed = set().union(*(chunks_in(a.bits) for queue in others.values() for a in queue))
            assert chunks <= owed
        else:
            assert not any(chunks & definite[other] for other in others)
        if assignment.any:
            assert len(chunks) > 1
            assert self.has[key] == set(range(COUNT))
        self.asked[key].append(assignment)
        return assignment

    @rule(choice=st.integers(0, 5), fate=st.sampled_from(["brings", "brings", "half", "refuses", "lies", "in hand"]))
    def answer(self, choice: int, fate: str) -> None:
        key = self.some_holder(choice)
        if key is None or not self.asked[key]:
            return
        self.now += 0.01
        assignment = self.asked[key].popleft()
        chunks = sorted(chunks_in(assignment.bits))
        if assignment.any:
            chunks = chunks[len(chunks) // 2 :][:1]
        self.picker.begins(key, self.now)
        if fate == "refuses":
            self.picker.lose(key, assignment.bits)
            self.has[key] -= chunks_in(assignment.bits)
        else:
            for index in chunks[: max(1, len(chunks) // 2)] if fate == "half" else chunks:
                self.deliver(key, index, fate)
        self.picker.answered(key)

    def deliver(self, key: int, index: int, fate: str) -> None:
        self.picker.heard(key, MIN_CHUNK, self.now)
        bits = self.picker.hold(index, index)
        assert bits == (0 if index in self.here or 1 << index in self.in_hand.values() else 1 << index)
        if not bits:
            return
        if fate == "in hand":
            self.in_hand[index] = bits
        elif fate == "lies":
            self.picker.let_go(bits)
        else:
            self.picker.arrived(bits)
            self.here.add(index)

    @rule(proved=st.booleans())
    @precondition(lambda self: self.in_hand)
    def settle(self, proved: bool) -> None:
        index, bits = self.in_hand.popitem()
        if proved:
            self.picker.arrived(bits)
            self.here.add(index)
        else:
            self.picker.let_go(bits)

    @invariant()
    def complete_when_all_is_here(self) -> None:
        if hasattr(self, "here"):
            assert self.picker.complete == (len(self.here) == COUNT)

    def teardown(self) -> None:
        """One honest seed stays, and some who do nothing any more: everything arrives."""
        if not hasattr(self, "here"):
            return
        while self.in_hand:
            self.settle(False)
        for choice in [key for key in self.has if key % 2]:
            self.picker.remove_holder(choice)
            del self.has[choice], self.asked[choice]
        self.next_key += 1
        seed = self.next_key
        self.picker.add_holder(seed)
        self.picker.set_all(seed, self.now)
        self.has[seed], self.asked[seed] = set(range(COUNT)), deque()
        for _ in range(20 * COUNT):
            if self.picker.complete:
                break
            self.now += 0.25
            self.ask_of(seed)
            while self.asked[seed]:
                assignment = self.asked[seed].popleft()
                self.picker.begins(seed, self.now)
                for index in sorted(chunks_in(assignment.bits))[: 1 if assignment.any else None]:
                    self.deliver(seed, index, "brings")
                self.picker.answered(seed)
        assert self.picker.complete


TestAnySchedule = AnySchedule.TestCase
TestAnySchedule.settings = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow], deadline=None
)
