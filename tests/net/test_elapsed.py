from __future__ import annotations

import time

import trio
from trio.testing import MockClock

from osp2p.net.elapsed import ElapsedTime, time_asleep


def test_the_machine_has_not_slept_in_between() -> None:
    before = time_asleep()
    time.sleep(0.01)
    assert abs(time_asleep() - before) < 0.5


async def test_sleep_counts_once_it_is_noticed(autojump_clock: MockClock) -> None:
    asleep = 100.0
    elapsed = ElapsedTime(lambda: asleep)
    began = elapsed.now()
    assert began == trio.current_time()
    asleep = 4000.0
    assert elapsed.now() == began
    elapsed.look()
    assert elapsed.now() == began + 3900
    assert elapsed.in_trio(elapsed.now() + 5) == trio.current_time() + 5
    await trio.sleep(7)
    assert elapsed.now() == began + 3907


async def test_time_never_goes_back(autojump_clock: MockClock) -> None:
    readings = [100.0, 100.2, 99.9, 100.9, 160.0, 159.0, 160.5, 90.0]
    elapsed = ElapsedTime(lambda: readings.pop(0))
    last = elapsed.now()
    while readings:
        elapsed.look()
        assert elapsed.now() >= last
        last = elapsed.now()
    assert last == trio.current_time() + 60
