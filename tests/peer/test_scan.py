"""Scanning: what is for others, under which names, and what is said of the rest."""

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.cache import CachedFile
from osp2p.content.digest import Cancelled, Digests, state_of
from osp2p.limits import Limits
from osp2p.peer.scan import Found, Scanner

LIMITS = Limits()
DIGESTS = Digests(bytes(16), bytes(32))


def scanner(root: Path, *, limits: Limits = LIMITS, without: tuple[bytes, ...] = ()) -> Scanner:
    return Scanner(os.fsencode(root.resolve()), limits, without=without)


def scan(root: Path, *, limits: Limits = LIMITS, without: tuple[bytes, ...] = ()) -> Found:
    return scanner(root, limits=limits, without=without).scan(threading.Event())


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode("utf-8", "surrogateescape"))


def test_files_and_those_of_sub_directories(tmp_path: Path) -> None:
    fill(tmp_path, "a", "sub/b", "sub/deep/c", "sub/with space", os.fsdecode(b"\xff\xfe"), "new\nline")
    found = scan(tmp_path)
    assert sorted(found.files) == [b"a", b"new\nline", b"sub/b", b"sub/deep/c", b"sub/with space", b"\xff\xfe"]
    assert found.left_out == {}
    file = found.files[b"sub/b"]
    assert (file.name, file.path, file.root) == (b"sub/b", os.fsencode(tmp_path / "sub/b"), os.fsencode(tmp_path))
    assert file.state == state_of((tmp_path / "sub/b").stat())
    assert found.trees == {b"", b"sub", b"sub/deep"}


def test_what_is_never_shared(tmp_path: Path) -> None:
    fill(
        tmp_path, ".hidden", ".git/config", "sub/.hidden", "a~", "sub/b~", ".a.osp2p-part", "film.part", "x.crdownload"
    )
    os.mkfifo(tmp_path / "fifo")
    found = scan(tmp_path)
    assert found.files == {}
    assert sorted(found.left_out) == [b"fifo", b"film.part", b"x.crdownload"], "what one might expect is explained"


def test_endings_can_be_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.c", "a.h", "a.cc", "sub/b.c")
    assert sorted(scan(tmp_path).files) == [b"a.c", b"a.cc", b"a.h", b"sub/b.c"]
    assert sorted(scan(tmp_path, without=(b".c", b".h")).files) == [b"a.cc"]


def test_links_inside_count_as_what_they_lead_to(tmp_path: Path) -> None:
    fill(tmp_path, "real/a", ".store/x")
    (tmp_path / "file").symlink_to("real/a")
    (tmp_path / "annexed").symlink_to(".store/x")
    (tmp_path / "chain").symlink_to("file")
    (tmp_path / "directory").symlink_to("real")
    found = scan(tmp_path)
    assert sorted(found.files) == [b"annexed", b"chain", b"directory/a", b"file", b"real/a"]
    assert found.linked == {
        b"file": os.fsencode(tmp_path / "real/a"),
        b"chain": os.fsencode(tmp_path / "real/a"),
        b"annexed": os.fsencode(tmp_path / ".store/x"),
    }
    assert found.files[b"chain"].state == found.files[b"real/a"].state


def test_links_that_lead_elsewhere_are_explained(tmp_path: Path) -> None:
    fill(tmp_path, "outside/secret", "root/a")
    root = tmp_path / "root"
    (root / "file").symlink_to("../outside/secret")
    (root / "directory").symlink_to("../outside")
    (root / "device").symlink_to("/dev/zero")
    (root / "dangling").symlink_to("nothing")
    (root / "self").symlink_to("self")
    found = scan(root)
    assert list(found.files) == [b"a"]
    assert sorted(found.left_out) == [b"dangling", b"device", b"directory", b"file", b"self"]
    assert "outside" in found.left_out[b"file"]


