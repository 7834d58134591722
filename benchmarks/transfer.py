"""One large file to one machine: ours, verified, against curl and aria2c from nginx, unverified, and the bare limit.

Run: ``.venv/bin/python benchmarks/transfer.py [--mib 2048] [--rounds 5] [--json]``. Needs Debian's nginx-light, aria2
and curl, and three times the file's size on /dev/shm. Each program is timed as a whole command, with its start. The
bare limit is os.sendfile to recv_into 1 MiB to write, with no protocol and no proof; ours is compared with it by the
transfer's own time, from the first question to the rename.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from side_by_side import OSP2P, interleaved, need, nginx, sharer, show, workspace

_SENDER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0)); print(listener.getsockname()[1], flush=True)
size = os.path.getsize(sys.argv[1])
while True:
    connection, _ = listener.accept()
    with open(sys.argv[1], "rb") as file:
        sent = 0
        while sent < size:
            sent += os.sendfile(connection.fileno(), file.fileno(), sent, size - sent)
    connection.close()
"""


def bare(port: int, target: Path) -> float:
    """Receive a file with nothing between the kernel and the disk. Returns: seconds."""
    target.unlink(missing_ok=True)
    buffer = memoryview(bytearray(1 << 20))
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as sock, target.open("wb", buffering=0) as file:
        while count := sock.recv_into(buffer):
            file.write(buffer[:count])
    return time.perf_counter() - started


def timed(command: list[str], target: Path) -> float:
    """Run a fetching command into a target that is not there before. Returns: seconds."""
    target.unlink(missing_ok=True)
    started = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode or not target.exists():
        sys.exit(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=2048, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    need("nginx", "curl", "aria2c")
    with workspace() as work:
        source, out = work / "source", work / "out"
        source.mkdir()
        out.mkdir()
        block = random.Random(1).randbytes(1 << 20)
        with (source / "file").open("wb") as file:
            for number in range(options.mib):
                file.write(number.to_bytes(8) + block[8:])
        alone: list[float] = []

        def ours() -> float:
            """The whole command; the transfer's own time is noted on the side."""
            (out / "ours").unlink(missing_ok=True)
            started = time.perf_counter()
            done = subprocess.run(
                [*OSP2P, "get", "file", "-t", tracker, "-o", str(out / "ours"), "--require-verified", "--json"],
                capture_output=True,
                check=False,
            )
            seconds = time.perf_counter() - started
            last = [json.loads(line) for line in done.stdout.splitlines()]
            if done.returncode or not any(event.get("verified") for event in last):
                sys.exit(f"osp2p get failed: {done.stderr.decode(errors='replace')[-2000:]}")
            alone.append(next(event["seconds"] for event in reversed(last) if "seconds" in event))
            return seconds

        with (
            sharer(source, work) as tracker,
            nginx(source, work) as web,
            subprocess.Popen([sys.executable, "-c", _SENDER, str(source / "file")], stdout=subprocess.PIPE) as sender,
        ):
            assert sender.stdout is not None
            port = int(sender.stdout.readline())
            aria = ["aria2c", "-q", "-x4", "-s4", "--file-allocation=none", "-d", str(out), "-o", "aria"]
            times = interleaved(
                {
                    "osp2p, verified": ours,
                    "nginx to curl": lambda: timed(
                        ["curl", "-sS", "-o", str(out / "curl"), f"http://{web}/file"], out / "curl"
                    ),
                    "nginx to aria2c -x4 -s4": lambda: timed([*aria, f"http://{web}/file"], out / "aria"),
                    "bare limit": lambda: bare(port, out / "bare"),
                },
                options.rounds,
            )
            sender.kill()
        os.sync()
    show(f"{options.mib} MiB, whole command", times, "osp2p, verified", options.mib, "MiB/s", options.json)
    share = statistics.median(b / mine for b, mine in zip(times["bare limit"], alone[1:], strict=True))
    if options.json:
        print(json.dumps({"benchmark": "transfer alone against the bare limit", "speed_ratio": share}))
    else:
        print(f"  the transfer alone reaches {share:.2f} of the bare limit's speed")


if __name__ == "__main__":
    main()
