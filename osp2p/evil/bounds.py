"""How far evil may go, and against whom; and the three ways in which an attack ends early."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from osp2p.errors import ConnectFailed, NotAllowed
from osp2p.limits import MIB, MINUTES

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Whom anybody may attack without asking: oneself.
LOOPBACK: tuple[Subnet, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far evil may go: an attack that reaches a bound ends there."""

    connection_bytes: int = 256 * MIB
    """Most bytes sent on one connection."""

    connection_seconds: float = 2 * MINUTES
    """Longest that one connection of a downloader is kept."""

    attack_seconds: float | None = None
    """Longest that one attack on a tracker or an uploader goes on; None: as long as a sound one may need (`within`)."""

    connections: int = 3000
    """Most connections at a time."""

    total_bytes: int = 8192 * MIB
    """Most bytes sent altogether."""

    buffer_bytes: int = 8 * MIB
    """How much of what nobody reads the kernels on the way may hold: more than that, and somebody must have waited."""

    content_bytes: int = 32 * MIB
    """Most bytes of other peers' files that are fetched and kept in memory, to be sent on in part or altered. While one
    is fetched from several holders, each may send that much."""

    evidence_bytes: int = 4096
    """Most bytes of each direction of one connection that are kept as evidence."""

    evidence_connections: int = 8
    """Of how many connections of one attack evidence is kept."""


DEFAULT_BOUNDS = Bounds()


class BoundReached(Exception):
    """Ends an attack that used up what it may send. Never leaves this room."""


class OtherSideLeft(Exception):
    """Ends an attack whose other side has closed or asked for something that we do not attack."""


class Unsound(Exception):
    """Ends an attack whose victim did what no sound program does. Its text is one sentence that says what."""


class Budget:
    """How many bytes may still be sent, by all connections together."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.left = bounds.total_bytes


def is_allowed(host: str, allowed: Sequence[Subnet]) -> bool:
    """Whether a numeric address is in one of the networks."""
    address = ipaddress.ip_address(host.partition("%")[0].removeprefix("::ffff:"))
    return any(address in network for network in allowed)


async def find_allowed(host: str, port: int, allowed: Sequence[Subnet]) -> str:
    """Resolve a name. Returns: its first numeric address.

    Raises:
        NotAllowed: it is in none of the networks.
        ConnectFailed: there is no such host.
    """
    address = host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectFailed(f"there is no host {host}") from error
        address = str(found[0][4][0])
    if not is_allowed(address, allowed):
        raise NotAllowed(f"{host} is in none of the networks that may be attacked: {', '.join(map(str, allowed))}")
    return address
