"""A session with a client at its other end: what is shared, and how answers are read as bytes."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK, ChunkMap, chunk_hash, content_id
from osp2p.errors import Osp2pError
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork
from osp2p.net.groups import one_error
from osp2p.peer.events import Event
from osp2p.peer.offer import Offer
from osp2p.peer.sending import Sender
from osp2p.peer.session import Session
from osp2p.peer.slots import UploadSlots

LIMITS = Limits()
HELLO_REPLY = b"FEATURE content b3\nFEATURE range\nFEATURE any\nFEATURE held\n200 hello\n"
BODY = random.Random(5).randbytes(3 * MIN_CHUNK + 100)
CHUNKS = [BODY[start : start + MIN_CHUNK] for start in range(0, len(BODY), MIN_CHUNK)]
HASHES = b"".join(chunk_hash(chunk) for chunk in CHUNKS)
B3 = content_id(len(BODY), HASHES)
OTHER_B3 = content_id(0, b"")
NAME = b"dir/a file"
QUOTED = b"dir%2Fa%20file"


@dataclass
class World:
    """A shelf and its sessions, over memory.

    Attributes:
        errors: what each session that failed was ended by.
    """

    directory: Path
    limits: Limits = LIMITS
    offers: dict[bytes, Offer] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    errors: list[Osp2pError] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.directory / "file"
        self.path.write_bytes(BODY)
        self.slots = UploadSlots(self.limits)
        self.add(NAME, b3=B3, hashes=HASHES, mtime_ns=self.path.stat().st_mtime_ns)

    def open(self) -> int:
        fd = os.open(self.path, os.O_RDONLY)
        self.opened.append(fd)
        return fd

    def add(
        self,
        name: bytes,
        size: int = len(BODY),
        *,
        open: Callable[[], int] | None = None,
        b3: bytes | None = None,
        hashes: bytes | None = None,
        chunks: ChunkMap | None = None,
        mtime_ns: int | None = None,
    ) -> Offer:
        offer = Offer(name, size, open or self.open, b3=b3, hashes=hashes, chunks=chunks, mtime_ns=mtime_ns)
        self.offers[name] = offer
        return offer

    def add_part(self, *here: int, first_serial: int = 0) -> Offer:
        chunks = ChunkMap(len(CHUNKS), first_serial=first_serial)
        for index in here:
            chunks.add(index)
        return self.add(NAME, b3=B3, hashes=HASHES, chunks=chunks)

    def gain(self, index: int) -> None:
        offer = self.offers[NAME]
        assert offer.chunks is not None
        offer.chunks.add(index)
        offer.notify()

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        names = sorted(name for name in self.offers if name.startswith(prefix) and name > after)
        return [self.offers[name] for name in names[:count]]

    async def serve(self, connection: Connection) -> None:
        lines = LineConnection(connection, self.limits)
        try:
            await Session(lines, self, Sender(self.limits), self.slots, self.limits, self.events.append).run()
        except Osp2pError as error:
            self.errors.append(error)
        finally:
            connection.close()

    @asynccontextmanager
    async def connect(self, capacity: int = 1 << 20) -> AsyncIterator[Connection]:
        """A client's end of a session behind HELLO, the reply to which has been read."""
        network = MemoryNetwork("10.0.0.1", capacity=capacity)
        listener = await network.listen(80)
        connection = await network.host("10.0.0.2").connect("10.0.0.1", 80)
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.serve, await listener.accept())
                assert await receive(connection, len(HELLO_REPLY)) == HELLO_REPLY
                yield connection
                connection.close()

    async def ask(self, *lines: bytes) -> bytes:
        """What a session answers to lines, which are sent in one piece."""
        async with self.connect() as connection:
            await connection.send(b"".join(line + b"\n" for line in lines))
            await connection.send_eof()
            return await receive_all(connection)


async def receive(connection: Connection, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = await connection.receive(count - len(data))
        assert block, data
        data += block
    return data


async def receive_line(connection: Connection) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += await receive(connection, 1)
    return line


async def receive_reply(connection: Connection) -> bytes:
    reply = b""
    while True:
        line = await receive_line(connection)
        reply += line
        if line[:3].isdigit():
            return reply


async def receive_all(connection: Connection) -> bytes:
    data = b""
    while block := await connection.receive(1 << 20):
        data += block
    return data


def hexed(b3: bytes) -> bytes:
    return b3.hex().encode()
