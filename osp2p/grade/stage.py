"""What one check has in its hands: connections to the graded program, names of its own, and what all of it left."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Final

import trio

from osp2p.content.chunks import chunk_bounds, chunk_count, chunk_hash, content_id
from osp2p.errors import ConnectFailed, ConnectionLost, LineTooLong, TimedOut
from osp2p.grade.recording import RecordedNetwork, Recorder
from osp2p.grade.transcript import Entry, escape_text
from osp2p.grade.verdict import Kind, Wrong
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, Listener, Network
from osp2p.net.groups import leaves
from osp2p.wire.checksum import write_md5
from osp2p.wire.reply import Reply
from osp2p.wire.word import quote

#: Most entries of one check that are kept as evidence: the last ones, which lead to the verdict.
EVIDENCE: Final = 300

#: How long nothing must come where nothing may.
QUIET_SECONDS = 0.3

_READ_BYTES = 65536
_SHOWN = 60
_LIMITS = Limits(max_line=16384)


@dataclass(frozen=True)
class Specimen:
    """A file that a graded peer shares.

    Attributes:
        name: raw bytes.
        content: what it holds, as the peer served it at first, or as the user said.
    """

    name: bytes
    content: bytes

    @property
    def md5(self) -> str:
        """Its checksum as the protocol writes it."""
        return write_md5(hashlib.md5(self.content, usedforsecurity=False).digest()).decode()

    @cached_property
    def chunk_hashes(self) -> list[bytes]:
        """The raw hash of each of its chunks."""
        size = len(self.content)
        bounds = (chunk_bounds(size, index) for index in range(chunk_count(size)))
        view = memoryview(self.content)
        return [chunk_hash(view[offset : offset + length]) for offset, length in bounds]

    @cached_property
    def b3(self) -> str:
        """Its content id in hex."""
        return content_id(len(self.content), b"".join(self.chunk_hashes)).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The graded program.

    Attributes:
        kind: what it is.
        network: how it is reached.
        host, port: where it listens; a numeric address.
        answer_within: seconds that one answer may take.
        seed: of all names and bytes that are made up.
        specimen: of a peer, the file that it shares.
        forbidden: of a peer, names that lie on its disk and must not be served, raw bytes.
    """

    kind: Kind
    network: Network
    host: str
    port: int
    answer_within: float = 5.0
    seed: int = 0
    specimen: Specimen | None = None
    forbidden: tuple[bytes, ...] = ()


def show(data: bytes | str) -> str:
    """Write bytes for a sentence: escaped, cut, in quotation marks."""
    text = escape_text(data if isinstance(data, bytes) else data.encode("latin-1", "replace"))
    return f"'{text}'" if len(text) <= _SHOWN else f"'{text[:_SHOWN]}…'"


@contextmanager
def one_wrong() -> Iterator[None]:
    """Let one `Wrong` stand for all that a nursery in the body has gathered."""
    try:
        yield
    except* Wrong as group:
        raise Wrong(str(next(leaves(group)))) from None


class Talk:
    """One connection to the graded program."""

    def __init__(self, connection: Connection, answer_within: float) -> None:
        self.connection = connection
        self._lines = LineConnection(connection, _LIMITS)
        self._within = answer_within

    @property
    def _deadline(self) -> float:
        return trio.current_time() + self._within

    async def send(self, data: bytes) -> None:
        """Send bytes as they stand.

        Raises:
            Wrong: they cannot be sent.
        """
        try:
            await self._lines.send(data, self._deadline)
        except ConnectionLost:
            raise Wrong(f"it has closed the connection on which {show(data)} was to be sent") from None
        except TimedOut:
            raise Wrong(f"it reads nothing for {self._within:g} s") from None

    async def reply(self, to: str) -> Reply:
        """Read a whole reply.

        Args:
            to: what it answers, for people.

        Raises:
            Wrong: none comes.
        """
        try:
            return await self._lines.read_reply(self._deadline)
        except ConnectionLost:
            raise Wrong(f"it closes the connection instead of answering {to}") from None
        except TimedOut:
            raise Wrong(f"no whole answer to {to} within {self._within:g} s") from None
        except LineTooLong as error:
            raise Wrong(f"the answer to {to} cannot be read: {error}") from None

    async def read_some(self) -> bytes:
        """Read what one packet brings.

        Raises:
            Wrong: nothing comes.
        """
        with trio.move_on_after(self._within):
            try:
                data = await self._receive()
            except ConnectionLost:
                data = b""
            if not data:
                raise Wrong("it closes the connection instead of answering")
            return data
        raise Wrong(f"nothing comes within {self._within:g} s")

    async def read(self, count: int) -> bytes:
        """Read so many raw bytes. Returns: fewer only if the other side ends, or time is up."""
        buffer = bytearray(count)
        read = 0
        with trio.move_on_after(self._within):
            try:
                while read < count and (got := await self._lines.receive_into(memoryview(buffer)[read:])):
                    read += got
            except ConnectionLost:
                return bytes(buffer[:read])
        return bytes(buffer[:read])

    async def rest(self, most: int) -> bytes:
        """Read until the other side ends its direction.

        Args:
            most: so many bytes are right; more end the reading.

        Raises:
            Wrong: it does not end in time.
        """
        found = bytearray()
        with trio.move_on_after(self._within) as scope:
            try:
                while len(found) <= most and (data := await self._receive()):
                    found += data
            except ConnectionLost:
                return bytes(found)
        if scope.cancelled_caught:
            raise Wrong(f"it does not close the connection within {self._within:g} s, after {len(found)} bytes")
        return bytes(found)

    async def _receive(self) -> bytes:
        buffer = bytearray(_READ_BYTES)
        return bytes(buffer[: await self._lines.receive_into(memoryview(buffer))])

    async def quiet(self, after: str) -> None:
        """Wait a moment in which nothing may come.

        Raises:
            Wrong: something comes.
        """
        with trio.move_on_after(QUIET_SECONDS):
            try:
                data = await self._receive()
            except ConnectionLost:
                data = b""
            raise Wrong(f"{after} is answered with {show(data)}" if data else f"it closes the connection after {after}")

    async def end_ours(self) -> None:
        """End our direction."""
        try:
            await self.connection.send_eof()
        except ConnectionLost:
            raise Wrong("it has closed the connection") from None


