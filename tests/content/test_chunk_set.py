"""Sets of chunk numbers as integers, against Python's own sets and counters."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.chunk_set import Tally, bits_of, lowest, ranges_of, run_length

NUMBERS = st.sets(st.integers(0, 70), max_size=40)


def bits(numbers: set[int]) -> int:
    return sum(1 << number for number in numbers)


def numbers_in(value: int) -> set[int]:
    return {number for first, last in ranges_of(value) for number in range(first, last + 1)}


@given(NUMBERS)
def test_ranges_and_sets_are_the_same_thing(numbers: set[int]) -> None:
    ranges = list(ranges_of(bits(numbers)))
    assert bits_of(ranges) == bits(numbers)
    assert numbers_in(bits(numbers)) == numbers
    ends = [end for pair in ranges for end in pair]
    assert ends == sorted(ends)
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(ranges))


def test_the_largest_file_has_sets_too() -> None:
    everything = bits_of([(0, 16_383)])
    assert everything.bit_count() == 16_384
    assert list(ranges_of(everything)) == [(0, 16_383)]
    assert list(ranges_of(0)) == []


@given(NUMBERS.filter(bool))
def test_the_lowest_and_its_run(numbers: set[int]) -> None:
    first = min(numbers)
    assert lowest(bits(numbers)) == first
    run = run_length(bits(numbers) >> first)
    assert set(range(first, first + run)) <= numbers
    assert first + run not in numbers


def test_a_run_that_does_not_begin_at_zero_is_none() -> None:
    assert run_length(0b1110) == 0
    assert run_length(0b0111) == 3


@given(st.lists(NUMBERS, max_size=15), NUMBERS)
def test_the_least_often_counted(counts: list[set[int]], among: set[int]) -> None:
    tally, model = Tally(bits(set(range(71)))), Counter[int]()
    for numbers in counts:
        tally.add(bits(numbers))
        model.update(numbers)
    fewest = min((model[number] for number in among), default=0)
    assert numbers_in(tally.least(bits(among))) == {number for number in among if model[number] == fewest}


def test_what_all_have_in_common_is_forgotten() -> None:
    """A file that was sent a thousand times still spreads its chunks evenly."""
    tally = Tally(0b111)
    for _ in range(1000):
        tally.add(0b111)
    tally.add(0b001)
    tally.add(0b011)
    assert tally.least(0b111) == 0b100
    assert tally.least(0b011) == 0b010


def test_beyond_the_limit_chunks_are_alike() -> None:
    tally = Tally(0b111)
    for _ in range(100):
        tally.add(0b001)
    for _ in range(50):
        tally.add(0b010)
    assert tally.least(0b011) == 0b011
    assert tally.least(0b111) == 0b100
