"""The tracker on real sockets: both families, its end, many connections, and who goes away with very much."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from osp2p.errors import ListenFailed
from osp2p.net import Listener, MemoryNetwork, TcpNetwork
from osp2p.net.connection import Connection
from osp2p.tracker import registry
from tests.net.ipv6 import HAS_IPV6, needs_ipv6
from tests.tracker.talk import PATIENCE, client, running_tracker, start_tracker, until


@pytest.fixture(autouse=True)
async def patience() -> AsyncIterator[None]:
    """No test here takes long, whatever goes wrong."""
    with trio.fail_after(PATIENCE):
        yield


@needs_ipv6
async def test_both_families_have_the_same_port_and_the_same_books() -> None:
    async with running_tracker() as addresses:
        assert [address.host for address in addresses] == ["0.0.0.0", "::"]
        assert addresses[0].port == addresses[1].port
        port = addresses[0].port
        async with client(port) as old, client(port, "::1") as new:
            assert await new.code(b"HELLO OSP2P/2") == 200
            assert await new.code(b"ADDR new [::1]:4001") == 200
            assert await new.code(b"HAVE f") == 200
            assert await old.code(b"ADDR old 127.0.0.1:4002") == 200
            assert await old.code(b"WANT f") == 300
            assert await old.data(b"WHO") == [b"PEER old 127.0.0.1:4002"]
            assert await new.data(b"WHO") == [b"PEER new [::1]:4001 v=2", b"PEER old 127.0.0.1:4002"]


class Ipv4Only(TcpNetwork):
    """A machine without IPv6."""

    def local_ipv6_addresses(self) -> list[str]:
        return []

    async def listen(self, port: int, host: str = "0.0.0.0") -> Any:
        if ":" in host:
            raise ListenFailed("no IPv6") from OSError(errno.EAFNOSUPPORT, "no IPv6")
        return await super().listen(port, host)


class Ipv6Broken(Ipv4Only):
    """A machine that says it has IPv6, but cannot listen there."""

    def local_ipv6_addresses(self) -> list[str]:
        return ["::1"]


@pytest.mark.parametrize("network", [Ipv4Only(), Ipv6Broken()])
async def test_a_machine_without_ipv6_works(network: TcpNetwork) -> None:
    async with running_tracker(network) as addresses, client(addresses[0].port) as talk:
        assert [address.host for address in addresses] == ["0.0.0.0"]
        assert await talk.code(b"LIST") == 200


@pytest.mark.parametrize("family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)])
async def test_a_port_that_is_taken_is_an_error(family: socket.AddressFamily) -> None:
    with socket.socket(family) as taken:
        if family == socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.RaisesGroup(ListenFailed):
            async with running_tracker(port=port):
                pytest.fail("it listens on a port that is taken")
        with socket.socket() as free:  # what was opened before the failure is closed again
            if family == socket.AF_INET6:
                free.bind(("", port))


async def test_a_port_free_in_one_family_only_is_not_chosen() -> None:
    network = TakenTwice()
    async with running_tracker(network) as addresses:
        assert network.refusals == 0
        assert len({address.port for address in addresses}) == 1


class TakenTwice(TcpNetwork):
    """The first two ports that the kernel gives are taken in IPv6."""

    refusals = 2

    def local_ipv6_addresses(self) -> list[str]:
        return ["::1"]

    async def listen(self, port: int, host: str = "0.0.0.0") -> Any:
        if ":" in host:
            if self.refusals:
                self.refusals -= 1
                raise ListenFailed("taken") from OSError(errno.EADDRINUSE, "taken")
            return await super().listen(port + 1 if not HAS_IPV6 else port, "0.0.0.0" if not HAS_IPV6 else host)
        return await super().listen(port, host)


async def test_clients_hear_the_end_and_the_port_is_free_again(nursery: trio.Nursery) -> None:
    addresses, running = await start_tracker(nursery)
    port = addresses[0].port
    async with client(port) as idle, client(port) as waiting:
        await waiting.send(b"BLOCKNOTIFY\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        began = trio.current_time()
        running.cancel()
        for talk in (idle, waiting):
            assert (await talk.line() or b"")[:4] == b"300 "
            assert await talk.line() is None
        assert trio.current_time() - began < 2
    await trio.testing.wait_all_tasks_blocked()
    async with running_tracker(port=port):
        pass


async def test_a_connection_that_breaks_takes_its_registrations_along_and_nobody_else() -> None:
    async with running_tracker() as addresses, client(addresses[0].port) as stays:
        await stays.ask(b"ADDR stays 127.0.0.1:4001")
        for way in ("close", "abort"):
            async with client(addresses[0].port) as goes:
                await goes.ask(b"ADDR goes 127.0.0.1:4002")
                await goes.ask(b"HAVE f")
                assert len(await stays.data(b"WHO")) == 2
                await goes.send(b"HELP\nHAVE unfinis")
                getattr(goes.connection, way)()

                async def alone() -> bool:
                    return len(await stays.data(b"WHO")) == 1

                await until(alone)
            assert await stays.code(b"WANT f") == 300


async def test_a_hundred_connections_at_a_time() -> None:
    async with running_tracker() as addresses, trio.open_nursery() as nursery:
        answers: list[int] = []

        async def peer(number: int) -> None:
            async with client(addresses[0].port) as talk:
                await talk.send(b"ADDR p%d 127.0.0.1:%d\n" % (number, 20000 + number))
                await talk.send(b"".join(b"HAVE f%d\nWANT f%d\n" % (item, item) for item in range(100)))
                for _ in range(201):
                    reply = await talk.reply()
                    assert reply is not None
                    answers.append(reply.code)

        for number in range(100):
            nursery.start_soon(peer, number)
    assert answers == [200] * 20_100


async def test_who_leaves_with_very_much_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FORGET_AT_ONCE", 10)
    async with running_tracker() as addresses, client(addresses[0].port) as other:
        for leave in (b"QUIT\n", None):
            async with client(addresses[0].port) as talk:
                await talk.send(b"HELLO OSP2P/2\nADDR a 127.0.0.1:1\n" + b"".join(b"HAVE %d\n" % n for n in range(500)))
                for _ in range(502):
                    await talk.reply()
                if leave:
                    await talk.send(leave)
                    await talk.reply()
                    assert await other.data(b"WHO") == []
                    assert await other.code(b"WANT 499") == 300

            async def forgotten() -> bool:
                return not await other.data(b"LIST")

            await until(forgotten)


class BreakingNetwork(MemoryNetwork):
    """Hands out connections that fail in ways of our own making."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[Connection] = []

    async def listen(self, port: int, host: str = "0.0.0.0") -> Listener:  # type: ignore[override]
        listener = await super().listen(port, host)
        accept = listener.accept

        async def accept_breaking() -> Any:
            connection = await accept()
            if len(self.broken) < 1:
                self.broken.append(connection)

                async def fail(max_bytes: int) -> bytes:
                    raise RuntimeError("a bug in a handler")

                connection.receive = fail  # type: ignore[method-assign]
            return connection

        listener.accept = accept_breaking  # type: ignore[method-assign]
        return listener


async def test_a_bug_in_one_conversation_ends_that_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    network = BreakingNetwork()
    async with (
        running_tracker(network, port=11111),
        client(11111, network=network) as first,
        client(11111, network=network) as second,
    ):
        assert await first.reply() is None
        assert await second.code(b"LIST") == 200
    assert "a bug in a handler" in caplog.text
