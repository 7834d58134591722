"""Many small files of one holder, pipelined on one connection: one answer is a file, and its content id proves it.

A file of one chunk needs no chunk list, so a request and an answer are all there is to it. Whatever goes otherwise than
in the ordinary case (a refusal, wrong bytes, a target that is there already, a holder that is gone or silent) is left
to another holder or to the ordinary way of fetching a file, which knows what to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from osp2p.content.chunks import MIN_CHUNK, chunk_hash, content_id
from osp2p.content.small_store import SmallStore
from osp2p.errors import ConnectionLost, MalformedLine, NetworkError, RemoteProtocolError, TimedOut
from osp2p.limits import KIB, Limits
from osp2p.net import Connection, Network
from osp2p.net.errors import deadline
from osp2p.net.throttle import OwnTime
from osp2p.peer.chunk_client import HELLO
from osp2p.peer.events import Report, Source, TransferDone, TransferStarted
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.peer.wanted import Wanted
from osp2p.wire.body import BodyParser
from osp2p.wire.entry import PeerEntry
from osp2p.wire.reply import Reply
from osp2p.wire.word import quote

#: How many requests are on their way at a time.
_AHEAD = 128

#: How many bytes of them: so few that a connection holds them all. A holder that sends does not read, and while we send
#: we do not read either: with more, both might wait for ever.
_AHEAD_BYTES = 32 * KIB


class SmallFile(NamedTuple):
    """A file of at most one chunk, as a tracker tells of it.

    Attributes:
        wanted: what the user wants.
        size: bytes, as claimed; the content id proves it.
        b3: the content id.
        holders: how many have all of it.
        facts: what the trackers say of it, where each was asked about it alone.
    """

    wanted: Wanted
    size: int
    b3: bytes
    holders: int
    facts: TrackerFacts | None


class SmallFetch:
    """One connection to one holder.

    Args:
        store: where the files go.
        places: how many holders are connected to at a time, for all of whom it is shared.
        leave: takes a file back that did not arrive.
        fail: called when the holder has proved to be of no use.
        arrived: called with each file that has arrived, before it is reported.
        report: takes `TransferStarted` and `TransferDone`.

    Each answer must be whole within `first_byte_timeout` of the one before it, and all of them must come at `min_rate`.
    Only the time in which the holder is waited for counts, not what is done with files that have arrived.
    """

    def __init__(
        self,
        holder: PeerEntry,
        *,
        network: Network,
        limits: Limits,
        store: SmallStore,
        places: trio.CapacityLimiter,
        leave: Callable[[SmallFile], None],
        fail: Callable[[], None],
        arrived: Callable[[bytes, Path], Awaitable[None]],
        report: Report,
    ) -> None:
        self._holder = holder
        self._network = network
        self._limits = limits
        self._store = store
        self._places = places
        self._leave = leave
        self._fail = fail
        self._arrived = arrived
        self._report = report
        self._ahead: deque[_Asked] = deque()
        self._ahead_bytes = 0
        self._here: list[tuple[SmallFile, float]] = []
        self._todo: deque[SmallFile] = deque()
        self._began = float("inf")
        self._done = 0
        self._waiting: trio.CancelScope | None = None
        self._given_up = False
        #: Whether all is over; whether the holder has proved to be of no use.
        self.ended = self.failed = False

    def due_in(self, now: float) -> float:
        """In how many seconds all that it was asked for will be here, at its rate so far; at once, if nobody else has
        it.
        """
        left = [*(asked.file for asked in self._ahead), *self._todo]
        if now <= self._began or not left or left[0].holders < 2:
            return 0.0
        return len(left) * (now - self._began) / max(self._done, 1)

    def give_up(self) -> None:
        """Leave what has not arrived yet to others."""
        self._given_up = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def run(self, files: trio.MemoryReceiveChannel[Sequence[SmallFile]]) -> None:
        """Fetch batches of files until the channel ends.

        Cancellation: what has arrived is under its final name, nothing else is.
        """
        usable = True
        async with files:
            async for batch in files:
                todo = self._todo = deque(batch)
                if usable:
                    async with self._places:
                        usable = await self._fetch(todo)
                    if not usable:
                        self.failed = True
                        self._fail()
                for file in [*(asked.file for asked in self._ahead), *todo]:
                    self._leave(file)
                self._ahead.clear()
                self._ahead_bytes = 0
                self._todo = deque()
        self.ended = True

    async def _fetch(self, todo: deque[SmallFile]) -> bool:
        """Fetch files on a connection of their own; those that are left over stay in `todo` and `_ahead`.

        Returns: whether the holder is of any more use.
        """
        key = self._holder.address
        connection = None
        limits = self._limits
        # What others have, too, need not wait for one who is perhaps not there.
        patience = min(limits.connect_timeout, limits.hedge_after if todo[0].holders > 1 else float("inf"))
        try:
            with deadline(trio.current_time() + patience, str(key)):
                connection = await self._network.connect(key.host, key.port)
            await self._converse(connection, todo)
        except (NetworkError, RemoteProtocolError):  # the ordinary way finds out what is the matter, and says so
            return False
        finally:
            self._waiting, self._began = None, float("inf")
            if connection is not None:
                connection.close()
        return True

    async def _converse(self, connection: Connection, todo: deque[SmallFile]) -> None:
        """Say HELLO, and keep requests on their way until all are answered.

        Raises:
            NetworkError, RemoteProtocolError: the holder is of no more use.
        """
        limits = self._limits
        answers = BodyParser(MIN_CHUNK, limits.max_line, limits.max_peer_reply_lines, limits.max_peer_reply_bytes)
        hello = HELLO
        greeted = False
        pace = _Pace(limits)
        self._began, self._done = trio.current_time(), 0
        while todo or self._ahead or hello:
            if self._given_up:
                raise TimedOut("gives its files too slowly")
            requests = hello + self._next_requests(todo)
            with deadline(pace.at, str(connection.remote)) as scope, OwnTime(connection, scope) as own_time:
                self._waiting = scope
                if requests:
                    await connection.send(requests)
                    hello = b""
                if not self._ahead:
                    break
                asked_at = trio.current_time()
                count = await connection.receive_into(answers.space())
            self._waiting = None
            pace.received(count, trio.current_time() - asked_at, own_time.waited)
            if count == 0:
                raise ConnectionLost(f"{connection.remote}: closed before all was answered")
            answers.received(count)
            if not greeted:
                reply = answers.next_reply()
                if reply is None:
                    continue
                if not reply.ok:
                    raise MalformedLine("does not know HELLO")
                greeted = True
            try:
                some_whole = self._take_answers(answers)
            except RemoteProtocolError:
                await self._announce()  # what was right before the wrong one is here all the same
                raise
            if some_whole:
                await self._announce()
                pace.begin_answer()

    def _next_requests(self, todo: deque[SmallFile]) -> bytes:
        """Requests for more files, if few are on their way. A target that is taken is for the ordinary way."""
        if len(self._ahead) > _AHEAD // 2 or self._ahead_bytes > _AHEAD_BYTES // 2:
            return b""
        requests = []
        now = trio.current_time()
        while todo and len(self._ahead) < _AHEAD and self._ahead_bytes < _AHEAD_BYTES:
            file = todo.popleft()
            if not self._store.is_free(file.wanted.target):
                self._leave(file)
                continue
            request = b"GET %s OSP2P/2 b3=%s\n" % (quote(file.wanted.name), file.b3.hex().encode())
            requests.append(request)
            self._ahead.append(_Asked(file, now, len(request)))
            self._ahead_bytes += len(request)
        return b"".join(requests)

    def _take_answers(self, answers: BodyParser) -> bool:
        """Take all whole answers that are here. Returns: whether there was one.

        Raises:
            RemoteProtocolError: the holder is of no more use.
        """
        before = len(self._ahead)
        while self._ahead:
            file, asked, length = self._ahead[0]
            answer = answers.next(file.size)
            if answer is None:
                break
            self._ahead.popleft()
            self._ahead_bytes -= length
            self._done += 1
            if isinstance(answer, Reply):
                self._leave(file)
            elif content_id(file.size, chunk_hash(answer)) != file.b3:
                self._leave(file)
                raise MalformedLine("sent another content than was asked for")
            elif self._store.put(file.wanted.target, answer):
                self._here.append((file, asked))
            else:
                self._leave(file)
        return len(self._ahead) < before

    async def _announce(self) -> None:
        """Tell of the files that have arrived."""
        now = trio.current_time()
        here, self._here = self._here, []
        for file, asked in here:
            name, target, size = file.wanted.name, file.wanted.target, file.size
            self._report(TransferStarted(name, size, file.holders))
            await self._arrived(name, target)
            source = Source(self._holder.alias, self._holder.address, size)
            self._report(TransferDone(name, target, size, size, 0, "b3", now - asked, False, (source,)))


class _Asked(NamedTuple):
    """A file that was asked for and is not answered.

    Attributes:
        at: when.
        length: bytes of the request.
    """

    file: SmallFile
    at: float
    length: int


class _Pace:
    """How long a holder may take, and how slow it may be.

    Attributes:
        at: when the next answer must be whole.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._seconds = 0.0
        self.begin_answer()

    def begin_answer(self) -> None:
        """From now on the next answer is waited for."""
        self.at = trio.current_time() + self._limits.first_byte_timeout

    def received(self, count: int, seconds: float, own_time: float) -> None:
        """Note bytes, and how long they were waited for.

        Args:
            own_time: how much of that our own rate limit took.

        Raises:
            TimedOut: they come too slowly.
        """
        self._bytes += count
        self._seconds += seconds - own_time
        self.at += own_time
        window = self._limits.rate_window
        if self._seconds >= window:
            if self._bytes < self._limits.min_rate * window:
                raise TimedOut("gives its files too slowly")
            self._bytes, self._seconds = 0, 0.0
