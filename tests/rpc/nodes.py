"""Nodes that serve and make calls, for tests: in memory, or on real sockets."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from osp2p.limits import Limits
from osp2p.net import Network, serve_connections
from osp2p.peer.called import take_calls
from osp2p.peer.events import Event
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.rpc.calls import Calls
from osp2p.rpc.directory import MemoryDirectory
from osp2p.rpc.handler import Context
from osp2p.rpc.http import HttpDoor
from osp2p.rpc.identity import Identity, new_identity
from osp2p.wire.address import Address

#: The wall clock's time when a test's virtual time is 0, in milliseconds.
EPOCH = 1_700_000_000_000


def virtual_now() -> int:
    """A wall clock that goes with trio's, for tests in virtual time."""
    return EPOCH + int(trio.current_time() * 1000)


class EmptyShelf:
    """Nothing is shared."""

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return None

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return []


def ignore(event: Event) -> None:
    """Nobody looks."""


class Clock:
    """Tells the time, and other things, slowly where it is asked to."""

    def __init__(self) -> None:
        self.cancelled = trio.Event()
        self.began = trio.Event()

    async def add(self, a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    async def echo(self, value: Any) -> Any:
        """Give back what came."""
        return value

    async def wait(self, seconds: float) -> str:
        """Answer later."""
        self.began.set()
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.cancelled.set()
            raise
        return "done"

    async def whoami(self, context: Context) -> str:
        """The caller's address."""
        return context.caller

    async def left(self, context: Context) -> float:
        """How many seconds the caller still waits."""
        return context.deadline - trio.current_time()

    async def fail(self, text: str) -> None:
        """Fail."""
        raise ValueError(text)

    def _secret(self) -> str:
        return "secret"

    def hidden_(self) -> str:
        return "hidden"


class Peer:
    """A node that answers calls, and nothing else."""

    def __init__(self, calls: Calls, server: UploadServer, where: Address) -> None:
        self.calls = calls
        self.server = server
        self.where = where

    @property
    def target(self) -> str:
        """What a caller who knows everything writes."""
        return f"{self.calls.address}@{self.where}"


@asynccontextmanager
async def open_peer(
    network: Network,
    directory: MemoryDirectory | None = None,
    *,
    identity: Identity | None = None,
    limits: Limits | None = None,
    now: Any = virtual_now,
    port: int = 0,
    anywhere: bool = False,
    **services: object,
) -> AsyncIterator[Peer]:
    """A node with services; it ends with the block."""
    limits = limits or Limits()
    rng = random.Random(7)
    identity = identity or new_identity()
    directory = directory or MemoryDirectory()
    calls = Calls(identity, network, directory, limits, rng, os.urandom, now)
    for name, handler in services.items():
        calls.serve(name, handler, "1.0")
    server = UploadServer(EmptyShelf(), limits, ignore)
    take_calls(server, calls, HttpDoor(calls, limits, anywhere=anywhere))
    listener = await network.listen(port)
    host = network.local_addresses()[0]
    where = Address(host, listener.address.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connections, listener, server.serve, limits)
        nursery.start_soon(calls.run, lambda: [where])
        nursery.start_soon(calls.close_rested)
        await calls.wait_announced()
        try:
            yield Peer(calls, server, where)
        finally:
            listener.close()
            calls.close()
            nursery.cancel_scope.cancel()
