"""Where a verified download is written: chunk by chunk, each proved before it counts, and resumable after a crash."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trio
from blake3 import blake3

from osp2p.content.chunks import HASH_LENGTH, ChunkMap, chunk_bounds, chunk_count, chunk_size, content_id
from osp2p.content.digest import Cancelled
from osp2p.content.journal import JournalHeader, JournalState, JournalWriter, read_boot_id, read_journal
from osp2p.content.store import Room, Target, write_all
from osp2p.errors import ChecksumMismatch, ContentChanged, LocalProtocolError, RemoteProtocolError, StoreError
from osp2p.limits import MIB
from osp2p.net.errors import disk_error, disk_errors

#: The boot id in a journal whose chunks are not to be believed before they are hashed; no boot has it.
_NO_BOOT = bytes(16)


@dataclass(frozen=True, slots=True)
class Partial:
    """What an earlier fetch of a target has left.

    Attributes:
        size: of the whole file, in bytes.
        b3: its content id.
        done: bytes of it that the journal says are proved.
    """

    size: int
    b3: bytes
    done: int


class ChunkStore:
    """A partial file of known content, from `open_chunks`. It ends with the target that it belongs to.

    Attributes:
        size: of the file, in bytes.
        b3: its content id.
        chunks: which chunks are proved and written.
        hashes: the chunk list, proved; None until it is known.
        resumed: bytes that an earlier fetch had proved.
        fd: the open file, for reading proved chunks.
    """

    def __init__(self, target: Target, size: int, b3: bytes, boot: bytes, first_serial: int) -> None:
        self._target = target
        self.size = size
        self.b3 = b3
        self.chunks = ChunkMap(chunk_count(size), first_serial=first_serial)
        self.hashes: bytes | None = None
        self.resumed = 0
        self.fd = target.lock_fd
        self._boot = boot
        self._chunk_size = chunk_size(size)
        self._room = Room(self.fd, target.limits)
        self._journal: JournalWriter | None = None

    @property
    def done(self) -> int:
        """Bytes that are proved and written."""
        count = len(self.chunks)
        short = self.chunks.count * self._chunk_size - self.size
        return count * self._chunk_size - (short if count and self.chunks.count - 1 in self.chunks else 0)

    def check_room(self) -> None:
        """See whether the disk has room for what is still to come.

        Raises:
            DiskFull.
        """
        self._room.check(self.size - self.done)

    def set_hashes(self, hashes: bytes) -> None:
        """Take the chunk list, if the content id proves it.

        Raises:
            ChecksumMismatch: it is the list of something else.
            DiskFull, StoreError.
        """
        if self.hashes is not None:
            return
        try:
            proved = content_id(self.size, hashes) == self.b3
        except RemoteProtocolError:
            proved = False
        if not proved:
            raise ChecksumMismatch("the list of chunk hashes is not that of the content")
        if self._journal is not None:
            with disk_errors(self._target.label):
                self._journal.add_hashes(hashes)
        self.hashes = hashes

    def put(self, index: int, data: memoryview | bytes) -> None:
        """Write a chunk that the caller has proved. One that is there already is not written again.

        Args:
            data: all of the chunk.

        Raises:
            LocalProtocolError: the chunk has another length.
            DiskFull, StoreError: it does not count; those before it do.
        """
        offset, length = chunk_bounds(self.size, index)
        if len(data) != length:
            raise LocalProtocolError(f"chunk {index} has {length} bytes, not {len(data)}")
        if index not in self.chunks:
            self._room.take(length)
            try:
                write_all(self.fd, offset, data)
                self._record([index])
            except OSError as error:
                raise disk_error(error, self._target.label) from error

    def write_run(self, first: int, data: memoryview | bytes) -> None:
        """Write whole chunks in a row, which the caller has proved; then comes `mark_proved`. May run in a thread.

        Args:
            first: the number of the first one.

        Raises:
            LocalProtocolError: a chunk is there already, or the last one is cut off.
            DiskFull, StoreError.
        """
        offset, end = first * self._chunk_size, first * self._chunk_size + len(data)
        last = first - (-len(data) // self._chunk_size) - 1
        if end != min((last + 1) * self._chunk_size, self.size) or any(
            n in self.chunks for n in range(first, last + 1)
        ):
            raise LocalProtocolError(f"{len(data)} bytes from chunk {first} on are not chunks that are missing")
        self._room.take(len(data))
        with disk_errors(self._target.label):
            write_all(self.fd, offset, data)

    def mark_proved(self, first: int, last: int) -> None:
        """Say that all chunks from `first` to `last` are written, and that the caller has proved them.

        Raises:
            DiskFull, StoreError: they do not count.
        """
        with disk_errors(self._target.label):
            self._record([index for index in range(first, last + 1) if index not in self.chunks])

    def _record(self, indexes: Collection[int]) -> None:
        """Count chunks, and write them down if there are others yet to come.

        One small write for each batch takes 3 µs, less than 1 % of what its bytes take; so the journal never lags
        behind, and what was proved before a kill is never fetched again.
        """
        if self._journal is None and self.chunks.count > 1:
            self._journal = self._begin_journal(self._target.journal, ())
        if self._journal is not None:
            self._journal.add_proved(indexes)
            self._target.keep = True
        for index in indexes:
            self.chunks.add(index)

    def _begin_journal(self, path: str, proved: Iterable[int]) -> JournalWriter:
        """Begin a journal that says what is known now."""
        header = JournalHeader(self.size, self.b3, self._boot, os.fstat(self.fd).st_ino)
        journal = JournalWriter.begin(path, header)
        self._target.close_chunks = journal.close
        try:
            if self.hashes is not None:
                journal.add_hashes(self.hashes)
            journal.add_proved(proved)
        except BaseException:
            journal.close()
            raise
        return journal

    def open_served(self) -> int:
        """Open the partial file for serving proved chunks on. Returns: a file descriptor, the caller's to close.

        Raises:
            StoreError: there are no more descriptors.
        """
        with disk_errors(f"cannot read {self._target.partial}"):
            return os.dup(self.fd)

    async def commit(self, *, force: bool = False, sync: bool = True) -> Path:
        """Give the whole file its final name.

        Args:
            force: replace a file that stands there; else the result is ``NAME~1~``, or the next one that is free.
            sync: wait for the disk.

        Returns: the final path. `fd` stays open for serving until the target is closed.

        Raises:
            LocalProtocolError: chunks are missing.
            DiskFull, StoreError: nothing is under the final name, and the partial file stays; unless it was the
                directory that the disk did not take.

        Cancellation: nothing is under the final name, or all of it.
        """
        if not self.chunks.complete:
            raise LocalProtocolError("a file that lacks chunks is not complete")
        try:
            self._check_length()
            final = await self._target.publish(self._target.partial, self.fd, force=force, sync=sync)
        except BaseException:
            if self._target.keep:
                self._doubt()
            raise
        self.close()
        return final

    def _check_length(self) -> None:
        """See whether the file is as long as it was made. Raises: StoreError: somebody else has written to it."""
        with disk_errors(self._target.label):
            length = os.fstat(self.fd).st_size
        if length != self.size:
            raise StoreError(f"{self._target.label}: another program has changed {self._target.partial}")

    def _doubt(self) -> None:
        """Have a later fetch hash everything before it believes it, as if the system had been started anew.

        A disk says once that it did not take what was written. Whoever asked again would hear that all is well, and the
        bytes that are in memory would look as they should, until they are needed.
        """
        self.close()
        self._boot = _NO_BOOT
        try:
            self._begin_journal(self._target.renewed_journal, self.chunks).close()
            os.rename(self._target.renewed_journal, self._target.journal)
        except OSError:  # then there is nothing that anybody could believe
            self._target.keep = False
            for path in (self._target.journal, self._target.renewed_journal):
                with suppress(OSError):
                    os.unlink(path)

    def close(self) -> None:
        """Write no more. What is proved stays for a later fetch. Safe to call twice."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def discard(self) -> None:
        """Throw away what is here; `open_chunks` may begin anew.

        Raises:
            StoreError.
        """
        self.close()
        self.fd = -1
        with disk_errors(self._target.label):
            _reset(self._target)

    async def resume(self, state: JournalState) -> None:
        """Believe a journal of this content: at once if it is of this boot, else as far as its hashes prove it.

        Raises:
            OSError: the journal cannot be written, or the partial file not be read.

        Cancellation: all is as it was.
        """
        here = os.fstat(self.fd).st_size
        if here > self.size:
            os.ftruncate(self.fd, self.size)
        proved = [index for index in dict.fromkeys(state.proved) if sum(chunk_bounds(self.size, index)) <= here]
        path = self._target.journal
        self.hashes = state.hashes
        if state.header.boot == self._boot:
            self._journal = JournalWriter.resume(path, state)
            self._target.close_chunks = self._journal.close
        else:
            proved = await _prove_again(self._target, self.size, state.hashes, proved)
            renewed = self._target.renewed_journal  # the old one stays whole until this one is
            self._journal = self._begin_journal(renewed, proved)
            os.rename(renewed, path)
        self._target.keep = bool(proved)
        for index in proved:
            self.chunks.add(index)
        self.resumed = self.done


