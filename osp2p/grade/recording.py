"""A network that writes down all that is said on it; what happens on it is the same without."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import trio

from osp2p.errors import ConnectionLost
from osp2p.grade.transcript import HEADING, Entry, Scribe, Way, write_entry
from osp2p.net import Connection, Listener, Network
from osp2p.net.errors import describe, disk_errors
from osp2p.wire.address import Address

logger = logging.getLogger("osp2p.grade")

#: How much of a file that is sent past Python is read again at a time.
_READ_BYTES = 1 << 20

Note = Callable[[Entry], None]


class Recorder:
    """Numbers connections, and hands on what was said on them.

    Args:
        note: told of each entry; may not raise.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._begun = trio.current_time()
        #: How many connections there have been.
        self.connections = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return trio.current_time() - self._begun

    def note(self, *entries: Entry) -> None:
        """Hand entries on."""
        for entry in entries:
            self._note(entry)

    def accepted(self, connection: Connection) -> RecordedConnection:
        """Somebody connected to us. Returns: the same connection, whose bytes are written down."""
        return self._recorded(connection, Scribe(self.next_number(), "accept", str(connection.remote)))

    def connected(self, connection: Connection) -> RecordedConnection:
        """We connected to somebody. Returns: the same connection, whose bytes are written down."""
        return self._recorded(connection, Scribe(self.next_number(), "connect", str(connection.remote)))

    def next_number(self) -> int:
        """The number of a further connection."""
        self.connections += 1
        return self.connections

    def _recorded(self, connection: Connection, scribe: Scribe) -> RecordedConnection:
        self.note(scribe.opened(self.seconds))
        return RecordedConnection(connection, scribe, self)


class RecordedConnection:
    """A connection whose bytes are written down: as they come, and as they are given to the system to be sent.

    The last entry of a connection is its end. See `Connection` for its methods.
    """

    def __init__(self, connection: Connection, scribe: Scribe, recorder: Recorder) -> None:
        self._connection = connection
        self._scribe = scribe
        self._recorder = recorder
        self._over = False
        self._their_end = False

    @property
    def remote(self) -> Address:
        return self._connection.remote

    @property
    def local(self) -> Address:
        return self._connection.local

    def _moved(self, way: Way, data: bytes) -> None:
        if not self._over:
            self._recorder.note(*self._scribe.moved(way, data, self._recorder.seconds))

    def _came(self, data: bytes) -> None:
        if data:
            self._moved("<", data)
        elif not self._their_end and not self._over:
            self._their_end = True
            self._recorder.note(*self._scribe.ended("<", self._recorder.seconds))

    def _end(self, *, lost: bool) -> None:
        if not self._over:
            self._over = True
            self._recorder.note(*self._scribe.closed(self._recorder.seconds, lost=lost))

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except ConnectionLost:
            self._end(lost=True)
            raise

    async def receive(self, max_bytes: int) -> bytes:
        with self._losing():
            data = await self._connection.receive(max_bytes)
        self._came(data)
        return data

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        with self._losing():
            count = await self._connection.receive_into(buffer, gather=gather)
        self._came(bytes(buffer[:count]))
        return count

    async def send(self, data: bytes | memoryview) -> None:
        self._moved(">", bytes(data))  # before it goes, or the answer could come first
        with self._losing():
            await self._connection.send(data)

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        with self._losing():
            sent = await self._connection.send_file_some(fd, offset, count)
        self._sent_file(fd, offset, sent)
        return sent

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        with self._losing():
            sent = await self._connection.send_file(fd, offset, count)
        self._sent_file(fd, offset, sent)
        return sent

    def _sent_file(self, fd: int, offset: int, count: int) -> None:
        """Read again what the system has sent. A file that changes meanwhile is written down as it is now."""
        end = offset + count
        while offset < end:
            data = os.pread(fd, min(end - offset, _READ_BYTES), offset)
            if not data:
                return
            self._moved(">", data)
            offset += len(data)

    async def send_eof(self) -> None:
        with self._losing():
            await self._connection.send_eof()
        if not self._over:
            self._recorder.note(*self._scribe.ended(">", self._recorder.seconds))

    def close(self) -> None:
        self._end(lost=False)
        self._connection.close()

    def abort(self) -> None:
        self._end(lost=True)
        self._connection.abort()


class _RecordedListener:
    """A listener whose connections are recorded."""

    def __init__(self, listener: Listener, recorder: Recorder) -> None:
        self._listener = listener
        self._recorder = recorder

    @property
    def address(self) -> Address:
        return self._listener.address

    async def accept(self) -> Connection:
        return self._recorder.accepted(await self._listener.accept())

    def close(self) -> None:
        self._listener.close()


class RecordedNetwork:
    """A network all of whose connections, made and taken, are recorded. See `Network`."""

    def __init__(self, network: Network, recorder: Recorder) -> None:
        self._network = network
        self._recorder = recorder

    async def connect(self, host: str, port: int) -> Connection:
        return self._recorder.connected(await self._network.connect(host, port))

    async def listen(self, port: int, host: str = "0.0.0.0") -> Listener:
        return _RecordedListener(await self._network.listen(port, host), self._recorder)

    async def resolve(self, host: str) -> list[str]:
        return await self._network.resolve(host)

    def local_addresses(self) -> list[str]:
        return self._network.local_addresses()

    def local_ipv6_addresses(self) -> list[str]:
        return self._network.local_ipv6_addresses()


class TranscriptFile:
    """A transcript on the disk, line by line as things happen. A disk that takes no more ends the writing, with a word
    about it, and nothing else.
    """

    def __init__(self, path: Path) -> None:
        """Begin a file.

        Raises:
            StoreError: it cannot be made.
        """
        self._path = path
        with disk_errors(f"cannot write the transcript {os.fsdecode(path)}"):
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self._write(HEADING)
        self._write(f"# begun {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")

    def write(self, entry: Entry) -> None:
        """Write an entry, unless writing has ended."""
        self._write(write_entry(entry))

    def _write(self, line: str) -> None:
        if self._file.closed:
            return
        rest = memoryview(f"{line}\n".encode("ascii"))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            logger.warning("the transcript %s ends here: %s", os.fsdecode(self._path), describe(error))
            self._file.close()

    def close(self) -> None:
        """End the transcript. Raises: StoreError."""
        with disk_errors(f"cannot write the transcript {os.fsdecode(self._path)}"):
            self._file.close()


def ignore(entry: Entry) -> None:
    """Write nothing down."""


@contextmanager
def open_transcript(path: str | None) -> Iterator[Note]:
    """A transcript on the disk for as long as the block. Yields: what writes an entry; nothing, where there is no path.

    Raises:
        StoreError: the file cannot be made.
    """
    if path is None:
        yield ignore
        return
    transcript = TranscriptFile(Path(path))
    try:
        yield transcript.write
    finally:
        transcript.close()


@contextmanager
def recorded(network: Network, path: str) -> Iterator[Network]:
    """A network all of which is written down in a file.

    Raises:
        StoreError: the file cannot be made.
    """
    with open_transcript(path) as note:
        yield RecordedNetwork(network, Recorder(note))
