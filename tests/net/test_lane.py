"""Costly answers: one at a time, in turns of addresses, slice by slice, and no more of them than fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from osp2p.limits import Limits
from osp2p.net import Visit
from osp2p.net.lane import Lane, Making, make_at_once
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


def making(steps: list[str], name: str, slices: int) -> Making:
    for number in range(slices):
        steps.append(f"{name}{number}")
        yield
    return name.encode()


async def test_answers_are_made_one_at_a_time_with_turns_for_others_between_their_slices() -> None:
    lane = Lane(LIMITS)
    steps: list[str] = []
    answers: list[bytes] = []

    async def ask(name: str) -> None:
        answers.append(await lane.make(name, making(steps, name, 50)))

    async def other() -> None:
        for _ in range(20):
            await trio.lowlevel.checkpoint()
            steps.append("other")

    async with trio.open_nursery() as nursery:
        for name in ("a", "b"):
            nursery.start_soon(ask, name)
        nursery.start_soon(other)
    own = [step for step in steps if step != "other"]
    assert sorted(answers) == [b"a", b"b"]
    assert own in ([f"{name}{number}" for name in order for number in range(50)] for order in ("ab", "ba"))
    assert 15 < len(steps[: -1 - steps[::-1].index("other")]) < 70  # it did not wait for the end of an answer


def test_an_answer_can_be_made_at_once() -> None:
    steps: list[str] = []
    assert make_at_once(making(steps, "a", 3)) == b"a"
    assert steps == ["a0", "a1", "a2"]


async def test_who_gives_up_waiting_loses_nobodys_turn(autojump_clock: MockClock) -> None:
    lane = Lane(LIMITS)
    done: list[int] = []

    async def ask(number: int, patience: float) -> None:
        with trio.move_on_after(patience):
            async with lane.turn(f"source {number}"):
                await trio.sleep(1)
                done.append(number)

    async with trio.open_nursery() as nursery:
        # Two give up in the queue, one in its turn.
        for number, patience in enumerate([10, 0.5, 1.5, 0.9, 100, 100]):
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
                await trio.sleep_forever()

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
