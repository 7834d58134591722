"""What liars come to in the overlay: ``python benchmarks/overlay_attacks.py [--nodes 150] [--keys 5] [--seed 1]``.

Worlds of honest nodes in virtual time, with a league of hostile ones. Keys are announced and looked for; a line for
each attack says what part of those who look find something, after how many seconds at the median and at 99 %, and when
the whole lookup is through, at the median. It takes a minute or two; the same seed gives the same figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence

from osp2p.overlay.adversary import League
from osp2p.overlay.identifier import random_id
from osp2p.overlay.simulation import HonestNode
from osp2p.overlay.trials import Trial

#: Seconds of virtual time: for a league to be known, for an announcement, and for lookups to end.
_KNOWN, _ANNOUNCED, _LOOKED = 10.0, 10.0, 35.0

#: How many look for each key.
_ASKERS = 20


class Attack:
    """A world, and what was found in it.

    Args:
        private: whether its ids are free.
    """

    def __init__(self, seed: int, nodes: int, *, private: bool = False) -> None:
        self.trial = Trial(seed, nodes, private=private)
        self.trial.begin_settled()
        self.world = self.trial.world
        self.league = League(self.world, [self.trial.nodes[0].address])
        self._found: list[float | None] = []
        self._whole: list[float] = []

    def pass_time(self, seconds: float = _KNOWN) -> None:
        """Let time pass."""
        self.world.run(self.world.now + seconds)

    def announce(self, key: bytes) -> HonestNode:
        """Let some honest node announce a key. Returns: the node."""
        owner = self.world.rng.choice(self.trial.nodes)
        self.trial.announce(owner, key, 4321)
        self.pass_time(_ANNOUNCED)
        return owner

    def look(self, key: bytes, askers: Sequence[HonestNode] = ()) -> None:
        """Let nodes look for a key: some, or those that are named."""
        chosen = askers or self.world.rng.sample(self.trial.nodes, _ASKERS)
        searches = [self.trial.search(asker, key) for asker in chosen]
        self.world.run(self.world.now + _LOOKED, lambda: all(search.ended is not None for search in searches))
        self._whole += [(search.ended or self.world.now) - search.begun for search in searches]
        self._found += [None if search.first is None else search.first - search.begun for search in searches]

    def tell(self, attack: str) -> None:
        """Print what was found."""
        times = sorted(seconds for seconds in self._found if seconds is not None)
        record: dict[str, object] = {"attack": attack, "lookups": len(self._found)}
        record["found"] = round(len(times) / len(self._found), 3)
        if times:
            record |= {"median": round(statistics.median(times), 2), "p99": round(times[int(len(times) * 0.99)], 2)}
        record["whole_median"] = round(statistics.median(self._whole), 2)
        print(json.dumps(record), flush=True)


def besiege(seed: int, nodes: int, keys: int, number: int, *, private: bool) -> None:
    """Sybils settle around a key, in a world of its own for each."""
    attack = Attack(seed, nodes, private=private)
    for _ in range(keys):
        key = random_id(attack.world.rng)
        attack.league.besiege(key, number)
        attack.pass_time()
        attack.announce(key)
        attack.look(key)
    where = "where ids are free" if private else "with public addresses"
    attack.tell(f"{number} Sybils around each key, {where}")


def lie(seed: int, nodes: int, keys: int, number: int, how: Callable[[League, int], None], what: str) -> None:
    """A league that lies about whatever is looked for."""
    attack = Attack(seed, nodes)
    how(attack.league, number)
    attack.pass_time()
    for _ in range(keys):
        key = random_id(attack.world.rng)
        attack.announce(key)
        attack.look(key)
    attack.tell(f"{number} of {nodes + number} {what}")


def catch_newcomers(seed: int, nodes: int, keys: int, number: int, honest: int) -> None:
    """Newcomers that join through a liar, and some honest nodes beside it."""
    attack = Attack(seed, nodes)
    attack.league.eclipse(number)
    attack.pass_time()
    rng = attack.world.rng
    for _ in range(keys):
        key = random_id(rng)
        attack.announce(key)
        joins = [[rng.choice(attack.league.members), *rng.sample(attack.trial.nodes, honest)] for _ in range(10)]
        newcomers = [attack.world.add_node([node.address for node in through]) for through in joins]
        attack.pass_time(20)
        attack.look(key, newcomers)
    attack.tell(f"newcomers through one of {number} who name each other, and {honest} honest nodes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=150, help="how many are honest")
    parser.add_argument("--keys", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seed, nodes, keys = options.seed, options.nodes, options.keys
    lie(seed, nodes, keys, 0, League.poison, "lie: nobody does")
    for private in (False, True):
        for number in (10, 40):
            besiege(seed, nodes, keys, number, private=private)
    for number in (nodes // 9, nodes * 3 // 7):
        lie(seed, nodes, keys, number, League.poison, "name invented nodes")
    lie(seed, nodes, keys, nodes // 5, League.eclipse, "name only each other")
    for honest in (2, 1, 0):
        catch_newcomers(seed, nodes, keys, nodes // 5, honest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
