"""Which chunks are asked of whom: examples of each rule."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace

import pytest

from osp2p.content.chunk_set import ranges_of
from osp2p.content.chunks import MIN_CHUNK
from osp2p.limits import MIB
from osp2p.peer.chunk_picker import Assignment, ChunkPicker
from tests.peer.pickers import (
    COUNT,
    FAST,
    LIMITS,
    SLOW,
    add_part,
    add_seed,
    all_assignments,
    bring,
    chunks_in,
    picker_of,
)

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
