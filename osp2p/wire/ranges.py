"""Sets of chunk numbers as they stand in a line.

Grammar: ``range,range…``, each ``n`` or ``first-last`` with first <= last, ascending and never overlapping;
decimal, without signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from osp2p.errors import MalformedLine
from osp2p.wire.entry import parse_number


def parse_ranges(text: bytes, maximum: int, max_ranges: int) -> list[tuple[int, int]]:
    """Read ranges.

    Args:
        text: one word.
        maximum: the largest chunk number that exists.
        max_ranges: how many ranges one word may have.

    Returns: pairs (first, last), both inclusive, ascending and without overlap.

    Raises:
        MalformedLine: another form, descending or overlapping ranges, too many, or a number beyond `maximum`.
    """
    parts = text.split(b",", max_ranges)
    if len(parts) > max_ranges:
        raise MalformedLine(f"more than {max_ranges} ranges in one word")
    ranges: list[tuple[int, int]] = []
    previous = -1
    for part in parts:
        low, dash, high = part.partition(b"-")
        first = parse_number(low, maximum, "a chunk number")
        last = parse_number(high, maximum, "a chunk number") if dash else first
        if first <= previous or last < first:
            raise MalformedLine("ranges ascend and do not overlap")
        ranges.append((first, last))
        previous = last
    return ranges


def merge_numbers(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Put numbers together to ranges (first, last), both inclusive.

    Args:
        numbers: from 0, ascending, each once.
    """
    first = last = -2
    for number in numbers:
        if number == last + 1:
            last = number
            continue
        if first >= 0:
            yield first, last
        first = last = number
    if first >= 0:
        yield first, last


def write_ranges(ranges: Iterable[tuple[int, int]], max_bytes: int) -> Iterator[bytes]:
    """Write ranges as words, in order.

    Args:
        ranges: pairs (first, last), ascending and without overlap.
        max_bytes: how long a word may be; one range by itself is never split.
    """
    word = b""
    for first, last in ranges:
        part = b"%d-%d" % (first, last) if last > first else b"%d" % first
        if word and len(word) + 1 + len(part) > max_bytes:
            yield word
            word = b""
        word = word + b"," + part if word else part
    if word:
        yield word
