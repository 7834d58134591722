"""Digests: the same as hashing the bytes by hand, and never of two versions of a file."""

import json
import os
import threading
from hashlib import md5
from pathlib import Path

import pytest
import trio

from osp2p.content import digest
from osp2p.content.chunks import MIN_CHUNK, chunk_bounds, chunk_count, chunk_hash, content_id
from osp2p.content.digest import (
    Cancelled,
    FileDigest,
    digest_existing,
    digest_file,
    digest_in_thread,
    find_same,
    find_same_bytes,
    same_content,
    state_of,
    verify_file,
    which_stand,
)
from osp2p.errors import SourceChanged, StoreError
from osp2p.limits import MIB

NEVER = threading.Event()


def make(path: Path, size: int) -> bytes:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("size", [0, 1, MIN_CHUNK - 1, MIN_CHUNK, MIN_CHUNK + 1, MIB, 3 * MIB + 5])
def test_one_pass_gives_all_digests(tmp_path: Path, size: int) -> None:
    data = make(tmp_path / "a", size)
    seen: list[int] = []
    result = digest_file(tmp_path / "a", NEVER, seen.append)
    bounds = [chunk_bounds(size, index) for index in range(chunk_count(size))]
    hashes = b"".join(chunk_hash(data[start : start + length]) for start, length in bounds)
    assert result == FileDigest(
        state_of((tmp_path / "a").stat()), digest.Digests(md5(data).digest(), content_id(size, hashes)), hashes
    )
    assert sum(seen) == size


def test_the_vectors_hold_for_files(tmp_path: Path) -> None:
    for vector in json.loads((Path(__file__).parent / "b3_vectors.json").read_text())["vectors"]:
        make(tmp_path / "a", vector["size"])
        assert digest_file(tmp_path / "a", NEVER, with_md5=False).digests.b3.hex() == vector["b3"]


def test_chunks_larger_than_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(tmp_path / "a", 3 * MIN_CHUNK + 7)
    expected = digest_file(tmp_path / "a", NEVER)
    monkeypatch.setattr(digest, "_READ_BYTES", MIN_CHUNK // 4)
    assert digest_file(os.fsencode(tmp_path / "a"), NEVER) == expected
    assert expected.digests.md5 == md5(data).digest()


def test_the_flag_ends_a_pass_within_one_read(tmp_path: Path) -> None:
    make(tmp_path / "a", 3 * MIB)
    cancelled = threading.Event()
    seen: list[int] = []

    def progress(count: int) -> None:
        seen.append(count)
        cancelled.set()

    with pytest.raises(Cancelled):
        digest_file(tmp_path / "a", cancelled, progress)
    assert seen == [MIB]


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def shrink(path: Path) -> None:
    os.truncate(path, MIB + 1)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def swap(path: Path) -> None:
    state = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(state.st_size))
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [grow, shrink, touch, swap, Path.unlink])
def test_a_file_that_changes_meanwhile_has_no_digest(tmp_path: Path, change: "object") -> None:
    make(tmp_path / "a", 3 * MIB)
    todo = [change]

    def progress(count: int) -> None:
        while todo:
            action = todo.pop()
            assert callable(action)
            action(tmp_path / "a")

    with pytest.raises(SourceChanged, match="while it was being read"):
        digest_file(tmp_path / "a", NEVER, progress)


def test_what_cannot_be_hashed_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "fifo"):
        with pytest.raises(StoreError):
            digest_file(path, NEVER)


async def test_an_existing_file_is_recognised(tmp_path: Path) -> None:
    data = make(tmp_path / "a", 1000)
    found = await digest_existing(tmp_path / "a", 1000)
    assert found is not None
    assert found.digests.md5 == md5(data).digest()
    assert await digest_existing(tmp_path / "a") == found
    assert await digest_existing(tmp_path / "a", 1001) is None
    assert await digest_existing(tmp_path / "missing") is None
    assert await digest_existing(tmp_path) is None
    (tmp_path / "link").symlink_to("a")
    assert await digest_existing(tmp_path / "link") is None


