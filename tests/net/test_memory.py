"""The network in memory: it must behave as the real one where tests rely on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectFailed, ConnectionLost, ListenFailed, LocalProtocolError
from osp2p.net import Connection, MemoryNetwork, Network
from osp2p.wire.address import Address


async def pair(capacity: int = 10) -> tuple[Connection, Connection]:
    """A connected pair: who connected, who accepted."""
    network = MemoryNetwork("10.0.0.1", capacity=capacity)
    listener = await network.listen(80)
    here = await network.host("10.0.0.2").connect("10.0.0.1", 80)
    return here, await listener.accept()


async def receive_all(connection: Connection) -> bytes:
    data = b""
    while block := await connection.receive(7):
        data += block
    return data


async def test_both_ends_agree_on_their_addresses() -> None:
    here, there = await pair()
    assert here.remote == there.local == Address("10.0.0.1", 80)
    assert here.local == there.remote
    assert here.local.host == "10.0.0.2"


async def test_bytes_arrive_in_order_and_then_the_end(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair()
    data = bytes(range(256)) * 3

    async def send() -> None:
        await here.send(data)
        await here.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await receive_all(there) == data
    assert await there.receive(1) == b""  # and stays the end
    await there.send(b"back")
    assert await here.receive(10) == b"back"


async def test_who_does_not_read_is_pushed_back_on(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair(capacity=10)
    await here.send(b"x" * 10)
    with trio.move_on_after(1) as scope:
        await here.send(b"y")
    assert scope.cancelled_caught
    assert await there.receive(100) == b"x" * 10


async def test_a_send_goes_on_as_soon_as_there_is_room(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair(capacity=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.send, b"x" * 15)
        await trio.testing.wait_all_tasks_blocked()
        assert await there.receive(6) == b"x" * 6
        await trio.testing.wait_all_tasks_blocked()
        assert await there.receive(100) == b"x" * 9
    assert trio.current_time() == 0


async def test_after_a_cancelled_send_nothing_more_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair(capacity=10)
    with trio.move_on_after(1):
        await here.send(b"x" * 15)
    assert await there.receive(100) == b"x" * 10
    with pytest.raises(ConnectionLost):
        await here.send(b"y")
    with trio.move_on_after(1) as scope:
        await there.receive(1)
    assert scope.cancelled_caught


async def test_two_sends_at_a_time_do_not_mix_their_bytes(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair(capacity=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.send, b"x" * 15)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionLost):
            await here.send(b"y")
        assert await there.receive(100) == b"x" * 10


async def test_two_that_receive_at_a_time_are_a_fault(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.receive, 1)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalProtocolError):
            await here.receive(1)
        await there.send(b"x")
    await there.send(b"y")
    assert await here.receive(1) == b"y"


async def test_a_cancelled_receive_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair()
    with trio.move_on_after(1):
        await here.receive(1)
    await there.send(b"x")
    assert await here.receive(10) == b"x"


async def test_receive_into_fills_from_the_start() -> None:
    here, there = await pair()
    await here.send(b"abc")
    buffer = bytearray(b"......")
    assert await there.receive_into(memoryview(buffer)[:2]) == 2
    assert await there.receive_into(memoryview(buffer)[2:]) == 1
    assert buffer == b"abc..."
    here.close()
    assert await there.receive_into(memoryview(buffer)) == 0


async def test_what_was_sent_before_a_close_arrives() -> None:
    here, there = await pair()
    await here.send(b"last")
    here.close()
    assert await receive_all(there) == b"last"
    with pytest.raises(ConnectionLost):
        await there.send(b"x")


async def test_an_abort_takes_back_what_has_not_arrived() -> None:
    here, there = await pair()
    await here.send(b"part")
    here.abort()
    here.abort()
    with pytest.raises(ConnectionLost, match="reset"):
        await there.receive(10)
    with pytest.raises(ConnectionLost):
        await there.send(b"x")


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_who_waits_notices_the_other_sides_end(autojump_clock: trio.testing.MockClock, end: str) -> None:
    here, there = await pair(capacity=10)

    async def blocked_send() -> None:
        with pytest.raises(ConnectionLost):
            await there.send(b"x" * 100)

    async def blocked_receive() -> None:
        if end == "close":
            assert await there.receive(1) == b""
        else:
            with pytest.raises(ConnectionLost):
                await there.receive(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(blocked_send)
        nursery.start_soon(blocked_receive)
        await trio.testing.wait_all_tasks_blocked()
        getattr(here, end)()


async def test_who_waits_notices_our_own_close(autojump_clock: trio.testing.MockClock) -> None:
    here, _ = await pair(capacity=10)

    async def expect_closed(blocked: str) -> None:
        with pytest.raises(ConnectionLost):
            await (here.send(b"x" * 100) if blocked == "send" else here.receive(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed, "send")
        nursery.start_soon(expect_closed, "receive")
        await trio.testing.wait_all_tasks_blocked()
        here.close()
    for call in (here.send(b"x"), here.receive(1), here.send_eof()):
        with pytest.raises(ConnectionLost, match="the connection is closed"):
            await call


async def test_who_waits_notices_the_others_end_of_a_direction(autojump_clock: trio.testing.MockClock) -> None:
    here, there = await pair()

    async def expect_end() -> None:
        assert await there.receive(1) == b""

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_end)
            await trio.testing.wait_all_tasks_blocked()
            await here.send_eof()


async def test_after_our_end_we_cannot_send() -> None:
    here, there = await pair()
    await here.send_eof()
    with pytest.raises(ConnectionLost):
        await here.send(b"x")
    assert await there.receive(1) == b""


async def test_a_file_is_sent_from_its_offset_to_its_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    here, there = await pair(capacity=10)
    with path.open("rb") as file:

        async def send() -> None:
            assert await here.send_file(file.fileno(), 20, 30) == 30
            assert await here.send_file(file.fileno(), 90, 30) == 10
            assert await here.send_file_some(file.fileno(), 100, 30) == 0
            await here.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await receive_all(there) == bytes([*range(20, 50), *range(90, 100)])


async def test_hosts_have_ports_of_their_own() -> None:
    one = MemoryNetwork("10.0.0.1")
    two = one.host("10.0.0.2")
    listener = await one.listen(80)
    assert listener.address == Address("10.0.0.1", 80)
    assert (await two.listen(80)).address == Address("10.0.0.2", 80)
    with pytest.raises(ListenFailed):
        await one.listen(80)
    listener.close()
    listener.close()
    await one.listen(80)


async def test_a_free_port_is_free() -> None:
    network = MemoryNetwork()
    ports = {(await network.listen(0)).address.port for _ in range(10)}
    assert len(ports) == 10


async def test_loopback_names_mean_the_own_host() -> None:
    network = MemoryNetwork("10.0.0.1", ipv6_address="fd00::1")
    await network.listen(80)
    await network.listen(80, "::")
    assert (await network.connect("localhost", 80)).remote == Address("10.0.0.1", 80)
    assert (await network.connect("127.0.0.1", 80)).remote == Address("10.0.0.1", 80)
    assert (await network.connect("::1", 80)).remote == Address("fd00::1", 80)
    with pytest.raises(ConnectFailed):
        await network.host("10.0.0.2").connect("127.0.0.1", 80)


async def test_ipv6_is_there_only_where_a_host_has_it() -> None:
    both = MemoryNetwork("10.0.0.1", ipv6_address="fd00::1")
    old = both.host("10.0.0.2")
    listener = await both.listen(80, "::")
    assert listener.address == Address("fd00::1", 80)
    assert (await both.host("10.0.0.3", "fd00::3").connect("fd00::1", 80)).local.host == "fd00::3"
    with pytest.raises(ConnectFailed):
        await old.connect("fd00::1", 80)
    with pytest.raises(ConnectFailed):
        await old.connect("10.0.0.1", 80)  # its IPv4 side does not listen
    with pytest.raises(ListenFailed):
        await old.listen(80, "::")
    assert both.local_addresses() == ["10.0.0.1"]
    assert both.local_ipv6_addresses() == ["fd00::1"]
    assert old.local_ipv6_addresses() == []


async def test_nobody_listens() -> None:
    network: Network = MemoryNetwork()
    with pytest.raises(ConnectFailed):
        await network.connect("10.9.9.9", 80)


async def test_a_closed_listener_says_so_and_lets_others_run(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.listen(80)

    async def expect_closed() -> None:
        with pytest.raises(ListenFailed):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed)
        await trio.testing.wait_all_tasks_blocked()
        listener.close()
    with trio.testing.assert_checkpoints(), pytest.raises(ListenFailed):
        await listener.accept()


async def test_who_was_not_accepted_when_the_listener_closed_is_reset() -> None:
    network = MemoryNetwork()
    listener = await network.listen(80)
    waiting = await network.connect("127.0.0.1", 80)
    listener.close()
    with pytest.raises(ConnectionLost):
        await waiting.receive(1)


async def test_a_cancelled_accept_loses_no_connection(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork()
    listener = await network.listen(80)
    await network.connect("127.0.0.1", 80)
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.accept()
    assert scope.cancelled_caught
    with trio.fail_after(1):
        await listener.accept()


async def test_every_wait_is_a_checkpoint() -> None:
    here, there = await pair()
    with trio.testing.assert_checkpoints():
        await here.send(b"x")
    with trio.testing.assert_checkpoints():
        await there.receive(1)
    with trio.testing.assert_checkpoints():
        await here.send_eof()
    network = MemoryNetwork()
    with trio.testing.assert_checkpoints():
        listener = await network.listen(80)
    with trio.testing.assert_checkpoints():
        await network.connect("127.0.0.1", 80)
    with trio.testing.assert_checkpoints():
        await listener.accept()
