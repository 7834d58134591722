"""TCP over real sockets."""

from __future__ import annotations

import errno
import gc
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectFailed, ConnectionLost, ListenFailed, LocalProtocolError
from osp2p.limits import Limits
from osp2p.net import Connection, Network, TcpNetwork, serve_connections
from osp2p.net.connection import Listener
from osp2p.net.tcp import TcpConnection, TcpListener
from osp2p.wire.address import Address

MIB = 1024 * 1024

#: More than a connection on loopback ever holds in its buffers.
PLENTY = 64 * MIB


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@asynccontextmanager
async def open_pair(host: str = "127.0.0.1") -> AsyncIterator[tuple[Connection, Connection]]:
    """A connected pair: who connected, who accepted."""
    listener = await TcpNetwork().listen(0, host)
    try:
        here = await TcpNetwork().connect(host, listener.address.port)
        there = await listener.accept()
    finally:
        listener.close()
    try:
        yield here, there
    finally:
        here.close()
        there.close()


async def receive_all(connection: Connection) -> int:
    """How many bytes come until the end."""
    total = 0
    while data := await connection.receive(MIB):
        total += len(data)
    return total


async def fill(connection: Connection) -> None:
    """Send until the other side's and our own kernel take nothing more."""
    with trio.move_on_after(0.2) as scope:
        await connection.send(bytes(PLENTY))
    assert scope.cancelled_caught


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


# --- connections ---


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_both_ends_agree_on_their_addresses(host: str) -> None:
    async with open_pair(host) as (here, there):
        assert here.remote == there.local
        assert here.local == there.remote
        assert here.remote.host == host
        assert isinstance(here.remote.port, int)


async def test_bytes_and_the_end_in_both_directions() -> None:
    async with open_pair() as (here, there):
        await here.send(b"abc")
        await here.send(memoryview(b"def"))
        await here.send(b"")
        await here.send_eof()
        assert await there.receive(2) == b"ab"
        buffer = bytearray(10)
        assert await there.receive_into(memoryview(buffer)) == 4
        assert buffer[:4] == b"cdef"
        assert await there.receive(10) == b""
        assert await there.receive_into(memoryview(buffer)) == 0
        await there.send(b"back")
        assert await here.receive(10) == b"back"
        there.close()
        assert await here.receive(10) == b""


async def test_a_send_longer_than_all_buffers_arrives_whole() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:

        async def send() -> None:
            await here.send(bytes(PLENTY))
            await here.send(b"end")
            await here.send_eof()

        nursery.start_soon(send)
        assert await receive_all(there) == PLENTY + 3


async def test_who_does_not_read_is_pushed_back_on_and_a_cancelled_send_is_the_last() -> None:
    async with open_pair() as (here, there):
        await fill(here)
        with pytest.raises(ConnectionLost, match="earlier send"):
            await here.send(b"x")
        with pytest.raises(ConnectionLost, match="earlier send"):
            await here.send_eof()
        with pytest.raises(ConnectionLost, match="earlier send"):
            await here.send_file_some(0, 0, 1)
        await there.send(b"still readable")
        assert await here.receive(100) == b"still readable"


async def test_two_sends_at_a_time_do_not_mix_their_bytes() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(here.send, bytes(PLENTY))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionLost):
            await here.send(b"x")
        total = 0
        while total < PLENTY:
            data = await there.receive(MIB)
            assert not data.strip(b"\0")
            total += len(data)


async def test_two_that_receive_at_a_time_are_a_fault() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(here.receive, 1)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalProtocolError):
            await here.receive(1)
        await there.send(b"x")


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with open_pair() as (here, there):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.receive, 1)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await there.send(b"x")
        assert await here.receive(10) == b"x"


async def test_a_reset_while_we_receive() -> None:
    async with open_pair() as (here, there):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_lost_receive, here)
            await trio.testing.wait_all_tasks_blocked()
            there.abort()
            there.abort()
        with pytest.raises(ConnectionLost):
            await here.send(b"x")


async def expect_lost_receive(connection: Connection) -> None:
    with pytest.raises(ConnectionLost):
        await connection.receive(1)


async def expect_lost_send(connection: Connection) -> None:
    with pytest.raises(ConnectionLost):
        await connection.send(bytes(PLENTY))


async def test_a_reset_in_the_middle_of_a_send() -> None:
    async with open_pair() as (here, there):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_lost_send, here)
            await there.receive(1)
            await trio.testing.wait_all_tasks_blocked()
            there.abort()
        with pytest.raises(ConnectionLost):
            await here.send(b"x")


async def test_a_close_with_bytes_unread_is_a_reset_for_the_sender() -> None:
    async with open_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(expect_lost_send, here)
        await there.receive(1)
        there.close()


