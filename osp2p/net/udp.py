"""UDP: datagrams of this machine."""

from __future__ import annotations

import errno
import socket

import trio

from osp2p.errors import ConnectionLost, ListenFailed
from osp2p.net.errors import describe
from osp2p.net.tcp import TcpNetwork
from osp2p.wire.address import Address

#: Longest datagram that there is.
_MAX_BYTES = 65536

#: What the kernel is asked to keep for us while we are busy: some thousand datagrams.
_RECEIVE_BUFFER = 1024 * 1024

#: How many datagrams may be taken in a row without a turn for the other tasks.
_EAGER = 32


class UdpSocket:
    """A UDP socket. See `DatagramSocket`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._eager = 0
        host, port = sock.getsockname()[:2]
        self.address = Address(host, port)

    async def receive(self) -> tuple[bytes, Address]:
        while True:
            if self._eager >= _EAGER:
                self._eager = 0
                await trio.lowlevel.checkpoint()
            try:
                data, source = self._socket.recvfrom(_MAX_BYTES)
            except BlockingIOError:
                self._eager = 0
                await self._readable()
            except OSError as error:
                if self._socket.fileno() < 0:
                    raise ConnectionLost(f"{self.address}: the port is closed") from error
                # An earlier datagram of ours met an error on its way: nothing that concerns the next one.
                self._eager += 1
            else:
                self._eager += 1
                return data, Address(source[0].partition("%")[0], source[1])

    def receive_now(self) -> tuple[bytes, Address] | None:
        try:
            data, source = self._socket.recvfrom(_MAX_BYTES)
        except OSError:  # nothing there, an error of an earlier one, or closed: `receive` tells which
            return None
        return data, Address(source[0].partition("%")[0], source[1])

    async def _readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError as error:
            raise ConnectionLost(f"{self.address}: the port is closed") from error

    def send(self, data: bytes, address: Address) -> None:
        try:
            self._socket.sendto(data, address)
        except OSError:  # no room, no route, not allowed: it is lost, as a datagram may be
            return

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class UdpNetwork:
    """The machine's own network. See `DatagramNetwork`."""

    async def open_datagrams(self, port: int, host: str = "0.0.0.0") -> UdpSocket:
        await trio.lowlevel.checkpoint()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise ListenFailed(f"cannot open UDP port {port}: {describe(error)}") from error
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
        except (OSError, OverflowError) as error:
            sock.close()
            reason = describe(error) if isinstance(error, OSError) else "a port is a number from 0 to 65535"
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                reason += ": another program has it; choose another port"
            raise ListenFailed(f"cannot open UDP {Address(host, port)}: {reason}") from error
        return UdpSocket(sock)

    async def resolve(self, host: str) -> list[str]:
        return await TcpNetwork().resolve(host)
