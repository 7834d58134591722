"""The network without a tracker, small: ``osp2p trackerless`` is the same with 30 nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osp2p.lab.trackerless import Trackerless, run_trackerless


@pytest.mark.skipif("OSP2P_LONG" not in os.environ, reason="starts ten processes; OSP2P_LONG=1 runs it")
async def test_ten_nodes(tmp_path: Path) -> None:
    said: list[str] = []
    result = await run_trackerless(10, 1, tmp_path, said.append)
    assert result.faults == []
    assert len(result.first) == 10
    assert any("10 of 10 files arrive" in line for line in said)


def test_figures() -> None:
    assert Trackerless(9).medians == (0.0, 0.0)
    assert Trackerless(9, first=[1.0, 2.0, 9.0], whole=[3.0]).medians == (2.0, 3.0)
