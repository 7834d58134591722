"""Many small files of one holder, pipelined on one connection: one answer is a file, and its content id proves it.

A file of one chunk needs no chunk list, so a request and an answer are all there is to it. Whatever goes otherwise than
in the ordinary case (a refusal, wrong bytes, a target that is there already, a holder that is gone) is left to the
ordinary way of fetching a file, which knows what to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from osp2p.content.chunk_store import open_chunks
from osp2p.content.chunks import MIN_CHUNK, chunk_hash, content_id
from osp2p.content.store import open_target
from osp2p.errors import ConnectionLost, MalformedLine, NetworkError, Osp2pError, RemoteProtocolError
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.net.errors import deadline
from osp2p.peer.chunk_client import HELLO
from osp2p.peer.events import Report, Source, TransferDone, TransferFailed, TransferStarted
from osp2p.peer.tracker_client import TrackerFacts
from osp2p.peer.transfer import GetOptions, holders_of_content
from osp2p.wire.entry import PeerEntry, parse_number
from osp2p.wire.word import quote

#: How many requests are on their way at a time.
_AHEAD = 128


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file of at most one chunk, as a tracker tells of it.

    Attributes:
        name: raw bytes.
        target: its final path.
        size: bytes, as claimed; the content id proves it.
        b3: the content id.
        facts: all that the trackers say of it, for the ordinary way.
        named: the content id, if the user named it.
    """

    name: bytes
    target: Path
    size: int
    b3: bytes
    facts: TrackerFacts
    named: bytes | None = None


def small_file(name: bytes, target: Path, facts: TrackerFacts, *, named: bytes | None = None) -> SmallFile | None:
    """The file, if it is one that can be fetched in this way."""
    if facts.b3 is None or facts.size is None or not 0 < facts.size <= MIN_CHUNK:
        return None
    return SmallFile(name, target, facts.size, facts.b3, facts, named)


def whole_holders(facts: TrackerFacts) -> list[PeerEntry]:
    """The holders that speak OSP2P/2 and claim to have all of the content."""
    return [entry for entry in holders_of_content(facts) if entry.attributes.get(b"part") != b"yes"]


class SmallFetch:
    """One connection to one holder.

    Args:
        leave: takes a file back, to be fetched in the ordinary way.
        report: takes `TransferStarted`, `TransferDone`, and `TransferFailed` for what the disk refuses.
        arrived: called with each file that is on the disk, before it is reported.
    """

    def __init__(
        self,
        holder: PeerEntry,
        options: GetOptions,
        *,
        network: Network,
        limits: Limits,
        leave: Callable[[SmallFile], Awaitable[None]],
        arrived: Callable[[bytes, Path], Awaitable[None]],
        report: Report,
    ) -> None:
        self._holder = holder
        self._options = options
        self._network = network
        most = options.max_size if options.max_size is not None else limits.max_size
        self._limits = replace(limits, max_size=most)
        self._leave = leave
        self._arrived = arrived
        self._report = report
        self._ahead: deque[tuple[SmallFile, float]] = deque()
        self._buffer = memoryview(bytearray(MIN_CHUNK))

    async def run(self, files: trio.MemoryReceiveChannel[Sequence[SmallFile]]) -> None:
        """Fetch batches of files until the channel ends; what this holder does not give is left to the ordinary way.

        Cancellation: what has arrived is under its final name, nothing else is.
        """
        usable = True
        async with files:
            async for batch in files:
                todo = deque(batch)
                if usable:
                    usable = await self._fetch(todo)
                for file in [*(file for file, _ in self._ahead), *todo]:
                    await self._leave(file)
                self._ahead.clear()

    async def _fetch(self, todo: deque[SmallFile]) -> bool:
        """Fetch files on a connection of their own; those that are left over stay in `todo` and `_ahead`.

        Returns: whether the holder is of any more use.
        """
        key = self._holder.address
        try:
            with deadline(trio.current_time() + self._limits.connect_timeout, str(key)):
                connection = await self._network.connect(key.host, key.port)
        except NetworkError:
            return False
        lines = LineConnection(connection, self._limits)
        try:
            await lines.send(HELLO, trio.current_time() + self._limits.send_timeout)
            hello = await lines.read_reply(trio.current_time() + self._limits.reply_timeout)
            while hello.ok and (todo or self._ahead):
                if len(self._ahead) <= _AHEAD // 2:
                    await self._request(lines, todo)
                await self._take_answer(lines)
        except (NetworkError, RemoteProtocolError):  # the ordinary way finds out what is the matter, and says so
            return False
        finally:
            lines.close()
        return hello.ok

    async def _request(self, lines: LineConnection, todo: deque[SmallFile]) -> None:
        """Send requests ahead. A target that is there already is for the ordinary way, which compares it."""
        requests = []
        now = trio.current_time()
        while todo and len(self._ahead) < _AHEAD:
            file = todo.popleft()
            if file.target.exists() or file.target.is_symlink():
                await self._leave(file)
                continue
            self._ahead.append((file, now))
            requests.append(b"GET %s OSP2P/2 b3=%s\n" % (quote(file.name), file.b3.hex().encode()))
        if requests:
            await lines.send(b"".join(requests), now + self._limits.send_timeout)

    async def _take_answer(self, lines: LineConnection) -> None:
        """Read the answer to the oldest request.

        Raises:
            NetworkError, RemoteProtocolError: the holder is of no more use.
        """
        if not self._ahead:
            return
        file, asked = self._ahead[0]
        reply = await lines.read_reply(trio.current_time() + self._limits.first_byte_timeout)
        if not reply.ok:
            self._ahead.popleft()
            await self._leave(file)
            return
        words = reply.data[0].split() if reply.data else []
        if len(words) < 2 or words[0] != b"DATA" or parse_number(words[1], MIN_CHUNK, "DATA") != file.size:
            raise MalformedLine("answers GET with another length than was asked for")
        body = self._buffer[: file.size]
        with deadline(trio.current_time() + self._limits.idle_transfer_timeout, str(self._holder.address)):
            await _read_exactly(lines, body)
        self._ahead.popleft()
        if content_id(file.size, chunk_hash(body)) != file.b3:
            await self._leave(file)
            raise MalformedLine("sent another content than was asked for")
        await self._keep(file, body, asked)

    async def _keep(self, file: SmallFile, body: memoryview, asked: float) -> None:
        """Write a proved file to its final name, and report it."""
        self._report(TransferStarted(file.name, file.size, len(file.facts.holders)))
        source = Source(self._holder.alias, self._holder.address, file.size)
        try:
            with open_target(file.target, self._limits, beneath=self._options.beneath) as target:
                store = await open_chunks(target, file.size, file.b3, start_anew=True)
                store.put(0, body)
                path = await store.commit(force=self._options.force, sync=self._options.sync)
        except Osp2pError as error:
            self._report(TransferFailed(file.name, error, file.size, (source,)))
            return
        await self._arrived(file.name, path)
        seconds = trio.current_time() - asked
        self._report(TransferDone(file.name, path, file.size, file.size, 0, "b3", seconds, False, (source,)))


async def _read_exactly(lines: LineConnection, buffer: memoryview) -> None:
    filled = 0
    while filled < len(buffer):
        count = await lines.receive_into(buffer[filled:])
        if count == 0:
            raise ConnectionLost("closed in the middle of a file")
        filled += count
