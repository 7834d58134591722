"""What the tests of fetches in chunks have in common."""

from __future__ import annotations

import random

import trio
import trio.testing

from osp2p.content.chunks import MIN_CHUNK
from osp2p.peer.chunk_client import Content
from osp2p.peer.chunk_fetch import ChunkFetch
from osp2p.peer.events import Event
from osp2p.wire.entry import PeerEntry
from tests.peer.odd_holders import (
    OddHolder,
    Twist,
)
from tests.peer.swarm import VIRTUAL, Peer, SharedStore, Swarm

SIZE = 20 * MIN_CHUNK - 77


def check_done(peer: Peer) -> None:
    """A peer has everything, each chunk written once, and its last progress event says so."""
    assert peer.error is None
    assert peer.store is not None
    size, count = peer.swarm.truth.content.size, peer.swarm.truth.content.count
    assert peer.store.chunks.complete
    assert len(peer.store.writes) == len(set(peer.store.writes))
    last = peer.progress[-1]
    assert (last.done, last.size) == (size, size)
    assert last.resumed == size - sum(
        min(MIN_CHUNK, size - index * MIN_CHUNK) for index in set(peer.store.writes) if index < count
    )


def add_odd(swarm: Swarm, twist: Twist) -> tuple[OddHolder, Peer]:
    holder = OddHolder(swarm.truth, twist)
    return holder, swarm.add(handler=holder.serve)


def fetch_of(content: Content, store: SharedStore, swarm: Swarm | None = None, peer: Peer | None = None) -> ChunkFetch:
    async def refresh() -> list[PeerEntry]:
        await trio.lowlevel.checkpoint()
        return []

    events: list[Event] = []
    return ChunkFetch(
        content,
        swarm.holders() if swarm else [],
        store,
        network=peer.network if peer else Swarm(0).network,
        limits=VIRTUAL,
        rng=random.Random(1),
        own=set,
        refresh=refresh,
        gained=lambda: None,
        report=events.append,
    )
