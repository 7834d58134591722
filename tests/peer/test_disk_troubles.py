"""Disks that are full or read-only, and files that change while they are served: on real disks and sockets."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace as replace_field
from pathlib import Path

import pytest
import trio

from osp2p.content.chunks import MIN_CHUNK
from osp2p.content.journal import read_journal
from osp2p.errors import DiskFull, Osp2pError, StoreError
from osp2p.limits import MIB, Limits
from osp2p.peer.events import Event, TransferDone, TransferProgress
from osp2p.peer.node import Node, open_node
from osp2p.tracker import TrackerOptions
from tests.tracker.talk import running_tracker, until

CONTENT = random.Random(1).randbytes(4 * MIB)
OTHER = random.Random(2).randbytes(len(CONTENT))

#: Who gives up soon, so that tests do.
HASTY = replace_field(Limits(), retry_window=0.5, retry_pause=0.1)

#: Bytes a second at which files are fetched here: long enough for something to happen meanwhile.
RATE = 8.0 * MIB


class World:
    """A tracker, a sharer of a directory, and a peer that fetches from it."""

    def __init__(self, shared: Path, peer: Node, port: int) -> None:
        self.shared = shared
        self.peer = peer
        self.port = port

    async def get(self, target: Path, meanwhile: Callable[[], None] = lambda: None) -> TransferDone:
        """Fetch the file; do something when some of it is proved."""
        done = False

        def report(event: Event) -> None:
            nonlocal done
            if isinstance(event, TransferProgress) and not done:
                done = True
                meanwhile()

        return await self.peer.get(b"f", target, report=report)


@asynccontextmanager
async def world(directory: Path, size: int = len(CONTENT)) -> AsyncIterator[World]:
    shared = directory / "shared"
    shared.mkdir()
    (shared / "f").write_bytes(CONTENT)
    os.truncate(shared / "f", size)
    (shared / "other").write_bytes(b"other")
    for path in shared.iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))  # nobody waits for what was written long ago
    with trio.fail_after(60):
        async with running_tracker(options=TrackerOptions(local=True)) as (address, *_):
            tracker = f"127.0.0.1:{address.port}"
            async with (
                open_node(trackers=[tracker], cache=directory / "cache1") as sharer,
                open_node(trackers=[tracker], cache=directory / "cache2", limits=HASTY, limit_down=RATE) as peer,
            ):
                await sharer.share(shared)
                port = (await sharer.listen()).port

                async def hashed() -> bool:
                    return all(b"b3" in entry.attributes for entry in await peer.list_files())

                await until(hashed)
                yield World(shared, peer, port)


def partials(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name.startswith(".")]


async def assert_resumed(made: World, target: Path) -> None:
    """The next fetch goes on from what was proved before. (A chunk may be asked for twice before it comes.)"""
    proved = state.proved if (state := read_journal(target.with_name(".f.osp2p-journal"))) is not None else []
    assert not target.exists()
    done = await made.get(target)
    assert done.resumed == len(proved) * MIN_CHUNK
    assert len(CONTENT) <= done.resumed + done.fetched <= len(CONTENT) + 2 * MIN_CHUNK
    assert target.read_bytes() == CONTENT
    assert partials(target.parent) == []


@contextmanager
def disk(at: Path, size: str) -> Iterator[Path]:
    """A small disk of its own. The test is skipped where none may be mounted."""
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


# --- full ---


async def test_a_disk_that_becomes_full_keeps_what_is_proved(tmp_path: Path) -> None:
    def fill() -> None:
        with (place / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                return

    with disk(tmp_path / "disk", "16m") as place:
        async with world(tmp_path) as made:
            with pytest.raises(DiskFull, match="no space left"):
                await made.get(place / "f", fill)
            (place / "ballast").unlink()
            assert partials(place)
            await assert_resumed(made, place / "f")


async def test_what_does_not_fit_is_refused_before_a_byte_comes(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "3m") as place:
        async with world(tmp_path) as made:
            with pytest.raises(DiskFull, match="no space left"):
                await made.get(place / "f")
        assert list(place.iterdir()) == []


async def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        place = tmp_path / "place"
        place.mkdir()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
        try:
            with pytest.raises(DiskFull):
                await made.get(place / "f")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await assert_resumed(made, place / "f")


# --- read-only ---


@contextmanager
def read_only(at: Path) -> Iterator[Path]:
    """A directory in which nothing can be made: by its mode, or, since root may do all, by its disk."""
    if os.geteuid():
        at.mkdir()
        at.chmod(0o555)
        yield at
        at.chmod(0o755)
        return
    with disk(at, "16m"):
        subprocess.run(["mount", "-o", "remount,ro", str(at)], check=True)
        yield at


@pytest.mark.parametrize("name", ["f", "sub/f", "deep/er/f"])
async def test_a_read_only_directory_is_one_clear_sentence(tmp_path: Path, name: str) -> None:
    async with world(tmp_path) as made:
        with read_only(tmp_path / "place") as place:
            for wanted in (b"f", b"other"):
                with pytest.raises(StoreError, match=r"cannot .*place.*: (read-only file system|permission denied)"):
                    await made.peer.get(wanted, place / name)
            assert list(place.iterdir()) == []


# --- changed while it is served ---


def truncate(path: Path) -> None:
    os.truncate(path, len(CONTENT) // 3)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(OTHER)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(OTHER)


def replace(path: Path) -> None:
    new = path.with_name(".new")
    new.write_bytes(OTHER)
    new.rename(path)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [truncate, overwrite, append, replace, empty, delete])
async def test_a_file_that_changes_while_it_is_fetched_is_never_a_mixture(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    async with world(tmp_path) as made:
        path = made.shared / "f"
        try:
            done = await made.get(place / "f", lambda: change(path))
        except Osp2pError:
            assert not (place / "f").exists()
        else:
            now = path.read_bytes() if path.exists() else None
            assert (place / "f").read_bytes() in (CONTENT, now)
            assert done.verified is not None
        assert {one.name for one in place.iterdir() if not one.name.startswith(".")} <= {"f"}
        await made.peer.get(b"other", place / "other")
        assert (place / "other").read_bytes() == b"other"


@pytest.mark.parametrize("change", [truncate, overwrite, empty])
async def test_to_a_client_of_2007_such_a_file_ends_in_a_reset(tmp_path: Path, change: Callable[[Path], None]) -> None:
    async with world(tmp_path, 12 * len(CONTENT)) as made:  # more than the kernel takes while nobody reads
        async with await trio.open_tcp_stream("127.0.0.1", made.port) as stream:
            stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 65536)
            await stream.send_all(b"GET f OSP2P\n")
            assert await stream.receive_some(1000)
            change(made.shared / "f")
            with pytest.raises(trio.BrokenResourceError):
                while await stream.receive_some(65536):
                    pass
        await made.peer.get(b"other", tmp_path / "got")


def test_no_file_is_ever_mapped_so_none_can_end_us_by_shrinking() -> None:
    """Whoever reads a mapped file that was truncated is ended by SIGBUS."""
    package = Path(__file__).resolve().parents[2] / "osp2p"
    paths = sorted(package.rglob("*.py"))
    assert paths
    assert not [path for path in paths if "mmap" in path.read_text()]