@pytest.mark.parametrize("waiting", [expect_lost_receive, expect_lost_send])
async def test_our_own_close_wakes_who_waits(waiting: Callable[[Connection], Awaitable[None]]) -> None:
    async with open_pair() as (here, _), trio.open_nursery() as nursery:
        nursery.start_soon(waiting, here)
        await trio.testing.wait_all_tasks_blocked()
        here.close()
        here.close()
        here.abort()


async def test_after_our_own_close_every_call_says_that_it_is_closed() -> None:
    async with open_pair() as (here, there):
        here.close()
        for call in (
            here.receive(1),
            here.receive_into(memoryview(bytearray(1))),
            here.send(b"x"),
            here.send_eof(),
            here.send_file(0, 0, 1),
            here.send_file_some(0, 0, 1),
        ):
            with pytest.raises(ConnectionLost, match="the connection is closed"):
                await call
        assert str(here.remote) == str(there.local)


async def test_a_closed_number_that_another_file_got_is_not_touched() -> None:
    async with open_pair() as (first, _):
        first.close()
        async with open_pair() as (here, there):  # very likely under the number that was closed
            with pytest.raises(ConnectionLost):
                await first.send(b"stray")
            first.close()
            await here.send(b"x")
            assert await there.receive(10) == b"x"


async def test_a_socket_that_is_not_connected_is_lost_and_closed() -> None:
    sock = socket.socket()
    with pytest.raises(ConnectionLost):
        TcpConnection(sock)
    assert sock.fileno() == -1


# --- files ---


@pytest.fixture
def hundred(tmp_path: Path) -> Iterator[int]:
    """A file of the bytes 0 to 99, open for reading."""
    path = tmp_path / "hundred"
    path.write_bytes(bytes(range(100)))
    with path.open("rb") as file:
        yield file.fileno()


async def test_a_part_of_a_file(hundred: int) -> None:
    async with open_pair() as (here, there):
        assert await here.send_file(hundred, 20, 30) == 30
        assert await there.receive(100) == bytes(range(20, 50))
        assert await here.send_file(hundred, 0, 0) == 0


async def test_a_file_that_is_shorter_than_it_should_be(hundred: int) -> None:
    async with open_pair() as (here, there):
        assert await here.send_file(hundred, 90, 30) == 10
        assert await here.send_file(hundred, 100, 30) == 0
        assert await here.send_file_some(hundred, 1000, 30) == 0
        await here.send_eof()
        assert await receive_all(there) == 10


async def test_a_file_longer_than_all_buffers_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.truncate(PLENTY)
        async with open_pair() as (here, there), trio.open_nursery() as nursery:

            async def send() -> None:
                assert await here.send_file(file.fileno(), 0, PLENTY + 5) == PLENTY
                await here.send_eof()

            nursery.start_soon(send)
            assert await receive_all(there) == PLENTY


async def test_a_file_goes_in_parts_that_can_be_counted(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.truncate(PLENTY)
        async with open_pair() as (here, there), trio.open_nursery() as nursery:

            async def send() -> None:
                sent = 0
                while sent < PLENTY:
                    part = await here.send_file_some(file.fileno(), sent, PLENTY - sent)
                    assert 0 < part < PLENTY
                    sent += part
                await here.send_eof()

            nursery.start_soon(send)
            assert await receive_all(there) == PLENTY


async def test_a_reset_in_the_middle_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.truncate(PLENTY)
        async with open_pair() as (here, there), trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(ConnectionLost):
                    await here.send_file(file.fileno(), 0, PLENTY)

            nursery.start_soon(send)
            await there.receive(1)
            there.abort()


# --- fairness ---


async def test_a_busy_connection_lets_others_run_and_can_be_cancelled() -> None:
    """Bytes are always ready here, so nothing in the loop ever has to wait."""
    async with open_pair() as (here, there):
        calls = 0
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            while calls < 1000:
                await there.send(b"ping")
                await here.receive(100)
                calls += 2
            assert turns >= 1000 // 16 // 2  # each connection gives one every 16 calls; their order is by chance
            nursery.cancel_scope.cancel()

        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(100):
                await there.send(b"ping")
        assert scope.cancelled_caught


@pytest.mark.parametrize("call", ["receive", "receive_into"])
async def test_much_at_a_time_counts_as_many_calls(call: str) -> None:
    """A packet full of lines is long work: after each there is a turn."""
    async with open_pair() as (here, there), trio.open_nursery() as nursery:

        async def send() -> None:
            await there.send(bytes(8 * MIB))

        nursery.start_soon(send)
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(count_turns)
        received = blocks = 0
        buffer = memoryview(bytearray(65536))
        while received < 8 * MIB:
            received += await here.receive_into(buffer) if call == "receive_into" else len(await here.receive(65536))
            blocks += 1
        assert turns >= blocks // 2
        nursery.cancel_scope.cancel()


# --- connecting ---


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(ConnectFailed) as caught:
            await TcpNetwork().connect("127.0.0.1", port)
    assert str(caught.value) == f"127.0.0.1:{port}: connection refused"


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "", "a..b", ".", "a" * 300, "x\0y", "ü" * 70, "1.2.3.4.5", "[::1]"]
)
async def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ConnectFailed), trio.fail_after(20):
        await TcpNetwork().connect(host, 1)


