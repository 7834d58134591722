"""What a peer shares: the files of a directory, live, and single files, each with its digests once they are computed.

The directory is looked through once; from then on only what has changed. Two tasks do it: one follows the changes, one
computes digests in a worker thread, the smallest file first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from pathlib import Path
from types import MappingProxyType

import trio

from osp2p.content.cache import MAX_LOADED_HASHES, HashCache
from osp2p.content.digest import FileDigest, FileState, digest_file, digest_in_thread
from osp2p.content.name import safe_parts
from osp2p.errors import SourceChanged, StoreError
from osp2p.limits import MIB, SECONDS, Limits
from osp2p.net.errors import disk_errors
from osp2p.net.groups import one_error
from osp2p.peer.changes import Changes, Digested, LibraryChange, Offered, Removed
from osp2p.peer.events import NotShared, Remark, Report
from osp2p.peer.follow import Follower
from osp2p.peer.scan import Found
from osp2p.peer.settle import Settling
from osp2p.peer.shared import SharedFile, open_shared

__all__ = ["Digested", "Library", "LibraryChange", "Offered", "Removed", "SharedFile", "open_library", "open_shared"]

#: How long a file must hold still to count as complete, and how often one that never does is offered.
_STILL_FOR = 0.4 * SECONDS
_OFFER_EVERY = 1.0 * SECONDS

#: How much one batch of digests takes on at most, and how many files.
_BATCH_BYTES = 64 * MIB
_BATCH_FILES = 500


class Library:
    """What is shared, from `open_library`.

    Attributes:
        files: what is offered now, by name. It changes only while a task waits.
    """

    def __init__(
        self, follower: Follower, root: bytes | None, cache: HashCache, limits: Limits, report: Report
    ) -> None:
        self._follower = follower
        self._root = root
        self._cache = cache
        self._limits = limits
        self._report = report
        self._files: dict[bytes, SharedFile] = {}
        self.files: Mapping[bytes, SharedFile] = MappingProxyType(self._files)
        self._changes = Changes()
        self._settling = Settling(_STILL_FOR, _OFFER_EVERY)
        self._left_out: dict[bytes, str] = {}
        self._remarked: set[str] = set()
        self._undigested: list[tuple[int, bytes]] = []
        self._digest_wanted = trio.Event()
        self._lists: dict[bytes, bytes] = {}
        self._hashing_again = trio.Lock()
        self._unreadable: dict[bytes, FileState] = {}
        self._perhaps_gone: list[bytes] = []
        #: The names of the directories that were looked through.
        self._trees: set[bytes] = set()

    # --- for the consumer ---

    async def next_changes(self) -> list[LibraryChange]:
        """Wait for changes to what `files` was when the library was opened, and take all there are.

        There is one consumer. Cancellation: nothing is lost.
        """
        return await self._changes.take()

    async def add_file(self, name: bytes, path: Path) -> SharedFile:
        """Share a single file under a name, wherever it lies, from now on.

        Raises:
            UnsafeName: no file can have the name.
            StoreError: it is not a regular file, or cannot be read.
        """
        safe_parts(name, self._limits)
        with disk_errors(f"cannot share {path}"):
            file = await self._follower.add_single(name, _real_path(path))
        self._see(file, finished=True)
        self._remark()
        return self._files[name]

    async def chunk_hashes(self, file: SharedFile) -> bytes:
        """The chunk list of a file: raw hashes in a row.

        Raises:
            SourceChanged, StoreError: it has to be computed again, and the file is not what it was.
        """
        if file.hashes is not None:
            return file.hashes
        b3 = file.digests.b3 if file.digests is not None else None
        hashes = await self._known_hashes(file, b3)
        if hashes is not None:
            return hashes
        async with self._hashing_again:  # many may ask, for a list each or all for the same
            if b3 is not None and b3 in self._lists:
                return self._lists[b3]
            digest = await digest_in_thread(file.path, with_md5=False)
        if digest.state != file.state:
            raise SourceChanged("the file changed since it was shared")
        self._keep_list(digest.digests.b3, digest.hashes)
        return digest.hashes

    async def _known_hashes(self, file: SharedFile, b3: bytes | None) -> bytes | None:
        """The chunk list of a content, if it is in memory or in the cache."""
        if b3 is None:
            return None
        hashes = self._lists.get(b3)
        if hashes is None:
            hashes = await trio.to_thread.run_sync(self._cache.hashes, file.path, file.size, b3)
        if hashes is not None:
            self._keep_list(b3, hashes)
        return hashes

    def _keep_list(self, b3: bytes, hashes: bytes) -> None:
        """Keep a chunk list in memory, at the expense of the one that was not asked for longest."""
        self._lists.pop(b3, None)
        while len(self._lists) >= self._limits.max_kept_lists:
            del self._lists[next(iter(self._lists))]
        self._lists[b3] = hashes

    # --- looking ---

    async def first_look(self) -> None:
        """Look through the directory for the first time.

        Raises:
            StoreError: it is not there, or cannot be read.
        """
        if self._root is None:
            return
        cached = await trio.to_thread.run_sync(self._cache.load, self._root)
        with disk_errors(f"cannot share {os.fsdecode(self._root)}"):
            found = await self._follower.first_look(cached)
        self._files.update(found.files)
        self._trees = found.trees
        now = time.time_ns()
        for file in found.files.values():
            if _is_recent(file, now):
                self._settling.see(file.name, file.state, trio.current_time(), finished=False)
            elif file.digests is None:
                self._want_digest(file)
        self._report_left_out(found)
        known = {file.path for file in found.files.values()}
        self._perhaps_gone = [path for path in cached if path not in known]
        self._remark()

    async def follow(self) -> None:
        """Keep `files` as what is on disk, until cancelled."""
        while True:
            look = await self._follower.next_look(self._settling)
            self._merge(look.found, look.finished)
            self._remark()

    def _merge(self, found: Found, finished: Collection[bytes]) -> None:
        """Take over what a look brought."""
        for name in [name for name in self._unreadable if _is_in(name, found.gone)]:
            del self._unreadable[name]
        for name in self._missing(found):
            self._settling.forget(name)
            if self._files.pop(name, None) is not None:
                self._changes.put([Removed(name)])
        now = time.time_ns()
        singles = self._follower.singles
        for name, file in found.files.items():
            if file.root is None or name not in singles:
                self._see(file, finished=name in finished or not _is_recent(file, now))
        self._report_left_out(found)

    def _missing(self, found: Found) -> list[bytes]:
        """The names that are there no more.

        All names are gone through only where a directory that was known is gone, or was looked through again: with
        100,000 files that takes a while, and files come and go all the time.
        """
        singles = self._follower.singles
        missing = [name for name in found.gone if name in self._files or name in self._settling]
        missing += (
            name
            for name in found.trees  # directories now
            if (name in self._files or name in self._settling) and name not in singles
        )
        places = found.gone | found.trees
        if self._trees.isdisjoint(places):
            self._trees |= found.trees
            return missing
        missing += (
            name
            for name in (*self._files, *self._settling)
            if name not in found.files and name not in singles and _is_in(name, places)
        )
        self._trees = {name for name in self._trees if not _is_in(name, places)} | found.trees
        return missing

    def _see(self, file: SharedFile, *, finished: bool) -> None:
        """Take note of a file as it is now: offer it, or wait until it holds still."""
        name = file.name
        known = self._files.get(name)
        changed = known is None or known.state != file.state or known.path != file.path
        if (not changed and name not in self._settling) or self._unreadable.get(name) == file.state:
            return
        if known is None and len(self._files) >= self._limits.max_shared_files:
            self._leave_out(name, f"there are more than {self._limits.max_shared_files} files")
            return
        if self._settling.see(name, file.state, trio.current_time(), finished=finished):
            if changed:
                self._files[name] = file
                self._left_out.pop(name, None)
                self._changes.put([Offered(file, changed=known is not None)])
            if name not in self._settling and self._files[name].digests is None:
                self._want_digest(file)

    # --- digests ---

    def _want_digest(self, file: SharedFile) -> None:
        heappush(self._undigested, (file.size, file.name))
        self._digest_wanted.set()

    def _next_batch(self) -> list[SharedFile]:
        """The files to be hashed next, those left out that are gone, changing or hashed."""
        batch: list[SharedFile] = []
        size = 0
        while self._undigested and len(batch) < _BATCH_FILES and size + self._undigested[0][0] <= _BATCH_BYTES:
            size += self._take_undigested(batch)
        if not batch and self._undigested:
            self._take_undigested(batch)
        return batch

    def _take_undigested(self, batch: list[SharedFile]) -> int:
        """Move the smallest file into a batch, if it is still to be hashed. Returns: its size."""
        size, name = heappop(self._undigested)
        file = self._files.get(name)
        if file is None or file.size != size or file.digests is not None or name in self._settling:
            return 0
        batch.append(file)
        return size

    async def digest(self) -> None:
        """Forget the digests of files that are gone; then compute those that are wanted, until cancelled."""
        await trio.to_thread.run_sync(self._forget_gone)
        while True:
            batch = self._next_batch()
            if batch:
                await self._digest_batch(batch)
                self._remark()
            elif not self._undigested:
                self._digest_wanted = trio.Event()
                await self._digest_wanted.wait()

    def _forget_gone(self) -> None:
        self._cache.forget([path for path in self._perhaps_gone if not os.path.lexists(path)])
        self._perhaps_gone = []

    async def _digest_batch(self, batch: list[SharedFile]) -> None:
        """Hash some files, those left out that the cache knows. Cancellation: at once, within one read."""
        cached = await trio.to_thread.run_sync(lambda: [self._cache.load_file(file.path) for file in batch])
        left: list[SharedFile] = []
        for file, known in zip(batch, cached, strict=True):
            if known is not None and known.state == file.state:
                self._digested(file._replace(digests=known.digests, hashes=known.hashes))
            else:
                left.append(file)
        cancelled = threading.Event()
        try:
            digests = await trio.to_thread.run_sync(_digest_all, left, cancelled, abandon_on_cancel=True)
        finally:
            cancelled.set()
        rows = []
        for file, digest in zip(left, digests, strict=True):
            if isinstance(digest, StoreError):
                self._not_digested(file, digest)
            elif digest.state == file.state:
                rows.append((file.path, digest))
                short = digest.hashes if len(digest.hashes) <= MAX_LOADED_HASHES else None
                self._digested(file._replace(digests=digest.digests, hashes=short))
        await trio.to_thread.run_sync(self._cache.store, rows)

    def _digested(self, file: SharedFile) -> None:
        """Take over digests, if they still are those of what is offered."""
        offered = self._files.get(file.name)
        if offered is not None and offered.state == file.state and offered.path == file.path:
            self._files[file.name] = file
            self._changes.put([Digested(file)])

    def _not_digested(self, file: SharedFile, error: StoreError) -> None:
        """A file cannot be hashed. One that changed is hashed once it holds still; one that cannot be read is not for
        others.
        """
        if self._files.get(file.name) != file:
            return
        if isinstance(error, SourceChanged):  # it may be what it was by now, and then nothing else tells of it
            self._settling.see(file.name, file.state, trio.current_time(), finished=False)
            return
        del self._files[file.name]
        self._unreadable[file.name] = file.state
        self._changes.put([Removed(file.name)])
        self._leave_out(file.name, str(error))

    # --- telling ---

    def _leave_out(self, name: bytes, reason: str) -> None:
        if self._left_out.get(name) != reason:
            self._left_out[name] = reason
            self._report(NotShared(name, reason))

    def _report_left_out(self, found: Found) -> None:
        """Say what is not shared, each reason once, and forget what is not there any more."""
        if self._left_out:
            places = found.gone | found.trees
            for name in [name for name in self._left_out if name not in found.left_out and _is_in(name, places)]:
                del self._left_out[name]
        for name, reason in found.left_out.items():
            self._leave_out(name, reason)

    def _remark(self) -> None:
        """Say, once, what does not work as it should."""
        remarks = []
        if self._cache.problem is not None:
            remarks.append(f"{self._cache.problem}; checksums may have to be computed again in the next run")
        if self._follower.polling_because is not None:
            remarks.append(
                f"the system does not tell what changes in all directories ({self._follower.polling_because}),"
                " so they are looked through every second or so; raising fs.inotify.max_user_watches or"
                " fs.inotify.max_user_instances may help"
            )
        for text in remarks:
            if text not in self._remarked:
                self._remarked.add(text)
                self._report(Remark(self._root or b"", text))


def _real_path(path: Path) -> bytes:
    return os.path.realpath(os.fsencode(path))


def _is_recent(file: SharedFile, now: int) -> bool:
    """Whether a file was changed so short a time ago that it may still be being written. `now`: ns since 1970."""
    return 0 <= now - file.state.mtime_ns < _STILL_FOR * 1e9


def _is_in(name: bytes, places: Collection[bytes]) -> bool:
    """Whether a name is one of some places, or lies beneath one of those; b"" is above all."""
    if name in places or b"" in places:
        return True
    end = name.find(b"/")
    while end >= 0:
        if name[:end] in places:
            return True
        end = name.find(b"/", end + 1)
    return False


def _digest_all(files: list[SharedFile], cancelled: threading.Event) -> list[FileDigest | StoreError]:
    """Hash files one by one: for a worker thread."""
    results: list[FileDigest | StoreError] = []
    for file in files:
        try:
            results.append(digest_file(file.path, cancelled))
        except StoreError as error:
            results.append(error)
    return results


@asynccontextmanager
async def open_library(
    directory: Path | None, cache: HashCache, limits: Limits, report: Report, *, without: tuple[bytes, ...] = ()
) -> AsyncIterator[Library]:
    """Share a directory and single files, as long as the body runs. When it begins, `files` is what there is.

    Args:
        directory: what to share, with all below it; None: only what `Library.add_file` brings.
        cache: of digests. It is the caller's to close, behind the body.
        limits: `max_name`, `max_shared_files`, `max_kept_lists`.
        report: takes `NotShared` and `Remark`.
        without: endings of names that are not shared, beside hidden files, ``*~`` and partial downloads.

    Raises:
        StoreError: the directory is not there, or cannot be read.
    """
    root = None if directory is None else _real_path(directory)
    follower = Follower(root, limits, without)
    try:
        library = Library(follower, root, cache, limits, report)
        await library.first_look()
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(library.follow)
                nursery.start_soon(library.digest)
                yield library
                nursery.cancel_scope.cancel()
    finally:
        follower.close()
