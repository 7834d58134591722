"""Taking connections: whatever one of them does, the others go on."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectionLost, LineTooLong, ListenFailed, LocalProtocolError
from osp2p.limits import Limits
from osp2p.net import Admission, Connection, MemoryNetwork, Visit, serve_connections, serve_visits
from osp2p.net.connection import Listener
from osp2p.net.groups import leaves
from osp2p.wire.address import Address

Handler = Callable[[Connection], Awaitable[None]]


async def echo(connection: Connection) -> None:
    while data := await connection.receive(100):
        await connection.send(data)


async def ask(connection: Connection, text: bytes = b"x") -> bytes:
    await connection.send(text)
    return await connection.receive(100)


class World:
    """A server on a host of its own, and clients on others."""

    def __init__(self) -> None:
        self.network = MemoryNetwork("10.0.0.1", ipv6_address="fd00::1")

    async def start(self, nursery: trio.Nursery, handler: Handler, limits: Limits | None = None) -> Listener:
        listener = await self.network.listen(80)
        nursery.start_soon(serve_connections, listener, handler, limits or Limits())
        return listener

    async def connect(self, host: str = "10.0.0.2") -> Connection:
        return await self.network.host(host).connect("10.0.0.1", 80)


@pytest.fixture
def world() -> World:
    return World()


def nursery_that_fails(*errors: Exception) -> Callable[[], Awaitable[None]]:
    """A handler's inner nursery, two tasks of which fail: what leaves it is a group."""

    async def fail(error: Exception) -> None:
        raise error

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for error in errors:
                nursery.start_soon(fail, error)

    return run


QUIET = [
    [ConnectionLost("gone")],
    [LineTooLong("long")],
    [ConnectionLost("gone"), LineTooLong("long")],
]
FAULTS = [
    [ValueError("bug")],
    [OSError(errno.EIO, "bug")],
    [LocalProtocolError("bug")],
    [ConnectionLost("gone"), KeyError("bug")],
    [ConnectionLost("gone"), LocalProtocolError("bug")],
]


