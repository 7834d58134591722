"""The other end of a connection, as bytes that were there before: packets come in, what is sent is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable

import trio

from osp2p.errors import ConnectFailed, ConnectionLost
from osp2p.net import Connection, Listener
from osp2p.wire.address import Address

HERE = Address("10.0.0.1", 40000)
THERE = Address("10.0.0.2", 11112)


class Stream:
    """A connection whose other side says what it says, whatever it hears, and then ends its direction.

    Attributes:
        sent: all that was sent on it.
        closed: whether it was closed.
    """

    def __init__(self, packets: Iterable[bytes], remote: Address = THERE) -> None:
        self._packets = [packet for packet in packets if packet][::-1]
        self.remote = remote
        self.local = HERE
        self.sent = bytearray()
        self.closed = False

    async def receive(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise ConnectionLost("closed")
        if not self._packets:
            return b""
        packet = self._packets.pop()
        if len(packet) > max_bytes:
            self._packets.append(packet[max_bytes:])
        return packet[:max_bytes]

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        data = await self.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    async def send(self, data: bytes | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise ConnectionLost("closed")
        self.sent += data

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        data = os.pread(fd, count, offset)
        await self.send(data)
        return len(data)

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        return await self.send_file_some(fd, offset, count)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Streams:
    """A network on which each connection that is made gets the next of some streams; then nobody listens."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self.streams = list(streams)[::-1]

    async def connect(self, host: str, port: int) -> Connection:
        await trio.lowlevel.checkpoint()
        if not self.streams:
            raise ConnectFailed("nobody listens there")
        return self.streams.pop()

    async def listen(self, port: int, host: str = "0.0.0.0") -> Listener:
        raise NotImplementedError("nobody connects to who is fuzzed")

    async def resolve(self, host: str) -> list[str]:
        return [host]

    def local_addresses(self) -> list[str]:
        return [HERE.host]

    def local_ipv6_addresses(self) -> list[str]:
        return []
