"""Trackers on a memory network, scripted, old and ours, and clients and sharers of them: for tests in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import trio

from osp2p.errors import NetworkError
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork, TcpNetwork
from osp2p.peer.announce import Announcement, Announcer
from osp2p.peer.events import Event, Registered
from osp2p.peer.tracker_client import TrackerClient, open_tracker
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.address import Address
from tests.standins.old_tracker import OldTracker, Peer, unquoted

HOST = "10.0.0.1"
PORT = 11111
LIMITS = Limits()

#: Where sharers of these tests listen.
OUR_PORT = 11112
GREETING = b"200-hello\n200 type HELP\n"

#: Takes a line, returns the reply; None closes the connection.
Answer = Callable[[bytes], bytes | None]


@dataclass
class ScriptedTracker:
    """A tracker that answers as `answer` says, after `delay`.

    Attributes:
        lines: each line with the time at which it came, connection by connection.
        most_unanswered: how many lines were here at a time before the first of them was answered.
        answered: how many answers the client's side has taken.
        ends: set it, and every connection ends, with these last words.
    """

    answer: Answer
    greeting: bytes = GREETING
    delay: float = 0.0
    lines: list[list[tuple[float, bytes]]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    most_unanswered: int = 0
    answered: int = 0

    @property
    def heard(self) -> list[bytes]:
        """The lines of all connections."""
        return [line for lines in self.lines for _, line in lines]

    async def serve(self, connection: Connection) -> None:
        lines: list[tuple[float, bytes]] = []
        self.lines.append(lines)
        self.connections.append(connection)
        waiting: list[bytes] = []
        arrived = trio.Event()

        async def read() -> None:
            nonlocal arrived
            rest = b""
            while data := await connection.receive(65536):
                *whole, rest = (rest + data).split(b"\n")
                lines.extend((trio.current_time(), line) for line in whole)
                waiting.extend(whole)
                self.most_unanswered = max(self.most_unanswered, len(waiting))
                arrived.set()
            nursery.cancel_scope.cancel()

        try:
            await connection.send(self.greeting)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                while True:
                    await arrived.wait()
                    arrived = trio.Event()
                    while waiting:
                        await trio.sleep(self.delay)
                        reply = self.answer(waiting.pop(0))
                        if reply is None:
                            nursery.cancel_scope.cancel()
                            break
                        await connection.send(reply)
                        self.answered += 1
        except* NetworkError:
            pass  # the client has left
        finally:
            connection.close()


@asynccontextmanager
async def open_scripted(
    network: MemoryNetwork, tracker: ScriptedTracker, host: str = HOST
) -> AsyncIterator[ScriptedTracker]:
    """Run a scripted tracker at host:PORT until the block ends; all its connections are closed then."""
    async with _open_server(network.host(host), tracker.serve):
        yield tracker


@asynccontextmanager
async def open_old(network: MemoryNetwork, *, fakes: bool = False) -> AsyncIterator[tuple[OldTracker, ScriptedTracker]]:
    """Run the stand-in for the old tracker at HOST:PORT of a memory network. Yields: its books, and what it heard."""
    async with trio.open_nursery() as nursery:
        books = OldTracker(PORT, fakes=fakes, nursery=nursery)
        heard = ScriptedTracker(lambda line: None)

        async def serve(connection: Connection) -> None:
            peer = Peer(cast("trio.SocketStream", None), connection.remote.host)
            books.peers.append(peer)

            def answer(line: bytes) -> bytes | None:
                words = line.split()
                if not words:
                    return b""
                heard.most_unanswered = max(heard.most_unanswered, session.most_unanswered)
                coroutine = books.answer(peer, words[0].upper(), [unquoted(word) for word in words[1:]])
                return _result(coroutine)

            session = ScriptedTracker(answer, lines=heard.lines, connections=heard.connections)
            try:
                await session.serve(connection)
            finally:
                books.peers.remove(peer)

        async with _open_server(network.host(HOST), serve):
            yield books, heard
        nursery.cancel_scope.cancel()


def _result(coroutine: Awaitable[bytes]) -> bytes:
    """What a coroutine returns that never waits."""
    try:
        coroutine.__await__().__next__()
    except StopIteration as stop:
        return cast("bytes", stop.value)
    raise AssertionError("the books of the old tracker wait only for BLOCKNOTIFY")


@asynccontextmanager
async def _open_server(network: MemoryNetwork, serve: Callable[[Connection], Awaitable[None]]) -> AsyncIterator[None]:
    listener = await network.listen(PORT)

    async def accept() -> None:
        async with trio.open_nursery() as connections:
            while True:
                connections.start_soon(serve, await listener.accept())

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            yield
            nursery.cancel_scope.cancel()
    finally:
        listener.close()


def here() -> MemoryNetwork:
    """The network as the client's host sees it."""
    return MemoryNetwork("10.0.0.2")


