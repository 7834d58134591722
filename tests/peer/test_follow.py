"""Following: each look brings what changed since the one before, and no more is looked at than that."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from osp2p.errors import StoreError
from osp2p.limits import Limits
from osp2p.peer import follow
from osp2p.peer.follow import Follower, Look
from osp2p.peer.watch import Inotify, WatchLimit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
async def follower(root: Path) -> AsyncIterator[Follower]:
    opened = Follower(os.fsencode(root), Limits(), ())
    await opened.first_look({})
    yield opened
    opened.close()


async def look(follower: Follower, *moving: bytes) -> Look:
    """The next look that brings anything."""
    with trio.fail_after(5):
        while True:
            seen = await follower.next_look(moving)
            if seen.found.files or seen.found.gone or seen.found.trees:
                return seen


async def test_a_look_brings_what_was_touched_and_no_more(follower: Follower, root: Path) -> None:
    for name in "abc":
        (root / name).write_bytes(b"")
    await look(follower)
    (root / "b").write_bytes(b"changed")
    seen = await look(follower)
    assert list(seen.found.files) == [b"b"]
    assert seen.finished == {b"b"}
    (root / "c").unlink()
    assert (await look(follower)).found.gone == {b"c"}


async def test_a_moving_file_is_looked_at_without_being_touched(follower: Follower, root: Path) -> None:
    (root / "a").write_bytes(b"")
    await look(follower)
    seen = await look(follower, b"a")
    assert list(seen.found.files) == [b"a"]
    assert seen.finished == set()


async def test_hidden_files_bring_nothing(follower: Follower, root: Path) -> None:
    (root / ".hidden").write_bytes(b"")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(b"")
    seen = await follower.next_look([])
    assert not seen.found.files
    assert not seen.found.gone
    (root / "visible").write_bytes(b"")
    assert list((await look(follower)).found.files) == [b"visible"]


async def test_many_changes_come_as_few_looks(follower: Follower, root: Path) -> None:
    looks = 0
    seen: set[bytes] = set()
    for number in range(200):
        (root / f"{number}").write_bytes(b"")
    while len(seen) < 200:
        seen |= set((await look(follower)).found.files)
        looks += 1
    assert looks <= 3


async def test_a_link_is_looked_at_when_its_target_changes(follower: Follower, root: Path) -> None:
    (root / ".store").mkdir()
    (root / ".store" / "x").write_bytes(b"")
    (root / "link").symlink_to(".store/x")
    assert list((await look(follower)).found.files) == [b"link"]
    (root / ".store" / "x").write_bytes(b"changed")
    assert (await look(follower)).found.files[b"link"].size == 7
    (root / "link").unlink()
    assert (await look(follower)).found.gone == {b"link"}
    (root / ".store" / "x").write_bytes(b"nobody looks here any more")
    (root / "a").write_bytes(b"")
    assert list((await look(follower)).found.files) == [b"a"]


async def test_single_files_are_followed_without_a_directory(tmp_path: Path) -> None:
    follower = Follower(None, Limits(), ())
    assert not (await follower.first_look({})).files
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert (await follower.add_single(b"name", os.fsencode(path))).size == 3
    path.write_bytes(b"other")
    assert (await look(follower)).found.files[b"name"].size == 5
    path.unlink()
    assert (await look(follower)).found.gone == {b"name"}
    with pytest.raises(StoreError):
        await follower.add_single(b"directory", os.fsencode(tmp_path))
    follower.close()


async def test_without_watches_everything_is_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(self: Inotify, directory: bytes) -> None:
        raise WatchLimit("no more")

    monkeypatch.setattr(Inotify, "add", add)
    monkeypatch.setattr("osp2p.peer.watch._POLL_INTERVAL", 0.05)
    monkeypatch.setattr(follow, "_GATHER", 0.01)
    follower = Follower(os.fsencode(root), Limits(), ())
    await follower.first_look({})
    assert follower.polling_because == "no more"
    (root / "a").write_bytes(b"")
    seen = await look(follower)
    assert seen.found.trees == {b""}
    assert list(seen.found.files) == [b"a"]
    follower.close()


async def test_a_cancelled_look_does_not_end_the_others(follower: Follower, root: Path, tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await follower.add_single(b"x", os.fsencode(tmp_path / "x"))
    assert scope.cancelled_caught
    (root / "a").write_bytes(b"")
    assert list((await look(follower)).found.files) == [b"a"]
