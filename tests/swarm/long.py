"""A large swarm in virtual time: `scenarios/run-swarm [PEERS] [--seed N] [--size MIB] [--log FILE]`."""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from osp2p.limits import MIB
from tests.swarm.plan import Plan
from tests.swarm.world import SwarmWorld, run_swarm


def main(arguments: list[str]) -> int:
    """Run. Returns: 0 if everybody who stayed has everything, and no honest peer was blamed."""
    parser = argparse.ArgumentParser(
        prog="scenarios/run-swarm", description="A tracker and many peers in one process, in virtual time."
    )
    parser.add_argument("peers", nargs="?", type=int, default=1000, metavar="PEERS", help="default: 1000")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="makes all of it; default: 1")
    parser.add_argument("--size", type=int, default=8, metavar="MIB", help="of the content; default: 8")
    parser.add_argument("--liars", type=float, default=0.05, metavar="PART", help="of the peers; default: 0.05")
    parser.add_argument("--leaving", type=float, default=0.2, metavar="PART", help="of the peers; default: 0.2")
    parser.add_argument("--log", type=Path, metavar="FILE", help="writes all that anybody was told")
    options = parser.parse_args(arguments)
    plan = Plan(options.seed, options.peers, options.size * MIB, liars=options.liars, leaving=options.leaving)
    began = time.process_time()
    world = run_swarm(plan)
    seconds = time.process_time() - began
    if options.log is not None:
        options.log.write_bytes(world.log.text())
    print("\n".join(figures(world)))
    print(f"took {seconds:.0f} s of a processor, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 1 if world.false_blames or any(peer.finished is None for peer in world.staying) else 0


def figures(world: SwarmWorld) -> list[str]:
    """What became of a swarm, in lines."""
    plan, staying = world.plan, world.staying
    liars = [peer for peer in world.peers if peer.resident.lie is not None]
    times = sorted(peer.finished for peer in staying if peer.finished is not None)
    bound = plan.fluid_bound()
    needed = len(staying) * plan.size
    named = Counter(world.peers[blame.of].resident.lie for blame in world.blames)
    left = named.pop(None, 0)
    lies = ", ".join(f"{lie}: {count}" for lie, count in sorted(named.items(), key=str)) or "none"
    return [
        f"{plan.peers} peers, {plan.seeds} of them seeds, {len(liars)} liars, {len(staying)} stay; seed {plan.seed}",
        f"{plan.size / MIB:.0f} MiB each; {len(times)} of {len(staying)} who stay have everything",
        f"the last one after {world.took:.1f} s, half of them after {statistics.median(times or [0]):.1f} s"
        f" (bound for the last one: {bound:.1f} s; {world.took / bound:.2f} times as long)",
        f"bytes of chunks that came: {sum(peer.fetched for peer in staying) / needed:.3f} times those needed",
        f"left for what they did: {lies}",
        f"honest peers left because they went: {left - len(world.false_blames)}; blamed: {len(world.false_blames)}",
        f"{len(world.log)} events, log {world.log.digest()}",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
