"""Costly answers: one at a time, in turns of addresses, with time left for others, and no more of them than fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from osp2p.limits import Limits
from osp2p.net import Visit
from osp2p.net.lane import Lane
from osp2p.wire.address import Address

LIMITS = Limits()


async def test_a_source_gets_one_turn_for_each_that_others_get(autojump_clock: MockClock) -> None:
    lane = Lane(LIMITS)
    order: list[str] = []

    async def ask(source: str) -> None:
        async with lane.turn(source):
            order.append(source)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for source in ["first", *["crowd"] * 5, "one", "two", "two"]:
            nursery.start_soon(ask, source)
            await wait_all_tasks_blocked()
    assert order[0] == "first"
    assert order[1:6] == ["crowd", "one", "two", "crowd", "two"]
    assert order[6:] == ["crowd"] * 3


async def test_half_of_the_time_is_left_to_others(autojump_clock: MockClock) -> None:
    lane = Lane(LIMITS)
    begun: list[float] = []

    async def ask() -> None:
        async with lane.turn("x"):
            begun.append(trio.current_time())
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert begun == [0, 6, 12, 18]


async def test_who_gives_up_waiting_loses_nobodys_turn(autojump_clock: MockClock) -> None:
    lane = Lane(LIMITS)
    done: list[int] = []

    async def ask(number: int, patience: float) -> None:
        with trio.move_on_after(patience):
            async with lane.turn(f"source {number}"):
                await trio.sleep(1)
                done.append(number)

    async with trio.open_nursery() as nursery:
        # One gives up in the queue, one while the pause lasts, one in its turn.
        for number, patience in enumerate([10, 0.5, 1.5, 2.5, 100, 100]):
            nursery.start_soon(ask, number, patience)
            await wait_all_tasks_blocked()
    assert done == [0, 4, 5]
    async with lane.turn("afterwards"):
        pass


@pytest.mark.parametrize("given_first", [False, True])
async def test_a_cancelled_turn_that_was_just_given_is_passed_on(given_first: bool) -> None:
    lane = Lane(LIMITS)
    scope = trio.CancelScope()
    reached = trio.Event()

    async def give_up() -> None:
        with scope:
            async with lane.turn("a"):
                raise AssertionError("it was cancelled before")

    async def go_on() -> None:
        async with lane.turn("b"):
            reached.set()

    async with trio.open_nursery() as nursery:
        async with lane.turn("holder"):
            nursery.start_soon(give_up)
            await wait_all_tasks_blocked()
            nursery.start_soon(go_on)
            await wait_all_tasks_blocked()
            if not given_first:
                scope.cancel()
        scope.cancel()  # in the same moment in which it has the turn
        with trio.fail_after(5):
            await reached.wait()


class Client:
    def __init__(self) -> None:
        self.remote = Address("10.0.0.2", 1)
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_who_is_slow_longest_makes_room_for_further_answers() -> None:
    lane = Lane(replace(LIMITS, max_unsent_answers=100))
    clients = [Client() for _ in range(5)]
    visits = [Visit(client) for client in clients]  # type: ignore[arg-type]
    for visit in visits[:3]:
        lane.hold(visit, 30)
    lane.release(visits[1])
    lane.hold(visits[3], 30)
    assert [client.closed for client in clients] == [False] * 5
    lane.hold(visits[4], 30)
    assert [client.closed for client in clients] == [True, False, False, False, False]
    lane.hold(visits[2], 20)
    assert [client.closed for client in clients] == [True, False, True, False, False]
    lane.release(visits[3])
    lane.hold(visits[4], 100)  # alone it is too much, and nobody else would have more room if it left
    assert [client.closed for client in clients] == [True, False, True, False, False]
