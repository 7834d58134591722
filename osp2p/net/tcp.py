"""TCP: non-blocking system calls first, a wait only when one would block.

trio's own SocketStream waits before and after each call, which halves the replies a second of a tracker with one
command in flight a connection (24 against 50 thousand here). So these methods try first, and give the other tasks a
turn, and cancellation its chance, after `_EAGER` calls that never had to wait. For the same reason they map errors in
an `except` of their own: a context manager on each call takes a fifth of those replies.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

import trio

from osp2p.errors import ConnectFailed, ConnectionLost, ListenFailed
from osp2p.net.errors import FOREIGN_ERRORS, describe, network_error
from osp2p.net.interfaces import ipv4_addresses, ipv6_addresses
from osp2p.wire.address import Address

#: How many calls in a row may succeed without a turn for the other tasks.
_EAGER = 16

#: Received bytes that count as one call more: a packet full of lines is more work than one line.
_EAGER_BYTES = 4096

#: struct linger: on, for no time at all; close(2) then resets the connection.
_RESET = struct.pack("ii", 1, 0)

#: How much one sendfile call is asked for: what a socket buffer takes at a time, and no more, so that calls stay short.
_SENDFILE_BYTES = 4 * 1024 * 1024

#: How often a full socket buffer is tried. The kernel calls a socket writable only when a third of its buffer is free,
#: which is a megabyte; from a slow reader that looks like standing still, and callers measure rates.
_ROOM_SECONDS = 0.5

#: How many bytes at least, and for how long at most, a reader of something large waits for. From one of several slow
#: sources bytes come packet by packet: woken for each, eight fetchers on two processors had no time left for anything.
_GATHER_BYTES = 64 * 1024
_GATHER_SECONDS = 0.1

#: How many connections are accepted without a turn for the other tasks. One at a time, those who come would wait for as
#: many turns of everybody who is there as others are in the queue before them.
_ACCEPTED_AT_ONCE = 100

#: How many connections may wait in the kernel to be accepted.
_BACKLOG = 4096


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """What the kernel says of a socket's end. A zone (``%eth0``) means nothing to anybody else, so it goes."""
    host = name[0].partition("%")[0]
    mapped = host.removeprefix("::ffff:")
    return Address(mapped if "." in mapped and ":" not in mapped else host, name[1])


