"""Fetching whole copies: how an end is known, which holder comes next, and what stands for all failures."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from osp2p.content.store import Target
from osp2p.errors import (
    ChecksumMismatch,
    LocalProtocolError,
    NobodyHasIt,
    Stalled,
    TrackerUnreachable,
)
from osp2p.limits import KIB, MIB, Limits
from osp2p.net.memory import MemoryConnection
from osp2p.peer.base_fetch import Copy
from osp2p.peer.events import SourceFailed, TransferProgress
from osp2p.peer.tracker_facts import TrackerFacts
from tests.peer.holders import (
    CONTENT,
    NAME,
    REQUEST,
    Script,
    World,
    content_of,
    endless,
    gives,
    late,
    md5_of,
    never_closes,
    refuses,
    resets,
    silent,
    trickles,
)

LIMITS = Limits()


# --- how the end of a file is known ---


@pytest.mark.parametrize("verified", [True, False])
async def test_it_ends_where_the_holder_closes(
    autojump_clock: MockClock, world: World, target: Target, verified: bool
) -> None:
    holder = await world.add(gives(CONTENT))
    copy = await world.fetch(target, md5_of(CONTENT) if verified else None).run()
    assert content_of(copy) == CONTENT
    assert (copy.size, copy.verified) == (len(CONTENT), verified)
    assert trio.current_time() < LIMITS.silence_check
    assert holder.requests == [REQUEST]


async def test_it_ends_where_the_checksum_is_right_and_nothing_follows(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(never_closes(CONTENT))
    copy = await world.fetch(target).run()
    assert content_of(copy) == CONTENT
    assert copy.verified
    assert trio.current_time() <= 2 * LIMITS.silence_check


async def test_a_right_checksum_in_the_middle_is_no_end(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    async def goes_on(connection: object) -> None:
        assert isinstance(connection, MemoryConnection)
        await connection.send(CONTENT)
        await trio.sleep(LIMITS.silence_check / 2)
        await connection.send(b"more")
        await connection.send_eof()

    await world.add(goes_on)
    with pytest.raises(ChecksumMismatch):
        await world.fetch(target).run()


async def test_without_a_checksum_it_ends_after_silence(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(never_closes(CONTENT))
    copy = await world.fetch(target, None).run()
    assert content_of(copy) == CONTENT
    assert not copy.verified
    assert LIMITS.silence_is_end <= trio.current_time() <= LIMITS.silence_is_end + 2 * LIMITS.silence_check


async def test_without_a_checksum_it_ends_at_the_announced_size(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(never_closes(CONTENT), size=b"%d" % len(CONTENT))
    copy = await world.fetch(target, None).run()
    assert content_of(copy) == CONTENT
    assert trio.current_time() <= 2 * LIMITS.silence_check


async def test_less_than_the_announced_size_is_no_file(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(gives(CONTENT), size=b"%d" % (len(CONTENT) + 1))
    with pytest.raises(Stalled, match="announced"):
        await world.fetch(target, None).run()
    assert world.left_behind() == []


@pytest.mark.parametrize("md5", [None, md5_of(CONTENT)])
@pytest.mark.parametrize("lie", [5, 1 << 60])
async def test_a_size_binds_only_the_holder_of_whom_it_was_claimed(
    autojump_clock: MockClock, world: World, target: Target, md5: bytes | None, lie: int
) -> None:
    await world.add(silent, size=b"%d" % lie)
    await world.add(gives(CONTENT))
    copy = await world.fetch(target, md5, size=lie).run()
    assert content_of(copy) == CONTENT


@pytest.mark.parametrize("lie", [b"5", b"%d" % (1 << 60)])
async def test_a_size_that_is_wrong_takes_nothing_from_what_its_checksum_proves(
    autojump_clock: MockClock, world: World, target: Target, lie: bytes
) -> None:
    await world.add(gives(CONTENT), size=lie)
    assert (await world.fetch(target).run()).verified


async def test_more_than_the_announced_size_is_not_read(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(endless(), size=b"1000")
    fetch = world.fetch(target, None)
    with pytest.raises(ChecksumMismatch, match="announced"):
        await fetch.run()
    assert fetch.fetched <= 64 * KIB


async def test_a_size_that_nobody_can_mean_is_no_size(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(gives(CONTENT), size=b"-1")
    await world.fetch(target, None).run()


async def test_a_reset_behind_all_the_bytes_takes_nothing_from_a_proved_file(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(resets(CONTENT))
    assert content_of(await world.fetch(target).run()) == CONTENT


async def test_a_reset_without_a_checksum_is_no_end(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(resets(CONTENT))
    with pytest.raises(Stalled):
        await world.fetch(target, None).run()


@pytest.mark.parametrize("script", [refuses, silent, resets(b"")])
async def test_no_byte_is_the_file_if_the_checksum_is_that_of_nothing(
    autojump_clock: MockClock, world: World, target: Target, script: Script
) -> None:
    await world.add(script)
    copy = await world.fetch(target, md5_of(b"")).run()
    assert content_of(copy) == b""
    assert (copy.size, copy.verified) == (0, True)
    assert trio.current_time() <= 2 * LIMITS.silence_check


@pytest.mark.parametrize("md5", [None, md5_of(CONTENT)])
async def test_no_byte_is_a_refusal_otherwise(
    autojump_clock: MockClock, world: World, target: Target, md5: bytes | None
) -> None:
    await world.add(refuses)
    with pytest.raises(NobodyHasIt, match="1 holder tried"):
        await world.fetch(target, md5).run()
    await world.add(gives(CONTENT))
    assert content_of(await world.fetch(target, md5).run()) == CONTENT


# --- which holder is asked, and when ---


async def test_the_request_comes_with_the_connection(autojump_clock: MockClock, world: World, target: Target) -> None:
    for _ in range(5):
        await world.add(late(2.0, gives(CONTENT)))
    await world.fetch(target).run()
    times = [times for holder in world.holders for times in holder.asked_at]
    assert len(times) > 1
    assert all(connected == asked for connected, asked in times)


async def test_a_fast_holder_is_asked_alone(autojump_clock: MockClock, world: World, target: Target) -> None:
    for _ in range(20):
        await world.add(trickles(CONTENT * 100, 5 * MIB // 20, 0.05))
    await world.fetch(target, md5_of(CONTENT * 100)).run()
    assert trio.current_time() > 3 * LIMITS.hedge_after
    assert sum(len(holder.requests) for holder in world.holders) == 1


async def test_no_connection_waits_beside_one_that_gives(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    for _ in range(8):
        await world.add(late(0.45, trickles(CONTENT * 20, MIB // 10, 0.05)))
    counts: list[int] = []

    async def look() -> None:
        for time in (0.43, 0.47):
            await trio.sleep_until(time)
            counts.append(sum(holder.open for holder in world.holders))

    world.nursery.start_soon(look)
    await world.fetch(target, md5_of(CONTENT * 20), limits=replace(LIMITS, connect_stagger=0.2)).run()
    assert counts == [3, 1]


async def test_those_who_make_way_are_not_connected_any_longer(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    for _ in range(40):
        await world.add(silent)
    counts: list[int] = []

    async def look() -> None:
        for time in range(1, 9):
            await trio.sleep_until(time + 0.5)
            counts.append(sum(holder.open for holder in world.holders))

    world.nursery.start_soon(look)
    with pytest.raises(Stalled):
        await world.fetch(target, limits=replace(LIMITS, max_connecting=4)).run()
    assert counts == [4] * 8
    assert all(holder.requests for holder in world.holders)


@pytest.mark.parametrize("size", [None, len(CONTENT) * 10, 1 << 60])
async def test_much_of_a_file_is_suspicious_whatever_size_is_claimed(
    autojump_clock: MockClock, world: World, target: Target, size: int | None
) -> None:
    for _ in range(2):
        await world.add(trickles(CONTENT * 10, MIB // 2, 0.1))
    limits = replace(LIMITS, unproved_before_hedge=MIB)
    await world.fetch(target, md5_of(CONTENT * 10), size=size, limits=limits).run()
    assert sum(len(holder.requests) for holder in world.holders) == 2


# --- what a content id proves ---


async def test_who_gives_another_content_than_the_wanted_one_leaves_it_to_the_next(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    liars = [await world.add(gives(bytes(number))) for number in (5, 1, 0)]
    honest = await world.add(late(3, gives(CONTENT)))
    fetch = world.fetch(target, md5_of(b"a MD5 does not count then"), wanted=CONTENT)
    copy = await fetch.run()
    assert content_of(copy) == CONTENT
    assert copy.verified
    assert [bool(fetch.sources[holder.entry.address].error) for holder in (*liars, honest)] == [True] * 3 + [False]
    assert world.left_behind() == [Path(copy.part.path).name]


async def test_where_all_give_another_content_it_is_a_mismatch(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    for _ in range(3):
        await world.add(gives(CONTENT[:-1]))
    with pytest.raises(ChecksumMismatch, match="another content id"):
        await world.fetch(target, None, wanted=CONTENT).run()
    assert world.left_behind() == []


async def test_an_empty_answer_is_the_file_if_its_content_id_says_so(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(gives(b""))
    assert (await world.fetch(target, None, wanted=b"").run()).size == 0


async def test_one_slow_holder_does_not_slow_the_file(autojump_clock: MockClock, world: World, target: Target) -> None:
    slow = await world.add(trickles(CONTENT, 1000, 1.0))
    fast = [await world.add(gives(CONTENT)) for _ in range(3)]
    fetch = world.fetch(target, holders=[slow])
    fetch._race.add(holder.entry for holder in fast)
    assert content_of(await fetch.run()) == CONTENT
    assert trio.current_time() < 2 * LIMITS.hedge_after
    assert slow.requests
    assert slow.open == 1
    await trio.sleep(2)
    assert slow.open == 0, "the loser's connection is closed"


async def test_slow_holders_are_asked_together(autojump_clock: MockClock, world: World, target: Target) -> None:
    for _ in range(10):
        await world.add(trickles(CONTENT, 10_000, 0.5))
    await world.fetch(target).run()
    asked = [holder for holder in world.holders if holder.requests]
    assert len(asked) == LIMITS.max_sources_per_file
    assert all(holder.most_open == 1 for holder in asked)
    assert len(world.left_behind()) == 1, "the losers' files are gone"


EVIL: dict[str, Script | None] = {
    "nobody listens": None,
    "closes": refuses,
    "silent": silent,
    "endless": endless(),
    "truncated": gives(CONTENT[:1000]),
    "wrong": gives(b"wrong" * 1000),
    "garbage": gives(random.Random(9).randbytes(5000)),
    "one byte, then silent": never_closes(CONTENT[:1]),
    "resets": resets(CONTENT[:70000]),
    "drips": trickles(CONTENT, 1, 2.0),
}


@pytest.mark.parametrize("evil", EVIL)
async def test_the_honest_holder_is_found_beside_an_evil_one(
    autojump_clock: MockClock, world: World, target: Target, evil: str
) -> None:
    limits = replace(LIMITS, unproved_before_hedge=MIB)
    await world.add(EVIL[evil])
    bad = world.holders[0]
    honest = await world.add(gives(CONTENT))
    fetch = world.fetch(target, limits=limits, holders=[bad])
    fetch._race.add([honest.entry])
    copy = await fetch.run()
    assert content_of(copy) == CONTENT
    assert copy.verified
    assert trio.current_time() < 3.0
    assert len(world.left_behind()) == 1


async def test_the_honest_holder_is_found_among_all_of_them(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    for _ in range(2):
        for script in EVIL.values():
            await world.add(script)
    honest = await world.add(late(0.3, gives(CONTENT)))
    fetch = world.fetch(target, holders=world.holders[:-1], limits=replace(LIMITS, unproved_before_hedge=MIB))
    fetch._race.add([honest.entry])
    copy = await fetch.run()
    assert content_of(copy) == CONTENT
    assert fetch.sources[honest.entry.address].fetched == len(CONTENT)
    assert len(world.left_behind()) == 1


async def test_killed_in_mid_transfer_it_continues_elsewhere(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    dying = await world.add(resets(CONTENT[:100_000]))
    other = await world.add(gives(CONTENT))
    fetch = world.fetch(target, holders=[dying])
    fetch._race.add([other.entry])
    assert content_of(await fetch.run()) == CONTENT
    (failed,) = [event for event in world.events if isinstance(event, SourceFailed)]
    assert (failed.name, failed.alias, failed.address) == (NAME, dying.entry.alias, dying.entry.address)
    assert fetch.sources[dying.entry.address].fetched == 100_000
    assert fetch.sources[dying.entry.address].error is not None
    assert fetch.sources[other.entry.address].error is None
    assert fetch.fetched == 100_000 + len(CONTENT)


async def test_one_that_was_cut_off_or_busy_is_asked_again(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    scripts = [resets(CONTENT[:1000]), refuses, gives(CONTENT)]

    async def better_each_time(connection: object) -> None:
        assert isinstance(connection, MemoryConnection)
        await scripts.pop(0)(connection)

    await world.add(better_each_time)
    assert content_of(await world.fetch(target).run()) == CONTENT
    assert 2 * LIMITS.retry_pause <= trio.current_time() < LIMITS.retry_window


async def test_asking_again_has_an_end(autojump_clock: MockClock, world: World, target: Target) -> None:
    holder = await world.add(refuses)
    with pytest.raises(NobodyHasIt):
        await world.fetch(target).run()
    assert trio.current_time() <= LIMITS.retry_window + 2 * LIMITS.retry_pause
    assert len(holder.requests) > 2


async def test_a_holder_that_appears_later_is_asked(autojump_clock: MockClock, world: World, target: Target) -> None:
    gone = await world.add(None)
    late_one = await world.add(gives(CONTENT))

    async def refreshed() -> TrackerFacts:
        return TrackerFacts((gone.entry, late_one.entry))

    world.refreshed = refreshed
    assert content_of(await world.fetch(target, holders=[gone]).run()) == CONTENT


async def test_trackers_that_are_gone_end_the_search_and_nothing_else(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(refuses)

    async def unreachable() -> TrackerFacts:
        raise TrackerUnreachable("gone")

    world.refreshed = unreachable
    with pytest.raises(NobodyHasIt):
        await world.fetch(target).run()


async def test_who_has_a_part_only_is_not_asked(autojump_clock: MockClock, world: World, target: Target) -> None:
    partial = await world.add(gives(CONTENT), part=b"yes")
    with pytest.raises(NobodyHasIt):
        await world.fetch(target).run()
    assert not partial.requests


async def test_250_fakes_are_got_past_in_seconds(autojump_clock: MockClock, world: World, target: Target) -> None:
    for number in range(250):
        await world.add(silent if number % 10 == 0 else refuses if number % 10 == 1 else None)
    honest = await world.add(gives(CONTENT))
    fetch = world.fetch(target, holders=world.holders[:-1])
    fetch._race.add([honest.entry])
    assert content_of(await fetch.run()) == CONTENT
    assert trio.current_time() < 5.0
    assert len(world.left_behind()) == 1


async def test_a_busy_old_peer_is_waited_for_though_silent_fakes_stand_before_it(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    for _ in range(40):
        await world.add(silent)
    await world.add(late(6.0, gives(CONTENT)))
    assert content_of(await world.fetch(target).run()) == CONTENT


# --- cancellation and reports ---


@pytest.mark.parametrize("script", [silent, trickles(CONTENT, 1000, 0.5), endless()])
async def test_cancelled_it_leaves_no_file_and_no_connection(
    autojump_clock: MockClock, world: World, target: Target, script: Script
) -> None:
    for _ in range(4):
        await world.add(script)
    with trio.move_on_after(3.0) as scope:
        await world.fetch(target, limits=replace(LIMITS, unproved_before_hedge=MIB)).run()
    assert scope.cancelled_caught
    assert world.left_behind() == []
    await trio.sleep(1)
    assert [holder.open for holder in world.holders] == [0] * 4


async def test_cancelled_in_the_moment_of_success_it_leaves_no_file(
    autojump_clock: MockClock, world: World, target: Target
) -> None:
    await world.add(gives(CONTENT))
    with trio.CancelScope() as scope:
        fetch = world.fetch(target)
        original = fetch._fetch_copy

        async def and_cancel(*arguments: object) -> Copy:
            copy = await original(*arguments)  # type: ignore[arg-type]
            scope.cancel()
            return copy

        fetch._fetch_copy = and_cancel  # type: ignore[assignment]
        await fetch.run()
    assert scope.cancelled_caught
    assert world.left_behind() == []


async def test_a_fault_of_ours_is_raised_as_it_is(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(gives(CONTENT))
    fetch = world.fetch(target)
    fetch._name = b""
    with pytest.raises(LocalProtocolError):
        await fetch.run()


async def test_progress_is_told_now_and_then(autojump_clock: MockClock, world: World, target: Target) -> None:
    await world.add(trickles(CONTENT, 1000, 0.01))
    await world.fetch(target, size=len(CONTENT)).run()
    told = [event for event in world.events if isinstance(event, TransferProgress)]
    assert 3.0 / LIMITS.progress_interval * 0.8 <= len(told) <= 3.0 / LIMITS.progress_interval + 2
    assert [event.done for event in told] == sorted({event.done for event in told})
    assert {event.size for event in told} == {len(CONTENT)}
    assert told[-1].sources == 1
