"""A network in memory, for tests and simulations in virtual time: hosts, ports, and pipes that push back."""

from __future__ import annotations

import os
from collections import deque
from itertools import count

import trio

from osp2p.errors import ConnectFailed, ConnectionLost, ListenFailed, LocalProtocolError
from osp2p.net.memory_link import BLOCK_BYTES, SMALL_BYTES, Link, Path
from osp2p.wire.address import Address

#: How many bytes a pipe holds before its sender must wait: about a socket's buffers.
PIPE_BYTES = 65536

#: How many connections wait to be accepted.
_BACKLOG = 1000


class _Pipe:
    """One direction: bytes that are on their way, at most `capacity` of them; over links, some have not arrived yet."""

    def __init__(self, capacity: int, path: Path | None = None) -> None:
        self.capacity = capacity
        self.path = path
        self.ended = False
        self.broken = False
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        self._here: deque[bytes | memoryview] = deque()
        self._coming: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._last_arrival = 0.0

    def notify(self) -> None:
        """Wake everybody: it has ended, or is broken."""
        self._readers.unpark_all()
        self._writers.unpark_all()

    @property
    def room(self) -> int:
        """How many bytes more it takes now."""
        return max(0, self.capacity - self._held)

    def put(self, data: bytes) -> None:
        """Bytes, for which there is room, arrive at once."""
        if data:
            self._here.append(data)
            self._held += len(data)
            self._readers.unpark_all()

    async def carry(self, block: bytes, path: Path) -> None:
        """Send a block, for which there is room. Returns when it has left the host; at once, if it is small."""
        self._held += len(block)
        left_at = path.up.carry(len(block), trio.current_time())
        if len(block) <= SMALL_BYTES:
            arrives_at = left_at + path.latency
        else:
            await trio.sleep_until(left_at)
            arrives_at = path.down.carry(len(block), left_at + path.latency)
        if not self.broken:
            self._last_arrival = max(self._last_arrival, arrives_at)
            self._coming.append((self._last_arrival, block))
            if len(self._coming) == 1:  # else whoever waits knows when to look
                self._readers.unpark_all()

    def arrive(self) -> bool:
        """Take over what has arrived by now. Returns: whether more is under way."""
        if self._coming:
            now = trio.current_time()
            while self._coming and self._coming[0][0] <= now:
                self._here.append(self._coming.popleft()[1])
        return bool(self._coming)

    @property
    def is_here(self) -> bool:
        """Whether bytes have arrived."""
        return bool(self._here)

    def take_into(self, buffer: memoryview) -> int:
        """Move what is here into `buffer`. Returns: how many bytes."""
        filled = 0
        while self._here and filled < len(buffer):
            block = self._here[0]
            room = len(buffer) - filled
            if len(block) > room:
                buffer[filled:] = block[:room]
                self._here[0] = memoryview(block)[room:]
                filled += room
            else:
                buffer[filled : filled + len(block)] = block
                self._here.popleft()
                filled += len(block)
        self._taken(filled)
        return filled

    def take(self, max_bytes: int) -> bytes:
        """Take what is here, up to `max_bytes`."""
        blocks: list[bytes | memoryview] = []
        size = 0
        while self._here and size < max_bytes:
            block = self._here.popleft()
            if size + len(block) > max_bytes:
                self._here.appendleft(memoryview(block)[max_bytes - size :])
                block = block[: max_bytes - size]
            blocks.append(block)
            size += len(block)
        self._taken(size)
        return b"".join(blocks)

    def _taken(self, count: int) -> None:
        if count:
            self._held -= count
            self._writers.unpark_all()

    async def wait_readable(self) -> None:
        """Wait until something comes, or changes."""
        if not self._coming:
            await self._readers.park()
            return
        with trio.move_on_at(self._coming[0][0]):
            await self._readers.park()

    async def wait_writable(self) -> None:
        """Wait until there may be room."""
        await self._writers.park()

    def discard(self) -> None:
        """Lose what is on its way."""
        self.broken = True
        self._here.clear()
        self._coming.clear()


