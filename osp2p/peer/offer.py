"""What a peer offers: whole files of its directories, and partial ones that it still fetches."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from osp2p.content.chunks import ChunkMap, chunk_count
from osp2p.wire.ranges import merge_numbers


@dataclass(eq=False, slots=True)
class Offer:
    """One content that is offered under a name.

    Attributes:
        name: raw bytes.
        size: bytes.
        open: opens it for reading and returns a file descriptor, the caller's to close. Raises UnsafeName,
            SourceChanged or StoreError where it is not there any more, or not what was offered.
        b3: its content id, 32 bytes; None until it is known.
        hashes: its chunks' hashes in a row; None until they are known.
        chunks: which of them are here; None: all.
        mtime_ns: when a whole file was last changed; None where that does not matter.
        load_hashes: brings `hashes` where they are not at hand. Raises SourceChanged or StoreError.
    """

    name: bytes
    size: int
    open: Callable[[], int]
    b3: bytes | None = None
    hashes: bytes | None = None
    chunks: ChunkMap | None = None
    mtime_ns: int | None = None
    load_hashes: Callable[[], Awaitable[bytes]] | None = None
    _sent: array[int] | None = None
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def serial(self) -> int:
        """Grows with each chunk that is gained; 0 for a whole file."""
        return self.chunks.serial if self.chunks is not None else 0

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self.chunks is None or self.chunks.complete

    def has(self, first: int, last: int) -> bool:
        """Whether all chunks from `first` to `last`, inclusive, are here."""
        chunks = self.chunks
        return chunks is None or all(index in chunks for index in range(first, last + 1))

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_changed(self, serial: int) -> None:
        """Wait until `serial` is not the current one."""
        while self.serial == serial:
            await self._changed.wait()

    def count_sent(self, first: int, last: int) -> None:
        """Note that chunks were sent, for `least_sent`."""
        if self._sent is None:
            self._sent = array("I", bytes(4 * chunk_count(self.size)))
        for index in range(first, last + 1):
            self._sent[index] += 1

    def least_sent(self, ranges: Iterable[tuple[int, int]]) -> int | None:
        """Of the chunks in `ranges` that are here, the first of those that were sent least; None if none is here."""
        here = (index for first, last in ranges for index in range(first, last + 1) if self.has(index, index))
        sent = self._sent
        return min(here, key=lambda index: (sent[index] if sent else 0, index), default=None)

    def gained_since(self, serial: int | None) -> list[tuple[int, int]] | None:
        """The chunks gained since a serial number; None where that is unknown and all must be told."""
        if serial is None:
            return None
        if self.chunks is None:
            return [] if serial == 0 else None
        return self.chunks.gained_since(serial)

    def ranges(self) -> list[tuple[int, int]]:
        """What is here, as ascending ranges."""
        if self.chunks is None:
            return list(merge_numbers(range(chunk_count(self.size))))
        return list(self.chunks.ranges())


class Shelf(Protocol):
    """Everything that is offered now."""

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        """What is offered under a name: the content `b3`, if that is among it, else the default."""

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        """Up to `count` whole offers in name order whose names begin with `prefix` and come behind `after`."""