@pytest.mark.parametrize("port", [-1, 0, 65536, 10**30])
async def test_what_is_no_port(port: int) -> None:
    with pytest.raises(ConnectFailed):
        await TcpNetwork().connect("127.0.0.1", port)
    if port:
        with pytest.raises(ListenFailed):
            await TcpNetwork().listen(port)


class Names(trio.abc.HostnameResolver):
    """A name server that gives each name the addresses that a test wants."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
        await trio.lowlevel.checkpoint()
        return [
            (socket.AF_INET6 if ":" in name else socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, port))
            for name in self.hosts
        ]

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise NotImplementedError


@contextmanager
def names(*hosts: str) -> Iterator[None]:
    before = trio.socket.set_custom_hostname_resolver(Names(*hosts))
    try:
        yield
    finally:
        trio.socket.set_custom_hostname_resolver(before)


async def test_of_several_addresses_one_that_answers_is_enough() -> None:
    listener = await TcpNetwork().listen(0, "127.0.0.3")
    with names("127.0.0.2", "127.0.0.3"):
        connection = await TcpNetwork().connect("tracker.example", listener.address.port)
    assert connection.remote.host == "127.0.0.3"
    connection.close()
    listener.close()


async def test_of_several_addresses_none_answers() -> None:
    """Each reason once, and without the addresses that trio writes into them."""
    with names("127.0.0.2", "127.0.0.3"), pytest.raises(ConnectFailed) as caught:
        await TcpNetwork().connect("tracker.example", 1)
    assert str(caught.value) == "tracker.example:1: connection refused"


@needs_ipv6
async def test_localhost_means_whichever_family_listens() -> None:
    listener = await TcpNetwork().listen(0, "::1")
    with names("127.0.0.1", "::1"):
        connection = await TcpNetwork().connect("localhost", listener.address.port)
    assert connection.remote == Address("::1", listener.address.port)
    connection.close()
    listener.close()


async def test_a_connect_can_be_cancelled() -> None:
    """A full queue answers nothing, like a host that drops packets."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        before = open_descriptors()
        waiting = [await TcpNetwork().connect("127.0.0.1", port)]
        with trio.move_on_after(0.3) as scope:
            while True:
                waiting.append(await TcpNetwork().connect("127.0.0.1", port))
        assert scope.cancelled_caught
        for connection in waiting:
            connection.close()
        assert open_descriptors() == before


# --- listening ---


async def test_a_port_in_use() -> None:
    listener = await TcpNetwork().listen(0)
    with pytest.raises(ListenFailed, match="choose another port"):
        await TcpNetwork().listen(listener.address.port)
    listener.close()
    again = await TcpNetwork().listen(listener.address.port)
    again.close()


async def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(ListenFailed, match="cannot assign requested address"):
        await TcpNetwork().listen(0, "203.0.113.77")


@needs_ipv6
async def test_the_families_have_ports_of_their_own() -> None:
    first = await TcpNetwork().listen(0)
    second = await TcpNetwork().listen(first.address.port, "::")
    for host, listener in (("127.0.0.1", first), ("::1", second)):
        connection = await TcpNetwork().connect(host, first.address.port)
        accepted = await listener.accept()
        assert accepted.remote == connection.local
        accepted.close()
        connection.close()
    first.close()
    second.close()


async def test_a_closed_listener_says_so() -> None:
    listener = await TcpNetwork().listen(0)

    async def expect_closed() -> None:
        with pytest.raises(ListenFailed, match="no longer listening"):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed)
        await trio.testing.wait_all_tasks_blocked()
        listener.close()
        listener.close()
    await expect_closed()


async def test_a_cancelled_accept_loses_no_connection() -> None:
    listener = await TcpNetwork().listen(0)
    here = await TcpNetwork().connect("127.0.0.1", listener.address.port)
    before = open_descriptors()
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.accept()
    assert scope.cancelled_caught
    assert open_descriptors() == before
    there = await listener.accept()
    for each in (here, there, listener):
        each.close()


