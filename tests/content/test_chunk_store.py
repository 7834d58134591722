"""The chunk store: what it says is proved is on the disk, after a kill, a power failure, and a full disk too."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from osp2p.content import chunk_store
from osp2p.content.chunk_store import ChunkStore, Partial, open_chunks, read_partial
from osp2p.content.chunks import HASH_LENGTH, MIN_CHUNK, chunk_bounds, chunk_count, chunk_hash, content_id
from osp2p.content.digest import Cancelled
from osp2p.content.name import journal_name, partial_name
from osp2p.content.store import Target, open_target
from osp2p.errors import (
    ChecksumMismatch,
    ContentChanged,
    DiskFull,
    LocalProtocolError,
    StoreError,
    TargetLocked,
    TooLarge,
)
from osp2p.limits import Limits

LIMITS = replace(Limits(), disk_reserve=0)
BOOT, OTHER_BOOT = b"1" * 16, b"2" * 16


def partial_path(target: Path, number: int = 0) -> Path:
    return target.with_name(os.fsdecode(partial_name(os.fsencode(target.name), number)))


def journal_path(target: Path) -> Path:
    return target.with_name(os.fsdecode(journal_name(os.fsencode(target.name))))


class Content:
    """Some bytes, and what proves them."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.data = bytes((seed + number) % 256 for number in range(251)) * (size // 251 + 1)
        self.data = self.data[:size]
        self.hashes = b"".join(chunk_hash(self.chunk(index)) for index in range(chunk_count(size)))
        self.b3 = content_id(size, self.hashes)

    def chunk(self, index: int) -> bytes:
        offset, length = chunk_bounds(self.size, index)
        return self.data[offset : offset + length]


FIVE = Content(5 * MIN_CHUNK - 7)
OTHER = Content(5 * MIN_CHUNK - 7, seed=1)


async def open_content(target: Target, content: Content, *, boot: bytes = BOOT, start_anew: bool = False) -> ChunkStore:
    return await open_chunks(target, content.size, content.b3, boot=boot, start_anew=start_anew)


async def fetch(path: Path, indexes: list[int], content: Content = FIVE, *, boot: bytes = BOOT) -> None:
    """Fetch some chunks and stop."""
    with open_target(path, LIMITS) as target:
        store = await open_content(target, content, boot=boot)
        store.set_hashes(content.hashes)
        for index in indexes:
            store.put(index, content.chunk(index))


@contextmanager
def hashing_forbidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(chunk_store, "_is_proved", lambda *arguments: pytest.fail("hashed again"))
        yield


