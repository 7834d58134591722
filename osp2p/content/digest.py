"""Digests of files on disk: MD5, chunk hashes and content id, from one pass over the bytes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple

import trio
from blake3 import blake3

from osp2p.content.chunks import chunk_size, content_id
from osp2p.content.name import backup_names
from osp2p.errors import SourceChanged, StoreError
from osp2p.limits import MIB
from osp2p.net.errors import disk_errors

#: How much is read at a time. Chunks are powers of two, so one read holds whole chunks, or one chunk whole reads.
_READ_BYTES = MIB


class Cancelled(Exception):
    """The caller's flag was set. It never leaves this package: whoever sets a flag has stopped listening."""


class FileState(NamedTuple):
    """What tells one version of a file from another.

    Attributes:
        size: bytes.
        mtime_ns: time of the last change, in ns since 1970.
        inode: its number on its file system.
    """

    size: int
    mtime_ns: int
    inode: int


class Digests(NamedTuple):
    """What names a content.

    Attributes:
        md5: 16 raw bytes, for the base protocol.
        b3: 32 raw bytes, the content id.
    """

    md5: bytes
    b3: bytes


class FileDigest(NamedTuple):
    """What one pass over a file gave.

    Attributes:
        state: of the file, before and after the pass.
        digests: of its bytes.
        hashes: its chunk list: raw hashes of 32 bytes in a row.
    """

    state: FileState
    digests: Digests
    hashes: bytes


def state_of(status: os.stat_result) -> FileState:
    """The part of a stat result that we compare."""
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)


class _Hasher:
    """Takes a file's bytes in reads of `_READ_BYTES`, which begin and end at chunks' bounds or lie within one."""

    def __init__(self, size: int, *, with_md5: bool) -> None:
        self._size = size
        self._chunk = chunk_size(size)
        self._taken = 0
        self._open = blake3()
        self._hashes = bytearray()
        self._md5 = md5(usedforsecurity=False) if with_md5 else None

    def update(self, data: memoryview) -> None:
        if self._md5 is not None:
            self._md5.update(data)
        start = 0
        while start < len(data):
            end = min(len(data), start + self._chunk - self._taken % self._chunk)
            self._open.update(data[start:end])
            self._taken += end - start
            start = end
            if self._taken % self._chunk == 0 or self._taken == self._size:
                self._hashes += self._open.digest()
                self._open = blake3()

    def result(self) -> tuple[Digests, bytes]:
        hashes = bytes(self._hashes)
        return Digests(self._md5.digest() if self._md5 else b"", content_id(self._size, hashes)), hashes


def digest_file(
    path: Path | bytes,
    cancelled: threading.Event,
    progress: Callable[[int], None] = lambda count: None,
    *,
    with_md5: bool = True,
) -> FileDigest:
    """Read a regular file once and hash it: for a worker thread.

    Args:
        path: the file. A symbolic link is followed: whoever lists files decides which links may be.
        cancelled: once it is set, the pass ends within one read.
        progress: called in this thread with the number of bytes that were hashed since its last call.
        with_md5: MD5 takes five times as long as BLAKE3; without it `md5` is empty.

    Raises:
        SourceChanged: the file is gone, or became another one, or got another size or time, during the pass.
        StoreError: it cannot be read, or is not a regular file.
        Cancelled: the flag was set.
    """
    name = os.fsdecode(path)
    with disk_errors(f"cannot read {name}"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SourceChanged(f"cannot read {name}: no such file or directory") from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"cannot read {name}: it is not a regular file")
            hasher = _Hasher(status.st_size, with_md5=with_md5)
            whole = _read_through(fd, status.st_size, hasher, cancelled, progress)
            if not whole or not state_of(status) == state_of(os.fstat(fd)) == _state_at(path):
                raise SourceChanged(f"{name} changed while it was being read")
        finally:
            os.close(fd)
    digests, hashes = hasher.result()
    return FileDigest(state_of(status), digests, hashes)


def _state_at(path: Path | bytes) -> FileState | None:
    """The state of the file that is at a path now; None: there is none any more."""
    try:
        return state_of(os.stat(path))
    except FileNotFoundError:
        return None


def _read_through(
    fd: int, size: int, hasher: _Hasher, cancelled: threading.Event, progress: Callable[[int], None]
) -> bool:
    """Feed a hasher from an open file. Returns: whether the file had as many bytes as it should."""
    buffer = memoryview(bytearray(min(size, _READ_BYTES)))
    left = size
    while left:
        if cancelled.is_set():
            raise Cancelled
        wanted = buffer[: min(left, _READ_BYTES)]
        filled = 0
        while filled < len(wanted):
            count = os.readv(fd, [wanted[filled:]])
            if count == 0:
                return False
            filled += count
        hasher.update(wanted)
        left -= filled
        progress(filled)
    return True