async def test_who_is_gone_before_he_is_accepted_is_skipped_or_lost() -> None:
    listener = await TcpNetwork().listen(0)
    for _ in range(5):
        early = await TcpNetwork().connect("127.0.0.1", listener.address.port)
        early.abort()
    here = await TcpNetwork().connect("127.0.0.1", listener.address.port)
    with trio.fail_after(5):
        while (there := await listener.accept()).remote != here.local:
            await expect_lost_receive(there)
            there.close()
    for each in (here, there, listener):
        each.close()


class BrokenAccept:
    """A listening socket whose accept fails with given errors before it works."""

    def __init__(self, sock: socket.socket, *errors: OSError) -> None:
        self._sock = sock
        self._errors = list(errors)

    def accept(self) -> tuple[socket.socket, object]:
        if self._errors:
            raise self._errors.pop(0)
        return self._sock.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


async def test_a_connection_that_broke_in_the_queue_is_skipped_and_other_errors_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.create_connection(sock.getsockname()):
        broken = BrokenAccept(sock, ConnectionAbortedError(), ConnectionResetError(), OSError(errno.EMFILE, "x"))
        listener = TcpListener(broken)  # type: ignore[arg-type]
        with pytest.raises(OSError, match="x") as caught:
            await listener.accept()
        assert caught.value.errno == errno.EMFILE
        (await listener.accept()).close()


# --- a whole server ---


async def echo(connection: Connection) -> None:
    while data := await connection.receive(100):
        await connection.send(data)


async def test_a_server_leaves_no_descriptors_behind() -> None:
    before = open_descriptors()
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            listener = await TcpNetwork().listen(0)
            nursery.start_soon(serve_connections, listener, echo, Limits())
            clients = [await TcpNetwork().connect("127.0.0.1", listener.address.port) for _ in range(50)]
            for client in clients:
                await client.send(b"x")
                assert await client.receive(1) == b"x"
            for client in clients[::2]:
                client.close()
            nursery.cancel_scope.cancel()
        for client in clients[1::2]:
            assert await client.receive(1) == b""
            client.close()
        listener.close()
    # trio's own selector stays; nothing else may
    assert open_descriptors() <= before


#: Run with few descriptors: fill them, wait until accept has failed, give some back, and be served again.
WITHOUT_DESCRIPTORS = """
import logging, resource, trio
from osp2p.limits import Limits
from osp2p.net import TcpNetwork, serve_connections

failed = trio.Event()

class Told(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)
        failed.set()

logging.getLogger("osp2p.net").addHandler(Told())

async def echo(connection):
    while data := await connection.receive(100):
        await connection.send(data)

async def main():
    listener = await TcpNetwork().listen(0, "127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connections, listener, echo, Limits(accept_backoff=0.02))
        hoard, clients = [], []
        while not failed.is_set():
            try:
                hoard.append(open("/dev/null"))
            except OSError:
                hoard.pop().close()  # one for a client's end, none for the server's
                clients.append(await TcpNetwork().connect("127.0.0.1", listener.address.port))
                with trio.move_on_after(0.1):
                    await failed.wait()
        for file in hoard:
            file.close()
        for client in clients:
            await client.send(b"x")
            assert await client.receive(1) == b"x"
            client.close()
        nursery.cancel_scope.cancel()
    print("served", len(clients))

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
trio.run(main)
"""


async def test_a_server_without_descriptors_recovers() -> None:
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-W", "error", "-c", WITHOUT_DESCRIPTORS],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    told = done.stdout.decode()
    assert done.returncode == 0, told
    assert "too many open files" in told.lower()
    assert "served" in told


# --- the machine's addresses ---


def test_local_addresses_are_numeric_and_end_with_loopback() -> None:
    network: Network = TcpNetwork()
    found = network.local_addresses()
    assert found[-1].startswith("127.")
    assert len(set(found)) == len(found)
    assert all(ipaddress.ip_address(host).version == 4 for host in found)
    outside = [not host.startswith("127.") for host in found]
    assert outside == sorted(outside, reverse=True)


def test_local_ipv6_addresses_are_numeric_and_end_with_loopback() -> None:
    found = TcpNetwork().local_ipv6_addresses()
    assert all(ipaddress.ip_address(host).version == 6 for host in found)
    assert not [host for host in found if ipaddress.ip_address(host).is_link_local]
    if has_ipv6():
        assert found[-1] == "::1"


async def test_local_addresses_can_be_listened_on() -> None:
    network = TcpNetwork()
    listeners: list[Listener] = [
        await network.listen(0, host) for host in [*network.local_addresses(), *network.local_ipv6_addresses()]
    ]
    for listener in listeners:
        listener.close()
