"""Our own rate limits are not the others' fault: nobody is taken for slow or silent because of them, either way."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from osp2p.content.chunks import MIN_CHUNK
from osp2p.content.store import Target
from osp2p.errors import ChecksumMismatch, Stalled
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.net.throttle import ThrottledNetwork
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.wire.request import Request
from tests.peer.holders import CONTENT, World, gives, never_closes, trickles
from tests.peer.odd_holders import OddHolder, trickling, twisting
from tests.peer.swarm import VIRTUAL, Swarm

LIMITS = Limits()


class OneFile:
    """A shelf with one file."""

    def __init__(self, path: Path, body: bytes) -> None:
        path.write_bytes(body)
        state = path.stat()
        self.offer = Offer(b"f", len(body), lambda: os.open(path, os.O_RDONLY), mtime_ns=state.st_mtime_ns)

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offer

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return []


# --- what we send ---


@pytest.mark.parametrize("hello", [False, True])
async def test_many_honest_downloaders_share_a_low_limit(
    autojump_clock: MockClock, tmp_path: Path, hello: bool
) -> None:
    """Each gets less than a downloader has to take, and none of them is dropped for it."""
    body, count, rate = random.Random(1).randbytes(40_000), 20, 1000.0
    memory = MemoryNetwork()
    network = ThrottledNetwork(memory, rate, None)
    server = UploadServer(OneFile(tmp_path / "f", body), LIMITS, lambda event: None)
    listener = await memory.listen(80)
    received: list[bytes] = []

    async def download() -> None:
        connection = await memory.connect("127.0.0.1", 80)
        await connection.send(b"HELLO OSP2P/2\nGET f OSP2P/2\nQUIT\n" if hello else b"GET f OSP2P\n")
        data = b""
        while more := await connection.receive(65536):
            data += more
        received.append(data)
        connection.close()

    async def serve() -> None:
        connection = network.throttled(await listener.accept())
        await server.serve(connection)
        connection.close()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(serve)
            nursery.start_soon(download)
    assert rate / count < LIMITS.min_upload_rate
    assert len(received) == count
    assert all(body in data for data in received)
    assert trio.current_time() == pytest.approx(count * len(body) / rate, rel=0.05)


async def test_who_takes_nothing_is_dropped_in_spite_of_a_limit(autojump_clock: MockClock, tmp_path: Path) -> None:
    memory = MemoryNetwork(capacity=1000)
    network = ThrottledNetwork(memory, 10_000, None)
    server = UploadServer(OneFile(tmp_path / "f", bytes(100_000)), LIMITS, lambda event: None)
    listener = await memory.listen(80)
    connection = await memory.connect("127.0.0.1", 80)
    await connection.send(b"GET f OSP2P\n")
    with pytest.raises(Exception, match="takes less than"):
        await server.serve(network.throttled(await listener.accept()))
    assert trio.current_time() <= LIMITS.upload_rate_window + 1


# --- what we receive ---


async def test_whole_copies_under_a_very_low_limit(autojump_clock: MockClock, world: World, target: Target) -> None:
    """Below the least rate of a holder, and with pauses longer than the longest silence of one."""
    rate = 60.0
    assert rate < LIMITS.min_rate
    await world.add(gives(CONTENT[:20_000]))
    network = ThrottledNetwork(world.network, None, rate)
    await world.fetch(target, None, network=network).run()
    assert trio.current_time() == pytest.approx(20_000 / rate, rel=0.1)
    assert not world.events or all("silent" not in str(event) for event in world.events)


async def test_a_holder_is_silent_in_spite_of_a_limit(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(never_closes(CONTENT[:5000]))
    network = ThrottledNetwork(world.network, None, 10_000)
    with pytest.raises(Stalled, match="silent"):
        await world.fetch(target, network=network).run()
    assert trio.current_time() <= LIMITS.idle_transfer_timeout + 2


async def test_and_slow_in_spite_of_one(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(trickles(CONTENT, 10, 1.0))
    with pytest.raises(Stalled, match="slower"):
        await world.fetch(target, network=ThrottledNetwork(world.network, None, 10_000)).run()


@pytest.mark.parametrize(("rate", "seeds"), [(2_000.0, 1), (20_000.0, 40), (1_000_000.0, 40)])
async def test_chunks_under_a_very_low_limit(autojump_clock: MockClock, rate: float, seeds: int) -> None:
    """From however many holders, none of whom is left for it; and the limit is kept."""
    size = 2 * MIN_CHUNK if seeds == 1 else 12 * MIN_CHUNK
    swarm = Swarm(size)
    for _ in range(seeds):
        swarm.add(seed=True)
    peer = swarm.add(limit_down=rate)
    took = await swarm.run()
    assert peer.error is None
    assert peer.fetch is not None
    assert not peer.failed
    assert took >= 0.95 * size / rate - 0.1
    assert peer.fetch.fetched <= 1.5 * size
    assert took <= 1.6 * size / rate


async def test_a_slow_holder_is_no_stall_as_long_as_it_gives(autojump_clock: MockClock) -> None:
    """A chunk takes longer than a fetch may stand still."""
    swarm = Swarm(2 * MIN_CHUNK)
    holder = OddHolder(swarm.truth, trickling(2_000))
    swarm.add(handler=holder.serve)
    peer = swarm.add()
    assert VIRTUAL.stall_timeout < MIN_CHUNK / 2_000
    await swarm.run()
    assert peer.error is None


async def test_wrong_chunks_without_end_are_no_progress(autojump_clock: MockClock) -> None:
    """However many liars take turns: a fetch of which nothing ever comes is given up."""

    def wrong(request: Request, answer: bytes) -> bytes:
        return answer[:-1] + bytes([answer[-1] ^ 1])

    async def slowly_wrong(connection: Connection, request: Request, answer: bytes) -> None:
        await twisting(b"GET", wrong)(connection, request, answer)
        if request.verb == b"GET":
            await trio.sleep(1.0)

    limits = replace(VIRTUAL, max_chunk_sources=1, stall_timeout=20.0)
    swarm = Swarm(3 * MIN_CHUNK, limits)
    for _ in range(200):
        swarm.add(handler=OddHolder(swarm.truth, slowly_wrong).serve)
    peer = swarm.add()
    took = await swarm.run()
    assert isinstance(peer.error, ChecksumMismatch)
    assert took < 60