async def digest_in_thread(path: Path | bytes, *, with_md5: bool = True) -> FileDigest:
    """Hash a file without holding up the other tasks.

    Raises:
        SourceChanged, StoreError: as `digest_file`.

    Cancellation: returns at once; the thread ends within one read.
    """
    cancelled = threading.Event()
    try:
        return await trio.to_thread.run_sync(
            lambda: digest_file(path, cancelled, with_md5=with_md5), abandon_on_cancel=True
        )
    finally:
        cancelled.set()


async def digest_existing(path: Path, size: int | None = None, *, with_md5: bool = True) -> FileDigest | None:
    """Hash what stands at a download's target, to see whether it is what the download would bring.

    Args:
        path: the target; perhaps nothing is there.
        size: the download's size in bytes; a file of another size is not read.

    Returns: None if there is no regular file, none of that size, or none that can be read and holds still.

    Cancellation: as `digest_in_thread`.
    """
    there = _regular_size(path)
    if there is None or size not in (None, there):
        return None
    try:
        return await digest_in_thread(path, with_md5=with_md5)
    except StoreError:
        return None


async def which_stand(files: Sequence[tuple[Path, int, bytes]]) -> list[bool]:
    """Tell which of many small files stand at their targets already: in one thread, one after the other.

    Args:
        files: the target, the size in bytes and the content id, 32 raw bytes, of each.

    Returns: for each, whether it is there with that content; False, too, if it cannot be read or does not hold still.

    Cancellation: as `digest_in_thread`.
    """
    cancelled = threading.Event()

    def stands(path: Path, size: int, b3: bytes) -> bool:
        if _regular_size(path) != size:
            return False
        try:
            return digest_file(path, cancelled, with_md5=False).digests.b3 == b3
        except StoreError:
            return False

    try:
        return await trio.to_thread.run_sync(lambda: [stands(*file) for file in files], abandon_on_cancel=True)
    finally:
        cancelled.set()


def _regular_size(path: Path) -> int | None:
    """The size of the regular file at a path; None: there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def verify_file(path: Path, b3: bytes, size: int | None = None) -> bool:
    """Tell whether a file on disk is a content.

    Args:
        path: the file; a symbolic link is followed.
        b3: 32 raw bytes.
        size: in bytes, if it is known.

    Raises:
        SourceChanged, StoreError: as `digest_file`.

    Cancellation: as `digest_in_thread`.
    """
    with disk_errors(f"cannot read {path}"):
        if size is not None and os.stat(path).st_size != size:
            return False
    return (await digest_in_thread(path, with_md5=False)).digests.b3 == b3


async def same_content(
    path: Path, *, md5: bytes | None = None, b3: bytes | None = None, size: int | None = None
) -> bool:
    """Tell whether what stands at a download's target is what the download would bring.

    Args:
        path: the target; perhaps nothing is there.
        md5: 16 raw bytes, if known.
        b3: 32 raw bytes, if known; it decides where both are.
        size: in bytes, if known.

    Returns: False, too, where neither digest is known, or the file cannot be read or does not hold still.

    Cancellation: as `digest_in_thread`.
    """
    if md5 is None and b3 is None:
        return False
    found = await digest_existing(path, size, with_md5=b3 is None)
    return found is not None and (found.digests.b3 == b3 if b3 is not None else found.digests.md5 == md5)


async def find_same(
    path: Path,
    *,
    md5: bytes | None = None,
    b3: bytes | None = None,
    size: int | None = None,
    copies: bool = True,
) -> Path | None:
    """Find what a download would bring at its target, or among the copies NAME~1~, NAME~2~… that stand beside it.

    Args:
        path, md5, b3, size: as `same_content`.
        copies: whether to look beside the target, too.

    Returns: None, too, where neither digest is known.

    Cancellation: as `digest_in_thread`.
    """
    for there in _standing(path) if copies else [path]:
        if await same_content(there, md5=md5, b3=b3, size=size):
            return there
    return None


async def find_same_bytes(path: Path, source: Path, size: int) -> Path | None:
    """Find a file's bytes at a download's target, or among the copies beside it. See `find_same`.

    Args:
        source: the file.
        size: its size in bytes; it is not read if nothing that stands there is so long.

    Raises:
        SourceChanged, StoreError: the file cannot be read.
    """
    if all(_regular_size(there) != size for there in _standing(path)):
        return None
    return await find_same(path, b3=(await digest_in_thread(source, with_md5=False)).digests.b3, size=size)


def _standing(path: Path) -> Iterator[Path]:
    """A target and the copies beside it, as far as they are there."""
    return takewhile(os.path.lexists, chain([path], backup_names(path)))