def test_links_make_no_loops(tmp_path: Path) -> None:
    fill(tmp_path, "a/x", "b/y")
    (tmp_path / "up").symlink_to(".")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "here").symlink_to("../a")
    (tmp_path / "a" / "to-b").symlink_to("../b")
    (tmp_path / "b" / "to-a").symlink_to("../a")
    found = scan(tmp_path)
    assert sorted(found.files) == [b"a/to-b/y", b"a/x", b"b/to-a/x", b"b/y"]
    assert b"up" in found.left_out
    assert b"a/to-b/to-a" in found.left_out


def test_limits_bind(tmp_path: Path) -> None:
    fill(tmp_path, "1", "2", "3", "long-name")
    found = scan(tmp_path, limits=replace(LIMITS, max_shared_files=2))
    assert len(found.files) == 2
    assert len(found.left_out) == 2
    found = scan(tmp_path, limits=replace(LIMITS, max_name=8))
    assert sorted(found.files) == [b"1", b"2", b"3"]
    assert "longer than 8 bytes" in found.left_out[b"long-name"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_explained(tmp_path: Path) -> None:
    fill(tmp_path, "readable", "secret", "locked/a")
    (tmp_path / "secret").chmod(0o200)
    (tmp_path / "locked").chmod(0)
    found = scan(tmp_path)
    (tmp_path / "locked").chmod(0o700)
    assert list(found.files) == [b"readable"]
    assert sorted(found.left_out) == [b"locked", b"secret"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "missing")


def test_digests_come_from_the_cache_if_the_file_is_the_same(tmp_path: Path) -> None:
    fill(tmp_path, "same", "changed", "new")
    known = {
        os.fsencode(tmp_path / name): CachedFile(state_of((tmp_path / name).stat()), DIGESTS, b"list")
        for name in ("same", "changed")
    }
    os.utime(tmp_path / "changed", ns=(1, 1))
    files = scanner(tmp_path).scan(threading.Event(), known).files
    assert files[b"same"].digests == DIGESTS
    assert files[b"same"].hashes == b"list"
    assert files[b"changed"].digests is None
    assert files[b"new"].digests is None


def test_looking_at_single_names(tmp_path: Path) -> None:
    fill(tmp_path, "a", "sub/b", "sub/deep/c", "hidden~")
    (tmp_path / "link").symlink_to("sub")
    found = scanner(tmp_path).look_at([b"a", b"sub", b"link/b", b"link/deep", b"gone", b"a/b"], threading.Event())
    assert sorted(found.files) == [b"a", b"link/b", b"link/deep/c", b"sub/b", b"sub/deep/c"]
    assert found.trees == {b"sub", b"sub/deep", b"link/deep"}
    assert found.gone == {b"gone", b"a/b"}
    assert scanner(tmp_path).look_at([b"hidden~"], threading.Event()).gone == {b"hidden~"}


def test_directories_are_watched_before_they_are_read(tmp_path: Path) -> None:
    fill(tmp_path, "a", "sub/b", ".store/x")
    (tmp_path / "link").symlink_to(".store/x")
    watched = []

    def watch(directory: bytes) -> None:
        watched.append(directory)
        fill(Path(os.fsdecode(directory)), "late")

    found = Scanner(os.fsencode(tmp_path), LIMITS, watch=watch).scan(threading.Event())
    assert sorted(watched) == [os.fsencode(tmp_path / name) for name in ("", ".store", "sub")]
    assert {b"late", b"sub/late"} < set(found.files)


@pytest.mark.parametrize("look", [lambda one, flag: one.scan(flag), lambda one, flag: one.look_at([b"a"], flag)])
def test_the_flag_ends_a_look(tmp_path: Path, look: Callable[[Scanner, threading.Event], Found]) -> None:
    flag = threading.Event()
    flag.set()
    with pytest.raises(Cancelled):
        look(scanner(tmp_path), flag)


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=40))
def test_any_name_that_a_disk_takes_comes_back(name: str) -> None:
    raw = name.encode("utf-8", "surrogatepass")[:200]
    with tempfile.TemporaryDirectory() as directory:
        try:
            (Path(directory) / os.fsdecode(raw)).write_bytes(b"")
        except (OSError, ValueError):
            return
        expected = [] if raw.startswith(b".") or raw.endswith(b"~") else [raw]
        assert list(scan(Path(directory)).files) == expected
