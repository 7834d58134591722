"""Files that come and go beside those that are shared, or while they are hashed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from osp2p.content.cache import HashCache
from osp2p.content.digest import FileDigest, digest_file
from osp2p.limits import Limits
from osp2p.peer import library as library_module
from osp2p.peer.events import Event
from osp2p.peer.library import Library, open_library

FILES = 200


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[HashCache]:
    with closing(HashCache(tmp_path / "cache")) as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def write(path: Path) -> None:
    """Make a file, as old as files usually are."""
    path.write_bytes(b"content")
    os.utime(path, (1_000_000_000, 1_000_000_000))


async def until(library: Library, condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await library.next_changes()


def is_digested(library: Library, name: bytes) -> bool:
    return name in library.files and library.files[name].digests is not None


async def test_what_comes_and_goes_costs_nothing_of_what_stays(
    root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "sub").mkdir()
    for number in range(FILES):
        write(root / "sub" / f"f{number}")
    looked_at: list[bytes] = []
    is_in = library_module._is_in

    def counting(name: bytes, places: Iterable[bytes]) -> bool:
        looked_at.append(name)
        return is_in(name, set(places))

    async with open_library(root, cache, Limits(), lambda event: None) as library:
        await until(library, lambda: all(file.digests for file in library.files.values()))
        monkeypatch.setattr(library_module, "_is_in", counting)
        for number in range(3):
            (root / "sub" / "temporary").write_bytes(b"for a moment")
            (root / "sub" / "temporary").unlink()
            (root / "sub" / f"f{number}").unlink()
            await until(library, lambda left=FILES - 1 - number: len(library.files) == left)  # type: ignore[misc]
        assert len(looked_at) < FILES
        (root / "sub").rename(root / ".sub")
        await until(library, lambda: not library.files)
        (root / ".sub").rename(root / "sub")
        await until(library, lambda: len(library.files) == FILES - 3)


class Away:
    """Takes a file away when it is hashed for the first time; `back` brings it back."""

    def __init__(self, path: Path, *, briefly: bool) -> None:
        self.path = path
        self.hidden = path.with_name(".hidden")
        self.briefly = briefly
        self.calls = 0

    def back(self) -> None:
        self.hidden.rename(self.path)

    def digest_file(self, path: bytes, *arguments: object) -> FileDigest:
        self.calls += 1
        if self.calls > 1:
            return digest_file(path, *arguments)  # type: ignore[arg-type]
        self.path.rename(self.hidden)
        try:
            return digest_file(path, *arguments)  # type: ignore[arg-type]
        finally:
            if self.briefly:
                self.back()


@pytest.mark.parametrize("briefly", [True, False])
async def test_a_file_that_is_away_while_it_is_hashed_is_shared_when_it_is_back(
    root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch, briefly: bool
) -> None:
    write(root / "a")
    away = Away(root / "a", briefly=briefly)
    monkeypatch.setattr(library_module, "digest_file", away.digest_file)
    events: list[Event] = []
    async with open_library(root, cache, Limits(), events.append) as library:
        if not briefly:
            await until(library, lambda: not library.files)
            away.back()
        await until(library, lambda: is_digested(library, b"a"))
    assert events == []
