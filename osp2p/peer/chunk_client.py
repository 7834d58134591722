"""OSP2P/2 between peers, the asking side: one connection to one holder of one content."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from osp2p.content.chunk_set import ranges_of
from osp2p.content.chunks import chunk_count, chunk_size
from osp2p.errors import ChecksumMismatch, ConnectionLost, MalformedLine, RemoteProtocolError, Stalled
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.net.errors import deadline
from osp2p.net.throttle import OwnTime
from osp2p.wire.address import Address
from osp2p.wire.chunk_list import parse_chunk_lines
from osp2p.wire.entry import parse_number
from osp2p.wire.ranges import parse_ranges, write_ranges
from osp2p.wire.reply import Reply
from osp2p.wire.word import quote

HELLO = b"HELLO OSP2P/2\n"

#: Batches of chunks that one client has room for: two may be on their way to the disk while the third is filled.
BUFFERS = 3

#: How often at most a deadline is moved on, in seconds: each time costs as much as receiving.
_LOOK = 0.25

#: Takes whole chunks, unproved: the first one's number, and their bytes.
Take = Callable[[int, memoryview], Awaitable[None]]

#: Is called when an answer begins, with the ranges of chunks that the holder says it has gained.
Begins = Callable[[list[tuple[int, int]]], None]


class NotHere(RemoteProtocolError):
    """A holder refuses a request: 300 no such file, 301 other content, 302 chunk not here, 303 busy.

    Attributes:
        code: the reply's.
        retry: for 303, after how many seconds it wants to be asked again.
    """

    def __init__(self, code: int, text: str, retry: float = 0.0) -> None:
        super().__init__(text, code)
        self.retry = retry


class OtherSize(ChecksumMismatch):
    """A holder says that the content has another size than was announced: one of the two is wrong."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is asked for.

    Attributes:
        name: as the holder lists it.
        size: bytes, as claimed; the chunk list proves it.
        b3: the content id.
    """

    name: bytes
    size: int
    b3: bytes

    @property
    def count(self) -> int:
        """How many chunks it has."""
        return chunk_count(self.size)


@dataclass(frozen=True, slots=True)
class HolderState:
    """A holder's answer to STAT, all of it claimed.

    Attributes:
        serial: to ask from next time.
        ranges: chunks, ascending; None for all.
        delta: whether `ranges` are only those gained since the serial that was asked for.
    """

    serial: int
    ranges: list[tuple[int, int]] | None
    delta: bool


def _ignore(count: int) -> None:
    """Nobody wants to know."""


class ChunkClient:
    """A connection behind HELLO. Requests are sent ahead of their answers, which come in order.

    Args:
        lines: the connection.
        content: what all requests are about.

    Attributes:
        spare: how many batches of chunks may still be in use while the next one is received.
    """

    def __init__(self, lines: LineConnection, content: Content, limits: Limits) -> None:
        self._lines = lines
        self._content = content
        self._limits = limits
        self._size = content.size
        self._each = chunk_size(content.size)
        self._most = content.count - 1
        self._b3 = content.b3.hex().encode()
        self._name = quote(content.name)
        self._buffers = deque([memoryview(b"")] * BUFFERS)
        self.spare = BUFFERS - 1
        self._said_hello = False
        self._greeted = False
        #: Called now and then, in the middle of an answer, with the number of bytes that have come since the last call.
        self.comes: Callable[[int], None] = _ignore

    @property
    def remote(self) -> Address:
        """The holder's address."""
        return self._lines.connection.remote

    async def send(self, requests: Iterable[bytes]) -> None:
        """Send request lines, HELLO before the first.

        Raises:
            NetworkError.
        """
        head = [] if self._said_hello else [HELLO]
        self._said_hello = True
        await self._lines.send(b"".join([*head, *requests]), trio.current_time() + self._limits.send_timeout)

    def stat(self, since: int | None = None, wait: float = 0) -> bytes:
        """A STAT request."""
        rest = b" since=%d wait=%d" % (since, int(wait)) if since is not None else b""
        return b"STAT %s b3=%s%s\n" % (self._name, self._b3, rest)

    def chunks(self) -> bytes:
        """A CHUNKS request."""
        return b"CHUNKS %s b3=%s\n" % (self._name, self._b3)

    def get_run(self, first: int, last: int) -> bytes:
        """A GET request for chunks, both inclusive."""
        end = min((last + 1) * self._each, self._size) - 1
        return b"GET %s OSP2P/2 range=%d-%d b3=%s\n" % (self._name, first * self._each, end, self._b3)

    def get_any(self, chunks: int) -> bytes:
        """A GET request for one chunk of a set, the holder's choice. The set has few ranges: they stand in one line."""
        ranges = b",".join(write_ranges(ranges_of(chunks), self._limits.max_line))
        return b"GET %s OSP2P/2 any=%s b3=%s\n" % (self._name, ranges, self._b3)

    async def _reply(self, patience: float | None = None) -> Reply:
        at = trio.current_time() + (patience or self._limits.reply_timeout)
        if not self._greeted:
            reply = await self._lines.read_reply(at)
            if not reply.ok:
                raise NotHere(reply.code, "does not speak OSP2P/2")
            self._greeted = True
        reply = await self._lines.read_reply(at)
        if not reply.ok:
            raise NotHere(reply.code, reply.text.decode("utf-8", "replace"), self._retry_of(reply))
        return reply

    def _retry_of(self, reply: Reply) -> float:
        for line in reply.data:
            words = line.split()
            if len(words) == 2 and words[0] == b"RETRY":
                wanted = parse_number(words[1], 2**31, "RETRY") / 1000
                return max(self._limits.least_busy_retry, min(wanted, self._limits.max_busy_retry))
        return self._limits.busy_retry

    async def read_stat(self, patience: float | None = None) -> HolderState:
        """Read the answer to `stat`.

        Args:
            patience: seconds that it may take, where it was asked to wait.

        Raises:
            OtherSize: the holder means a content of another size.
            NotHere, MalformedLine, LineTooLong, NetworkError.
        """
        reply = await self._reply(patience)
        serial, delta, everything = 0, False, False
        ranges: list[tuple[int, int]] = []
        for line in reply.data:
            key, _, value = line.partition(b" ")
            if key == b"HAVE" and value == b"all":
                everything = True
            elif key == b"HAVE" and value:
                some = parse_ranges(value, self._most, self._content.count)
                if ranges and some[0][0] <= ranges[-1][1]:
                    raise MalformedLine("ranges ascend from line to line")
                ranges += some
            elif key == b"SERIAL":
                serial = parse_number(value, 2**63 - 1, "SERIAL")
            elif key == b"SINCE":
                delta = True
            elif key == b"SIZE" and value != b"%d" % self._size:
                claimed_size = parse_number(value, 2**63 - 1, "SIZE")
                raise OtherSize(f"says that the file has {claimed_size} bytes, not {self._size} as announced")
            elif key == b"B3" and value != self._b3:
                raise NotHere(301, "has another content")
        return HolderState(serial, None if everything else ranges, delta)

    async def read_chunks(self) -> bytes:
        """Read the answer to `chunks`.

        Returns: the hashes in a row, as claimed: one for each chunk.

        Raises:
            MalformedLine: another number of hashes, or another order.
            NotHere, LineTooLong, NetworkError.
        """
        reply = await self._reply()
        if len(reply.data) != self._content.count:
            raise MalformedLine(f"sent {len(reply.data)} hashes for {self._content.count} chunks")
        return parse_chunk_lines(reply.data)

    async def read_data(self, first: int, last: int, take: Take, begins: Begins) -> None:
        """Read the answer to `get_run`.

        Args:
            take: takes the chunks in order, one at a time; or, of a request for `thread_batch` bytes and more, as many
                at a time as have so many bytes. Their memory is left alone until `spare` more calls have returned.
            begins: is called before the first chunk.

        Raises:
            MalformedLine: a length or a chunk that was not asked for.
            Stalled: silent, or too slow, in the middle.
            NotHere, LineTooLong, NetworkError. What `take` raises.
        """
        length, chunk = await self._read_head(begins)
        if length != self._length(first, last) or chunk not in (None, first):
            raise MalformedLine(f"sends {length} bytes instead of those that were asked for")
        await self._read_body(first, last, take)

    async def read_any(self, asked: int, take: Take, begins: Begins) -> None:
        """Read the answer to `get_any`. The arguments and errors are `read_data`'s."""
        length, chunk = await self._read_head(begins)
        if chunk is None or not asked >> chunk & 1 or length != self._length(chunk, chunk):
            raise MalformedLine("sends a chunk that was not asked for")
        await self._read_body(chunk, chunk, take)

    def _length(self, first: int, last: int) -> int:
        """How many bytes the chunks from `first` to `last` have."""
        return min((last + 1) * self._each, self._size) - first * self._each

    async def _read_head(self, begins: Begins) -> tuple[int, int | None]:
        """Read a DATA reply. Returns: the length, and the chunk if it names one."""
        reply = await self._reply(self._limits.first_byte_timeout)
        words = reply.data[0].split() if reply.data else []
        if len(words) < 2 or words[0] != b"DATA":
            raise MalformedLine("answers GET without a DATA line")
        chunk: int | None = None
        gained: list[tuple[int, int]] = []
        for word in words[2:]:
            key, _, value = word.partition(b"=")
            if key == b"chunk":
                chunk = parse_number(value, self._most, "chunk")
            elif key == b"new":
                gained = parse_ranges(value, self._most, self._content.count)
        length = parse_number(words[1], 2**63 - 1, "DATA")
        begins(gained)
        return length, chunk

    async def _read_body(self, first: int, last: int, take: Take) -> None:
        """Read chunks into several buffers in turn, so that one can be filled while the others are written."""
        least = self._limits.thread_batch
        batch = max(1, least // self._each) if self._length(first, last) >= least else 1
        with (
            trio.move_on_after(self._limits.idle_transfer_timeout) as scope,
            OwnTime(self._lines.connection, scope) as own_time,
        ):
            watch = _Watch(self._limits, scope, own_time, self.comes)
            while first <= last:
                end = min(last, first + batch - 1)
                data = self._next_buffer(self._length(first, end))
                await self._fill(data, watch)
                with watch.paused():  # how long the disk takes is not the holder's fault
                    await take(first, data)
                first = end + 1
            return
        raise Stalled("too slow, or silent for too long")

    def _next_buffer(self, length: int) -> memoryview:
        self._buffers.rotate()
        if len(self._buffers[0]) < length:
            self._buffers[0] = memoryview(bytearray(length))
        return self._buffers[0][:length]

    async def _fill(self, data: memoryview, watch: _Watch) -> None:
        while data:
            count = await self._lines.receive_into(data, gather=True)
            if count == 0:
                raise ConnectionLost(f"{self.remote}: closed in the middle of a chunk")
            watch.moved(count, trio.current_time())
            data = data[count:]

    def close(self) -> None:
        """Close the connection; waits for nothing."""
        self._lines.close()


class _Watch:
    """Keeps the deadline of a body: neither `idle_transfer_timeout` of silence, nor less than `min_rate`.

    What our own rate limit takes is not the holder's time.
    """

    def __init__(
        self, limits: Limits, scope: trio.CancelScope, own_time: OwnTime, comes: Callable[[int], None]
    ) -> None:
        now = trio.current_time()
        self._limits = limits
        self._scope = scope
        self._own_time = own_time
        self._comes = comes
        self._pause = min(_LOOK, limits.idle_transfer_timeout / 4)
        self._next_look = now + self._pause
        self._window_end = now + limits.rate_window
        self._moved = self._told = 0

    def moved(self, count: int, now: float) -> None:
        """Note bytes, and move the deadline on: into the past, if they came too slowly."""
        self._moved += count
        if now < self._next_look:
            return
        self._next_look = now + self._pause
        self._scope.deadline = now + self._limits.idle_transfer_timeout
        self._comes(self._moved - self._told)
        self._told = self._moved
        if now >= self._window_end + self._own_time.waited:
            if self._moved < self._limits.min_rate * self._limits.rate_window:
                self._scope.deadline = now
            self._window_end = now - self._own_time.waited + self._limits.rate_window
            self._moved = self._told = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time that the body takes does not count."""
        began = trio.current_time()
        if self._scope.deadline <= began:  # already found too slow
            yield
            return
        self._scope.deadline = float("inf")
        yield
        now = trio.current_time()
        self._window_end += now - began
        self._scope.deadline = now + self._limits.idle_transfer_timeout


@asynccontextmanager
async def open_holder(
    network: Network, address: Address, content: Content, limits: Limits
) -> AsyncIterator[ChunkClient]:
    """Connect to a holder. HELLO goes out with the first request.

    Raises:
        ConnectFailed, TimedOut.
    """
    with deadline(trio.current_time() + limits.connect_timeout, str(address)):
        connection = await network.connect(address.host, address.port)
    client = ChunkClient(LineConnection(connection, limits, of_peer=True), content, limits)
    try:
        yield client
    finally:
        client.close()
