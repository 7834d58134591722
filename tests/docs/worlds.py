"""The worlds in which the documents' sessions are played: servers of ours on loopback, with known files.

``tracker``
    a tracker with ``--local``, at 11111 in the documents.
``node``
    the same, and the peer ``carol`` at 11112, who shares `FILES` and has told the tracker all about them.
``holder``
    an upload server at 11112, which has `FILES`, the first and the third chunk of ``film.bin``, and ``new.bin``,
    which nobody has hashed yet.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from osp2p.content.chunks import ChunkMap, chunk_bounds, chunk_count, chunk_hash, content_id
from osp2p.limits import Limits
from osp2p.net import TcpNetwork, serve_connections
from osp2p.peer import open_node
from osp2p.peer.events import Event, Registered
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.address import Address

#: When the files were last changed: long ago, so that nobody waits for their writer.
_LONG_AGO = 1_170_000_000

#: How trackers are started in the documents.
LOCAL = TrackerOptions(local=True)

TRACKER_PORT = 11111
PEER_PORT = 11112


def pattern(size: int) -> bytes:
    """The bytes of the documents' large files: number i is i modulo 251."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


FILES = {
    b"empty.txt": b"",
    b"notes.txt": b"hello, world\n",
    b"photos/red cat.jpg": pattern(600_000),
}

#: What the holder still fetches, and which chunks it has at first.
PARTIAL = (b"film.bin", pattern(1_000_000), (0, 2))

#: What the holder has not hashed yet.
UNHASHED = (b"new.bin", pattern(1000))


def _no_holder(chunk: int) -> None:
    raise LookupError("there is no holder in this world")


def _no_tracker() -> None:
    raise LookupError("there is no tracker in this world")


@dataclass
class World:
    """Where a session is played.

    Attributes:
        ports: the documents' ports to the real ones.
        arrive: makes the holder gain a chunk.
        end: ends the tracker.
    """

    ports: dict[int, int]
    arrive: Callable[[int], None] = _no_holder
    end: Callable[[], None] = _no_tracker


@asynccontextmanager
async def open_world(kind: str, directory: Path, options: TrackerOptions = LOCAL) -> AsyncIterator[World]:
    """Make a fresh world of one of the kinds above; it ends with the block.

    Args:
        directory: an empty one for its files.
        options: the tracker's.
    """
    if kind == "holder":
        async with _open_holder(directory) as world:
            yield world
    elif kind == "tracker":
        async with _open_tracker(options) as (port, end):
            yield World({TRACKER_PORT: port}, end=end)
    elif kind == "node":
        async with _open_tracker(options) as (port, end), _open_sharer(port, directory) as peer_port:
            yield World({TRACKER_PORT: port, PEER_PORT: peer_port}, end=end)
    else:
        raise LookupError(f"there is no world {kind}")


@asynccontextmanager
async def _open_tracker(options: TrackerOptions) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A tracker. Yields: its port, and what ends it."""
    scope = trio.CancelScope()

    async def serve(task_status: trio.TaskStatus[list[Address]]) -> None:
        with scope:
            await serve_tracker(
                network=TcpNetwork(),
                port=0,
                options=options,
                limits=Limits(),
                rng=random.Random(2007),
                task_status=task_status,
            )

    async with trio.open_nursery() as nursery:
        addresses: list[Address] = await nursery.start(serve)
        yield addresses[0].port, scope.cancel
        nursery.cancel_scope.cancel()


def write_files(directory: Path) -> None:
    """Put `FILES` into a directory."""
    for name, content in FILES.items():
        path = directory / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (_LONG_AGO, _LONG_AGO))


@asynccontextmanager
async def _open_sharer(tracker_port: int, directory: Path) -> AsyncIterator[int]:
    """The peer carol. Yields: her port, once the tracker knows every content id."""
    shared = directory / "shared"
    write_files(shared)
    news = trio.Event()

    def report(event: Event) -> None:
        nonlocal news
        if isinstance(event, Registered):
            news.set()
            news = trio.Event()

    tracker = f"127.0.0.1:{tracker_port}"
    cache = directory / "cache.sqlite"
    async with open_node(trackers=[tracker], alias=b"carol", port=0, cache=cache, report=report) as node:
        await node.share(shared)
        with trio.fail_after(20):
            while True:
                changed = news
                if all(b"b3" in entry.attributes for entry in await node.list_files()):
                    break
                await changed.wait()
        yield (await node.listen()).port


class _Shelf:
    """What the holder offers."""

    def __init__(self, offers: list[Offer]) -> None:
        self._offers = {offer.name: offer for offer in sorted(offers, key=lambda offer: offer.name)}

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self._offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return [
            offer for name, offer in self._offers.items() if name.startswith(prefix) and name > after and offer.complete
        ][:count]


def _offer(directory: Path, name: bytes, content: bytes, **known: Any) -> Offer:
    path = directory / os.fsdecode(name.replace(b"/", b"-"))
    path.write_bytes(content)
    return Offer(name, len(content), lambda: os.open(path, os.O_RDONLY), **known)


def hashes_of(content: bytes) -> bytes:
    """The hashes of a file's chunks in a row."""
    bounds = (chunk_bounds(len(content), index) for index in range(chunk_count(len(content))))
    return b"".join(chunk_hash(content[start : start + length]) for start, length in bounds)


def _hashed(directory: Path, name: bytes, content: bytes, **known: Any) -> Offer:
    hashes = hashes_of(content)
    return _offer(directory, name, content, b3=content_id(len(content), hashes), hashes=hashes, **known)


@asynccontextmanager
async def _open_holder(directory: Path) -> AsyncIterator[World]:
    name, content, have = PARTIAL
    chunks = ChunkMap(chunk_count(len(content)))
    for index in have:
        chunks.add(index)
    film = _hashed(directory, name, content, chunks=chunks)
    whole = [_hashed(directory, name, content) for name, content in FILES.items()]
    shelf = _Shelf([*whole, film, _offer(directory, *UNHASHED)])
    server = UploadServer(shelf, Limits(), lambda event: None)

    def arrive(chunk: int) -> None:
        chunks.add(chunk)
        film.notify()

    listener = await TcpNetwork().listen(0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connections, listener, server.serve, Limits())
            yield World({PEER_PORT: listener.address.port}, arrive)
            nursery.cancel_scope.cancel()
    finally:
        listener.close()
