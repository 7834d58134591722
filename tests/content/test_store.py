"""The store: one fetch a target, nothing half under a final name, nothing left behind."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from osp2p.content.name import journal_name, partial_name
from osp2p.content.store import Part, Target, open_target
from osp2p.errors import DiskFull, StoreError, TargetLocked, TooLarge, UnsafeName
from osp2p.limits import Limits

LIMITS = replace(Limits(), disk_reserve=0)


def partial_path(target: Path, number: int = 0) -> Path:
    return target.with_name(os.fsdecode(partial_name(os.fsencode(target.name), number)))


def journal_path(target: Path) -> Path:
    return target.with_name(os.fsdecode(journal_name(os.fsencode(target.name))))


def everything(directory: Path) -> list[str]:
    """Every path in a directory, relative to it."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


async def store(target: Path, data: bytes, *, force: bool = False) -> Path:
    """Fetch some bytes to a target."""
    with open_target(target, LIMITS) as opened:
        part = opened.new_part()
        part.write_at(0, data)
        return await part.commit(force=force)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


async def test_bytes_appear_under_the_final_name_only_at_the_commit(tmp_path: Path) -> None:
    target = tmp_path / "cat.jpg"
    with open_target(target, LIMITS) as opened:
        part = opened.new_part()
        part.write_at(4, b"5678")
        part.write_at(0, memoryview(b"1234"))
        assert part.end == 8
        assert not target.exists()
        assert all(name.startswith(".") for name in everything(tmp_path))
        assert await part.commit() == target
        assert target.read_bytes() == b"12345678"
    assert everything(tmp_path) == ["cat.jpg"]


async def test_what_is_not_committed_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_target(tmp_path / "new" / "deep" / "cat.jpg", LIMITS) as opened:
        opened.new_part().write_at(0, b"half")
        opened.new_part().write_at(0, b"another half")
        raise ZeroDivisionError
    assert everything(tmp_path) == []


async def test_a_discarded_part_is_gone_at_once(tmp_path: Path) -> None:
    with open_target(tmp_path / "cat.jpg", LIMITS) as opened:
        part = opened.new_part()
        part.discard()
        part.discard()
        assert not Path(part.path).exists()


async def test_several_sources_race_for_one_target(tmp_path: Path) -> None:
    with open_target(tmp_path / "cat.jpg", LIMITS) as opened:
        parts = [opened.new_part() for _ in range(3)]
        for number, part in enumerate(parts):
            part.write_at(0, b"from %d" % number)
        assert len({part.path for part in parts}) == 3
        parts[0].discard()
        assert opened.new_part().path == parts[0].path, "a number that is free again is used again"
        await parts[1].commit()
    assert everything(tmp_path) == ["cat.jpg"]
    assert (tmp_path / "cat.jpg").read_bytes() == b"from 1"


async def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "cat.jpg"
    assert await store(target, b"one") == target
    assert await store(target, b"two") == tmp_path / "cat.jpg~1~"
    assert await store(target, b"three") == tmp_path / "cat.jpg~2~"
    assert target.read_bytes() == b"one"


async def test_force_replaces_the_file(tmp_path: Path) -> None:
    target = tmp_path / "cat.jpg"
    await store(target, b"one")
    assert await store(target, b"two", force=True) == target
    assert target.read_bytes() == b"two"
    assert everything(tmp_path) == ["cat.jpg"]


async def test_a_symbolic_link_at_the_target_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("precious")
    assert await store(tmp_path / "link", b"new") == tmp_path / "link~1~"
    assert await store(tmp_path / "link", b"new", force=True) == tmp_path / "link"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"precious"


