"""An evil peer: it claims to hold what others hold, and attacks whoever fetches from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import NoReturn

import trio

from osp2p.errors import TrackerUnreachable
from osp2p.evil.bounds import DEFAULT_BOUNDS, LOOPBACK, Bounds, OtherSideLeft, Subnet, find_allowed
from osp2p.evil.contents import Contents
from osp2p.evil.encounter import Target, Victim
from osp2p.evil.network import Listener, Network, SocketNetwork, Stream
from osp2p.evil.registry import Attack, select_attacks
from osp2p.evil.run import Report, ignore, run_bounded
from osp2p.evil.tracker import Tracker, open_tracker
from osp2p.evil.trap import Trap, listen
from osp2p.limits import DEFAULT, Limits

NOTHING: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EvilPeer:
    """What `run_evil_peer` tells once it is at work.

    Attributes:
        host, port: where it is registered; of many registrations, the first.
        names: what it claims to hold.
    """

    host: str
    port: int
    names: tuple[bytes, ...]


async def run_evil_peer(
    tracker_host: str,
    tracker_port: int,
    mode: str = "",
    names: Iterable[bytes] = (),
    *,
    seed: int,
    network: Network | None = None,
    alias: bytes = b"evil",
    port: int = 0,
    bounds: Bounds = DEFAULT_BOUNDS,
    allowed: Sequence[Subnet] = LOOPBACK,
    limits: Limits = DEFAULT,
    look_every: float = 2.0,
    known: Mapping[bytes, bytes] = NOTHING,
    report: Report = ignore,
    task_status: trio.TaskStatus[EvilPeer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Register at a tracker as a holder of others' files and attack who connects; runs until cancelled.

    Args:
        tracker_host, tracker_port: the tracker.
        mode: ``family/name``, a family, a glob, or "" for all families in turn.
        names: raw names to claim; none: whatever the tracker lists, now and later.
        seed: the n-th victim meets the same attack with the same randomness in every run.
        network: where it listens and connects from; None: this machine's.
        alias: what it calls itself.
        port: where it listens; 0: any free port.
        bounds: how far it may go.
        allowed: the only networks whose hosts are attacked or asked for contents; the tracker must be there too.
        limits: those of talking to a tracker, and what the victims' are thought to be.
        look_every: seconds between two looks at what the tracker lists; it also keeps the connection alive.
        known: true contents by name that need not be fetched from honest holders first.
        report: told of each attack when it ends; may not raise.
        task_status: gets an `EvilPeer` once all names of the first look are claimed.

    Raises:
        UnknownAttack: there is none of that mode.
        NotAllowed: the tracker is in no allowed network.
        ListenFailed: the port cannot be opened.
        TrackerUnreachable: no tracker answers there, or it is gone.

    Cancellation: all connections are closed.
    """
    attacks = select_attacks(mode)
    network = network or SocketNetwork(None, None)
    holders = [one for one in attacks if one.role != "registrant"]
    count = holders[0].sybils if len(attacks) == len(holders) == 1 else min(1, len(holders))
    registrants = [one for one in attacks if one.role == "registrant"] if mode else []
    lost: TrackerUnreachable | None = None
    async with (
        _open_ports(network, port, allowed, count) as listeners,
        _open_logins(network, (tracker_host, tracker_port), allowed, limits, max(1, count)) as trackers,
    ):
        own = [(trackers[number].local_host, listener.address.port) for number, listener in enumerate(listeners)]
        contents = Contents(network, trackers[0], own, seed, bounds, allowed, known)
        trap = Trap(seed, bounds, allowed, report)
        crowd = _Crowd(trackers[: max(1, len(own))], contents, tuple(names))
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(trap.serve, listener, _Meetings(holders, trap, contents, limits).meet)
            try:
                await crowd.log_in(alias, own, hello=any(one.role == "holder" for one in attacks))
                await crowd.look()
                for one in registrants:
                    host = await find_allowed(tracker_host, tracker_port, allowed)
                    target = Target(
                        [network], host, tracker_port, trap.budget, Random(f"{seed} {one.id}"),
                        names=crowd.names, limits=limits, allowed=allowed,
                    )  # fmt: skip
                    await nursery.start(_run_registrant, one, target)
                task_status.started(EvilPeer(*(own[0] if own else (trackers[0].local_host, 0)), crowd.names))
                await crowd.go_on(look_every)
            except TrackerUnreachable as error:  # raised behind the nursery, which would wrap it
                lost = error
                nursery.cancel_scope.cancel()
    raise lost or AssertionError("only a lost tracker ends it")


