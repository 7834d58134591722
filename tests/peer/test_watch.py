"""Watching: the kernel's events arrive as paths, whatever bytes are in them, and for each way to a directory."""

import ctypes
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.peer import watch
from osp2p.peer.watch import Inotify, Polling, Touched, WatchLimit


@pytest.fixture
async def inotify() -> AsyncIterator[Inotify]:
    opened = Inotify()
    yield opened
    opened.close()


async def touched(inotify: Inotify) -> Touched:
    with trio.fail_after(5):
        return await inotify.wait()


async def test_what_happens_in_a_directory(inotify: Inotify, tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    inotify.add(root)
    (tmp_path / "a").write_bytes(b"x")
    assert (await touched(inotify)).paths == {root + b"/a": True}
    with (tmp_path / "a").open("ab") as file:
        file.write(b"x")
        file.flush()
        assert (await touched(inotify)).paths == {root + b"/a": False}, "its writer has not finished"
    assert (await touched(inotify)).paths == {root + b"/a": True}
    (tmp_path / "a").rename(tmp_path / "b")
    assert (await touched(inotify)).paths == {root + b"/a": False, root + b"/b": True}
    (tmp_path / "b").chmod(0o600)
    (tmp_path / "sub").mkdir()
    assert (await touched(inotify)).paths == {root + b"/b": False, root + b"/sub": False}
    (tmp_path / "b").unlink()
    assert (await touched(inotify)).paths == {root + b"/b": False}


async def test_names_are_bytes(inotify: Inotify, tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    inotify.add(root)
    for name in (b"\xff\xfe", b"new\nline", b"\xf0\x9f\x90\x88", b"x" * 255):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
        assert list((await touched(inotify)).paths) == [root + b"/" + name]


async def test_a_link_is_not_followed_by_itself(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "link").symlink_to("../outside")
    inotify.add(os.fsencode(tmp_path / "root"))
    (tmp_path / "outside" / "a").write_bytes(b"")
    (tmp_path / "root" / "b").write_bytes(b"")
    assert list((await touched(inotify)).paths) == [os.fsencode(tmp_path / "root" / "b")]


async def test_an_event_counts_for_each_way_to_its_directory(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for name in ("real", "link"):
        inotify.add(os.fsencode(tmp_path / name))
    (tmp_path / "real" / "a").write_bytes(b"")
    assert sorted((await touched(inotify)).paths) == [os.fsencode(tmp_path / name / "a") for name in ("link", "real")]
    inotify.forget({os.fsencode(tmp_path / "link")})
    (tmp_path / "real" / "b").write_bytes(b"")
    assert sorted((await touched(inotify)).paths) == [os.fsencode(tmp_path / "real" / "b")]


async def test_a_renamed_directory_counts_under_its_new_name(inotify: Inotify, tmp_path: Path) -> None:
    old, new = os.fsencode(tmp_path / "old"), os.fsencode(tmp_path / "new")
    os.makedirs(old + b"/sub")
    inotify.add(old)
    inotify.add(old + b"/sub")
    os.rename(old, new)
    inotify.add(new)
    inotify.add(new + b"/sub")
    inotify.forget({old})
    Path(os.fsdecode(new + b"/sub/a")).write_bytes(b"")
    assert list((await touched(inotify)).paths) == [new + b"/sub/a"]


async def test_a_directory_that_takes_anothers_place(inotify: Inotify, tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.mkdir()
    inotify.add(os.fsencode(place))
    place.rename(tmp_path / "b")
    place.mkdir()
    inotify.add(os.fsencode(place))
    (tmp_path / "b" / "x").write_bytes(b"")
    (place / "y").write_bytes(b"")
    assert list((await touched(inotify)).paths) == [os.fsencode(place / "y")]
    (place / "y").unlink()
    place.rmdir()
    place.mkdir()
    inotify.add(os.fsencode(place))
    (place / "z").write_bytes(b"")
    seen: set[bytes] = set()
    while os.fsencode(place / "z") not in seen:
        seen |= set((await touched(inotify)).paths)


async def test_what_is_not_there_is_not_watched(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    inotify.add(os.fsencode(tmp_path / "missing"))
    inotify.add(os.fsencode(tmp_path / "file"))
    inotify.forget({b"/never/added"})


async def test_waiting_can_be_cancelled_and_loses_nothing(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(os.fsencode(tmp_path))
    with trio.move_on_after(0.01) as scope:
        await inotify.wait()
    assert scope.cancelled_caught
    (tmp_path / "a").write_bytes(b"")
    assert (await touched(inotify)).paths


async def test_a_full_queue_asks_for_a_look_at_everything(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(os.fsencode(tmp_path))
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = [os.fsencode(tmp_path / name) for name in "ab"]
    for name in names:
        os.close(os.open(name, os.O_CREAT))
    for number in range(limit + 10):
        os.chmod(names[number % 2], 0o600)
    assert (await touched(inotify)).everything


async def test_closing_twice_and_adding_behind_it_do_nothing(tmp_path: Path) -> None:
    inotify = Inotify()
    inotify.close()
    inotify.close()
    inotify.add(os.fsencode(tmp_path))


class NoWatches:
    """A kernel that has no watch, or no descriptor, to give."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def inotify_init1(self, flags: int) -> int:
        return self._descriptor

    def inotify_add_watch(self, fd: int, path: bytes, mask: int) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1


async def test_the_kernels_limits_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inotify = Inotify()
    monkeypatch.setattr(watch, "_libc", NoWatches(0))
    with pytest.raises(WatchLimit, match="no more watches"):
        inotify.add(os.fsencode(tmp_path))
    inotify.close()
    monkeypatch.setattr(watch, "_libc", NoWatches(-1))
    with pytest.raises(WatchLimit, match="no more inotify descriptors"):
        Inotify()
    monkeypatch.setattr(watch, "_libc", object())
    with pytest.raises(WatchLimit, match="no inotify"):
        Inotify()


async def test_polling_looks_at_everything_again_and_again(autojump_clock: trio.testing.MockClock) -> None:
    polling = Polling()
    for _ in range(2):
        began = trio.current_time()
        while trio.current_time() < began + 0.9:
            with trio.move_on_after(0.2):  # whoever waits may have something else to do in between
                await polling.wait()
                pytest.fail("too early")
        assert (await polling.wait()).everything
        assert trio.current_time() - began <= 1.0
    polling.add(b"/")
    polling.forget({b"/"})
    polling.close()


async def test_to_forget_a_file_goes_through_no_directories(
    inotify: Inotify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub" / "below").mkdir(parents=True)
    for path in (tmp_path, tmp_path / "sub", tmp_path / "sub" / "below"):
        inotify.add(os.fsencode(path))
    monkeypatch.setattr(watch, "_leads_into", lambda *arguments: pytest.fail("goes through the directories"))
    inotify.forget({os.fsencode(tmp_path / "file"), os.fsencode(tmp_path / "sub" / "file")})
    monkeypatch.undo()
    inotify.forget({os.fsencode(tmp_path / "sub")})
    assert set(inotify._numbers) == {os.fsencode(tmp_path)}
