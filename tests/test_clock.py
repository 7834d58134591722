"""The clock on the wall may be set, backwards too: hardly anything looks at it, and what does is none the worse."""

from __future__ import annotations

import ast
import os
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio

import osp2p
from osp2p.content.cache import HashCache
from osp2p.content.digest import digest_in_thread
from osp2p.limits import Limits
from osp2p.peer.events import Event
from osp2p.peer.library import Digested, Library, Offered, open_library

ROOT = Path(osp2p.__file__).parent

#: The rooms on whose times and deadlines others depend.
ROOMS = ("wire", "net", "content", "tracker", "peer", "overlay", "rpc")

#: Who looks at the clock on the wall, and what for.
MAY_LOOK = {
    "peer/library.py",  # whether a file was changed so short a time ago that it may still be being written
    "rpc/calls.py",  # a call says when it was made, so that nobody can repeat it much later
}

WALL = {"time", "time_ns", "localtime", "gmtime", "strftime", "ctime", "asctime"}
TODAY = {"now", "utcnow", "today", "fromtimestamp"}

HOUR = 3600 * 10**9


def looks_at_the_wall(source: str) -> bool:
    """Whether some code asks what time it is, rather than how long something takes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            return True
        if isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if (of == "time" and node.attr in WALL) or (of in ("datetime", "date") and node.attr in TODAY):
                return True
    return False


def test_hardly_anybody_looks_at_the_clock_on_the_wall() -> None:
    looking = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if looks_at_the_wall(path.read_text())
    }
    assert looking <= MAY_LOOK
    assert "peer/library.py" in looking  # else this sees nothing


def test_the_clock_of_deadlines_is_not_the_one_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> float:
        begun = trio.current_time()
        for wall in (time.time, time.time_ns):
            monkeypatch.setattr(time, wall.__name__, lambda: 0)
        return trio.current_time() - begun

    assert 0 <= trio.run(main) < 60


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clock on the wall, to be set."""
    offset = [0]
    true = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: true() + offset[0])
    return offset


def ignore(event: Event) -> None:
    """Nobody listens."""


def write_at(path: Path, content: bytes, when: int) -> None:
    """Write a file as a process does while the clock says `when`."""
    path.write_bytes(content)
    os.utime(path, ns=(when, when))


async def until_digested(library: Library, path: Path) -> bool:
    """Wait until a consumer is told of a file's present digests. Returns: whether it was told of a change before."""
    wanted = await digest_in_thread(path, with_md5=True)
    offered = False
    with trio.fail_after(10):
        while True:
            for change in await library.next_changes():
                offered = offered or (isinstance(change, Offered) and change.changed)
                if isinstance(change, Digested) and change.file.digests == wanted.digests:
                    return offered


async def test_what_is_written_after_the_clock_was_set_back_is_noticed(tmp_path: Path, wall: list[int]) -> None:
    (tmp_path / "shared").mkdir()
    path = tmp_path / "shared" / "f"
    now = time.time_ns()
    write_at(path, b"before", now - HOUR // 2)
    with closing(HashCache(tmp_path / "cache")) as cache:
        async with open_library(tmp_path / "shared", cache, Limits(), ignore) as library:
            await until_digested(library, path)
            wall[0] = -HOUR
            write_at(path, b"behind", now - HOUR)  # as long, and older than what was there
            assert await until_digested(library, path)
            write_at(path, b"future", now + HOUR)  # written before the clock was set, as it looks now
            assert await until_digested(library, path)


async def test_a_cached_digest_is_not_that_of_an_older_file(tmp_path: Path, wall: list[int]) -> None:
    (tmp_path / "shared").mkdir()
    path = tmp_path / "shared" / "f"
    now = time.time_ns()
    for content, when in ((b"before", now - HOUR // 2), (b"behind", now - HOUR)):
        write_at(path, content, when)
        with closing(HashCache(tmp_path / "cache")) as cache:
            async with open_library(tmp_path / "shared", cache, Limits(), ignore) as library:
                await until_digested(library, path)
        wall[0] = -HOUR
