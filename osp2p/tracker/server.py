"""The tracker on a network: connections in, whole replies out, and the two ways to be told of new peers."""

from __future__ import annotations

import logging
import random

import trio

from osp2p.errors import ConnectionLost, ListenFailed, NetworkError
from osp2p.limits import Limits
from osp2p.net import Connection, Listener, Network, serve_connections
from osp2p.net.errors import deadline
from osp2p.net.groups import one_error
from osp2p.tracker.commands import Session, TrackerOptions, answer, next_arrival
from osp2p.tracker.registry import Registry
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from osp2p.wire.line import LineBuffer
from osp2p.wire.reply import write_reply
from osp2p.wire.word import quote

logger = logging.getLogger("osp2p.tracker")

_READ_BYTES = 65536

_GREETING = write_reply(200, b"type HELP for the commands", context=[(200, b"this is an OSP2P tracker")])
_TOO_LONG = write_reply(500, b"that line is too long; goodbye")
_IDLE = write_reply(200, b"nothing heard for too long; goodbye")
_ENDING = write_reply(200, b"this tracker ends; goodbye")

#: How long the last words to a client may take.
_LAST_WORDS_SECONDS = 0.5

#: How coarse the idle deadline is: moving it costs more than answering a command.
_COARSE_SECONDS = 1.0

#: How long the list of this host's own addresses is believed.
_OWN_HOSTS_SECONDS = 5.0


