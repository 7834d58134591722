"""Where a download is written: a lock on its target, hidden files beside it, and the final name at the end.

For a target ``cat.jpg`` there may be, all in its directory:

``.cat.jpg.osp2p-part``
    held locked (flock) by whoever fetches the target; the kernel drops the lock when the process dies. In it the
    chunks of a verified fetch are written (`chunk_store`), so it may outlive the process, and be resumed.
``.cat.jpg.osp2p-journal``
    says which of those chunks are proved.
``.cat.jpg~1~.osp2p-part`` and so on
    base transfers, each from its first byte; several sources may race. Of no use to a later process, which removes
    them.

What a commit promises: first the bytes are on the disk (fdatasync), then the final name appears, atomically, then the
name is on the disk (fsync of the directory). With `sync=False` the kernel does the first and the last in its own time:
for many small files, with one `sync_filesystem` behind them all.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from osp2p.content.name import journal_path, partial_path
from osp2p.content.publish import publish, sync_data, sync_directory
from osp2p.errors import DiskFull, StoreError, TargetLocked, TooLarge, UnsafeName
from osp2p.limits import MIB, Limits
from osp2p.net.errors import disk_errors

#: After how many written bytes the free space of the disk is looked at again.
_ROOM_STEP = 64 * MIB

#: How many numbers of base transfers a dead process may have left behind.
_MAX_STALE = 64

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Room:
    """Keeps the downloads of one file from filling its disk.

    Args:
        fd: an open file on that disk.
        limits: `disk_reserve` stays free.
    """

    __slots__ = ("_fd", "_left", "_limits")

    def __init__(self, fd: int, limits: Limits) -> None:
        self._fd = fd
        self._limits = limits
        self._left = 0

    def take(self, size: int) -> None:
        """Account for bytes that are about to be written.

        Raises:
            DiskFull: they would eat into the reserve.
        """
        if size > self._left:
            self.check(size)
        self._left -= size

    def check(self, size: int) -> None:
        """See whether so many bytes fit now.

        Raises:
            DiskFull: they would eat into the reserve.
        """
        with disk_errors("the free disk space"):
            disk = os.fstatvfs(self._fd)
        free = disk.f_bavail * disk.f_frsize
        room = free - self._limits.disk_reserve
        if size > room:
            raise DiskFull(
                f"no space left: {size} bytes are needed, {free} are free,"
                f" of which {self._limits.disk_reserve} stay in reserve"
            )
        self._left = min(room, max(size, _ROOM_STEP))


def write_all(fd: int, offset: int, data: memoryview | bytes) -> None:
    """Write all of `data` at `offset`.

    Raises:
        OSError: as pwrite(2).
    """
    written = os.pwrite(fd, data, offset)
    while written < len(data):  # a signal or a nearly full disk ends a write early
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)


class Part:
    """One base transfer into a locked target. It ends with `commit` or `discard`.

    Attributes:
        fd: the open file, for reading back what was written.
        end: one past the last byte that was written.
    """

    def __init__(self, target: Target, path: Path, fd: int) -> None:
        self._target = target
        self.path = path
        self.fd = fd
        self.end = 0
        self._room = Room(fd, target.limits)

    def write_at(self, offset: int, data: memoryview | bytes) -> None:
        """Write bytes at an offset.

        Raises:
            TooLarge: the file becomes larger than `max_size`.
            DiskFull, StoreError.
        """
        end = offset + len(data)
        self._target.check_size(end)
        self._room.take(len(data))
        with disk_errors(f"cannot write {self._target.path}"):
            write_all(self.fd, offset, data)
        self.end = max(self.end, end)

    async def commit(self, *, force: bool = False, sync: bool = True) -> Path:
        """Give the file its final name.

        Args:
            force: replace a file that stands there; else the result is ``NAME~1~``, or the next one that is free.
            sync: wait for the disk.

        Returns: the final path.

        Raises:
            DiskFull, StoreError: nothing is under the final name.

        Cancellation: nothing is under the final name, or all of it.
        """
        final = await self._target.publish(self.path, self.fd, force=force, sync=sync)
        self._close()
        return final

    def discard(self) -> None:
        """Throw the file away. Safe to call twice, and after `commit`."""
        if self.fd >= 0:
            try:
                with disk_errors(f"cannot remove {self.path}"):
                    self.path.unlink(missing_ok=True)
            finally:
                self._close()

    def _close(self) -> None:
        os.close(self.fd)
        self.fd = -1
        self._target.forget(self)


class Target:
    """A final path that this process alone fetches, from `open_target`.

    Attributes:
        path: the wanted final path.
        limits: `max_size` and `disk_reserve`.
        lock_fd: the locked file, at `partial_path(path)`.
        fresh: whether that file is new, so that there is nothing to resume.
        keep: whether that file, and the journal, stay when the target is closed.
        close_chunks: closes the journal, if one is open.
    """

    __slots__ = ("_parts", "close_chunks", "fresh", "keep", "limits", "lock_fd", "path")

    def __init__(self, path: Path, limits: Limits, lock_fd: int, *, fresh: bool) -> None:
        self.path = path
        self.limits = limits
        self.lock_fd = lock_fd
        self.fresh = fresh
        self.keep = not fresh and journal_path(path).exists()
        self.close_chunks: Callable[[], None] | None = None
        self._parts: dict[Path, Part] = {}

    def check_size(self, size: int) -> None:
        """See whether a file may be so large.

        Raises:
            TooLarge: no.
        """
        most = self.limits.max_size
        if most is not None and size > most:
            raise TooLarge(f"{self.path.name}: larger than the allowed {most} bytes")

    def new_part(self) -> Part:
        """Begin a base transfer in a file of its own.

        Raises:
            DiskFull, StoreError.
        """
        path = next(path for number in count(1) if (path := partial_path(self.path, number)) not in self._parts)
        with disk_errors(f"cannot write {self.path}"):
            try:
                fd = os.open(path, _NEW, 0o666)
            except FileExistsError:  # left by a process that died: we hold the lock
                path.unlink()
                fd = os.open(path, _NEW, 0o666)
        part = self._parts[path] = Part(self, path, fd)
        return part

    def forget(self, part: Part) -> None:
        """A base transfer has ended; its number is free again."""
        self._parts.pop(part.path, None)

    async def publish(self, source: Path, fd: int, *, force: bool, sync: bool) -> Path:
        """Give one of this target's files the final name. See `Part.commit`."""
        with disk_errors(f"cannot write {self.path}"):
            if sync:
                await sync_data(fd)
            final = publish(source, self.path, force=force)
            self.keep = False
            if sync:
                await sync_directory(self.path.parent)
        return final

    def remove_stale(self) -> None:
        """Remove what is of no use of a process that died."""
        with disk_errors(f"cannot write {self.path}"):
            for number in range(1, _MAX_STALE):
                partial_path(self.path, number).unlink(missing_ok=True)
            journal_path(self.path, renewed=True).unlink(missing_ok=True)

    def close(self) -> None:
        """Throw away what is not finished, but for what can be resumed, and unlock."""
        try:
            if self.close_chunks is not None:
                self.close_chunks()
            for part in list(self._parts.values()):
                part.discard()
            if not self.keep:
                with disk_errors(f"cannot remove the partial file of {self.path}"):
                    journal_path(self.path).unlink(missing_ok=True)
                    # Behind a commit of the chunk file, this name is free, or another fetch's already.
                    if _is_at(self.lock_fd, partial_path(self.path)):
                        partial_path(self.path).unlink()
        finally:
            os.close(self.lock_fd)


