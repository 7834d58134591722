"""The library: a real directory, changed by real programs' ways, and what a consumer learns of it in time."""

import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest
import trio

from osp2p.content.cache import HashCache
from osp2p.content.chunks import MIN_CHUNK
from osp2p.content.digest import FileDigest, digest_file, digest_in_thread
from osp2p.content.store import open_target
from osp2p.errors import SourceChanged, StoreError, UnsafeName
from osp2p.limits import Limits
from osp2p.peer import library as library_module
from osp2p.peer import watch
from osp2p.peer.events import Event, NotShared, Remark
from osp2p.peer.library import Digested, Library, LibraryChange, Offered, Removed, SharedFile, open_library
from osp2p.peer.watch import Inotify, WatchLimit

LIMITS = Limits()

#: What a user is promised.
IN_TIME = 2.0


class Heard(list[Event]):
    """What was reported."""

    def __init__(self) -> None:
        super().__init__()
        self._event = trio.Event()

    def report(self, event: Event) -> None:
        self.append(event)
        self._event.set()
        self._event = trio.Event()

    def left_out(self, name: bytes) -> bool:
        return any(isinstance(event, NotShared) and event.name == name for event in self)

    async def until_left_out(self, name: bytes) -> None:
        with trio.fail_after(IN_TIME):
            while not self.left_out(name):
                await self._event.wait()


def age(*paths: Path) -> None:
    """Make files as old as files usually are, so that nobody waits for them to settle."""
    for path in paths:
        os.utime(path, (1_000_000_000, 1_000_000_000))


class World:
    """A library, and a consumer that believes what it is told."""

    def __init__(self, library: Library, root: Path, events: Heard) -> None:
        self.library = library
        self.root = root
        self.events = events
        self.known: dict[bytes, SharedFile] = dict(library.files)
        self.changes: list[LibraryChange] = []

    async def learn(self) -> None:
        for change in await self.library.next_changes():
            self.changes.append(change)
            match change:
                case Offered(file, changed):
                    assert changed == (file.name in self.known)
                    self.known[file.name] = file
                case Digested(file):
                    assert self.known[file.name].state == file.state
                    self.known[file.name] = file
                case Removed(name):
                    del self.known[name]

    async def until(self, condition: Callable[[], bool], seconds: float = IN_TIME) -> None:
        with trio.move_on_after(seconds):
            while not condition():
                await self.learn()
        assert condition(), f"not within {seconds} s; known are {sorted(self.known)}"
        assert self.known == dict(self.library.files)

    async def until_names(self, *names: str, seconds: float = IN_TIME) -> None:
        await self.until(lambda: set(self.known) == {os.fsencode(name) for name in names}, seconds)

    async def until_digested(self, *names: str) -> None:
        await self.until(
            lambda: all(name in self.known and self.known[name].digests for name in map(os.fsencode, names)), 5
        )

    def write(self, name: str, data: bytes = b"content") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[HashCache]:
    with closing(HashCache(tmp_path / "cache")) as opened:
        yield opened


@asynccontextmanager
async def open_world(
    root: Path | None, cache: HashCache, limits: Limits = LIMITS, *, without: tuple[bytes, ...] = ()
) -> AsyncIterator[World]:
    events = Heard()
    async with open_library(root, cache, limits, events.report, without=without) as library:
        yield World(library, root or Path("/nowhere"), events)


@pytest.fixture
async def world(root: Path, cache: HashCache) -> AsyncIterator[World]:
    async with open_world(root, cache) as opened:
        yield opened


# --- what is there at the start ---


async def test_the_files_of_a_directory_and_their_digests(root: Path, cache: HashCache) -> None:
    (root / "sub").mkdir()
    (root / "a").write_bytes(b"A")
    (root / "sub" / "b").write_bytes(b"B" * (MIN_CHUNK + 1))
    age(root / "a", root / "sub" / "b")
    (root / ".hidden").write_bytes(b"")
    async with open_world(root, cache) as world:
        assert sorted(world.library.files) == [b"a", b"sub/b"]
        await world.until_digested("a", "sub/b")
        file = world.known[b"sub/b"]
        assert file.digests is not None
        assert file.digests.md5 == md5(b"B" * (MIN_CHUNK + 1)).digest()
        assert file.hashes is not None
        assert len(file.hashes) == 64
        assert not [change for change in world.changes if not isinstance(change, Digested)]
        fd = file.open()
        assert os.fstat(fd).st_size == MIN_CHUNK + 1
        os.close(fd)
        with pytest.raises(TypeError):
            world.library.files[b"x"] = file  # type: ignore[index]


