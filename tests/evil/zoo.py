"""One attack in the world that it is for."""

from __future__ import annotations

from pathlib import Path

from osp2p.evil import Attack, Verdict
from osp2p.limits import Limits
from tests.evil.asking import attack_calling, attack_joining
from tests.evil.fetching import Outcome, attack_downloader
from tests.evil.nodes import attack_node
from tests.evil.serving import attack_tracker, attack_uploader
from tests.evil.worlds import LIMITS, no_threads, run_in_virtual_time

#: Where the victim is one who asks.
_WORLDS_OF_ROLES = {"neighbour": attack_joining, "callee": attack_calling}

_WORLDS = {"tracker": attack_tracker, "uploader": attack_uploader, "downloader": attack_downloader, "node": attack_node}


def run(attack: Attack, root: Path, limits: Limits = LIMITS) -> Verdict | Outcome:
    """Run an attack against the program of ours that it is for, in virtual time.

    Args:
        root: an empty directory.
        limits: the victim's; the attack aims at `LIMITS`.
    """
    with no_threads():
        result = run_in_virtual_time(_WORLDS_OF_ROLES.get(attack.role, _WORLDS[attack.against]), attack, root, limits)
    assert isinstance(result, Verdict | Outcome)
    return result