class MemoryConnection:
    """One end of two pipes. See `Connection`."""

    def __init__(self, local: Address, remote: Address, incoming: _Pipe, outgoing: _Pipe) -> None:
        self.local = local
        self.remote = remote
        self._in = incoming
        self._out = outgoing
        self._closed = False
        self._receiving = False
        self._unsent = False

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionLost(f"{self.remote}: the connection is closed")

    async def receive(self, max_bytes: int) -> bytes:
        return self._in.take(max_bytes) if await self._wait_for_bytes() else b""

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        return self._in.take_into(buffer) if await self._wait_for_bytes() else 0

    async def _wait_for_bytes(self) -> bool:
        """Wait until something can be received. Returns: False at the end."""
        if self._receiving:
            raise LocalProtocolError(f"{self.remote}: two tasks receive from one connection at a time")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                more = self._in.arrive()
                if self._in.is_here:
                    return True
                if self._in.broken:
                    raise ConnectionLost(f"{self.remote}: connection reset")
                if self._in.ended and not more:
                    return False
                await self._in.wait_readable()
        finally:
            self._receiving = False

    async def send(self, data: bytes | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        if self._unsent:
            raise ConnectionLost(f"{self.remote}: an earlier send was not finished")
        path = self._out.path
        rest = memoryview(data)
        if path is None:
            rest = rest[self._put(rest) :]
        self._unsent = bool(rest)
        while rest:
            room = self._room()
            if not room:
                await self._out.wait_writable()
            elif path is None:
                rest = rest[self._put(rest) :]
            else:
                block = bytes(rest[: min(room, BLOCK_BYTES)])
                await self._out.carry(block, path)
                rest = rest[len(block) :]
        self._unsent = False

    def _room(self) -> int:
        """How many bytes can be sent now. Raises: ConnectionLost."""
        self._check_open()
        if self._out.broken or self._out.ended:
            raise ConnectionLost(f"{self.remote}: the other side is gone")
        return self._out.room

    def _put(self, data: memoryview) -> int:
        """Send what there is room for now. Returns: how many bytes that was."""
        piece = bytes(data[: self._room()])
        self._out.put(piece)
        return len(piece)

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        block = memoryview(os.pread(fd, min(PIPE_BYTES, count), offset))
        if self._out.path is None:
            while not self._room():
                await self._out.wait_writable()
            block = block[: self._room()]
        await self.send(block)
        return len(block)

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        total = 0
        while total < count:
            sent = await self.send_file_some(fd, offset + total, count - total)
            if sent == 0:
                break
            total += sent
        return total

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._out.ended = True
        self._out.notify()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._out.ended = True
        self._in.broken = True  # what the other side still sends meets a reset
        self._out.notify()
        self._in.notify()

    def abort(self) -> None:
        if not self._closed:
            self._out.discard()
        self.close()


class MemoryListener:
    """A listening port of one host. See `Listener`."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self._network = network
        self.address = address
        self._closed = False
        self._send, self._receive = trio.open_memory_channel[MemoryConnection](_BACKLOG)

    def offer(self, connection: MemoryConnection) -> None:
        try:
            self._send.send_nowait(connection)
        except trio.WouldBlock:
            connection.close()

    async def accept(self) -> MemoryConnection:
        await trio.lowlevel.checkpoint()
        try:
            return await self._receive.receive()
        except (trio.ClosedResourceError, trio.EndOfChannel):
            raise ListenFailed(f"{self.address}: no longer listening") from None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._network.hosts.pop(self.address, None)
        while self._receive.statistics().current_buffer_used:
            self._receive.receive_nowait().abort()
        self._send.close()
        self._receive.close()


class MemoryNetwork:
    """One host's view of a network in memory; `host` gives another's. See `Network`.

    Args:
        address: this host's IPv4 address in text.
        shared: the network that another host is on already.
        capacity: how many bytes a pipe holds.
        ipv6_address: this host's IPv6 address in text, if it has one.
        link: how this host is connected; None: without any limit.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        shared: MemoryNetwork | None = None,
        capacity: int = PIPE_BYTES,
        ipv6_address: str | None = None,
        link: Link | None = None,
    ) -> None:
        self.address = address
        self.ipv6_address = ipv6_address
        self.capacity = capacity
        self.hosts: dict[Address, MemoryListener] = shared.hosts if shared else {}
        self._ports: count[int] = shared._ports if shared else count(40000)
        self.links: dict[str, Link] = shared.links if shared else {}
        if link is not None:
            self.links.update({host: link for host in (address, ipv6_address) if host is not None})

    def host(self, address: str, ipv6_address: str | None = None, link: Link | None = None) -> MemoryNetwork:
        """The same network, seen from another host."""
        return MemoryNetwork(address, self, self.capacity, ipv6_address, link)

    def _paths(self, own: str, other: str) -> tuple[Path | None, Path | None]:
        """From a host of the network to another, and back; None where nothing limits them, as within one host."""
        here, there = self.links.get(own), self.links.get(other)
        if own == other or (here is None and there is None):
            return None, None
        here, there = here or Link(), there or Link()
        return Path(here, there), Path(there, here)

    def _own_address(self, host: str) -> str | None:
        """This host's address of the family that `host` is of; None if it has none."""
        return self.ipv6_address if ":" in host else self.address

    async def connect(self, host: str, port: int) -> MemoryConnection:
        await trio.lowlevel.checkpoint()
        own = self._own_address(host)
        if own is None:
            raise ConnectFailed(f"{Address(host, port)}: network is unreachable")
        target = Address(own if host in ("localhost", "127.0.0.1", "::1") else host, port)
        way, way_back = self._paths(own, target.host)
        if way is not None:
            await trio.sleep(2 * way.latency)
        listener = self.hosts.get(target)
        if listener is None:
            raise ConnectFailed(f"{target}: connection refused")
        there, back = _Pipe(self.capacity, way), _Pipe(self.capacity, way_back)
        local = Address(own, next(self._ports))
        listener.offer(MemoryConnection(target, local, there, back))
        return MemoryConnection(local, target, back, there)

    async def listen(self, port: int, host: str = "0.0.0.0") -> MemoryListener:
        await trio.lowlevel.checkpoint()
        own = self._own_address(host)
        if own is None:
            raise ListenFailed(f"cannot listen on {Address(host, port)}: cannot assign requested address")
        address = Address(own, port or next(self._ports))
        if address in self.hosts:
            raise ListenFailed(f"cannot listen on {address}: address already in use")
        listener = self.hosts[address] = MemoryListener(self, address)
        return listener

    def local_addresses(self) -> list[str]:
        return [self.address]

    async def resolve(self, host: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [self.address] if host == "localhost" else [host]

    def local_ipv6_addresses(self) -> list[str]:
        return [self.ipv6_address] if self.ipv6_address else []
