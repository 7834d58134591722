"""Locks on targets of downloads, and the directories above them."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from osp2p.errors import StoreError, TargetLocked, UnsafeName

#: How files of ours are made: never through a link, never over another.
NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_OLD_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def check_way(path: Path, beneath: Path) -> None:
    """See whether the way to a path, as far as it exists, leads through directories of their own beneath another.

    Raises:
        UnsafeName: it leads elsewhere, or through a symbolic link or another thing that is no directory.
        OSError: it cannot be looked at.
    """
    above = beneath.parts
    way = path.parts[len(above) :]
    if path.parts[: len(above)] != above or not way or ".." in way:
        raise UnsafeName(f"{path} is not beneath {beneath}")
    directory = os.fspath(beneath)
    for part in way[:-1]:
        directory = os.path.join(directory, part)
        try:
            mode = os.lstat(directory).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            raise UnsafeName(f"{directory} is not a directory of its own, so nothing is written there")


def make_parents(path: Path) -> list[Path]:
    """Make the directories above a path. Returns: those that were not there, the topmost first.

    Raises:
        OSError: as mkdir(2).
    """
    missing = []
    for directory in path.parents:
        if directory.is_dir():
            break
        missing.append(directory)
    made = []
    for directory in reversed(missing):
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        made.append(directory)
    return made


def open_locked(partial: str, target: Path) -> tuple[int, bool]:
    """Open and lock the partial file of a target.

    Whoever holds the lock may rename or remove the file. A lock that is won afterwards, on the file that was there
    before, is worth nothing; so after each lock the name is looked at again.

    Returns: its descriptor, and whether the file is new.

    Raises:
        TargetLocked: another fetch has it.
        StoreError: something that is not a regular file is in the way.
        OSError: as open(2) and flock(2); FileNotFoundError where its directory is not there.
    """
    while True:
        fresh = True
        try:
            fd = os.open(partial, NEW_FILE, 0o666)
        except FileExistsError:
            fresh = False
            try:
                fd = os.open(partial, _OLD_FILE)
            except FileNotFoundError:
                continue
        try:
            if _lock(fd, partial, target):
                return fd, fresh
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, partial: str, target: Path) -> bool:
    """Lock an open file. Returns: whether it may be written to, and still is at its path."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TargetLocked(f"{target}: another fetch is writing this file") from None
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        raise StoreError(f"{partial} is in the way: it is not a regular file")
    try:
        if not os.path.samestat(state, os.lstat(partial)):
            return False
    except FileNotFoundError:
        return False
    if state.st_nlink > 1:
        # A second link to it is a finished file (see `rename_no_replace`), or at least not ours: it loses this name.
        os.unlink(partial)
        return False
    return True