async def open_chunks(
    target: Target, size: int, b3: bytes, *, start_anew: bool = False, boot: bytes | None = None, first_serial: int = 0
) -> ChunkStore:
    """Begin or resume the verified download of a content to a locked target.

    Args:
        size: of the file, in bytes; it belongs to the content id, which a wrong one does not fit.
        b3: 32 raw bytes, the content id.
        start_anew: throw away what an earlier fetch has left of another content.
        boot: 16 raw bytes, the id of this boot; None: what the system says.
        first_serial: as in `ChunkMap`.

    Raises:
        ContentChanged: an earlier fetch has left chunks of another content, and `start_anew` was not said. They stay.
        TooLarge: the file is larger than `max_size`.
        DiskFull, StoreError.

    Cancellation: what an earlier fetch has left stays.
    """
    target.check_size(size)
    if target.close_chunks is not None:
        target.close_chunks()
    with disk_errors(target.label):
        state = _read_journal(target)
        is_same = state is not None and (state.header.size, state.header.b3) == (size, b3)
        if state is not None and state.proved and not (is_same or start_anew):
            raise ContentChanged(f"{target.path}: the partial file that is here belongs to another content")
        if not is_same and (state is not None or os.fstat(target.lock_fd).st_size):
            _reset(target)
        store = ChunkStore(target, size, b3, boot or _this_boot(), first_serial)
        if state is not None and is_same:
            await store.resume(state)
    store.check_room()
    return store


