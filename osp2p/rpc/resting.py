"""Connections to other nodes that rest until the next call: not for too long, and not too many of them."""

from __future__ import annotations

from collections import OrderedDict

import trio

from osp2p.limits import Limits
from osp2p.net.elapsed import ElapsedTime
from osp2p.rpc.connection import CallConnection


class RestingConnections:
    """Those of one caller. `run` closes what has rested for too long at the moment when it has.

    Args:
        limits: `call_idle`, `max_idle_calls`.
        elapsed: the time, with that in which the machine sleeps: the other side, or what is between, does not wait.
    """

    def __init__(self, limits: Limits, elapsed: ElapsedTime | None = None) -> None:
        self._limits = limits
        self._elapsed = elapsed or ElapsedTime()
        #: To which node each goes, in the order in which they came to rest.
        self._nodes: OrderedDict[CallConnection, str] = OrderedDict()
        self._by_node: dict[str, list[CallConnection]] = {}
        self._first = trio.Event()

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, node: str, connection: CallConnection) -> None:
        """Let a connection rest. Where that is one too many, the one that has rested longest is closed."""
        connection.used_at = self._elapsed.now()
        self._nodes[connection] = node
        self._by_node.setdefault(node, []).append(connection)
        if len(self._nodes) > self._limits.max_idle_calls:
            self._close(next(iter(self._nodes)))
        self._first.set()

    def take(self, node: str) -> CallConnection | None:
        """The connection to a node that was used last, which is the caller's from now on; None if there is none."""
        self._close_rested()
        there = self._by_node.get(node)
        if there is None:
            return None
        connection = there[-1]
        self._forget(connection)
        return connection

    def close_all_to(self, node: str) -> None:
        """Close every connection to a node."""
        for connection in list(self._by_node.get(node, ())):
            self._close(connection)

    def close(self) -> None:
        """Close every connection; waits for nothing."""
        while self._nodes:
            self._close(next(iter(self._nodes)))

    async def run(self) -> None:
        """Close connections that have rested for too long, until cancelled."""
        while True:
            if not self._nodes:
                self._first = trio.Event()
                await self._first.wait()
            if (oldest := next(iter(self._nodes), None)) is not None:  # what rested may have been taken again
                await trio.sleep_until(self._elapsed.in_trio(oldest.used_at + self._limits.call_idle))
                self._close_rested()

    def _close_rested(self) -> None:
        self._elapsed.look()
        since = self._elapsed.now() - self._limits.call_idle
        while self._nodes and next(iter(self._nodes)).used_at <= since:
            self._close(next(iter(self._nodes)))

    def _close(self, connection: CallConnection) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: CallConnection) -> None:
        node = self._nodes.pop(connection)
        there = self._by_node[node]
        there.remove(connection)
        if not there:
            del self._by_node[node]