async def _run_registrant(
    attack: Attack, target: Target, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Let a registrant do its work, which begins before anybody is told that we are here, and lasts."""
    try:
        target.at_work = task_status.started
        await run_bounded(attack, target, float("inf"))
        target.begin()
        await trio.sleep_forever()
    finally:
        target.close()


@asynccontextmanager
async def _open_ports(
    network: Network, port: int, allowed: Sequence[Subnet], count: int
) -> AsyncIterator[list[Listener]]:
    """Open ports: one for each peer that we play."""
    listeners: list[Listener] = []
    try:
        while len(listeners) < count:
            listeners += [await listen(network, 0 if listeners else port, allowed)]
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@asynccontextmanager
async def _open_logins(
    network: Network, address: tuple[str, int], allowed: Sequence[Subnet], limits: Limits, count: int
) -> AsyncIterator[list[Tracker]]:
    """Connect to the tracker: once for each peer that we play."""
    async with AsyncExitStack() as stack:
        opening = (open_tracker(network, *address, allowed, limits) for _ in range(count))
        yield [await stack.enter_async_context(one) for one in opening]


class _Crowd:
    """The peers that we play at one tracker, who all claim the same.

    Args:
        wanted: what to claim; nothing: whatever the tracker lists.
    """

    def __init__(self, trackers: Sequence[Tracker], contents: Contents, wanted: Sequence[bytes]) -> None:
        self._trackers = trackers
        self._contents = contents
        self._wanted = wanted
        self._claimed: dict[bytes, bool] = {}
        self._registered = False

    @property
    def names(self) -> tuple[bytes, ...]:
        """What the tracker takes us for holders of; of what others claim, what there is."""
        return tuple(name for name, taken in self._claimed.items() if taken)

    async def log_in(self, alias: bytes, own: Sequence[tuple[str, int]], *, hello: bool) -> None:
        """Register each of us, if there are any."""
        for number, tracker in enumerate(self._trackers):
            if hello:
                await tracker.say_hello()
            if own:
                self._registered = True
                await tracker.register(alias + (b"%d" % number if number else b""), own[number][1])

    async def look(self) -> None:
        """Learn what has not been claimed yet, then claim it."""
        names = self._wanted or await self._trackers[0].list_names()
        new = [name for name in dict.fromkeys(names) if name not in self._claimed]
        facts = {name: await self._contents.learn(name) for name in new}
        for name, known in facts.items():
            size = int(known[b"SIZE"]) if known.get(b"SIZE", b"").isdigit() else None
            self._claimed[name] = True
            for tracker in self._trackers if self._registered else ():
                self._claimed[name] = await tracker.claim(name, known.get(b"MD5"), size, known.get(b"B3"))

    async def go_on(self, every: float) -> NoReturn:
        """Claim what the tracker lists later, if everything is wanted; keep the connections alive."""
        while True:
            await trio.sleep(every)
            for tracker in self._trackers:
                await tracker.keep_alive()
            if not self._wanted:
                await self.look()


class _Meetings:
    """Gives each victim the next attack: of those for programs that say HELLO, or of the others."""

    def __init__(self, attacks: Sequence[Attack], trap: Trap, contents: Contents, limits: Limits) -> None:
        self._attacks = {hello: [one for one in attacks if (one.role == "holder") is hello] for hello in (True, False)}
        self._turns = {True: 0, False: 0}
        self._trap = trap
        self._contents = contents
        self._limits = limits

    async def meet(self, stream: Stream) -> None:
        """Attack somebody who has connected."""
        number = self._trap.next_number()
        victim = Victim(stream, self._trap.budget, number, Random(), self._contents, self._limits)
        hello = bool(self._attacks[True])
        if hello and self._attacks[False]:
            try:
                hello = await victim.peek_hello()
            except OtherSideLeft:
                return
        attacks = self._attacks[hello]
        chosen = attacks[self._turns[hello] % len(attacks)]
        self._turns[hello] += 1
        victim.rng = self._trap.rng(chosen, number)
        await self._trap.attack(chosen, victim)