async def test_a_restart_hashes_nothing_again(root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("same", "changed", "gone"):
        (root / name).write_bytes(name.encode())
        age(root / name)
    async with open_world(root, cache) as world:
        await world.until_digested("same", "changed", "gone")
    (root / "changed").write_bytes(b"other")
    (root / "gone").unlink()
    hashed = []

    def count(path: bytes, cancelled: threading.Event) -> FileDigest:
        hashed.append(os.path.basename(path))
        return digest_file(path, cancelled)

    monkeypatch.setattr(library_module, "digest_file", count)
    async with open_world(root, cache) as world:
        assert world.library.files[b"same"].digests is not None, "at once"
        await world.until_digested("changed")
    assert hashed == [b"changed"]
    assert sorted(map(os.path.basename, cache.load(os.fsencode(root)))) == [b"changed", b"same"], "no stale entries"


async def test_what_is_not_shared_is_said_once(root: Path, cache: HashCache) -> None:
    os.mkfifo(root / "fifo")
    (root / "outside").symlink_to("/etc/passwd")
    async with open_world(root, cache) as world:
        world.write("a")
        await world.until_names("a")
        (root / "fifo").touch()
        world.write("b")
        await world.until_names("a", "b")
        assert sorted(event.name for event in world.events if isinstance(event, NotShared)) == [b"fifo", b"outside"]
        (root / "outside").unlink()
        os.symlink("/etc/group", root / "outside")
        world.write("c")
        await world.until_names("a", "b", "c")
    assert world.library.files.keys() == {b"a", b"b", b"c"}


async def test_a_directory_that_cannot_be_shared(tmp_path: Path, cache: HashCache) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(StoreError, match="cannot share"):
            async with open_world(path, cache):
                pytest.fail("opened")


async def test_endings_are_left_out(root: Path, cache: HashCache) -> None:
    (root / "a.c").write_bytes(b"")
    (root / "a.txt").write_bytes(b"")
    async with open_world(root, cache, without=(b".c", b".h")) as world:
        assert list(world.library.files) == [b"a.txt"]
        world.write("b.h")
        world.write("b.txt")
        await world.until_names("a.txt", "b.txt")


# --- what changes ---


async def test_files_come_change_and_go(world: World) -> None:
    world.write("a", b"one")
    await world.until_digested("a")
    world.write("a", b"other")
    await world.until(lambda: world.known[b"a"].size == 5)
    await world.until_digested("a")
    digests = world.known[b"a"].digests
    assert digests is not None
    assert digests.md5 == md5(b"other").digest()
    world.write("sub/b")
    await world.until_names("a", "sub/b")
    (world.root / "a").rename(world.root / "c")
    await world.until_names("c", "sub/b")
    (world.root / "sub" / "b").unlink()
    await world.until_names("c")
    (world.root / "c").rename(world.root / ".c")
    await world.until_names()


async def test_a_touched_file_is_another_version(world: World) -> None:
    path = world.write("a")
    await world.until_digested("a")
    os.utime(path, ns=(1, 1))
    await world.until(lambda: world.known[b"a"].state.mtime_ns == 1)
    await world.until_digested("a")


async def test_names_that_are_not_text(world: World) -> None:
    name = os.fsdecode(b"\xff\xfe\n")
    world.write(name)
    world.write("b")
    await world.until_names(name, "b")
    (world.root / name).unlink()
    world.write("c")
    await world.until_names("b", "c")


async def test_whole_directories_come_and_go_at_once(world: World, tmp_path: Path) -> None:
    for name in ("one", "deep/two", "deep/er/three", ".hidden/four"):
        (tmp_path / "other" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "other" / name).write_bytes(b"")
        age(tmp_path / "other" / name)
    (tmp_path / "other").rename(world.root / "in")
    await world.until_names("in/one", "in/deep/two", "in/deep/er/three")
    (world.root / "in").rename(world.root / "renamed")
    await world.until_names("renamed/one", "renamed/deep/two", "renamed/deep/er/three")
    world.write("renamed/deep/er/four")
    await world.until_names("renamed/one", "renamed/deep/two", "renamed/deep/er/three", "renamed/deep/er/four")
    shutil.copytree(world.root / "renamed", world.root / "copy")
    await world.until(lambda: len(world.known) == 8)
    (world.root / "renamed").rename(tmp_path / "out")
    await world.until(lambda: len(world.known) == 4)
    (tmp_path / "out" / "one").write_bytes(b"not shared any more")
    shutil.rmtree(world.root / "copy")
    await world.until_names()
    (world.root / "copy").mkdir()
    world.write("copy/again")
    await world.until_names("copy/again")


async def test_a_directory_that_a_file_replaces(world: World) -> None:
    world.write("a/b")
    await world.until_names("a/b")
    shutil.rmtree(world.root / "a")
    world.write("a")
    await world.until_names("a")
    (world.root / "a").unlink()
    world.write("a/b")
    await world.until_names("a/b")


async def test_links_change_with_what_they_lead_to(world: World) -> None:
    world.write("real/a", b"one")
    world.write(".store/x", b"one")
    (world.root / "link").symlink_to("real")
    (world.root / "annexed").symlink_to(".store/x")
    await world.until_names("real/a", "link/a", "annexed")
    world.write("real/a", b"longer")
    world.write(".store/x", b"longer")
    await world.until(lambda: {file.size for file in world.known.values()} == {6})
    world.write("real/b", b"")
    await world.until_names("real/a", "real/b", "link/a", "link/b", "annexed")
    (world.root / ".store" / "x").unlink()
    (world.root / "link").unlink()
    await world.until_names("real/a", "real/b")
    world.write("real/c", b"")
    await world.until_names("real/a", "real/b", "real/c")


async def test_a_link_to_everything_watches_nothing_outside(world: World) -> None:
    (world.root / "everything").symlink_to("/")
    world.write("a")
    await world.until_names("a")
    assert world.events.left_out(b"everything")


async def test_a_file_being_written_is_offered_once_it_settles(world: World) -> None:
    with (world.root / "a").open("wb", buffering=0) as file:
        for _ in range(5):
            file.write(b"x" * 10)
            await trio.sleep(0.1)
        assert b"a" not in world.library.files
        began = time.monotonic()
        await world.until_names("a")
        assert time.monotonic() - began < 1.5
        assert world.known[b"a"].size == 50
        await world.until_digested("a")


async def test_a_file_that_its_writer_closes_is_offered_at_once(world: World) -> None:
    began = time.monotonic()
    world.write("a")
    await world.until_names("a")
    assert time.monotonic() - began < 0.39, "less than it would take to settle"


async def test_a_file_that_never_settles_is_offered_now_and_then(world: World) -> None:
    world.write("log")
    await world.until_names("log")

    async def keep_writing() -> None:
        with (world.root / "log").open("ab", buffering=0) as file:
            while True:
                file.write(b"line\n")
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_writing)
        sizes = set()
        with trio.move_on_after(2.6):
            while True:
                await world.learn()
                sizes.add(world.known[b"log"].size)
        nursery.cancel_scope.cancel()
    assert 1 <= len(sizes - {7}) <= 3
    await world.until_digested("log")


