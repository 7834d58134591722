"""Publishing: the disk's side of a commit."""

import errno
import os
import threading
from pathlib import Path

import pytest
import trio

from osp2p.content.publish import publish, rename_no_replace, sync_data, sync_directory, sync_filesystem


def test_a_name_that_is_taken_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        rename_no_replace(str(tmp_path / "a"), tmp_path / "b")
    assert publish(str(tmp_path / "a"), tmp_path / "b", force=False) == tmp_path / "b~1~"


@pytest.mark.parametrize("forced", [True, False])
def test_a_source_that_is_not_there_is_an_error(tmp_path: Path, forced: bool) -> None:
    with pytest.raises(FileNotFoundError):
        publish(str(tmp_path / "a"), tmp_path / "b", force=forced)


async def test_a_cancelled_sync_closes_only_its_own_descriptor(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    before = len(os.listdir("/proc/self/fd"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await sync_data(fd)
    assert scope.cancelled_caught
    assert len(os.listdir("/proc/self/fd")) == before
    await sync_data(fd)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(fd)


async def test_directories_and_file_systems_are_synced(tmp_path: Path) -> None:
    await sync_directory(tmp_path, 5)
    await sync_filesystem(tmp_path)
    with pytest.raises(FileNotFoundError):
        await sync_directory(tmp_path / "missing", 5)
    with pytest.raises(FileNotFoundError):
        await sync_filesystem(tmp_path / "missing")


class SlowDisk:
    """A disk on which fsync takes until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, fd: int) -> None:
        self.begun.set()
        self.go.wait(10)
        self.ended.set()

    async def let_go_later(self, seconds: float) -> None:
        await trio.to_thread.run_sync(self.begun.wait, 10)
        await trio.sleep(seconds)
        self.go.set()


async def test_a_slow_disk_is_waited_for(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    nursery.start_soon(disk.let_go_later, 0.05)
    await sync_directory(tmp_path, 0.001)
    assert disk.ended.is_set()


@pytest.mark.parametrize(("patience", "ended"), [(10.0, True), (0.01, False)])
async def test_a_cancelled_commit_waits_for_its_directory_but_not_for_ever(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, patience: float, ended: bool
) -> None:
    disk = SlowDisk(monkeypatch)
    if ended:
        nursery.start_soon(disk.let_go_later, 0.05)
    with trio.CancelScope() as scope:
        nursery.start_soon(_cancel_when_begun, disk, scope)
        await sync_directory(tmp_path, patience)
    assert scope.cancelled_caught
    assert disk.ended.is_set() == ended
    disk.go.set()


async def test_a_commit_that_is_cancelled_before_has_its_directory_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    disk.go.set()
    with trio.CancelScope() as scope:
        scope.cancel()
        await sync_directory(tmp_path, 10)
    assert scope.cancelled_caught
    assert disk.ended.is_set()


async def _cancel_when_begun(disk: SlowDisk, scope: trio.CancelScope) -> None:
    await trio.to_thread.run_sync(disk.begun.wait, 10)
    scope.cancel()


async def test_a_failed_sync_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with (tmp_path / "a").open("wb") as file, pytest.raises(OSError, match="Input/output"):
        await sync_data(file.fileno())
