"""Finding who has a service: whoever says so is asked, and proves it, before he counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from osp2p.errors import CallError, CallTimedOut, NetworkFailed, NodeNotFound, OverlayError
from osp2p.limits import Limits
from osp2p.net.groups import one_error
from osp2p.overlay.identifier import distance
from osp2p.rpc.calling import Caller
from osp2p.rpc.directory import Directory
from osp2p.rpc.document import Value
from osp2p.rpc.services import Services
from osp2p.wire.address import Address


@dataclass(frozen=True, slots=True)
class Provider:
    """A node that has a service.

    Attributes:
        address: 40 hex digits, proved.
        version: of the service, as the node says.
        where: where it answered; None for this process.
    """

    address: str
    version: str
    where: Address | None = None


def by_distance(providers: list[Provider], near: str) -> list[Provider]:
    """Providers in the order of the XOR of their addresses and another one, the nearest first.

    Source: Maymounkov and Mazières, 2002.
    """
    return sorted(providers, key=lambda one: distance(bytes.fromhex(one.address), bytes.fromhex(near)))


class Finder:
    """Finds providers.

    Args:
        own: the address of this node, which is its own first provider of what it serves.
        services: what it serves.

    Attributes:
        serving: whether it takes calls; another process may, under the same address.
    """

    def __init__(self, caller: Caller, directory: Directory, services: Services, own: str, limits: Limits) -> None:
        self._caller = caller
        self._directory = directory
        self._services = services
        self._own = own
        self._limits = limits
        self.serving = False

    async def find(self, service: str) -> list[Provider]:
        """Everybody who has proved within `provider_timeout` that he has a service, the first to do so first.

        Once somebody has, the others have `provider_patience` each.

        Raises:
            NodeNotFound: nobody has it.
            NetworkFailed: nobody can be asked.
        """
        found: list[Provider] = []
        async with self.open_search(service) as search:
            with trio.CancelScope() as scope:
                async for provider in search:
                    found.append(provider)
                    scope.deadline = trio.current_time() + self._limits.provider_patience
        if not found:
            raise NodeNotFound(f"nobody is found who has the service {service}")
        return found

    @asynccontextmanager
    async def open_search(self, service: str) -> AsyncIterator[trio.MemoryReceiveChannel[Provider]]:
        """Ask who has a service. Yields: providers, as they prove it. Leaving the block ends the search."""
        send, receive = trio.open_memory_channel[Provider](self._limits.max_providers + 1)
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._search, service, send)
                with receive:
                    yield receive
                nursery.cancel_scope.cancel()

    async def _search(self, service: str, send: trio.MemorySendChannel[Provider]) -> None:
        with send:
            seen: set[str] = set()
            if self.serving and service in self._services.names:
                seen.add(self._own)
                send.send_nowait(Provider(self._own, self._services.service(service).version))
            try:
                claimed = await self._directory.providers(service)
            except OverlayError as error:
                raise NetworkFailed(f"cannot ask who has the service {service}: {error}") from error
            async with trio.open_nursery() as nursery:
                possible = [where for where in dict.fromkeys(claimed) if self._directory.local or not where.is_loopback]
                for where in possible[: self._limits.max_providers]:
                    nursery.start_soon(self._prove, service, where, seen, send)

    async def _prove(
        self, service: str, where: Address, seen: set[str], send: trio.MemorySendChannel[Provider]
    ) -> None:
        """Ask one who says that he has the service. Who cannot prove it is left out."""
        with trio.move_on_after(self._limits.provider_timeout):
            try:
                address, info = await self._caller.call_whoever(where, f"{service}.info")
            except CallError:
                return
            if address not in seen:
                seen.add(address)
                send.send_nowait(Provider(address, _version(info), where))


def _version(info: Value) -> str:
    version = info.get("version") if isinstance(info, dict) else None
    return version if isinstance(version, str) else ""


def was_not_run(error: CallError) -> bool:
    """Whether a failed call was certainly not carried out, so that another node may be asked instead."""
    return not isinstance(error, CallTimedOut) and not (isinstance(error, NetworkFailed) and error.may_have_run)
