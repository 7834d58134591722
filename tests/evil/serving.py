"""Worlds whose victim serves: a tracker, or one who shares a directory."""

from __future__ import annotations

import os
import random
from pathlib import Path

from osp2p.evil import Attack, Verdict, run_attack
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.peer.node import open_node
from tests.evil.honest import old_holder, our_tracker
from tests.evil.worlds import BOUNDS, EVERYWHERE, LIMITS, NAME, PEER_PORT, SEED, TRACKER, TRACKER_PORT, content


async def attack_tracker(attack: Attack, root: Path, limits: Limits = LIMITS) -> Verdict:
    """Run an attack against our tracker, with two sharers at it and an honest user beside the attack.

    Args:
        limits: the tracker's; the attack aims at `LIMITS`.
    """
    network = MemoryNetwork(TRACKER)
    async with our_tracker(network, limits), old_holder(network, 1), old_holder(network, 2):
        return await run_attack(
            attack,
            [network.host(f"10.0.6.{number}") for number in range(1, 17)],
            (TRACKER, TRACKER_PORT),
            seed=SEED,
            bounds=BOUNDS,
            allowed=EVERYWHERE,
            limits=LIMITS,
            honest=network.host("10.0.7.7"),
        )


#: What lies beside the shared directory or in it, and must not be served.
FORBIDDEN = (
    b"link",
    b"linked/secret",
    b"fifo",
    b".hidden",
    b"backup~",
    b"device",
    b".part.osp2p-part",
    b"../secret",
    b"../shared-too/secret",
)


def plant(root: Path) -> Path:
    """Lay out a directory to share, and traps around it. Returns: the directory."""
    shared, too = root / "shared", root / "shared-too"
    for directory in (shared, shared / "sub", too):
        directory.mkdir()
    (shared / os.fsdecode(NAME)).write_bytes(content(3_000_000))
    (shared / "small").write_bytes(content(1000))
    (shared / "sub" / "empty").touch()
    for path in (root / "secret", too / "secret", shared / ".hidden", shared / "backup~", shared / ".part.osp2p-part"):
        path.write_bytes(b"a secret")
    (shared / "link").symlink_to(root / "secret")
    (shared / "linked").symlink_to(too)
    (shared / "device").symlink_to("/dev/zero")
    os.mkfifo(shared / "fifo")
    return shared


async def attack_uploader(attack: Attack, root: Path, limits: Limits = LIMITS) -> Verdict:
    """Run an attack against a node of ours that shares a directory, with an honest user beside the attack.

    Args:
        limits: the node's; the attack aims at `LIMITS`.
    """
    network = MemoryNetwork("10.0.1.1")
    node = open_node(network=network, limits=limits, port=PEER_PORT, cache=root / "cache", rng=random.Random(3))
    async with node as sharer:
        await sharer.share(plant(root))
        return await run_attack(
            attack,
            [network.host(f"10.0.6.{number}") for number in range(1, 17)],
            ("10.0.1.1", PEER_PORT),
            seed=SEED,
            name=NAME,
            forbidden=FORBIDDEN,
            bounds=BOUNDS,
            allowed=EVERYWHERE,
            limits=LIMITS,
            honest=network.host("10.0.7.7"),
        )
