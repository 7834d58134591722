"""Giving a finished file its final name: atomically, and never over another file unless that was asked for."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from itertools import chain
from pathlib import Path

import trio

from osp2p.content.name import backup_names

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS})

_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_libc, "renameat2", None)  # the C library musl has none
_syncfs = getattr(_libc, "syncfs", None)


def publish(source: str, target: Path, *, force: bool) -> Path:
    """Rename a finished file to its final name.

    Args:
        source: the file, in the target's directory.
        target: the wanted name. What stands there, of whatever kind, is never written into.
        force: replace a file that stands there; else the result is ``NAME~1~``, or the next one that is free.

    Returns: the final path.

    Raises:
        OSError: as rename(2).
    """
    if force:
        os.replace(source, target)
        return target
    for candidate in chain([target], backup_names(target)):
        try:
            rename_no_replace(source, candidate)
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("backup_names is endless")


def rename_no_replace(source: str, target: Path) -> None:
    """Rename in one step, unless the new name is taken.

    Where the file system cannot do that (NFS, old ZFS), a second hard link and the removal of the first serve; a
    process that is killed between the two leaves both, which `store` recognises.

    Raises:
        FileExistsError: the new name is taken.
        OSError: as renameat2(2) and link(2).
    """
    if _renameat2 is not None:
        if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in _UNSUPPORTED:
            raise OSError(number, os.strerror(number), os.fspath(target))
    os.link(source, target, follow_symlinks=False)
    os.unlink(source)


async def sync_data(fd: int) -> None:
    """Wait until the disk has an open file's bytes.

    Cancellation: returns at once; the disk works on, and the file is as it was.

    Raises:
        OSError: as fdatasync(2).
    """
    # A cancelled wait leaves the thread behind while the caller closes its descriptor, so the thread has one of its
    # own; whoever takes it out of the list closes it, and `list.pop` lets only one do so.
    unclaimed = [os.dup(fd)]

    def work() -> None:
        with suppress(IndexError):
            own = unclaimed.pop()
            try:
                os.fdatasync(own)
            finally:
                os.close(own)

    try:
        await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    finally:
        with suppress(IndexError):
            os.close(unclaimed.pop())


async def sync_directory(directory: Path, timeout: float) -> None:
    """Wait until the disk has a directory's entries: the last step of a commit.

    Args:
        timeout: seconds for which a cancellation is held back, because the file has its final name already.

    Raises:
        OSError: as fsync(2).

    Cancellation: the disk works on.
    """
    token = trio.lowlevel.current_trio_token()
    begun, ended = False, trio.Event()

    def work() -> None:
        nonlocal begun
        begun = True
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        finally:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(ended.set)

    try:
        await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    except trio.Cancelled:
        with trio.move_on_after(timeout, shield=True):
            if begun:
                await ended.wait()
            else:
                await trio.to_thread.run_sync(work, abandon_on_cancel=True)
        raise


async def sync_filesystem(directory: Path) -> None:
    """Wait until the disk has everything of the file system that a directory is on.

    One such call after thousands of commits without `sync` costs far less than syncing each.

    Cancellation: returns at once; the disk works on.

    Raises:
        OSError: as syncfs(2).
    """

    def work() -> None:
        if _syncfs is None:
            os.sync()
            return
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _syncfs(fd) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fspath(directory))
        finally:
            os.close(fd)

    await trio.to_thread.run_sync(work, abandon_on_cancel=True)
