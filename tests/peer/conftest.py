"""What tests of fetches begin with: a tracker of ours, or holders in memory and a place for one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from osp2p.content.store import Target, open_target
from osp2p.limits import Limits
from osp2p.tracker import TrackerOptions
from tests.peer.holders import World
from tests.tracker.talk import start_tracker


@pytest.fixture
async def world(nursery: trio.Nursery, tmp_path: Path) -> World:
    return World(nursery, tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with open_target(tmp_path / "cat.jpg", Limits()) as opened:
        yield opened


@pytest.fixture
async def tracker(nursery: trio.Nursery) -> str:
    """A tracker of ours on a free port."""
    addresses, _ = await start_tracker(nursery, options=TrackerOptions(local=True))
    return f"127.0.0.1:{addresses[0].port}"
