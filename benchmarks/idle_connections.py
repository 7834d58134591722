"""How fast honest commands are answered while thousands of connections hang on a server and say nothing, or next to it.

    .venv/bin/python benchmarks/idle_connections.py [--idle 5000] [--dripping 1000] [--seconds 20] [--json]

A tracker, and then a sharer, each a process of its own as a user starts it. Another process, at nice 19, holds the
crowd: idle connections that never say a word, and dripping ones, each of which sends one byte of an endless line a
second. They come from 127.1.x.y, 250 of each address; whenever the server closes one, another takes its place. The
honest ones come from 127.0.0.1. One command of theirs is on its way at a time; in turn, it goes over a connection that
stands, and over a new one, whose greeting or HELLO counts, too.

Printed are the percentiles of their times in milliseconds, without the crowd and with it, how many of the crowd were
connected, how often one was closed, and the server's memory. Ends with 0 if every answer was right and each p99 with
the crowd is below --p99 milliseconds.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

PER_ADDRESS = 250

#: Drippers send in so many groups a second, one behind the other.
GROUPS = 20

SMALL = b"a small file\n" * 10
FILES = 200

Ask = Callable[[], None]


# --- the crowd, in a process of its own ---


class Crowd:
    """Connections that are kept open, all from one thread."""

    def __init__(self, port: int, idle: int, dripping: int) -> None:
        self._port = port
        self._total = idle + dripping
        self._dripping = dripping
        self._poll = select.epoll()
        self._sockets: dict[int, tuple[socket.socket, int]] = {}
        self._by_place: dict[int, socket.socket] = {}
        self._empty = list(range(self._total))
        self.closed = 0

    @property
    def size(self) -> int:
        """How many are connected."""
        return len(self._sockets)

    def connect_some(self, most: int) -> None:
        """Fill empty places; numbers below `dripping` drip."""
        for _ in range(min(most, len(self._empty))):
            place = self._empty.pop()
            address = place // PER_ADDRESS
            sock = socket.socket()
            sock.bind((f"127.1.{address // 250}.{1 + address % 250}", 0))
            try:
                sock.connect(("127.0.0.1", self._port))
            except OSError:
                sock.close()
                self._empty.append(place)
                return
            sock.setblocking(False)
            self._poll.register(sock, select.EPOLLIN)
            self._sockets[sock.fileno()] = (sock, place)
            self._by_place[place] = sock

    def _drop(self, sock: socket.socket) -> None:
        _, place = self._sockets.pop(sock.fileno())
        del self._by_place[place]
        sock.close()
        self._empty.append(place)
        self.closed += 1

    def listen(self, seconds: float) -> None:
        """Read whatever comes for a while, and notice who was closed."""
        for number, _ in self._poll.poll(seconds):
            sock, _ = self._sockets[number]
            try:
                if not sock.recv(65536):
                    self._drop(sock)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self._drop(sock)

    def drip(self, group: int) -> None:
        """Send one byte on each dripping connection of a group."""
        for place in range(group, self._dripping, GROUPS):
            sock = self._by_place.get(place)
            if sock is not None:
                try:
                    sock.send(b"a")
                except OSError:
                    self._drop(sock)


def run_crowd(port: int, idle: int, dripping: int) -> None:
    """Hold a crowd until standard input ends; say how large it is whenever a line comes there."""
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    crowd = Crowd(port, idle, dripping)
    orders = select.poll()
    orders.register(sys.stdin, select.POLLIN)
    for group in cycle(range(GROUPS)):
        end = time.monotonic() + 1 / GROUPS
        crowd.connect_some(100)
        crowd.drip(group)
        while (left := end - time.monotonic()) > 0:
            crowd.listen(left)
        if orders.poll(0):
            if not sys.stdin.readline():
                return
            print(json.dumps({"size": crowd.size, "closed": crowd.closed}), flush=True)


class CrowdProcess:
    """A crowd, from outside."""

    def __init__(self, port: int, idle: int, dripping: int) -> None:
        command = [sys.executable, __file__, "--crowd", str(port), str(idle), str(dripping)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self) -> dict[str, int]:
        """How many are connected, and how often one was closed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        found: dict[str, int] = json.loads(self._process.stdout.readline())
        return found

    def wait_complete(self, total: int) -> None:
        """Wait until nearly all are connected at a time."""
        end = time.monotonic() + 60
        while self.ask()["size"] < 0.99 * total:
            if time.monotonic() > end:
                raise SystemExit(f"the crowd does not get together: {self.ask()}")
            time.sleep(0.2)

    def end(self) -> None:
        """Let go of them all."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


# --- honest clients ---


class Client:
    """One honest connection."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 20)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reply(self) -> bytes:
        """Read one reply; all that comes up to a line that begins with a code and a blank."""
        data = b""
        while not (data.endswith(b"\n") and data[:-1].rpartition(b"\n")[2][3:4] == b" "):
            more = self._sock.recv(65536)
            if not more:
                raise ConnectionError("closed on an honest client")
            data += more
        return data

    def ask(self, line: bytes, wanted: bytes) -> None:
        """Send a line and see whether the reply has what it should."""
        self._sock.sendall(line + b"\n")
        reply = self.reply()
        if wanted not in reply:
            raise ConnectionError(f"{line!r} was answered {reply[:100]!r}")

    def fetch(self, line: bytes) -> None:
        """Ask as in 2007, and read to the end."""
        self._sock.sendall(line + b"\n")
        data = b""
        while more := self._sock.recv(65536):
            data += more
        if data != SMALL:
            raise ConnectionError(f"{line!r} was answered {len(data)} bytes")

    def close(self) -> None:
        self._sock.close()


