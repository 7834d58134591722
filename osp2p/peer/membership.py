"""A node's place in the overlay: its UDP port, what it asks there, and what it tells there."""

from __future__ import annotations

import random

import trio

from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.datagrams import DatagramNetwork
from osp2p.overlay.events import OverlayEvent, OverlayJoined
from osp2p.overlay.node import Overlay, OverlayOptions, open_overlay
from osp2p.peer.events import Alone, Event, Joined, Report
from osp2p.peer.overlay_announce import OverlayAnnouncer
from osp2p.peer.overlay_source import OverlaySource
from osp2p.wire.address import Address


class Membership:
    """One node in one overlay.

    Args:
        nursery: ends with the node.
        network: over which holders are asked what they have.
        datagrams: None: this machine's UDP.
        rng: None: the system's, which nobody can foresee.
        report: takes `Joined` and `Alone`.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        options: OverlayOptions,
        network: Network,
        datagrams: DatagramNetwork | None,
        limits: Limits,
        rng: random.Random | None,
        report: Report,
    ) -> None:
        self._nursery = nursery
        self.options = options
        self._network = network
        self._datagrams = datagrams
        self._limits = limits
        self._rng = rng
        self._report = report
        self.overlay: Overlay | None = None
        self.source: OverlaySource | None = None
        self._served: int | None = None
        #: What happened before the node said where it listens; None once it has, or where it only asks.
        self._held: list[Event] | None = None if options.read_only else []
        self._local: list[str] = []

    async def start(self, port: int) -> None:
        """Join, in the background.

        Args:
            port: of UDP; 0: any free one.

        Raises:
            ListenFailed: it is not free.
        """
        overlay: Overlay = await self._nursery.start(self._run, port)
        self.overlay = overlay
        self.source = OverlaySource(self._nursery, overlay, self._network, self._limits, self.own_addresses)

    async def _run(self, port: int, task_status: trio.TaskStatus[Overlay]) -> None:
        async with open_overlay(
            self.options,
            port=port,
            datagrams=self._datagrams,
            limits=self._limits,
            rng=self._rng,
            report=self._pass_on,
        ) as overlay:
            task_status.started(overlay)
            await trio.sleep_forever()

    def _pass_on(self, event: OverlayEvent) -> None:
        report = self._report if self._held is None else self._held.append
        if isinstance(event, OverlayJoined):
            report(Joined(event.neighbours))
        elif self.overlay is not None:
            report(Alone(self.overlay.port, event.tried, event.other_network))

    def announcer(self, port: int) -> OverlayAnnouncer:
        """What keeps the overlay told of what is served at a TCP port."""
        assert self.overlay is not None
        for event in self._held or ():
            self._report(event)
        self._held = None
        self._served = port
        self._local = [*self._network.local_addresses(), *self._network.local_ipv6_addresses()]
        return OverlayAnnouncer(self.overlay, port, self.own_addresses, self._limits)

    def own_addresses(self) -> set[Address]:
        """Where this node serves, by every address that others may know of it."""
        if self._served is None or self.overlay is None:
            return set()
        return {Address(host, self._served) for host in (*self.overlay.own_hosts(), *self._local)}