class TrackerServer:
    """One tracker. `serve` is the handler of one connection.

    Args:
        network: also where peers that said NOTIFY are connected to.
        rng: puts holders into random order.
    """

    def __init__(self, network: Network, options: TrackerOptions, limits: Limits, rng: random.Random) -> None:
        self.registry = Registry(limits)
        self.limits = limits
        self.options = options
        self.rng = rng
        self._network = network
        self._sessions: dict[Session, trio.Event] = {}
        self._watching: dict[Session, None] = {}
        self._notices, self._to_notify = trio.open_memory_channel[tuple[Address, PeerEntry]](limits.max_notices)
        self._own_hosts: frozenset[str] = frozenset()
        self._own_hosts_until = float("-inf")

    # --- what handlers ask of their tracker ---

    def own_hosts(self) -> frozenset[str]:
        """The addresses of the tracker's own host, loopback included."""
        now = trio.current_time()
        if now >= self._own_hosts_until:
            self._own_hosts = frozenset([*self._network.local_addresses(), "127.0.0.1", "::1"])
            self._own_hosts_until = now + _OWN_HOSTS_SECONDS
        return self._own_hosts

    def watch(self, session: Session, on: bool) -> None:
        """Tell this session's peer of new ones, or no more."""
        if on:
            self._watching[session] = None
        else:
            self._watching.pop(session, None)

    def joined(self, session: Session) -> None:
        """A peer has logged in: tell those who wait for it."""
        member = session.member
        if member is None:
            return
        entry = PeerEntry(member.alias, member.address, {b"v": b"2"} if member.hello else {})
        for other, woken in self._sessions.items():
            if other is not session and other.arrivals is not None:
                self._queue_arrival(other, entry)
                woken.set()
        for other in self._watching:
            if other is not session and other.member is not None:
                try:
                    self._notices.send_nowait((other.member.address, entry))
                except trio.WouldBlock:
                    logger.warning("too many peers to be told of a new one; some are not")
                    return

    def _queue_arrival(self, session: Session, entry: PeerEntry) -> None:
        """Keep a new peer for BLOCKNOTIFY; base clients are never told of IPv6, or of what they cannot parse."""
        if not session.hello:
            if entry.address.is_ipv6:
                return
            entry = PeerEntry(entry.alias, entry.address)
        assert session.arrivals is not None
        session.arrivals.append(entry)
        del session.arrivals[: -self.limits.max_block_queue]

    # --- one connection ---

    async def serve(self, connection: Connection) -> None:
        """Talk to one client until it ends; then forget what it registered.

        Raises:
            NetworkError: the connection failed.
        """
        session = Session(self, connection.remote, connection.local)
        self._sessions[session] = trio.Event()
        try:
            await self._talk(connection, session)
        finally:
            del self._sessions[session]
            self._watching.pop(session, None)
            if session.member is not None:
                self.registry.leave(session.member)

    async def _talk(self, connection: Connection, session: Session) -> None:
        await self._send(connection, _GREETING)
        with trio.move_on_after(self.limits.first_command_timeout) as idle:
            try:
                await self._answer_all(connection, session, idle)
            except trio.Cancelled:
                if idle.cancel_called:
                    await self._say_last(connection, _IDLE)
                else:
                    await self._say_last(connection, _ENDING)
                raise

    async def _answer_all(self, connection: Connection, session: Session, idle: trio.CancelScope) -> None:
        """Answer every complete line of each packet with one write.

        The idle deadline binds whole lines: bytes that complete none do not move it beyond `line_timeout`.
        """
        limits = self.limits
        buffer = LineBuffer(limits.max_line)
        line_began: float | None = None
        while not session.ended:
            data = session.take_unread() or await connection.receive(_READ_BYTES)
            if not data:
                return
            lines = buffer.feed_lines(data)
            if lines:
                line_began = None
                await self._answer_lines(connection, session, lines, idle)
            if buffer.overlong:
                await self._send(connection, _TOO_LONG)
                return
            now = trio.current_time()
            if len(buffer) and line_began is None:
                line_began = now
            until = now + limits.idle_timeout
            if line_began is not None:
                until = min(until, line_began + limits.line_timeout)
            if abs(until - idle.deadline) > _COARSE_SECONDS:
                idle.deadline = until

    async def _answer_lines(
        self, connection: Connection, session: Session, lines: list[bytes], idle: trio.CancelScope
    ) -> None:
        """Answer lines in order, up to QUIT, with one write; BLOCKNOTIFY waits in between."""
        replies: list[bytes] = []
        for line in lines:
            replies.append(answer(session, line))
            if session.ended:
                break
            if session.blocked:
                await self._send(connection, b"".join(replies))
                idle.deadline = float("inf")
                replies = [await self._wait_arrival(connection, session)]
        await self._send(connection, b"".join(replies))

    async def _wait_arrival(self, connection: Connection, session: Session) -> bytes:
        """Wait, without limit, for the next peer to log in.

        Raises:
            ConnectionLost: the client is gone.
        """
        while not (reply := next_arrival(session)):
            woken = self._sessions[session] = trio.Event()
            with one_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read_on, connection, session)
                    await woken.wait()
                    nursery.cancel_scope.cancel()
        return reply

    async def _read_on(self, connection: Connection, session: Session) -> None:
        """Notice the end of a connection that waits. What it sends meanwhile is answered later, if it is not too much.

        Raises:
            ConnectionLost.
        """
        while len(session.unread) < _READ_BYTES:
            data = await connection.receive(_READ_BYTES)
            if not data:
                raise ConnectionLost(f"{connection.remote}: closed")
            session.unread += data

    async def _send(self, connection: Connection, data: bytes) -> None:
        if not data:
            return
        with deadline(trio.current_time() + self.limits.send_timeout, str(connection.remote)):
            await connection.send(data)

    async def _say_last(self, connection: Connection, text: bytes) -> None:
        """Say goodbye to a client that is let go; if it does not listen, that is all the same now."""
        with trio.move_on_after(_LAST_WORDS_SECONDS, shield=True):
            try:
                await connection.send(text)
            except NetworkError as error:
                logger.debug("no goodbye to %s: %s", connection.remote, error)

    # --- NOTIFY ---

    async def notify(self) -> None:
        """Run until cancelled: tell peers of new ones, a few at a time."""
        async with trio.open_nursery() as nursery:
            for _ in range(self.limits.max_notify_connections):
                nursery.start_soon(self._notify_some)

    async def _notify_some(self) -> None:
        async for address, entry in self._to_notify:
            line = b"NOTIFY %s %s OSP2P\n" % (quote(entry.alias), str(entry.address).encode())
            try:
                with deadline(trio.current_time() + self.limits.notify_timeout, str(address)):
                    connection = await self._network.connect(address.host, address.port)
                    try:
                        await connection.send(line)
                    finally:
                        connection.close()
            except NetworkError as error:
                logger.debug("cannot tell a peer of a new one: %s", error)


async def serve_tracker(
    *,
    network: Network,
    port: int,
    options: TrackerOptions,
    limits: Limits,
    rng: random.Random,
    task_status: trio.TaskStatus[list[Address]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a tracker until cancelled; its clients are then told.

    Args:
        port: for IPv4, and for IPv6 where the machine has it; 0 takes any free one.
        task_status: started with the addresses where it listens, IPv4 first.

    Raises:
        ListenFailed: the port cannot be opened.
    """
    listeners = await _listen(network, port)
    try:
        server = TrackerServer(network, options, limits, rng)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.notify)
            for listener in listeners:
                nursery.start_soon(serve_connections, listener, server.serve, limits)
            task_status.started([listener.address for listener in listeners])
    finally:
        for listener in listeners:
            listener.close()


async def _listen(network: Network, port: int) -> list[Listener]:
    """Open the port for IPv4, and the same one for IPv6 if there is IPv6.

    Raises:
        ListenFailed: not even for IPv4.
    """
    listeners = [await network.listen(port)]
    try:
        listeners.append(await network.listen(listeners[0].address.port, "::"))
    except ListenFailed as error:
        logger.info("no IPv6: %s", error)
    return listeners
