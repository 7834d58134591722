"""Peak memory of a large download: a sparse file of 10 GB, shared by one program and fetched by another, to the disk.

Run: ``.venv/bin/python benchmarks/memory.py [--gb 10] [--directory DIR] [--json]``. The source takes no room; the
result does, in DIR (default: the current directory), and is removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import OSP2P, free_port, running, wait_for_digests, wait_for_port


def peak(pid: int) -> float:
    """The most memory that a running process has had. Returns: MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def fetch(tracker: str, target: Path) -> tuple[float, float]:
    """Fetch the file. Returns: seconds, and the fetcher's peak memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*OSP2P, "get", "file", "-t", tracker, "-o", str(target), "--require-verified"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("osp2p get failed")
    return time.perf_counter() - started, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=10, help="size of the file in 10^9 bytes")
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="osp2p-memory-", dir=options.directory) as name:
        work = Path(name)
        source = work / "source"
        source.mkdir()
        size = int(options.gb * 1e9)
        with (source / "file").open("wb") as file:
            file.truncate(size)
        port = free_port()
        tracker = f"127.0.0.1:{port}"
        quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
        with running([*OSP2P, "tracker", "--port", str(port), "--local"], **quiet):
            wait_for_port(port)
            with running([*OSP2P, "share", source, "-t", tracker], env=environment, **quiet) as sharer:
                wait_for_digests(tracker, 1)
                hashed = peak(sharer.pid)
                seconds, fetcher = fetch(tracker, work / "out")
                if (work / "out").stat().st_size != size:
                    sys.exit("the result has another size")
                served = peak(sharer.pid)
    if options.json:
        result = {"benchmark": "memory", "bytes": size, "seconds": seconds, "fetcher_mb": fetcher}
        print(json.dumps({**result, "sharer_hashed_mb": hashed, "sharer_served_mb": served}))
        return
    print(f"{options.gb:g} GB in {seconds:.0f} s; peak of the fetcher {fetcher:.0f} MB, of the sharer {served:.0f} MB")


if __name__ == "__main__":
    main()
