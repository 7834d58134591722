"""What comes is proved before it counts, in this thread or beside it, and the books say who sent what."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field, replace

import pytest
import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK, ChunkMap, chunk_hash, content_id
from osp2p.errors import ChecksumMismatch, ConnectionLost, DiskFull, StoreError
from osp2p.limits import Limits
from osp2p.peer.chunk_client import Content
from osp2p.peer.events import Event, TransferProgress
from osp2p.peer.intake import Intake
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

BODY = random.Random(11).randbytes(5 * MIN_CHUNK + 9)
HASHES = b"".join(chunk_hash(BODY[start : start + MIN_CHUNK]) for start in range(0, len(BODY), MIN_CHUNK))
CONTENT = Content(b"a", len(BODY), content_id(len(BODY), HASHES))
ENTRY = PeerEntry(b"holder", Address("10.0.0.1", 1))
KEY = ENTRY.address
OTHER = PeerEntry(b"other", Address("10.0.0.2", 1))


@dataclass
class Store:
    """Keeps chunks in memory, and remembers in which threads.

    Attributes:
        failing: what to raise at which chunk, written or marked.
        hold: if set, writing waits for it.
    """

    chunks: ChunkMap = field(default_factory=lambda: ChunkMap(6))
    hashes: bytes | None = HASHES
    body: bytearray = field(default_factory=lambda: bytearray(len(BODY)))
    written: list[tuple[int, bool]] = field(default_factory=list)
    failing: dict[tuple[str, int], StoreError] = field(default_factory=dict)
    hold: threading.Event | None = None

    def set_hashes(self, hashes: bytes) -> None:
        if ("list", 0) in self.failing:
            raise self.failing["list", 0]
        self.hashes = hashes

    def write_run(self, first: int, data: memoryview) -> None:
        if self.hold is not None:
            assert self.hold.wait(10)
        for index in range(first, first - (-len(data) // MIN_CHUNK)):
            if ("write", index) in self.failing:
                raise self.failing["write", index]
            self.written.append((index, threading.current_thread() is threading.main_thread()))
        self.body[first * MIN_CHUNK : first * MIN_CHUNK + len(data)] = data

    def mark_proved(self, first: int, last: int) -> None:
        for index in range(first, last + 1):
            if ("mark", index) in self.failing:
                raise self.failing["mark", index]
            assert self.chunks.add(index)


@dataclass
class World:
    store: Store = field(default_factory=Store)
    content: Content = CONTENT
    events: list[Event] = field(default_factory=list)
    gains: int = 0

    def __post_init__(self) -> None:
        limits = replace(Limits(), progress_interval=0.0)
        self.intake = Intake(self.content, self.store, limits, random.Random(1), self.gained, self.events.append)
        self.intake.begin(ENTRY)
        self.intake.picker.add_holder(KEY)

    def gained(self) -> None:
        self.gains += 1

    def keep(self, first: int, body: bytes) -> None:
        self.intake.keep(self.intake.hold(KEY, first, memoryview(body)))

    async def keep_in_thread(self, first: int, body: bytes) -> None:
        await self.intake.keep_in_thread(self.intake.hold(KEY, first, memoryview(body)))

    async def keep_either_way(self, in_thread: bool, first: int, body: bytes) -> None:
        if in_thread:
            await self.keep_in_thread(first, body)
        else:
            self.keep(first, body)

    @property
    def here(self) -> list[int]:
        return list(self.store.chunks)


def chunks(first: int, last: int) -> bytes:
    return BODY[first * MIN_CHUNK : (last + 1) * MIN_CHUNK]


def spoiled(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


EITHER_WAY = pytest.mark.parametrize("in_thread", [False, True])


@EITHER_WAY
async def test_right_chunks_are_kept(in_thread: bool) -> None:
    world = World()
    await world.keep_either_way(in_thread, 1, chunks(1, 3))
    await world.keep_either_way(in_thread, 5, chunks(5, 5))  # the short last one
    await world.keep_either_way(in_thread, 4, chunks(4, 4))
    await world.keep_either_way(in_thread, 0, chunks(0, 0))
    assert world.store.body == BODY
    assert world.here == [0, 1, 2, 3, 4, 5]
    assert world.intake.picker.complete
    assert world.intake.done == len(BODY)
    assert world.gains == 4
    assert {main for _, main in world.store.written} == {not in_thread}
    done = [event.done for event in world.events if isinstance(event, TransferProgress)]
    assert done[-1] == len(BODY)


@EITHER_WAY
@pytest.mark.parametrize("wrong", [0, 1, 2])
async def test_a_wrong_chunk_is_not_written_and_those_before_it_are_kept(in_thread: bool, wrong: int) -> None:
    world = World()
    body = spoiled(chunks(1, 3), wrong * MIN_CHUNK + 5)
    with pytest.raises(ChecksumMismatch, match=f"wrong chunk {wrong + 1}"):
        await world.keep_either_way(in_thread, 1, body)
    assert world.here == list(range(1, wrong + 1))
    assert [index for index, _ in world.store.written] == world.here
    assert isinstance(world.intake.lied(KEY), ChecksumMismatch)
    world.keep(1, chunks(1, 3))  # from somebody else: nothing is left in any hand
    assert world.here == [1, 2, 3]


@EITHER_WAY
async def test_what_is_here_is_proved_but_not_written_again(in_thread: bool) -> None:
    world = World()
    world.keep(2, chunks(2, 2))
    await world.keep_either_way(in_thread, 1, chunks(1, 3))
    assert [index for index, _ in world.store.written] == [2, 1, 3]
    with pytest.raises(ChecksumMismatch):
        await world.keep_either_way(in_thread, 1, spoiled(chunks(1, 3), MIN_CHUNK))
    assert world.here == [1, 2, 3]


@EITHER_WAY
@pytest.mark.parametrize("where", ["write", "mark"])
async def test_a_disk_that_fails_ends_everything_and_loses_nothing(in_thread: bool, where: str) -> None:
    world = World()
    world.store.failing[where, 2] = DiskFull("no space left")
    woken = trio.Event()

    async def wait() -> None:
        await world.intake.wait_changed()
        woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(DiskFull):
            await world.keep_either_way(in_thread, 1, chunks(1, 3))
        await woken.wait()
    assert isinstance(world.intake.fatal, DiskFull)
    assert not [event for event in world.here if event not in (1,)]
    assert world.intake.lied(KEY) is None
    world.store.failing.clear()
    missing = [index for index in (1, 2, 3) if index not in world.here]
    world.keep(missing[0], chunks(missing[0], 3))
    assert world.here == [1, 2, 3]


async def test_a_chunk_in_one_hand_is_not_taken_into_another() -> None:
    world = World()
    world.store.hold = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keep_in_thread, 1, chunks(1, 3))
        await trio.testing.wait_all_tasks_blocked()
        batch = world.intake.hold(OTHER.address, 2, memoryview(chunks(2, 4)))
        assert batch.wanted == 1 << 4
        world.store.hold.set()
        world.intake.keep(batch)
    assert sorted(index for index, _ in world.store.written) == [1, 2, 3, 4]


async def test_cancelled_beside_a_thread_what_it_proves_still_counts() -> None:
    world = World()
    world.store.hold = threading.Event()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keep_in_thread, 1, chunks(1, 3))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            world.store.hold.set()
    assert world.here == [1, 2, 3]


async def test_cancelled_before_its_thread_begins_it_is_in_nobodys_hand() -> None:
    world = World()
    batch = world.intake.hold(KEY, 1, memoryview(chunks(1, 3)))
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.intake.keep_in_thread(batch)
    assert world.here == []
    world.keep(1, chunks(1, 3))
    assert world.here == [1, 2, 3]


# --- the list ---


async def test_a_list_is_proved_by_the_content_id() -> None:
    world = World(Store(hashes=None))
    assert world.intake.needs_list
    for wrong in (HASHES[::-1], HASHES[:-32], HASHES + bytes(32), b""):
        with pytest.raises(ChecksumMismatch):
            world.intake.take_list(wrong)
    assert world.intake.needs_list
    world.intake.take_list(HASHES)
    assert not world.intake.needs_list
    assert world.store.hashes == HASHES
    assert world.gains == 1


async def test_another_list_is_wrong_even_if_the_right_one_is_known() -> None:
    world = World()
    world.intake.take_list(HASHES)
    with pytest.raises(ChecksumMismatch):
        world.intake.take_list(HASHES[::-1])
    assert world.gains == 0


async def test_a_disk_that_does_not_take_the_list_ends_everything() -> None:
    world = World(Store(hashes=None, failing={("list", 0): StoreError("gone")}))
    with pytest.raises(StoreError):
        world.intake.take_list(HASHES)
    assert isinstance(world.intake.fatal, StoreError)


async def test_the_content_id_proves_a_single_chunk() -> None:
    body = b"a small file"
    content = Content(b"small", len(body), content_id(len(body), chunk_hash(body)))
    world = World(Store(chunks=ChunkMap(1), hashes=None), content)
    assert not world.intake.needs_list
    with pytest.raises(ChecksumMismatch):
        world.keep(0, b"b small file")
    assert world.store.hashes is None
    world.keep(0, body)
    assert world.store.hashes == chunk_hash(body)
    assert world.here == [0]


# --- the books ---


async def test_sources_say_who_gave_what() -> None:
    world = World()
    world.intake.begin(OTHER)
    world.intake.heard(KEY, 100)
    world.intake.heard(KEY, 11)
    world.intake.blame(OTHER.address, ConnectionLost("cut off"))
    sources = world.intake.sources
    assert (sources[KEY].fetched, sources[KEY].error, sources[KEY].alias) == (111, None, b"holder")
    assert (sources[OTHER.address].fetched, sources[OTHER.address].error) == (0, "cut off")
    assert world.intake.fetched == 111
    world.intake.begin(ENTRY)  # once more
    assert world.intake.sources[KEY].fetched == 111


async def test_the_same_reason_is_no_news_and_a_lie_outlasts_all() -> None:
    intake = World().intake
    assert intake.blame(KEY, ConnectionLost("cut off"))
    assert not intake.blame(KEY, ConnectionLost("cut off"))
    assert intake.blame(KEY, ConnectionLost("reset"))
    assert intake.lied(KEY) is None
    lie = ChecksumMismatch("sent a wrong chunk 1")
    assert intake.blame(KEY, lie)
    assert not intake.blame(KEY, ConnectionLost("closed"))
    assert intake.lied(KEY) is lie
    assert intake.errors == [lie]


async def test_what_is_there_counts_as_resumed() -> None:
    store = Store()
    store.chunks.add_ranges([(1, 2), (5, 5)])
    world = World(store)
    assert world.intake.resumed == world.intake.done == 2 * MIN_CHUNK + 9
    world.keep(0, chunks(0, 0))
    assert world.intake.done == 3 * MIN_CHUNK + 9
    assert world.intake.resumed == 2 * MIN_CHUNK + 9


async def test_progress_is_told_no_more_often_than_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.intake.limits = Limits()
    for index in range(3):
        world.keep(index, chunks(index, index))
    assert len(world.events) == 1
    await trio.sleep(Limits().progress_interval)
    world.keep(3, chunks(3, 3))
    assert len(world.events) == 2
    world.intake.tell(now=True)
    assert len(world.events) == 3


async def test_who_waits_wakes_at_a_time_too(autojump_clock: trio.testing.MockClock) -> None:
    intake = World().intake
    began = trio.current_time()
    await intake.wait_changed(began + 3)
    assert trio.current_time() == began + 3


async def test_bytes_of_a_chunk_that_is_not_whole_are_told_of_now_and_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[Event] = []
    intake = Intake(CONTENT, Store(), Limits(), random.Random(1), lambda: None, told.append)
    for _ in range(100):
        await trio.sleep(0.01)
        intake.comes(100)
    assert 8 <= len(told) <= 11
    assert {event.done for event in told if isinstance(event, TransferProgress)} == {0}