async def test_a_fetched_file_appears_only_when_it_is_complete(world: World) -> None:
    with open_target(world.root / "new" / "fetched", replace(LIMITS, disk_reserve=0)) as target:
        part = target.new_part()
        part.write_at(0, bytes(100))
        await trio.sleep(0.7)
        assert not world.library.files
        await part.commit()
        await world.until_names("new/fetched")
    assert not any(isinstance(event, NotShared) for event in world.events)


async def test_the_directory_itself_goes_and_comes_back(world: World, tmp_path: Path) -> None:
    world.write("a")
    await world.until_names("a")
    world.root.rename(tmp_path / "elsewhere")
    await world.until_names()
    world.root.mkdir()
    world.write("b")
    await world.until_names("b")
    world.write("c")
    await world.until_names("b", "c")
    shutil.rmtree(world.root)
    await world.until_names()


async def test_a_directory_above_it_is_renamed(tmp_path: Path, cache: HashCache) -> None:
    root = tmp_path / "above" / "root"
    root.mkdir(parents=True)
    (root / "a").write_bytes(b"")
    async with open_world(root, cache) as world:
        assert list(world.known) == [b"a"]
        (tmp_path / "above").rename(tmp_path / "renamed")
        await world.until_names()


async def test_a_storm_of_changes_is_followed_by_the_truth(world: World) -> None:
    """So many events that the kernel's queue overflows before anybody reads it."""
    world.write("sub/stays")
    await world.until_names("sub/stays")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(limit // 3):
        path = os.path.join(world.root, f"{number % 7}")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.chmod(path, 0o600)
        os.unlink(path)
    world.write("sub/last")
    await world.until_names("sub/stays", "sub/last", seconds=5)


async def test_limits_on_files_bind_while_sharing(root: Path, cache: HashCache) -> None:
    async with open_world(root, cache, replace(LIMITS, max_shared_files=2)) as world:
        world.write("a")
        world.write("b")
        await world.until_names("a", "b")
        world.write("c")
        await world.events.until_left_out(b"c")
        (root / "a").unlink()
        world.write("c", b"again")
        await world.until_names("b", "c")


# --- where the kernel does not help ---


async def test_without_watches_it_polls_and_says_so(
    root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(self: Inotify, directory: bytes) -> None:
        if not directory.endswith(b"/root"):
            raise WatchLimit("there is no more")

    monkeypatch.setattr(Inotify, "add", add)
    monkeypatch.setattr(watch, "_POLL_INTERVAL", 0.2)
    (root / "sub").mkdir()
    async with open_world(root, cache) as world:
        remarks = [event.text for event in world.events if isinstance(event, Remark)]
        assert len(remarks) == 1
        assert "there is no more" in remarks[0]
        world.write("sub/a")
        await world.until_names("sub/a", seconds=3)
        world.write("sub/a", b"changed")
        await world.until(lambda: world.known[b"sub/a"].size == 7, 3)
        await world.until_digested("sub/a")
        shutil.rmtree(root / "sub")
        await world.until_names(seconds=3)
        assert len([event for event in world.events if isinstance(event, Remark)]) == 1


async def test_without_a_cache_it_hashes_and_says_so(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    with closing(HashCache(tmp_path / "file" / "cache")) as cache:
        async with open_world(root, cache) as world:
            await world.until_digested("a")
            assert any(isinstance(event, Remark) and "hash cache" in event.text for event in world.events)


async def test_a_file_that_cannot_be_hashed_is_not_shared(
    root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:

    def broken(path: bytes, cancelled: threading.Event) -> FileDigest:
        if path.endswith(b"bad"):
            raise StoreError("cannot read bad: input/output error")
        return digest_file(path, cancelled)

    monkeypatch.setattr(library_module, "digest_file", broken)
    (root / "bad").write_bytes(b"")
    (root / "good").write_bytes(b"")
    age(root / "bad", root / "good")
    async with open_world(root, cache) as world:
        await world.until_names("good")
        assert any(isinstance(event, NotShared) and "input/output" in event.reason for event in world.events)
        (root / "bad").touch()
        await world.until(
            lambda: any(isinstance(change, Offered) and change.name == b"bad" for change in world.changes)
        )


# --- digests ---


async def test_small_files_are_hashed_before_large_ones(
    root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_module, "_BATCH_BYTES", 100)
    for name, size in (("a", 1000), ("b", 10), ("c", 1)):
        (root / name).write_bytes(bytes(size))
        age(root / name)
    async with open_world(root, cache) as world:
        await world.until_digested("a", "b", "c")
        assert [change.name for change in world.changes if isinstance(change, Digested)] == [b"c", b"b", b"a"]


async def test_a_file_whose_digests_are_known_already_is_not_hashed(
    world: World, cache: HashCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fetched").write_bytes(b"content")
    digest = await digest_in_thread(tmp_path / "fetched")
    cache.store([(os.fsencode(world.root / "a"), digest)])
    monkeypatch.setattr(library_module, "digest_file", lambda path, cancelled: pytest.fail("hashed"))
    (tmp_path / "fetched").rename(world.root / "a")
    await world.until_digested("a")


async def test_long_chunk_lists_are_given_when_asked_for(root: Path, cache: HashCache) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(200 * MIN_CHUNK)
    (root / "small").write_bytes(b"x")
    age(root / "large", root / "small")
    async with open_world(root, cache) as world:
        undigested = world.library.files[b"large"]
        hashes = await world.library.chunk_hashes(undigested)
        assert len(hashes) == 200 * 32
        await world.until_digested("large", "small")
        large = world.known[b"large"]
        assert large.hashes is None
        assert await world.library.chunk_hashes(large) == hashes
        small = world.known[b"small"]
        assert await world.library.chunk_hashes(small) == small.hashes
    cache.forget([large.path])
    async with open_world(None, cache) as world:
        assert await world.library.chunk_hashes(large) == hashes, "computed again"
    async with open_world(None, cache) as world:
        os.utime(root / "large", ns=(1, 1))
        with pytest.raises(SourceChanged):
            await world.library.chunk_hashes(large)


async def test_a_list_that_is_lost_is_made_once_for_all_who_ask(
    root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "long"
    path.write_bytes(b"x" * (129 * MIN_CHUNK))
    age(path)
    made = 0

    async def counting(path: bytes, *, with_md5: bool) -> FileDigest:
        nonlocal made
        made += 1
        return await digest_in_thread(path, with_md5=with_md5)

    async with open_world(root, cache) as world:
        await world.until_digested("long")
        long = world.known[b"long"]
    cache.forget([long.path])
    monkeypatch.setattr(library_module, "digest_in_thread", counting)
    lists = []

    async def ask() -> None:
        lists.append(await world.library.chunk_hashes(long))

    async with open_world(None, cache) as world:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert made == 1
        assert len(lists) == 20
        assert len(set(lists)) == 1


# --- single files ---


async def test_single_files_without_a_directory(tmp_path: Path, cache: HashCache) -> None:
    path = tmp_path / "somewhere.iso"
    path.write_bytes(b"content")
    async with open_world(None, cache) as world:
        file = await world.library.add_file(b"renamed/it.iso", path)
        assert file.size == 7
        await world.until_digested("renamed/it.iso")
        os.close(world.known[b"renamed/it.iso"].open())
        (tmp_path / "neighbour").write_bytes(b"")
        path.write_bytes(b"changed content")
        await world.until(lambda: world.known[b"renamed/it.iso"].size == 15)
        path.unlink()
        await world.until_names()
        path.write_bytes(b"back")
        await world.until_names("renamed/it.iso")


async def test_single_files_beside_a_directory(world: World, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    world.write("inside", b"inside")
    hidden = world.write(".hidden", b"hidden one")
    await world.until_names("inside")
    await world.library.add_file(b"outside", tmp_path / "outside")
    await world.library.add_file(b"inside", world.root / "inside")
    await world.library.add_file(b"shown", hidden)
    await world.until_names("inside", "outside", "shown")
    world.write("outside", b"this one has the name already")
    world.write("x")
    await world.until_names("inside", "outside", "shown", "x")
    assert world.known[b"outside"].size == 7, "a file that was added by itself keeps its name"


async def test_a_file_is_there_as_soon_as_it_was_added(world: World) -> None:
    path = world.write("fetched")
    file = await world.library.add_file(b"fetched", path)
    assert world.library.files[b"fetched"] is file
    assert file.root is not None


async def test_what_cannot_be_a_single_file(world: World, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(StoreError):
            await world.library.add_file(b"a", path)
    with pytest.raises(UnsafeName):
        await world.library.add_file(b"../a", world.write("a"))


# --- ending ---


async def test_it_ends_promptly_in_the_middle_of_a_large_file(root: Path, cache: HashCache) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(1 << 40)
    age(root / "huge")
    cache.load(b"/")
    before = len(os.listdir("/proc/self/fd"))
    with trio.move_on_after(0.3) as scope:
        async with open_world(root, cache):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - scope.deadline < 1
    with trio.fail_after(5):
        while len(os.listdir("/proc/self/fd")) > before:  # noqa: ASYNC110  nobody tells when a thread ends
            await trio.sleep(0.01)


async def test_an_error_in_the_body_comes_out_as_it_is(root: Path, cache: HashCache) -> None:
    with pytest.raises(UnsafeName):
        async with open_world(root, cache):
            raise UnsafeName("from the body")
