"""Publishing: the disk's side of a commit."""

import errno
import os
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


async def test_a_failed_sync_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with (tmp_path / "a").open("wb") as file, pytest.raises(OSError, match="Input/output"):
        await sync_data(file.fileno())