@pytest.mark.parametrize("in_group", [False, True])
@pytest.mark.parametrize(
    ("errors", "is_fault"), [*((errors, False) for errors in QUIET), *((errors, True) for errors in FAULTS)]
)
async def test_a_failing_handler_ends_its_own_connection_alone(
    errors: list[Exception],
    is_fault: bool,
    in_group: bool,
    world: World,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    caplog.set_level(logging.DEBUG, "osp2p.net")

    async def handler(connection: Connection) -> None:
        while data := await connection.receive(100):
            if data == b"fail":
                if in_group or len(errors) > 1:
                    await nursery_that_fails(*errors)()
                raise errors[0]
            await connection.send(data)

    await world.start(nursery, handler)
    bystander, victim = await world.connect(), await world.connect()
    assert await ask(bystander) == b"x"
    assert await ask(victim, b"fail") == b""
    assert await ask(bystander) == b"x"
    assert await ask(await world.connect()) == b"x"

    records = [record for record in caplog.records if record.name == "osp2p.net"]
    assert [record.levelno >= logging.ERROR for record in records].count(True) == is_fault
    assert all(record.exc_info is not None for record in records if record.levelno >= logging.ERROR)
    assert any("10.0.0.2" in record.getMessage() for record in records)
    if is_fault:
        assert "bug" in caplog.text  # the traceback's last words
    else:
        assert [record.levelno for record in records] == [logging.DEBUG]
        assert all(str(error) in records[0].getMessage() for error in errors)


async def test_a_failure_while_everything_is_cancelled_does_not_escape(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """The group then holds cancellations and an error, and no plain ``except`` can take it apart."""

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ConnectionLost("while closing")

    async def handler(connection: Connection) -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(fail_when_cancelled)
            inner.start_soon(trio.sleep_forever)

    async with trio.open_nursery() as nursery:
        await world.start(nursery, handler)
        client = await world.connect()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await client.receive(1) == b""


async def test_a_handler_that_returns_ends_its_connection(world: World, nursery: trio.Nursery) -> None:
    async def handler(connection: Connection) -> None:
        await connection.send(b"bye")

    await world.start(nursery, handler)
    client = await world.connect()
    assert await client.receive(10) == b"bye"
    assert await client.receive(10) == b""


async def test_a_connection_at_its_own_moment_of_death(world: World, nursery: trio.Nursery) -> None:
    """Gone before it was accepted: its handler notices, and nobody else."""
    listener = await world.network.listen(80)
    early = await world.connect()
    early.abort()
    nursery.start_soon(serve_connections, listener, echo, Limits())
    assert await ask(await world.connect()) == b"x"


async def test_cancellation_closes_every_connection(world: World) -> None:
    async with trio.open_nursery() as nursery:
        await world.start(nursery, echo)
        clients = [await world.connect() for _ in range(20)]
        for client in clients:
            assert await ask(client) == b"x"
        nursery.cancel_scope.cancel()
    for client in clients:
        assert await client.receive(1) == b""


async def test_a_closed_listener_ends_the_taking_but_not_the_taken(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        listener = await world.start(nursery, echo)
        client = await world.connect()
        assert await ask(client) == b"x"
        listener.close()
        await trio.testing.wait_all_tasks_blocked()
        assert await ask(client) == b"x"
        client.close()
    # and serve_connections has returned


async def is_open(connection: Connection) -> bool:
    try:
        return await ask(connection) == b"x"
    except ConnectionLost:
        return False


async def test_one_address_has_so_many_connections_and_loses_its_oldest_for_one_more(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    await world.start(nursery, echo, Limits(max_connections_per_host=2))
    other = await world.connect("10.0.0.8")
    clients = [await world.connect("10.0.0.9") for _ in range(5)]
    await trio.testing.wait_all_tasks_blocked()
    assert [await is_open(client) for client in clients] == [False, False, False, True, True]
    assert await is_open(other)  # it came first, but its address has not too many


async def test_one_ipv6_network_counts_as_one(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A host has 2**64 addresses there: a limit for each would be none."""
    listener = await world.network.listen(80, "::")
    nursery.start_soon(serve_connections, listener, echo, Limits(max_connections_per_host=2))
    same = [
        await world.network.host("10.0.0.2", f"fd00:0:0:1:{rest}").connect("fd00::1", 80)
        for rest in (":1", ":2", "8000::1")
    ]
    other = await world.network.host("10.0.0.2", "fd00:0:0:2::1").connect("fd00::1", 80)
    await trio.testing.wait_all_tasks_blocked()
    assert [await is_open(client) for client in same] == [False, True, True]
    assert await is_open(other)


async def test_beyond_all_connections_the_longest_silent_leaves(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(connection: Connection, visit: Visit) -> None:
        while data := await connection.receive(100):
            visit.heard = True
            await connection.send(data)

    listener = await world.network.listen(80)
    nursery.start_soon(serve_visits, listener, handler, Admission(Limits(max_connections=3)))
    first, second, third = [await world.connect(f"10.0.0.{number}") for number in (2, 3, 4)]
    assert await ask(first) == b"x"
    fourth = await world.connect("10.0.0.5")
    assert [await is_open(client) for client in (first, second, third, fourth)] == [True, False, True, True]


async def test_where_nobody_may_be_sent_away_the_newcomer_is_turned_away(
    world: World, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(connection: Connection, visit: Visit) -> None:
        visit.admit()
        await echo(connection)

    listener = await world.network.listen(80)
    nursery.start_soon(
        serve_visits, listener, handler, Admission(Limits(max_connections=2, max_connections_per_host=1))
    )
    clients = [await world.connect() for _ in range(2)]  # who is admitted counts against no address
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(5):
        assert await (await world.connect("10.0.0.9")).receive(1) == b""
    assert [await is_open(client) for client in clients] == [True, True]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]  # and not five times
    clients[0].close()
    await trio.testing.wait_all_tasks_blocked()
    assert await is_open(await world.connect("10.0.0.9"))


async def test_who_is_sent_away_does_not_go_on_unseen(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A handler that waits for something else than its connection ends as well."""
    running = 0

    async def handler(connection: Connection) -> None:
        nonlocal running
        running += 1
        try:
            await trio.sleep_forever()
        finally:
            running -= 1

    await world.start(nursery, handler, Limits(max_connections_per_host=3))
    for _ in range(20):
        await world.connect()
    await trio.testing.wait_all_tasks_blocked()
    assert running == 3


class FailingListener:
    """Fails a number of times before the next connection, as accept(2) does when there are no descriptors left."""

    def __init__(self, listener: Listener, failures: int, number: int) -> None:
        self._listener = listener
        self._left = failures
        self._number = number
        self.calls: list[float] = []

    @property
    def address(self) -> Address:
        return self._listener.address

    async def accept(self) -> Connection:
        await trio.lowlevel.checkpoint()
        self.calls.append(trio.current_time())
        if self._left:
            self._left -= 1
            raise OSError(self._number, "made up")
        return await self._listener.accept()

    def fail_next(self, failures: int) -> None:
        self._left = failures

    def close(self) -> None:
        self._listener.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
async def test_a_failing_accept_is_tried_again_after_a_pause(
    number: int,
    world: World,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    listener = FailingListener(await world.network.listen(80), 5, number)
    nursery.start_soon(serve_connections, listener, echo, Limits(accept_backoff=0.5))
    assert await ask(await world.connect()) == b"x"
    assert listener.calls[:6] == [0, 0.5, 1, 1.5, 2, 2.5]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1  # not ten times a second for as long as there is nothing left to open


@pytest.mark.parametrize(("number", "helps"), [(errno.EMFILE, True), (errno.ENFILE, True), (errno.EPERM, False)])
async def test_a_shortage_costs_the_longest_silent_its_place_and_the_newcomer_nothing(
    number: int, helps: bool, world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    listener = FailingListener(await world.network.listen(80), 0, number)
    nursery.start_soon(serve_connections, listener, echo, Limits(accept_backoff=0.5))
    clients = [await world.connect(f"10.0.0.{number}") for number in (2, 3, 4)]
    await trio.testing.wait_all_tasks_blocked()
    listener.fail_next(1)
    clients.append(await world.connect("10.0.0.5"))  # is taken by the call that waits already
    clients.append(await world.connect("10.0.0.6"))
    assert await is_open(clients[-1])
    assert trio.current_time() == (0 if helps else 0.5)
    assert [await is_open(client) for client in clients] == [not helps, True, True, True, True]


async def test_a_listener_that_is_closed_at_once_ends_the_server() -> None:
    class ClosedListener(FailingListener):
        async def accept(self) -> Connection:
            await trio.lowlevel.checkpoint()
            raise ListenFailed("closed")

    listener = ClosedListener(await MemoryNetwork().listen(80), 0, 0)
    with trio.fail_after(1):
        await serve_connections(listener, echo, Limits())


async def test_the_interpreters_end_is_not_swallowed(world: World) -> None:
    async def handler(connection: Connection) -> None:
        raise SystemExit(3)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await world.start(nursery, handler)
            await world.connect()
    assert [type(leaf) for leaf in leaves(caught.value)] == [SystemExit]
