"""Following a shared directory, and single files elsewhere: what is to be looked at again, and what a look brings."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from osp2p.content.cache import CachedFile
from osp2p.content.digest import state_of
from osp2p.content.name import is_hidden
from osp2p.errors import StoreError
from osp2p.limits import SECONDS, Limits
from osp2p.peer.scan import Found, Scanner
from osp2p.peer.shared import SharedFile, is_beneath
from osp2p.peer.watch import Inotify, Polling, Touched, Watcher, WatchLimit

#: How long changes are let gather between two looks, in seconds. It bounds what a storm of changes costs.
_GATHER = 0.1 * SECONDS

#: How often files that are being written are looked at.
_LOOK_AGAIN = 0.2 * SECONDS

#: How often the directory itself is looked at: it may be renamed or removed with all above it.
_LOOK_AT_ROOT = 1.0 * SECONDS

#: For what part of the time everything is looked through, at most.
_SCANNING_SHARE = 0.3

_T = TypeVar("_T")


@dataclass(slots=True)
class Look:
    """What a look brought, and the names of files that are complete as far as their writers are concerned."""

    found: Found
    finished: set[bytes] = field(default_factory=set)


class Follower:
    """Follows one directory, or none, and single files.

    Args:
        root: an absolute path without symbolic links, or None.
        limits: as `Scanner`.
        without: as `Scanner`.

    Attributes:
        singles: the real path of each file that was added by itself, by name.
        polling_because: why the kernel is not asked what has changed; None if it is.
    """

    def __init__(self, root: bytes | None, limits: Limits, without: tuple[bytes, ...]) -> None:
        self.singles: dict[bytes, bytes] = {}
        self.polling_because: str | None = None
        self._scanner: Scanner | None = None
        if root is not None:
            self._scanner = Scanner(root, limits, without=without, watch=self._watch)
        self._root_state: tuple[int, int] | None = None
        self._next_look_at_root = 0.0
        self._next_look = 0.0
        self._linked: dict[bytes, bytes] = {}
        self._names_by_path: dict[bytes, set[bytes]] = {}
        self._watcher: Watcher = Polling()
        try:
            self._watcher = Inotify()
        except WatchLimit as reason:
            self.polling_because = str(reason)

    def close(self) -> None:
        """Stop watching."""
        self._watcher.close()

    def _watch(self, directory: bytes) -> None:
        """Have a directory watched; where the kernel takes no more, all is looked through now and then instead."""
        if self.polling_because is None:
            try:
                self._watcher.add(directory)
            except WatchLimit as reason:
                self.polling_because = str(reason)

    def _poll_if_limited(self) -> None:
        """Look through everything from now on, if some directories cannot be watched."""
        if self.polling_because is not None and isinstance(self._watcher, Inotify):
            self._watcher.close()
            self._watcher = Polling()

    async def first_look(self, cached: Mapping[bytes, CachedFile]) -> Found:
        """Look through the directory for the first time.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        scanner = self._scanner
        if scanner is None:
            return Found()
        found = await self._in_thread(lambda cancelled: self._scan(scanner, cached, cancelled))
        self._note(found)
        self._poll_if_limited()
        return found

    async def add_single(self, name: bytes, path: bytes) -> SharedFile:
        """Follow a single file, too.

        Args:
            name: under which it is shared.
            path: an absolute path without symbolic links.

        Raises:
            StoreError: it is not a regular file.
            OSError: it cannot be read.
        """
        if self._scanner is not None and path == self._scanner.path_of(name):
            found = await self._in_thread(lambda cancelled: self._look_at([name], cancelled))
            if name in found.files:
                return found.files[name]
        file = await self._in_thread(lambda cancelled: _read_single(name, path))
        self._forget_path(name)
        self.singles[name] = path
        self._names_by_path.setdefault(path, set()).add(name)
        self._watch(os.path.dirname(path))
        return file

    async def next_look(self, moving: Iterable[bytes]) -> Look:
        """Wait until something may have changed, or it is time to look at files that are being written; and look.

        Args:
            moving: names of files that are being written.

        Cancellation: what was touched since the last look is lost.
        """
        moving = list(moving)
        await trio.sleep_until(self._next_look)
        touched = Touched()
        with trio.move_on_after(_LOOK_AGAIN if moving else _LOOK_AT_ROOT):
            touched = await self._watcher.wait()
        closed_names = dict.fromkeys(moving, False)
        for path, closed in touched.paths.items():
            for name in self._names_at(path):
                closed_names[name] = closed_names.get(name, False) or closed
        began = trio.current_time()
        found = await self._in_thread(
            lambda cancelled: self._look(list(closed_names), touched.everything, began, cancelled)
        )
        self._note(found)
        took = trio.current_time() - began if b"" in found.trees else 0.0
        self._next_look = trio.current_time() + max(_GATHER, took * (1 / _SCANNING_SHARE - 1))
        self._poll_if_limited()
        return Look(found, {name for name, closed in closed_names.items() if closed})

    def _look(self, names: list[bytes], everything: bool, now: float, cancelled: threading.Event) -> Found:
        """Look at names; or at everything, if that is asked for or the directory is another one than before."""
        scanner = self._scanner
        if scanner is not None and now >= self._next_look_at_root:
            self._next_look_at_root = now + _LOOK_AT_ROOT
            everything = everything or _identity(scanner.root) != self._root_state
        if not everything or scanner is None:
            return self._look_at(names, cancelled)
        try:
            found = self._scan(scanner, {}, cancelled)
        except OSError:  # the directory itself is gone
            self._root_state = None
            found = Found(trees={b""})
        self._look_at_singles(list(self.singles), found)
        return found

    def _scan(self, scanner: Scanner, cached: Mapping[bytes, CachedFile], cancelled: threading.Event) -> Found:
        self._root_state = _identity(scanner.root)
        return scanner.scan(cancelled, cached)

    def _look_at(self, names: list[bytes], cancelled: threading.Event) -> Found:
        """Look at files and directories of the root, and at single files."""
        found = Found()
        if self._scanner is not None:
            found = self._scanner.look_at((name for name in names if name not in self.singles), cancelled)
        self._look_at_singles(names, found)
        return found

    def _look_at_singles(self, names: list[bytes], found: Found) -> None:
        """Look at those of the names that are single files'."""
        for name in names:
            path = self.singles.get(name)
            if path is not None:
                found.files.pop(name, None)
                try:
                    found.files[name] = _read_single(name, path)
                except (OSError, StoreError):
                    found.gone.add(name)

    # --- which names a path has ---

    def _names_at(self, path: bytes) -> set[bytes]:
        """Under which names the file or directory at a path is known, or would be."""
        names = set(self._names_by_path.get(path, ()))
        root = self._scanner.root if self._scanner is not None else None
        if root is not None and is_beneath(path, root) and path != root:
            name = path[len(root.rstrip(b"/")) + 1 :]
            if not is_hidden(name):
                names.add(name)
        return names

    def _note(self, found: Found) -> None:
        """Remember where links lead, and forget what is gone."""
        for name in found.gone:
            self._forget_path(name)
        for name, path in found.linked.items():
            self._forget_path(name)
            self._linked[name] = path
            self._names_by_path.setdefault(path, set()).add(name)
        if found.gone and self._scanner is not None:
            self._watcher.forget({self._scanner.path_of(name) for name in found.gone if name not in self.singles})

    def _forget_path(self, name: bytes) -> None:
        path = self._linked.pop(name, None)
        if path is not None:
            names = self._names_by_path[path]
            names.discard(name)
            if not names:
                del self._names_by_path[path]

    async def _in_thread(self, work: Callable[[threading.Event], _T]) -> _T:
        """Run a look in a worker thread. Cancellation: returns at once; the thread ends soon."""
        cancelled = threading.Event()
        try:
            return await trio.to_thread.run_sync(work, cancelled, abandon_on_cancel=True)
        finally:
            cancelled.set()


def _identity(directory: bytes) -> tuple[int, int] | None:
    """What tells a directory from another that takes its place; None: it is not there."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read_single(name: bytes, path: bytes) -> SharedFile:
    """Look at a single file.

    Raises:
        StoreError: it is not a regular file.
        OSError: it is not there, or cannot be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{os.fsdecode(path)} is not a regular file")
    if not os.access(path, os.R_OK, effective_ids=True):
        raise PermissionError(13, "permission denied", os.fsdecode(path))
    return SharedFile(name, path, None, state_of(status))
