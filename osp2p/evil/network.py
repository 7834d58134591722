"""Where evil connections come from: a small interface that the memory network of tests has too, and real sockets."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import trio

from osp2p.errors import ConnectFailed, ConnectionLost, ListenFailed

#: How much an attacker's kernel takes before anybody reads: little, so that not to read is felt at once.
_RECEIVE_BUFFER = 64 * 1024

#: Where attacks on this machine come from: not from where honest programs do, whose share of connections they would
#: use up.
EVIL_HOST = "127.66.66.66"

_BACKLOG = 1000

_READ_BYTES = 65536


class Place(Protocol):
    """One end of a connection."""

    @property
    def host(self) -> str:
        """A numeric address."""

    @property
    def port(self) -> int:
        """Its port."""


class Stream(Protocol):
    """A connection. What breaks it raises `ConnectionLost`."""

    @property
    def remote(self) -> Place:
        """The other side."""

    @property
    def local(self) -> Place:
        """Our side."""

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes. Returns: some, or b"" when the other side has ended its direction."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""

    async def send_eof(self) -> None:
        """End our direction."""

    def close(self) -> None:
        """Close; waits for nothing."""

    def abort(self) -> None:
        """Break the connection: the other side gets an error, not an end."""


class Listener(Protocol):
    """A port that takes connections."""

    @property
    def address(self) -> Place:
        """Where it listens."""

    async def accept(self) -> Stream:
        """Wait for the next connection. Raises: ListenFailed: closed."""

    def close(self) -> None:
        """Stop listening."""


class DatagramSocket(Protocol):
    """A port for datagrams."""

    @property
    def address(self) -> Place:
        """Where it is."""

    async def receive(self) -> tuple[bytes, Place]:
        """Wait for a datagram. Returns: it, and where it comes from. Raises: ConnectionLost: closed."""

    def send(self, data: bytes, address: Any) -> None:
        """Send a datagram, if it can go at once."""

    def close(self) -> None:
        """Close the port."""


@runtime_checkable
class DatagramNetwork(Protocol):
    """Where ports for datagrams come from."""

    async def open_datagrams(self, port: int, host: str = ...) -> DatagramSocket:
        """Open one; 0 takes any free one. Raises: ListenFailed."""


class Network(Protocol):
    """Where connections come from."""

    async def connect(self, host: str, port: int) -> Stream:
        """Connect to a numeric address. Raises: ConnectFailed."""

    async def listen(self, port: int, host: str = ...) -> Listener:
        """Open a port; 0 takes any free one. Raises: ListenFailed."""


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except (OSError, trio.ClosedResourceError) as error:
        raise ConnectionLost(f"the connection is lost: {error}") from error


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection, or a port for datagrams. See `Place`."""

    host: str
    port: int


def _end(name: tuple[str, int]) -> End:
    return End(name[0].partition("%")[0].removeprefix("::ffff:"), name[1])


class SocketStream:
    """A connected socket. See `Stream`."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._socket = sock
        with _lost():
            self.remote = _end(sock.getpeername())
            self.local = _end(sock.getsockname())

    async def receive(self, max_bytes: int) -> bytes:
        with _lost():
            return await self._socket.recv(max_bytes)

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        with _lost():
            while rest:
                rest = rest[await self._socket.send(rest) :]

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        with _lost():
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        with _lost():
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class SocketListener:
    """A listening socket. See `Listener`."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._socket = sock
        self.address = _end(sock.getsockname())

    async def accept(self) -> SocketStream:
        while True:
            try:
                sock, _ = await self._socket.accept()
                return SocketStream(sock)
            except (ConnectionLost, ConnectionError):
                continue  # reset between its arrival and here
            except (OSError, trio.ClosedResourceError) as error:
                if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                    await trio.sleep(0.1)
                    continue
                raise ListenFailed("no longer listening") from error

    def close(self) -> None:
        self._socket.close()


class UdpSocket:
    """A port for datagrams. See `DatagramSocket`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.address = _end(sock.getsockname())

    async def receive(self) -> tuple[bytes, End]:
        while True:
            try:
                data, source = self._socket.recvfrom(_READ_BYTES)
            except BlockingIOError:
                with _lost():
                    await trio.lowlevel.wait_readable(self._socket)
            except ConnectionError:
                await trio.lowlevel.checkpoint()  # nobody listens where something was sent
            except OSError as error:
                raise ConnectionLost("the port is closed") from error
            else:
                return data, _end(source)

    def send(self, data: bytes, address: Place) -> None:
        with suppress(OSError):  # it is lost, as any datagram may be
            self._socket.sendto(data, (address.host, address.port))

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class SocketNetwork:
    """This machine's network.

    Args:
        source: where connections to loopback addresses come from; elsewhere the system chooses.
        receive_buffer: bytes that the kernel takes before anybody reads; None: as the system likes.
    """

    def __init__(self, source: str | None = EVIL_HOST, receive_buffer: int | None = _RECEIVE_BUFFER) -> None:
        self._source = source
        self._receive_buffer = receive_buffer

    async def connect(self, host: str, port: int) -> SocketStream:
        address = ipaddress.ip_address(host)
        sock = trio.socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            if self._source is not None and address.version == 4 and address.is_loopback:
                await sock.bind((self._source, 0))
            await sock.connect((host, port))
            return SocketStream(sock)
        except (OSError, ConnectionLost, OverflowError) as error:
            sock.close()
            text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise ConnectFailed(f"{host}:{port}: {text}") from error
        except BaseException:
            sock.close()
            raise

    async def listen(self, port: int, host: str | None = None) -> SocketListener:
        host = host or self._source or "127.0.0.1"
        sock = trio.socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await sock.bind((host, port))
            sock.listen(_BACKLOG)
        except (OSError, OverflowError) as error:
            sock.close()
            text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise ListenFailed(f"cannot listen on {host}:{port}: {text}") from error
        return SocketListener(sock)

    async def open_datagrams(self, port: int, host: str | None = None) -> UdpSocket:
        await trio.lowlevel.checkpoint()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.bind((host or self._source or "127.0.0.1", port))
        except OSError as error:
            sock.close()
            raise ListenFailed(f"cannot open port {port}: {error.strerror}") from error
        return UdpSocket(sock)
