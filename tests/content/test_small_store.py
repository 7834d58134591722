"""Small files: written in one step, or refused without a trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from osp2p.content.name import partial_name
from osp2p.content.small_store import SmallStore
from osp2p.limits import Limits

LIMITS = Limits(disk_reserve=0)
BODY = memoryview(b"some bytes")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SmallStore]:
    store = SmallStore(LIMITS, tmp_path / "into")
    yield store
    store.close()


def below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_directories_are_made_when_something_is_put_into_them(store: SmallStore, tmp_path: Path) -> None:
    target = tmp_path / "into" / "a" / "b" / "file"
    assert store.is_free(target)
    assert store.is_free(target)
    assert below(tmp_path) == []
    assert store.put(target, BODY)
    assert target.read_bytes() == BODY
    assert below(tmp_path) == ["into", "into/a", "into/a/b", "into/a/b/file"]
    assert store.places == {os.stat(tmp_path).st_dev: target.parent}


def test_a_file_system_that_is_written_to_is_known_also_where_the_directory_was_there(
    store: SmallStore, tmp_path: Path
) -> None:
    target = tmp_path / "into" / "file"
    target.parent.mkdir()
    assert store.is_free(target)
    assert store.places == {}
    assert store.put(target, BODY)
    assert store.places == {os.stat(tmp_path).st_dev: target.parent}


def test_a_taken_name_is_refused_and_left_alone(store: SmallStore, tmp_path: Path) -> None:
    target = tmp_path / "into" / "file"
    assert store.put(target, BODY)
    assert not store.is_free(target)
    assert not store.put(target, memoryview(b"other"))
    assert target.read_bytes() == BODY
    later = tmp_path / "into" / "later"
    assert store.is_free(later)
    later.symlink_to("nowhere")  # behind the store's back
    assert not store.put(later, BODY)
    assert later.is_symlink()
    assert below(tmp_path / "into") == ["file", "later"]


def test_what_an_earlier_fetch_has_begun_is_for_the_store_that_resumes(store: SmallStore, tmp_path: Path) -> None:
    directory = tmp_path / "into"
    directory.mkdir()
    (directory / os.fsdecode(partial_name(b"file"))).touch()
    assert not store.is_free(directory / "file")
    assert store.is_free(directory / "file2")


def test_no_link_on_the_way_is_followed(store: SmallStore, tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "into" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "into" / "file").touch()
    for way in ("link/x", "file/x", "../elsewhere/x", "a/../../elsewhere/x"):
        target = tmp_path / "into" / way
        assert not store.put(target, BODY), way
    assert not store.is_free(tmp_path / "into" / "link" / "x")
    assert below(tmp_path / "elsewhere") == []


def test_a_directory_that_is_replaced_by_a_link_leads_nowhere_else(store: SmallStore, tmp_path: Path) -> None:
    directory = tmp_path / "into" / "a"
    assert store.put(directory / "one", BODY)
    directory.rename(tmp_path / "moved")
    directory.symlink_to("/")
    assert store.put(directory / "two", BODY)
    assert below(tmp_path / "moved") == ["one", "two"]


def test_relative_paths_are_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SmallStore(LIMITS, Path("."))
    assert store.put(Path("file"), BODY)
    assert store.put(Path("a/file"), BODY)
    assert not store.put(Path("/tmp/file-elsewhere"), BODY)
    store.close()
    assert below(tmp_path) == ["a", "a/file", "file"]


def test_without_a_directory_to_stay_in_none_is_made(tmp_path: Path) -> None:
    store = SmallStore(LIMITS, None)
    assert store.put(tmp_path / "file", BODY)
    assert not store.is_free(tmp_path / "a" / "file")
    assert not store.put(tmp_path / "a" / "file", BODY)
    store.close()
    assert below(tmp_path) == ["file"]


def test_a_disk_without_room_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SmallStore(LIMITS, tmp_path)
    monkeypatch.setattr(os, "fstatvfs", lambda fd: os.statvfs_result((4096, 4096, 100, 0, 0, 0, 0, 0, 0, 255)))
    assert not store.put(tmp_path / "file", BODY)
    store.close()
    assert below(tmp_path) == []


def test_a_failed_write_leaves_nothing(store: SmallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: memoryview, offset: int) -> int:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert not store.put(tmp_path / "into" / "file", BODY)
    assert below(tmp_path / "into") == []
    assert store.put(tmp_path / "into" / "file", BODY)


def test_few_directories_are_open_at_a_time(store: SmallStore, tmp_path: Path) -> None:
    before = descriptors()
    for number in range(200):
        assert store.put(tmp_path / "into" / str(number) / "file", BODY)
    assert descriptors() - before < 100
    assert not store.is_free(tmp_path / "into" / "0" / "file")
    store.close()
    assert descriptors() == before
