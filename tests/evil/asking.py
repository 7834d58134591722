"""Small worlds in memory and in virtual time for attacks on those who ask: who joins an overlay, or calls a node."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from osp2p.errors import CallError, Osp2pError
from osp2p.evil import Attack
from osp2p.evil.callee import Key, run_evil_callee
from osp2p.evil.league import run_evil_nodes
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.net.memory_datagrams import MemoryDatagrams
from osp2p.overlay.bencode import Value
from osp2p.overlay.item import read_mutable
from osp2p.overlay.node import OverlayOptions, open_overlay
from osp2p.peer.node import Node, open_node
from osp2p.rpc.calls import Calls
from osp2p.rpc.directory import MemoryDirectory
from osp2p.wire.address import Address
from tests.evil.fetching import Outcome
from tests.evil.nodes import Host
from tests.evil.worlds import BOUNDS, LIMITS, NAME, PEER_PORT, SEED, content
from tests.rpc.nodes import open_peer

#: Public addresses: who has private ones may have any id, and be in as many places as he likes.
HONEST = [f"20.{number}.1.1" for number in range(1, 9)]
SHARER, VICTIM = "40.1.1.1", "50.1.1.1"
EVIL = [f"9.9.9.{number}" for number in range(1, 17)]
EVIL_HERE = [f"10.9.9.{number}" for number in range(1, 17)]
EVERYWHERE = [ipaddress.ip_network("0.0.0.0/0")]

CONTENT = content(300_000)

#: What comes from public addresses, all of one network.
ONE_NETWORK = frozenset({"neighbours/sybils", "neighbours/eclipse", "neighbours/many-peers"})

#: Against nodes of BitTorrent's network.
MAINLINE = frozenset({"neighbours/reflect-mainline"})

#: How many things a victim looks for at a time, beside its file: many where floods are the point, few where each takes
#: hundreds of questions.
_LOOKUPS = 20
_LOOKUPS_AGAINST = {"neighbours/reflect": 40, "neighbours/reflect-mainline": 40, "neighbours/descent": 3}

#: How long it has been in the overlay before.
_BEFORE = 10.0

#: How long a victim is watched afterwards.
_AFTERWARDS = 30.0


class _Hosts:
    """All hosts of a world."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(SHARER)
        self.datagrams = MemoryDatagrams(SHARER, latency=0.005)

    def host(self, address: str) -> Host:
        return Host(self.network.host(address), self.datagrams.host(address))

    @asynccontextmanager
    async def open_node(
        self, address: str, joins: list[str], root: Path, limits: Limits, *, mainline: bool = False
    ) -> AsyncIterator[Node]:
        options = OverlayOptions(joins=[(host, PEER_PORT) for host in joins], mainline=mainline)
        root.mkdir()
        async with open_node(
            network=self.network.host(address),
            datagrams=self.datagrams.host(address),
            limits=limits,
            port=PEER_PORT,
            cache=root / "cache",
            rng=random.Random(address),
            overlay=options,
            identity=root / "identity",
        ) as node:
            yield node


@asynccontextmanager
async def _honest(hosts: _Hosts, root: Path, *, mainline: bool) -> AsyncIterator[None]:
    """An overlay of honest nodes, one of which shares a file."""
    async with AsyncExitStack() as stack:
        for number, address in enumerate(HONEST):
            options = OverlayOptions(joins=[(host, PEER_PORT) for host in HONEST[:number][:1]], mainline=mainline)
            opening = open_overlay(
                options,
                port=PEER_PORT,
                datagrams=hosts.datagrams.host(address),
                limits=LIMITS,
                rng=random.Random(number),
            )
            node = await stack.enter_async_context(opening)
            if number:
                await node.wait_connected(5)
        (root / "shared").mkdir()
        (root / "shared" / NAME.decode()).write_bytes(CONTENT)
        opening_sharer = hosts.open_node(SHARER, HONEST[:1], root / "sharer", LIMITS, mainline=mainline)
        sharer = await stack.enter_async_context(opening_sharer)
        await sharer.share(root / "shared")
        assert sharer.overlay is not None
        await trio.sleep(1)
        assert await sharer.overlay.wait_published(30)
        yield


async def attack_joining(attack: Attack, root: Path, limits: Limits = LIMITS) -> Outcome:
    """Fetch a file with a node that joins an overlay through an evil node and an honest one; only through an evil one
    where there is nothing to be had."""
    places = EVIL if attack.id in ONE_NETWORK else EVIL_HERE
    hosts, outcome, mainline = _Hosts(), Outcome(attack), attack.id in MAINLINE
    async with _honest(hosts, root, mainline=mainline), trio.open_nursery() as nursery:
        host, _ = await nursery.start(
            partial(
                run_evil_nodes, attack, [(HONEST[1], PEER_PORT)], seed=SEED, port=PEER_PORT,
                networks=[hosts.host(address) for address in places], bounds=BOUNDS, allowed=EVERYWHERE,
                limits=LIMITS, report=outcome.met.append,
            )
        )  # fmt: skip
        joins = [host] if attack.expect == "refused" else [host, HONEST[0]]
        async with hosts.open_node(VICTIM, joins, root / "victim", limits, mainline=mainline) as node:
            await node.listen()
            await trio.sleep(_BEFORE)
            began = trio.current_time()
            await _get(node, root / "fetched", outcome)
            await _get_nothing(node, root / "nothing", outcome)
            outcome.seconds = trio.current_time() - began
            await _look_around(node, outcome)
            await trio.sleep(_AFTERWARDS)
        nursery.cancel_scope.cancel()
    outcome.met = [event for event in outcome.met if event.host == VICTIM or event.why]
    return outcome


