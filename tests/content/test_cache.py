"""The hash cache: it remembers, it is fast, and nothing that happens to its file is fatal."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.cache import MAX_LOADED_HASHES, CachedFile, HashCache, default_path
from osp2p.content.chunks import MIN_CHUNK, content_id
from osp2p.content.digest import Digests, FileDigest, FileState


class Caches:
    """Opens caches, and closes them at the end of the test."""

    def __init__(self) -> None:
        self._opened: list[HashCache] = []

    def __call__(self, path: Path | None, max_files: int = 1000_000) -> HashCache:
        self._opened.append(HashCache(path, max_files=max_files))
        return self._opened[-1]

    def close(self) -> None:
        for cache in self._opened:
            cache.close()


@pytest.fixture
def caches() -> Iterator[Caches]:
    with closing(Caches()) as made:
        yield made


def execute(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def digest_of(size: int = 10, *, number: int = 1, inode: int = 7) -> FileDigest:
    hashes = bytes([number % 256]) * 32 * -(-size // MIN_CHUNK)
    return FileDigest(
        FileState(size, 1_700_000_000_000_000_000 + number, inode),
        Digests(number.to_bytes(16, "big"), content_id(size, hashes)),
        hashes,
    )


def test_what_is_stored_is_there_in_the_next_run(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "deep" / "cache")
    digest = digest_of()
    cache.store([(b"/a/x", digest)])
    cache.close()
    again = caches(tmp_path / "deep" / "cache")
    assert again.load_file(b"/a/x") == CachedFile(*digest)
    assert again.load(b"/a") == {b"/a/x": CachedFile(*digest)}
    assert again.problem is None


def test_a_later_digest_replaces_an_earlier_one(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache")
    cache.store([(b"/x", digest_of(number=1)), (b"/y", digest_of())])
    cache.store([(b"/x", digest_of(number=2))])
    assert cache.load_file(b"/x") == CachedFile(*digest_of(number=2))
    cache.forget([b"/x", b"/missing"])
    assert cache.load_file(b"/x") is None
    assert cache.load_file(b"/y") is not None


def test_a_directory_is_loaded_without_its_neighbours(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache")
    inside = [b"/a/b/x", b"/a/b/\xff\n", b"/a/b/c/d"]
    outside = [b"/a/b", b"/a/b.x", b"/a/b0", b"/a/bb/x", b"/a/x"]
    cache.store([(path, digest_of()) for path in inside + outside])
    assert sorted(cache.load(b"/a/b")) == sorted(inside)


def test_the_largest_numbers_fit(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache")
    digest = digest_of(inode=2**64 - 1)
    cache.store([(b"/x", digest)])
    assert cache.load_file(b"/x") == CachedFile(*digest)


def test_a_long_chunk_list_is_read_when_asked_for(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache")
    digest = digest_of(MIN_CHUNK * (MAX_LOADED_HASHES // 32 + 1))
    cache.store([(b"/x", digest)])
    loaded = cache.load_file(b"/x")
    assert loaded is not None
    assert loaded.hashes is None
    assert cache.hashes(b"/x", digest.state.size, digest.digests.b3) == digest.hashes
    assert cache.hashes(b"/x", digest.state.size, bytes(32)) is None, "a list is proved before it is given out"
    assert cache.hashes(b"/x", 1, digest.digests.b3) is None
    assert cache.hashes(b"/missing", digest.state.size, digest.digests.b3) is None


def test_the_oldest_entries_go(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache", 3)
    cache.store([(b"/%d" % number, digest_of()) for number in range(5)])
    cache.store([(b"/0", digest_of())])
    cache.close()
    assert sorted(cache.load(b"")) == [b"/0", b"/3", b"/4"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192),
        lambda path: execute(path, "DROP TABLE files; CREATE TABLE files (other)"),
        lambda path: execute(path, "DROP TABLE files; CREATE VIEW files AS SELECT 1"),
        lambda path: path.write_bytes(path.read_bytes().replace(b"mtime_ns INTEGER", b"mtime_ns \xffNTEGER")),
    ],
)
def test_a_damaged_cache_is_replaced(caches: Caches, tmp_path: Path, damage: "object") -> None:
    path = tmp_path / "cache"
    cache = caches(path)
    cache.store([(b"/%d" % number, digest_of(number=number)) for number in range(200)])
    cache.close()
    assert callable(damage)
    damage(path)
    cache = caches(path)
    cache.load(b"")
    cache.store([(b"/x", digest_of())])
    cache.close()
    assert caches(path).load_file(b"/x") == CachedFile(*digest_of())


def test_rows_that_make_no_sense_are_left_out(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache")
    cache.store([(b"/%d" % number, digest_of()) for number in range(8)])
    cache.close()
    changes = ["md5 = 'x'", "md5 = x'00'", "b3 = x'00'", "size = -1", "size = 'x'", "inode = x'01'", "mtime_ns = 1.5"]
    for number, change in enumerate(changes):
        execute(tmp_path / "cache", f"UPDATE files SET {change} WHERE path = x'{(b'/%d' % number).hex()}'")
    assert list(caches(tmp_path / "cache").load(b"")) == [b"/7"]


def test_a_number_that_is_none_damages_the_cache(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache")
    cache.store([(b"/x", digest_of())])
    cache.close()
    for inode in ("'seven'", "CAST(x'ff' AS TEXT)"):
        execute(tmp_path / "cache", f"UPDATE files SET inode = {inode}")
        assert cache.load(b"") == {}
        assert cache.problem is None
        cache.store([(b"/x", digest_of())])
        assert cache.load(b"")
        cache.close()


@given(st.integers(0, 20_000), st.binary(max_size=200))
def test_whatever_is_in_the_file_nothing_fails(offset: int, garbage: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory, closing(HashCache(Path(directory) / "cache")) as cache:
        path = Path(directory) / "cache"
        cache.store([(b"/%d" % number, digest_of(number=number)) for number in range(50)])
        cache.close()
        data = path.read_bytes()
        path.write_bytes(data[:offset] + garbage + data[offset + len(garbage) :])
        cache.load(b"")
        cache.store([(b"/x", digest_of())])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_only_be_read_is_read(caches: Caches, tmp_path: Path) -> None:
    caches(tmp_path / "cache").store([(b"/x", digest_of())])
    (tmp_path / "cache").chmod(0o400)
    cache = caches(tmp_path / "cache")
    assert cache.load_file(b"/x") is not None
    cache.store([(b"/y", digest_of())])
    assert cache.problem is not None


def test_without_a_place_to_write_it_serves_this_process(caches: Caches, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "cache", None):
        cache = caches(path)
        cache.store([(b"/x", digest_of())])
        assert cache.load_file(b"/x") is not None
        assert cache.problem == (None if path is None else f"the hash cache {path}: file exists")


def test_another_process_that_holds_the_lock_is_no_catastrophe(
    caches: Caches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osp2p.content.cache._BUSY_TIMEOUT", 0.05)
    cache = caches(tmp_path / "cache")
    cache.store([(b"/x", digest_of())])
    with closing(sqlite3.connect(tmp_path / "cache", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for blocked in (cache, caches(tmp_path / "cache")):
            assert blocked.load(b"") == {}
            blocked.store([(b"/y", digest_of())])
            assert blocked.problem is not None
            assert "locked" in blocked.problem
        other.execute("ROLLBACK")
    blocked.store([(b"/z", digest_of())])
    assert sorted(cache.load(b"")) == [b"/x", b"/z"], "a locked cache is not a damaged one"


def test_threads_and_processes_share_it(caches: Caches, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from osp2p.content.cache import HashCache
        from osp2p.content.digest import Digests, FileDigest, FileState
        cache = HashCache(Path(sys.argv[1]))
        for number in range(30):
            digest = FileDigest(FileState(0, number, number), Digests(bytes(16), bytes(32)), b"")
            cache.store([(b"/%s/%d" % (sys.argv[2].encode(), number), digest)])
        sys.exit(cache.problem)
        """
    )
    path = tmp_path / "cache"
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "ab"]
    cache = caches(path)
    threads = [
        threading.Thread(target=cache.store, args=([(b"/thread/%d" % number, digest_of())],)) for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0]
    assert len(cache.load(b"")) == 80


def test_a_hundred_thousand_files_load_in_well_under_a_second(caches: Caches, tmp_path: Path) -> None:
    cache = caches(tmp_path / "cache")
    digest = digest_of()
    cache.store((b"/shared/%d/a-file-of-somebody-%d" % (number // 100, number), digest) for number in range(100_000))
    cache.close()
    began = time.perf_counter()
    assert len(cache.load(b"/shared")) == 100_000
    assert time.perf_counter() - began < 2, "0.3 s on an idle machine"


def test_it_lies_in_the_users_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_path() == Path("/somewhere/osp2p/digests.sqlite")
