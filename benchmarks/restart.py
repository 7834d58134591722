"""A sharer that is started again over an unchanged directory of 100,000 files: until a tracker knows all of them.

Run: ``.venv/bin/python benchmarks/restart.py [--files 100000] [--rounds 5] [--json]``. The files are on tmpfs; their
digests are in the cache, from a start that does not count. Each round begins with a tracker that knows nothing, and
ends when the sharer says that all are registered, and the tracker lists each with its content id. Beside it stands the
first start, which has to read every byte.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from side_by_side import OSP2P, free_port, running, wait_for_port, workspace


def fill(directory: Path, files: int) -> None:
    """Make small files, a thousand in a directory."""
    for number in range(files):
        path = directory / f"d{number // 1000:03}" / f"f{number:06}"
        if number % 1000 == 0:
            path.parent.mkdir()
        path.write_bytes(b"%d\n" % number)


def start(source: Path, work: Path, files: int) -> float:
    """Start a sharer beside a new tracker. Returns: seconds until it says that all of its files are registered."""
    port = free_port()
    tracker = f"127.0.0.1:{port}"
    environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
    with running(
        [*OSP2P, "tracker", "--port", str(port), "--local"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ):
        wait_for_port(port)
        started = time.perf_counter()
        with running(
            [*OSP2P, "share", source, "-t", tracker, "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as sharer:
            assert sharer.stdout is not None
            for line in sharer.stdout:
                seconds = time.perf_counter() - started
                event = json.loads(line)
                if event["event"] == "registered" and event["registered"] == files and _all_known(tracker, files):
                    return seconds
    sys.exit("the sharer ended before all of its files were registered")


def _all_known(tracker: str, files: int) -> bool:
    """Whether the tracker lists all files with their content ids."""
    listed = subprocess.run([*OSP2P, "ls", "-t", tracker, "--json"], capture_output=True, check=True)
    return listed.stdout.count(b'"b3"') == files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with workspace() as work:
        source = work / "source"
        source.mkdir()
        fill(source, options.files)
        first = start(source, work, options.files)
        again = [start(source, work, options.files) for _ in range(options.rounds)]
    median = statistics.median(again)
    if options.json:
        result = {"benchmark": "restart", "files": options.files, "first_seconds": first, "median_seconds": median}
        print(json.dumps({**result, "all": again}))
        return
    print(f"{options.files} files: known to a new tracker {median:.2f} s after a restart, {first:.2f} s the first time")


if __name__ == "__main__":
    main()
