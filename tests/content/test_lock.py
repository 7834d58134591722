"""Locks: one holder, whatever happens to the file meanwhile, and no way out of a directory."""

import fcntl
import os
from pathlib import Path

import pytest

from osp2p.content import lock
from osp2p.content.lock import check_way, make_parents, open_locked
from osp2p.errors import TargetLocked, UnsafeName


def test_a_lock_that_was_won_on_a_removed_file_is_worth_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder removes the file, and unlocks, between another's open and flock."""
    partial = str(tmp_path / "partial")
    first, fresh = open_locked(partial, tmp_path / "a")
    assert fresh
    flock = fcntl.flock

    def late(fd: int, operation: int) -> None:
        if os.fstat(fd).st_ino == os.fstat(first).st_ino:
            os.unlink(partial)
            flock(first, fcntl.LOCK_UN)
        flock(fd, operation)

    monkeypatch.setattr(lock.fcntl, "flock", late)  # type: ignore[attr-defined]
    second, fresh = open_locked(partial, tmp_path / "a")
    assert fresh, "it made a file of its own"
    assert os.path.samestat(os.fstat(second), os.lstat(partial))
    os.close(first)
    os.close(second)


def test_the_file_stays_while_the_lock_goes_round(tmp_path: Path) -> None:
    partial = str(tmp_path / "partial")
    first, _ = open_locked(partial, tmp_path / "a")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TargetLocked):
        open_locked(partial, tmp_path / "a")
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(first)
    second, fresh = open_locked(partial, tmp_path / "a")
    assert not fresh
    os.close(second)


def test_a_missing_directory_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_locked(str(tmp_path / "missing" / "partial"), tmp_path / "missing" / "a")
    assert make_parents(tmp_path / "one" / "two" / "a") == [tmp_path / "one", tmp_path / "one" / "two"]
    assert make_parents(tmp_path / "one" / "two" / "a") == []


@pytest.mark.parametrize("name", ["a", "sub/a", "sub/missing/deeper/a", "missing/a"])
def test_ways_that_stay_inside(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    check_way(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["link/a", "link/deeper/a", "file/a", "sub/../a", "..", "../a", "."])
def test_ways_that_lead_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("sub")
    with pytest.raises(UnsafeName):
        check_way(tmp_path / name, tmp_path)
    with pytest.raises(UnsafeName):
        check_way(Path("/elsewhere/a"), tmp_path)
