"""What a download takes of memory does not depend on how large the file is: whole commands, with a sparse source."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.cli.processes import World

#: Far more than a download may take, and quickly read, since it is nowhere on a disk.
SIZE = 300_000_000

#: Most memory that a download may take, in bytes.
MOST = 120_000_000

#: The command line in a process that says at its end how much memory it has had at most.
WATCHED = (
    sys.executable,
    "-c",
    """
import runpy, sys
try:
    runpy.run_module("osp2p", run_name="__main__", alter_sys=True)
finally:
    print(open("/proc/self/status").read(), file=sys.stderr)
""",
)


async def test_a_large_download_takes_little_memory(tmp_path: Path) -> None:
    world = World(tmp_path)
    shared = world.files("shared")
    with (shared / "film").open("wb") as file:
        file.truncate(SIZE)
    async with world.tracker(), world.sharer(shared) as sharer:
        assert sharer
        result = await world.run("get", "film", "-o", "copy", "--json", program=WATCHED)
    assert result.code == 0, result.err
    (done,) = result.of("done")
    assert (done["size"], done["proof"]) == (SIZE, "b3")
    peak = re.search(rb"VmHWM:\s+(\d+) kB", result.err)
    assert peak is not None
    assert int(peak[1]) * 1024 < MOST
    assert (tmp_path / "copy").stat().st_size == SIZE
