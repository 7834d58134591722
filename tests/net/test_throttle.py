"""Rate limits: exact over time, no delay at the start, shared by all who use one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from osp2p.errors import ConnectionLost, TimedOut
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork
from osp2p.net.throttle import OwnTime, Throttle, ThrottledNetwork


async def _move(throttle: Throttle, total: int) -> None:
    while total:
        await throttle.ready()
        count = throttle.slice(total)
        throttle.moved(count, trio.current_time())
        total -= count
    await throttle.ready()


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
    throttle = Throttle(1000)
    await throttle.ready()
    throttle.moved(100, trio.current_time())
    await throttle.ready()
    assert trio.current_time() == started


async def test_a_pause_is_not_made_up_for_with_a_burst(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000)
    throttle.moved(500, trio.current_time())
    await trio.sleep(100)
    started = trio.current_time()
    await _move(throttle, 2000)
    assert trio.current_time() - started >= 1.8


async def test_without_a_rate_nothing_waits(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    started = trio.current_time()
    throttle.moved(10**12, trio.current_time())
    await throttle.ready()
    assert trio.current_time() == started
    assert throttle.slice(10**12) == 10**12


async def test_a_connection_obeys_both_limits(autojump_clock: MockClock) -> None:
    memory = MemoryNetwork()
    listener = await memory.listen(1)
    network = ThrottledNetwork(memory, up=100_000, down=200_000)
    client = await network.connect("127.0.0.1", 1)
    server = await listener.accept()
    for sender, receiver, total in [(client, server, 1_000_000), (server, client, 2_000_000)]:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, bytes(total))
            received = 0
            while received < total:
                with trio.move_on_after(0.02):  # a cancelled receive has lost nothing
                    received += len(await receiver.receive(65536))
        assert received == total
        assert 9.4 <= trio.current_time() - started <= 10.5


async def test_after_a_send_that_was_cancelled_between_two_slices_nothing_more_is_sent(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    memory = MemoryNetwork()
    listener = await memory.listen(1)
    here = await ThrottledNetwork(memory, 10_000, None).connect("127.0.0.1", 1)
    there = await listener.accept()
    with trio.move_on_after(0.5):
        await here.send(b"x" * 100_000)
    assert 0 < len(await there.receive(100_000)) < 100_000
    with pytest.raises(ConnectionLost, match="earlier send"):
        await here.send(b"y")
    with pytest.raises(ConnectionLost, match="earlier send"):
        await here.send_eof()
    (tmp_path / "file").write_bytes(b"y")
    with open(tmp_path / "file", "rb") as file, pytest.raises(ConnectionLost, match="earlier send"):
        await here.send_file(file.fileno(), 0, 1)


@pytest.mark.parametrize("limits", [(None, None), (None, 5.0), (5.0, None)])
async def test_without_a_limit_the_connection_is_as_it_was(limits: tuple[float | None, float | None]) -> None:
    memory = MemoryNetwork()
    await memory.listen(1)
    plain = await memory.connect("127.0.0.1", 1)
    assert (ThrottledNetwork(memory, *limits).throttled(plain) is plain) == (limits == (None, None))


async def test_who_looks_up_now_and_then_still_has_a_turn(autojump_clock: MockClock) -> None:
    """As a fetch does that sees, every quarter of a second, whether its holder is silent."""
    rate = 100_000.0
    network = ThrottledNetwork(MemoryNetwork(capacity=10_000_000), None, rate)
    listener = await network.listen(80)
    received = [0] * 40

    async def take(connection: Connection, number: int, patience: float) -> None:
        buffer = memoryview(bytearray(50_000))
        while True:
            with trio.move_on_after(patience):
                received[number] += await connection.receive_into(buffer)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            connection = await network.connect("127.0.0.1", 80)
            await (await listener.accept()).send(bytes(1_000_000))
            nursery.start_soon(take, connection, number, 0.25 if number % 2 else 1000.0)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert 0.9 * rate * 60 <= sum(received) <= 1.1 * rate * 60 + 40 * 5000
    assert min(received) >= 0.8 * max(received)


async def test_the_wait_for_our_own_turn_is_not_the_other_sides_time(autojump_clock: MockClock) -> None:
    network = ThrottledNetwork(MemoryNetwork(), None, 1000)
    listener = await network.listen(80)
    client = await network.connect("127.0.0.1", 80)
    server = await listener.accept()
    await server.send(bytes(10_000))
    received = 0
    with trio.move_on_after(3) as scope, OwnTime(client, scope) as own_time:
        while received < 10_000:
            received += len(await client.receive(65536))
        await trio.sleep(2)
        assert trio.current_time() == pytest.approx(12, rel=0.1)
        assert own_time.waited == pytest.approx(10, rel=0.1)
        await client.receive(1)
        raise AssertionError("the other side has fallen silent")
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(13, rel=0.1)


async def test_waits_in_both_directions_at_a_time_count_once(autojump_clock: MockClock) -> None:
    network = ThrottledNetwork(MemoryNetwork(capacity=1 << 20), 1000, 1000)
    listener = await network.listen(80)
    client = await network.connect("127.0.0.1", 80)
    server = await listener.accept()
    await server.send(bytes(10_000))

    async def receive() -> None:
        received = 0
        while received < 10_000:
            received += len(await client.receive(65536))

    with trio.fail_after(3) as scope, OwnTime(client, scope) as own_time:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(client.send, bytes(10_000))
        assert own_time.waited == pytest.approx(10, rel=0.1)
        assert scope.deadline - trio.current_time() == pytest.approx(3, abs=0.2)


async def test_a_cancelled_wait_leaves_the_deadline_as_it_was(autojump_clock: MockClock) -> None:
    network = ThrottledNetwork(MemoryNetwork(), None, 1000)
    listener = await network.listen(80)
    client = await network.connect("127.0.0.1", 80)
    await (await listener.accept()).send(bytes(10_000))
    with trio.move_on_after(5) as scope, OwnTime(client, scope):
        await client.receive(65536)
        with trio.move_on_after(0.5):
            await client.receive(65536)
        assert scope.deadline == pytest.approx(5.5)
        await client.receive(65536)


async def test_without_a_limit_there_is_no_own_time(autojump_clock: MockClock) -> None:
    memory = MemoryNetwork()
    listener = await memory.listen(80)
    client = await memory.connect("127.0.0.1", 80)
    await (await listener.accept()).send(b"x")
    with trio.move_on_after(5) as scope, OwnTime(client, scope) as own_time:
        await client.receive(1)
        await client.receive(1)
    assert scope.cancelled_caught
    assert (trio.current_time(), own_time.waited) == (5, 0)


async def test_lines_are_read_and_sent_by_deadlines_of_the_other_side(autojump_clock: MockClock) -> None:
    network = ThrottledNetwork(MemoryNetwork(capacity=1 << 20), 1000, 1000)
    listener = await network.listen(80)
    lines = LineConnection(await network.connect("127.0.0.1", 80), Limits())
    server = await listener.accept()
    await lines.send(bytes(20_000), trio.current_time() + 1)
    assert trio.current_time() == pytest.approx(20, rel=0.1)
    await server.send(b"x" * 3000 + b"\n" + b"FILE a\n" * 1000 + b"200 x\n")
    assert len(await lines.read_line(trio.current_time() + 1) or b"") == 3000
    assert len((await lines.read_reply(trio.current_time() + 1)).data) == 1000
    with pytest.raises(TimedOut):
        await lines.read_reply(trio.current_time() + 1)


@pytest.mark.parametrize("rate", [50_000.0, 1_000_000.0])
async def test_whether_a_limit_is_used_up(autojump_clock: MockClock, rate: float) -> None:
    network = ThrottledNetwork(MemoryNetwork(capacity=1 << 22), None, rate)
    listener = await network.listen(80)
    client = await network.connect("127.0.0.1", 80)
    assert not network.is_down_full
    await (await listener.accept()).send(bytes(int(rate)))
    for _ in range(10):
        await client.receive(65536)
    assert network.is_down_full
    await trio.sleep(10)
    assert not network.is_down_full
