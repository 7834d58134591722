"""What the tests of the chunk picker have in common."""

from __future__ import annotations

import random

from osp2p.content.chunk_set import ranges_of
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
