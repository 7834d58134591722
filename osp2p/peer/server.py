"""Serving files: one request on a connection in the base protocol, a session behind HELLO."""

from __future__ import annotations

import os
from typing import Protocol

import trio

from osp2p.errors import ConnectionLost, Osp2pError, StoreError, UnsafeName
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, Visit
from osp2p.peer.events import Report, Uploaded
from osp2p.peer.offer import Shelf
from osp2p.peer.sending import Sender
from osp2p.peer.session import FEATURES, VERBS, Session, check_unchanged
from osp2p.peer.slots import UploadSlots
from osp2p.wire.request import Request, parse_request


class HttpServer(Protocol):
    """Serves a connection whose first line is one of HTTP/1."""

    async def serve_http(self, lines: LineConnection, first_line: bytes, visit: Visit) -> None:
        """Answer until it ends.

        Args:
            first_line: has been read already; without its LF.

        Raises:
            Osp2pError: the connection failed.
        """


class UploadServer:
    """Serves a shelf, and what other rooms add to it. `serve` is the handler of one connection.

    Args:
        shelf: what may be served, and nothing else.
        report: takes `Uploaded`.

    Attributes:
        verbs: what is understood behind HELLO; a room may add rows.
        features: the lines that HELLO is answered with, likewise.
        http: who speaks HTTP on this port; None: nobody does.
    """

    def __init__(self, shelf: Shelf, limits: Limits, report: Report) -> None:
        self._shelf = shelf
        self._limits = limits
        self._report = report
        self._sender = Sender(limits)
        self.verbs = VERBS.copy()
        self.features = list(FEATURES)
        self.http: HttpServer | None = None
        self.slots = UploadSlots(limits)

    async def serve(self, connection: Connection, visit: Visit | None = None) -> None:
        """Answer one connection until it ends.

        Whatever is wrong with a base request closes the connection without a byte, because a client of 2007 would
        save an error text as the file.

        Args:
            visit: is told that the client has been heard, and that it is being served.

        Raises:
            Osp2pError: the connection failed.
        """
        visit = visit or Visit(connection)
        lines = LineConnection(connection, self._limits)
        line = await self._read_first_line(lines)
        if line is None:
            return
        visit.heard = True
        if self.http is not None and is_http(line):
            await self.http.serve_http(lines, line, visit)
        else:
            await self._serve_request(lines, parse_request(line), visit)
        await linger(connection, self._limits)

    async def _serve_request(self, lines: LineConnection, request: Request | None, visit: Visit) -> None:
        if request is None:
            return
        if is_base_get(request):
            with self.slots.slot(lines.connection.remote.host, visit) as free:
                if free:
                    await self._serve_base(lines.connection, request.words[0])
        elif is_hello(request):
            session = Session(
                lines,
                self._shelf,
                self._sender,
                self.slots,
                self._limits,
                self._report,
                visit,
                self.verbs,
                self.features,
            )
            await session.run()

    async def _read_first_line(self, lines: LineConnection) -> bytes | None:
        """Read the first line that is not blank, all of it by one deadline. Returns: None if there is none.

        Raises:
            NetworkError, LineTooLong.
        """
        at = trio.current_time() + self._limits.request_timeout
        for _ in range(self._limits.max_blank_lines):
            line = await lines.read_line(at)
            if line is None or line.strip():
                return line
        return None

    async def _serve_base(self, connection: Connection, name: bytes) -> None:
        """Send a whole file; a file that is not there, or still being fetched, is no byte at all.

        Raises:
            SourceChanged, StoreError, NetworkError: it failed in the middle; the connection is reset.

        Cancellation: the connection is reset, so that nobody takes what was sent for the whole file.
        """
        offer = self._shelf.find(name)
        if offer is None or not offer.complete:
            return
        try:
            fd = offer.open()
        except (UnsafeName, StoreError):
            return  # it is gone, or another file by now, and the library has not noticed yet: no byte, as for any other
        sent = 0
        error: Osp2pError | None = None

        def note(count: int) -> None:
            nonlocal sent
            sent += count

        try:
            await self._sender.send_range(connection, fd, 0, offer.size, note)
            check_unchanged(fd, offer)
        except BaseException as reason:
            connection.abort()
            error = reason if isinstance(reason, Osp2pError) else ConnectionLost("this upload was broken off")
            raise
        finally:
            os.close(fd)
            self._report(Uploaded(name, connection.remote, sent, error))


def is_http(line: bytes) -> bool:
    """Whether this is the first line of a request of HTTP/1."""
    words = line.split()
    return len(words) == 3 and words[2].startswith(b"HTTP/1.")


def is_base_get(request: Request) -> bool:
    """Whether this is ``GET file OSP2P``."""
    return request.verb == b"GET" and len(request.words) == 2 and request.words[1].upper() == b"OSP2P"


def is_hello(request: Request) -> bool:
    """Whether this is ``HELLO OSP2P/2``, whatever follows it."""
    return request.verb == b"HELLO" and len(request.words) >= 1 and request.words[0].upper() == b"OSP2P/2"


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
