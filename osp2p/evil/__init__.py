"""Evil programs, to prove good ones: attacks by family, bounded in bytes and time, on loopback unless told otherwise.

A family is a module in `families` that enters its attacks into the catalogue. An `Attack` says what it does (`text`),
whom it is for (`against`), what it pushes on (`breaks`), what a sound victim does (`expect`) and within what time
(`within`); `role` says what the attacker plays, and so what runs it:

``client``, to a tracker or an uploader::

    verdict = await run_attack(attack, network, (host, port), seed=1, name=b"a file of the uploader", honest=network)

``old holder``, ``holder``, ``registrant``: downloaders that use the tracker come by themselves; how they fare is for
whoever runs them to judge, and each connection is reported as an `Attacked`::

    await nursery.start(partial(run_evil_peer, host, port, "family/name", seed=1, network=network, report=note))

``tracker``, which downloaders must be told to use::

    truth = await learn_truth(host, port)     # of a sound tracker, or `Truth({name: Fact.of(content, holders)})`
    host, port = await nursery.start(partial(run_evil_tracker, attack, truth, seed=1, report=note))

``neighbour``, through which nodes of an overlay must be told to join::

    host, port = await nursery.start(partial(run_evil_nodes, attack, [(host, port)], seed=1, report=note))

``callee``, which others must be told to call::

    nodes = await nursery.start(partial(run_evil_callee, attack, seed=1, report=note))  # of each: key, host, port

`network` is anything with ``connect`` and ``listen``: `SocketNetwork` here, or the memory network of tests. The same
seed sends the same bytes.
"""

from osp2p.evil.bounds import DEFAULT_BOUNDS, LOOPBACK, Bounds, Subnet, find_allowed
from osp2p.evil.callee import Called, run_evil_callee
from osp2p.evil.encounter import Caller, Fact, Target, Truth, Victim
from osp2p.evil.families import FAMILIES
from osp2p.evil.league import League, run_evil_nodes
from osp2p.evil.lure import learn_truth, run_evil_tracker
from osp2p.evil.network import Network, SocketNetwork
from osp2p.evil.peer import EvilPeer, run_evil_peer
from osp2p.evil.registry import EVERY_ROLE, LIMIT_NAMES, Attack, attack, find_attacks, list_attacks, select_attacks
from osp2p.evil.run import Attacked, Verdict, run_attack
from osp2p.evil.wire import Exchange

__all__ = [
    "DEFAULT_BOUNDS",
    "EVERY_ROLE",
    "FAMILIES",
    "LIMIT_NAMES",
    "LOOPBACK",
    "Attack",
    "Attacked",
    "Bounds",
    "Called",
    "Caller",
    "EvilPeer",
    "Exchange",
    "Fact",
    "League",
    "Network",
    "SocketNetwork",
    "Subnet",
    "Target",
    "Truth",
    "Verdict",
    "Victim",
    "attack",
    "find_allowed",
    "find_attacks",
    "learn_truth",
    "list_attacks",
    "run_attack",
    "run_evil_callee",
    "run_evil_nodes",
    "run_evil_peer",
    "run_evil_tracker",
    "select_attacks",
]
