"""The chunk store: chunks in any order become the file, and a full disk leaves what is proved."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from osp2p.content.chunk_store import open_chunks
from osp2p.content.chunks import HASH_LENGTH, MIN_CHUNK, chunk_bounds, chunk_count, chunk_hash, content_id
from osp2p.content.store import open_target
from osp2p.errors import (
    ChecksumMismatch,
    DiskFull,
    LocalProtocolError,
    StoreError,
    TooLarge,
)
from tests.content.partials import (
    FIVE,
    LIMITS,
    OTHER,
    Content,
    everything,
    fetch,
    journal_path,
    open_content,
)


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
