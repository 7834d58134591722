"""A node of the overlay on a real network, or on one in memory: what programs use."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from osp2p.errors import ConnectionLost, ListenFailed, NotStored, OverlayUnreachable, StoreError
from osp2p.limits import DEFAULT, Limits
from osp2p.net.datagrams import DatagramNetwork, DatagramSocket
from osp2p.net.elapsed import ElapsedTime, time_asleep
from osp2p.net.groups import one_error
from osp2p.net.udp import UdpNetwork
from osp2p.overlay.compact import Contact
from osp2p.overlay.engine import Engine
from osp2p.overlay.events import OverlayAlone, OverlayEvent, OverlayJoined, OverlayReport
from osp2p.overlay.item import ImmutableItem, MutableItem
from osp2p.overlay.keys import DEFAULT_NETWORK, network_tag
from osp2p.overlay.lan import find_on_lan
from osp2p.overlay.lookup import Candidate
from osp2p.overlay.maintenance import Maintenance
from osp2p.overlay.publisher import Publisher
from osp2p.overlay.saved import load_contacts, save_contacts
from osp2p.overlay.searches import Outcome, Searches, Stored
from osp2p.overlay.status import OverlayStatus, family_statuses
from osp2p.wire.address import Address

logger = logging.getLogger("osp2p.overlay")

Result = TypeVar("Result")

#: How often the neighbours are written to the file for the next start.
_SAVE_INTERVAL = 300.0

#: How many datagrams are taken at most before timers have their turn.
_MOST_WAITING = 500

#: How long a node tries to join before it says that it is alone.
_ALONE_AFTER = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayOptions:
    """Which overlay, and how.

    Attributes:
        joins: host and port of nodes to join through; any node will do.
        network: its name, which every node of it must use.
        mainline: be a node of BitTorrent's network instead: no name in messages, and its limits of rates.
        read_only: only ask (BEP 43): for programs that are gone in a moment.
        saved: the file with the neighbours of an earlier run; None: neither read nor written.
        lan: look for nodes on the local networks of these addresses of this machine, of all if there are none; None: do
            not. Needs the extra ``lan``.
    """

    joins: Sequence[tuple[str, int]] = ()
    network: str = DEFAULT_NETWORK
    mainline: bool = False
    read_only: bool = False
    saved: Path | None = None
    lan: Sequence[str] | None = None


def ignore(event: OverlayEvent) -> None:
    """The report of a program that does not look."""


class Overlay:
    """One node. Made by `open_overlay`; its methods may run side by side."""

    def __init__(
        self,
        engine: Engine,
        sockets: Sequence[DatagramSocket],
        datagrams: DatagramNetwork,
        options: OverlayOptions,
        report: OverlayReport,
        elapsed: ElapsedTime,
    ) -> None:
        self._engine = engine
        self._sockets = {socket.address.is_ipv6: socket for socket in sockets}
        self._datagrams = datagrams
        self._options = options
        self._report = report
        self._elapsed = elapsed
        self._searches = Searches(engine)
        self._publisher = Publisher(engine.timers, engine.limits, engine.rng)
        self._publisher.changed = self._note_published
        self._published = trio.Event()
        self._maintenance = Maintenance(engine, self._searches, self._note_change, self._publisher.note_size)
        self._unknown_hosts: list[str] = []
        self._said_joined: bool | None = None
        self._changed = trio.Event()
        self._poked = trio.Event()
        self._sleeps_until = float("inf")

    @property
    def network(self) -> str:
        """The network's name, which keys are made with."""
        return self._options.network

    @property
    def port(self) -> int:
        """The UDP port."""
        return self._sockets[False].address.port

    # --- running ---

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; the neighbours are saved for the next start then."""
        saved: list[Contact] = []
        if self._options.saved is not None:
            saved = load_contacts(self._options.saved, self._engine.limits)
        try:
            async with trio.open_nursery() as nursery:
                self._maintenance.start([], saved, self._elapsed.now())
                for socket in self._sockets.values():
                    nursery.start_soon(self._receive, socket)
                nursery.start_soon(self._join_all)
                nursery.start_soon(self._save_again_and_again)
                if self._options.lan is not None:
                    nursery.start_soon(self._look_on_lan, self._options.lan)
                task_status.started()
                await self._keep_time()
        finally:
            self._save()

    async def _keep_time(self) -> None:
        while True:
            self._poked = trio.Event()
            self._sleeps_until = self._engine.next_wake
            with trio.move_on_at(self._elapsed.in_trio(self._sleeps_until)):
                await self._poked.wait()
            self._take_what_waits()
            self._elapsed.look()
            self._engine.wake(self._elapsed.now())
            self._flush()

    def _take_what_waits(self) -> None:
        """Take datagrams that are here already, before anybody is called silent: this process may run late itself."""
        for socket in self._sockets.values():
            for _ in range(_MOST_WAITING):
                datagram = socket.receive_now()
                if datagram is None:
                    break
                self._engine.receive(*datagram, self._elapsed.now())

    async def _receive(self, socket: DatagramSocket) -> None:
        with contextlib.suppress(ConnectionLost):
            while True:
                data, source = await socket.receive()
                self._engine.receive(data, source, self._elapsed.now())
                self._flush()

    def _flush(self) -> None:
        """Send what is to be sent, and see to it that nothing due is slept through."""
        outgoing = self._engine.outgoing
        while outgoing:
            data, address = outgoing.popleft()
            self._sockets[address.is_ipv6].send(data, address)
        if self._engine.next_wake < self._sleeps_until:
            self._poked.set()

    async def _save_again_and_again(self) -> None:
        while True:
            await trio.sleep(_SAVE_INTERVAL)
            self._save()

    def _save(self) -> None:
        contacts = self._maintenance.contacts_to_save()
        if self._options.saved is None or not contacts:
            return
        try:
            save_contacts(self._options.saved, contacts)
        except StoreError as error:  # the next start has to be told a node, that is all
            logger.warning("the neighbours are not remembered: %s", error)

    # --- joining ---

    async def _join_all(self) -> None:
        """Join through the hosts that we were told; one whose name nobody knows now may be known later."""
        todo = list(dict.fromkeys(self._options.joins))
        say_at = trio.current_time() + (_ALONE_AFTER if todo or self._options.saved else 0)
        pause = self._engine.limits.join_first

        async def look_up(host: str, port: int) -> None:
            found = [Address(numeric, port) for numeric in await self._datagrams.resolve(host)]
            if found:
                todo.remove((host, port))
                self.join(found)

        while True:
            async with trio.open_nursery() as nursery:  # at a time: a name server may let one of them wait for long
                for host, port in todo:
                    nursery.start_soon(look_up, host, port)
            self._unknown_hosts = [host for host, _ in todo]
            if not todo:
                break
            await trio.sleep(pause)
            pause = min(2 * pause, self._engine.limits.join_most)
            if trio.current_time() >= say_at:
                self._say()
        await trio.sleep_until(say_at)
        self._say()

    async def _look_on_lan(self, interfaces: Sequence[str]) -> None:
        tag = "mainline" if self._options.mainline else network_tag(self.network).hex()
        name = f"osp2p-{self.port}-{self._engine.rng.getrandbits(64):016x}"
        port = None if self._options.read_only else self.port
        await find_on_lan(tag, name, port, interfaces, self._engine.limits, self.join)

    def join(self, addresses: Iterable[Address]) -> None:
        """Join through further nodes."""
        self._maintenance.add_joins(addresses, self._elapsed.now())
        self._flush()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        if self._maintenance.connected:
            self._publisher.hurry(self._elapsed.now())
        if self._maintenance.connected or self._said_joined:
            self._say()

    def _say(self) -> None:
        """Tell whether there are others, if that is news."""
        connected = self._maintenance.connected
        if connected == self._said_joined:
            return
        self._said_joined = connected
        if connected:
            self._report(OverlayJoined(self.status().neighbours))
        else:
            self._report(OverlayAlone(tuple(self._maintenance.joins), self._maintenance.other_network))

    @property
    def connected(self) -> bool:
        """Whether there are others."""
        return self._maintenance.connected

    async def wait_connected(self, seconds: float) -> None:
        """Wait until there are others.

        Raises:
            OverlayUnreachable: nobody answered in time; the node goes on trying.
        """
        with trio.move_on_after(seconds):
            while not self._maintenance.connected and not self._is_elsewhere():
                await self._changed.wait()
        if self._maintenance.connected:
            return
        where = ", ".join(self.silent_joins()) or "no node to join through is known"
        if self._maintenance.other_network is not None:
            raise OverlayUnreachable(
                f"the node at {self._maintenance.other_network} belongs to another network than {self.network}"
            )
        raise OverlayUnreachable(f"no node of the overlay answers ({where})")

    def silent_joins(self) -> list[str]:
        """Where nodes to join through should be, and none has answered yet; hosts without an address are among them."""
        silent = [str(address) for address, reached in self._maintenance.joins.items() if not reached]
        return [*silent, *(f"{host} has no address" for host in self._unknown_hosts)]

    def _is_elsewhere(self) -> bool:
        """Whether the one node that we know of belongs to another network, so that there is nothing to wait for."""
        return self._maintenance.other_network is not None and len(self._maintenance.joins) == 1

    async def wait_settled(self, seconds: float) -> bool:
        """Wait until the node has found its place. Returns: whether it has, in time."""
        with trio.move_on_after(seconds):
            while not self._maintenance.settled:
                await self._changed.wait()
        return self._maintenance.settled

    # --- asking ---

    async def _result(self, start: Callable[[float, Callable[[Result], None]], None]) -> Result:
        """Begin something that calls back, and wait until it has.

        Cancellation: it goes on by itself, and nobody hears of it.
        """
        results: list[Result] = []
        there = trio.Event()

        def take(result: Result) -> None:
            results.append(result)
            there.set()

        start(self._elapsed.now(), take)
        self._flush()
        await there.wait()
        return results[0]

    async def find_nodes(self, target: bytes) -> list[Contact]:
        """Find the nodes whose ids are nearest to a target, the nearest first.

        Args:
            target: 20 bytes.
        """

        def start(now: float, take: Callable[[Outcome], None]) -> None:
            self._searches.find_nodes(target, now, lambda outcome, _now: take(outcome))

        outcome = await self._result(start)
        return [candidate.contact for candidate in outcome.nearest]

    @asynccontextmanager
    async def open_search(self, key: bytes) -> AsyncIterator[trio.MemoryReceiveChannel[list[Address]]]:
        """Look for those who announced a key.

        Yields: a channel of peers as they are told, each once; it ends when the lookup does.
        """
        send, receive = trio.open_memory_channel[list[Address]](float("inf"))
        seen: set[Address] = set()
        most = self._engine.limits.max_found_peers

        def found(peers: list[Address], _teller: Candidate | None, _now: float) -> None:
            new = [peer for peer in dict.fromkeys(peers) if peer not in seen][: most - len(seen)]
            seen.update(new)
            if new:
                with contextlib.suppress(trio.BrokenResourceError):
                    send.send_nowait(new)

        self._searches.get_peers(key, self._elapsed.now(), found, lambda _outcome, _now: send.close())
        self._flush()
        with receive:
            yield receive

    async def find_peers(self, key: bytes) -> list[Address]:
        """Everybody who announced a key, as the nodes nearest to it tell."""
        async with self.open_search(key) as found:
            return [peer async for peers in found for peer in peers]

    async def get_item(self, target: bytes, salt: bytes = b"") -> ImmutableItem | MutableItem | None:
        """Get an item by its target; of a signed one the newest that any node has.

        Args:
            salt: of the signed item, which its target does not tell.

        Returns: None if nobody has it. What is returned is proved: by its hash, or by its owner's signature.
        """

        def start(now: float, take: Callable[[ImmutableItem | MutableItem | None], None]) -> None:
            self._searches.get_item(target, now, lambda item, _outcome, _now: take(item), salt=salt)

        return await self._result(start)

    async def put_item(self, item: ImmutableItem | MutableItem, *, swap: int | None = None) -> int:
        """Have an item kept by the nodes nearest to its target, for two hours. See `keep_item`.

        Args:
            swap: the sequence number that the signed item must have there now.

        Returns: how many nodes took it.

        Raises:
            NotStored: nobody took it.
        """

        def start(now: float, take: Callable[[Stored], None]) -> None:
            self._searches.put_item(item, now, lambda stored, _now: take(stored), swap=swap)

        return _taken(await self._result(start))

    async def announce(self, key: bytes, port: int) -> int:
        """Announce once that this machine's `port` has what a key stands for. See `publish`.

        Returns: how many nodes took it.

        Raises:
            NotStored: nobody took it.
        """

        def start(now: float, take: Callable[[Stored], None]) -> None:
            self._searches.announce(key, port, now, lambda stored, _now: take(stored))

        return _taken(await self._result(start))

    # --- keeping things known ---

    def publish(self, keys: Iterable[bytes], port: int) -> None:
        """Announce keys, and go on announcing them until they are withdrawn."""
        now = self._elapsed.now()
        for key in keys:
            if self._engine.announced.get(key) == port:
                continue
            self._engine.announced[key] = port

            def make(then: float, done: Callable[[int, float], None], key: bytes = key) -> None:
                self._searches.announce(key, port, then, lambda stored, at: done(stored.taken, at))

            self._publisher.add(("key", key), make, self._engine.limits.announce_interval, now)
        self._flush()

    def withdraw(self, keys: Iterable[bytes]) -> None:
        """Announce keys no longer. Others forget them in time."""
        for key in keys:
            self._engine.announced.pop(key, None)
            self._publisher.withdraw([("key", key)])

    def keep_item(self, item: ImmutableItem | MutableItem) -> None:
        """Have an item kept until this node ends; a newer one of the same owner and salt takes its place."""

        def make(then: float, done: Callable[[int, float], None]) -> None:
            self._searches.put_item(item, then, lambda stored, at: done(stored.taken, at))

        self._publisher.add(("item", item.target), make, self._engine.limits.item_interval, self._elapsed.now())
        self._flush()

    async def wait_published(self, seconds: float) -> bool:
        """Wait until somebody keeps everything that is published now. Returns: whether it is so, in time."""
        with trio.move_on_after(seconds):
            while self._publisher.taken < len(self._publisher):
                await self._published.wait()
        return self._publisher.taken == len(self._publisher)

    def _note_published(self) -> None:
        self._published.set()
        self._published = trio.Event()

    def own_hosts(self) -> list[str]:
        """This machine's addresses, as others see them."""
        return [family.host for family in self._engine.families.values() if family.host is not None]

    def status(self) -> OverlayStatus:
        """What this node knows of itself."""
        engine = self._engine
        return OverlayStatus(
            network=None if self._options.mainline else self._options.network,
            port=self.port,
            read_only=engine.read_only,
            families=family_statuses(engine, self._elapsed.now()),
            stored_keys=engine.answers.peers.keys,
            stored_peers=len(engine.answers.peers),
            stored_items=len(engine.answers.items),
            published=len(self._publisher),
            published_taken=self._publisher.taken,
            counts={name: engine.counts[name] for name in sorted(engine.counts)},
        )


