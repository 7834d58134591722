"""What a second, equal source brings: one file from one sharer behind a limited link, and from two.

Run: ``.venv/bin/python benchmarks/two_sources.py [--mib 100] [--rate 20] [--rounds 5] [--json]``. Each sharer's link is
its ``--limit-up``, in MiB/s; whole commands are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from side_by_side import OSP2P, free_port, interleaved, run, running, wait_for_digests, wait_for_port, workspace


def open_source(stack: ExitStack, work: Path, source: Path, rate: int, sharers: int) -> str:
    """A tracker, and sharers of one directory with limited links. Returns: the tracker's address."""
    port = free_port()
    tracker = f"127.0.0.1:{port}"
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    stack.enter_context(running([*OSP2P, "tracker", "--port", str(port), "--local"], **quiet))
    wait_for_port(port)
    environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
    for _ in range(sharers):
        command = [*OSP2P, "share", str(source), "-t", tracker, "--limit-up", f"{rate}MiB"]
        stack.enter_context(running(command, env=environment, **quiet))
    wait_for_digests(tracker, 1)
    _wait_for_holders(tracker, sharers)
    return tracker


def _wait_for_holders(tracker: str, sharers: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        listed = subprocess.run([*OSP2P, "who", "-t", tracker, "--json"], capture_output=True, check=False)
        if listed.stdout.count(b'"peer"') >= sharers:
            return
        time.sleep(0.1)
    sys.exit(f"the tracker never knew {sharers} sharers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=100, help="size of the file")
    parser.add_argument("--rate", type=int, default=20, help="of each link, in MiB/s")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with workspace() as work, ExitStack() as stack:
        source = work / "source"
        source.mkdir()
        (source / "file").write_bytes(random.Random(1).randbytes(options.mib << 20))
        trackers = {count: open_source(stack, work, source, options.rate, count) for count in (1, 2)}

        def fetch(count: int) -> float:
            target = work / f"out{count}"
            target.unlink(missing_ok=True)
            return run([*OSP2P, "get", "file", "-t", trackers[count], "-o", target, "--require-verified"])

        times = interleaved({"one": lambda: fetch(1), "two": lambda: fetch(2)}, options.rounds)
    ratio = statistics.median(one / two for one, two in zip(times["one"], times["two"], strict=True))
    medians = {name: statistics.median(values) for name, values in times.items()}
    if options.json:
        print(json.dumps({"benchmark": "a second source", "speed_ratio": ratio, "median_seconds": medians}))
        return
    print(f"{options.mib} MiB, links of {options.rate} MiB/s, whole commands")
    for name, seconds in medians.items():
        print(f"  {name} source{'s' if name == 'two' else ' '} {seconds:8.3f} s   {options.mib / seconds:8.2f} MiB/s")
    print(f"  two sources give {ratio:.2f} times the rate of one")


if __name__ == "__main__":
    main()
