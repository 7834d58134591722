"""Connections that rest between calls are closed when they have rested too long, or are too many."""

from __future__ import annotations

import dataclasses

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from osp2p.errors import ConnectionLost
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.net.elapsed import ElapsedTime
from osp2p.rpc.connection import CallConnection
from osp2p.rpc.resting import RestingConnections
from tests.rpc.nodes import Clock, open_peer

LIMITS = dataclasses.replace(Limits(), call_idle=10.0, max_idle_calls=3)


class Line(CallConnection):
    """A connection to nowhere that knows when it was closed."""

    def __init__(self) -> None:
        self.used_at = float("-inf")
        self.closed_at: float | None = None

    def close(self) -> None:
        assert self.closed_at is None
        self.closed_at = trio.current_time()


async def test_each_is_closed_when_it_has_rested_for_so_long(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    resting = RestingConnections(LIMITS)
    nursery.start_soon(resting.run)
    lines = [Line() for _ in range(3)]
    began = trio.current_time()
    for line in lines:
        resting.add("a" if line is lines[0] else "b", line)
        await trio.sleep(4)
    assert resting.take("b") is lines[2]  # at 12: the first one went at 10
    assert resting.take("a") is None
    await trio.sleep(1)
    resting.add("b", lines[2])
    await trio.sleep(100)
    assert [line.closed_at and line.closed_at - began for line in lines] == [10, 14, 23]
    assert len(resting) == 0
    late = Line()
    resting.add("a", late)
    await trio.sleep(11)
    assert late.closed_at == began + 123


async def test_without_anybody_who_closes_them_none_that_has_rested_is_taken(autojump_clock: MockClock) -> None:
    resting = RestingConnections(LIMITS)
    old, new = Line(), Line()
    resting.add("a", old)
    await trio.sleep(9)
    resting.add("a", new)
    await trio.sleep(1)
    assert resting.take("a") is new
    assert resting.take("a") is None
    assert old.closed_at is not None


async def test_a_machine_that_slept_has_kept_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """What is at the other end is most likely gone; who called over it would wait in vain."""
    asleep = 0.0
    resting = RestingConnections(LIMITS, ElapsedTime(lambda: asleep))
    nursery.start_soon(resting.run)
    lines = [Line(), Line(), Line()]
    resting.add("a", lines[0])
    await trio.sleep(1)
    asleep = 3600.0
    assert resting.take("a") is None
    assert lines[0].closed_at is not None
    resting.add("b", lines[1])
    asleep = 3605.0
    assert resting.take("b") is lines[1]
    resting.add("b", lines[2])
    began = trio.current_time()
    await trio.sleep(100)
    assert lines[2].closed_at == began + 10


async def test_of_too_many_the_one_that_has_rested_longest_goes(autojump_clock: MockClock) -> None:
    resting = RestingConnections(LIMITS)
    lines = [Line() for _ in range(5)]
    for number, line in enumerate(lines):
        resting.add(str(number), line)
    assert [line.closed_at is None for line in lines] == [False, False, True, True, True]
    resting.close_all_to("3")
    resting.close_all_to("nobody")
    assert [line.closed_at is None for line in lines] == [False, False, True, False, True]
    resting.close()
    assert all(line.closed_at is not None for line in lines)


@given(st.lists(st.tuples(st.sampled_from("atcs"), st.integers(0, 3)), max_size=40))
def test_a_connection_rests_or_is_taken_or_is_closed(steps: list[tuple[str, int]]) -> None:
    """Whatever is done in whatever order, none is lost, and none is two of these."""

    async def play() -> None:
        resting = RestingConnections(LIMITS)
        lines: list[Line] = []
        taken: list[CallConnection] = []
        for step, number in steps:
            if step == "a":
                lines.append(Line())
                resting.add(str(number), lines[-1])
            elif step == "t" and (line := resting.take(str(number))) is not None:
                taken.append(line)
            elif step == "c":
                resting.close_all_to(str(number))
            elif step == "s":
                await trio.sleep(number * 2.5)
            closed = [line for line in lines if line.closed_at is not None]
            assert len(resting) + len(taken) + len(closed) == len(lines)
            assert len(resting) <= LIMITS.max_idle_calls
            assert not any(line in taken for line in closed)

    trio.run(play, clock=MockClock(autojump_threshold=0))


async def test_a_node_that_was_called_is_left_in_time(
    autojump_clock: MockClock, networks: list[MemoryNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to make another call for that."""
    made: list[Connection] = []
    connect = networks[1].connect

    async def record(host: str, port: int) -> Connection:
        made.append(await connect(host, port))
        return made[-1]

    monkeypatch.setattr(networks[1], "connect", record)
    async with open_peer(networks[0], clock=Clock()) as callee, open_peer(networks[1], limits=LIMITS) as caller:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(caller.calls.call, callee.target, "clock.wait", 1)
        await trio.sleep(LIMITS.call_idle - 0.1)
        assert len(made) == 3
        for connection in made:
            await connection.send(b"\n")
        await trio.sleep(0.2)
        for connection in made:
            with pytest.raises(ConnectionLost):
                await connection.send(b"\n")
