"""Each world runs, with real processes, and all that its table expects comes true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from osp2p.lab.catalogue import load_scenario
from osp2p.lab.judge import judge
from osp2p.lab.world import run_world


def test_good_runs_as_its_user_runs_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "osp2p", "lab", "good"], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all came true" in done.stdout
    assert "film.bin" in done.stdout, "the summary names the files"
    assert not done.stderr


@pytest.mark.parametrize("name", ["slow", "bad", "popular", "mixed"])
async def test_each_world_comes_true(name: str, tmp_path: Path) -> None:
    world = await run_world(load_scenario(name), 7, tmp_path, lambda line: None)
    verdicts = judge(world)
    assert verdicts
    assert [verdict for verdict in verdicts if not verdict.ok] == []
