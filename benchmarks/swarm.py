"""One seed and eight fetchers, every link limited: the last finisher against the fluid bound, and libtorrent likewise.

Run as root: ``.venv/bin/python benchmarks/swarm.py [--peers 8] [--mib 64] [--mbit 100] [--rounds 3] [--json]``. Needs
Debian's iproute2, and for the comparison PyPI's libtorrent in the same environment (left out, with a word, without).

Each host is a network namespace whose link is a token bucket of the same rate in both directions. All fetchers are
started, and begin together at a barrier; what is timed is from there to the last rename. The fluid bound is
max(F/u, F/d, N F / (u + N u)) for N downloaders, a file of F bytes, and links of u = d (Kumar and Ross, 2006).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from side_by_side import OSP2P, need, running, workspace

_PORT = 11111


def ip(*words: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


def inside(host: int, *command: str) -> list[str]:
    """A command in the namespace of a host."""
    return ["ip", "netns", "exec", f"osp2p{host}", *command]


@contextmanager
def network(hosts: int, mbit: int) -> Iterator[None]:
    """Hosts 0 to `hosts` - 1 at 10.77.0.(host + 1), on one bridge, each behind a link of `mbit` in each direction."""
    names = ["osp2phub", *(f"osp2p{host}" for host in range(hosts))]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", "osp2phub", "link", "add", "br0", "type", "bridge")
        ip("-n", "osp2phub", "link", "set", "br0", "up")
        for host in range(hosts):
            name = f"osp2p{host}"
            ip("-n", "osp2phub", "link", "add", f"h{host}", "type", "veth", "peer", "name", "e0", "netns", name)
            ip("-n", "osp2phub", "link", "set", f"h{host}", "master", "br0", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{host + 1}/24", "dev", "e0")
            ip("-n", name, "link", "set", "e0", "up")
            for where, device in ((name, "e0"), ("osp2phub", f"h{host}")):
                bucket = ["tbf", "rate", f"{mbit}mbit", "burst", "64k", "latency", "100ms"]
                subprocess.run(
                    ["ip", "netns", "exec", where, "tc", "qdisc", "add", "dev", device, "root", *bucket], check=True
                )
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


_FETCHER = """
import sys, time, random, trio
from pathlib import Path
import osp2p
async def main():
    tracker, target = sys.argv[1], Path(sys.argv[2])
    async with osp2p.open_node(trackers=[tracker], cache=target.with_suffix(".cache")) as node:
        await node.listen()
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        done = await node.get(b"file", target)
        assert done.verified == "b3", done
        print(time.monotonic(), done.fetched, flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
trio.run(main)
"""

_TORRENT = """
import sys, time, libtorrent as lt
role, torrent, directory, listen, seed = sys.argv[1:]
session = lt.session({"listen_interfaces": listen + ":6881", "enable_dht": False, "enable_lsd": False,
    "enable_upnp": False, "enable_natpmp": False, "allow_multiple_connections_per_ip": True})
info = lt.torrent_info(torrent)
if role != "seed":
    print("ready", flush=True); sys.stdin.readline()
handle = session.add_torrent({"ti": info, "save_path": directory})
if role == "seed":
    while not handle.status().is_seeding: time.sleep(0.05)
    print("ready", flush=True); sys.stdin.readline()
else:
    for number in range(int(seed)):
        handle.connect_peer(("10.77.0.%d" % (number + 1), 6881))
    while not handle.status().is_seeding: time.sleep(0.01)
    print(time.monotonic(), 0, flush=True); sys.stdin.readline()
"""


def race(fetchers: list[subprocess.Popen[str]]) -> float:
    """Let all begin together. Returns: seconds until the last has finished."""
    for process in fetchers:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit("a fetcher did not come up")
    started = time.monotonic()
    for process in fetchers:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = []
    for process in fetchers:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit("a fetcher failed")
        ends.append(float(line.split()[0]))
    return max(ends) - started


def start(command: list[str], log: Path) -> subprocess.Popen[str]:
    """Start a fetcher that speaks through its standard input and output."""
    with log.open("ab") as errors:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)


def ours(work: Path, peers: int, source: Path) -> float:
    """One race of ours. Returns: seconds."""
    tracker = f"10.77.0.1:{_PORT}"
    environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
    with ExitStack() as stack:
        log = stack.enter_context((work / "ours.log").open("ab"))
        quiet = {"stdout": log, "stderr": log, "env": environment}
        stack.enter_context(running(inside(0, *OSP2P, "tracker", "--port", str(_PORT)), **quiet))
        time.sleep(1)
        stack.enter_context(running(inside(0, *OSP2P, "share", str(source), "-t", tracker), **quiet))
        _wait_for_b3(tracker)
        fetchers = []
        for number in range(1, peers + 1):
            target = work / f"out{number}"
            target.unlink(missing_ok=True)
            command = inside(number, sys.executable, "-c", _FETCHER, tracker, str(target))
            fetchers.append(start(command, work / "ours.log"))
        try:
            return race(fetchers)
        finally:
            end(fetchers)


def end(fetchers: list[subprocess.Popen[str]]) -> None:
    """Let fetchers go."""
    for process in fetchers:
        process.kill()
        process.wait()


def _wait_for_b3(tracker: str) -> None:
    for _ in range(100):
        listed = subprocess.run(inside(0, *OSP2P, "ls", "-t", tracker, "--json"), capture_output=True, check=False)
        if b'"b3"' in listed.stdout:
            return
        time.sleep(0.1)
    sys.exit("the tracker never knew the file")


def torrent(work: Path, peers: int, source: Path) -> float:
    """One race of libtorrent. Returns: seconds."""
    import libtorrent

    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, str(source / "file"))
    created = libtorrent.create_torrent(storage, 256 * 1024)
    libtorrent.set_piece_hashes(created, str(source))
    description = work / "file.torrent"
    description.write_bytes(libtorrent.bencode(created.generate()))
    processes = []
    try:
        for number in range(peers + 1):
            directory = source if number == 0 else work / f"torrent{number}"
            subprocess.run(["rm", "-rf", str(work / f"torrent{number}")], check=True)
            directory.mkdir(exist_ok=True)
            role = "leech" if number else "seed"
            words = [role, str(description), str(directory), f"10.77.0.{number + 1}", str(peers + 1)]
            processes.append(start(inside(number, sys.executable, "-c", _TORRENT, *words), work / "torrent.log"))
        seed, *fetchers = processes
        assert seed.stdout is not None
        seed.stdout.readline()
        return race(fetchers)
    finally:
        end(processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--mbit", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    need("ip")
    if os.geteuid() != 0:
        sys.exit("this benchmark makes network namespaces: run it as root")
    try:
        import libtorrent  # noqa: F401
    except ImportError:
        print("libtorrent is not installed (pip install libtorrent): measured without it", file=sys.stderr)
        racers = {"osp2p": ours}
    else:
        racers = {"osp2p": ours, "libtorrent": torrent}
    size, speed = options.mib << 20, options.mbit * 1e6 / 8
    bound = max(size / speed, options.peers * size / (speed + options.peers * speed))
    times: dict[str, list[float]] = {name: [] for name in racers}
    with workspace() as work, network(options.peers + 1, options.mbit):
        source = work / "source"
        source.mkdir()
        (source / "file").write_bytes(os.urandom(size))
        for number in range(1, options.rounds + 1):
            for name, racer in racers.items():
                times[name].append(racer(work, options.peers, source))
                print(f"  round {number}: {name} {times[name][-1]:.2f} s", file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in times.items()}
    if options.json:
        print(json.dumps({"benchmark": "swarm", "bound_seconds": bound, "median_seconds": medians, "all": times}))
        return
    print(f"one seed, {options.peers} fetchers, {options.mib} MiB, {options.mbit} Mbit/s: fluid bound {bound:.2f} s")
    for name, seconds in medians.items():
        print(f"  {name:12} {seconds:6.2f} s to the last rename, {seconds / bound:.2f} of the bound")


if __name__ == "__main__":
    main()
