"""The chunk store: what it says is proved is on the disk, after a kill, a power failure, and another boot too."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from osp2p.content import chunk_store
from osp2p.content.chunk_store import Partial, open_chunks, read_partial
from osp2p.content.chunks import MIN_CHUNK, chunk_bounds
from osp2p.content.digest import Cancelled
from osp2p.content.journal import JournalWriter
from osp2p.content.store import open_target
from osp2p.errors import (
    ContentChanged,
    DiskFull,
    StoreError,
    TargetLocked,
)
from tests.content.partials import (
    FIVE,
    LIMITS,
    OTHER,
    OTHER_BOOT,
    Content,
    everything,
    fetch,
    journal_path,
    open_content,
    partial_path,
)


@contextmanager
def hashing_forbidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(chunk_store, "_is_proved", lambda *arguments: pytest.fail("hashed again"))
        yield


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


def lose(target: Path, index: int) -> None:
    """Let a disk lose a chunk."""
    offset, length = chunk_bounds(FIVE.size, index)
    with partial_path(target).open("r+b") as file:
        os.pwrite(file.fileno(), bytes(length), offset)


async def commit_failing(target: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have all of a file, on a disk that says that it did not take it."""

    def fdatasync(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, open_target(target, LIMITS) as opened:
        patch.setattr(os, "fdatasync", fdatasync)
        store = await open_content(opened, FIVE)
        store.set_hashes(FIVE.hashes)
        for index in range(5):
            store.put(index, FIVE.chunk(index))
        with pytest.raises(StoreError):
            await store.commit()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_what_a_disk_did_not_take_is_not_believed_when_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    target = tmp_path / "a"
    await commit_failing(target, monkeypatch, number)
    lose(target, 2)
    with open_target(target, LIMITS) as opened:
        assert read_partial(opened) == Partial(FIVE.size, FIVE.b3, FIVE.size)
        store = await open_content(opened, FIVE)
        assert list(store.chunks) == [0, 1, 3, 4]
        store.put(2, FIVE.chunk(2))
        await store.commit()
    assert target.read_bytes() == FIVE.data
    assert everything(tmp_path) == ["a"]


async def test_where_not_even_that_can_be_written_nothing_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(source: str, target: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "rename", rename)
    await commit_failing(tmp_path / "a", monkeypatch, errno.EIO)
    monkeypatch.undo()
    with open_target(tmp_path / "a", LIMITS) as opened:
        assert read_partial(opened) is None
    assert everything(tmp_path) == []


async def test_who_did_not_hear_what_the_disk_says_hashes_again(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with open_target(target, LIMITS) as opened:
        store = await open_content(opened, FIVE)
        store.set_hashes(FIVE.hashes)
        for index in range(5):
            store.put(index, FIVE.chunk(index))
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.commit()
    assert scope.cancelled_caught
    assert not target.exists()
    lose(target, 4)
    with open_target(target, LIMITS) as opened:
        assert list((await open_content(opened, FIVE)).chunks) == [0, 1, 2, 3]


async def test_another_content_takes_nothing_over_from_one_that_could_not_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, header: object) -> JournalWriter:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    small = Content(1000)
    with open_target(tmp_path / "a", LIMITS) as opened:
        store = await open_content(opened, FIVE)
        store.set_hashes(FIVE.hashes)
        with monkeypatch.context() as patch, pytest.raises(DiskFull):
            patch.setattr(JournalWriter, "begin", full)
            store.put(4, FIVE.chunk(4))
        store = await open_content(opened, small)
        store.put(0, small.data)
        await store.commit()
    assert (tmp_path / "a").read_bytes() == small.data


async def test_who_reads_chunks_that_are_thrown_away_reads_what_they_were(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as opened:
        store = await open_content(opened, FIVE)
        store.set_hashes(FIVE.hashes)
        store.put(0, FIVE.chunk(0))
        served = store.open_served()
        store = await open_content(opened, OTHER, start_anew=True)
        store.set_hashes(OTHER.hashes)
        store.put(0, OTHER.chunk(0))
        assert os.pread(served, MIN_CHUNK, 0) == FIVE.chunk(0)
        os.close(served)
        for index in range(1, 5):
            store.put(index, OTHER.chunk(index))
        store.discard()
        with pytest.raises(StoreError):
            store.open_served()
        with pytest.raises(TargetLocked), open_target(tmp_path / "a", LIMITS):
            raise AssertionError("the file that took the place of the locked one is locked, too")
    assert everything(tmp_path) == []


@pytest.mark.parametrize("length", [FIVE.size + 1, FIVE.size - 1])
async def test_a_partial_file_of_another_length_gets_no_final_name(tmp_path: Path, length: int) -> None:
    target = tmp_path / "a"
    with open_target(target, LIMITS) as opened:
        store = await open_content(opened, FIVE)
        store.set_hashes(FIVE.hashes)
        for index in range(5):
            store.put(index, FIVE.chunk(index))
        os.truncate(partial_path(target), length)
        with pytest.raises(StoreError, match="another program"):
            await store.commit()
    with open_target(target, LIMITS) as opened:
        store = await open_content(opened, FIVE)
        for index in store.chunks.missing():
            store.put(index, FIVE.chunk(index))
        await store.commit()
    assert target.read_bytes() == FIVE.data
