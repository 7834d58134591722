"""Ranges of chunk numbers."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine
from osp2p.wire.ranges import merge_numbers, parse_ranges, write_ranges

NUMBERS = st.sets(st.integers(min_value=0, max_value=300))
HUGE = 10**30


def expand(ranges: list[tuple[int, int]]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


@given(NUMBERS, st.integers(min_value=7, max_value=40))
def test_numbers_come_back_over_ranges_and_words(numbers: set[int], width: int) -> None:
    merged = list(merge_numbers(sorted(numbers)))
    assert expand(merged) == sorted(numbers)
    words = list(write_ranges(merged, width))
    assert all(0 < len(word) <= width for word in words)
    assert [pair for word in words for pair in parse_ranges(word, 300, 1000)] == merged


@given(NUMBERS)
def test_merged_ranges_are_as_few_as_can_be(numbers: set[int]) -> None:
    merged = list(merge_numbers(sorted(numbers)))
    assert len(merged) == sum(1 for number in numbers if number - 1 not in numbers)


def test_a_word_takes_as_many_ranges_as_fit() -> None:
    assert list(write_ranges([(0, 3), (5, 5), (7, 9)], 9)) == [b"0-3,5,7-9"]
    assert list(write_ranges([(0, 3), (5, 5), (7, 9)], 8)) == [b"0-3,5", b"7-9"]
    assert list(write_ranges([(1000, 2000)], 1)) == [b"1000-2000"]
    assert list(write_ranges([], 10)) == []


@pytest.mark.parametrize(
    ("word", "ranges"),
    [
        (b"0", [(0, 0)]),
        (b"0-0", [(0, 0)]),
        (b"0-9", [(0, 9)]),
        (b"0-3,4-9", [(0, 3), (4, 9)]),
        (b"1,3,5-7", [(1, 1), (3, 3), (5, 7)]),
    ],
)
def test_what_ranges_mean(word: bytes, ranges: list[tuple[int, int]]) -> None:
    assert parse_ranges(word, 9, 10) == ranges


@pytest.mark.parametrize(
    "word",
    [
        *(b"", b",", b"1,", b",1", b"1,,2", b"-", b"1-", b"-1", b"2-1", b"1-2-3", b"--1", b"1--2", b"all"),
        *(b"3,1", b"1,1", b"0-3,3", b"0-3,2-5", b"10", b"0-10", b"5-99999999999999999999"),
        *(b"+1", b" 1", b"1 ", b"1_2", b"0x1", b"1.0", "٣".encode(), b"1\0"),
        pytest.param(b"9" * 100_000, id="many digits"),
    ],
)
def test_what_no_ranges_are(word: bytes) -> None:
    with pytest.raises(MalformedLine) as caught:
        parse_ranges(word, 9, 10)
    assert caught.value.code == 500


def test_a_file_without_chunks_has_no_ranges() -> None:
    with pytest.raises(MalformedLine):
        parse_ranges(b"0", -1, 10)


def test_the_number_of_ranges_is_bounded_before_they_are_read() -> None:
    assert len(parse_ranges(b"0,2,4", 9, 3)) == 3
    with pytest.raises(MalformedLine, match="more than 3"):
        parse_ranges(b"0,2,4,6", 9, 3)
    with pytest.raises(MalformedLine, match="more than 3"):
        parse_ranges(b"," * 1_000_000, 9, 3)


@given(st.one_of(st.binary(max_size=40), st.text(alphabet="0123456789,-", max_size=20).map(str.encode)))
@example(b"0-%d" % HUGE)
def test_any_word_is_ascending_ranges_or_malformed(word: bytes) -> None:
    try:
        ranges = parse_ranges(word, 50, 5)
    except MalformedLine:
        return
    numbers = expand(ranges)
    assert numbers == sorted(set(numbers))
    assert 0 < len(ranges) <= 5
    assert numbers[-1] <= 50