async def test_a_file_is_verified_by_its_content_id(tmp_path: Path) -> None:
    make(tmp_path / "a", 1000)
    b3 = digest_file(tmp_path / "a", NEVER).digests.b3
    assert await verify_file(tmp_path / "a", b3, 1000)
    assert await verify_file(tmp_path / "a", b3)
    assert not await verify_file(tmp_path / "a", b3, 999)
    assert not await verify_file(tmp_path / "a", bytes(32))
    with pytest.raises(StoreError):
        await verify_file(tmp_path / "missing", b3)


async def test_a_cancelled_pass_is_left_at_once(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    threads = threading.active_count()
    with trio.move_on_after(0.1) as scope:
        await digest_existing(tmp_path / "huge")
    assert scope.cancelled_caught
    assert trio.current_time() - scope.deadline < 5
    assert threading.active_count() <= threads + 1


async def test_the_same_content_is_told_by_either_digest(tmp_path: Path) -> None:
    make(tmp_path / "a", 1000)
    known = digest_file(tmp_path / "a", NEVER).digests
    assert await same_content(tmp_path / "a", md5=known.md5)
    assert await same_content(tmp_path / "a", b3=known.b3, size=1000)
    assert await same_content(tmp_path / "a", md5=bytes(16), b3=known.b3)
    assert not await same_content(tmp_path / "a", md5=bytes(16))
    assert not await same_content(tmp_path / "a", md5=known.md5, b3=bytes(32))
    assert not await same_content(tmp_path / "a", md5=known.md5, size=999)
    assert not await same_content(tmp_path / "a")
    assert not await same_content(tmp_path / "missing", md5=known.md5)


async def test_of_many_files_those_are_known_that_stand_with_their_content(tmp_path: Path) -> None:
    body = b"content"
    b3 = content_id(len(body), chunk_hash(body))
    (tmp_path / "same").write_bytes(body)
    (tmp_path / "other").write_bytes(body[::-1])
    (tmp_path / "longer").write_bytes(body + b"s")
    (tmp_path / "link").symlink_to("same")
    (tmp_path / "directory").mkdir()
    names = ("same", "other", "longer", "link", "directory", "absent", "same")
    found = await which_stand([(tmp_path / name, len(body), b3) for name in names])
    assert found == [True, False, False, False, False, False, True]
    assert await which_stand([]) == []


async def test_a_content_is_found_at_its_target_and_among_the_copies_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a"
    for name, content in (("a", b"mine"), ("a~1~", b"old"), ("a~2~", b"new"), ("a~4~", b"behind a gap")):
        (tmp_path / name).write_bytes(content)
    digests = {path.read_bytes(): (await digest_in_thread(path)).digests for path in sorted(tmp_path.iterdir())}
    for content, name in ((b"mine", "a"), (b"old", "a~1~"), (b"new", "a~2~")):
        assert await find_same(target, b3=digests[content].b3) == tmp_path / name
        assert await find_same(target, md5=digests[content].md5, size=len(content)) == tmp_path / name
    assert await find_same(target, b3=digests[b"new"].b3, copies=False) is None
    assert await find_same(target, b3=digests[b"behind a gap"].b3) is None
    assert await find_same(target) is None
    assert await find_same(tmp_path / "missing", b3=digests[b"new"].b3) is None


async def test_the_bytes_of_a_file_are_found_likewise(tmp_path: Path) -> None:
    target, source = tmp_path / "a", tmp_path / "source"
    for path, content in ((target, b"mine"), (tmp_path / "a~1~", b"new"), (source, b"new")):
        path.write_bytes(content)
    assert await find_same_bytes(target, source, 3) == tmp_path / "a~1~"
    source.write_bytes(b"nex")
    assert await find_same_bytes(target, source, 3) is None
    assert await find_same_bytes(target, tmp_path / "is not read", 5) is None