async def test_a_directory_at_the_target_stays(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg" / "x").mkdir(parents=True)
    assert await store(tmp_path / "cat.jpg", b"new") == tmp_path / "cat.jpg~1~"
    with pytest.raises(StoreError, match="directory"):
        await store(tmp_path / "cat.jpg", b"new", force=True)
    assert everything(tmp_path) == ["cat.jpg", "cat.jpg/x", "cat.jpg~1~"]


async def test_where_the_kernel_cannot_rename_without_replacing_links_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osp2p.content.publish._renameat2", None)
    assert await store(tmp_path / "a", b"one") == tmp_path / "a"
    assert await store(tmp_path / "a", b"two") == tmp_path / "a~1~"
    assert (tmp_path / "a").read_bytes() == b"one"
    assert everything(tmp_path) == ["a", "a~1~"]


def test_a_partial_file_that_is_a_finished_one_too_is_not_touched(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"finished")
    os.link(target, partial_path(target))
    with open_target(target, LIMITS) as opened:
        os.pwrite(opened.lock_fd, b"other", 0)
    assert target.read_bytes() == b"finished"
    assert everything(tmp_path) == ["a"]


async def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    for mask in (0o022, 0o077):
        with umask(mask):
            path = await store(tmp_path / f"{mask:o}", b"x")
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


async def test_long_names_have_a_place_too(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 127)
    assert await store(target, b"one") == target
    backup = await store(target, b"two")
    assert backup.read_bytes() == b"two"
    assert len(everything(tmp_path)) == 2


async def test_an_empty_file(tmp_path: Path) -> None:
    assert (await store(tmp_path / "empty", b"")).read_bytes() == b""


async def test_many_small_files_without_sync(tmp_path: Path) -> None:
    for number in range(20):
        with open_target(tmp_path / f"{number}", LIMITS) as opened:
            part = opened.new_part()
            part.write_at(0, b"x")
            await part.commit(sync=False)
    assert len(everything(tmp_path)) == 20


async def test_a_cancelled_commit_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS) as opened:
        part = opened.new_part()
        part.write_at(0, b"x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await part.commit()
        assert scope.cancelled_caught
        assert not (tmp_path / "a").exists()
    assert everything(tmp_path) == []
    assert await store(tmp_path / "a", b"x") == tmp_path / "a", "and the target is free again"


# --- the lock ---


def test_the_second_fetch_of_a_target_gets_one_clear_sentence(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", LIMITS):
        with (
            pytest.raises(TargetLocked, match=r"a: another fetch is writing this file$"),
            open_target(tmp_path / "a", LIMITS),
        ):
            pytest.fail("two have the lock")
        with open_target(tmp_path / "b", LIMITS):
            pass
    with open_target(tmp_path / "a", LIMITS):
        pass


def test_a_killed_fetch_loses_its_lock_and_its_files(tmp_path: Path) -> None:
    target = tmp_path / "a"
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from osp2p.content.store import open_target
        from osp2p.limits import Limits
        with open_target(Path(sys.argv[1]), Limits(disk_reserve=0)) as target:
            target.new_part().write_at(0, b"half")
            target.new_part().write_at(0, b"half")
            print("ready", flush=True)
            time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(TargetLocked), open_target(target, LIMITS):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(everything(tmp_path)) == 3
    with open_target(target, LIMITS):
        assert everything(tmp_path) == [partial_path(target).name]
    assert everything(tmp_path) == []


def test_however_many_fight_for_a_target_one_has_it(tmp_path: Path) -> None:
    target = tmp_path / "a"
    inside = threading.Lock()
    won = []
    broken = []

    def fight(number: int) -> None:
        for _ in range(300):
            try:
                with open_target(target, LIMITS):
                    if not inside.acquire(blocking=False):
                        broken.append(number)
                        continue
                    won.append(number)
                    inside.release()
            except TargetLocked:
                pass

    threads = [threading.Thread(target=fight, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken
    assert won
    assert everything(tmp_path) == []


def test_something_else_at_the_partial_files_place(tmp_path: Path) -> None:
    os.mkfifo(partial_path(tmp_path / "fifo"))
    partial_path(tmp_path / "directory").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    partial_path(tmp_path / "link").symlink_to("precious")
    for name in ("fifo", "directory", "link"):
        with pytest.raises(StoreError), open_target(tmp_path / name, LIMITS):
            pass
    assert (tmp_path / "precious").read_bytes() == b"precious"


# --- directories ---


def test_directories_are_made_and_stay_with_their_file(tmp_path: Path) -> None:
    async def run() -> None:
        await store(tmp_path / "a" / "b" / "c", b"x")

    trio.run(run)
    assert everything(tmp_path) == ["a", "a/b", "a/b/c"]


def test_nothing_is_written_through_a_symbolic_link_beneath_a_directory(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "shared" / "real").mkdir(parents=True)
    (tmp_path / "shared" / "link").symlink_to("../outside")
    for path in ("link/x", "link/deep/x", "real/../../outside/x", "../outside/x"):
        with pytest.raises(UnsafeName), open_target(tmp_path / "shared" / path, LIMITS, beneath=tmp_path / "shared"):
            pass
    assert everything(tmp_path / "outside") == []
    with open_target(tmp_path / "shared" / "real" / "new" / "x", LIMITS, beneath=tmp_path / "shared"):
        assert (tmp_path / "shared" / "real" / "new").is_dir()
    assert everything(tmp_path / "shared" / "real") == []


def test_a_file_where_a_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StoreError), open_target(tmp_path / "a" / "b" / "c", LIMITS):
        pass
    with pytest.raises(UnsafeName), open_target(tmp_path / "a" / "b", LIMITS, beneath=tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="permission denied"), open_target(tmp_path / "a", LIMITS):
        pass
    tmp_path.chmod(0o700)


# --- a full disk ---


def written(target: Target, size: int) -> Part:
    part = target.new_part()
    part.write_at(0, bytes(size))
    return part


def test_the_reserve_of_the_disk_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.content.store._RESERVE_SHARE", 1)  # else a reserve is no more than a part of the disk
    with (
        open_target(tmp_path / "a", replace(LIMITS, disk_reserve=1 << 60)) as target,
        pytest.raises(DiskFull, match="no space left"),
    ):
        written(target, 1)
    assert everything(tmp_path) == []


def test_the_free_space_is_looked_at_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [100, 50]

    class Disk:
        f_frsize = 1
        f_blocks = 40 * 16

        @property
        def f_bavail(self) -> int:
            return free.pop(0)

    monkeypatch.setattr(os, "fstatvfs", lambda fd: Disk())
    with open_target(tmp_path / "a", replace(LIMITS, disk_reserve=40)) as target:
        part = written(target, 60)
        with pytest.raises(DiskFull):
            part.write_at(60, bytes(20))


def test_no_file_is_larger_than_allowed(tmp_path: Path) -> None:
    with open_target(tmp_path / "a", replace(LIMITS, max_size=10)) as target:
        part = written(target, 10)
        with pytest.raises(TooLarge, match="10 bytes"):
            part.write_at(10, b"x")
        with pytest.raises(TooLarge):
            target.check_size(11)


def test_a_write_that_the_disk_cuts_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:3], offset))
    with open_target(tmp_path / "a", LIMITS) as target:
        part = target.new_part()
        part.write_at(2, b"0123456789")
        assert os.pread(part.fd, 20, 0) == b"\0\0" + b"0123456789"


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, StoreError)]
)
def test_what_the_disk_says_becomes_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError]
) -> None:
    def pwrite(fd: int, data: bytes, offset: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", pwrite)
    with (
        open_target(tmp_path / "a", LIMITS) as target,
        pytest.raises(StoreError, match=r"cannot write .*/a: ") as caught,
    ):
        written(target, 1)
    assert type(caught.value) is kind
    assert everything(tmp_path) == []


def test_a_journal_without_its_partial_file_is_not_believed(tmp_path: Path) -> None:
    journal_path(tmp_path / "a").write_bytes(b"of another life")
    with open_target(tmp_path / "a", LIMITS) as target:
        assert target.fresh
        assert not journal_path(tmp_path / "a").exists()


def test_a_small_disk_is_not_all_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        f_frsize = 1
        f_blocks = 8 << 20
        f_bavail = 8 << 20

    monkeypatch.setattr(os, "fstatvfs", lambda fd: Disk())
    with open_target(tmp_path / "a", LIMITS) as target:
        assert written(target, 7).end == 7


async def test_names_that_look_like_each_others_copies_do_not_meet(tmp_path: Path) -> None:
    with open_target(tmp_path / "cat.jpg~1", LIMITS) as first, open_target(tmp_path / "cat.jpg", LIMITS) as second:
        os.pwrite(first.lock_fd, b"one", 0)
        part = second.new_part()
        part.write_at(0, b"two")
        await first.publish(first.partial, first.lock_fd, force=False, sync=True)
        await part.commit()
    assert everything(tmp_path) == ["cat.jpg", "cat.jpg~1"]
    assert (tmp_path / "cat.jpg~1").read_bytes() == b"one"


async def test_a_file_that_took_the_place_of_ours_gets_no_final_name(tmp_path: Path) -> None:
    with open_target(tmp_path / "cat.jpg", LIMITS) as opened:
        part = opened.new_part()
        part.write_at(0, b"ours")
        os.unlink(part.path)
        Path(part.path).write_bytes(b"not ours")
        with pytest.raises(StoreError, match="another file has taken the place"):
            await part.commit()
        assert not (tmp_path / "cat.jpg").exists()
