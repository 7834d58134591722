"""The part of a node that serves methods and calls those of others."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.peer.server import UploadServer
from osp2p.wire.address import Address

if TYPE_CHECKING:  # what calls need is imported when the first one is made or served: most nodes do neither
    from osp2p.errors import CallError
    from osp2p.peer.membership import Membership
    from osp2p.rpc.calls import Calls
    from osp2p.rpc.document import Value
    from osp2p.rpc.finding import Provider


def default_identity() -> Path:
    """The identity file of a user who names none."""
    from platformdirs import user_data_path

    return user_data_path("osp2p") / "identity"


class Calling:
    """One node's identity, and its calls once they are wanted.

    Args:
        nursery: ends with the node.
        server: answers on the node's port.
        identity: the file with the node's key; None: that of `default_identity`.
        membership: the node's place in an overlay, if it has one by then.
        listen: opens the node's port, and returns where it listens.
        http_anywhere: whether programs of other machines may call through this node.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        network: Network,
        limits: Limits,
        rng: random.Random,
        server: UploadServer,
        identity: Path | None,
        membership: Callable[[], Membership | None],
        listen: Callable[[], Awaitable[Address]],
        *,
        http_anywhere: bool,
    ) -> None:
        self._nursery = nursery
        self._network = network
        self._limits = limits
        self._rng = rng
        self._server = server
        self._identity = identity
        self._membership = membership
        self._listen = listen
        self._http_anywhere = http_anywhere
        self._calls: Calls | None = None
        self._starting = trio.Lock()
        self._calling = False
        self._holding = False
        self._serving = False

    def calls(self) -> Calls:
        """The node's calls, made when they are asked for first, and with them the identity file, if there is none.

        Raises:
            StoreError: the identity file cannot be used.
        """
        if self._calls is None:
            from osp2p.peer.overlay_directory import NoDirectory, OverlayDirectory
            from osp2p.rpc.calls import Calls
            from osp2p.rpc.directory import Directory
            from osp2p.rpc.identity import load_identity

            membership = self._membership()
            directory: Directory = NoDirectory()
            if membership is not None and membership.overlay is not None:
                local = any(is_loopback(host) for host, _ in membership.options.joins)
                directory = OverlayDirectory(membership.overlay, self._limits, local=local)
            identity = load_identity(self._identity or default_identity())
            self._calls = Calls(identity, self._network, directory, self._limits, self._rng, os.urandom)
        return self._calls

    def caller(self) -> Calls:
        """The same, for making calls: connections that are kept for the next one are closed in time.

        Raises:
            StoreError: the identity file cannot be used.
        """
        calls = self.calls()
        if not self._calling:
            self._calling = True
            self._nursery.start_soon(calls.close_rested)
        return calls

    async def start(self) -> Calls:
        """Answer calls on the node's port from now on, and let others find it.

        Raises:
            StoreError: the identity file cannot be used, or another process serves under it.
            ListenFailed, TrackerError: the port cannot be opened.
        """
        async with self._starting:
            calls = self.caller()
            if not self._holding:
                await self._nursery.start(self._hold_identity)
                self._holding = True
            if not self._serving:
                from osp2p.peer.called import take_calls
                from osp2p.rpc.http import HttpDoor

                where = await self._listen()
                self._serving = True
                take_calls(self._server, calls, HttpDoor(calls, self._limits, anywhere=self._http_anywhere))
                self._nursery.start_soon(calls.run, lambda: self._addresses(where.port))
        await calls.wait_announced()
        return calls

    async def _hold_identity(self, task_status: trio.TaskStatus[None]) -> None:
        """Be the only process that serves under the identity, until cancelled."""
        from osp2p.rpc.identity import hold_identity

        with hold_identity(self._identity or default_identity()):
            task_status.started()
            await trio.sleep_forever()

    def _addresses(self, port: int) -> list[Address]:
        """Where others may reach the node: as they see it, then by the machine's own addresses."""
        membership = self._membership()
        seen = membership.overlay.own_hosts() if membership is not None and membership.overlay is not None else []
        own = [*self._network.local_addresses(), *self._network.local_ipv6_addresses()]
        outside = [host for host in own if not is_loopback(host)]
        hosts = dict.fromkeys([*seen, *outside]) or dict.fromkeys(own)
        return [Address(host, port) for host in hosts][: self._limits.max_contact_addresses]

    def close(self) -> None:
        """Close every connection to other nodes; waits for nothing."""
        if self._calls is not None:
            self._calls.close()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nobody else's."""
    return host == "localhost" or Address(host, 1).is_loopback


class CallingNode:
    """A node's calls, as its users see them. `Node` is one."""

    _calling: Calling

    @property
    def address(self) -> str:
        """The node's address, 40 hex digits, by which anybody can call it while it serves something.

        Raises:
            StoreError: the identity file cannot be used.
        """
        return self._calling.calls().address

    async def serve(self, name: str, handler: object, *, version: str = "1") -> str:
        """Serve a handler's public methods to every node, and through HTTP to this machine's programs.

        Args:
            name: of the service: a letter, and up to 63 letters, digits, ``-`` or ``_``.
            handler: an object, whose public methods are meant; a module, whose own public functions are; or a mapping
                of names to functions. Methods that are not async run in worker threads.
            version: what `info` says.

        Returns: the node's address.

        Raises:
            LocalProtocolError: it cannot be served, or the name is taken.
            StoreError: the identity file cannot be used, or another process serves under it.
            ListenFailed, TrackerError: the port cannot be opened.
        """
        self._calling.calls().serve(name, handler, version)
        return await self.take_calls()

    async def take_calls(self) -> str:
        """Answer calls and HTTP, also while nothing is served: programs of this machine can call others through it.

        Returns: the node's address.

        Raises:
            StoreError: the identity file cannot be used, or another process serves under it.
            ListenFailed, TrackerError: the port cannot be opened.
        """
        return (await self._calling.start()).address

    async def call(self, target: str, method: str, *arguments: object, timeout: float = 30) -> Value:
        """Call a method of a node. See `Calls.call`.

        Args:
            target: the node's address, or ``ADDRESS@HOST:PORT``.
            method: ``service.method``.
            timeout: seconds, for all of it.

        Raises:
            MalformedLine, LocalProtocolError: it cannot be called like that.
            NodeNotFound, NetworkFailed, CallTimedOut, Refused, Fault.
            StoreError: the identity file cannot be used.

        Cancellation: the call is cancelled there, too.
        """
        return await self._calling.caller().call(target, method, *arguments, timeout=timeout)

    async def find_service(self, name: str, *, near: str | None = None) -> list[Provider]:
        """Who has a service, each proved. See `Calls.find_service`.

        Raises:
            MalformedLine: no service can have this name.
            NodeNotFound: nobody.
            NetworkFailed: nobody can be asked.
        """
        return await self._calling.caller().find_service(name, near=near)

    async def call_any(self, method: str, *arguments: object, near: str | None = None, timeout: float = 30) -> Value:
        """Call a method of some node that has the service. See `Calls.call_any`.

        Raises:
            NodeNotFound, NetworkFailed, CallTimedOut, Refused, Fault.
        """
        return await self._calling.caller().call_any(method, *arguments, near=near, timeout=timeout)

    async def call_all(self, method: str, *arguments: object, timeout: float = 30) -> dict[str, Value | CallError]:
        """Call a method of every node that has the service. See `Calls.call_all`.

        Raises:
            NodeNotFound: nobody has it.
        """
        return await self._calling.caller().call_all(method, *arguments, timeout=timeout)