def read_partial(target: Target) -> Partial | None:
    """What an earlier fetch of a target has left; None if it is nothing that can be resumed.

    Raises:
        StoreError: the journal cannot be read.
    """
    with disk_errors(f"cannot read the journal of {target.path}"):
        state = _read_journal(target)
    if state is None or not state.proved:
        return None
    size = state.header.size
    return Partial(size, state.header.b3, sum(chunk_bounds(size, index)[1] for index in set(state.proved)))


@cache
def _this_boot() -> bytes:
    return read_boot_id()


def _read_journal(target: Target) -> JournalState | None:
    """Read a target's journal; one that was written for another partial file counts for nothing."""
    if target.fresh and target.close_chunks is None:
        return None
    state = read_journal(target.journal)
    return state if state is not None and state.header.inode == os.fstat(target.lock_fd).st_ino else None


def _reset(target: Target) -> None:
    """Throw away the chunks of a target: first what says that they are proved."""
    with suppress(FileNotFoundError):
        os.unlink(target.journal)
    target.keep = False
    target.renew()


async def _prove_again(target: Target, size: int, hashes: bytes | None, indexes: list[int]) -> list[int]:
    """Hash chunks that were written before this boot. Returns: those that are what they should be.

    Cancellation: returns at once; the thread ends within one read.
    """
    if hashes is None or not indexes:
        return []
    cancelled = threading.Event()
    try:
        return await trio.to_thread.run_sync(
            _proved_among, target.partial, size, hashes, indexes, cancelled, abandon_on_cancel=True
        )
    finally:
        cancelled.set()


def _proved_among(partial: str, size: int, hashes: bytes, indexes: list[int], cancelled: threading.Event) -> list[int]:
    # With a descriptor of its own: a cancelled caller closes the target's while this thread still reads.
    fd = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # what counts is what the disk has
        return [index for index in indexes if _is_proved(fd, size, index, hashes, cancelled)]
    finally:
        os.close(fd)


def _is_proved(fd: int, size: int, index: int, hashes: bytes, cancelled: threading.Event) -> bool:
    """Whether a chunk on disk has the hash that it should have."""
    offset, length = chunk_bounds(size, index)
    hasher = blake3()
    buffer = bytearray(min(length, MIB))
    done = 0
    while done < length:
        if cancelled.is_set():
            raise Cancelled
        count = os.preadv(fd, [memoryview(buffer)[: length - done]], offset + done)
        if count == 0:
            return False
        hasher.update(memoryview(buffer)[:count])
        done += count
    return hasher.digest() == hashes[index * HASH_LENGTH : (index + 1) * HASH_LENGTH]