class Stage:
    """One check's connections, by label, and its names.

    Args:
        subject: whom they lead to.
        check: the check's id: names depend on it and on the seed.
    """

    def __init__(self, subject: Subject, check: str) -> None:
        self.subject = subject
        self.rng = Random(f"{subject.seed} {check}")
        token = f"{self.rng.getrandbits(40):010x}"
        self._entries: deque[Entry] = deque(maxlen=EVIDENCE)
        self._network = RecordedNetwork(subject.network, Recorder(self._entries.append))
        self._talks: dict[str, Talk] = {}
        self._open: list[Connection | Listener] = []
        self.values = {label: f"g{label}{token}" for label in "abcd"}
        self.values |= {f"file{suffix}": f"osp2p-grade-{token}{suffix}.txt" for suffix in ("", "2", "3")}
        self.values["host"] = subject.host
        self.values["b3"] = f"{self.rng.getrandbits(256):064x}"
        if subject.specimen is not None:
            self.values["file"] = quote(subject.specimen.name).decode()
            self.values["quoted"] = "".join(f"%{byte:02x}" for byte in subject.specimen.name)
            self.values["b3"] = subject.specimen.b3
            self.values["size"] = str(len(subject.specimen.content))

    @property
    def evidence(self) -> tuple[Entry, ...]:
        """What was said so far, bounded."""
        return tuple(self._entries)

    @property
    def specimen(self) -> Specimen:
        """The file of a graded peer."""
        assert self.subject.specimen is not None, "only peers have a file"
        return self.subject.specimen

    def fill(self, text: str) -> str:
        """Put values where their names stand in braces."""
        return text.format_map(self.values)

    async def open(self) -> Talk:
        """Open a connection; a tracker's greeting is not read.

        Raises:
            Wrong: it is not taken.
        """
        within = self.subject.answer_within
        with trio.move_on_after(within):
            try:
                connection = await self._network.connect(self.subject.host, self.subject.port)
            except ConnectFailed as error:
                raise Wrong(f"it takes no connection: {error}") from None
            self._open.append(connection)
            self.values["host"] = connection.local.host
            return Talk(connection, within)
        raise Wrong(f"it takes no connection within {within:g} s")

    async def greeted(self) -> Talk:
        """Open a connection; of a tracker, read the greeting.

        Raises:
            Wrong.
        """
        talk = await self.open()
        if self.subject.kind == "tracker":
            reply = await talk.reply("the connection, with a greeting")
            if not reply.ok:
                raise Wrong(f"its greeting has the code {reply.code}")
        return talk

    async def on(self, label: str) -> Talk:
        """The connection of that label, opened at its first mention."""
        if label not in self._talks:
            self._talks[label] = await self.greeted()
        return self._talks[label]

    def leave(self, label: str, *, reset: bool = False) -> None:
        """Close a connection of ours; its label may be used for another one."""
        connection = self._talks.pop(label).connection
        (connection.abort if reset else connection.close)()

    async def ask(self, line: str, talk: Talk | None = None) -> Reply:
        """Send a line and read the reply, on a connection of its own unless one is given."""
        talk = talk or await self.greeted()
        text = self.fill(line)
        await talk.send(text.encode("latin-1") + b"\n")
        return await talk.reply(show(text))

    async def listen(self, host: str) -> Listener:
        """Open a free port of ours. Raises: ListenFailed."""
        listener = await self._network.listen(0, host)
        self._open.append(listener)
        return listener

    def keep(self, connection: Connection) -> Connection:
        """Close a connection at the end, too. Returns: the same."""
        self._open.append(connection)
        return connection

    def close(self) -> None:
        """Close all connections; waits for nothing."""
        for one in self._open:
            one.close()
