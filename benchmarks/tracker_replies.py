"""The tracker against a bare line server, in replies a second, and its memory for each registration.

    .venv/bin/python benchmarks/tracker_replies.py [--runs 5] [--seconds 2] [--json]

The bare server is a trio program that receives and sends as the tracker does, without blocking where it can, and for
each line calls a function that returns the same few bytes: what is left of its speed is what the tracker does with a
line. There are 100,000 names, registered by one peer. Each of 50 others keeps 1 or 16 commands in flight, HAVE and WANT
in turn, in two worlds:

- **base**: clients without HELLO, each with the 1000 files that it may have: HAVE of these over and over, WANT of any;
- **hello**: clients that said HELLO: HAVE and WANT of any, so that nearly every HAVE is a new registration, and a WANT
  names more and more holders.

Servers run in processes of their own; this one makes the load, and so wants a second core.

Memory is the growth of the tracker's resident set at one million registrations, in four worlds.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

CONNECTIONS = 50
NAMES = 100_000
REGISTRATIONS = 1_000_000

#: How many files a base client may have.
BASE_FILES = 1000

_ADDR = b"ADDR peer%d 127.0.0.1:%d\n"
_HELLO = b"HELLO OSP2P/2\n" + _ADDR


# --- servers, each in a process of its own ---


async def serve_bare() -> None:
    """Answer each line with a constant. Prints its port."""
    import trio

    def answer(line: bytes) -> bytes:
        return b"200 registered\n"

    async def converse(sock: socket.socket) -> None:
        rest = b""
        with sock:
            while True:
                try:
                    data = sock.recv(65536)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(sock)
                    continue
                except ConnectionError:
                    return
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                answers = b"".join([answer(line) for line in lines])
                while answers:
                    try:
                        answers = answers[sock.send(answers) :]
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(sock)

    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(listener)
                    continue
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.send(b"200 hello\n")
                nursery.start_soon(converse, sock)


async def serve_ours() -> None:
    """Run the tracker. Prints its port."""
    import trio

    from osp2p.limits import DEFAULT
    from osp2p.net import TcpNetwork
    from osp2p.tracker import TrackerOptions, serve_tracker
    from osp2p.wire.address import Address

    serve = partial(
        serve_tracker, network=TcpNetwork(), port=0, options=TrackerOptions(), limits=DEFAULT, rng=random.Random(1)
    )
    async with trio.open_nursery() as nursery:
        addresses: list[Address] = await nursery.start(serve)
        print(addresses[0].port, flush=True)


SERVERS = {"bare": serve_bare, "ours": serve_ours}


@contextmanager
def running(server: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own. Yields: its port and its process id."""
    with subprocess.Popen([sys.executable, __file__, "--serve", server], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def connect(port: int) -> socket.socket:
    """Connect, and read the server's greeting."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    read_replies(sock, 1)
    return sock


def read_replies(sock: socket.socket, count: int) -> None:
    """Read so many replies. Their terminators are the lines that begin with 2 or 3 and no hyphen behind the code."""
    last, seen = b"\n", 0
    while seen < count or last != b"\n":
        data = sock.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        text = last + data
        seen += text.count(b"\n2") + text.count(b"\n3") - text.count(b"\n200-")
        last = data[-1:]


def register(sock: socket.socket, number: int, lines: Sequence[bytes]) -> None:
    """Log a peer in and send its HAVE lines, 500 at a time."""
    sock.sendall(_HELLO % (number, number))
    read_replies(sock, 2)
    for start in range(0, len(lines), 500):
        block = lines[start : start + 500]
        sock.sendall(b"".join(block))
        read_replies(sock, len(block))


# --- replies a second ---


def make_blocks(number: int, in_flight: int, hello: bool) -> list[bytes]:
    """What one connection sends: blocks of `in_flight` lines, to be sent in turn."""
    rng = random.Random(number)
    own = range(NAMES) if hello else range(number * BASE_FILES, (number + 1) * BASE_FILES)
    have, want = b"HAVE f%06d.txt\n", b"WANT f%06d.txt\n"
    count = 4000 // in_flight
    lines = [line for _ in range(count * in_flight) for line in (have % rng.choice(own), want % rng.randrange(NAMES))]
    return [b"".join(lines[start : start + in_flight]) for start in range(0, len(lines), in_flight)]


def load(port: int, in_flight: int, seconds: float, hello: bool) -> float:
    """Keep `in_flight` commands on their way on each connection. Returns: replies a second."""
    holder, *sockets = [connect(port) for _ in range(1 + CONNECTIONS)]
    register(holder, 19999, [b"HAVE f%06d.txt\n" % number for number in range(NAMES)])
    poll = select.epoll()
    blocks: dict[int, Iterator[bytes]] = {}
    for number, sock in enumerate(sockets):
        sock.sendall((_HELLO if hello else _ADDR) % (number, 20000 + number))
        read_replies(sock, 2 if hello else 1)
        sock.setblocking(False)
        poll.register(sock.fileno(), select.EPOLLIN)
        blocks[sock.fileno()] = cycle(make_blocks(number, in_flight, hello))
    by_number = {sock.fileno(): sock for sock in sockets}
    missing = dict.fromkeys(by_number, in_flight)
    between = dict.fromkeys(by_number, True)
    for number, sock in by_number.items():
        sock.send(next(blocks[number]))
    replies = 0
    started = time.perf_counter()
    end = started + seconds
    while (now := time.perf_counter()) < end:
        for number, _ in poll.poll(0):  # never asleep, or each reply would pay for waking this process
            sock = by_number[number]
            data = sock.recv(65536)
            count = data.count(b"\n2") + data.count(b"\n3") + (between[number] and data[0] in b"23")
            between[number] = data[-1] == 10
            replies += count
            missing[number] -= count
            if missing[number] == 0 and between[number]:
                missing[number] = in_flight
                sock.send(next(blocks[number]))
    poll.close()
    for sock in (holder, *sockets):
        sock.close()
    return replies / (now - started)


def measure_speed(runs: int, seconds: float, in_flight: int, hello: bool) -> dict[str, list[float]]:
    """Replies a second of both servers, interleaved, after a round that does not count."""
    rates: dict[str, list[float]] = {server: [] for server in SERVERS}
    for run in range(runs + 1):
        for server in SERVERS:
            with running(server) as (port, _):
                rate = load(port, in_flight, seconds if run else min(seconds, 0.5), hello)
            if run:
                rates[server].append(rate)
    return rates


# --- memory ---


def worlds() -> dict[str, list[list[bytes]]]:
    """For each world, the HAVE lines of each of ten peers."""
    each = REGISTRATIONS // 10
    digits = "0123456789abcdefghijklmnopqrstuv"

    def facts(number: int) -> bytes:
        md5 = "".join(digits[number >> shift & 31] for shift in range(0, 105, 5)) + "a"
        return f"{md5} size={1000 + number} b3={number:064x}".encode()

    return {
        "100,000 names x 10 peers": [[b"HAVE dir/f%06d.txt\n" % n for n in range(each)] for _ in range(10)],
        "100,000 names x 10 peers, md5, size and b3": [
            [b"HAVE dir/f%06d.txt %s\n" % (n, facts(n)) for n in range(each)] for _ in range(10)
        ],
        "1,000,000 names": [[b"HAVE dir/f%07d.txt\n" % (n + p * each) for n in range(each)] for p in range(10)],
        "1,000,000 names, md5, size and b3": [
            [b"HAVE dir/f%07d.txt %s\n" % (n + p * each, facts(n + p * each)) for n in range(each)] for p in range(10)
        ],
    }


def resident_bytes(pid: int) -> int:
    """The resident set of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def measure_memory(peers: Sequence[Sequence[bytes]]) -> tuple[float, float]:
    """Returns: bytes for each registration, and registrations a second while they came."""
    with running("ours") as (port, pid):
        sockets = [connect(port) for _ in peers]
        before = resident_bytes(pid)
        started = time.perf_counter()
        for number, (sock, lines) in enumerate(zip(sockets, peers, strict=True)):
            register(sock, 20000 + number, lines)
        seconds = time.perf_counter() - started
        return (resident_bytes(pid) - before) / REGISTRATIONS, REGISTRATIONS / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each measurement (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a run (default: 2)")
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        import trio

        trio.run(SERVERS[arguments.serve])
        return
    result: dict[str, object] = {}
    for world, in_flight, wanted in (("base", 1, 0.7), ("base", 16, 0.35), ("hello", 1, 0.7), ("hello", 16, 0.35)):
        rates = measure_speed(arguments.runs, arguments.seconds, in_flight, world == "hello")
        ratio = statistics.median(ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True))
        medians = {server: statistics.median(values) for server, values in rates.items()}
        result[f"{world}, {in_flight} in flight"] = {**medians, "ratio": ratio, "wanted": wanted, "runs": rates}
        if not arguments.json:
            print(
                f"{world:5}, {in_flight:2} in flight on {CONNECTIONS}: ours {medians['ours']:9,.0f} replies/s, "
                f"bare {medians['bare']:9,.0f}, ratio {ratio:.2f} (wanted: {wanted})"
            )
    for world, peers in ({} if arguments.no_memory else worlds()).items():
        size, rate = measure_memory(peers)
        result[world] = {"bytes_per_registration": size, "registrations_per_second": rate}
        if not arguments.json:
            print(f"{world}: {size:.0f} bytes a registration, {rate:,.0f} registrations/s")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
