"""Calls of a method that adds two numbers, over loopback, against Python's own xmlrpc.server.

Run: ``.venv/bin/python benchmarks/calls.py [--calls 2000] [--rounds 5] [--json]``. One process serves, this one calls.
Ours are found to be from who they say, on both sides: two signatures and two verifications each. xmlrpc.server proves
nothing. ``at a time`` is how many calls are under way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xmlrpc.server import SimpleXMLRPCServer

import trio
from side_by_side import interleaved, running, workspace

from osp2p.limits import Limits
from osp2p.net import TcpNetwork
from osp2p.peer.node import open_node
from osp2p.rpc.calls import Calls
from osp2p.rpc.directory import MemoryDirectory
from osp2p.rpc.identity import new_identity

#: How many calls are under way in the second row of each.
AT_A_TIME = 16

#: What ours are compared with.
THEIRS = "xmlrpc.server"

#: How many calls one system.multicall makes.
TOGETHER = 100


async def add(a: int, b: int) -> int:
    """Add two numbers, in the event loop."""
    return a + b


def add_in_thread(a: int, b: int) -> int:
    """Add two numbers, in a worker thread."""
    return a + b


async def serve_ours(work: Path) -> None:
    """Serve until killed; says where on standard output."""
    async with open_node(port=0, identity=work / "identity", cache=work / "cache") as node:
        address = await node.serve("sum", {"add": add, "add_in_thread": add_in_thread})
        print(f"{address}@127.0.0.1:{(await node.listen()).port}", flush=True)
        await trio.sleep_forever()


class PatientServer(SimpleXMLRPCServer):
    """The standard library's, with room for callers that wait: its own 5 make others try again a second later."""

    request_queue_size = 128


def serve_theirs() -> None:
    """Likewise, with the standard library."""
    with PatientServer(("127.0.0.1", 0), logRequests=False) as server:
        server.register_function(lambda a, b: a + b, "add")
        print(server.server_address[1], flush=True)
        server.serve_forever()


@contextlib.contextmanager
def serving(which: str, work: Path) -> Iterator[str]:
    """A server in a process of its own. Yields: what it says."""
    command = [sys.executable, __file__, "--serve", which, "--work", str(work)]
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()


async def call_ours(target: str, calls: int, at_a_time: int, method: str) -> float:
    """Returns: seconds. The first call, which connects, does not count."""
    caller = Calls(new_identity(), TcpNetwork(), MemoryDirectory(), Limits(), random.Random(1), os.urandom)
    await caller.call(target, method, 1, 2)

    async def work() -> None:
        for number in range(calls // at_a_time):
            await caller.call(target, method, number, 2)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(at_a_time):
            nursery.start_soon(work)
    seconds = time.perf_counter() - began
    caller.close()
    return seconds


async def call_ours_together(target: str, calls: int) -> float:
    """Returns: seconds for so many calls in documents of `TOGETHER`."""
    caller = Calls(new_identity(), TcpNetwork(), MemoryDirectory(), Limits(), random.Random(1), os.urandom)
    questions = [{"methodName": "sum.add", "params": [1, 2]}] * TOGETHER
    began = time.perf_counter()
    for _ in range(calls // TOGETHER):
        await caller.call(target, "system.multicall", questions)
    seconds = time.perf_counter() - began
    caller.close()
    return seconds


def call_http(port: str, method: str, calls: int, at_a_time: int) -> float:
    """Call with the standard library's client. Returns: seconds."""

    def work() -> None:
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/RPC2") as proxy:
            function = getattr(proxy, method)
            for number in range(calls // at_a_time):
                function(number, 2)

    began = time.perf_counter()
    if at_a_time == 1:
        work()
    else:
        with ThreadPoolExecutor(at_a_time) as threads:
            for done in [threads.submit(work) for _ in range(at_a_time)]:
                done.result()
    return time.perf_counter() - began


def show(title: str, times: Mapping[str, Sequence[float]], calls: int, as_json: bool) -> None:
    """Print rates, and how each compares with `THEIRS`."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {name: medians[THEIRS] / seconds for name, seconds in medians.items() if name != THEIRS}
    if as_json:
        print(json.dumps({"benchmark": title, "median_seconds": medians, "speed_ratio": ratios, "all": dict(times)}))
        return
    print(title)
    for name, seconds in medians.items():
        ratio = f"   {ratios[name]:5.2f} times {THEIRS}" if name in ratios else ""
        print(f"  {name:20} {calls / seconds:8.0f} calls/s{ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == "ours":
        trio.run(serve_ours, options.work)
    if options.serve == "theirs":
        serve_theirs()
    calls = options.calls
    with workspace() as work, serving("ours", work) as target, serving("theirs", work) as port:
        http = target.rpartition(":")[2]

        def ours(at_a_time: int, method: str = "sum.add") -> Callable[[], float]:
            return lambda: trio.run(call_ours, target, calls, at_a_time, method)

        rows: dict[str, dict[str, Callable[[], float]]] = {
            "one at a time": {
                "osp2p, signed": ours(1),
                THEIRS: lambda: call_http(port, "add", calls, 1),
                "osp2p over HTTP": lambda: call_http(http, "sum.add", calls, 1),
                "osp2p, in threads": ours(1, "sum.add_in_thread"),
            },
            f"{AT_A_TIME} at a time": {
                "osp2p, signed": ours(AT_A_TIME),
                THEIRS: lambda: call_http(port, "add", calls, AT_A_TIME),
                "osp2p over HTTP": lambda: call_http(http, "sum.add", calls, AT_A_TIME),
                f"osp2p, {TOGETHER} together": lambda: trio.run(call_ours_together, target, calls),
            },
        }
        for title, programs in rows.items():
            show(f"{calls} calls, {title}", interleaved(programs, options.rounds), calls, options.json)


if __name__ == "__main__":
    main()
