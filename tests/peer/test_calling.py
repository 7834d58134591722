"""A node's calls on real sockets: beside its files, by address through an overlay, and by whoever joined it."""

from __future__ import annotations

import dataclasses
import threading
import xmlrpc.client
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from osp2p.errors import Fault, NetworkFailed, NodeNotFound, Refused, StoreError
from osp2p.limits import Limits
from osp2p.overlay.node import OverlayOptions
from osp2p.peer import Node, open_node
from osp2p.rpc.connection import CallConnection


class Greeter:
    """Greets."""

    async def hello(self, name: str) -> str:
        """Greet somebody."""
        return f"hello {name}"


@asynccontextmanager
async def open_one(tmp_path: Path, name: str, *, joins: int | None = None, **options: Any) -> AsyncIterator[Node]:
    """A node with an identity and a port of its own, in an overlay on loopback."""
    if joins is not None:
        read_only = options.pop("read_only", False)
        through = [("127.0.0.1", joins)] if joins else []
        options["overlay"] = OverlayOptions(joins=through, network="test", read_only=read_only)
    async with open_node(port=0, identity=tmp_path / name, cache=tmp_path / f"{name}.cache", **options) as node:
        yield node


async def test_a_node_is_called_where_it_says_that_it_listens(tmp_path: Path) -> None:
    async with open_one(tmp_path, "one") as one, open_one(tmp_path, "two") as two:
        address = await one.serve("greeter", Greeter(), version="2")
        port = (await one.listen()).port
        assert address == one.address
        assert await two.call(f"{address}@127.0.0.1:{port}", "greeter.hello", "you") == "hello you"
        assert await one.call(address, "greeter.hello", "me") == "hello me"
        with pytest.raises(Fault):
            await two.call(f"{address}@127.0.0.1:{port}", "greeter.hello")
        with pytest.raises(NetworkFailed, match="no overlay"):
            await two.call("ab" * 20, "greeter.hello", "you")
        with pytest.raises(NetworkFailed, match="no overlay"):
            await two.find_service("greeter")


async def test_a_connection_is_not_kept_for_ever_for_a_call_that_never_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = trio.Event()
    close = CallConnection.close

    def note(connection: CallConnection) -> None:
        close(connection)
        closed.set()

    monkeypatch.setattr(CallConnection, "close", note)
    limits = dataclasses.replace(Limits(), call_idle=0.05)
    async with open_one(tmp_path, "one") as one, open_one(tmp_path, "two", limits=limits) as two:
        address = await one.serve("greeter", Greeter())
        target = f"{address}@127.0.0.1:{(await one.listen()).port}"
        assert await two.call(target, "greeter.hello", "you") == "hello you"
        with trio.fail_after(5):
            await closed.wait()


async def test_files_and_calls_have_one_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    async with open_one(tmp_path, "one") as one, open_one(tmp_path, "two") as two:
        await one.share_file(b"file", tmp_path / "file")
        port = (await one.listen()).port
        address = await one.serve("greeter", Greeter())
        assert await two.call(f"{address}@127.0.0.1:{port}", "greeter.hello", "you") == "hello you"
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"HELLO OSP2P/2\nLIST\nQUIT\n")
            heard = b"".join([data async for data in stream]).splitlines()
        assert b"FEATURE call " + address.encode() in heard
        assert any(line.startswith(b"FILE file size=7") for line in heard)


async def test_this_machines_programs_call_through_their_node(tmp_path: Path) -> None:
    async with open_one(tmp_path, "one") as one:
        await one.take_calls()
        port = (await one.listen()).port

        def work() -> None:
            with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/RPC2") as client:
                assert client.system.listServices() == [{"service": "system", "version": "1"}]

        await trio.to_thread.run_sync(work)


async def test_one_process_serves_under_an_identity(tmp_path: Path) -> None:
    async with open_one(tmp_path, "one") as one, open_node(identity=tmp_path / "one", cache=tmp_path / "c") as same:
        await one.take_calls()
        assert same.address == one.address
        with pytest.raises(StoreError, match="another process"):
            await same.take_calls()


async def test_whoever_knows_an_address_or_a_service_calls_it_through_the_overlay(tmp_path: Path) -> None:
    """Five nodes, none of which is a tracker; the caller knows one of them, and not the one that it calls."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(open_one(tmp_path, "first", joins=0))]
        assert nodes[0].overlay is not None
        first = nodes[0].overlay.port
        for name in ("second", "third", "fourth", "fifth"):
            nodes += [await stack.enter_async_context(open_one(tmp_path, name, joins=first))]
        for node in nodes[1:]:
            assert node.overlay is not None
            await node.overlay.wait_connected(10)
        addresses = [await node.serve("greeter", Greeter()) for node in nodes[2:4]]
        for node in nodes[2:4]:
            assert node.overlay is not None
            assert await node.overlay.wait_published(20)
        caller = await stack.enter_async_context(open_one(tmp_path, "caller", joins=first, read_only=True))
        for address in addresses:
            assert await caller.call(address, "greeter.hello", "you") == "hello you"
        found = await caller.find_service("greeter", near=addresses[1])
        assert [provider.address for provider in found] == [addresses[1], addresses[0]]
        assert await caller.call_any("greeter.hello", "you") == "hello you"
        answers = await caller.call_all("greeter.hello", "all")
        assert answers == dict.fromkeys(addresses, "hello all")
        with pytest.raises(NodeNotFound):
            await caller.call("ab" * 20, "greeter.hello", "you")
        with pytest.raises(NodeNotFound):
            await caller.find_service("nothing")


async def test_slow_methods_delay_no_file(tmp_path: Path) -> None:
    """Every worker thread for methods is blocked, and as many async methods wait as may; files come all the same."""
    release = threading.Event()
    blocked = threading.Semaphore(0)
    limits = dataclasses.replace(Limits(), max_call_threads=4, max_calls=40, max_calls_per_host=40)

    class Slow:
        def block(self) -> None:
            blocked.release()
            release.wait(60)

        async def wait(self) -> None:
            await trio.sleep_forever()

    (tmp_path / "file").write_bytes(bytes(300_000))
    async with (
        open_one(tmp_path, "one", limits=limits) as one,
        open_one(tmp_path, "two") as two,
        trio.open_nursery() as nursery,
    ):
        await one.share_file(b"file", tmp_path / "file")
        port = (await one.listen()).port
        target = f"{await one.serve('slow', Slow())}@127.0.0.1:{port}"
        for method in ["slow.block"] * 20 + ["slow.wait"] * 20:
            nursery.start_soon(two.call, target, method)
        for _ in range(4):
            await trio.to_thread.run_sync(blocked.acquire)
        while await is_taken(two, target):  # until all that may are under way
            await trio.lowlevel.checkpoint()
        for _ in range(20):
            with trio.fail_after(5):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(b"GET file OSP2P\n")
                    assert sum([len(data) async for data in stream]) == 300_000
        nursery.cancel_scope.cancel()
        release.set()


async def is_taken(caller: Node, target: str) -> bool:
    """Whether a node takes a call, and is not busy."""
    try:
        return bool(await caller.call(target, "slow.ping"))
    except Refused as refused:
        if refused.code != 303:
            raise
        return False
