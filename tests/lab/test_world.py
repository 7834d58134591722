"""What becomes of worlds in which something goes wrong: they say so, and leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from osp2p.lab.judge import judge
from osp2p.lab.table import Arrives, File, Get, Hold, Knows, Row, Scenario, Share, Track
from osp2p.lab.world import WorldFailed, run_world

SMALL = File("a b.txt", 3000)
TRACKER = Row(who="tracker", when=1, does=Track(), expect=(Knows(peers=1),))
ANNA = Row(who="anna", when=2, does=Share(files=(SMALL,)))
DORA = Row(who="dora", when=3, does=Get(files=(SMALL,)), expect=(Arrives(),))
WORLD = Scenario(title="-", rows=(TRACKER, ANNA, DORA))


def processes_of(directory: Path) -> list[str]:
    """The command lines of running programs whose output goes to `directory`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            out = (entry / "fd" / "1").readlink()
            if out.is_relative_to(directory) and "osp2p" in (entry / "cmdline").read_text():
                found.append((entry / "cmdline").read_text())
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    return found


async def test_a_small_world_comes_true(tmp_path: Path) -> None:
    told: list[str] = []
    world = await run_world(WORLD, 1, tmp_path, told.append)
    assert [verdict for verdict in judge(world) if not verdict.ok] == []
    assert [line.partition(":")[0] for line in told] == ["tracker", "anna", "dora"]
    assert (tmp_path / "dora" / "a b.txt").read_bytes() == (tmp_path / "anna" / "a b.txt").read_bytes()
    assert not processes_of(tmp_path)


async def test_what_nobody_has_does_not_arrive(tmp_path: Path) -> None:
    missing = replace(DORA, does=Get(files=(SMALL, File("nobody has it", 10))))
    world = await run_world(replace(WORLD, rows=(TRACKER, ANNA, missing)), 1, tmp_path, lambda line: None)
    (failed,) = [verdict for verdict in judge(world) if not verdict.ok]
    assert failed.who == "dora"
    assert "nobody has it did not arrive" in failed.text
    assert "a b.txt" not in failed.text


async def test_a_world_that_takes_too_long_fails_and_is_cleared_away(tmp_path: Path) -> None:
    endless = Row(who="snail", when=2, does=Hold(files=(SMALL,), rate=10))
    scenario = Scenario(title="-", rows=(TRACKER, endless, DORA), within=4)
    with pytest.raises(WorldFailed, match="within 4 s: still waiting for dora"):
        await run_world(scenario, 1, tmp_path, lambda line: None)
    assert not processes_of(tmp_path)


async def test_who_cannot_begin_is_named_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho there is no $3 here >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))
    with pytest.raises(WorldFailed, match="tracker has ended; its last words:\nthere is no tracker here"):
        await run_world(WORLD, 1, tmp_path, lambda line: None)


async def test_a_disk_that_refuses_fails_the_world(tmp_path: Path) -> None:
    impossible = replace(ANNA, does=Share(files=(File("x" * 300, 1),)))
    with pytest.raises(WorldFailed, match=r"(?i)name too long"):
        await run_world(replace(WORLD, rows=(TRACKER, impossible)), 1, tmp_path, lambda line: None)
    assert not processes_of(tmp_path)


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    slow = Row(who="snail", when=2, does=Hold(files=(SMALL,), rate=10))
    started = trio.Event()

    def tell(line: str) -> None:
        if line.startswith("snail"):
            started.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_world, Scenario(title="-", rows=(TRACKER, slow, DORA)), 1, tmp_path, tell)
        await started.wait()
        assert processes_of(tmp_path)
        nursery.cancel_scope.cancel()
    assert not processes_of(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_all_that_it_started(number: signal.Signals, tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    command = [sys.executable, "-u", "-m", "osp2p", "lab", "slow", "--keep", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as lab:
        assert lab.stdout is not None
        assert lab.stderr is not None
        while "tracker:" not in lab.stdout.readline():
            assert lab.poll() is None
        assert processes_of(directory)
        os.kill(lab.pid, number)
        assert lab.wait(20) == 130
        assert "interrupted" in lab.stderr.read()
    assert not processes_of(directory)
