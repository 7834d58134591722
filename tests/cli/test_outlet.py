"""Output whose reader reads, reads late, goes away, or does not read at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from osp2p.cli import outlet as outlet_module
from osp2p.cli.outlet import Outlet
from tests.cli.processes import OSP2P, PATIENCE, World

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe of one page."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # the test has closed it


def outlet_of(fd: int) -> Outlet:
    return Outlet(fd, lambda lost: b"[%d lost]\n" % lost)


def read_all(fd: int, into: list[bytes], pause: float = 0.0) -> threading.Thread:
    """Read until the end, in a thread."""

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end of a terminal is closed
            while data := os.read(fd, 1000):
                into.append(data)
                time.sleep(pause)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_what_is_read_at_once_needs_no_thread(pipe: Pipe) -> None:
    outlet = outlet_of(pipe[1])
    for number in range(100):
        outlet.write(b"%d\n" % number)
        assert os.read(pipe[0], 100) == b"%d\n" % number
    assert not outlet.is_behind
    assert "outlet" not in [thread.name for thread in threading.enumerate()]


def test_nobody_waits_for_a_reader_and_nothing_is_lost(pipe: Pipe) -> None:
    outlet = outlet_of(pipe[1])
    lines = [b"%d %s\n" % (number, b"x" * (number % 5000)) for number in range(1000)]
    for line in lines:
        outlet.write(line)
    assert outlet.is_behind
    heard: list[bytes] = []
    reader = read_all(pipe[0], heard)
    outlet.drain()
    assert not outlet.is_behind
    outlet.write(b"the end")
    outlet.drain()
    os.close(pipe[1])
    reader.join()
    assert b"".join(heard) == b"".join(lines) + b"the end"


def test_what_may_be_lost_is_counted_where_it_is_missing(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "MOST_WAITING", 10_000)
    outlet = outlet_of(pipe[1])
    for number in range(300):
        outlet.offer(b"%099d\n" % number, 1)
    outlet.write(b"data\n")
    heard: list[bytes] = []
    reader = read_all(pipe[0], heard)
    outlet.drain()
    outlet.offer(b"more\n", 1)
    outlet.drain()
    os.close(pipe[1])
    reader.join()
    lines = b"".join(heard).splitlines()
    assert b"data" in lines
    assert lines[-1] == b"more"
    told = kept = 0
    for line in lines[:-1]:
        if gap := re.fullmatch(rb"\[(\d+) lost\]", line):
            told += int(gap[1])
        elif line != b"data":
            assert int(line) == told + kept, "what is lost is lost here"
            kept += 1
    assert told + kept == 300
    assert 90 <= kept < 300


def test_a_reader_that_goes_away_is_noticed(pipe: Pipe) -> None:
    outlet = outlet_of(pipe[1])
    outlet.write(bytes(100_000))
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        outlet.drain()
    tries: list[Callable[[], None]] = [lambda: outlet.write(b"x"), lambda: outlet.offer(b"x", 1), outlet.drain]
    for again in tries:
        with pytest.raises(BrokenPipeError):
            again()


def test_a_reader_that_takes_nothing_is_given_up_and_a_slow_one_is_not(pipe: Pipe) -> None:
    outlet = outlet_of(pipe[1])
    outlet.write(bytes(20_000))
    outlet.drain(patience=0.01)
    assert outlet.is_behind
    heard: list[bytes] = []
    reader = read_all(pipe[0], heard, pause=0.01)
    outlet.drain(patience=2.0)
    assert not outlet.is_behind
    os.close(pipe[1])
    reader.join()
    assert len(b"".join(heard)) == 20_000


def _regular(directory: Path) -> int:
    return os.open(directory / "file", os.O_WRONLY | os.O_CREAT)


def _null(_: Path) -> int:
    return os.open(os.devnull, os.O_WRONLY)


@pytest.mark.parametrize("made", [_regular, _null])
def test_a_file_has_no_reader_to_wait_for(tmp_path: Path, made: Callable[[Path], int]) -> None:
    fd = made(tmp_path)
    outlet = outlet_of(fd)
    outlet.write(bytes(1_000_000))
    assert not outlet.is_behind
    os.close(fd)
    with pytest.raises(OSError, match="descriptor"):
        outlet.write(b"x")


def test_a_terminal_and_a_socket_hold_nobody_up_either() -> None:
    for ours, theirs in (os.openpty(), tuple(end.detach() for end in socket.socketpair())):
        outlet = outlet_of(theirs)
        outlet.write(b"x" * 1_000_000)
        assert outlet.is_behind
        taken = 0
        while taken < 1_000_000:
            taken += len(os.read(ours, 65536))
        outlet.drain()
        os.close(ours)
        os.close(theirs)


def fill(terminal: int) -> None:
    """Write until not even a byte more is taken."""
    os.set_blocking(terminal, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(terminal, b"x")
    os.set_blocking(terminal, True)


@pytest.mark.parametrize("mine", [True, False])
@pytest.mark.parametrize("room", [1, 2, 100, 300, 600])
def test_a_terminal_that_has_a_little_room_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, room: int, mine: bool
) -> None:
    """It is called writable then, and a write would wait all the same."""
    if not mine:
        monkeypatch.setattr(os, "ttyname", lambda fd: "/dev/somebody-elses")
    ours, theirs = os.openpty()
    fill(theirs)
    outlet = outlet_of(theirs)
    os.read(ours, room)
    writer = threading.Thread(target=outlet.write, args=(b"y" * 2000,), daemon=True)
    writer.start()
    writer.join(PATIENCE)
    assert not writer.is_alive()
    heard = b""
    while heard.count(b"y") < 2000:
        heard += os.read(ours, 65536)
    outlet.drain()
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("read_in_the_end", [True, False])
async def test_a_sharer_whose_records_nobody_reads_serves_on(tmp_path: Path, read_in_the_end: bool) -> None:
    """And when somebody reads them in the end, none is missing; when nobody does, it ends all the same."""
    world = World(tmp_path)
    count = 300
    world.files("many", **{f"file{number}": b"content" for number in range(count)})
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    async with world.tracker():
        command = [*OSP2P, "share", "many", "--json", "--port", "0"]
        process = await trio.lowlevel.open_process(
            command, cwd=tmp_path, env=os.environ | world.environment, stdout=theirs, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        try:
            for number in range(count):
                await world.wait_for_checksum(b"file%d" % number)
            assert (await world.run("get", "*", "-o", "all/")).code == 0
            assert len(list((tmp_path / "all").iterdir())) == count
            process.terminate()
            heard: list[bytes] = []
            if read_in_the_end:
                await trio.to_thread.run_sync(lambda: read_all(ours, heard).join())
            with trio.fail_after(PATIENCE):
                assert await process.wait() == 0
        finally:
            process.kill()
            os.close(ours)
    if not read_in_the_end:
        return
    records = [json.loads(line) for line in b"".join(heard).splitlines()]
    assert {f"file{number}" for number in range(count)} <= {record.get("name") for record in records}
    assert not [record for record in records if record["event"] == "lost"]


@pytest.mark.parametrize("stopped", [True, False])
async def test_a_fetch_on_a_terminal_that_shows_nothing_goes_on(tmp_path: Path, stopped: bool) -> None:
    """Whether Ctrl-S stopped it, or it is full and its reader does not read; and in the end all is shown."""
    world = World(tmp_path)
    names = [f"file{number}" for number in range(40)]
    ours, theirs = os.openpty()
    if stopped:
        os.write(ours, b"\x13")
    else:
        os.set_blocking(theirs, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(theirs, b"x" * 1000 + b"\r\n")
        os.set_blocking(theirs, True)
    async with world.tracker(), world.sharer(world.files("many", **dict.fromkeys(names, b"x" * 300_000))):
        command = [*OSP2P, "get", "*", "-o", "all/"]
        environment = os.environ | world.environment
        process = await trio.lowlevel.open_process(command, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs)
        os.close(theirs)
        try:
            with trio.fail_after(PATIENCE):
                while {path.name for path in tmp_path.glob("all/file*")} != set(names):  # noqa: ASYNC110  it tells nobody
                    await trio.sleep(0.02)
            assert process.poll() is None, "what was asked for is still to be shown"
            heard: list[bytes] = []
            os.write(ours, b"\x11")
            await trio.to_thread.run_sync(lambda: read_all(ours, heard).join())
            with trio.fail_after(PATIENCE):
                assert await process.wait() == 0
        finally:
            process.kill()
            os.close(ours)
    assert b"".join(heard).count(b"verified by") == len(names)
