"""Being told by the kernel what changes in directories: Linux's inotify, and polling where that is not to be had.

inotify(7) is asked directly, through ctypes. The library watchfiles was tried first: it follows every symbolic link
below a directory, to wherever it leads, and after the first name that is not UTF-8 it reports nothing but that error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from dataclasses import dataclass, field
from typing import Protocol

import trio

_IN_MODIFY = 0x2
_IN_ATTRIB = 0x4
_IN_CLOSE_WRITE = 0x8
_IN_MOVED_FROM = 0x40
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_DELETE = 0x200
_IN_Q_OVERFLOW = 0x4000
_IN_IGNORED = 0x8000
_IN_ONLYDIR = 0x1000000
_IN_EXCL_UNLINK = 0x4000000

_MASK = (
    _IN_MODIFY | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
    | _IN_ONLYDIR | _IN_EXCL_UNLINK
)  # fmt: skip

#: What says that a file is complete now, as far as its writer is concerned.
_FINISHED = _IN_CLOSE_WRITE | _IN_MOVED_TO

_EVENT = struct.Struct("iIII")  # watch descriptor, mask, cookie, length of the name behind it

#: How much is read at a time: some thousands of events.
_READ_BYTES = 256 * 1024

#: errno values that say that a directory is not there any more, or is none: the scan that asked for it notices, too.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP})

#: Seconds between two looks where the kernel does not tell.
_POLL_INTERVAL = 1.0

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Touched:
    """What may have changed.

    Attributes:
        paths: of files and directories, each with whether its writer has finished.
        everything: something was missed; all directories are to be looked through again.
    """

    paths: dict[bytes, bool] = field(default_factory=dict)
    everything: bool = False


class WatchLimit(Exception):
    """The kernel watches no more directories for this user. It never leaves this package."""


class Watcher(Protocol):
    """Tells what changes in directories."""

    def add(self, directory: bytes) -> None:
        """Watch a directory, not what is below it. From any thread. Raises: WatchLimit."""

    def forget(self, directories: set[bytes]) -> None:
        """Stop watching directories, and all below them."""

    async def wait(self) -> Touched:
        """Wait until something may have changed. Cancellation: nothing is lost."""

    def close(self) -> None:
        """Stop watching."""


class Inotify:
    """The kernel's events. See `Watcher`.

    Several paths may lead to one directory, and the kernel knows only the directory; so an event counts for each path
    under which it was added.

    Raises:
        WatchLimit: this user has too many inotify descriptors, or the kernel has no inotify.
    """

    def __init__(self) -> None:
        try:
            self._fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError:  # not Linux
            raise WatchLimit("this system has no inotify") from None
        if self._fd < 0:
            raise WatchLimit("this user may have no more inotify descriptors")
        self._lock = threading.Lock()
        self._paths: dict[int, set[bytes]] = {}
        self._numbers: dict[bytes, int] = {}

    def add(self, directory: bytes) -> None:
        with self._lock:
            if self._fd < 0:  # a thread that was left behind by a cancellation
                return
            number = int(_libc.inotify_add_watch(self._fd, directory, _MASK))
            if number < 0:
                if ctypes.get_errno() in _NOT_THERE:
                    return
                raise WatchLimit("this user may have no more watches")
            if self._numbers.get(directory, number) != number:  # another directory has taken its place
                self._drop(directory)
            self._numbers[directory] = number
            self._paths.setdefault(number, set()).add(directory)

    def forget(self, directories: set[bytes]) -> None:
        with self._lock:
            if self._numbers.keys().isdisjoint(directories):  # what is below one that is not watched is not, either
                return
            for path in [path for path in self._numbers if _leads_into(path, directories)]:
                self._drop(path)

    def _drop(self, directory: bytes) -> None:
        number = self._numbers.pop(directory)
        paths = self._paths.get(number)
        if paths is not None:
            paths.discard(directory)
            if not paths:
                del self._paths[number]
                _libc.inotify_rm_watch(self._fd, number)  # fails where the kernel has done so itself

    async def wait(self) -> Touched:
        touched = Touched()
        while not touched.paths and not touched.everything:
            await trio.lowlevel.wait_readable(self._fd)
            self._read(touched)
        return touched

    def _read(self, touched: Touched) -> None:
        """Take all events that are there."""
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            start = 0
            with self._lock:
                while start < len(data):
                    number, mask, _, length = _EVENT.unpack_from(data, start)
                    start += _EVENT.size + length
                    self._note(number, mask, data[start - length : start].rstrip(b"\0"), touched)

    def _note(self, number: int, mask: int, name: bytes, touched: Touched) -> None:
        if mask & _IN_Q_OVERFLOW:
            touched.everything = True
        elif mask & _IN_IGNORED:
            for path in self._paths.pop(number, ()):
                if self._numbers.get(path) == number:
                    del self._numbers[path]
        elif name:
            for directory in self._paths.get(number, ()):
                path = os.path.join(directory, name)
                touched.paths[path] = touched.paths.get(path, False) or bool(mask & _FINISHED)

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                trio.lowlevel.notify_closing(self._fd)
                os.close(self._fd)
                self._fd = -1


def _leads_into(path: bytes, directories: set[bytes]) -> bool:
    """Whether a path is one of some directories, or lies below one."""
    while path not in directories:
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above
    return True


class Polling:
    """Looks through everything, every second or so. See `Watcher`."""

    def __init__(self) -> None:
        self._next = trio.current_time() + _POLL_INTERVAL

    def add(self, directory: bytes) -> None:
        """Nothing is to be done: all directories are looked at."""

    def forget(self, directories: set[bytes]) -> None:
        """Nothing is to be done: none is remembered."""

    async def wait(self) -> Touched:
        await trio.sleep_until(self._next)
        self._next = trio.current_time() + _POLL_INTERVAL
        return Touched(everything=True)

    def close(self) -> None:
        """Nothing is open."""
