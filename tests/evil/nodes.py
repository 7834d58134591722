"""Small worlds in memory and in virtual time for attacks on nodes: of the overlay, and such as take calls."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from osp2p.evil import Attack, Verdict, run_attack
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.net.memory_datagrams import MemoryDatagrams
from osp2p.overlay.node import OverlayOptions, open_overlay
from osp2p.rpc.identity import Identity
from tests.evil.worlds import BOUNDS, EVERYWHERE, LIMITS, PEER_PORT, SEED
from tests.rpc.nodes import open_peer


class Host:
    """One host with connections and datagrams."""

    def __init__(self, network: MemoryNetwork, datagrams: MemoryDatagrams) -> None:
        self.connect = network.connect
        self.listen = network.listen
        self.open_datagrams = datagrams.open_datagrams


async def attack_node(attack: Attack, root: Path, limits: Limits = LIMITS) -> Verdict:
    """Run an attack against a node of ours, one of the overlay or one that takes calls, with an honest one beside.

    Args:
        limits: the node's; the attack aims at `LIMITS`.
    """
    network, datagrams = MemoryNetwork("10.0.1.1"), MemoryDatagrams("10.0.1.1", latency=0.001)

    def host(address: str) -> Host:
        return Host(network.host(address), datagrams.host(address))

    is_overlay = attack.family == "overlay"
    identity = Identity(Ed25519PrivateKey.from_private_bytes(bytes(32)))  # what is sent names it
    # There is no loopback in memory, so HTTP is taken from anywhere.
    takes_calls = open_peer(network, identity=identity, limits=limits, port=PEER_PORT, anywhere=True)
    async with _neighbours(datagrams, limits) if is_overlay else takes_calls:
        return await run_attack(
            attack,
            [host(f"10.0.6.{number}") for number in range(1, 17)],
            ("10.0.1.1", PEER_PORT),
            seed=SEED,
            bounds=BOUNDS,
            allowed=EVERYWHERE,
            limits=LIMITS,
            honest=host("10.0.7.7"),
        )


@asynccontextmanager
async def _neighbours(datagrams: MemoryDatagrams, limits: Limits) -> AsyncIterator[None]:
    """Four nodes of an overlay of ours that know each other."""
    async with AsyncExitStack() as stack:
        options = OverlayOptions()
        for number in range(1, 5):
            here = datagrams.host(f"10.0.1.{number}")
            opening = open_overlay(options, port=PEER_PORT, datagrams=here, limits=limits, rng=random.Random(number))
            node = await stack.enter_async_context(opening)
            if number > 1:
                await node.wait_connected(5)
            options = OverlayOptions(joins=[("10.0.1.1", PEER_PORT)])
        yield
