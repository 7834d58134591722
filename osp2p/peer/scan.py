"""Looking through a shared directory: which files of it are for others, and under which names.

Shared are regular files that can be read, in sub-directories too. A symbolic link counts as what it leads to, if that
is inside the directory; a link to a directory is not followed to a directory above itself, nor from inside another
linked directory, so that there is no loop. Everything here blocks, and is for worker threads.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from osp2p.content.cache import CachedFile, collector_paused
from osp2p.content.digest import Cancelled, FileState
from osp2p.content.name import is_hidden, is_partial
from osp2p.limits import Limits
from osp2p.net.errors import describe
from osp2p.peer.shared import SharedFile, is_beneath

#: Permission bits that let everybody read.
_ALL_READ = 0o444

#: Most names that one look reports as left out. The rest is left out all the same.
_MAX_LEFT_OUT = 10_000


@dataclass(slots=True)
class Found:
    """What a look brought.

    Attributes:
        files: by name.
        trees: names of directories that were looked through whole; b"" is the root.
        gone: names at which there is nothing that is shared: neither a file, nor a directory with files.
        left_out: names of what is not shared though it might be expected, and why.
        linked: real path of each file that was found at the end of a symbolic link, by name.
        cancelled: once it is set, the look ends.
        cached: what is known of files, by path.
    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    cached: Mapping[bytes, CachedFile] = field(default_factory=dict)
    files: dict[bytes, SharedFile] = field(default_factory=dict)
    trees: set[bytes] = field(default_factory=set)
    gone: set[bytes] = field(default_factory=set)
    left_out: dict[bytes, str] = field(default_factory=dict)
    linked: dict[bytes, bytes] = field(default_factory=dict)

    def check_cancelled(self) -> None:
        """Raises: Cancelled: the flag was set."""
        if self.cancelled.is_set():
            raise Cancelled

    def leave_out(self, name: bytes, reason: str) -> None:
        """Note that something is not shared."""
        if len(self.left_out) < _MAX_LEFT_OUT:
            self.left_out[name] = reason


