"""What the rooms above know of the network: three small interfaces, with TCP and memory behind them."""

from __future__ import annotations

from typing import Protocol

from osp2p.wire.address import Address


class Connection(Protocol):
    """A byte stream in both directions.

    Every method that waits is a checkpoint often enough for cancellation and fairness, and raises `ConnectionLost`
    when the stream breaks, or when somebody closes it meanwhile. After a failed or cancelled send the stream is ruined:
    it takes nothing more, and each further send raises `ConnectionLost`.

    One task may receive while another sends. Two that do the same at a time are a bug: `LocalProtocolError`, or, if
    bytes would get between others' bytes, `ConnectionLost`.
    """

    @property
    def remote(self) -> Address:
        """The other side's address and port."""

    @property
    def local(self) -> Address:
        """Our side's address and port."""

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes. Returns: 1 to `max_bytes` bytes, or b"" when the other side has ended its direction."""

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        """Wait for bytes and put them into `buffer`.

        Args:
            gather: whether all of `buffer` will come, so that it may pay to wait a moment until some of it is here.

        Returns: how many; 0 when the other direction has ended.
        """

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`: in one system call, where the kernel takes it."""

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        """Send up to `count` bytes of an open file from `offset`, without copying them through Python.

        Returns: how many bytes went; fewer than `count` only where the file ends earlier.
        """

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        """Send at least one byte of an open file from `offset`, as many of `count` as the kernel takes at once.

        Returns: how many bytes went, so that the caller can measure and limit rates; 0 where the file ends.
        """

    async def send_eof(self) -> None:
        """End our direction; the other one goes on."""

    def close(self) -> None:
        """Close both directions now. Safe to call twice, and in a `finally`: it waits for nothing."""

    def abort(self) -> None:
        """Close with a reset, so that the other side cannot take what it has for the whole. Else like `close`."""


class Listener(Protocol):
    """A port that takes connections."""

    @property
    def address(self) -> Address:
        """Where it listens; with an unspecified host for all of this machine's addresses."""

    async def accept(self) -> Connection:
        """Wait for the next connection.

        Raises:
            OSError: as accept(2) gives it, EMFILE and ENFILE among them; a later call may do better.
            ListenFailed: the listener is closed.

        Cancellation: no connection is lost.
        """

    def close(self) -> None:
        """Stop listening; who has not been accepted yet is reset. Safe to call twice."""


class Network(Protocol):
    """Where connections come from."""

    async def connect(self, host: str, port: int) -> Connection:
        """Connect to a name or an address.

        The caller sets the deadline. Raises: ConnectFailed.
        """

    async def listen(self, port: int, host: str = "0.0.0.0") -> Listener:
        """Open a port.

        Args:
            port: 0 takes any free one.
            host: a numeric address of this machine, or ``0.0.0.0`` or ``::`` for all of a family. Each family has
                ports of its own, so a server of both opens two listeners.

        Raises:
            ListenFailed.
        """

    def local_addresses(self) -> list[str]:
        """This machine's numeric IPv4 addresses, the one that other machines most likely reach first, loopback last."""

    async def resolve(self, host: str) -> list[str]:
        """A host's numeric addresses, at most one of each family, IPv4 first; empty if there is no such host."""

    def local_ipv6_addresses(self) -> list[str]:
        """Its numeric IPv6 addresses likewise; empty if it has none."""
