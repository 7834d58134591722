"""Where a download is written: a lock on its target, hidden files beside it, and the final name at the end.

For a target ``cat.jpg`` there may be, all in its directory:

``.cat.jpg.osp2p-part``
    held locked (flock) by whoever fetches the target; the kernel drops the lock when the process dies. In it the
    chunks of a verified fetch are written (`chunk_store`), so it may outlive the process, and be resumed.
``.cat.jpg.osp2p-journal``
    says which of those chunks are proved.
``.cat.jpg~1.osp2p-copy`` and so on
    base transfers, each from its first byte; several sources may race. Of no use to a later process, which removes
    them.

What a commit promises: first the bytes are on the disk (fdatasync), then the final name appears, atomically, then the
name is on the disk (fsync of the directory). With `sync=False` the kernel does the first and the last in its own time:
for many small files, with one `sync_filesystem` behind them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from osp2p.content.lock import NEW_FILE, check_way, make_parents, open_locked
from osp2p.content.name import journal_name, partial_name
from osp2p.content.publish import publish, sync_data, sync_directory
from osp2p.errors import DiskFull, StoreError, TooLarge
from osp2p.limits import MIB, Limits
from osp2p.net.errors import disk_error, disk_errors

#: After how many written bytes the free space of the disk is looked at again.
_ROOM_STEP = 64 * MIB

#: Of a small disk, no more than one part in so many is kept in reserve.
_RESERVE_SHARE = 16

#: How many numbers of base transfers a dead process may have left behind.
_MAX_STALE = 64


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


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
        try:
            disk = os.fstatvfs(self._fd)
        except OSError as error:
            raise disk_error(error, "the free disk space") from error
        free = disk.f_bavail * disk.f_frsize
        reserve = min(self._limits.disk_reserve, disk.f_blocks * disk.f_frsize // _RESERVE_SHARE)
        room = free - reserve
        if size > room:
            raise DiskFull(
                f"no space left: {size} bytes are needed, {free} are free, of which {reserve} stay in reserve"
            )
        self._left = min(room, max(size, _ROOM_STEP))


def write_all(fd: int, offset: int, data: memoryview | bytes | bytearray) -> None:
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

    def __init__(self, target: Target, path: str, fd: int) -> None:
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
        try:
            write_all(self.fd, offset, data)
        except OSError as error:
            raise disk_error(error, self._target.label) from error
        self.end = max(self.end, end)

    async def commit(self, *, force: bool = False, sync: bool = True) -> Path:
        """Give the file its final name.

        Args:
            force: replace a file that stands there; else the result is ``NAME~1~``, or the next one that is free.
            sync: wait for the disk.

        Returns: the final path.

        Raises:
            DiskFull, StoreError: nothing is under the final name, unless it was the directory that the disk did not
                take.

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
                    _unlink(self.path)
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
        limits: `max_size`, `disk_reserve`, `directory_sync_timeout`.
        label: begins the sentence of an error.
        partial: where the locked file is, until it is committed.
        journal: where the file is that says what is proved in it.
        lock_fd: the locked file.
        fresh: whether that file is new, so that there is nothing to resume.
        keep: whether that file, and the journal, stay when the target is closed.
        close_chunks: closes the journal, if one is open.
    """

    __slots__ = (
        "_base",
        "_directory",
        "_gone",
        "_parts",
        "close_chunks",
        "fresh",
        "journal",
        "keep",
        "label",
        "limits",
        "lock_fd",
        "partial",
        "path",
    )

    def __init__(self, path: Path, limits: Limits) -> None:
        # Strings, because a Path costs more than the system call that it is for, and there may be thousands of files.
        self._directory, base = os.path.split(path)
        self._base = os.fsencode(base)
        self.path = path
        self.limits = limits
        self.label = f"cannot write {path}"
        self.partial = self._beside(partial_name(self._base))
        self.journal = self._beside(journal_name(self._base))
        self.lock_fd = -1
        self.fresh = True
        self.keep = False
        self._gone = False
        self.close_chunks: Callable[[], None] | None = None
        self._parts: dict[str, Part] = {}

    def _beside(self, name: bytes) -> str:
        return os.path.join(self._directory, os.fsdecode(name))

    @property
    def renewed_journal(self) -> str:
        """Where the journal's successor is, while it is being made."""
        return self._beside(journal_name(self._base, renewed=True))

    def lock(self) -> None:
        """Take the lock, and remove what a process that died has left, but for what can be resumed.

        Raises:
            TargetLocked, StoreError: as `open_locked`.
            OSError: as open(2), flock(2) and unlink(2).
        """
        self.lock_fd, self.fresh = open_locked(self.partial, self.path)
        if self.fresh:
            _unlink(self.journal)  # of a partial file that somebody has removed
            return
        self.keep = os.path.exists(self.journal)
        _unlink(self.renewed_journal)
        for number in range(1, _MAX_STALE + 1):
            _unlink(self._beside(partial_name(self._base, number)))

    def renew(self) -> None:
        """Put an empty file in the place of the locked one. Whoever has that open, to serve from it, reads what it was.

        Raises:
            TargetLocked: somebody has locked what only we can have made.
            OSError: as open(2), flock(2) and rename(2); all is as it was.
        """
        path = self._beside(partial_name(self._base, _MAX_STALE))
        _unlink(path)  # left by a process that died: we hold the lock
        fd, _ = open_locked(path, self.path)
        try:
            os.rename(path, self.partial)
        except BaseException:
            os.close(fd)
            raise
        os.close(self.lock_fd)
        self.lock_fd = fd

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
        paths = (self._beside(partial_name(self._base, number)) for number in count(1))
        path = next(path for path in paths if path not in self._parts)
        with disk_errors(self.label):
            _unlink(path)  # left by a process that died: we hold the lock
            part = self._parts[path] = Part(self, path, os.open(path, NEW_FILE, 0o666))
        return part

    def forget(self, part: Part) -> None:
        """A base transfer has ended; its number is free again."""
        self._parts.pop(part.path, None)

    async def publish(self, source: str, fd: int, *, force: bool, sync: bool) -> Path:
        """Give one of this target's files the final name, and throw away what could have been resumed.

        See `Part.commit`.
        """
        try:
            if sync:
                await sync_data(fd)
            if not os.path.samestat(os.fstat(fd), os.lstat(source)):
                raise StoreError(f"{self.label}: another file has taken the place of {source}")
            final = publish(source, self.path, force=force)
            self.keep = False
            self._remove_journal()
            self._gone = source == self.partial
            if sync:
                await sync_directory(self.path.parent, self.limits.directory_sync_timeout)
        except OSError as error:
            raise disk_error(error, self.label) from error
        return final

    def close(self) -> None:
        """Throw away what is not finished, but for what can be resumed, and unlock. Safe to call twice."""
        try:
            if self.close_chunks is not None:
                self.close_chunks()
            for part in list(self._parts.values()):
                part.discard()
            if self.lock_fd >= 0 and not self.keep:
                self._remove_partial()
        finally:
            if self.lock_fd >= 0:
                os.close(self.lock_fd)
                self.lock_fd = -1

    def _remove_journal(self) -> None:
        if self.close_chunks is not None or not self.fresh:
            _unlink(self.journal)

    def _remove_partial(self) -> None:
        """Remove the locked file and its journal. Behind a commit, these names are free, or another fetch's already."""
        try:
            if not self._gone and os.path.samestat(os.fstat(self.lock_fd), os.lstat(self.partial)):
                self._remove_journal()
                os.unlink(self.partial)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_error(error, f"cannot remove the partial file of {self.path}") from error


def kept_partial(path: Path) -> Path | None:
    """Where what has arrived for a target is kept, so that a later fetch goes on; None if nothing is."""
    base = os.fsencode(path.name)
    partial, journal = (path.with_name(os.fsdecode(name)) for name in (partial_name(base), journal_name(base)))
    return partial if journal.exists() and partial.exists() else None


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
    target = Target(path, limits)
    made: list[Path] = []
    try:
        try:
            if beneath is not None:
                check_way(path, beneath)
            try:
                target.lock()
            except FileNotFoundError:
                made += make_parents(path)
                target.lock()
        except OSError as error:
            raise disk_error(error, target.label) from error
        yield target
    finally:
        try:
            target.close()
        finally:
            for directory in reversed(made):
                with suppress(OSError):  # not empty: that is why it was made
                    directory.rmdir()
