"""Ten thousand files of 4 KiB into an empty directory, against an rsync daemon.

Run: ``.venv/bin/python benchmarks/small_files.py [--files 10000] [--rounds 5] [--json]``. Needs Debian's rsync.
Both are timed as whole commands, with their start; ours proves each file.
"""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path

from side_by_side import OSP2P, free_port, interleaved, need, run, running, sharer, show, wait_for_port, workspace


def fill(directory: Path, files: int) -> None:
    """Make files of 4 KiB in directories of a hundred."""
    rng = random.Random(1)
    for number in range(files):
        path = directory / f"d{number // 100:04}" / f"f{number:06}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rng.randbytes(4096))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    need("rsync")
    with workspace() as work:
        source, out = work / "source", work / "out"
        source.mkdir()
        fill(source, options.files)
        port = free_port()
        config = work / "rsyncd.conf"
        config.write_text(
            f"port = {port}\naddress = 127.0.0.1\nuse chroot = no\npid file = {work}/rsyncd.pid\n"
            f"log file = {work}/rsyncd.log\n[files]\npath = {source}\nread only = yes\n"
        )

        def emptied() -> Path:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            return out

        def ours() -> float:
            return run([*OSP2P, "get", "**", "-t", tracker, "-o", f"{emptied()}/"])

        with (
            sharer(source, work) as tracker,
            running(["rsync", "--daemon", "--no-detach", f"--config={config}"]),
        ):
            wait_for_port(port)
            times = interleaved(
                {
                    "osp2p, verified": ours,
                    "rsync daemon": lambda: run(["rsync", "-r", f"rsync://127.0.0.1:{port}/files/", f"{emptied()}/"]),
                },
                options.rounds,
            )
    show(f"{options.files} files of 4 KiB", times, "osp2p, verified", options.files, "files/s", options.json)


if __name__ == "__main__":
    main()
