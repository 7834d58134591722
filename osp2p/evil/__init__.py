"""Evil programs, to prove good ones: attacks by family, bounded in bytes and time, on loopback unless told otherwise.

A family is a module here that enters its attacks into the catalogue; what is imported below is all there is.
"""

from osp2p.evil import endless, garbage, lines, requests, silence, truncated, wrong
from osp2p.evil.encounter import LOOPBACK, Bounds, Network, Target, Victim
from osp2p.evil.peer import EvilPeer, run_evil_peer
from osp2p.evil.registry import Attack, attack, list_attacks, select_attacks
from osp2p.evil.run import Attacked, run_attack

FAMILIES = (endless, garbage, lines, requests, silence, truncated, wrong)

__all__ = [
    "FAMILIES",
    "LOOPBACK",
    "Attack",
    "Attacked",
    "Bounds",
    "EvilPeer",
    "Network",
    "Target",
    "Victim",
    "attack",
    "list_attacks",
    "run_attack",
    "run_evil_peer",
    "select_attacks",
]