@contextmanager
def tracker_clients(port: int) -> Iterator[tuple[Ask, Ask]]:
    """Yields: what a registered peer asks over its connection, and what somebody new asks over a new one."""
    peer = Client(port)
    peer.reply()
    peer.ask(b"ADDR honest 127.0.0.1:4000", b"200 ")
    numbers = cycle(range(FILES))
    for number in range(FILES):
        peer.ask(b"HAVE f%d" % number, b"200 ")
    verbs = cycle([b"WANT", b"HAVE"])

    def over_one() -> None:
        peer.ask(b"%s f%d" % (next(verbs), next(numbers)), b"0 ")

    def over_a_new_one() -> None:
        late = Client(port)
        late.reply()
        late.ask(b"WANT f1", b"PEER honest 127.0.0.1:4000")
        late.close()

    yield over_one, over_a_new_one
    peer.close()


@contextmanager
def sharer_clients(port: int) -> Iterator[tuple[Ask, Ask]]:
    """Yields: what a downloader behind HELLO asks over its connection, and a whole base fetch over a new one."""
    session = Client(port)
    session.ask(b"HELLO OSP2P/2", b"200 ")
    numbers = cycle(range(FILES))

    def over_one() -> None:
        session.ask(b"STAT f%d" % next(numbers), b"SIZE %d" % len(SMALL))

    def over_a_new_one() -> None:
        fetcher = Client(port)
        fetcher.fetch(b"GET f%d OSP2P" % next(numbers))
        fetcher.close()

    yield over_one, over_a_new_one
    session.close()


def measure(asks: tuple[Ask, Ask], seconds: float, rng: random.Random) -> list[float]:
    """Ask in turn, with short random pauses. Returns: milliseconds of each answer, sorted."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for ask in asks:
            begun = time.perf_counter()
            ask()
            times.append((time.perf_counter() - begun) * 1000)
            time.sleep(rng.uniform(0, 0.01))
    return sorted(times)


def percentiles(times: list[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds."""
    return {
        "count": len(times),
        "p50": times[len(times) // 2],
        "p99": times[int(len(times) * 0.99)],
        "longest": times[-1],
    }


# --- servers ---


@contextmanager
def running(
    directory: Path, up: str, *words: str
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, dict[str, str]]]]:
    """An ``osp2p`` command. Yields: the process, and its records by event, when the one that says it is up is there."""
    environment = os.environ | {"XDG_CACHE_HOME": str(directory / "cache")}
    out = directory / f"{words[0]}.out"
    with out.open("wb") as stdout:
        command = [sys.executable, "-m", "osp2p", *words, "--json"]
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, env=environment)
    try:
        records: dict[str, dict[str, str]] = {}
        while up not in records:
            time.sleep(0.05)
            lines = out.read_bytes().splitlines(keepends=True)
            records = {record["event"]: record for record in map(json.loads, filter(is_whole, lines))}
        yield process, records
    finally:
        process.terminate()
        process.wait()


def is_whole(line: bytes) -> bool:
    """Whether a line has been written to its end."""
    return line.endswith(b"\n")


def resident(pid: int) -> float:
    """The resident set of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def run_against(
    process: subprocess.Popen[bytes],
    port: int,
    clients: Callable[[int], object],
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """Measure one server without the crowd and with it."""
    rng = random.Random(7)
    with clients(port) as asks:  # type: ignore[attr-defined]
        alone = percentiles(measure(asks, arguments.seconds / 4, rng))
        before = resident(process.pid)
        crowd = CrowdProcess(port, arguments.idle, arguments.dripping)
        try:
            crowd.wait_complete(arguments.idle + arguments.dripping)
            besieged = percentiles(measure(asks, arguments.seconds, rng))
            state = crowd.ask()
        finally:
            crowd.end()
        return {"alone": alone, "crowd": besieged, **state, "MB before": before, "MB": resident(process.pid)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=5000, help="connections that say nothing (default: 5000)")
    parser.add_argument("--dripping", type=int, default=1000, help="connections that drip (default: 1000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a measurement (default: 20)")
    parser.add_argument("--p99", type=float, default=50.0, help="milliseconds that are allowed (default: 50)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--crowd", nargs=3, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.crowd:
        run_crowd(*arguments.crowd)
        return
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shared = directory / "shared"
        shared.mkdir()
        for number in range(FILES):
            (shared / f"f{number}").write_bytes(SMALL)
        with running(directory, "listening", "tracker", "--port", "0") as (process, records):
            port = int(records["listening"]["port"])
            results["tracker"] = run_against(process, port, tracker_clients, arguments)
        words = ("share", str(shared), "--host", "--tracker-port", "0")
        with running(directory, "hosting", *words) as (process, records):
            port = int(records["listening"]["address"].rpartition(":")[2])
            results["sharer"] = run_against(process, port, sharer_clients, arguments)
    if arguments.json:
        print(json.dumps(results))
    else:
        for server, result in results.items():
            print_result(server, result)
    sys.exit(0 if all(result["crowd"]["p99"] < arguments.p99 for result in results.values()) else 1)  # type: ignore[index]


def print_result(server: str, result: dict[str, object]) -> None:
    """Print one server's figures."""
    for state in ("alone", "crowd"):
        figures = result[state]
        assert isinstance(figures, dict)
        what = f"{result['size']:,} connections of others" if state == "crowd" else "nobody else"
        print(
            f"{server:8} {what:28} p50 {figures['p50']:6.2f} ms   p99 {figures['p99']:6.2f} ms   "
            f"longest {figures['longest']:6.1f} ms   {figures['count']:,} answers, all right"
        )
    memory = f"{result['MB before']:.0f} MB before, {result['MB']:.0f} MB with it"
    print(f"{server:8} {result['closed']:,} of the crowd closed meanwhile; {memory}")


if __name__ == "__main__":
    main()
