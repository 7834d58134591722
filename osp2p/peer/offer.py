"""What a peer offers: whole files of its directories, and partial ones that it still fetches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from osp2p.content.chunk_set import Tally, bits_of, lowest
from osp2p.content.chunks import ChunkMap, chunk_count


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
    _here: int = field(default=0, init=False)
    _here_serial: int | None = field(default=None, init=False)
    _sent: Tally | None = field(default=None, init=False)
    _changed: trio.Event | None = field(default=None, init=False)

    @property
    def serial(self) -> int:
        """Grows by one with each chunk that is gained; that of a whole file is the number of its chunks."""
        return self.chunks.serial if self.chunks is not None else chunk_count(self.size)

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self.chunks is None or self.chunks.complete

    def has(self, first: int, last: int) -> bool:
        """Whether all chunks from `first` to `last`, inclusive, are here."""
        return self.chunks is None or next(self.chunks.missing(first), self.chunks.count) > last

    def here(self) -> int:
        """The chunks that are here, as a set; kept up to date at the price of what was gained since the last call."""
        if self.chunks is None:
            return (1 << chunk_count(self.size)) - 1
        if self._here_serial != self.chunks.serial:
            gained = self.chunks.gained_since(self._here_serial) if self._here_serial is not None else None
            self._here |= bits_of(self.chunks.ranges() if gained is None else gained)
            self._here_serial = self.chunks.serial
        return self._here

    def notify(self) -> None:
        """Wake everybody who waits for a change: chunks are gained, the list is known, or the offer is withdrawn."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait_changed(self, serial: int) -> None:
        """Wait until `serial` is not the current one, or somebody calls `notify`."""
        if self.serial != serial:
            await trio.lowlevel.checkpoint()
            return
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def count_sent(self, first: int, last: int) -> None:
        """Note that chunks are being sent, for `least_sent`."""
        if self._sent is None:
            self._sent = Tally((1 << chunk_count(self.size)) - 1)
        self._sent.add(bits_of([(first, last)]))

    def least_sent(self, ranges: Iterable[tuple[int, int]], given: int = 0) -> int | None:
        """Choose a chunk that is here and was sent least: of several, the first.

        Args:
            ranges: from which to choose.
            given: a set of chunks that are taken only if there are no others.

        Returns: None if none of them is here.
        """
        here = bits_of(ranges) & self.here()
        here = here & ~given or here
        if not here:
            return None
        return lowest(self._sent.least(here) if self._sent is not None else here)

    def gained_since(self, serial: int | None) -> list[tuple[int, int]] | None:
        """The chunks gained since a serial number; None where it is unknown, and all must be told."""
        if serial is None:
            return None
        if self.chunks is None:
            return [] if serial == self.serial else None
        return self.chunks.gained_since(serial)

    def ranges(self) -> list[tuple[int, int]]:
        """What is here, as ascending ranges."""
        if self.chunks is not None:
            return list(self.chunks.ranges())
        count = chunk_count(self.size)
        return [(0, count - 1)] if count else []


class Shelf(Protocol):
    """Everything that is offered now."""

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        """What is offered under a name: the content `b3`, if that is among it, else the default."""

    def page(self, prefix: bytes, after: bytes, count: int) -> Iterable[Offer]:
        """Up to `count` whole offers in name order whose names begin with `prefix` and come behind `after`."""
