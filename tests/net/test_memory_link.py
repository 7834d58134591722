"""Links in the memory network: rates are exact, shared in turn, in both directions, and nothing overtakes anything."""

from __future__ import annotations

import itertools
import random

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectFailed, ConnectionLost
from osp2p.net import Connection, Listener, MemoryNetwork
from osp2p.net.memory import MemoryConnection
from osp2p.net.memory_link import BLOCK_BYTES, Lane, Link

Clock = trio.testing.MockClock

RATE = 1_000_000.0
SIZE = 10 * BLOCK_BYTES


class World:
    """Hosts by number, each of which listens."""

    def __init__(self, *links: Link | None, capacity: int = 4 * BLOCK_BYTES) -> None:
        middle = MemoryNetwork("10.9.9.9", capacity=capacity)
        self.links = links
        self.hosts = [middle.host(f"10.0.0.{number}", link=link) for number, link in enumerate(links)]
        self.listeners: list[Listener] = []

    async def connect(self, source: int, target: int) -> tuple[Connection, Connection]:
        if not self.listeners:
            self.listeners = [await host.listen(1) for host in self.hosts]
        here = await self.hosts[source].connect(f"10.0.0.{target}", 1)
        return here, await self.listeners[target].accept()


async def send(connection: Connection, size: int) -> None:
    await connection.send(bytes(size))
    await connection.send_eof()


async def time_to_receive(connection: Connection) -> tuple[int, float]:
    """How many bytes came until the end, and when that was."""
    size = 0
    while data := await connection.receive(1 << 20):
        size += len(data)
    return size, trio.current_time()


async def transfer(*pairs: tuple[Connection, Connection], size: int = SIZE) -> list[float]:
    """Send over several connections at a time. Returns: the seconds that each took."""
    began = trio.current_time()
    took = [0.0] * len(pairs)

    async def receive(number: int, connection: Connection) -> None:
        count, ended = await time_to_receive(connection)
        assert count == size
        took[number] = ended - began

    async with trio.open_nursery() as nursery:
        for number, (sender, receiver) in enumerate(pairs):
            nursery.start_soon(send, sender, size)
            nursery.start_soon(receive, number, receiver)
    return took


def test_a_lane_carries_one_block_after_the_other() -> None:
    lane = Lane(100.0)
    assert [lane.carry(50, 0.0), lane.carry(100, 0.0), lane.carry(50, 0.2)] == [0.5, 1.5, 2.0]
    assert lane.carry(100, 10.0) == 11.0
    assert lane.carried == 300
    assert Lane(None).carry(10**9, 5.0) == 5.0


@pytest.mark.parametrize("where", ["up", "down"])
async def test_a_rate_is_exact(autojump_clock: Clock, where: str) -> None:
    links = (Link(up=RATE), Link()) if where == "up" else (Link(), Link(down=RATE))
    (took,) = await transfer(await World(*links).connect(0, 1))
    assert took == pytest.approx(SIZE / RATE)


async def test_the_slower_end_decides(autojump_clock: Clock) -> None:
    (took,) = await transfer(await World(Link(up=10 * RATE), Link(down=RATE)).connect(0, 1))
    assert took == pytest.approx(SIZE / RATE, rel=0.02)


async def test_directions_have_rates_of_their_own(autojump_clock: Clock) -> None:
    here, there = await World(Link(up=RATE, down=4 * RATE), None).connect(0, 1)
    took = await transfer((here, there), (there, here))
    assert took == pytest.approx([SIZE / RATE, SIZE / RATE / 4])


async def test_the_connections_of_a_host_share_its_uplink(autojump_clock: Clock) -> None:
    world = World(Link(up=RATE), None, None, None)
    pairs = [await world.connect(0, target) for target in (1, 2, 3)]
    took = await transfer(*pairs)
    assert took == pytest.approx([3 * SIZE / RATE] * 3, rel=0.08)
    assert max(took) == pytest.approx(3 * SIZE / RATE)


async def test_the_connections_of_a_host_share_its_downlink(autojump_clock: Clock) -> None:
    world = World(Link(down=RATE), None, None, None)
    pairs = [await world.connect(source, 0) for source in (1, 2, 3)]
    took = await transfer(*pairs)
    assert max(took) == pytest.approx(3 * SIZE / RATE)
    assert min(took) > 2.5 * SIZE / RATE


async def test_who_is_done_leaves_the_rest_to_the_others(autojump_clock: Clock) -> None:
    world = World(Link(up=RATE), None, None)
    long, short = await world.connect(0, 1), await world.connect(0, 2)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, long[0], 3 * SIZE)
        nursery.start_soon(send, short[0], SIZE)
        nursery.start_soon(time_to_receive, short[1])
        _, ended = await time_to_receive(long[1])
    assert ended - began == pytest.approx(4 * SIZE / RATE)


