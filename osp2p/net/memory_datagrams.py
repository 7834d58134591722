"""Datagrams in memory, for tests in virtual time: hosts, ports, a latency, and losses that a seed decides."""

from __future__ import annotations

import random
from itertools import count

import trio

from osp2p.errors import ConnectionLost, ListenFailed
from osp2p.wire.address import Address

#: How many datagrams wait to be received; what comes beyond is lost, as with any socket.
_QUEUE = 1000


class MemoryDatagramSocket:
    """A port of one host. See `DatagramSocket`."""

    def __init__(self, network: MemoryDatagrams, address: Address) -> None:
        self._network = network
        self.address = address
        self._closed = False
        self._send, self._receive = trio.open_memory_channel[tuple[float, bytes, Address]](_QUEUE)

    def arrive(self, at: float, data: bytes, source: Address) -> None:
        """Take a datagram that will be here at a time."""
        try:
            self._send.send_nowait((at, data, source))
        except trio.WouldBlock:
            return

    async def receive(self) -> tuple[bytes, Address]:
        try:
            at, data, source = await self._receive.receive()
        except (trio.ClosedResourceError, trio.EndOfChannel):
            raise ConnectionLost(f"{self.address}: the port is closed") from None
        if at > trio.current_time():
            await trio.sleep_until(at)
        return data, source

    def receive_now(self) -> tuple[bytes, Address] | None:
        return None  # what is under way has its own time, and virtual time does not run late

    def send(self, data: bytes, address: Address) -> None:
        self._network.carry(data, self.address, address)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._network.sockets.pop(self.address, None)
            self._send.close()
            self._receive.close()


class MemoryDatagrams:
    """One host's view of a network in memory; `host` gives another's. See `DatagramNetwork`.

    Args:
        address: this host's IPv4 address in text.
        latency: seconds from one host to another.
        loss: which part of all datagrams is lost.
        rng: decides which; without it none is lost.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        ipv6_address: str | None = None,
        latency: float = 0.0,
        loss: float = 0.0,
        rng: random.Random | None = None,
        shared: MemoryDatagrams | None = None,
    ) -> None:
        self.address = address
        self.ipv6_address = ipv6_address
        self._latency: float = shared._latency if shared else latency
        self._loss: float = shared._loss if shared else loss
        self._rng: random.Random | None = shared._rng if shared else rng
        self.sockets: dict[Address, MemoryDatagramSocket] = shared.sockets if shared else {}
        self._ports: count[int] = shared._ports if shared else count(50000)

    def host(self, address: str, ipv6_address: str | None = None) -> MemoryDatagrams:
        """The same network, seen from another host."""
        return MemoryDatagrams(address, ipv6_address=ipv6_address, shared=self)

    async def open_datagrams(self, port: int, host: str = "0.0.0.0") -> MemoryDatagramSocket:
        await trio.lowlevel.checkpoint()
        own = self.ipv6_address if ":" in host else self.address
        if own is None:
            raise ListenFailed(f"cannot open a port: {self.address} has no IPv6")
        address = Address(own, port or next(self._ports))
        if address in self.sockets:
            raise ListenFailed(f"cannot open {address}: another program has it; choose another port")
        socket = self.sockets[address] = MemoryDatagramSocket(self, address)
        return socket

    async def resolve(self, host: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [host]

    def carry(self, data: bytes, source: Address, target: Address) -> None:
        """Bring a datagram to whoever is there."""
        if self._rng is not None and self._rng.random() < self._loss:
            return
        socket = self.sockets.get(target)
        if socket is not None:
            socket.arrive(trio.current_time() + self._latency, data, source)
