"""Sharers inside the lab's own process that note every chunk they send, and to which life of a downloader.

A downloader that is killed and started again has several lives. What it had proved in one, nobody should have to send
it in the next.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

from osp2p.content.digest import FileDigest
from osp2p.limits import Limits
from osp2p.net import Admission, Connection, Network, TcpNetwork, Visit, serve_visits
from osp2p.net.throttle import ThrottledNetwork
from osp2p.peer.announce import Announcement, Announcer
from osp2p.peer.events import Event
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.wire.address import Address

Chunk = tuple[bytes, int]
"""A file's name and the number of one of its chunks."""


@dataclass
class Ledger:
    """What several witnesses have sent.

    Attributes:
        life: the number of the downloader's present life; connections belong to the one in which they were made.
        sent: in each life, how often each chunk was sent, or begun to be.
        begun: set when the first chunk of the present life is sent.
    """

    life: int = 0
    sent: dict[int, Counter[Chunk]] = field(default_factory=dict)
    begun: trio.Event = field(default_factory=trio.Event)

    def begin_life(self) -> None:
        """The downloader is about to be started."""
        self.life += 1
        self.sent[self.life] = Counter()
        self.begun = trio.Event()

    def note(self, life: int, chunk: Chunk) -> None:
        """A chunk goes out."""
        self.sent[life][chunk] += 1
        if life == self.life:
            self.begun.set()


class _NotedOffer(Offer):
    """An offer that tells a ledger of every chunk that is sent of it."""

    __slots__ = ("ledger", "life")

    ledger: Ledger
    life: int

    def count_sent(self, first: int, last: int) -> None:
        super().count_sent(first, last)
        for number in range(first, last + 1):
            self.ledger.note(self.life, (self.name, number))


class _Shelf:
    """The files of a witness, as one life of the downloader sees them. See `osp2p.peer.offer.Shelf`."""

    def __init__(self, files: Mapping[bytes, tuple[Path, FileDigest]], ledger: Ledger) -> None:
        self._offers = {name: _offer(name, path, digest, ledger) for name, (path, digest) in files.items()}

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self._offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> Iterable[Offer]:
        return ()


def _offer(name: bytes, path: Path, digest: FileDigest, ledger: Ledger) -> Offer:
    offer = _NotedOffer(
        name,
        digest.state.size,
        lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC),
        b3=digest.digests.b3,
        hashes=digest.hashes,
        mtime_ns=digest.state.mtime_ns,
    )
    offer.ledger = ledger
    offer.life = ledger.life
    return offer


async def run_witness(
    tracker: Address,
    alias: bytes,
    files: Mapping[bytes, tuple[Path, FileDigest]],
    ledger: Ledger,
    rate: float | None,
    limits: Limits,
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Share files, by name, until cancelled.

    Args:
        ledger: gets what is sent.
        rate: bytes per second that leave, all connections together; None: no limit.
        task_status: gets our address once everything is registered.
    """
    network: Network = TcpNetwork()
    throttled = ThrottledNetwork(network, rate, None)
    listener = await network.listen(0, "127.0.0.1")
    announcer = Announcer(network, tracker.host, tracker.port, alias, listener.address.port, limits, _ignore)
    shelves: dict[int, _Shelf] = {}

    async def serve(connection: Connection, visit: Visit) -> None:
        shelf = shelves.setdefault(ledger.life, _Shelf(files, ledger))
        await UploadServer(shelf, limits, _ignore).serve(throttled.throttled(connection), visit)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_visits, listener, serve, Admission(limits))
            nursery.start_soon(announcer.run)
            announcer.offer((name, _announcement(digest)) for name, (_, digest) in files.items())
            await announcer.wait_first_round()
            await announcer.wait_settled()
            task_status.started(listener.address)
    finally:
        listener.close()


def _announcement(digest: FileDigest) -> Announcement:
    return Announcement(digest.state.size, digest.digests.md5, digest.digests.b3)


def _ignore(event: Event) -> None:
    """The lab looks at the ledger."""
