"""Lines over a connection, for both sides of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import inf

import trio

from osp2p.errors import ConnectionLost
from osp2p.limits import Limits
from osp2p.net.connection import Connection
from osp2p.net.errors import deadline
from osp2p.net.throttle import OwnTime, ThrottledConnection
from osp2p.wire.line import LineBuffer
from osp2p.wire.reply import Reply, ReplyParser

_READ_BYTES = 65536

_NO_DEADLINE = nullcontext()


@contextmanager
def _own_deadline(connection: ThrottledConnection, at: float) -> Iterator[None]:
    with deadline(at, connection.remote) as scope, OwnTime(connection, scope):
        yield


class LineConnection:
    """A connection, read line by line; raw bytes may stand between lines.

    Args:
        connection: owned from now on; `close` closes it.
        limits: whose line and reply limits count.
        of_peer: whether the replies that are read are a peer's, which has less to say than a tracker.
    """

    def __init__(self, connection: Connection, limits: Limits, *, of_peer: bool = False) -> None:
        self.connection = connection
        self._buffer = LineBuffer(limits.max_line)
        if of_peer:
            self._replies = ReplyParser(limits.max_peer_reply_lines, limits.max_peer_reply_bytes)
        else:
            self._replies = ReplyParser(limits.max_reply_lines, limits.max_reply_bytes)

    @property
    def has_buffered(self) -> bool:
        """Whether received bytes wait to be read."""
        return len(self._buffer) > 0

    def take_what_is_here(self) -> bytes:
        """Take all received bytes that wait to be read, perhaps none."""
        return self._buffer.take(len(self._buffer))

    def forget_buffered(self) -> None:
        """Forget what is here already: what has come before a question was asked is no answer to it."""
        self.take_what_is_here()

    async def wait_begun(self, at: float) -> None:
        """Wait until the other side has sent something that is not read yet.

        Raises:
            TimedOut, ConnectionLost.
        """
        if not len(self._buffer):
            with self._deadline(at):
                if not await self._receive():
                    raise ConnectionLost(f"{self.connection.remote}: closed before it answered")

    def take_buffered(self, count: int) -> bytes | None:
        """Take `count` raw bytes; None, and nothing is taken, unless all of them are here already."""
        return self._buffer.take(count) if len(self._buffer) >= count else None

    def buffered_line(self) -> bytes | None:
        """Take a line that is here already, without its LF; None if there is no complete one.

        Raises:
            LineTooLong.
        """
        return self._buffer.next_line()

    async def read_line(self, at: float, whole_within: float = inf) -> bytes | None:
        """Read one line. One that is here already comes at once, whatever the time.

        Args:
            at: the absolute time (trio's clock) by which the whole line must be here.
            whole_within: seconds from its first byte to its end, if that is sooner.

        Returns: the line without its LF, or None if the other side has ended its direction between two lines.

        Raises:
            LineTooLong, TimedOut.
            ConnectionLost: also if the other side ended in the middle of a line.

        Cancellation: what has arrived stays buffered; the next call goes on.
        """
        if (line := self._buffer.next_line()) is None:
            if whole_within < inf:
                if not len(self._buffer):
                    with self._deadline(at):
                        if not await self._receive():
                            return None
                    line = self._buffer.next_line()
                at = min(at, trio.current_time() + whole_within)
            if line is None:
                line = await self._read_rest(at)
        return line

    async def _read_rest(self, at: float) -> bytes | None:
        with self._deadline(at):
            while await self._receive():
                if (line := self._buffer.next_line()) is not None:
                    return line
        return None

    def _deadline(self, at: float) -> AbstractContextManager[object]:
        """Bound the body by an absolute time, that moves on while our own rate limit holds us up.

        Raises:
            TimedOut.
        """
        if at == inf:
            return _NO_DEADLINE
        if isinstance(self.connection, ThrottledConnection):
            return _own_deadline(self.connection, at)
        return deadline(at, self.connection.remote)

    async def _receive(self) -> bool:
        """Wait for more bytes. Returns: False if the other side has ended its direction, as it may between lines."""
        data = await self.connection.receive(_READ_BYTES)
        if not data and len(self._buffer):
            raise ConnectionLost(f"{self.connection.remote}: closed in the middle of a line")
        self._buffer.feed(data)
        return bool(data)

    async def read_reply(self, at: float, begun: bytes | None = None) -> Reply:
        """Read one whole reply.

        Args:
            at: the absolute time by which all of it must be here.
            begun: its first line, if that was read already.

        Raises:
            LineTooLong, TimedOut, ConnectionLost.

        Cancellation: the lines that have arrived are kept; the next call goes on.
        """
        reply = self._replies.feed_line(begun) if begun is not None else None
        if reply is None and (reply := self._buffered_reply()) is None:
            with self._deadline(at):
                while reply is None:
                    if not await self._receive():
                        raise ConnectionLost(f"{self.connection.remote}: closed before its answer was whole")
                    reply = self._buffered_reply()
        return reply

    def _buffered_reply(self) -> Reply | None:
        """Put the lines that are here to the reply. Returns: the reply, if that completes it."""
        while (line := self._buffer.next_line()) is not None:
            if (reply := self._replies.feed_line(line)) is not None:
                return reply
        return None

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        """Read raw bytes: first those that are buffered, then from the connection.

        Args:
            gather: as `Connection.receive_into` has it.

        Returns: how many bytes; 0 when the other side has ended its direction.
        """
        if len(self._buffer):
            await trio.lowlevel.checkpoint()
            data = self._buffer.take(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        return await self.connection.receive_into(buffer, gather=gather)

    async def send(self, data: bytes | memoryview, at: float) -> None:
        """Send all of `data` by the absolute time `at`.

        Raises:
            TimedOut, ConnectionLost: the stream is ruined; close it.
        """
        with self._deadline(at):
            await self.connection.send(data)

    def close(self) -> None:
        """Close the connection; waits for nothing."""
        self.connection.close()