async def _get(node: Node, path: Path, outcome: Outcome) -> None:
    try:
        await node.get(NAME, path)
    except Osp2pError as error:
        outcome.errors[NAME] = error
        return
    if path.read_bytes() != CONTENT:
        outcome.wrong.append("kept a wrong content")


async def _get_nothing(node: Node, path: Path, outcome: Outcome) -> None:
    """Fetch what nobody has: it takes no longer than one search."""
    began = trio.current_time()
    with suppress(Osp2pError):
        await node.get(b"what nobody has", path)
    seconds = trio.current_time() - began
    if seconds > LIMITS.find_timeout + 1:
        outcome.wrong.append(f"looks for a file for {seconds:.0f} s")


async def _look_around(node: Node, outcome: Outcome) -> None:
    """Look for many things at a time; then see who the victim thinks is near, and whom it knows."""
    overlay = node.overlay
    assert overlay is not None
    rng = random.Random(1)
    keys = [rng.randbytes(20) for _ in range(_LOOKUPS_AGAINST.get(outcome.attack.id, _LOOKUPS))]
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(overlay.find_peers, key)
    for key in keys[:3]:
        evil = sum(contact.address.host in EVIL for contact in await overlay.find_nodes(key))
        if evil > LIMITS.max_lookup_same_network:
            outcome.wrong.append(f"finds {evil} nodes of one network next to a key")
    for bucket in overlay._engine.families[False].table.buckets:
        evil = sum(neighbour.contact.address.host in EVIL for neighbour in bucket.neighbours)
        if evil > LIMITS.max_bucket_same_network:
            outcome.wrong.append(f"knows {evil} nodes of one network in a bucket")


# --- calls ---

#: Where callers and callees of a world are.
CALLER, HONEST_CALLEE, EVIL_CALLEE = "10.0.2.1", "10.0.1.1", "10.0.6.1"

#: How many calls of one node are made at a time, and how often a service is looked for.
_CALLS = 90
_ROUNDS = 5


class Weather:
    """A service that an honest node has, and evil ones say to have."""

    async def tell(self) -> str:
        """What honest nodes say."""
        return "right"


async def attack_calling(attack: Attack, root: Path, limits: Limits = LIMITS) -> Outcome:
    """Call evil nodes in every way that there is: by address and place, by contact record, by what they serve."""
    network, outcome = MemoryNetwork(HONEST_CALLEE), Outcome(attack)
    directory = MemoryDirectory(HONEST_CALLEE)
    async with trio.open_nursery() as nursery:
        nodes: list[tuple[Key, str, int]] = await nursery.start(
            partial(
                run_evil_callee, attack, seed=SEED, network=network.host(EVIL_CALLEE), bounds=BOUNDS,
                allowed=EVERYWHERE, limits=LIMITS, report=outcome.met.append,
            )
        )  # fmt: skip
        places = {Address(host, port): None for _, host, port in nodes}
        async with (
            open_peer(network, directory, limits=LIMITS, port=PEER_PORT, weather=Weather()) as honest,
            open_peer(network.host(CALLER), directory.host(CALLER), limits=limits, port=PEER_PORT) as asker,
        ):
            # Of so many that not all are asked, some honest node is named among those that are.
            is_crowd = len(places) >= LIMITS.max_providers
            directory.services["weather"] = (
                {honest.where: None, **places} if is_crowd else {**places, honest.where: None}
            )
            key = nodes[0][0]
            listed, signature = key.sign_contact([(host, port) for _, host, port in nodes[:40]], 1)
            directory.items[bytes.fromhex(key.address.decode())] = read_mutable(
                key.public, b"osp2p", 1, {b"a": list[Value](listed)}, signature
            )
            victim = _Caller(asker.calls, honest.target, outcome)
            began = trio.current_time()
            address = key.address.decode()
            await victim.call_many(f"{address}@{nodes[0][1]}:{nodes[0][2]}")
            await victim.call_by_record(address)
            await victim.find()
            outcome.seconds = trio.current_time() - began
        nursery.cancel_scope.cancel()
    return outcome


class _Caller:
    """A node that calls, and what it makes of the answers."""

    def __init__(self, calls: Calls, honest: str, outcome: Outcome) -> None:
        self._calls = calls
        self._honest = honest
        self._outcome = outcome

    async def _call(self, target: str) -> None:
        try:
            result = await self._calls.call(target, "weather.tell", timeout=3)
        except CallError:
            return
        if result != "right":
            self._outcome.wrong.append(f"takes {result!r} for a result")

    async def call_many(self, target: str) -> None:
        """Call an evil node, often at a time, and then once more; an honest one meanwhile."""
        async with trio.open_nursery() as nursery:
            for _ in range(_CALLS):
                nursery.start_soon(self._call, target)
            if await self._calls.call(self._honest, "weather.tell", timeout=3) != "right":
                self._outcome.wrong.append("gets no right result of an honest node")
        if "call_idle" in self._outcome.attack.limits:
            await trio.sleep(LIMITS.call_idle + 5)
        await self._call(target)

    async def call_by_record(self, address: str) -> None:
        """Call a node whose record names many places."""
        before = len(self._outcome.met)
        await self._call(address)
        await trio.sleep(1)
        came = len(self._outcome.met) - before
        if self._outcome.attack.id == "callees/impostors" and came > LIMITS.max_contact_addresses:
            self._outcome.wrong.append(f"connects to {came} places of one record")

    async def find(self) -> None:
        """Look for a service that an honest node has among evil ones."""
        for _ in range(_ROUNDS):
            found = await self._calls.find_service("weather")
            if not any(f"{one.address}@{one.where}" == self._honest for one in found):
                self._outcome.wrong.append("does not find the honest node that has a service")
        if (known := len(self._calls._caller._nodes)) > LIMITS.max_contacts:
            self._outcome.wrong.append(f"remembers {known} nodes")