class TcpConnection:
    """A connected socket. See `Connection` for its methods.

    Args:
        sock: owned from now on, also where this fails.

    Raises:
        ConnectionLost: the socket is not connected any more.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._eager = 0
        self._unsent = False
        self._low_water = 1
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.remote = _address(sock.getpeername())
            self.local = _address(sock.getsockname())
        except OSError as error:
            sock.close()
            raise network_error(error, "a connection") from error

    async def _turn(self) -> None:
        self._eager = 0
        await trio.lowlevel.checkpoint()

    async def _readable(self) -> None:
        self._eager = 0
        await trio.lowlevel.wait_readable(self._socket)

    async def _gathered(self, count: int) -> None:
        """Wait until so many bytes are here, or the other direction has ended, or a moment has passed."""
        self._wake_at(min(count, _GATHER_BYTES))
        with trio.move_on_after(_GATHER_SECONDS):
            await self._readable()

    def _wake_at(self, count: int) -> None:
        """Set how many bytes make the socket readable."""
        if count != self._low_water:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._low_water = count

    async def _writable(self) -> None:
        self._eager = 0
        await trio.lowlevel.wait_writable(self._socket)

    def _lost(self, error: Exception) -> Exception:
        """Our error for a foreign one. The system says EBADF of a socket that we have closed ourselves."""
        if self._socket.fileno() < 0:
            error = trio.ClosedResourceError()
        return network_error(error, str(self.remote))

    async def receive(self, max_bytes: int) -> bytes:
        try:
            while True:
                if self._eager >= _EAGER:
                    await self._turn()
                try:
                    data = self._socket.recv(max_bytes)
                except BlockingIOError:
                    self._wake_at(1)
                    await self._readable()
                else:
                    self._eager += 1 + len(data) // _EAGER_BYTES
                    return data
        except FOREIGN_ERRORS as error:
            raise self._lost(error) from error

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        try:
            while True:
                if self._eager >= _EAGER:
                    await self._turn()
                try:
                    count = self._socket.recv_into(buffer)
                except BlockingIOError:
                    if gather:
                        gather = False
                        await self._gathered(len(buffer))
                    else:
                        self._wake_at(1)
                        await self._readable()
                else:
                    self._eager += 1 + count // _EAGER_BYTES
                    return count
        except FOREIGN_ERRORS as error:
            raise self._lost(error) from error

    def _check_sound(self) -> None:
        if self._unsent:
            raise ConnectionLost(f"{self.remote}: an earlier send was not finished")

    async def send(self, data: bytes | memoryview) -> None:
        try:
            if self._eager >= _EAGER:
                await self._turn()
            self._check_sound()
            self._eager += 1
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                await self._send_rest(memoryview(data)[sent:])
        except FOREIGN_ERRORS as error:
            raise self._lost(error) from error

    async def _send_rest(self, rest: memoryview) -> None:
        """Wait for room, as often as it takes. Failed or cancelled in here, the stream stays ruined."""
        self._unsent = True
        while rest:
            await self._writable()
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                continue
        self._unsent = False

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        try:
            while True:
                if self._eager >= _EAGER:
                    await self._turn()
                self._check_sound()
                try:
                    sent = os.sendfile(self._socket.fileno(), fd, offset, min(count, _SENDFILE_BYTES))
                except BlockingIOError:
                    with trio.move_on_after(_ROOM_SECONDS):
                        await self._writable()
                else:
                    self._eager += 1 + sent // _EAGER_BYTES
                    return sent
        except FOREIGN_ERRORS as error:
            raise self._lost(error) from error

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        total = 0
        while total < count:
            sent = await self.send_file_some(fd, offset + total, count - total)
            if sent == 0:
                break
            total += sent
        return total

    async def send_eof(self) -> None:
        try:
            await self._turn()
            self._check_sound()
            self._socket.shutdown(socket.SHUT_WR)
        except FOREIGN_ERRORS as error:
            raise self._lost(error) from error

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
        self._in_a_row = 0
        self.address = _address(sock.getsockname())

    async def accept(self) -> TcpConnection:
        # A turn for others comes before the call: cancelled after it, this would lose a connection.
        if self._in_a_row < _ACCEPTED_AT_ONCE:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
            self._in_a_row = 0
        while True:
            try:
                sock, _ = self._socket.accept()
                self._in_a_row += 1
                return TcpConnection(sock)
            except BlockingIOError:
                self._in_a_row = 0
                await self._acceptable()
            except (ConnectionError, ConnectionLost):  # reset between its arrival and here: nobody's fault
                await trio.lowlevel.checkpoint()
            except OSError as error:
                if self._socket.fileno() < 0:
                    raise ListenFailed(f"{self.address}: no longer listening") from error
                raise

    async def _acceptable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError as error:
            raise ListenFailed(f"{self.address}: no longer listening") from error

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class TcpNetwork:
    """The machine's own network. See `Network`."""

    async def connect(self, host: str, port: int) -> TcpConnection:
        what = str(Address(host, port))
        if not 0 < port < 65536:
            raise ConnectFailed(f"{what}: a port is a number from 1 to 65535")
        try:
            stream = await trio.open_tcp_stream(_lookup_name(host), port)
            return TcpConnection(socket.socket(fileno=stream.socket.detach()))
        except (socket.gaierror, ValueError) as error:  # ValueError: what no host's name can be, such as a..b
            reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
            raise ConnectFailed(f"{what}: there is no host of that name{reason}") from error
        except ConnectionLost as error:
            raise ConnectFailed(str(error)) from error
        except OSError as error:
            raise ConnectFailed(f"{what}: {_why(error)}") from error

    async def listen(self, port: int, host: str = "0.0.0.0") -> TcpListener:
        await trio.lowlevel.checkpoint()
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen(_BACKLOG)
        except (OSError, OverflowError) as error:
            sock.close()
            reason = describe(error) if isinstance(error, OSError) else "a port is a number from 0 to 65535"
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                reason += ": another program listens there; choose another port"
            raise ListenFailed(f"cannot listen on {Address(host, port)}: {reason}") from error
        return TcpListener(sock)

    async def resolve(self, host: str) -> list[str]:
        try:
            found = await trio.socket.getaddrinfo(_lookup_name(host), None, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # ValueError: what no host's name can be, such as a..b
            return []
        by_family = {family: str(name[0]) for family, _, _, _, name in reversed(found)}
        return [by_family[family] for family in (socket.AF_INET, socket.AF_INET6) if family in by_family]

    def local_addresses(self) -> list[str]:
        return ipv4_addresses()

    def local_ipv6_addresses(self) -> list[str]:
        return ipv6_addresses()


def _lookup_name(host: str) -> str | bytes:
    """A host as it is looked up: as bytes where it is ASCII, since looking up text loads the codec of other names."""
    return host.encode("ascii") if host.isascii() else host


def _why(error: OSError) -> str:
    """Why no connection came about. Where several addresses failed, trio hands on a group of reasons as the cause."""
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (error,)
    return ", ".join(sorted({describe(reason) for reason in causes if isinstance(reason, OSError)}))