def _taken(stored: Stored) -> int:
    """How many nodes took something. Raises: NotStored."""
    if stored.taken:
        return stored.taken
    if stored.refused:
        reason = stored.refused[0]
        raise NotStored(f"refused: {reason.code} {reason.text.decode('utf-8', 'replace')}")
    raise NotStored("there is no node that could take it")


@asynccontextmanager
async def open_overlay(
    options: OverlayOptions,
    *,
    port: int = 0,
    datagrams: DatagramNetwork | None = None,
    limits: Limits = DEFAULT,
    rng: random.Random | None = None,
    report: OverlayReport = ignore,
    asleep: Callable[[], float] = time_asleep,
) -> AsyncIterator[Overlay]:
    """Open a node of the overlay; it ends with the block.

    Args:
        port: the UDP port; 0: any free one. It is best the TCP port on which this machine serves.
        datagrams: where sockets come from; None: this machine's UDP.
        rng: for every choice; None: the system's, which nobody can foresee.
        report: takes what is worth telling.
        asleep: for how many seconds the machine has slept so far.

    Raises:
        ListenFailed: the port is not free.
    """
    datagrams = datagrams or UdpNetwork()
    sockets = await _open_sockets(datagrams, port)
    try:
        elapsed = ElapsedTime(asleep)
        engine = Engine(
            network=b"" if options.mainline else network_tag(options.network),
            limits=limits,
            rng=rng or random.SystemRandom(),
            now=elapsed.now(),
            ipv6=len(sockets) > 1,
            read_only=options.read_only,
        )
        overlay = Overlay(engine, sockets, datagrams, options, report, elapsed)
        with one_error():
            async with trio.open_nursery() as nursery:
                await nursery.start(overlay.run)
                yield overlay
                nursery.cancel_scope.cancel()
    finally:
        for socket in sockets:
            socket.close()


async def _open_sockets(datagrams: DatagramNetwork, port: int) -> list[DatagramSocket]:
    """A socket for IPv4, and one of the same port for IPv6, where there is IPv6."""
    first = await datagrams.open_datagrams(port)
    try:
        return [first, await datagrams.open_datagrams(first.address.port, "::")]
    except ListenFailed:
        return [first]
    except BaseException:
        first.close()
        raise
