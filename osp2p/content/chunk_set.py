"""Sets of chunk numbers as Python integers, bit `i` for chunk `i`. Pure.

A file has at most 16,384 chunks, so a set is at most 2 KiB, and "missing, not asked for, held by this one, and by the
fewest others" is a handful of operations that take less than a microsecond each, whatever the number of chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: Beyond so many times, a chunk does not count as more frequent than another.
_LEVELS = 16


def bits_of(ranges: Iterable[tuple[int, int]]) -> int:
    """The set of all numbers in ranges (first, last), both inclusive."""
    bits = 0
    for first, last in ranges:
        bits |= ((1 << (last - first + 1)) - 1) << first
    return bits


def ranges_of(bits: int) -> Iterator[tuple[int, int]]:
    """A set as ascending ranges (first, last), both inclusive."""
    digits = bin(bits)[:1:-1]
    first = digits.find("1")
    while first >= 0:
        end = digits.find("0", first)
        end = len(digits) if end < 0 else end
        yield first, end - 1
        first = digits.find("1", end)


def lowest(bits: int) -> int:
    """The least number of a set that is not empty."""
    return (bits & -bits).bit_length() - 1


def run_length(bits: int) -> int:
    """How many neighbouring numbers from 0 on are in a set."""
    return (bits ^ (bits + 1)).bit_length() - 1


class Tally:
    """How often each chunk was counted, up to a limit, as sets: `_levels[k]` has what was counted more than `k` times.

    Args:
        everything: the set of all chunks. What all of them have in common is forgotten, so that the limit concerns
            differences alone.
    """

    __slots__ = ("_everything", "_levels")

    def __init__(self, everything: int) -> None:
        self._everything = everything
        self._levels: list[int] = []

    def add(self, bits: int) -> None:
        """Count each chunk of a set once more."""
        for level, counted in enumerate(self._levels):
            if not bits:
                break
            self._levels[level] = counted | bits
            bits &= counted
        if bits and len(self._levels) < _LEVELS:
            self._levels.append(bits)
        if self._everything and self._levels and self._levels[0] == self._everything:
            del self._levels[0]

    def least(self, bits: int) -> int:
        """Those of a set that were counted least often; empty only if the set is."""
        for counted in self._levels:
            if rest := bits & ~counted:
                return rest
        return bits
