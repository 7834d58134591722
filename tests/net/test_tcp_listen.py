"""TCP over real sockets: connecting, listening, and a whole server."""

from __future__ import annotations

import errno
import gc
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectFailed, ConnectionLost, ListenFailed
from osp2p.limits import Limits
from osp2p.net import Connection, Network, TcpNetwork, serve_connections
from osp2p.net.connection import Listener
from osp2p.net.tcp import TcpListener, _address
from osp2p.wire.address import Address
from tests.net.ipv6 import HAS_IPV6, needs_ipv6


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def expect_lost_receive(connection: Connection) -> None:
    with pytest.raises(ConnectionLost):
        await connection.receive(1)


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


@needs_ipv6
async def test_a_mapped_address_is_seen_as_the_ipv4_address_that_it_means() -> None:
    listener = await TcpNetwork().listen(0, "127.0.0.1")
    connection = await TcpNetwork().connect("::ffff:127.0.0.1", listener.address.port)
    assert connection.remote == listener.address
    connection.close()
    listener.close()


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (("1.2.3.4", 5), "1.2.3.4"),
        (("::ffff:1.2.3.4", 5, 0, 0), "1.2.3.4"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::1"),
        (("::ffff:0:1.2.3.4", 5, 0, 0), "::ffff:0:1.2.3.4"),
        (("::ffff:0:1", 5, 0, 0), "::ffff:0:1"),
    ],
)
def test_what_the_kernel_says_of_an_end(name: tuple[str, int], host: str) -> None:
    assert _address(name) == Address(host, 5)


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


async def test_a_server_that_starts_again_gets_its_port_at_once() -> None:
    """The connections that it closed itself linger in TIME_WAIT."""
    with trio.testing.assert_checkpoints():
        listener = await TcpNetwork().listen(0)
    here = await TcpNetwork().connect("127.0.0.1", listener.address.port)
    there = await listener.accept()
    there.close()
    assert await here.receive(1) == b""
    here.close()
    listener.close()
    (await TcpNetwork().listen(listener.address.port)).close()


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


async def test_who_comes_behind_a_crowd_does_not_wait_for_as_many_turns(nursery: trio.Nursery) -> None:
    listener = await TcpNetwork().listen(0, "127.0.0.1")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    crowd = [socket.create_connection(("127.0.0.1", listener.address.port)) for _ in range(600)]
    nursery.start_soon(count)
    with trio.fail_after(10):
        for connection in [await listener.accept() for _ in crowd]:
            connection.close()
    assert 0 < turns < 30  # others have turns, too
    for sock in crowd:
        sock.close()
    listener.close()
    nursery.cancel_scope.cancel()


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


#: Run with few descriptors: honest peers stay, silent strangers make room for each other, and files can be opened.
WITH_FEW_DESCRIPTORS = """
import resource, trio
from osp2p.limits import Limits
from osp2p.net import Admission, TcpNetwork, serve_visits

async def handler(connection, visit):
    while data := await connection.receive(100):
        visit.heard = True
        if data == b"register":
            visit.admit()
        await connection.send(data)

async def ask(connection, text=b"x"):
    await connection.send(text)
    return await connection.receive(100) == text

async def is_open(connection):
    try:
        return await ask(connection)
    except Exception:
        return False

async def main():
    network = TcpNetwork()
    listener = await network.listen(0, "127.0.0.1")
    port = listener.address.port
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_visits, listener, handler, Admission(Limits(accept_backoff=0.01)))
        peers = [await network.connect("127.0.0.1", port) for _ in range(8)]
        assert all([await ask(peer, b"register") for peer in peers])
        strangers = []
        for _ in range(12):
            strangers.append(await network.connect("127.0.0.1", port))
            assert await ask(strangers[-1])
        # Both ends of all these are here: 80 descriptors less a quarter are nearly used up.
        hoard = []
        while True:
            try:
                hoard.append(open("/dev/null"))
            except OSError:
                break
        hoard.pop().close()  # one for a client's end, and none for the server's: accept fails, and somebody leaves
        late = await network.connect("127.0.0.1", port)
        assert await ask(late)
        assert all([await ask(peer) for peer in peers])
        print("left:", [await is_open(stranger) for stranger in strangers].count(False), flush=True)
        for file in hoard:
            file.close()
        nursery.cancel_scope.cancel()

resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
trio.run(main)
"""


async def test_a_server_with_few_descriptors_keeps_its_peers_and_serves_newcomers() -> None:
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-W", "error", "-c", WITH_FEW_DESCRIPTORS],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, done.stdout.decode()
    assert done.stdout.startswith(b"left: ")
    assert int(done.stdout.split()[1]) >= 1


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
    if HAS_IPV6:
        assert found[-1] == "::1"


async def test_local_addresses_can_be_listened_on() -> None:
    network = TcpNetwork()
    listeners: list[Listener] = [
        await network.listen(0, host) for host in [*network.local_addresses(), *network.local_ipv6_addresses()]
    ]
    for listener in listeners:
        listener.close()
