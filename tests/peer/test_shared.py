"""Opening shared files: what is served is what was listed, or nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from osp2p.content.digest import state_of
from osp2p.errors import SourceChanged, StoreError, UnsafeName
from osp2p.peer.shared import SharedFile, is_beneath, open_shared


def shared(root: Path | None, path: Path) -> SharedFile:
    """A file as a scan would have found it."""
    real = None if root is None else os.fsencode(root.resolve())
    return SharedFile(os.fsencode(path.name), os.fsencode(path), real, state_of(path.stat()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "a").write_bytes(b"content")
    (tmp_path / "root" / "sub" / "a").write_bytes(b"content")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_bytes(b"content")
    return tmp_path / "root"


def read(file: SharedFile) -> bytes:
    fd = open_shared(file)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_a_file_is_opened(root: Path) -> None:
    file = shared(root, root / "sub" / "a")
    assert read(file) == b"content"
    assert file.size == 7
    fd = file.open()
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_links_inside_are_followed(root: Path) -> None:
    (root / "link").symlink_to("sub/a")
    (root / "linked").symlink_to("sub")
    assert read(shared(root, root / "link")) == b"content"
    assert read(shared(root, root / "linked" / "a")) == b"content"


def test_links_that_lead_outside_are_not(root: Path) -> None:
    (root / "link").symlink_to("../outside/a")
    (root / "linked").symlink_to("../outside")
    for path in (root / "link", root / "linked" / "a"):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(UnsafeName):
            open_shared(shared(root, path))
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_swapped_for_a_link_is_noticed(root: Path) -> None:
    file = shared(root, root / "sub" / "a")
    (root / "sub").rename(root.parent / "moved")
    (root / "sub").symlink_to("../moved")
    with pytest.raises(UnsafeName):
        open_shared(file)


def test_without_proc_the_path_is_resolved(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "linked").symlink_to("../outside")

    def readlink(path: bytes) -> bytes:
        raise FileNotFoundError(path)

    inside, outside = shared(root, root / "a"), shared(root, root / "linked" / "a")
    monkeypatch.setattr(os, "readlink", readlink)
    monkeypatch.setattr(os.path, "realpath", lambda path: b"/elsewhere" if b"linked" in path else path)
    assert read(inside) == b"content"
    with pytest.raises(UnsafeName):
        open_shared(outside)


def other_content(path: Path) -> None:
    path.write_bytes(b"longer content")


def other_time(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def other_file(path: Path) -> None:
    state = path.stat()
    path.rename(path.with_name("b"))
    path.write_bytes(b"content")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [other_content, other_time, other_file, fifo, directory, Path.unlink])
def test_another_file_than_the_listed_one_is_not_served(root: Path, change: Callable[[Path], None]) -> None:
    file = shared(root, root / "a")
    change(root / "a")
    with pytest.raises(SourceChanged):
        open_shared(file)


def test_a_single_file_has_no_directory_to_leave(root: Path) -> None:
    assert read(shared(None, root.parent / "outside" / "a")) == b"content"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_any_more(root: Path) -> None:
    file = shared(root, root / "a")
    (root / "a").chmod(0)
    with pytest.raises(StoreError, match="permission denied"):
        open_shared(file)


def test_beneath() -> None:
    assert is_beneath(b"/a/b", b"/a")
    assert is_beneath(b"/a", b"/a")
    assert is_beneath(b"/a", b"/")
    assert not is_beneath(b"/ab", b"/a")
    assert not is_beneath(b"/", b"/a")
