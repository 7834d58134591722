"""Scripted holders on a memory network, and a fetch from them: what the tests of base transfers are made of."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from osp2p.content.store import Part, Target
from osp2p.errors import NetworkError
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork, Network
from osp2p.peer.base_fetch import BaseFetch, Copy
from osp2p.peer.events import Event
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

NAME = b"dir/cat 1.jpg"
REQUEST = b"GET dir%2Fcat%201.jpg OSP2P\n"
CONTENT = random.Random(1).randbytes(300_000)
PORT = 11112
LIMITS = Limits()

Script = Callable[[Connection], Awaitable[None]]


def md5_of(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def gives(content: bytes) -> Script:
    """Sends all of it, and closes."""

    async def script(connection: Connection) -> None:
        await connection.send(content)
        await connection.send_eof()

    return script


def never_closes(content: bytes) -> Script:
    async def script(connection: Connection) -> None:
        await connection.send(content)
        await trio.sleep_forever()

    return script


def resets(content: bytes) -> Script:
    """Sends some of it, waits until it has been read, and resets."""

    async def script(connection: Connection) -> None:
        await connection.send(content)
        await trio.sleep(0.01)
        connection.abort()

    return script


def trickles(content: bytes, step: int, pause: float) -> Script:
    async def script(connection: Connection) -> None:
        for start in range(0, len(content), step):
            await connection.send(content[start : start + step])
            await trio.sleep(pause)
        await connection.send_eof()

    return script


def endless(byte: bytes = b"x") -> Script:
    async def script(connection: Connection) -> None:
        while True:
            await connection.send(byte * 65536)
            await trio.sleep(0.01)

    return script


def late(seconds: float, then: Script) -> Script:
    async def script(connection: Connection) -> None:
        await trio.sleep(seconds)
        await then(connection)

    return script


refuses = gives(b"")
silent = never_closes(b"")


@dataclass
class Holder:
    """A scripted holder.

    Attributes:
        asked_at: when each request had come in whole, with the time of its connection.
        open: how many connections it has now.
    """

    entry: PeerEntry
    asked_at: list[tuple[float, float]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    open: int = 0
    most_open: int = 0


@dataclass
class World:
    """A memory network with holders on it, and one who fetches."""

    nursery: trio.Nursery
    directory: Path
    network: MemoryNetwork = field(default_factory=lambda: MemoryNetwork("10.0.0.1"))
    holders: list[Holder] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    refreshed: Callable[[], Awaitable[TrackerFacts]] | None = None

    async def add(self, script: Script | None, **attributes: bytes) -> Holder:
        """Put a holder on the network; without a script nobody listens at its address."""
        number = len(self.holders)
        host = f"10.0.{1 + number // 250}.{1 + number % 250}"
        entry = PeerEntry(b"h%d" % number, Address(host, PORT), {k.encode(): v for k, v in attributes.items()})
        holder = Holder(entry)
        self.holders.append(holder)
        if script is not None:
            listener = await self.network.host(host).listen(PORT)
            self.nursery.start_soon(self._serve, listener.accept, holder, script)
        return holder

    async def _serve(self, accept: Callable[[], Awaitable[Connection]], holder: Holder, script: Script) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve_one, await accept(), holder, script)

    async def _serve_one(self, connection: Connection, holder: Holder, script: Script) -> None:
        connected = trio.current_time()
        holder.open += 1
        holder.most_open = max(holder.most_open, holder.open)
        try:
            line = b""
            while not line.endswith(b"\n"):
                data = await connection.receive(4096)
                if not data:
                    return
                line += data
            holder.requests.append(line)
            holder.asked_at.append((connected, trio.current_time()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_for_its_end, connection, nursery.cancel_scope)
                await script(connection)
                if nursery.cancel_scope.cancel_called:
                    return
                await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        except* NetworkError:
            pass  # the one who fetches has left, which is what many of these holders are for
        finally:
            holder.open -= 1
            connection.close()

    async def _watch_for_its_end(self, connection: Connection, scope: trio.CancelScope) -> None:
        while await connection.receive(4096):
            pass
        scope.cancel()

    def fetch(
        self,
        target: Target,
        md5: bytes | None = md5_of(CONTENT),
        *,
        size: int | None = None,
        limits: Limits = LIMITS,
        network: Network | None = None,
        holders: Sequence[Holder] | None = None,
        new_part: Callable[[], Part] | None = None,
        wanted: bytes | None = None,
    ) -> BaseFetch:
        """A fetch from some holders, or all; `wanted` is the content that an id names."""
        entries = tuple(holder.entry for holder in (self.holders if holders is None else holders))

        async def nothing_new() -> TrackerFacts:
            return TrackerFacts(entries)

        async def prove(part: Part) -> bool:
            await trio.lowlevel.checkpoint()
            return os.pread(part.fd, part.end + 1, 0) == wanted

        return BaseFetch(
            NAME,
            TrackerFacts(entries, md5=md5, size=size),
            network=network or self.network,
            limits=limits,
            rng=random.Random(3),
            new_part=new_part or target.new_part,
            refresh=self.refreshed or nothing_new,
            report=self.events.append,
            prove=None if wanted is None else prove,
        )

    def left_behind(self) -> list[str]:
        """The temporary files of copies beside the target."""
        return sorted(path.name for path in self.directory.iterdir() if "~" in path.name)


def content_of(copy: Copy) -> bytes:
    """The bytes of a copy, and one more, if it is longer than it says."""
    return os.pread(copy.part.fd, copy.part.end + 1, 0)
