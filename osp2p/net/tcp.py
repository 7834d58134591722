"""TCP: non-blocking system calls first, a wait only when one would block.

trio's own SocketStream waits before and after each call, which halves the replies a second of a tracker with one
command in flight a connection (24 against 50 thousand here). So these methods try first, and give the other tasks a
turn after `_EAGER` calls that never had to wait.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

import trio

from osp2p.errors import ConnectFailed, ListenFailed
from osp2p.net.errors import describe, network_errors
from osp2p.wire.address import Address

#: How many calls in a row may succeed without a turn for the other tasks.
_EAGER = 16

#: struct linger: on, for no time at all; close(2) then resets the connection.
_RESET = struct.pack("ii", 1, 0)

#: How much one sendfile call is asked for: what a socket buffer takes at a time, and no more, so that calls stay short.
_SENDFILE_BYTES = 4 * 1024 * 1024


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    host = name[0].partition("%")[0]
    return Address(host.removeprefix("::ffff:"), name[1])


class TcpConnection:
    """A connected socket. See `Connection` for its methods."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._eager = 0
        with network_errors("the connection"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.remote = _address(sock.getpeername())
            self.local = _address(sock.getsockname())

    async def _turn(self) -> None:
        self._eager += 1
        if self._eager >= _EAGER:
            self._eager = 0
            await trio.lowlevel.checkpoint()

    async def _readable(self) -> None:
        self._eager = 0
        await trio.lowlevel.wait_readable(self._socket)

    async def _writable(self) -> None:
        self._eager = 0
        await trio.lowlevel.wait_writable(self._socket)

    async def receive(self, max_bytes: int) -> bytes:
        with network_errors(str(self.remote)):
            while True:
                await self._turn()
                try:
                    return self._socket.recv(max_bytes)
                except BlockingIOError:
                    await self._readable()

    async def receive_into(self, buffer: memoryview) -> int:
        with network_errors(str(self.remote)):
            while True:
                await self._turn()
                try:
                    return self._socket.recv_into(buffer)
                except BlockingIOError:
                    await self._readable()

    async def send(self, data: bytes | memoryview) -> None:
        with network_errors(str(self.remote)):
            await self._turn()
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            rest = memoryview(data)[sent:]
            while rest:
                await self._writable()
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    continue

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        with network_errors(str(self.remote)):
            while True:
                await self._turn()
                try:
                    return os.sendfile(self._socket.fileno(), fd, offset, min(count, _SENDFILE_BYTES))
                except BlockingIOError:
                    await self._writable()

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        total = 0
        while total < count:
            sent = await self.send_file_some(fd, offset + total, count - total)
            if sent == 0:
                break
            total += sent
        return total

    async def send_eof(self) -> None:
        with network_errors(str(self.remote)):
            await self._turn()
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def abort(self) -> None:
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()


class TcpListener:
    """A listening socket. See `Listener`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.address = _address(sock.getsockname())

    async def accept(self) -> TcpConnection:
        while True:
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
                continue
            except ConnectionError:  # reset between its arrival and accept(2): nobody's fault, and not ours
                await trio.lowlevel.checkpoint()
                continue
            await trio.lowlevel.checkpoint()
            return TcpConnection(sock)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class TcpNetwork:
    """The machine's own network. See `Network`."""

    async def connect(self, host: str, port: int) -> TcpConnection:
        what = str(Address(host, port))
        with network_errors(what, connecting=True):
            try:
                stream = await trio.open_tcp_stream(host, port)
            except socket.gaierror as error:
                raise ConnectFailed(f"{what}: there is no host of that name ({error.strerror})") from error
            except OSError as error:  # several addresses failed: trio groups them
                causes = error.__cause__.exceptions if isinstance(error.__cause__, BaseExceptionGroup) else [error]
                texts = sorted({describe(cause) for cause in causes if isinstance(cause, OSError)})
                raise ConnectFailed(f"{what}: {', '.join(texts)}") from error
            return TcpConnection(socket.socket(fileno=stream.socket.detach()))

    async def listen(self, port: int, host: str = "0.0.0.0") -> TcpListener:
        await trio.lowlevel.checkpoint()
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen(4096)
        except OSError as error:
            sock.close()
            hint = ": another program listens there; choose another port" if error.errno == errno.EADDRINUSE else ""
            raise ListenFailed(f"cannot listen on {Address(host, port)}: {describe(error)}{hint}") from error
        return TcpListener(sock)

    def local_addresses(self) -> list[str]:
        found = _interface_addresses()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:  # a UDP connect sends nothing; it only asks the routing table which address would be used
                probe.connect(("192.0.2.1", 9))
                default = [probe.getsockname()[0]]
            except OSError:
                default = []
        outside = [host for host in found if not host.startswith("127.")]
        return list(dict.fromkeys([*default, *outside, *found, "127.0.0.1"]))


def _interface_addresses() -> list[str]:
    """Each interface's IPv4 address, by SIOCGIFADDR (Linux, netdevice(7))."""
    import fcntl

    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, 0x8915, struct.pack("256s", name.encode()[:15]))
            except OSError:  # an interface without an IPv4 address
                continue
            addresses.append(socket.inet_ntoa(answer[20:24]))
    return addresses
