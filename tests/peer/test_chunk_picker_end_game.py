"""Which chunks are taken over from holders that are late: examples of each rule."""

from __future__ import annotations

import pytest

from osp2p.content.chunks import MIN_CHUNK
from osp2p.peer.chunk_picker import Assignment
from tests.peer.pickers import (
    COUNT,
    FAST,
    LIMITS,
    SLOW,
    add_part,
    all_assignments,
    picker_of,
)

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
