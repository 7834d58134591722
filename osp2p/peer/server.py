"""Serving files: one connection, one request in the base protocol."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from osp2p.errors import ConnectionLost, Osp2pError, SourceChanged
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection
from osp2p.net.errors import disk_errors
from osp2p.peer.events import Report, Uploaded
from osp2p.wire.request import Request, parse_request


class Offer(Protocol):
    """One content that is offered under a name."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    def open(self) -> int:
        """Open it for reading.

        Returns: a file descriptor, the caller's to close.

        Raises:
            UnsafeName, SourceChanged, StoreError: it is not there any more, or not what was offered.
        """


class Shelf(Protocol):
    """Everything that is offered now."""

    def find(self, name: bytes) -> Offer | None:
        """What is offered under a name."""


class UploadSlots:
    """Counts the uploads that run, altogether and for each address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hosts: Counter[str] = Counter()
        self.running = 0

    @contextmanager
    def slot(self, host: str) -> Iterator[bool]:
        """Hold a slot for the body. Yields: False where there is none left, and the body must refuse."""
        limits = self._limits
        if self.running >= limits.max_uploads or self._hosts[host] >= limits.max_uploads_per_host:
            yield False
            return
        self.running += 1
        self._hosts[host] += 1
        try:
            yield True
        finally:
            self.running -= 1
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]


class UploadServer:
    """Serves a shelf. `serve` is the handler of one connection.

    Args:
        shelf: what may be served, and nothing else.
        report: takes `Uploaded`.
    """

    def __init__(self, shelf: Shelf, limits: Limits, report: Report) -> None:
        self._shelf = shelf
        self._limits = limits
        self._report = report
        self.slots = UploadSlots(limits)

    async def serve(self, connection: Connection) -> None:
        """Answer one connection until it ends.

        Whatever is wrong with a base request closes the connection without a byte, because a client of 2007 would
        save an error text as the file.

        Raises:
            Osp2pError: the connection failed.
        """
        lines = LineConnection(connection, self._limits)
        line = await lines.read_line(trio.current_time() + self._limits.request_timeout)
        request = parse_request(line) if line is not None else None
        if request is not None and is_base_get(request):
            with self.slots.slot(connection.remote.host) as free:
                if free:
                    await self._serve_base(connection, request.words[0])

    async def _serve_base(self, connection: Connection, name: bytes) -> None:
        """Send a whole file and end the connection."""
        offer = self._shelf.find(name)
        if offer is None:
            return
        fd = offer.open()
        sent = 0
        error: Osp2pError | None = None
        try:
            sent = await self._send_range(connection, fd, 0, offer.size)
        except Osp2pError as reason:
            error = reason
            connection.abort()
            raise
        finally:
            os.close(fd)
            self._report(Uploaded(name, connection.remote, sent, error))
        await linger(connection, self._limits)

    async def _send_range(self, connection: Connection, fd: int, offset: int, count: int) -> int:
        """Send `count` bytes from `offset`, at no less than the least rate.

        Raises:
            SourceChanged: the file ended early.
            ConnectionLost: the other side is gone or too slow.
        """
        with disk_errors("a shared file"):
            before = os.fstat(fd)
        sent = 0
        window = self._limits.upload_rate_window
        least = self._limits.min_upload_rate * window
        window_sent = 0
        with trio.move_on_after(window) as scope:
            while sent < count:
                moved = await connection.send_file_some(fd, offset + sent, count - sent)
                if moved == 0:
                    raise SourceChanged("a shared file became shorter while it was being sent")
                sent += moved
                if sent - window_sent >= least:
                    window_sent = sent
                    scope.deadline = trio.current_time() + window
        if scope.cancelled_caught:
            raise ConnectionLost(f"{connection.remote}: takes less than {self._limits.min_upload_rate:.0f} bytes/s")
        after = os.fstat(fd)
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise SourceChanged("a shared file changed while it was being sent")
        return sent


def is_base_get(request: Request) -> bool:
    """Whether this is ``GET file OSP2P``."""
    return request.verb == b"GET" and len(request.words) == 2 and request.words[1].upper() == b"OSP2P"


async def linger(connection: Connection, limits: Limits) -> None:
    """End our direction and read on for a moment.

    A socket that is closed with unread bytes in it resets the connection, and the other side may lose the end of what
    we sent. Source: RFC 9112, section 9.6.

    Raises:
        ConnectionLost.
    """
    await connection.send_eof()
    unread = limits.max_lingering_bytes
    with trio.move_on_after(limits.linger_timeout):
        while unread > 0:
            data = await connection.receive(min(unread, 65536))
            if not data:
                return
            unread -= len(data)