@asynccontextmanager
async def client_of(
    answer: Answer, *, greeting: bytes = GREETING, delay: float = 0.0, limits: Limits = LIMITS
) -> AsyncIterator[tuple[TrackerClient, ScriptedTracker]]:
    """A client of a scripted tracker."""
    network = here()
    async with (
        open_scripted(network, ScriptedTracker(answer, greeting, delay)) as tracker,
        open_tracker(network, HOST, PORT, limits) as client,
    ):
        yield client, tracker


@asynccontextmanager
async def new_tracker(
    network: MemoryNetwork,
    limits: Limits = LIMITS,
    *,
    host: MemoryNetwork | None = None,
    options: TrackerOptions | None = None,
) -> AsyncIterator[None]:
    """Run our own tracker at HOST:PORT, or on another host."""
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[Address]]) -> None:
            await serve_tracker(
                network=host or network.host(HOST),
                port=PORT,
                options=options or TrackerOptions(),
                limits=limits,
                rng=random.Random(1),
                task_status=task_status,
            )

        await nursery.start(serve)
        yield
        nursery.cancel_scope.cancel()


def old(line: bytes) -> bytes | None:
    """An old tracker without peers."""
    answers = {b"LIST": b"200 0\n", b"WHO": b"200 0\n", b"WANT": b"300 nobody\n", b"MD5SUM": b"300 unknown\n"}
    return answers.get(line.split()[0], b"500 Syntax error\n")


def new(answer: Callable[[bytes], bytes | None] = lambda line: b"300 no\n") -> Answer:
    """A tracker that knows HELLO."""
    return lambda line: b"FEATURE b3\nFEATURE local on\n200 hello\n" if line.startswith(b"HELLO") else answer(line)


class Sharer:
    """An announcer that runs, and what it reports."""

    def __init__(self, network: MemoryNetwork | TcpNetwork, limits: Limits, host: str, port: int) -> None:
        self.events: list[Event] = []
        self.announcer = Announcer(network, host, port, b"an na", OUR_PORT, limits, self.events.append)

    def offer(self, *names: bytes, md5: bytes | None = None, size: int = 7) -> None:
        self.announcer.offer((name, Announcement(size, md5)) for name in names)

    async def settle(self) -> None:
        with trio.fail_after(1000):
            await self.announcer.wait_settled()

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def registered(self) -> tuple[int, int]:
        last = self.of(Registered)[-1]
        assert isinstance(last, Registered)
        return last.registered, last.total


@asynccontextmanager
async def sharing(
    network: MemoryNetwork | TcpNetwork,
    *,
    limits: Limits = LIMITS,
    host: str = HOST,
    port: int = PORT,
    offers: Iterable[tuple[bytes, Announcement]] = (),
) -> AsyncIterator[Sharer]:
    sharer = Sharer(network, limits, host, port)
    sharer.announcer.offer(offers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sharer.announcer.run)
        yield sharer
        nursery.cancel_scope.cancel()
