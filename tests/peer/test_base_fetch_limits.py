"""Limits of base transfers: patience, rates, sizes, and the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from osp2p.content.store import Part, Target, open_target
from osp2p.errors import (
    ConnectFailed,
    DiskFull,
    Stalled,
    StoreError,
    TooLarge,
)
from osp2p.limits import MIB, Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.net.memory import MemoryConnection
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from tests.peer.holders import (
    CONTENT,
    World,
    content_of,
    endless,
    gives,
    md5_of,
    never_closes,
    silent,
    trickles,
)

LIMITS = Limits()


# --- limits ---


@pytest.mark.parametrize("md5", [None, md5_of(CONTENT)])
async def test_who_gives_no_byte_is_given_up(
    autojump_clock: MockClock, world: World, target: Target, md5: bytes | None
) -> None:
    await world.add(silent)
    with pytest.raises(Stalled, match="10 s after 0 bytes"):
        await world.fetch(target, md5).run()
    assert trio.current_time() == pytest.approx(LIMITS.first_byte_timeout + LIMITS.retry_pause, abs=0.3)


async def test_who_falls_silent_is_given_up(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(never_closes(CONTENT[:5000]))
    with pytest.raises(Stalled, match="15 s after 5000 bytes"):
        await world.fetch(target).run()
    assert trio.current_time() == pytest.approx(LIMITS.idle_transfer_timeout + LIMITS.retry_pause, abs=0.3)


@pytest.mark.parametrize("md5", [None, md5_of(CONTENT)])
@pytest.mark.parametrize(("step", "pause"), [(1, 4.0), (12, 0.1)])
async def test_a_dripper_is_given_up(
    autojump_clock: MockClock, world: World, target: Target, md5: bytes | None, step: int, pause: float
) -> None:
    await world.add(trickles(CONTENT, step, pause))
    with pytest.raises(Stalled, match="slower than 128 bytes/s"):
        await world.fetch(target, md5).run()
    assert LIMITS.rate_window <= trio.current_time() <= LIMITS.rate_window + 5


@pytest.mark.parametrize("md5", [None, md5_of(CONTENT)])
async def test_a_few_just_above_the_least_rate_keep_no_other_from_being_asked(
    autojump_clock: MockClock, world: World, target: Target, md5: bytes | None
) -> None:
    for _ in range(2 * LIMITS.max_sources_per_file):
        await world.add(trickles(CONTENT, 50, 0.25))
    holders = list(world.holders)
    fetch = world.fetch(target, md5, holders=[*holders, await world.add(gives(CONTENT))])
    copy = await fetch.run()
    assert content_of(copy) == CONTENT
    assert trio.current_time() < 20


async def test_who_begins_well_and_drips_then_is_given_up(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    async def and_drips(connection: Connection) -> None:
        for start in range(0, 100_000, 1000):
            await connection.send(CONTENT[start : start + 1000])
            await trio.sleep(0.31)
        await trickles(CONTENT, 1, 4.0)(connection)

    await world.add(and_drips)
    with pytest.raises(Stalled, match="slower than 128 bytes/s"):
        await world.fetch(target).run()
    assert trio.current_time() <= 3 * LIMITS.rate_window + 5


async def test_a_slow_holder_above_the_least_rate_is_not_given_up(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(trickles(CONTENT[:20_000], 20, 0.1))
    assert content_of(await world.fetch(target, md5_of(CONTENT[:20_000])).run()) == CONTENT[:20_000]
    assert trio.current_time() > 3 * LIMITS.rate_window


async def test_who_does_not_take_the_request_is_given_up(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    holder = await world.add(gives(CONTENT))
    narrow = MemoryNetwork("10.0.0.1", world.network, capacity=4)
    await MemoryNetwork("10.0.9.9", world.network).listen(1)  # takes connections and reads nothing
    unread = replace(holder, entry=PeerEntry(b"unread", Address("10.0.9.9", 1)))
    with pytest.raises(Stalled):
        await world.fetch(target, network=narrow, holders=[unread]).run()
    assert trio.current_time() == pytest.approx(LIMITS.send_timeout + LIMITS.retry_pause, abs=0.3)


class BlackHole(MemoryNetwork):
    """A network from which no answer comes to one host."""

    async def connect(self, host: str, port: int) -> MemoryConnection:
        if host == "10.0.1.1":
            await trio.sleep_forever()
        return await super().connect(host, port)


async def test_a_connection_that_never_stands_is_no_connection(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    hole = BlackHole("10.0.0.1", world.network)
    await world.add(None)
    with pytest.raises(ConnectFailed):
        await world.fetch(target, network=hole).run()
    assert trio.current_time() == pytest.approx(LIMITS.connect_timeout + LIMITS.retry_pause, abs=0.3)
    await world.add(gives(CONTENT))
    assert content_of(await world.fetch(target, network=hole).run()) == CONTENT


async def test_larger_than_allowed(autojump_clock: MockClock, world: World, tmp_path: Path) -> None:
    limits = replace(LIMITS, max_size=len(CONTENT) - 1)
    for _ in range(20):
        await world.add(gives(CONTENT))
    with open_target(tmp_path / "cat.jpg", limits) as target:
        with pytest.raises(TooLarge, match="allowed"):
            await world.fetch(target, limits=limits).run()
        assert world.left_behind() == []
    assert sum(len(holder.requests) for holder in world.holders) == limits.max_oversized


async def test_an_endless_body_is_cut_and_the_honest_one_of_allowed_size_arrives(
    autojump_clock: MockClock, world: World, tmp_path: Path
) -> None:
    limits = replace(LIMITS, max_size=MIB)
    for _ in range(limits.max_oversized - 1):
        await world.add(endless())
    honest = await world.add(gives(CONTENT))
    with open_target(tmp_path / "cat.jpg", limits) as target:
        fetch = world.fetch(target, limits=limits, holders=world.holders[:-1])
        fetch._race.add([honest.entry])
        assert content_of(await fetch.run()) == CONTENT


# --- the disk ---


async def test_a_full_disk_is_one_clear_error(
    autojump_clock: MockClock, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osp2p.content.store._RESERVE_SHARE", 1)
    limits = replace(LIMITS, disk_reserve=1 << 60)
    for _ in range(20):
        await world.add(gives(CONTENT))
    with open_target(tmp_path / "cat.jpg", limits) as target:
        with pytest.raises(DiskFull, match="no space left"):
            await world.fetch(target, limits=limits).run()
        assert world.left_behind() == []
    assert list(tmp_path.iterdir()) == []


async def test_an_endless_body_that_fills_the_disk_leaves_room_for_the_honest_one(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    evil = await world.add(endless())
    honest = await world.add(gives(CONTENT))
    parts: list[Part] = []

    class Narrow(Part):
        def write_at(self, offset: int, data: memoryview | bytes) -> None:
            if offset + len(data) > 2 * len(CONTENT):
                raise DiskFull("no space left")
            super().write_at(offset, data)

    def new_part() -> Part:
        part = target.new_part()
        part.__class__ = Narrow
        parts.append(part)
        return part

    fetch = world.fetch(target, holders=[evil], new_part=new_part)
    fetch._race.add([honest.entry])
    assert content_of(await fetch.run()) == CONTENT
    assert len(parts) == 2


async def test_a_part_that_cannot_be_made_is_one_clear_error(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    def new_part() -> Part:
        raise StoreError("read-only file system")

    for _ in range(5):
        await world.add(gives(CONTENT))
    with pytest.raises(StoreError, match="read-only"):
        await world.fetch(target, new_part=new_part).run()
    assert sum(len(holder.requests) for holder in world.holders) == 1


async def test_many_holders_that_give_nothing_make_no_files(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    made = 0

    def new_part() -> Part:
        nonlocal made
        made += 1
        return target.new_part()

    for _ in range(50):
        await world.add(None)
    await world.add(gives(CONTENT))
    await world.fetch(target, new_part=new_part).run()
    assert made == 1
