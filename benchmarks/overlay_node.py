"""What one node of the overlay bears, and what it takes: ``python benchmarks/overlay_node.py``. Prints JSON lines.

Packets: queries that a node answers over UDP on loopback, in a process of its own and without limits of rates, and how
many its core alone can bear without sockets. Lookups: of a network of 100 nodes in one process, all that they cost
together. Memory: what a node takes beyond the interpreter, after it has found its place among 300 and looked up a key.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import random
import socket
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import trio

from osp2p.limits import DEFAULT
from osp2p.overlay.compact import Contact
from osp2p.overlay.engine import Engine
from osp2p.overlay.identifier import id_for, random_id
from osp2p.overlay.keys import network_tag
from osp2p.overlay.krpc import Query, write_message
from osp2p.overlay.node import OverlayOptions, open_overlay
from osp2p.overlay.trials import Trial
from osp2p.wire.address import Address

_SECONDS = 3.0
_TAG = network_tag("osp2p")


def queries(rng: random.Random, number: int) -> list[bytes]:
    """Queries as a lookup sends them."""
    own = random_id(rng)
    return [
        write_message(
            Query(rng.randbytes(4), b"get_peers", own, {b"info_hash": random_id(rng), b"pad": bytes(160)}, True, _TAG)
        )
        for _ in range(number)
    ]


def measure_core() -> dict[str, object]:
    """Queries a second that a node answers, without sockets."""
    rng = random.Random(1)
    engine = Engine(network=_TAG, limits=DEFAULT, rng=rng, now=0.0)
    for number in range(120):
        host = f"30.{number}.0.1"
        engine.families[False].table.note_answer(Contact(id_for(host, rng), Address(host, 1000)), 0.0)
    sent = queries(rng, 2000)
    begun = time.process_time()
    answered = 0
    now = 0.0
    while time.process_time() - begun < _SECONDS:
        for number, data in enumerate(sent):
            now += 0.001
            engine.receive(data, Address(f"40.{number % 250}.0.1", 5), now)
        answered += len(engine.outgoing)
        engine.outgoing.clear()
    seconds = time.process_time() - begun
    return {"event": "core", "packets_per_second": round(answered / seconds)}


def _serve(ready: multiprocessing.Queue[int]) -> None:
    async def run() -> None:
        limits = replace(DEFAULT, overlay_in_total=1e6, overlay_in_rate=1e6, overlay_in_burst=10**6)
        async with open_overlay(OverlayOptions(), limits=limits) as node:
            ready.put(node.port)
            await trio.sleep_forever()

    trio.run(run)


def measure_udp() -> dict[str, object]:
    """Queries a second that a node in a process of its own answers over UDP, to sixteen askers at a time."""
    ready: multiprocessing.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_serve, args=(ready,), daemon=True)
    process.start()
    place = ("127.0.0.1", ready.get())
    data = queries(random.Random(2), 1)[0]
    answered = 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < _SECONDS:
        askers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(16)]
        for asker in askers:
            asker.settimeout(1)
        for _ in range(300):
            for asker in askers:
                asker.sendto(data, place)
            for asker in askers:
                asker.recvfrom(2048)
                answered += 1
        for asker in askers:
            asker.close()
    seconds = time.perf_counter() - begun
    process.kill()
    return {"event": "udp", "packets_per_second": round(answered / seconds)}


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_world() -> dict[str, object]:
    """Lookups a second of a hundred nodes, all their work together."""
    trial = Trial(1, 100)
    trial.grow()
    before, begun = trial.world.counts["sent"], time.process_time()
    searches = []
    for _ in range(300):
        searches.append(trial.search(trial.world.rng.choice(trial.nodes), random_id(trial.world.rng)))
        trial.world.run(trial.world.now + 0.02)
    trial.world.run(trial.world.now + 5)
    seconds = time.process_time() - begun
    return {
        "event": "lookups",
        "per_second": round(len(searches) / seconds),
        "datagrams": round((trial.world.counts["sent"] - before) / len(searches), 1),
        "median_seconds": round(statistics.median(s.ended - s.begun for s in searches if s.ended), 3),
    }


def measure_memory() -> dict[str, object]:
    """Bytes that a node takes."""
    gc.collect()
    before = resident()
    trial = Trial(2, 300)
    trial.grow()
    for node in trial.nodes[:100]:
        trial.search(node, random_id(trial.world.rng))
    trial.world.run(trial.world.now + 60)
    gc.collect()
    return {"event": "memory", "bytes_per_node": round((resident() - before) / 300)}


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for measure in (measure_memory, measure_world, measure_core, measure_udp):
        print(json.dumps(measure()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
