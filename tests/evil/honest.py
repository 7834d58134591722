"""Who is honest in a world: our tracker, a holder of 2007, a sharer of ours, and the files that they have."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial

import trio

from osp2p.content.chunks import chunk_hash, content_id
from osp2p.errors import NetworkError
from osp2p.evil.words import cut
from osp2p.limits import Limits
from osp2p.net import Admission, Connection, MemoryNetwork, serve_visits
from osp2p.net.memory_link import Link
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.checksum import write_md5
from osp2p.wire.word import quote, unquote
from tests.evil.worlds import LIMITS, NAME, PEER_PORT, RATE, TRACKER, TRACKER_PORT, content

FILES = {NAME: content(3_000_000), b"small": content(1000)}

#: What is fetched among hundreds of liars, each of whom sends all of it.
FEWER_BYTES = {NAME: content(300_000), b"small": content(1000)}


@asynccontextmanager
async def our_tracker(network: MemoryNetwork, limits: Limits = LIMITS) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                serve_tracker,
                network=network.host(TRACKER),
                port=TRACKER_PORT,
                options=TrackerOptions(),
                limits=limits,
                rng=random.Random(7),
            )
        )
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def old_holder(
    network: MemoryNetwork, number: int, files: dict[bytes, bytes] | None = None, pause: float = 1.0
) -> AsyncIterator[str]:
    """An honest holder of 2007, registered at the tracker with its checksums, that takes its time before it serves."""
    host = f"10.0.3.{number}"
    here = network.host(host, link=Link(RATE, RATE, 0.001))
    files = files or {}

    async def serve(connection: Connection) -> None:
        try:
            line = b""
            while not line.endswith(b"\n") and (data := await connection.receive(4096)):
                line += data
            words = line.split()
            if len(words) == 3 and words[0] == b"GET":
                await trio.sleep(pause)
                await connection.send(files.get(unquote(words[1]), b""))
                await connection.send_eof()
                while await connection.receive(4096):
                    pass
        except NetworkError:
            return
        finally:
            connection.close()

    async def accept() -> None:
        listener = await here.listen(PEER_PORT)
        while True:
            nursery.start_soon(serve, await listener.accept())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        said = [
            b"HAVE %s %s" % (quote(name), write_md5(hashlib.md5(body, usedforsecurity=False).digest()))
            for name, body in files.items()
        ]
        await nursery.start(log_in, here, b"old%d" % number, said)
        yield host
        nursery.cancel_scope.cancel()


async def log_in(
    network: MemoryNetwork, alias: bytes, said: list[bytes], *, hello: bool = False, task_status: trio.TaskStatus[None]
) -> None:
    """Register at the tracker and stay."""
    login = await network.connect(TRACKER, TRACKER_PORT)
    hellos = [b"HELLO OSP2P/2"] if hello else []
    for line in (*hellos, b"ADDR %s %s:%d" % (alias, network.address.encode(), PEER_PORT), *said):
        await login.send(line + b"\n")
        await login.receive(4096)
    task_status.started()
    while True:
        await trio.sleep(60)
        await login.send(b"\n")


class _Shelf:
    """Offers from memory."""

    def __init__(self, files: dict[bytes, bytes]) -> None:
        self.offers = {name: _offer(name, body) for name, body in files.items()}

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return []


def _offer(name: bytes, body: bytes) -> Offer:
    fd = os.memfd_create("offer")
    os.write(fd, body)
    hashes = b"".join(chunk_hash(chunk) for chunk in cut(body))
    return Offer(name, len(body), lambda: os.dup(fd), b3=content_id(len(body), hashes), hashes=hashes)


@cache
def _shelf(size: int) -> _Shelf:
    """The offers of all files, whose largest has so many bytes: one shelf for all worlds, since nobody changes it."""
    return _Shelf(FILES if size == len(FILES[NAME]) else FEWER_BYTES)


@asynccontextmanager
async def sharer(
    network: MemoryNetwork, limits: Limits, files: dict[bytes, bytes], *, at_tracker: bool = True
) -> AsyncIterator[None]:
    """An upload server of ours with the files, registered at the tracker with all that proves them."""
    here = network.host("10.0.1.1", link=Link(RATE / 4, RATE / 4, 0.005))
    listener = await here.listen(PEER_PORT)
    shelf = _shelf(len(files[NAME]))
    server = UploadServer(shelf, limits, lambda event: None)
    said = []
    for name, offer in shelf.offers.items():
        assert offer.b3 is not None
        md5 = write_md5(hashlib.md5(files[name], usedforsecurity=False).digest())
        said.append(b"HAVE %s %s size=%d b3=%s" % (quote(name), md5, offer.size, offer.b3.hex().encode()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_visits, listener, server.serve, Admission(limits))
        if at_tracker:
            await nursery.start(partial(log_in, here, b"honest", said, hello=True))
        yield
        nursery.cancel_scope.cancel()
