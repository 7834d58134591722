"""What a node shares: its directories, single files, and what it still fetches; and who is told of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from osp2p.content.digest import FileState, state_of
from osp2p.content.sorted_names import SortedNames
from osp2p.errors import TrackerError
from osp2p.limits import Limits
from osp2p.peer.announce import Announcement, Told
from osp2p.peer.changes import LibraryChange, Offered, Removed
from osp2p.peer.events import FileAdded, FileRemoved, Report
from osp2p.peer.offer import Offer
from osp2p.peer.shared import SharedFile
from osp2p.peer.trackers import none_of
from osp2p.wire.address import Address

if TYPE_CHECKING:  # what follows directories is imported when the first one is shared: who only fetches shares none
    from osp2p.content.cache import HashCache
    from osp2p.peer.library import Library

#: How many files that have arrived are looked at in a second, at most.
_LOOKS_PER_SECOND = 1000


class Sharing:
    """The shelf of a node, and its announcers.

    Args:
        open_cache: opens the cache of digests, once something is shared; the caller closes it.
        report: takes `FileAdded`, `FileRemoved`, and what libraries report.
        without: endings of names in directories that are not shared.
    """

    def __init__(
        self, open_cache: Callable[[], HashCache], limits: Limits, report: Report, without: tuple[bytes, ...] = ()
    ) -> None:
        self._open_cache = open_cache
        self._opened: HashCache | None = None
        self._limits = limits
        self._report = report
        self._without = without
        self._libraries: list[Library] = []
        self._singles: Library | None = None
        self._starting_singles = trio.Lock()
        self._fetches: dict[bytes, list[Offer]] = {}
        #: How many contents that have arrived are offered on.
        self._arrived = 0
        self._made: dict[bytes, tuple[SharedFile, Offer]] = {}
        #: The names of all whole files, once somebody has asked for them in order.
        self._names: SortedNames | None = None
        self._announcers: list[Told] = []
        self._essential: list[Told] = []

    def _cache(self) -> HashCache:
        if self._opened is None:
            self._opened = self._open_cache()
        return self._opened

    # --- the shelf ---

    def _file(self, name: bytes) -> tuple[Library, SharedFile] | None:
        for library in self._libraries:
            file = library.files.get(name)
            if file is not None:
                return library, file
        return None

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        """What is offered under a name. See `Shelf`."""
        whole = self._whole(name)
        if whole is not None and (b3 is None or whole.b3 == b3):
            return whole
        return next((offer for offer in self._fetches.get(name, []) if b3 is None or offer.b3 == b3), whole)

    def _whole(self, name: bytes) -> Offer | None:
        """The offer of a whole file: the same one for as long as the file is the same."""
        found = self._file(name)
        if found is None:
            self._made.pop(name, None)
            return None
        library, file = found
        made = self._made.get(name)
        if made is None or made[0] is not file:
            made = self._made[name] = (file, _offer(library, file))
        return made[1]

    def page(self, prefix: bytes, after: bytes, count: int) -> Iterator[Offer]:
        """Whole offers in name order, made for this page alone. See `Shelf`."""
        if self._names is None:
            self._names = SortedNames()
            for name in sorted({name for library in self._libraries for name in library.files}):
                self._names.add(name)
        for name in self._names.after(after) if after >= prefix else self._names.since(prefix):
            found = self._file(name)
            if count <= 0 or not name.startswith(prefix):
                return
            if found is not None:  # else it has just gone
                count -= 1
                yield _offer(*found)

    # --- what is shared ---

    async def run_directory(
        self, directory: Path, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Share a directory until cancelled. Started with the number of files it has.

        Raises:
            StoreError: it cannot be read.
        """
        from osp2p.peer.library import open_library

        async with open_library(directory, self._cache(), self._limits, self._report, without=self._without) as library:
            await self._run(library, lambda: task_status.started(len(library.files)))

    async def _run_singles(self, task_status: trio.TaskStatus[Library] = trio.TASK_STATUS_IGNORED) -> None:
        from osp2p.peer.library import open_library

        async with open_library(None, self._cache(), self._limits, self._report) as library:
            await self._run(library, lambda: task_status.started(library))

    async def _run(self, library: Library, started: Callable[[], None]) -> None:
        """Offer what a library has, and follow it."""
        self._libraries.append(library)
        try:
            self._names = None
            if self._announcers:
                for name in library.files:
                    self._announce_again(name)
            started()
            while True:
                for change in await library.next_changes():
                    self._apply(change)
        finally:
            self._libraries.remove(library)
            self._names = None

    def _apply(self, change: LibraryChange) -> None:
        """Pass a change on to the trackers and the user."""
        self._announce_again(change.name)
        self._keep_order(change.name)
        if isinstance(change, Removed):
            self._report(FileRemoved(change.name))
        elif isinstance(change, Offered):
            self._report(FileAdded(change.name, change.file.size, change.changed))

    def _keep_order(self, name: bytes) -> None:
        """Keep the order of names, if there is one, up to date with a name that may have come or gone."""
        if self._names is None:
            return
        is_there = self._file(name) is not None
        if is_there != (name in self._names):
            (self._names.add if is_there else self._names.remove)(name)

    async def add_file(self, nursery: trio.Nursery, name: bytes, path: Path) -> None:
        """Share one file under a name, in a task of `nursery`.

        Raises:
            StoreError, UnsafeName.
        """
        async with self._starting_singles:
            if self._singles is None:
                self._singles = await nursery.start(self._run_singles)
        await self._singles.add_file(name, path)
        self._announce_again(name)

    @contextmanager
    def fetching(self, offer: Offer) -> Iterator[None]:
        """Offer a content that is still being fetched, for as long as the body runs; longer after `fetched`."""
        self._fetches.setdefault(offer.name, []).append(offer)
        self._announce_again(offer.name)
        try:
            yield
        finally:
            if offer.chunks is not None:  # it has not got its final name, and its descriptor is about to be closed
                self._fetches[offer.name].remove(offer)
                offer.notify()
                self._announce_again(offer.name)

    def fetched(self, nursery: trio.Nursery, offer: Offer, path: Path) -> None:
        """Go on offering a content that has arrived, from its final path, to those who were promised it.

        It is the same offer, so that connections which ask for it go on. A task of `nursery` withdraws it when its file
        is gone, or another one. A file that somebody has taken away by now has arrived all the same; it is offered no
        longer than it is being fetched.
        """
        state = _state_at(path)
        if state is None:
            return
        nursery.start_soon(self._withdraw_when_gone, offer, path, state)
        offer.open = SharedFile(offer.name, os.fsencode(path), None, state).open
        offer.mtime_ns = state.mtime_ns
        offer.chunks = None
        offer.notify()
        self._announce_again(offer.name)

    async def _withdraw_when_gone(self, offer: Offer, path: Path, state: FileState) -> None:
        """Withdraw a content that has arrived once its file is not what it was.

        It is looked at, too, when it is opened for somebody; so there is time, where there are many.
        """
        self._arrived += 1
        try:
            while True:
                await trio.sleep(max(self._limits.fetched_recheck, self._arrived / _LOOKS_PER_SECOND))
                if _state_at(path) != state:
                    break
        finally:
            self._arrived -= 1
        self._fetches[offer.name].remove(offer)
        offer.notify()
        self._announce_again(offer.name)

    def _announce_again(self, name: bytes) -> None:
        """Tell trackers what a name stands for here now."""
        found = self._file(name)
        fetches = self._fetches.get(name, [])
        for announcer in self._announcers:
            if found is not None:
                announcer.offer([(name, announce(found[1]))])
            elif fetches:
                announcer.offer([(name, announce_fetch(fetches[0]))])
            else:
                announcer.withdraw([name])

    # --- who is told ---

    def tell(self, announcer: Told, *, essential: bool = True) -> None:
        """Tell one more tracker, or the overlay, of everything.

        Args:
            essential: whether what is shared is not shared before this one has answered.
        """
        self._announcers.append(announcer)
        if essential:
            self._essential.append(announcer)
        for library in reversed(self._libraries):
            announcer.offer((name, announce(file)) for name, file in library.files.items())
        announcer.offer(
            (name, announce_fetch(offers[0]))
            for name, offers in self._fetches.items()
            if offers and self._file(name) is None
        )

    def own_addresses(self) -> set[Address]:
        """Where others know this node to listen."""
        return {address for announcer in self._announcers for address in announcer.addresses()}

    async def wait_for_a_tracker(self) -> None:
        """Wait until a tracker has taken us, or each has been tried once.

        Raises:
            TrackerError: none of them took us.
        """
        failures: list[TrackerError] = []
        async with trio.open_nursery() as nursery:

            async def wait(announcer: Told) -> None:
                try:
                    await announcer.wait_first_round()
                    nursery.cancel_scope.cancel()
                except TrackerError as error:
                    failures.append(error)

            for announcer in self._essential:
                nursery.start_soon(wait, announcer)
        if failures and len(failures) == len(self._essential):
            raise none_of(failures)

    async def wait_settled(self) -> None:
        """Wait until a tracker has answered for everything that is shared now."""
        if not self._essential:
            return
        async with trio.open_nursery() as nursery:

            async def wait(announcer: Told) -> None:
                await announcer.wait_settled()
                nursery.cancel_scope.cancel()

            for announcer in self._essential:
                nursery.start_soon(wait, announcer)


def _state_at(path: Path) -> FileState | None:
    """What a file is now; None if there is none, or it cannot be looked at."""
    try:
        return state_of(os.stat(path))
    except OSError:
        return None


def _offer(library: Library, file: SharedFile) -> Offer:
    """The offer of a whole file of a library."""
    return Offer(
        file.name,
        file.size,
        file.open,
        b3=file.digests.b3 if file.digests else None,
        hashes=file.hashes,
        mtime_ns=file.state.mtime_ns,
        load_hashes=partial(library.chunk_hashes, file),
    )


def announce_fetch(offer: Offer) -> Announcement:
    """What trackers are told of a content that is being fetched, or was."""
    return Announcement(offer.size, b3=offer.b3, partial=not offer.complete)


def announce(file: SharedFile) -> Announcement:
    """What trackers are told of a whole file."""
    if file.digests is None:
        return Announcement(file.size)
    return Announcement(file.size, md5=file.digests.md5, b3=file.digests.b3)
