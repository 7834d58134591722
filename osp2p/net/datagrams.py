"""What the rooms above know of datagrams: two small interfaces, with UDP and memory behind them."""

from __future__ import annotations

from typing import Protocol

from osp2p.wire.address import Address


class DatagramSocket(Protocol):
    """A port that sends and receives datagrams."""

    @property
    def address(self) -> Address:
        """Where it is; with an unspecified host for all of this machine's addresses."""

    async def receive(self) -> tuple[bytes, Address]:
        """Wait for a datagram. Returns: it, and where it seems to come from.

        Raises:
            ConnectionLost: the socket is closed.

        Cancellation: no datagram is lost.
        """

    def receive_now(self) -> tuple[bytes, Address] | None:
        """A datagram that is here already; None if there is none, or the socket is closed."""

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram, if it can go at once. Like any other it may get lost on its way, so nothing is said."""

    def close(self) -> None:
        """Close the port. Safe to call twice."""


class DatagramNetwork(Protocol):
    """Where datagram sockets come from."""

    async def open_datagrams(self, port: int, host: str = "0.0.0.0") -> DatagramSocket:
        """Open a port for datagrams.

        Args:
            port: 0 takes any free one.
            host: a numeric address of this machine, or ``0.0.0.0`` or ``::`` for all of a family.

        Raises:
            ListenFailed.
        """

    async def resolve(self, host: str) -> list[str]:
        """A host's numeric addresses, at most one of each family, IPv4 first; empty if there is no such host."""
