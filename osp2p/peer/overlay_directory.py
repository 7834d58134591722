"""The overlay as a directory of nodes and services, for calls."""

from __future__ import annotations

from collections.abc import Sequence

from osp2p.errors import OverlayUnreachable
from osp2p.limits import Limits
from osp2p.overlay.item import MutableItem
from osp2p.overlay.keys import service_key
from osp2p.overlay.node import Overlay
from osp2p.rpc.identity import SALT
from osp2p.wire.address import Address

_ALONE = "this node has joined no overlay: join one, or write ADDRESS@HOST:PORT"


class OverlayDirectory:
    """See `rpc.directory.Directory`.

    Args:
        local: whether nodes on this machine's loopback may be meant.
    """

    def __init__(self, overlay: Overlay, limits: Limits, *, local: bool) -> None:
        self._overlay = overlay
        self._limits = limits
        self._local = local

    @property
    def local(self) -> bool:
        """See `Directory`."""
        return self._local or any(Address(host, 1).is_loopback for host in self._overlay.own_hosts())

    async def publish(self, item: MutableItem) -> None:
        """See `Directory`. The overlay keeps it, whenever there is somebody who can."""
        self._overlay.keep_item(item)

    async def announce(self, service: str, port: int) -> None:
        """See `Directory`. The overlay is told, whenever there is somebody who hears it."""
        self._overlay.publish([service_key(self._overlay.network, service)], port)

    async def find(self, target: bytes) -> MutableItem | None:
        """See `Directory`."""
        await self._overlay.wait_connected(self._limits.join_patience)
        item = await self._overlay.get_item(target, SALT)
        return item if isinstance(item, MutableItem) else None

    async def providers(self, service: str) -> Sequence[Address]:
        """See `Directory`."""
        await self._overlay.wait_connected(self._limits.join_patience)
        return await self._overlay.find_peers(service_key(self._overlay.network, service))


class NoDirectory:
    """The directory of a node that is in no overlay: nobody is told anything, and nobody knows anybody."""

    local = True

    async def publish(self, item: MutableItem) -> None:
        """See `Directory`."""

    async def announce(self, service: str, port: int) -> None:
        """See `Directory`."""

    async def find(self, target: bytes) -> MutableItem | None:
        """See `Directory`."""
        raise OverlayUnreachable(_ALONE)

    async def providers(self, service: str) -> Sequence[Address]:
        """See `Directory`."""
        raise OverlayUnreachable(_ALONE)