def everything(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_chunks_in_any_order_make_the_file(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        assert (store.done, store.resumed, store.hashes) == (0, 0, None)
        store.set_hashes(FIVE.hashes)
        for index in (4, 0, 2, 1, 2):
            store.put(index, memoryview(FIVE.chunk(index)))
            offset, length = chunk_bounds(FIVE.size, index)
            assert os.pread(store.fd, length, offset) == FIVE.chunk(index), "a proved chunk can be served at once"
        assert list(store.chunks.missing()) == [3]
        assert store.done == FIVE.size - MIN_CHUNK
        with pytest.raises(LocalProtocolError):
            await store.commit()
        assert all(name.startswith(".") for name in everything(tmp_path))
        store.put(3, FIVE.chunk(3))
        assert await store.commit() == tmp_path / "a"
        assert everything(tmp_path) == ["a"], "no journal stays while the file is served on"
        assert os.pread(store.fd, 10, 0) == FIVE.data[:10]
    assert everything(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == FIVE.data


@pytest.mark.parametrize("size", [0, 1, MIN_CHUNK])
async def test_a_small_file_needs_no_journal(tmp_path: Path, size: int) -> None:
    content = Content(size)
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, content)
        for index in range(chunk_count(size)):
            store.put(index, content.chunk(index))
        assert not journal_path(tmp_path / "a").exists()
        await store.commit(sync=False)
    assert (tmp_path / "a").read_bytes() == content.data
    assert everything(tmp_path) == ["a"]


async def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"precious")
    for force, expected in ((False, "a~1~"), (True, "a")):
        with open_target(tmp_path / "a", LIMITS) as target:
            store = await open_content(target, FIVE)
            for index in range(5):
                store.put(index, FIVE.chunk(index))
            assert await store.commit(force=force) == tmp_path / expected
    assert (tmp_path / "a~1~").read_bytes() == FIVE.data
    assert everything(tmp_path) == ["a", "a~1~"]


async def test_chunks_in_a_row_are_written_at_once(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        store.write_run(3, memoryview(FIVE.data)[3 * MIN_CHUNK :])
        assert list(store.chunks) == []
        store.mark_proved(3, 4)
        store.mark_proved(3, 4)
        store.write_run(1, FIVE.chunk(1))
        store.mark_proved(1, 1)
        assert list(store.chunks) == [1, 3, 4]
        for first, data in ((0, FIVE.data[: 2 * MIN_CHUNK]), (0, b"x"), (2, FIVE.data[: MIN_CHUNK + 1]), (4, b"x" * 9)):
            with pytest.raises(LocalProtocolError):
                store.write_run(first, data)
    await fetch(tmp_path / "a", [0, 2])
    with open_target(tmp_path / "a", LIMITS) as target:
        await (await open_content(target, FIVE)).commit()
    assert (tmp_path / "a").read_bytes() == FIVE.data


async def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        for index, data in ((0, b""), (0, bytes(MIN_CHUNK + 1)), (4, bytes(MIN_CHUNK))):
            with pytest.raises(LocalProtocolError):
                store.put(index, data)
        for hashes in (OTHER.hashes, FIVE.hashes[:-32], b""):
            with pytest.raises(ChecksumMismatch):
                store.set_hashes(hashes)
        with pytest.raises(IndexError):
            store.put(5, b"")


# --- resuming ---


async def test_an_interrupted_fetch_is_resumed_without_hashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fetch(tmp_path / "a", [1, 4])
    assert everything(tmp_path) == [journal_path(tmp_path / "a").name, partial_path(tmp_path / "a").name]
    with hashing_forbidden(monkeypatch), open_target(tmp_path / "a", LIMITS) as target:
        assert read_partial(target) == Partial(FIVE.size, FIVE.b3, 2 * MIN_CHUNK - 7)
        store = await open_content(target, FIVE)
        assert list(store.chunks) == [1, 4]
        assert store.resumed == store.done == 2 * MIN_CHUNK - 7
        assert store.hashes == FIVE.hashes, "nor is the list fetched again"
        for index in store.chunks.missing():
            store.put(index, FIVE.chunk(index))
        await store.commit()
    assert (tmp_path / "a").read_bytes() == FIVE.data
    assert everything(tmp_path) == ["a"]


async def test_the_list_may_come_late(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        store.put(0, FIVE.chunk(0))
        store.set_hashes(FIVE.hashes)
        store.set_hashes(FIVE.hashes)
        store.put(1, FIVE.chunk(1))
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        assert store.hashes == FIVE.hashes
        assert list(store.chunks) == [0, 1]


async def test_a_fetch_that_proved_nothing_leaves_nothing(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [])
    assert everything(tmp_path) == []


async def test_what_is_thrown_away_is_gone(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [1])
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        store.discard()
        store = await open_content(target, FIVE)
        assert store.done == 0
    assert everything(tmp_path) == []


async def test_a_base_transfer_beside_a_resumable_one(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [1])
    with open_target(tmp_path / "a", LIMITS) as target:
        target.new_part().write_at(0, b"given up")
    with open_target(tmp_path / "a", LIMITS) as target:
        assert read_partial(target) is not None
        part = target.new_part()
        part.write_at(0, FIVE.data)
        await part.commit()
    assert everything(tmp_path) == ["a"], "what could be resumed is of no use any more"


async def test_a_fetch_that_is_served_on_leaves_the_next_one_alone(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        for index in range(5):
            store.put(index, FIVE.chunk(index))
        await store.commit()
        await fetch(tmp_path / "a", [0, 1], OTHER)
        assert os.pread(store.fd, 10, 0) == FIVE.data[:10]
    with open_target(tmp_path / "a", LIMITS) as target:
        assert len((await open_content(target, OTHER)).chunks) == 2


async def test_a_store_that_is_opened_again_goes_on(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        store.put(0, FIVE.chunk(0))
        store.close()
        store = await open_content(target, FIVE)
        assert list(store.chunks) == [0]
        with pytest.raises(ContentChanged):
            await open_content(target, OTHER)


async def test_a_killed_fetch_loses_no_proved_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = textwrap.dedent(
        """
        import os, sys, time, trio
        from pathlib import Path
        from osp2p.content.chunk_store import open_chunks
        from osp2p.content.chunks import MIN_CHUNK
        from osp2p.content.store import open_target
        from osp2p.limits import Limits
        async def main():
            with open_target(Path(sys.argv[1]), Limits(disk_reserve=0)) as target:
                store = await open_chunks(target, 5 * MIN_CHUNK - 7, bytes.fromhex(sys.argv[2]))
                for index in (3, 0, 4):
                    store.put(index, sys.stdin.buffer.read(store.size - 4 * MIN_CHUNK if index == 4 else MIN_CHUNK))
                os.pwrite(store.fd, b"not proved", MIN_CHUNK)
                print("ready", flush=True)
                time.sleep(60)
        trio.run(main)
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a"), FIVE.b3.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(FIVE.chunk(3) + FIVE.chunk(0) + FIVE.chunk(4))
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(TargetLocked), open_target(tmp_path / "a", LIMITS):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with hashing_forbidden(monkeypatch), open_target(tmp_path / "a", LIMITS) as target:
        store = await open_chunks(target, FIVE.size, FIVE.b3)
        assert list(store.chunks) == [0, 3, 4]
        for index in (1, 2):
            store.put(index, FIVE.chunk(index))
        await store.commit()
    assert (tmp_path / "a").read_bytes() == FIVE.data


async def test_after_another_boot_only_what_hashes_right_is_believed(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [0, 1, 2, 4])
    with partial_path(tmp_path / "a").open("r+b") as file:
        file.seek(MIN_CHUNK + 5)
        file.write(b"the disk lost this")
    os.truncate(partial_path(tmp_path / "a"), 4 * MIN_CHUNK + 1)
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE, boot=OTHER_BOOT)
        assert list(store.chunks) == [0, 2]
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE, boot=OTHER_BOOT)
        assert list(store.chunks) == [0, 2]
        assert store.hashes == FIVE.hashes
        for index in (1, 3, 4):
            store.put(index, FIVE.chunk(index))
        await store.commit()
    assert (tmp_path / "a").read_bytes() == FIVE.data
    assert everything(tmp_path) == ["a"]


async def test_it_is_hashed_once_for_each_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fetch(tmp_path / "a", [0, 1])
    await fetch(tmp_path / "a", [2], boot=OTHER_BOOT)
    with hashing_forbidden(monkeypatch), open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE, boot=OTHER_BOOT)
        assert list(store.chunks) == [0, 1, 2]


async def test_after_another_boot_nothing_is_believed_without_the_list(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        store.put(0, FIVE.chunk(0))
    with open_target(tmp_path / "a", LIMITS) as target:
        assert (await open_content(target, FIVE, boot=OTHER_BOOT)).done == 0
    assert everything(tmp_path) == []


async def test_a_cancelled_hashing_leaves_all_as_it_was(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [0, 1, 2])
    with open_target(tmp_path / "a", LIMITS) as target:
        with trio.CancelScope() as scope:
            scope.cancel()
            await open_content(target, FIVE, boot=OTHER_BOOT)
        assert scope.cancelled_caught
    with open_target(tmp_path / "a", LIMITS) as target:
        assert len((await open_content(target, FIVE)).chunks) == 3


async def test_the_flag_ends_the_hashing(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [0])
    flag = threading.Event()
    flag.set()
    with pytest.raises(Cancelled):
        chunk_store._proved_among(str(partial_path(tmp_path / "a")), FIVE.size, FIVE.hashes, [0], flag)


async def test_another_content_is_noticed_and_not_spliced(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [0, 1])
    for content in (OTHER, Content(FIVE.size + 1)):
        with open_target(tmp_path / "a", LIMITS) as target, pytest.raises(ContentChanged, match="another content"):
            await open_content(target, content)
    with open_target(tmp_path / "a", LIMITS) as target:
        assert (await open_content(target, FIVE)).done == 2 * MIN_CHUNK, "it was kept"
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, OTHER, start_anew=True)
        assert store.done == store.resumed == 0
        for index in range(5):
            store.put(index, OTHER.chunk(index))
        await store.commit()
    assert (tmp_path / "a").read_bytes() == OTHER.data


async def test_a_journal_of_another_partial_file_counts_for_nothing(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [0, 1])
    shutil.copy(partial_path(tmp_path / "a"), tmp_path / "copy")
    (tmp_path / "copy").rename(partial_path(tmp_path / "a"))
    with open_target(tmp_path / "a", LIMITS) as target:
        assert read_partial(target) is None
        assert (await open_content(target, FIVE)).done == 0
    assert everything(tmp_path) == []


async def test_a_partial_file_without_its_journal_counts_for_nothing(tmp_path: Path) -> None:
    await fetch(tmp_path / "a", [0, 1])
    journal_path(tmp_path / "a").unlink()
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        assert store.done == 0
        assert os.fstat(store.fd).st_size == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), max_size=5, unique=True),
    st.integers(0, 400),
    st.binary(max_size=30),
    st.booleans(),
)
def test_whatever_happens_to_the_journal_no_wrong_byte_is_believed(
    indexes: list[int], at: int, garbage: bytes, cut: bool
) -> None:
    async def run(path: Path) -> None:
        await fetch(path, indexes)
        journal = journal_path(path)
        if journal.exists():
            data = journal.read_bytes()
            journal.write_bytes(data[:at] + garbage + (b"" if cut else data[at + len(garbage) :]))
        with open_target(path, LIMITS) as target:
            try:
                store = await open_content(target, FIVE)
            except ContentChanged:
                pytest.fail("a damaged header looks like another content")
            assert set(store.chunks) <= set(indexes)
            for index in store.chunks:
                offset, length = chunk_bounds(FIVE.size, index)
                assert os.pread(store.fd, length, offset) == FIVE.chunk(index)
            for index in list(store.chunks.missing()):
                store.put(index, FIVE.chunk(index))
            await store.commit(sync=False)
        assert path.read_bytes() == FIVE.data
        assert everything(path.parent) == ["a"]

    with tempfile.TemporaryDirectory() as directory:
        trio.run(run, Path(directory) / "a")


# --- a full disk ---


async def test_a_file_that_does_not_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osp2p.content.store._RESERVE_SHARE", 1)
    with open_target(tmp_path / "a", replace(LIMITS, max_size=FIVE.size - 1)) as target, pytest.raises(TooLarge):
        await open_content(target, FIVE)
    with open_target(tmp_path / "a", replace(LIMITS, disk_reserve=1 << 60)) as target, pytest.raises(DiskFull):
        await open_content(target, FIVE)
    assert everything(tmp_path) == []


async def test_a_disk_that_fills_up_leaves_what_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if offset >= 2 * MIN_CHUNK:
            raise OSError(28, "No space left on device")
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFull, match="no space left"):
        await fetch(tmp_path / "a", [0, 1, 2, 3, 4])
    monkeypatch.undo()
    assert not (tmp_path / "a").exists()
    with open_target(tmp_path / "a", LIMITS) as target:
        assert list((await open_content(target, FIVE)).chunks) == [0, 1]


async def test_a_journal_that_cannot_be_written_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        journal_path(tmp_path / "a").mkdir()
        with pytest.raises(StoreError):
            store.put(0, FIVE.chunk(0))
        assert 0 not in store.chunks
        journal_path(tmp_path / "a").rmdir()
    before = len(os.listdir("/proc/self/fd"))
    await fetch(tmp_path / "a", [0])
    assert len(os.listdir("/proc/self/fd")) == before, "every descriptor is closed"


async def test_a_disk_that_is_full_behind_the_journals_header_costs_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    before = len(os.listdir("/proc/self/fd"))
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        store.set_hashes(FIVE.hashes)

        def full(fd: int, data: bytes, offset: int) -> int:
            if fd != store.fd and offset:
                raise OSError(28, "No space left on device")
            return pwrite(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", full)
        for index in range(3):  # as several holders bring chunks at a time
            with pytest.raises(DiskFull):
                store.put(index, FIVE.chunk(index))
        monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == []


async def test_who_serves_a_partial_file_has_a_descriptor_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        store.put(0, FIVE.chunk(0))
        fd = store.open_served()
    try:
        assert os.pread(fd, MIN_CHUNK, 0) == FIVE.chunk(0)
    finally:
        os.close(fd)

    def none_left(fd: int) -> int:
        raise OSError(24, "Too many open files")

    with open_target(tmp_path / "a", LIMITS) as target:
        store = await open_content(target, FIVE)
        monkeypatch.setattr(os, "dup", none_left)
        with pytest.raises(StoreError, match="too many open files"):
            store.open_served()
        monkeypatch.undo()


async def test_chunks_are_written_fast_enough(tmp_path: Path) -> None:
    """The journal's part of a put, measured as chunks of no weight: it must not be what bounds a fetch."""
    path = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    target_path = path / f"osp2p-test-{os.getpid()}"
    content = b"x" * MIN_CHUNK
    size = 400 * MIN_CHUNK
    hashes = chunk_hash(content) * 400
    assert len(hashes) == 400 * HASH_LENGTH
    with open_target(target_path, LIMITS) as target:
        store = await open_chunks(target, size, content_id(size, hashes))
        began = time.perf_counter()
        for index in range(400):
            store.put(index, content)
        seconds = time.perf_counter() - began
        store.discard()
    assert seconds < 1, "100 MiB: 0.05 s on an idle machine"