class Scanner:
    """Looks through one directory.

    Args:
        root: an absolute path without symbolic links.
        limits: `max_name` and `max_shared_files`.
        without: endings of names that are not shared, beside what never is.
        watch: called with each directory before it is read, so that what changes behind that is not missed.
    """

    def __init__(
        self,
        root: bytes,
        limits: Limits,
        *,
        without: tuple[bytes, ...] = (),
        watch: Callable[[bytes], None] = lambda directory: None,
    ) -> None:
        self.root = root
        self._limits = limits
        self._endings = (b"~", *without)
        self._watch = watch

    def path_of(self, name: bytes) -> bytes:
        """Where the file or directory of a name lies."""
        return os.path.join(self.root, name) if name else self.root

    def scan(self, cancelled: threading.Event, cached: Mapping[bytes, CachedFile] | None = None) -> Found:
        """Look through all of it.

        Args:
            cancelled: once it is set, the look ends.
            cached: what is known of files, by path.

        Raises:
            OSError: the root cannot be read.
            Cancelled: the flag was set.
        """
        found = Found(cancelled, cached or {})
        os.scandir(self.root).close()
        with collector_paused():
            self._scan_tree(b"", found, linked=False)
        return found

    def look_at(self, names: Iterable[bytes], cancelled: threading.Event) -> Found:
        """Look at single files and directories, perhaps gone.

        Raises:
            Cancelled: the flag was set.
        """
        found = Found(cancelled)
        for name in names:
            found.check_cancelled()
            self._look_at(name, found)
        return found

    def _look_at(self, name: bytes, found: Found) -> None:
        path = self.path_of(name)
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                self._add_link(name, path, found, linked=self._is_linked(name))
            elif stat.S_ISDIR(status.st_mode):
                self._scan_tree(name, found, linked=self._is_linked(name))
            else:
                self._add_file(name, path, status, found)
        except OSError:
            pass  # gone, or going: what is not found below counts as gone
        if name not in found.files and name not in found.trees:
            found.gone.add(name)

    def _is_linked(self, name: bytes) -> bool:
        """Whether a directory above leads elsewhere by a symbolic link."""
        directory = os.path.dirname(self.path_of(name))
        return os.path.realpath(directory) != directory

    def _scan_tree(self, top: bytes, found: Found, *, linked: bool) -> None:
        """Look through a directory and all those beneath it."""
        waiting = [(top, linked)]
        while waiting:
            name, linked = waiting.pop()
            found.trees.add(name)
            try:
                waiting += self._scan_directory(name, found, linked=linked)
            except OSError as error:
                found.leave_out(name, f"the directory cannot be read: {describe(error)}")

    def _scan_directory(self, directory: bytes, found: Found, *, linked: bool) -> list[tuple[bytes, bool]]:
        """Look at what is in one directory. Returns: the directories in it, each with whether a link leads there."""
        found.check_cancelled()
        path = self.path_of(directory)
        self._watch(path)
        prefix = directory + b"/" if directory else b""
        below = []
        with os.scandir(path) as entries:
            for entry in entries:
                base = entry.name
                if base[0] == 46 or base.endswith(self._endings):  # 46 is the dot of hidden names
                    continue
                name = prefix + base
                try:
                    if entry.is_symlink():
                        self._add_link(name, entry.path, found, linked=linked)
                    elif entry.is_dir(follow_symlinks=False):
                        below.append((name, linked))
                    else:
                        self._add_file(name, entry.path, entry.stat(follow_symlinks=False), found)
                except FileNotFoundError:
                    continue  # removed while we looked: its directory's watch tells
                except OSError as error:
                    found.leave_out(name, f"it cannot be read: {describe(error)}")
        return below

    def _add_link(self, name: bytes, path: bytes, found: Found, *, linked: bool) -> None:
        """Look at what a symbolic link leads to."""
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
        except FileNotFoundError:
            return found.leave_out(name, "a symbolic link that leads nowhere")
        if not is_beneath(real, self.root):
            return found.leave_out(name, "a symbolic link that leads outside the shared directory")
        if not stat.S_ISDIR(status.st_mode):
            self._watch(os.path.dirname(real))
            found.linked[name] = real
            return self._add_file(name, path, status, found)
        if is_beneath(os.path.realpath(os.path.dirname(path)), real):
            return found.leave_out(name, "a symbolic link to a directory above it")
        if linked:
            return found.leave_out(name, "a symbolic link to a directory, in a directory that is reached by another")
        return self._scan_tree(name, found, linked=True)

    def _add_file(self, name: bytes, path: bytes, status: os.stat_result, found: Found) -> None:
        """Add a file, if it is for others."""
        if not stat.S_ISREG(status.st_mode):
            return found.leave_out(name, "it is not a regular file")
        if is_hidden(name) or name.endswith(self._endings):
            return None
        if is_partial(name):
            return found.leave_out(name, "it is a partial download, by its name")
        if len(name) > self._limits.max_name:
            return found.leave_out(name, f"its name is longer than {self._limits.max_name} bytes")
        if status.st_mode & _ALL_READ != _ALL_READ and not os.access(path, os.R_OK, effective_ids=True):
            return found.leave_out(name, "it cannot be read: permission denied")
        if len(found.files) >= self._limits.max_shared_files:
            return found.leave_out(name, f"there are more than {self._limits.max_shared_files} files")
        state = FileState(status.st_size, status.st_mtime_ns, status.st_ino)
        known = found.cached.get(path)
        device = status.st_dev
        if known is not None and known.state == state:
            found.files[name] = SharedFile(name, path, self.root, state, known.digests, known.hashes, device)
        else:
            found.files[name] = SharedFile(name, path, self.root, state, device=device)
        return None
