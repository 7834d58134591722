"""Runs programs in turn and compares them: what every benchmark here has in common.

Absolute times drift with whatever else the machine does, so programs run interleaved, A B C A B C …, and what counts is
the median of the ratios within each round.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

#: This interpreter running the command line, so that no installed script is needed.
OSP2P = [sys.executable, "-m", "osp2p"]

#: How long a program may take to come up, or to end, in seconds.
_PATIENCE = 60.0


def need(*programs: str) -> None:
    """End with one sentence if a program is not installed: ``nginx`` also stands for its Debian package."""
    packages = {"nginx": "nginx-light", "aria2c": "aria2", "rsync": "rsync", "curl": "curl", "ip": "iproute2"}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        names = " ".join(packages.get(program, program) for program in missing)
        sys.exit(f"this benchmark compares with {', '.join(missing)}: install them, e.g. apt-get install {names}")
    os.environ["PATH"] = path


@contextmanager
def workspace() -> Iterator[Path]:
    """A directory on tmpfs, where the disk does not blur what is measured."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="osp2p-bench-", dir=base) as name:
        yield Path(name)


def free_port() -> int:
    """A TCP port that nobody uses now: one below those that the kernel gives to connections, which come meanwhile."""
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", port))
            return port
    sys.exit("no port is free")


def wait_for_port(port: int) -> None:
    """Wait until somebody listens on a port of this machine."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"nothing listens on port {port}")


@contextmanager
def running(command: Sequence[str | Path], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs as long as the body."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def sharer(directory: Path, work: Path) -> Iterator[str]:
    """A tracker and a sharer of ours, ready with every digest. Yields: the tracker's address."""
    port = free_port()
    tracker = f"127.0.0.1:{port}"
    environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
    log = (work / "share.log").open("wb")
    with log, running([*OSP2P, "tracker", "--port", str(port), "--local"], stderr=log, stdout=log):
        wait_for_port(port)
        with running([*OSP2P, "share", directory, "-t", tracker], env=environment, stderr=log, stdout=log):
            wait_for_digests(tracker, sum(1 for path in directory.rglob("*") if path.is_file()))
            yield tracker


def wait_for_digests(tracker: str, count: int) -> None:
    """Wait until a tracker knows `count` files by their content ids."""
    end = time.monotonic() + 5 * _PATIENCE
    while time.monotonic() < end:
        listed = subprocess.run([*OSP2P, "ls", "-t", tracker, "--json"], capture_output=True, check=False)
        if listed.stdout.count(b'"b3"') >= count:
            return
        time.sleep(0.2)
    sys.exit(f"the tracker never knew {count} files")


@contextmanager
def nginx(directory: Path, work: Path) -> Iterator[str]:
    """nginx with sendfile over a directory. Yields: its address."""
    port = free_port()
    config = work / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {work}/nginx.pid; error_log {work}/nginx.log;\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; sendfile_max_chunk 0;\n"
        f"  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;\n"
        f"  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;\n"
        f"  server {{ listen 127.0.0.1:{port}; root {directory}; }} }}\n"
    )
    with running(["nginx", "-c", config], stderr=subprocess.DEVNULL):
        wait_for_port(port)
        yield f"127.0.0.1:{port}"


def run(command: Sequence[str | Path], **options: object) -> float:
    """Run a command to its end. Returns: seconds. Ends the benchmark if it fails."""
    words = [str(word) for word in command]
    started = time.perf_counter()
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, **options)  # type: ignore[call-overload]
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr.decode(errors='replace')[-2000:]}")
    return seconds


def interleaved(programs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each program once a round, after a round that does not count. Returns: seconds by name, a value a round."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, program in programs.items():
            seconds = program()
            if number:
                times[name].append(seconds)
                print(f"  round {number}: {name} {seconds:.3f} s", file=sys.stderr)
    return times


def ratios(times: Mapping[str, Sequence[float]], ours: str) -> dict[str, float]:
    """How many times as fast as each other program ours was: the median over the rounds."""
    return {
        name: statistics.median(theirs / mine for theirs, mine in zip(values, times[ours], strict=True))
        for name, values in times.items()
        if name != ours
    }


def show(title: str, times: Mapping[str, Sequence[float]], ours: str, amount: float, unit: str, as_json: bool) -> None:
    """Print medians, rates and ratios; as JSON, one object."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    compared = ratios(times, ours)
    if as_json:
        print(json.dumps({"benchmark": title, "median_seconds": medians, "speed_ratio": compared, "all": times}))
        return
    print(title)
    for name, seconds in medians.items():
        ratio = f"   ours is {compared[name]:.2f} times as fast" if name in compared else ""
        print(f"  {name:24} {seconds:8.3f} s   {amount / seconds:10.2f} {unit}{ratio}")
