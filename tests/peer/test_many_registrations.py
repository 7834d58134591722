"""A sharer of thousands of files: they are registered in batches, and once each if their digests are known."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from osp2p.net import MemoryNetwork
from osp2p.peer import open_node
from tests.peer.scripted import HOST, PORT, ScriptedTracker, here, new, open_scripted

FILES = 3000


async def restart(network: MemoryNetwork, directory: Path, cache: Path) -> ScriptedTracker:
    """Share a directory until a tracker knows every file by its content id. Returns: the tracker."""
    tracker = ScriptedTracker(new(lambda line: b"200 x\n"))
    async with (
        open_scripted(network, tracker),
        open_node(trackers=[f"{HOST}:{PORT}"], network=network, cache=cache) as node,
    ):
        with trio.fail_after(60):
            assert await node.share(directory) == FILES
            while len({line.split()[1] for line in tracker.heard if b" b3=" in line}) < FILES:
                await trio.testing.wait_all_tasks_blocked(0.05)
    return tracker


async def test_a_restarted_sharer_tells_each_file_once_with_all_that_is_known(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    for number in range(FILES):
        path = directory / f"d{number // 500}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    network = here()
    await restart(network, directory, tmp_path / "cache")
    again = await restart(network, directory, tmp_path / "cache")
    haves = [line for line in again.heard if line.startswith(b"HAVE ")]
    assert len(haves) == FILES
    assert all(b" size=" in line and b" b3=" in line and b"=" not in line.split()[2] for line in haves)
    assert again.most_unanswered >= 400
