"""Where thousands of small files are written: each in one step, from a file without a name to its final name.

A small file is proved while it is in memory, so there is nothing to resume and nobody to lock out: it is written to a
file that has no name (O_TMPFILE), and gets its final name when it is whole (linkat). A process that is killed leaves
nothing behind. Directories are held open, so that each is looked at once, and no link on the way can lead elsewhere.

What is not the ordinary case is refused here, for `store` to do or to explain: a name that is taken, a partial file of
an earlier fetch, a file system without files that have no name, a full disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from osp2p.content.lock import make_parents
from osp2p.content.name import partial_name
from osp2p.content.store import Room, write_all
from osp2p.errors import StoreError
from osp2p.limits import Limits

#: How many directories are held open at a time.
_MAX_OPEN = 64

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NAMELESS = getattr(os, "O_TMPFILE", 0) | os.O_WRONLY | os.O_CLOEXEC


class _Directory:
    """An open directory.

    Attributes:
        fd: its descriptor.
        device: the number of its file system.
        taken: the names in it.
        room: of its disk.
    """

    __slots__ = ("device", "fd", "room", "taken")

    def __init__(self, fd: int, limits: Limits) -> None:
        self.fd = fd
        self.device = os.fstat(fd).st_dev
        self.taken = {os.fsencode(name) for name in os.listdir(fd)}
        self.room = Room(fd, limits)


class SmallStore:
    """Directories into which small files are put.

    Args:
        limits: `disk_reserve`.
        beneath: a directory that no path may leave: below it, no symbolic link is followed, and directories are made.

    Attributes:
        places: one directory on each file system that something was written to, by device number.
    """

    def __init__(self, limits: Limits, beneath: Path | None) -> None:
        self._limits = limits
        self._beneath = None if beneath is None else os.fspath(beneath)
        self._open: dict[str, _Directory] = {}
        self._absent: set[str] = set()
        self.places: dict[int, Path] = {}

    def is_free(self, target: Path) -> bool:
        """Whether a file may be put there, as far as can be seen: no such name, and no partial file of it."""
        above, name = os.path.split(target)
        if above in self._absent:
            return True
        try:
            directory = self._open.get(above) or self._open_directory(above)
        except FileNotFoundError:
            if self._beneath is not None:
                self._absent.add(above)
            return self._beneath is not None
        except OSError:
            return False
        wanted = os.fsencode(name)
        return wanted not in directory.taken and partial_name(wanted) not in directory.taken

    def put(self, target: Path, data: memoryview) -> bool:
        """Give all of a file its final name. The disk gets it in its own time: see `sync_filesystem`.

        Returns: False if it was not done, and nothing is there that was not there before, but for directories.
        """
        above, name = os.path.split(target)
        wanted = os.fsencode(name)
        try:
            directory = self._open.get(above) or self._make_directory(above)
            directory.room.take(len(data))
            fd = os.open(b".", _NAMELESS, 0o666, dir_fd=directory.fd)
            try:
                write_all(fd, 0, data)
                os.link(b"/proc/self/fd/%d" % fd, wanted, dst_dir_fd=directory.fd, follow_symlinks=True)
            finally:
                os.close(fd)
        except (OSError, StoreError):
            return False
        directory.taken.add(wanted)
        if directory.device not in self.places:
            self.places[directory.device] = Path(above)
        return True

    def _make_directory(self, path: str) -> _Directory:
        """Open a directory that files are put into; beneath `beneath`, make it if it is not there."""
        directory = self._open_directory(path, make=self._beneath is not None)
        self._absent.discard(path)
        return directory

    def _open_directory(self, path: str, *, make: bool = False) -> _Directory:
        """Open a directory.

        Raises:
            OSError: it is not there, or the way to it leads elsewhere.
        """
        fd = os.open(path or ".", _DIRECTORY) if self._beneath is None else _walk(self._beneath, path, make=make)
        try:
            directory = _Directory(fd, self._limits)
        except BaseException:
            os.close(fd)
            raise
        if len(self._open) >= _MAX_OPEN:
            os.close(self._open.pop(next(iter(self._open))).fd)
        self._open[path] = directory
        return directory

    def close(self) -> None:
        """Close all directories."""
        while self._open:
            os.close(self._open.popitem()[1].fd)


def _walk(beneath: str, path: str, *, make: bool) -> int:
    """Go down from one directory to another, through directories of its own alone. Returns: a descriptor.

    Raises:
        OSError: a directory is not there, or is a symbolic link or anything else; the path is not beneath.
    """
    try:
        parts = Path(path).relative_to(beneath).parts
    except ValueError:
        parts = ("..",)
    if ".." in parts:
        raise FileNotFoundError(path)
    if make:
        make_parents(Path(beneath, "file"))
    fd = os.open(beneath, _DIRECTORY)
    for part in parts:
        above = fd
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=above)
            fd = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return fd
