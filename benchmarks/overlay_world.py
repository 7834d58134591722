"""Many nodes of the overlay in virtual time: how they find each other while a third of them is being replaced.

``python benchmarks/overlay_world.py --nodes 10000`` takes some minutes. Prints JSON lines: what was measured, then a
summary. The same seed gives the same log.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time

from osp2p.overlay.trials import Trial


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--lookups", type=int, default=3000)
    parser.add_argument("--replaced", type=float, default=0.3, help="which part of the nodes is replaced meanwhile")
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--settled", action="store_true", help="begin with nodes that joined long ago")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begun = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trial = Trial(arguments.seed, arguments.nodes, loss=arguments.loss)
    if arguments.settled:
        trial.begin_settled()
    else:
        trial.grow()
    grown = time.process_time()
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / arguments.nodes
    print(
        json.dumps(
            {"event": "grown", "virtual": round(trial.world.now, 1), "seconds": round(grown - begun, 1)}
            | dict(trial.world.counts)
        ),
        flush=True,
    )
    figures = trial.look_up(arguments.lookups, arguments.replaced)
    seconds = time.process_time() - begun
    print(
        json.dumps(
            {
                "event": "looked-up",
                **figures,
                "log2": round(math.log2(arguments.nodes), 2),
                "memory_per_node": round(memory),
                "seconds": round(seconds, 1),
                "datagrams_per_second": round(trial.world.counts["sent"] / seconds),
                "log": trial.world.log,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