async def test_latency_counts_once_for_each_end(autojump_clock: Clock) -> None:
    world = World(Link(latency=0.1), Link(latency=0.2))
    began = trio.current_time()
    here, there = await world.connect(0, 1)
    assert trio.current_time() - began == pytest.approx(0.6)  # there and back
    began = trio.current_time()
    await here.send(b"x")
    assert trio.current_time() == began
    assert await there.receive(1) == b"x"
    assert trio.current_time() - began == pytest.approx(0.3)


async def test_what_is_small_does_not_wait_for_its_turn_but_takes_it(autojump_clock: Clock) -> None:
    world = World(Link(up=RATE), None, None)
    busy, quick = await world.connect(0, 1), await world.connect(0, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, busy[0], SIZE)
        nursery.start_soon(time_to_receive, busy[1])
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await quick[0].send(b"x" * 100)
        assert trio.current_time() == began
        await quick[1].receive(100)
        assert trio.current_time() - began == pytest.approx((BLOCK_BYTES + 100) / RATE)


async def test_nothing_overtakes_anything(autojump_clock: Clock) -> None:
    """Though a small block skips the queue at the other end."""
    here, there = await World(Link(up=10 * RATE), Link(down=RATE)).connect(0, 1)
    expected = b"".join(bytes([number]) * (20_000 if number % 2 else 10) for number in range(20))
    async with trio.open_nursery() as nursery:

        async def send_all() -> None:
            for number in range(20):
                await here.send(bytes([number]) * (20_000 if number % 2 else 10))
            await here.send_eof()

        nursery.start_soon(send_all)
        received = b""
        while data := await there.receive(7000):
            received += data
    assert received == expected


async def test_who_does_not_read_is_pushed_back_on(autojump_clock: Clock) -> None:
    world = World(Link(up=RATE), None, capacity=2 * BLOCK_BYTES)
    here, there = await world.connect(0, 1)
    with trio.move_on_after(1000) as scope:
        await here.send(bytes(3 * BLOCK_BYTES))
    assert scope.cancelled_caught
    assert len(await there.receive(1 << 20)) == 2 * BLOCK_BYTES
    with pytest.raises(ConnectionLost):
        await here.send(b"more")  # the stream is ruined


async def test_what_was_under_way_arrives_before_the_end(autojump_clock: Clock) -> None:
    here, there = await World(Link(latency=1.0), None).connect(0, 1)
    await here.send(b"last words")
    here.close()
    assert await there.receive(100) == b"last words"
    assert await there.receive(100) == b""


async def test_an_abort_loses_what_is_under_way(autojump_clock: Clock) -> None:
    here, there = await World(Link(latency=1.0, up=RATE), None).connect(0, 1)
    async with trio.open_nursery() as nursery:

        async def send_and_fail() -> None:
            with pytest.raises(ConnectionLost):
                await here.send(bytes(SIZE))

        nursery.start_soon(send_and_fail)
        await trio.sleep(0.05)
        here.abort()
    with pytest.raises(ConnectionLost):
        await there.receive(100)


async def test_who_stops_listening_meanwhile_refuses(autojump_clock: Clock) -> None:
    world = World(Link(latency=1.0), None)
    await world.connect(0, 1)

    async def connect() -> None:
        with pytest.raises(ConnectFailed):
            await world.hosts[0].connect("10.0.0.1", 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await trio.sleep(1)
        world.listeners[1].close()


async def test_a_host_reaches_itself_without_its_link(autojump_clock: Clock) -> None:
    world = World(Link(up=1.0, down=1.0, latency=5.0))
    began = trio.current_time()
    await transfer(await world.connect(0, 0))
    assert trio.current_time() == began


async def test_who_waits_for_a_block_is_woken_once(autojump_clock: Clock) -> None:
    """What follows a block that is under way already is no news: that halves what a large simulation costs."""
    network = MemoryNetwork("10.0.0.1", link=Link(latency=0.1))
    listener = await network.listen(1)
    client = await network.host("10.0.0.2", link=Link(latency=0.1)).connect("10.0.0.1", 1)
    server = await listener.accept()
    waits = 0
    wait = client._in.wait_readable

    async def count() -> None:
        nonlocal waits
        waits += 1
        await wait()

    client._in.wait_readable = count  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(received, client, 5)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            await server.send(b"%d" % number)
    assert waits == 2


async def received(connection: MemoryConnection, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await connection.receive(count)
    return data


async def test_bytes_of_many_blocks_come_in_pieces_of_any_size(autojump_clock: Clock) -> None:
    network = MemoryNetwork("10.0.0.1", link=Link(1e6))
    listener = await network.listen(1)
    client = await network.host("10.0.0.2", link=Link(1e6)).connect("10.0.0.1", 1)
    server = await listener.accept()
    content = random.Random(1).randbytes(200_000)
    found = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.send, content)
        for size in itertools.cycle([1, 50_000, 7, 100_000, 33]):
            if len(found) == len(content):
                break
            if size % 2:
                found += await client.receive(size)
            else:
                buffer = bytearray(size)
                filled = await client.receive_into(memoryview(buffer))
                assert 0 < filled <= size
                found += buffer[:filled]
    assert bytes(found) == content
