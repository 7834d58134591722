"""Names in order, so that LIST can be paged: a sorted list cut into blocks, changed in about a microsecond."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator

#: How many names a block holds when it is cut in two. Measured: 500 to 2000 are alike.
_BLOCK = 1000


class SortedNames:
    """A set of names in the order of their bytes.

    Source: the two-level list of the library sortedcontainers; ours: only what pages need.
    """

    __slots__ = ("_blocks", "_lasts", "_length")

    def __init__(self) -> None:
        self._blocks: list[list[bytes]] = []
        #: The last name of each block.
        self._lasts: list[bytes] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: bytes) -> bool:
        return next(self.since(name), None) == name

    def add(self, name: bytes) -> None:
        """Add a name that is not there yet."""
        self._length += 1
        index = bisect_left(self._lasts, name)
        if index == len(self._lasts):  # behind all others, so it is the new last one of the last block
            if index == 0:
                self._blocks.append([])
                self._lasts.append(name)
            else:
                index -= 1
                self._lasts[index] = name
        block = self._blocks[index]
        insort(block, name)
        if len(block) > _BLOCK:
            half = len(block) // 2
            self._blocks[index : index + 1] = [block[:half], block[half:]]
            self._lasts[index : index + 1] = [block[half - 1], block[-1]]

    def remove(self, name: bytes) -> None:
        """Remove a name that is there."""
        index = bisect_left(self._lasts, name)
        block = self._blocks[index]
        del block[bisect_left(block, name)]
        self._length -= 1
        if block:
            self._lasts[index] = block[-1]
        else:
            del self._blocks[index]
            del self._lasts[index]

    def after(self, name: bytes) -> Iterator[bytes]:
        """The names behind `name`, which need not be there itself; b"" gives all. Change nothing meanwhile."""
        return self._from(bisect_right(self._lasts, name), name, bisect_right)

    def since(self, name: bytes) -> Iterator[bytes]:
        """The names from `name` on, it included if it is there. Change nothing meanwhile."""
        return self._from(bisect_left(self._lasts, name), name, bisect_left)

    def _from(self, index: int, name: bytes, bisect: Callable[[list[bytes], bytes], int]) -> Iterator[bytes]:
        if index == len(self._blocks):
            return
        block = self._blocks[index]
        for place in range(bisect(block, name), len(block)):
            yield block[place]
        for block in self._blocks[index + 1 :]:
            yield from block
