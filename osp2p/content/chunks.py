"""Chunks: how a file is cut, what proves it, and which parts of it somebody has. Pure.

A file is cut into chunks of one size, which follows from the file's length alone. Each chunk has a BLAKE3 hash. The
file's content id, `b3`, is the BLAKE3 hash of a short text that names the length and every chunk's hash, so that a
file of one chunk is proved without its list, and a list is proved by the id alone.

Source: ours. It is not what ``b3sum`` prints, because that tree has chunks of 1 KiB and a list of them is too long.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from blake3 import blake3

from osp2p.errors import MalformedLine, RemoteProtocolError
from osp2p.wire.ranges import merge_numbers, parse_ranges, write_ranges

#: Bytes of one hash, raw.
HASH_LENGTH: Final = 32

#: Bytes of the smallest chunk. The last chunk of a file may be shorter, never empty.
MIN_CHUNK: Final = 256 * 1024

#: Most chunks of a file, so that its list stays below 512 KiB.
MAX_CHUNKS: Final = 16_384

Buffer = bytes | bytearray | memoryview


def chunk_size(size: int) -> int:
    """The chunk size in bytes of a file of `size` bytes: the least power of two that keeps it to 16,384 chunks."""
    least = -(-size // MAX_CHUNKS)
    return max(MIN_CHUNK, 1 << (least - 1).bit_length() if least else 0)


def chunk_count(size: int) -> int:
    """How many chunks a file of `size` bytes has; none if it is empty."""
    return -(-size // chunk_size(size))


def chunk_bounds(size: int, index: int) -> tuple[int, int]:
    """Where chunk `index` of a file of `size` bytes lies: (offset, length) in bytes.

    Raises:
        IndexError: the file has no such chunk.
    """
    if not 0 <= index < chunk_count(size):
        raise IndexError(f"a file of {size} bytes has no chunk {index}")
    each = chunk_size(size)
    return index * each, min(each, size - index * each)


def chunk_hash(data: Buffer) -> bytes:
    """The raw hash of one chunk's bytes."""
    return blake3(data).digest()


def split_hashes(hashes: bytes) -> list[bytes]:
    """Cut a chunk list, all hashes in a row, into one raw hash for each chunk."""
    return [hashes[start : start + HASH_LENGTH] for start in range(0, len(hashes), HASH_LENGTH)]


def content_id(size: int, hashes: bytes) -> bytes:
    """The content id (`b3`) of a file.

    Args:
        size: of the file, in bytes.
        hashes: the raw hashes of its chunks in a row, 32 bytes each.

    Returns: 32 raw bytes.

    Raises:
        RemoteProtocolError: there are more or fewer hashes than the size demands.
    """
    if len(hashes) != chunk_count(size) * HASH_LENGTH:
        raise RemoteProtocolError(f"a file of {size} bytes has {chunk_count(size)} chunk hashes")
    text = "".join(part.hex() + "\n" for part in split_hashes(hashes))
    head = f"OSP2P/2 content\nsize {size}\nchunk {chunk_size(size)}\n"
    return blake3((head + text).encode()).digest()


class ChunkMap:
    """Which chunks of a file somebody has: a bitfield that only grows, and remembers in which order it grew.

    It takes one byte a chunk: at most 16 KiB, and the searches below run at the speed of C.

    Args:
        count: how many chunks the file has.
        first_serial: the serial number of the empty map. A map that lives on in another process starts elsewhere, so
            that a serial of the old one is not taken for one of its own.
    """

    __slots__ = ("_first_serial", "_gained", "_have", "count")

    def __init__(self, count: int, *, first_serial: int = 0) -> None:
        self.count = count
        self._first_serial = first_serial
        self._have = bytearray(count)
        self._gained: array[int] = array("H")

    @classmethod
    def full(cls, count: int, *, first_serial: int = 0) -> ChunkMap:
        """The map of somebody who has the whole file."""
        chunks = cls(count, first_serial=first_serial)
        chunks.add_ranges([(0, count - 1)])
        return chunks

    @classmethod
    def parse(cls, words: Iterable[bytes], count: int) -> ChunkMap:
        """Read a map that stands as ranges in several words.

        Raises:
            MalformedLine: as `parse_ranges`, or a word that does not begin behind the end of the one before it.
        """
        chunks = cls(count)
        last = -1
        for word in words:
            ranges = parse_ranges(word, count - 1, count) if count else []
            if not ranges or ranges[0][0] <= last:
                raise MalformedLine("ranges ascend from word to word, and a file has as many chunks as its size says")
            last = ranges[-1][1]
            chunks.add_ranges(ranges)
        return chunks

    def __len__(self) -> int:
        """How many chunks are there."""
        return len(self._gained)

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self.count and self._have[index] == 1

    def __iter__(self) -> Iterator[int]:
        """The chunks that are there, in ascending order."""
        return self._find(1, 0)

    @property
    def complete(self) -> bool:
        """Whether every chunk is there. An empty file's always are."""
        return len(self._gained) == self.count

    @property
    def serial(self) -> int:
        """Grows by one with each chunk that is gained."""
        return self._first_serial + len(self._gained)

    def add(self, index: int) -> bool:
        """Gain a chunk. Returns: whether it was missing."""
        if not 0 <= index < self.count:
            raise IndexError(f"there is no chunk {index} of {self.count}")
        if self._have[index]:
            return False
        self._have[index] = 1
        self._gained.append(index)
        return True

    def add_ranges(self, ranges: Iterable[tuple[int, int]]) -> int:
        """Gain the chunks of ranges (first, last), both inclusive. Returns: how many of them were missing."""
        return sum(self.add(index) for first, last in ranges for index in range(first, last + 1))

    def missing(self, start: int = 0) -> Iterator[int]:
        """The chunks that are not there, ascending from `start`. The map may grow meanwhile."""
        return self._find(0, start)

    def _find(self, value: int, start: int) -> Iterator[int]:
        index = self._have.find(value, start)
        while index >= 0:
            yield index
            index = self._have.find(value, index + 1)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """What is there, as ascending ranges (first, last), both inclusive."""
        return self._runs(1)

    def missing_ranges(self) -> Iterator[tuple[int, int]]:
        """What is not there, as ascending ranges (first, last), both inclusive."""
        return self._runs(0)

    def _runs(self, value: int) -> Iterator[tuple[int, int]]:
        first = self._have.find(value)
        while first >= 0:
            end = self._have.find(1 - value, first)
            end = self.count if end < 0 else end
            yield first, end - 1
            first = self._have.find(value, end)

    def write(self, max_bytes: int) -> Iterator[bytes]:
        """Write what is there as words of at most `max_bytes` each, for `parse`."""
        return write_ranges(self.ranges(), max_bytes)

    def gained_since(self, serial: int) -> list[tuple[int, int]] | None:
        """What was gained since this map had a serial number.

        Args:
            serial: what `serial` was then; perhaps any number, for it comes from a stranger.

        Returns: ascending ranges (first, last), both inclusive; None if this map has never had that serial, and the
            answer is all of it.
        """
        known = serial - self._first_serial
        if not 0 <= known <= len(self._gained):
            return None
        return list(merge_numbers(sorted(self._gained[known:])))
