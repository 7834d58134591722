"""The shelf of a node: which of several files a name stands for, and what becomes of an offer whose fetch failed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from osp2p.content.cache import HashCache
from osp2p.content.chunks import ChunkMap, chunk_count
from osp2p.content.digest import FileState
from osp2p.content.sorted_names import SortedNames
from osp2p.errors import SourceChanged, TrackerError
from osp2p.limits import MIB, Limits
from osp2p.peer import sharing as sharing_module
from osp2p.peer.announce import Announcement, Announcer
from osp2p.peer.events import Event, FileAdded
from osp2p.peer.offer import Offer
from osp2p.peer.sharing import Sharing

SIZE = 5 * MIB
LIMITS = Limits()


class Told:
    """An announcer that only remembers what it was told last of each name."""

    def __init__(self) -> None:
        self.names: dict[bytes, Announcement] = {}
        self.anything = trio.Event()

    def offer(self, names: Iterable[tuple[bytes, Announcement]]) -> None:
        self.names.update(names)
        self.anything.set()

    def withdraw(self, names: Iterable[bytes]) -> None:
        for name in names:
            self.names.pop(name, None)
        self.anything.set()


def sharing_with(told: Told) -> tuple[Sharing, list[Event]]:
    events: list[Event] = []
    sharing = Sharing(lambda: HashCache(None), Limits(), events.append)
    sharing.tell(cast(Announcer, told))
    return sharing, events


def partial_offer(fd: int) -> Offer:
    chunks = ChunkMap(chunk_count(SIZE))
    return Offer(b"film", SIZE, lambda: os.dup(fd), b3=bytes(32), hashes=b"", chunks=chunks)


def complete(offer: Offer) -> None:
    assert offer.chunks is not None
    for index in range(offer.chunks.count):
        offer.chunks.add(index)


async def test_an_offer_whose_file_never_got_its_name_is_withdrawn(tmp_path: Path) -> None:
    told = Told()
    sharing, _ = sharing_with(told)
    with open(tmp_path / "part", "wb") as part:
        offer = partial_offer(part.fileno())
        with pytest.raises(ZeroDivisionError), sharing.fetching(offer):
            assert told.names[b"film"].partial
            complete(offer)
            raise ZeroDivisionError  # as a commit that the disk refuses, with every chunk here
    # Its descriptor is closed now, and may be that of anything: nobody must be served from it.
    assert sharing.find(b"film") is None
    assert told.names == {}


async def test_who_waits_for_news_of_a_fetch_is_told_that_it_has_ended(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    sharing, _ = sharing_with(Told())
    with open(tmp_path / "part", "wb") as part:
        offer = partial_offer(part.fileno())
        async with trio.open_nursery() as nursery:
            with sharing.fetching(offer):
                nursery.start_soon(offer.wait_changed, offer.serial)
                await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(1):
                await trio.testing.wait_all_tasks_blocked()
                assert not nursery.child_tasks
            nursery.cancel_scope.cancel()


async def test_an_offer_that_has_arrived_stays(nursery: trio.Nursery, tmp_path: Path) -> None:
    told = Told()
    sharing, _ = sharing_with(told)
    path = tmp_path / "film"
    path.write_bytes(bytes(SIZE))
    with open(path, "rb") as part:
        offer = partial_offer(part.fileno())
        with sharing.fetching(offer):
            complete(offer)
            sharing.fetched(nursery, offer, path)
    assert sharing.find(b"film") is offer
    assert not told.names[b"film"].partial
    fd = offer.open()
    assert os.fstat(fd).st_size == SIZE
    os.close(fd)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("what", ["removed", "changed", "replaced", "made unreachable"])
async def test_an_offer_is_withdrawn_when_its_file_is_not_what_arrived(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, tmp_path: Path, what: str
) -> None:
    told = Told()
    sharing, _ = sharing_with(told)
    path = tmp_path / "directory" / "film"
    path.parent.mkdir()
    path.write_bytes(bytes(SIZE))
    other = Offer(b"film", SIZE, lambda: -1, b3=bytes([1] * 32), chunks=ChunkMap(chunk_count(SIZE)))
    with open(path, "rb") as part, sharing.fetching(other):
        offer = partial_offer(part.fileno())
        with sharing.fetching(offer):
            complete(offer)
            sharing.fetched(nursery, offer, path)
        await trio.sleep(100)
        assert sharing.find(b"film", offer.b3) is offer
        changed = trio.Event()

        async def wait() -> None:
            await offer.wait_changed(offer.serial)
            changed.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        match what:
            case "removed":
                path.unlink()
            case "changed":
                path.write_bytes(b"x")
            case "replaced":
                path.with_name("new").write_bytes(bytes(SIZE))
                path.with_name("new").rename(path)
            case _:
                path.parent.rename(tmp_path / "elsewhere")
        await trio.sleep(2 * LIMITS.fetched_recheck)
        assert sharing.find(b"film", offer.b3) is None
        assert sharing.find(b"film") is other
        assert told.names[b"film"].partial, "it is another fetch of that name that is told of now"
        with trio.fail_after(1):
            await changed.wait()
        with pytest.raises((SourceChanged, OSError)):
            offer.open()
    assert told.names == {}


async def test_many_that_have_arrived_are_looked_at_less_often(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osp2p.peer.sharing._LOOKS_PER_SECOND", 1)
    sharing, _ = sharing_with(Told())
    looks = 0
    state_at = sharing_module._state_at

    def counting(path: Path) -> FileState | None:
        nonlocal looks
        looks += 1
        return state_at(path)

    (tmp_path / "film").write_bytes(bytes(SIZE))
    monkeypatch.setattr(sharing_module, "_state_at", counting)
    with open(tmp_path / "film", "rb") as part:
        for _ in range(10):
            offer = partial_offer(part.fileno())
            with sharing.fetching(offer):
                complete(offer)
                sharing.fetched(nursery, offer, tmp_path / "film")
        await trio.sleep(1)
        looks = 0
        await trio.sleep(100)
        assert 90 <= looks <= 110, "ten files are looked at every ten seconds each"
        (tmp_path / "film").unlink()
        await trio.sleep(11)
    assert sharing.find(b"film") is None


async def test_a_file_that_was_taken_away_at_once_has_arrived_and_is_not_offered(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    told = Told()
    sharing, _ = sharing_with(told)
    with open(tmp_path / "part", "wb") as part:
        offer = partial_offer(part.fileno())
        with sharing.fetching(offer):
            complete(offer)
            sharing.fetched(nursery, offer, tmp_path / "film")
    assert sharing.find(b"film") is None
    assert told.names == {}


async def test_a_page_is_full_though_a_file_has_just_gone(nursery: trio.Nursery, tmp_path: Path) -> None:
    sharing, _ = sharing_with(Told())
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"x")
    await nursery.start(sharing.run_directory, tmp_path)
    assert len(list(sharing.page(b"", b"", 5))) == 5
    del sharing._libraries[0]._files[b"1"]  # the change itself is still on its way
    assert [offer.name for offer in sharing.page(b"", b"", 3)] == [b"0", b"2", b"3"]
    nursery.cancel_scope.cancel()


async def test_a_page_looks_at_nothing_but_its_names(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing, _ = sharing_with(Told())
    names = [b"a", b"b", b"b/1", b"b/2", b"b0", b"b1", b"c"]
    for name in names:
        path = tmp_path / name.decode()
        if name == b"b":
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name)
    await nursery.start(sharing.run_directory, tmp_path)
    shared = [name for name in names if name != b"b"]
    for prefix in [b"", b"a", b"b", b"b/", b"b/2", b"bb", b"c", b"d", b"\xff"]:
        for after in [b"", b"a", b"b", b"b/1", b"b1", b"c", b"d"]:
            for count in [0, 1, 2, 10]:
                expected = [name for name in shared if name.startswith(prefix) and name > after][:count]
                assert [offer.name for offer in sharing.page(prefix, after, count)] == expected
    sharing._names = SortedNames()
    for number in range(100_000):
        sharing._names.add(b"b/%06d" % number)
    looked_at: list[bytes] = []
    monkeypatch.setattr(sharing, "_file", looked_at.append)
    assert list(sharing.page(b"a", b"", 10)) == list(sharing.page(b"b/05000", b"b/050009", 10)) == []
    assert len(looked_at) < 100
    nursery.cancel_scope.cancel()


async def test_names_stay_in_order_whatever_changes(nursery: trio.Nursery, tmp_path: Path) -> None:
    """They are sorted once, not for each page behind a change."""
    told = Told()
    sharing, _ = sharing_with(told)
    for name in ("b", "d", "f"):
        (tmp_path / name).write_bytes(b"x")
    await nursery.start(sharing.run_directory, tmp_path)
    await sharing.add_file(nursery, b"d", tmp_path / "f")  # a name that stays when the directory loses it
    assert [offer.name for offer in sharing.page(b"", b"", 9)] == [b"b", b"d", b"f"]
    order = sharing._names
    assert order is not None
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").unlink()
    (tmp_path / "d").unlink()
    (tmp_path / "c").write_bytes(b"x")
    (tmp_path / "f").write_bytes(b"changed")
    with trio.fail_after(10):
        while list(order.since(b"")) != [b"a", b"c", b"d", b"f"]:
            told.anything = trio.Event()
            await told.anything.wait()
    assert sharing._names is order
    assert [offer.name for offer in sharing.page(b"", b"", 9)] == [b"a", b"c", b"d", b"f"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("directory_first", [True, False])
async def test_trackers_are_told_of_the_file_that_is_served(
    nursery: trio.Nursery, tmp_path: Path, directory_first: bool
) -> None:
    told = Told()
    sharing, events = sharing_with(told)
    directory = tmp_path / "shared"
    directory.mkdir()
    (directory / "x").write_bytes(b"of the directory")
    (tmp_path / "single").write_bytes(b"single")
    if directory_first:
        await nursery.start(sharing.run_directory, directory)
        await sharing.add_file(nursery, b"x", tmp_path / "single")
    else:
        await sharing.add_file(nursery, b"x", tmp_path / "single")
        await nursery.start(sharing.run_directory, directory)
    with trio.fail_after(10):
        while not all(library.files[b"x"].digests for library in sharing._libraries):
            told.anything = trio.Event()
            await told.anything.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert len([event for event in events if isinstance(event, FileAdded)]) == 1
    offer = sharing.find(b"x")
    assert offer is not None
    assert offer.size == (16 if directory_first else 6)
    assert told.names[b"x"] == Announcement(offer.size, told.names[b"x"].md5, offer.b3)
    nursery.cancel_scope.cancel()


class Tried:
    """An announcer whose first round takes a while, and may fail."""

    def __init__(self, seconds: float, error: TrackerError | None = None) -> None:
        self.seconds = seconds
        self.error = error

    def offer(self, names: Iterable[tuple[bytes, Announcement]]) -> None:
        pass

    async def wait_first_round(self) -> None:
        await trio.sleep(self.seconds)
        if self.error is not None:
            raise self.error


async def test_one_tracker_is_enough_to_begin_with(autojump_clock: trio.testing.MockClock) -> None:
    sharing = Sharing(lambda: HashCache(None), Limits(), lambda event: None)
    await sharing.wait_for_a_tracker()
    for tried in (Tried(1, TrackerError("the first")), Tried(30), Tried(2)):
        sharing.tell(cast(Announcer, tried))
    await sharing.wait_for_a_tracker()
    assert trio.current_time() == 2


async def test_where_no_tracker_takes_us_one_of_the_reasons_is_told(autojump_clock: trio.testing.MockClock) -> None:
    sharing = Sharing(lambda: HashCache(None), Limits(), lambda event: None)
    for seconds in (2, 5):
        sharing.tell(cast(Announcer, Tried(seconds, TrackerError(f"after {seconds} s"))))
    with pytest.raises(TrackerError, match="after 2 s"):
        await sharing.wait_for_a_tracker()
    assert trio.current_time() == 5
