"""Many files: which holder each is asked from, and what happens to those that the first one does not give."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.content.chunks import chunk_hash, content_id
from osp2p.errors import ConnectionLost, NobodyHasIt, Osp2pError, TrackerUnreachable
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork
from osp2p.net.memory import MemoryConnection
from osp2p.peer.event_stream import EventStream
from osp2p.peer.events import Event, TransferDone, TransferFailed
from osp2p.peer.many_fetch import ManyFetch
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.peer.transfer import GetOptions, Transfer
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry, PeerEntry

LIMITS = Limits(disk_reserve=0, max_lanes=7)
BODIES = {b"f%03d" % number: b"%d" % number * 20 for number in range(60)}


def b3_of(body: bytes) -> bytes:
    return content_id(len(body), chunk_hash(body))


@dataclass
class World:
    """Holders, what they have, and a tracker that knows who claims what."""

    directory: Path
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    claimed: dict[str, set[bytes]] = field(default_factory=dict)
    gives: dict[str, set[bytes]] = field(default_factory=dict)
    asked: dict[str, list[bytes]] = field(default_factory=dict)
    facts_asked: list[int] = field(default_factory=list)
    ordinary: list[bytes] = field(default_factory=list)
    tracker_gone_after: int | None = None
    vanish: str = ""
    slow: dict[str, float] = field(default_factory=dict)
    limits: Limits = LIMITS
    connected: int = 0
    most_connected: int = 0

    def add_holder(self, host: str, claims: Sequence[bytes], gives: Sequence[bytes] | None = None) -> None:
        self.claimed[host] = set(claims)
        self.gives[host] = set(claims if gives is None else gives)
        self.asked[host] = []

    async def facts(self, wanted: Sequence[Wanted]) -> list[TrackerFacts]:
        await trio.lowlevel.checkpoint()
        self.facts_asked.append(len(wanted))
        if self.tracker_gone_after is not None and len(self.facts_asked) > self.tracker_gone_after:
            raise TrackerUnreachable("the tracker is gone")
        return [self._facts_of(one.name) for one in wanted]

    def _facts_of(self, name: bytes) -> TrackerFacts:
        b3 = b3_of(BODIES[name])
        attributes = {b"v": b"2", b"b3": b3.hex().encode()}
        holders = [
            PeerEntry(host.encode(), Address(host, 11112), attributes)
            for host, names in self.claimed.items()
            if name in names
        ]
        return TrackerFacts(tuple(holders), b3=b3, size=len(BODIES[name]))

    async def serve(self, host: str, task_status: trio.TaskStatus[None]) -> None:
        listener = await self.network.host(host).listen(11112)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                nursery.start_soon(self._answer, host, await listener.accept())

    async def _answer(self, host: str, connection: Connection) -> None:
        self.connected += 1
        self.most_connected = max(self.most_connected, self.connected)
        with suppress(ConnectionLost):  # the lane has had enough
            await self._converse(host, connection)
        self.connected -= 1

    async def _converse(self, host: str, connection: Connection) -> None:
        lines = LineConnection(connection, LIMITS)
        while (line := await lines.read_line(trio.current_time() + 60)) is not None:
            words = line.split()
            if words[0] == b"HELLO":
                await connection.send(b"200 hello\n")
                continue
            self.asked[host].append(words[1])
            await trio.sleep(self.slow.get(host, 0))
            if words[1] in self.gives[host]:
                body = BODIES[words[1]]
                await connection.send(b"DATA %d\n200 ok\n%s" % (len(body), body))
            else:
                await connection.send(b"300 not here\n")

    def wanted(self, names: Sequence[bytes] = tuple(BODIES), *, listed: bool = True) -> list[Wanted]:
        return [Wanted(name, self.directory / name.decode(), listed=_entry(name) if listed else None) for name in names]

    async def run(self, wanted: Sequence[Wanted]) -> EventStream[Event]:
        """Returns: what happened."""
        events = EventStream[Event]()

        async def seed(name: bytes, path: Path) -> None:
            raise AssertionError("nothing is seeded")

        fetch = ManyFetch(
            GetOptions(beneath=self.directory),
            network=self.network.host("10.0.0.1"),
            limits=self.limits,
            rng=random.Random(5),
            facts=self.facts,
            transfer=self._transfer,
            seed=seed,
            events=events,
        )
        await fetch.run(wanted)
        return events

    async def fetch(self, wanted: Sequence[Wanted]) -> dict[bytes, str]:
        """Returns: how each file ended."""
        ended: dict[bytes, str] = {}
        async for event in await self.run(wanted):
            if isinstance(event, TransferDone):
                assert event.path.read_bytes() == BODIES[event.name]
                assert ended.setdefault(event.name, "done") == "done"
            elif isinstance(event, TransferFailed):
                assert ended.setdefault(event.name, "failed") == "failed"
        return ended

    def _transfer(self, wanted: Wanted, facts: TrackerFacts, options: GetOptions) -> Transfer:
        ordinary = self.ordinary
        vanished = self.directory / self.vanish if self.vanish else None

        class Failing(Transfer):
            def __init__(self) -> None:
                pass

            def failed(self, error: Osp2pError) -> TransferFailed:
                return TransferFailed(wanted.name, error)

            async def run(self) -> TransferDone:
                await trio.lowlevel.checkpoint()
                ordinary.append(wanted.name)
                if vanished is not None:
                    return TransferDone(wanted.name, vanished, 5, 5, 0, "b3", 0.0, False, ())
                raise NobodyHasIt("in this world the ordinary way gives nothing")

        return Failing()


def _entry(name: bytes) -> FileEntry:
    body = BODIES[name]
    return FileEntry(name, {b"size": b"%d" % len(body), b"b3": b3_of(body).hex().encode()})


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for host in world.claimed:
            await nursery.start(world.serve, host)
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


NAMES = list(BODIES)
ALL_DONE = dict.fromkeys(BODIES, "done")


async def test_listed_files_are_asked_for_after_a_sample(autojump_clock: trio.testing.MockClock, world: World) -> None:
    world.add_holder("10.0.0.2", NAMES)
    world.add_holder("10.0.0.3", NAMES)
    async with serving(world):
        assert await world.fetch(world.wanted()) == ALL_DONE
    assert sum(world.facts_asked) < 10
    assert sorted(world.asked["10.0.0.2"] + world.asked["10.0.0.3"]) == NAMES
    assert len(world.asked["10.0.0.2"]) > 10
    assert len(world.asked["10.0.0.3"]) > 10


async def test_files_that_stand_at_their_targets_are_neither_asked_for_nor_fetched(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    """Of those that stand there with another content, the ordinary way knows what to do."""
    world.add_holder("10.0.0.2", NAMES)
    for name in NAMES[:50]:
        (world.directory / name.decode()).write_bytes(BODIES[name])
    other = bytes(len(BODIES[NAMES[0]]))
    (world.directory / NAMES[0].decode()).write_bytes(other)
    (world.directory / NAMES[1].decode()).write_bytes(b"of another length")
    async with serving(world):
        events = [event async for event in await world.run(world.wanted())]
    done = {event.name: event for event in events if isinstance(event, TransferDone)}
    assert sorted(done) == NAMES[2:]
    assert [name for name in NAMES if name in done and done[name].already] == NAMES[2:50]
    assert all(done[name].fetched == 0 and done[name].verified == "b3" for name in NAMES[2:50])
    assert all(done[name].size == len(BODIES[name]) for name in done)
    assert sorted(world.asked["10.0.0.2"]) == NAMES[50:]
    assert sorted(world.ordinary) == NAMES[:2]
    assert sum(world.facts_asked) < 15
    assert (world.directory / NAMES[0].decode()).read_bytes() == other


async def test_files_are_on_the_disk_when_all_have_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[Path, int]] = []

    async def sync_filesystem(directory: Path) -> None:
        await trio.lowlevel.checkpoint()
        synced.append((directory, len(list(directory.iterdir()))))

    monkeypatch.setattr("osp2p.peer.many_fetch.sync_filesystem", sync_filesystem)
    world.add_holder("10.0.0.2", NAMES)
    async with serving(world):
        assert await world.fetch(world.wanted()) == ALL_DONE
    assert synced == [(world.directory, len(NAMES))]


async def test_scattered_files_are_asked_about_one_by_one(autojump_clock: trio.testing.MockClock, world: World) -> None:
    for third in range(3):
        world.add_holder(f"10.0.0.{2 + third}", NAMES[third::3])
    async with serving(world):
        assert await world.fetch(world.wanted()) == ALL_DONE
    for third in range(3):
        assert sorted(world.asked[f"10.0.0.{2 + third}"]) == NAMES[third::3]


async def test_many_holders_are_not_all_connected_to_at_a_time(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    for number, name in enumerate(NAMES):
        world.add_holder(f"10.0.0.{2 + number}", [name])
    async with serving(world):
        assert await world.fetch(world.wanted()) == ALL_DONE
    assert 1 < world.most_connected <= LIMITS.max_lanes


async def test_what_one_holder_refuses_another_gives(autojump_clock: trio.testing.MockClock, world: World) -> None:
    world.add_holder("10.0.0.2", NAMES, gives=NAMES[:20])
    world.add_holder("10.0.0.3", NAMES)
    async with serving(world):
        assert await world.fetch(world.wanted(listed=False)) == ALL_DONE
    assert world.ordinary == []


async def test_who_is_not_there_is_asked_for_one_file_and_for_no_other(
    autojump_clock: trio.testing.MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = [f"10.0.1.{number}" for number in range(5)]
    world.add_holder("10.0.0.2", NAMES)
    tried: list[str] = []
    async with serving(world):
        for host in dead:
            world.add_holder(host, NAMES)

        class Silent(MemoryNetwork):
            async def connect(self, host: str, port: int) -> MemoryConnection:
                tried.append(host)
                if host in dead:
                    await trio.sleep_forever()
                return await super().connect(host, port)

        monkeypatch.setattr(world.network, "host", lambda address: Silent(address, world.network))
        assert await world.fetch(world.wanted()) == ALL_DONE
    assert sorted(tried[: len(dead) + 1]) == sorted(["10.0.0.2", *dead])
    assert tried[len(dead) + 1 :] == ["10.0.0.2"]
    assert world.ordinary == []
    assert trio.current_time() < 2


async def test_without_lanes_all_go_the_ordinary_way(autojump_clock: trio.testing.MockClock, world: World) -> None:
    world.limits = replace(LIMITS, max_lanes=0, max_parallel_files=0)
    world.add_holder("10.0.0.2", NAMES)
    async with serving(world):
        with trio.fail_after(10):
            assert await world.fetch(world.wanted()) == dict.fromkeys(BODIES, "failed")
    assert sorted(world.ordinary) == NAMES


@pytest.mark.parametrize("others", [1, 0])
async def test_a_very_slow_holder_is_not_waited_for_where_others_are_through(
    autojump_clock: trio.testing.MockClock, world: World, others: int
) -> None:
    world.add_holder("10.0.0.2", NAMES)
    world.slow["10.0.0.2"] = 0.3
    if others:
        world.add_holder("10.0.0.3", NAMES)
    async with serving(world):
        assert await world.fetch(world.wanted()) == ALL_DONE
    assert world.ordinary == []
    if others:
        assert trio.current_time() < 5
        assert len(world.asked["10.0.0.3"]) > 0.8 * len(NAMES)
    else:
        assert trio.current_time() == pytest.approx(0.3 * len(NAMES), abs=1)


async def test_what_nobody_gives_in_a_lane_goes_the_ordinary_way(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    world.add_holder("10.0.0.2", NAMES, gives=NAMES[:50])
    async with serving(world):
        ended = await world.fetch(world.wanted())
    assert ended == {**ALL_DONE, **dict.fromkeys(NAMES[50:], "failed")}
    assert sorted(world.ordinary) == NAMES[50:]
    assert world.asked["10.0.0.2"].count(NAMES[55]) == 1


async def test_a_listing_that_is_out_of_date_is_not_believed(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    world.add_holder("10.0.0.2", NAMES)
    stale = FileEntry(NAMES[0], {b"size": b"5", b"b3": b"00" * 32})
    wanted = [Wanted(one.name, one.target, listed=FileEntry(one.name, stale.attributes)) for one in world.wanted()]
    async with serving(world):
        assert await world.fetch(wanted) == ALL_DONE


async def test_a_tracker_that_goes_ends_only_what_it_was_not_asked_yet(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    world.add_holder("10.0.0.2", NAMES, gives=NAMES[:30])
    world.tracker_gone_after = 1
    async with serving(world):
        ended = await world.fetch(world.wanted())
    assert ended == {**dict.fromkeys(NAMES[:30], "done"), **dict.fromkeys(NAMES[30:], "failed")}


async def test_no_tracker_at_the_beginning_is_an_error(autojump_clock: trio.testing.MockClock, world: World) -> None:
    world.tracker_gone_after = 0
    with pytest.RaisesGroup(TrackerUnreachable, flatten_subgroups=True):
        await world.fetch(world.wanted())


@pytest.mark.parametrize("vanished", ["vanished", "f000/below a file"])
async def test_a_file_that_somebody_takes_away_at_once_ends_nothing_else(
    autojump_clock: trio.testing.MockClock, world: World, vanished: str
) -> None:
    world.add_holder("10.0.0.2", NAMES, gives=NAMES[:20])
    world.vanish = vanished
    async with serving(world):
        done = [event.name async for event in await world.run(world.wanted()) if isinstance(event, TransferDone)]
    assert sorted(done) == NAMES
    assert sorted(world.ordinary) == NAMES[20:]
