"""Rate limits: exact over time, no delay at the start, shared by all who use one."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from osp2p.net.throttle import Throttle


async def _move(throttle: Throttle, total: int) -> None:
    while total:
        count = throttle.slice(total)
        await throttle.moved(count)
        total -= count


@pytest.mark.parametrize("rate", [2_000, 100_000, 12_500_000, 1_000_000_000])
@pytest.mark.parametrize("tasks", [1, 5])
async def test_ten_seconds_of_bytes_take_ten_seconds(autojump_clock: MockClock, rate: int, tasks: int) -> None:
    throttle = Throttle(rate)
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(_move, throttle, 10 * rate // tasks)
    assert 9.5 <= trio.current_time() - started <= 10.5


async def test_the_first_bytes_are_not_held_back(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    await Throttle(1000).moved(100)
    assert trio.current_time() == started


async def test_a_pause_is_not_made_up_for_with_a_burst(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000)
    await throttle.moved(500)
    await trio.sleep(100)
    started = trio.current_time()
    await _move(throttle, 2000)
    assert trio.current_time() - started >= 1.8


async def test_without_a_rate_nothing_waits(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    started = trio.current_time()
    await throttle.moved(10**12)
    assert trio.current_time() == started
    assert throttle.slice(10**12) == 10**12


@given(st.floats(1, 1e10), st.lists(st.tuples(st.integers(1, 10**7), st.floats(0, 5)), max_size=50))
def test_never_more_than_the_rate_and_one_bucket(rate: float, moves: list[tuple[int, float]]) -> None:
    throttle = Throttle(rate)
    now = start = 100.0
    total = 0
    for count, idle in moves:
        now = max(now, throttle.reserve(count, now)) + idle
        total += count
        assert total <= (now - start + 0.1) * rate * (1 + 1e-9) + 1
