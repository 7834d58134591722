"""A tracker that is killed under load: once here, twenty times in the long run."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from osp2p.lab import restarts
from osp2p.lab.restarts import run_restarts


async def test_a_killed_trackers_peers_are_all_back_and_fetches_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "_AWAY_SECONDS", (0.1, 0.2))
    monkeypatch.setattr(restarts, "_FETCH_RATE", "8MB")
    told: list[str] = []
    with trio.fail_after(90):
        result = await run_restarts(1, 7, tmp_path, told.append)
    assert len(result.seconds) == 1
    assert result.answers > 0
    assert not [fault for fault in result.faults if "restart" not in fault]  # how long it takes depends on the machine
    assert "registered again" in told[0]