@contextmanager
def open_target(path: Path, limits: Limits, *, beneath: Path | None = None) -> Iterator[Target]:
    """Lock a target for one fetch, and make the directories above it.

    When the body ends, all that was not committed is thrown away, but for proved chunks, which stay for a later fetch.
    Directories that were made and stay empty are removed again.

    Args:
        path: the wanted final path.
        limits: `max_size` and `disk_reserve`.
        beneath: a directory that the path must not leave: a symbolic link on the way from it is not followed.

    Raises:
        UnsafeName: the way from `beneath` leads through a symbolic link, or elsewhere.
        TargetLocked: another fetch has it.
        DiskFull, StoreError.
    """
    made = _make_parents(path, beneath)
    try:
        fd, fresh = _lock(path)
        target = Target(path, limits, fd, fresh=fresh)
        try:
            if fresh:
                journal_path(path).unlink(missing_ok=True)  # of a partial file that somebody has removed
            else:
                target.remove_stale()
            yield target
        finally:
            target.close()
    finally:
        for directory in reversed(made):
            with suppress(OSError):  # not empty: that is why it was made
                directory.rmdir()


def _make_parents(path: Path, beneath: Path | None) -> list[Path]:
    """Make the directories above a path. Returns: those that were not there, the topmost first."""
    made: list[Path] = []
    with disk_errors(f"cannot write {path}"):
        if beneath is None:
            missing = []
            for directory in path.parents:
                if directory.is_dir():
                    break
                missing.append(directory)
            for directory in reversed(missing):
                _make_directory(directory, made)
            return made
        if not path.is_relative_to(beneath) or ".." in path.relative_to(beneath).parts:
            raise UnsafeName(f"{path} is not beneath {beneath}")
        beneath.mkdir(parents=True, exist_ok=True)
        for directory in reversed(path.relative_to(beneath).parents[:-1]):
            _make_directory(beneath / directory, made)
            if not stat.S_ISDIR((beneath / directory).lstat().st_mode):
                raise UnsafeName(f"{beneath / directory} is not a directory of its own, so nothing is written there")
    return made


def _make_directory(directory: Path, made: list[Path]) -> None:
    with suppress(FileExistsError):
        directory.mkdir()
        made.append(directory)


def _lock(path: Path) -> tuple[int, bool]:
    """Open and lock a target's partial file. Returns: its descriptor, and whether it is new.

    Whoever holds the lock may rename or remove the file. A lock that is won afterwards, on the file that was there
    before, is worth nothing; so after each lock the name is looked at again.
    """
    partial = partial_path(path)
    with disk_errors(f"cannot write {path}"):
        while True:
            fresh = True
            try:
                fd = os.open(partial, _NEW, 0o666)
            except FileExistsError:
                fresh = False
                try:
                    fd = os.open(partial, _OLD)
                except FileNotFoundError:
                    continue
            try:
                if _try_lock(fd, path) and _is_at(fd, partial) and _is_usable(fd, partial):
                    return fd, fresh
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)


def _try_lock(fd: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TargetLocked(f"{path}: another fetch is writing this file") from None
    return True


def _is_at(fd: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _is_usable(fd: int, partial: Path) -> bool:
    """Whether a locked file may be written to.

    A second link to it is a finished file (see `rename_no_replace`), or at least not ours: it loses this name.
    """
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        raise StoreError(f"{partial} is in the way: it is not a regular file")
    if state.st_nlink > 1:
        partial.unlink()
        return False
    return True
