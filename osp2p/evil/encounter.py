"""What an attack has in its hands: the other side, its randomness, and the bounds that it cannot pass.

Everything that an attack sends goes through `Wire.send`, so no attack can send more, or to anybody else, than whoever
started it allowed.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import trio

from osp2p.errors import ConnectFailed, NotAllowed
from osp2p.limits import MIB, MINUTES

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Whom anybody may attack without asking: oneself.
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

_QUOTED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNSAFE = re.compile(rb"[^A-Za-z0-9$\-_.+!*'(),]")
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far evil may go: an attack that reaches a bound ends there."""

    connection_bytes: int = 256 * MIB
    """Most bytes sent on one connection."""

    connection_seconds: float = 2 * MINUTES
    """Longest that one connection is kept."""

    connections: int = 200
    """Most connections at a time."""

    total_bytes: int = 8192 * MIB
    """Most bytes sent altogether."""

    content_bytes: int = 32 * MIB
    """Most bytes of other peers' files that are fetched and kept in memory, to be sent on in part or altered. While one
    is fetched from several holders, each may send that much."""


DEFAULT_BOUNDS = Bounds()


class BoundReached(Exception):
    """Ends an attack that used up what it may send. Never leaves this room."""


class OtherSideLeft(Exception):
    """Ends an attack whose other side has closed or asked for something that we do not attack."""


def quote(raw: bytes) -> bytes:
    """Write raw bytes as a word. A twin of the one in the grammar, which this room does not touch."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw)


def unquote(word: bytes) -> bytes:
    """Read a word's raw bytes."""
    return _QUOTED.sub(lambda match: bytes.fromhex(match[1].decode()), word)


def is_allowed(host: str, allowed: Sequence[Network]) -> bool:
    """Whether a numeric address is in one of the networks."""
    address = ipaddress.ip_address(host.partition("%")[0].removeprefix("::ffff:"))
    return any(address in network for network in allowed)


async def find_allowed(host: str, port: int, allowed: Sequence[Network]) -> str:
    """Resolve a name. Returns: its first numeric address.

    Raises:
        NotAllowed: it is in none of the networks.
        ConnectFailed: there is no such host.
    """
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectFailed(f"there is no host {host}") from error
    address = str(found[0][4][0])
    if not is_allowed(address, allowed):
        raise NotAllowed(f"{host} is in none of the networks that may be attacked: {', '.join(map(str, allowed))}")
    return address


class Budget:
    """How many bytes may still be sent, by all connections together."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.left = bounds.total_bytes


class Wire:
    """One connection: raw bytes, counted.

    Attributes:
        sent: bytes so far.
    """

    def __init__(self, stream: trio.SocketStream, budget: Budget) -> None:
        self.stream = stream
        self.sent = 0
        self._budget = budget

    async def send(self, data: bytes) -> None:
        """Send all of `data`, or as much as the bounds allow.

        Raises:
            BoundReached, OtherSideLeft.
        """
        room = min(self._budget.bounds.connection_bytes - self.sent, self._budget.left)
        part = data[: max(0, room)]
        self.sent += len(part)
        self._budget.left -= len(part)
        try:
            await self.stream.send_all(part)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise OtherSideLeft from error
        if len(part) < len(data):
            raise BoundReached

    async def receive(self) -> bytes:
        """Wait for bytes. Returns: some, or b"" when the other side has closed."""
        try:
            return await self.stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise OtherSideLeft from error

    async def hold(self) -> None:
        """Keep the connection open and silent until the other side closes it or time is up."""
        while await self.receive():
            pass

    async def linger(self) -> None:
        """Keep the connection open without reading from it until time is up."""
        await trio.sleep_forever()

    def reset(self) -> None:
        """Break the connection: the other side gets an error, not an end."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


class Victim(Wire):
    """A downloader that has connected to us to fetch a file.

    Attributes:
        host: its address.
        name: what it asked for, raw bytes; b"" until `read_name`.
        rng: the attack's randomness.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        host: str,
        budget: Budget,
        rng: Random,
        contents: Mapping[bytes, bytes],
    ) -> None:
        super().__init__(stream, budget)
        self.host = host
        self.name = b""
        self.rng = rng
        self._contents = contents

    async def read_name(self) -> bytes:
        """Read the request. Returns: the name of the file that it asks for.

        Raises:
            OtherSideLeft: it closed, or said something else than GET (HELLO among it): we end as an old peer would.
        """
        line = b""
        while b"\n" not in line:
            data = await self.receive()
            line += data
            if not data or len(line) > _READ_BYTES:
                raise OtherSideLeft
        words = line.partition(b"\n")[0].split()
        if len(words) < 2 or words[0].upper() != b"GET":
            raise OtherSideLeft
        self.name = unquote(words[1])
        return self.name

    async def read_content(self) -> bytes:
        """Read the request. Returns: what the file really holds, or noise if no honest holder gives it to us."""
        return self._contents[await self.read_name()]

    def other_content(self) -> bytes:
        """What another file really holds; noise where there is no other."""
        others = sorted(name for name in self._contents if name != self.name)
        return self._contents[self.rng.choice(others)] if others else self.rng.randbytes(1000)


class Target:
    """A tracker or an uploader that we go to.

    Attributes:
        host, port: where it listens.
        name: for an uploader: a file that it serves, raw bytes.
        rng: the attack's randomness.
        sent: bytes so far, on all connections.
    """

    def __init__(self, host: str, port: int, name: bytes, budget: Budget, rng: Random) -> None:
        self.host = host
        self.port = port
        self.name = name
        self.rng = rng
        self._budget = budget
        self._wires: list[Wire] = []

    @property
    def sent(self) -> int:
        """Bytes so far, on all connections."""
        return sum(wire.sent for wire in self._wires)

    async def connect(self) -> Wire:
        """Open one more connection; it is closed when the attack ends.

        Raises:
            BoundReached, OtherSideLeft: the target takes no connection (any more).
        """
        if len(self._wires) >= self._budget.bounds.connections:
            raise BoundReached
        try:
            stream = await trio.open_tcp_stream(self.host, self.port)
        except OSError as error:
            raise OtherSideLeft from error
        wire = Wire(stream, self._budget)
        self._wires.append(wire)
        return wire

    def close(self) -> None:
        """Close all connections; waits for nothing."""
        for wire in self._wires:
            wire.stream.socket.close()
