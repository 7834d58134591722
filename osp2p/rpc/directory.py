"""What calls need of whoever knows where nodes are: an interface, and one in memory behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from osp2p.overlay.item import MutableItem
from osp2p.wire.address import Address


class Directory(Protocol):
    """Where contact records are kept, and who says that he has a service. All of it is claimed, but for signatures."""

    @property
    def local(self) -> bool:
        """Whether nodes on this machine's loopback may be meant; else addresses there are ignored."""

    async def publish(self, item: MutableItem) -> None:
        """Keep a signed item.

        Raises:
            Osp2pError: nobody took it.
        """

    async def find(self, target: bytes) -> MutableItem | None:
        """The newest signed item of a target, if anybody has one.

        Raises:
            OverlayError: nobody can be asked.
        """

    async def announce(self, service: str, port: int) -> None:
        """Say that this host has a service at a port.

        Raises:
            Osp2pError: nobody took it.
        """

    async def providers(self, service: str) -> Sequence[Address]:
        """Who says that he has a service.

        Raises:
            OverlayError: nobody can be asked.
        """


class MemoryDirectory:
    """A directory for nodes of one process.

    Args:
        host: of the node whose view this is.
        shared: the directory that another node uses already.
    """

    local = True

    def __init__(self, host: str = "127.0.0.1", shared: MemoryDirectory | None = None) -> None:
        self._host = host
        self.items: dict[bytes, MutableItem] = shared.items if shared else {}
        self.services: dict[str, dict[Address, None]] = shared.services if shared else {}

    def host(self, host: str) -> MemoryDirectory:
        """The same directory, as another node sees it."""
        return MemoryDirectory(host, self)

    async def publish(self, item: MutableItem) -> None:
        known = self.items.get(item.target)
        if known is None or known.sequence < item.sequence:
            self.items[item.target] = item

    async def find(self, target: bytes) -> MutableItem | None:
        return self.items.get(target)

    async def announce(self, service: str, port: int) -> None:
        self.services.setdefault(service, {})[Address(self._host, port)] = None

    async def providers(self, service: str) -> Sequence[Address]:
        return list(self.services.get(service, {}))
