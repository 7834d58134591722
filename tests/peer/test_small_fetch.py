"""A lane of small files: what a holder gives arrives, proved; what it does not is left, and nothing hangs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.content.chunks import chunk_hash, content_id
from osp2p.content.small_store import SmallStore
from osp2p.errors import ConnectionLost
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork, serve_connections
from osp2p.net.memory import MemoryConnection
from osp2p.peer.events import Event, TransferDone, TransferStarted
from osp2p.peer.small_fetch import SmallFetch, SmallFile
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

LIMITS = Limits(disk_reserve=0)
HOLDER = PeerEntry(b"holder", Address("10.0.0.2", 11112), {})
BODIES = [random.Random(number).randbytes(1 + number * 37) for number in range(300)]
GREETING = b"FEATURE content b3\n200 hello\n"


def answer(body: bytes) -> bytes:
    return b"DATA %d\n200 here it comes\n" % len(body) + body


@dataclass
class World:
    """One lane, and the holder's end of its connections."""

    directory: Path
    network: MemoryNetwork
    events: list[Event] = field(default_factory=list)
    left: list[bytes] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)
    visits: int = 0
    holders: int = 3
    seeding: float = 0.0
    prefix: bytes = b""
    failed: list[float] = field(default_factory=list)

    def file(self, number: int) -> SmallFile:
        body = BODIES[number]
        wanted = Wanted(b"%bf%d" % (self.prefix, number), self.directory / f"f{number}")
        return SmallFile(wanted, len(body), content_id(len(body), chunk_hash(body)), self.holders, None)

    @property
    def done(self) -> list[bytes]:
        return [event.name for event in self.events if isinstance(event, TransferDone)]

    async def fetch(self, *batches: Sequence[int]) -> None:
        """Run a lane to its end."""
        send, receive = trio.open_memory_channel[Sequence[SmallFile]](len(batches))
        for batch in batches:
            send.send_nowait([self.file(number) for number in batch])
        send.close()

        async def arrived(name: bytes, path: Path) -> None:
            assert path.exists()
            await trio.sleep(self.seeding)
            self.arrived.append(name)

        store = SmallStore(LIMITS, self.directory)
        lane = SmallFetch(
            HOLDER,
            network=self.network.host("10.0.0.1"),
            limits=LIMITS,
            store=store,
            places=trio.CapacityLimiter(1),
            leave=lambda file: self.left.append(file.wanted.name),
            fail=lambda: self.failed.append(trio.current_time()),
            arrived=arrived,
            report=self.events.append,
        )
        await lane.run(receive)
        store.close()


@asynccontextmanager
async def holder(world: World, *script: bytes | float | None) -> AsyncIterator[None]:
    """A holder that says what it is told to, pauses where a number stands, and closes at None; else it stays silent."""

    async def serve() -> None:
        listener = await world.network.host(HOLDER.address.host).listen(HOLDER.address.port, HOLDER.address.host)
        listening.set()
        while True:
            connection = await listener.accept()
            world.visits += 1
            nursery.start_soon(play, connection)

    async def play(connection: Connection) -> None:
        async with trio.open_nursery() as own:
            own.start_soon(drain, connection)
            for step in script:
                if step is None:
                    connection.close()
                    own.cancel_scope.cancel()
                elif isinstance(step, float):
                    await trio.sleep(step)
                else:
                    with suppress(ConnectionLost):  # the lane has had enough
                        await connection.send(step)

    async def drain(connection: Connection) -> None:
        while await connection.receive(65536):
            pass

    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await listening.wait()
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, MemoryNetwork())


@asynccontextmanager
async def serial_holder(world: World) -> AsyncIterator[None]:
    """A holder that answers one request after the other, as ours do: while it sends it does not read."""

    async def serve(connection: Connection) -> None:
        lines = LineConnection(connection, LIMITS)
        await connection.send(GREETING)
        await lines.read_line(10)
        while (line := await lines.read_line(1000)) is not None:
            await connection.send(answer(BODIES[int(line.split()[1].rpartition(b"f")[2])]))

    async with trio.open_nursery() as nursery:
        listener = await world.network.host(HOLDER.address.host).listen(HOLDER.address.port, HOLDER.address.host)
        nursery.start_soon(serve_connections, listener, serve, LIMITS)
        yield
        nursery.cancel_scope.cancel()


class Nobody(MemoryNetwork):
    """Where nobody answers, not even with a refusal."""

    def host(self, *arguments: object, **options: object) -> MemoryNetwork:
        return self

    async def connect(self, host: str, port: int) -> MemoryConnection:
        await trio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize("holders", [1, 2])
async def test_a_holder_that_is_not_there_is_waited_for_once(
    autojump_clock: trio.testing.MockClock, world: World, holders: int
) -> None:
    world.network, world.holders = Nobody(), holders
    await world.fetch([0, 1], [2], [3])
    assert world.left == [b"f0", b"f1", b"f2", b"f3"]
    # Where it is the only one, it has all the time that a connection may take.
    assert world.failed == [pytest.approx(LIMITS.connect_timeout if holders == 1 else LIMITS.hedge_after, abs=0.01)]


