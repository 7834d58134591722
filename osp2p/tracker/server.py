"""A tracker on the network: listeners, one conversation a connection, deadlines, and goodbye."""

from __future__ import annotations

import errno
import logging
import random

import trio

from osp2p.errors import ListenFailed
from osp2p.limits import Limits
from osp2p.net import Admission, Connection, Listener, Network, TcpNetwork, Visit, serve_visits
from osp2p.net.lane import Lane
from osp2p.tracker.conversation import Conversation
from osp2p.tracker.notify import Notifier
from osp2p.tracker.state import Session, TrackerOptions, TrackerState
from osp2p.wire.address import Address

logger = logging.getLogger("osp2p.tracker")

_DEFAULT = Limits()

#: How many free ports are tried until one is free in both families.
_PORT_TRIES = 10

#: How often deadlines are looked at: a hundred times in the shortest of them, within these bounds in seconds.
_WATCH_EVERY = (0.01, 1.0)


async def serve_tracker(
    *,
    port: int,
    network: Network | None = None,
    options: TrackerOptions | None = None,
    limits: Limits = _DEFAULT,
    rng: random.Random | None = None,
    admission: Admission | None = None,
    task_status: trio.TaskStatus[list[Address]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a tracker until cancelled.

    Args:
        port: of all of this machine's addresses, IPv6 ones too where it has them; 0 takes any free one.
        network: what it listens on, and through what it connects to peers that said NOTIFY; None: this machine's TCP.
        options: None: none of them.
        limits: every number that a stranger can push on.
        rng: puts holders into random order; None: seeded by the system.
        admission: who may be connected, where another server of this process shares what there is room for.
        task_status: told where it listens: the IPv4 address first, then the IPv6 one if there is one.

    Raises:
        ListenFailed: the port is taken.

    Cancellation: connected clients are told so, within `Limits.farewell_timeout`; then everything is closed.
    """
    network = network or TcpNetwork()
    listeners = await _open_listeners(network, port)
    admission = admission or Admission(limits)
    try:
        server = _Server(network, options or TrackerOptions(), limits, rng or random.Random())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.watch)
            nursery.start_soon(server.forget)
            nursery.start_soon(server.notifier.run)
            for listener in listeners:
                nursery.start_soon(serve_visits, listener, server.converse, admission)
            task_status.started([listener.address for listener in listeners])
    finally:
        for listener in listeners:
            listener.close()


async def _open_listeners(network: Network, port: int) -> list[Listener]:
    """Open the port for IPv4, and for IPv6 where the machine has it.

    Raises:
        ListenFailed: it is taken, in either family: half a tracker would hide the peers of the other half.
    """
    for _ in range(_PORT_TRIES):
        first = await network.listen(port)
        try:
            if not network.local_ipv6_addresses():
                return [first]
            return [first, await network.listen(first.address.port, "::")]
        except ListenFailed as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
                logger.info("without IPv6: %s", error)
                return [first]
            first.close()
            if port:
                raise
        except BaseException:
            first.close()
            raise
    raise ListenFailed("no port is free in both IPv4 and IPv6")


class _Server:
    """One running tracker: its state, its conversations, and the tasks that serve them all."""

    def __init__(self, network: Network, options: TrackerOptions, limits: Limits, rng: random.Random) -> None:
        self._limits = limits
        self.notifier = Notifier(network, limits)

        def own_addresses() -> list[str]:
            return [*network.local_addresses(), *network.local_ipv6_addresses()]

        def on_backlog() -> None:
            self._backlog.set()

        self._state = TrackerState(options, limits, own_addresses, self.notifier, rng, on_backlog)
        self._conversations: dict[Conversation, None] = {}
        self._lane = Lane(limits)
        self._backlog = trio.Event()

    async def converse(self, connection: Connection, visit: Visit) -> None:
        """Talk with one client until either side ends it, and forget what it registered.

        Who registers as a peer is no stranger any more.

        Raises:
            NetworkError: the connection broke.
        """
        session = Session(self._state, connection.remote, connection.local, visit.admit)
        conversation = Conversation(visit, session, self._lane, self._limits)
        self._conversations[conversation] = None
        try:
            await conversation.run()
        finally:
            del self._conversations[conversation]
            self._lane.release(visit)
            self._state.logout(session)

    async def watch(self) -> None:
        """Run until cancelled: end the conversations whose deadline has passed.

        One task that looks at all of them now and then, because to move a deadline of trio's with every packet costs
        two microseconds each, a tenth of what a packet with one command takes in all.
        """
        limits = self._limits
        shortest = min(limits.first_command_timeout, limits.idle_timeout, limits.line_timeout, limits.send_timeout)
        period = min(max(shortest / 100, _WATCH_EVERY[0]), _WATCH_EVERY[1])
        while True:
            await trio.sleep(period)
            now = trio.current_time()
            for conversation in self._conversations:
                if conversation.deadline < now:
                    conversation.scope.cancel()

    async def forget(self) -> None:
        """Run until cancelled: strike out what peers with very many files held, with turns for others in between."""
        while True:
            await self._backlog.wait()
            self._backlog = trio.Event()
            while self._state.registry.forget_some():
                await trio.lowlevel.checkpoint()
