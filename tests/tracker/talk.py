"""A tracker in the test's own process, and a client that says one line and reads one reply, or none."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from osp2p.errors import ConnectionLost
from osp2p.limits import Limits
from osp2p.net import Connection, Network, TcpNetwork
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.tracker.commands import answer_lines
from osp2p.tracker.holdings import Peer
from osp2p.tracker.state import Session, TrackerState
from osp2p.wire.address import Address
from osp2p.wire.reply import Reply, ReplyParser

#: How long a test waits for what must come, in seconds.
PATIENCE = 10.0


def answer(session: Session, line: bytes) -> bytes:
    """The whole reply to one line."""
    replies: list[bytes] = []
    answer_lines(session, [line], replies)
    (reply,) = replies
    return reply


class Client:
    """One connection to a tracker.

    Attributes:
        patience: how long a reply may take, in seconds of trio's clock.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.patience = PATIENCE
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        """Send bytes as they stand."""
        await self.connection.send(data)

    async def line(self) -> bytes | None:
        """Read one line without its LF; None when the tracker has closed."""
        while b"\n" not in self._buffer:
            try:
                data = await self.connection.receive(65536)
            except ConnectionLost:
                return None
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    async def reply(self) -> Reply | None:
        """Read one reply; None when the tracker has closed."""
        parser = ReplyParser(1_000_000, 1 << 30)
        reply = None
        with trio.fail_after(self.patience):
            while reply is None and (line := await self.line()) is not None:
                reply = parser.feed_line(line)
        return reply

    async def ask(self, line: bytes) -> Reply:
        """Send one line and read its reply."""
        await self.send(line + b"\n")
        reply = await self.reply()
        assert reply is not None, f"the tracker closed at {line[:60]!r}"
        return reply

    async def code(self, line: bytes) -> int:
        """Send one line. Returns: the reply's code."""
        return (await self.ask(line)).code

    async def data(self, line: bytes) -> list[bytes]:
        """Send one line. Returns: the reply's data lines, sorted."""
        return sorted((await self.ask(line)).data)


async def start_tracker(
    nursery: trio.Nursery,
    network: Network | None = None,
    options: TrackerOptions | None = None,
    limits: Limits | None = None,
    port: int = 0,
) -> tuple[list[Address], trio.CancelScope]:
    """Start a tracker of ours. Returns: where it listens, and what ends it when it is cancelled."""
    scope = trio.CancelScope()

    async def run(task_status: trio.TaskStatus[list[Address]]) -> None:
        with scope:
            await serve_tracker(
                network=network or TcpNetwork(),
                port=port,
                options=options or TrackerOptions(),
                limits=limits or Limits(),
                rng=random.Random(7),
                task_status=task_status,
            )

    return await nursery.start(run), scope


@asynccontextmanager
async def running_tracker(
    network: Network | None = None, options: TrackerOptions | None = None, limits: Limits | None = None, port: int = 0
) -> AsyncIterator[list[Address]]:
    """A tracker of ours that ends with the block. Yields: where it listens."""
    async with trio.open_nursery() as nursery:
        addresses, scope = await start_tracker(nursery, network, options, limits, port)
        yield addresses
        scope.cancel()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a tracker's answers say so: it tells nobody that it has noticed the end of a connection."""
    while not await condition():  # noqa: ASYNC110
        await trio.sleep(0.005)


@asynccontextmanager
async def client(port: int, host: str = "127.0.0.1", network: Network | None = None) -> AsyncIterator[Client]:
    """A connection whose greeting has been read. It leaves without QUIT."""
    connection = await (network or TcpNetwork()).connect(host, port)
    try:
        made = Client(connection)
        greeting = await made.reply()
        assert greeting is not None
        assert greeting.code == 200
        yield made
    finally:
        connection.close()


class Told:
    """Stands for NOTIFY: remembers who is subscribed and whom they were told of."""

    def __init__(self) -> None:
        self.subscribed: list[Peer] = []
        self.news: list[Peer] = []

    def subscribe(self, peer: Peer) -> None:
        self.subscribed.append(peer)

    def unsubscribe(self, peer: Peer) -> None:
        self.subscribed = [other for other in self.subscribed if other is not peer]

    def tell(self, new: Peer) -> None:
        self.news.append(new)


def make_state(
    options: TrackerOptions | None = None, limits: Limits | None = None, own: tuple[str, ...] = ("127.0.0.1",)
) -> TrackerState:
    """A tracker's state without a network around it."""
    return TrackerState(
        options or TrackerOptions(), limits or Limits(), lambda: own, Told(), random.Random(3), lambda: None
    )


def make_session(state: TrackerState, remote: str = "127.0.0.1", local: str = "127.0.0.1") -> Session:
    """A connection without a network under it."""
    return Session(state, Address(remote, 50000), Address(local, 11111))