async def test_long_names_keep_nobody_waiting(autojump_clock: trio.testing.MockClock, world: World) -> None:
    world.prefix = bytes([0xC3]) * 1000
    async with serial_holder(world):
        await world.fetch(range(len(BODIES)))
    assert (len(world.done), world.left) == (len(BODIES), [])
    assert trio.current_time() < 1


async def test_files_arrive_over_one_connection_and_are_told_of(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    async with holder(world, GREETING, *map(answer, BODIES)):
        await world.fetch(range(len(BODIES)))
    assert world.done == world.arrived == [b"f%d" % number for number in range(len(BODIES))]
    assert [(world.directory / f"f{number}").read_bytes() for number in range(len(BODIES))] == BODIES
    assert world.visits == 1
    assert world.left == []
    assert world.events[0] == TransferStarted(b"f0", 1, 3)


async def test_a_refused_file_is_left_and_the_others_arrive(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    refused = b"B3 1234\n301 that name has another content here\n"
    async with holder(world, GREETING, answer(BODIES[0]), refused, b"303 busy\n", answer(BODIES[3])):
        await world.fetch(range(4))
    assert world.done == [b"f0", b"f3"]
    assert world.left == [b"f1", b"f2"]


async def test_wrong_bytes_end_the_lane_and_nothing_of_them_is_kept(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    wrong = bytes(len(BODIES[1]))
    async with holder(world, GREETING, answer(BODIES[0]), answer(wrong), answer(BODIES[2])):
        await world.fetch(range(3), range(3, 5))
    assert world.done == [b"f0"]
    assert sorted(world.left) == [b"f1", b"f2", b"f3", b"f4"]
    assert [path.name for path in world.directory.iterdir()] == ["f0"]
    assert world.visits == 1


@pytest.mark.parametrize(
    "script",
    [
        [None],
        [b"500 what is HELLO\n", None],
        [GREETING, answer(BODIES[0])[:-1], None],
        [GREETING, b"DATA 2\n200 longer\nxx"],
        [GREETING, b"200 nothing\n"],
        [GREETING, b"x" * 5000],
        [],
        [GREETING],
        [GREETING, b"DATA 1\n"],
    ],
)
async def test_a_holder_of_no_use_costs_little(
    autojump_clock: trio.testing.MockClock, world: World, script: list[bytes | float | None]
) -> None:
    begun = trio.current_time()
    async with holder(world, *script):
        await world.fetch([0, 1], [2])
    assert trio.current_time() - begun <= LIMITS.first_byte_timeout
    assert sorted(world.left) == [b"f0", b"f1", b"f2"]
    assert world.events == []
    assert list(world.directory.iterdir()) == []
    assert world.visits == 1


async def test_a_dripping_holder_is_given_up_by_an_absolute_deadline(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    body = answer(BODIES[20])
    drips: list[bytes | float | None] = [part for byte in body for part in (bytes([byte]), 1.0)]
    begun = trio.current_time()
    async with holder(world, GREETING, answer(BODIES[0]), *drips):
        await world.fetch([0, 20])
    assert trio.current_time() - begun <= LIMITS.first_byte_timeout + 1
    assert world.done == [b"f0"]
    assert world.left == [b"f20"]


async def test_what_is_done_with_the_files_is_not_counted_against_the_holder(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    world.seeding = LIMITS.first_byte_timeout / 3
    async with holder(world, GREETING, *map(answer, BODIES[:20])):
        await world.fetch(range(20))
    assert world.done == world.arrived == [b"f%d" % number for number in range(20)]
    assert world.left == []


async def test_a_holder_that_gives_one_tiny_file_now_and_then_is_given_up(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    pause = LIMITS.first_byte_timeout - 1
    drips: list[bytes | float | None] = [part for body in BODIES[:20] for part in (answer(body), pause)]
    begun = trio.current_time()
    async with holder(world, GREETING, *drips):
        await world.fetch(range(20))
    assert trio.current_time() - begun <= LIMITS.rate_window + LIMITS.first_byte_timeout
    assert sorted([*world.done, *world.left]) == sorted(b"f%d" % number for number in range(20))


async def test_nobody_there_leaves_everything(autojump_clock: trio.testing.MockClock, world: World) -> None:
    await world.fetch([0], [1])
    assert world.left == [b"f0", b"f1"]


async def test_a_target_that_is_taken_is_not_even_asked_for(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    (world.directory / "f1").write_bytes(b"mine")
    async with holder(world, GREETING, answer(BODIES[0]), answer(BODIES[2])):
        await world.fetch([0, 1, 2])
    assert world.done == [b"f0", b"f2"]
    assert world.left == [b"f1"]
    assert (world.directory / "f1").read_bytes() == b"mine"


async def test_cancelled_in_the_middle_only_whole_files_are_there(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    with trio.move_on_after(1) as scope:
        async with holder(world, GREETING, answer(BODIES[0]), answer(BODIES[9])[:-3]):
            await world.fetch([0, 9])
    assert scope.cancelled_caught
    assert [path.name for path in world.directory.iterdir()] == ["f0"]
