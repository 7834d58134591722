"""Each world runs, with real processes, and all that its table expects comes true."""

from __future__ import annotations

import subprocess
import sys

import pytest

from osp2p.lab import main


def test_good_runs_as_its_user_runs_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "osp2p", "lab", "good"], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all came true" in done.stdout
    assert "film.bin" in done.stdout, "the summary names the files"
    assert not done.stderr


@pytest.mark.parametrize("name", ["slow", "bad", "popular", "mixed"])
def test_each_world_comes_true(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([name, "--seed", "7"])
    assert code == 0, capsys.readouterr().out
