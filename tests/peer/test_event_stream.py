"""Events in a row."""

from __future__ import annotations

import trio
import trio.testing

from osp2p.peer.event_stream import EventStream
from osp2p.peer.events import Event, FileRemoved


def event(number: int) -> Event:
    return FileRemoved(b"%d" % number)


async def test_events_come_in_order_and_end() -> None:
    stream = EventStream[Event]()
    for number in range(1000):
        stream.put(event(number))
    stream.close()
    assert [one async for one in stream] == [event(number) for number in range(1000)]
    assert [one async for one in stream] == []


async def test_what_waits_is_taken_a_hundred_at_a_time() -> None:
    stream = EventStream[Event]()
    for number in range(250):
        stream.put(event(number))
    stream.close()
    taken = [[one, *stream.waiting()] async for one in stream]
    assert [one for some in taken for one in some] == [event(number) for number in range(250)]
    assert [len(some) for some in taken] == [101, 101, 48]


async def test_a_reader_waits(autojump_clock: trio.testing.MockClock) -> None:
    stream = EventStream[Event]()
    found: list[tuple[float, Event]] = []

    async def read() -> None:
        begun = trio.current_time()
        found.extend([(trio.current_time() - begun, one) async for one in stream])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for number in range(3):
            await trio.sleep(1)
            stream.put(event(number))
        await trio.sleep(1)
        stream.close()
    assert found == [(1, event(0)), (2, event(1)), (3, event(2))]


async def test_a_reader_lets_others_go_on_and_can_be_cancelled() -> None:
    stream = EventStream[Event]()
    stream.put(event(0))
    taken = 0
    with trio.CancelScope() as scope:
        async for _ in stream:
            taken += 1
            stream.put(event(taken))  # it never ends by itself
            if taken == 10:
                scope.cancel()
    assert 10 <= taken <= 200
