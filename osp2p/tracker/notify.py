"""NOTIFY: connections of the tracker's own to peers that asked to be told of new ones."""

from __future__ import annotations

import logging
from collections import deque

import trio

from osp2p.errors import NetworkError
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.errors import deadline
from osp2p.tracker.holdings import Peer

logger = logging.getLogger("osp2p.tracker")


class Notifier:
    """Tells peers of new ones, each by a connection of its own, as the 2007 tracker did.

    A peer has one such connection at a time. What it must be told of meanwhile waits for it, so that one whose port
    answers slowly or never holds up nobody but itself.

    Args:
        limits: `max_notify_connections`, `notify_timeout`, and `max_block_queue` for what waits for one peer.
    """

    def __init__(self, network: Network, limits: Limits) -> None:
        self._network = network
        self._limits = limits
        #: Who is to be told, and of what.
        self._queues: dict[Peer, deque[bytes]] = {}
        #: Whose queue has something in it, and no connection yet.
        self._ready: dict[Peer, None] = {}
        self._busy: set[Peer] = set()
        self._changed = trio.Event()

    def subscribe(self, peer: Peer) -> None:
        """Tell this peer of new ones from now on."""
        self._queues.setdefault(peer, deque(maxlen=self._limits.max_block_queue))

    def unsubscribe(self, peer: Peer) -> None:
        """Tell this peer no more; a connection to it that stands already may still do so."""
        self._queues.pop(peer, None)
        self._ready.pop(peer, None)

    def tell(self, new: Peer) -> None:
        """Tell everybody who asked for it of a new peer; base peers are not told of IPv6 addresses."""
        # What waits for many peers is one object: else ten thousand who do not listen would cost half a gigabyte.
        hello, base = _write_notice(new.hello_line), _write_notice(new.base_line)
        for peer, queue in self._queues.items():
            notice = hello if peer.hello else base
            if notice and peer is not new:
                queue.append(notice)
                self._make_ready(peer)

    def _make_ready(self, peer: Peer) -> None:
        if peer not in self._busy and self._queues.get(peer):
            self._ready[peer] = None
            self._changed.set()

    async def run(self) -> None:
        """Run until cancelled: connect to those who are to be told, the longest waiting first."""
        slots = trio.Semaphore(self._limits.max_notify_connections)

        async def deliver(peer: Peer) -> None:
            try:
                if queue := self._queues.get(peer):  # it may have left since this task was started
                    await self._send(peer, queue.popleft())
            finally:
                self._busy.discard(peer)
                slots.release()
            self._make_ready(peer)

        async with trio.open_nursery() as nursery:
            while True:
                await slots.acquire()
                while not self._ready:
                    self._changed = trio.Event()
                    await self._changed.wait()
                peer = next(iter(self._ready))
                del self._ready[peer]
                self._busy.add(peer)
                nursery.start_soon(deliver, peer)

    async def _send(self, peer: Peer, line: bytes) -> None:
        """Connect to a peer and send it one line. One that does not listen is none the worse for it."""
        try:
            with deadline(trio.current_time() + self._limits.notify_timeout, str(peer.address)):
                connection = await self._network.connect(peer.address.host, peer.address.port)
                try:
                    await connection.send(line)
                finally:
                    connection.close()
        except NetworkError as error:
            logger.debug("cannot tell %s of a new peer: %s", peer.address, error)


def _write_notice(shown: bytes) -> bytes:
    """Write what is said of a new peer, out of its PEER line; b"" if that may not be shown."""
    return b"NOTIFY %s %s OSP2P\n" % tuple(shown.split()[1:3]) if shown else b""
