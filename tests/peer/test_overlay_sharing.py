"""Sharing and fetching with no tracker, with both, and with trackers that die."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from osp2p.errors import NobodyHasIt, OverlayUnreachable
from osp2p.limits import DEFAULT
from osp2p.net import TcpNetwork
from osp2p.overlay.keys import content_key, many_key, name_key
from osp2p.overlay.node import Overlay, OverlayOptions
from osp2p.peer.events import Alone, Event, Joined, Listening
from osp2p.peer.node import Node, open_node
from osp2p.peer.transfer import GetOptions
from osp2p.peer.wanted import Wanted
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.address import Address

#: What a test waits for at most: real sockets, two cores that others use too.
PATIENCE = 20


@asynccontextmanager
async def node(tmp_path: Path, *joins: Node, name: str = "node", read_only: bool = False) -> AsyncIterator[Node]:
    """A node that joins through others."""
    ports = [overlay_of(other).port for other in joins]
    options = OverlayOptions(joins=[("127.0.0.1", port) for port in ports], read_only=read_only)
    with trio.fail_after(PATIENCE):
        async with open_node(overlay=options, cache=tmp_path / f"{name}.sqlite") as opened:
            yield opened


def overlay_of(opened: Node) -> Overlay:
    assert opened.overlay is not None
    return opened.overlay


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that files on a disk bring about, and no event tells."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def directory(path: Path, **files: bytes) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


async def test_two_nodes_and_no_tracker(tmp_path: Path) -> None:
    shared = directory(tmp_path / "shared", cat=b"meow" * 100_000, dog=b"wuff")
    async with node(tmp_path) as sharer:
        assert await sharer.share(shared) == 2
        async with node(tmp_path, sharer, name="other", read_only=True) as asker:
            await overlay_of(asker).wait_connected(PATIENCE)
            done = await asker.get(b"cat", tmp_path / "cat")
            assert done.verified == "b3"
            assert (tmp_path / "cat").read_bytes() == b"meow" * 100_000
            assert (await asker.get(b"dog", tmp_path / "dog")).verified == "b3"
            with pytest.raises(NobodyHasIt):
                await asker.get(b"cow", tmp_path / "cow")


async def test_a_third_node_finds_the_first_through_the_second(tmp_path: Path) -> None:
    shared = directory(tmp_path / "shared", cat=b"meow")
    async with AsyncExitStack() as stack:
        middle = await stack.enter_async_context(node(tmp_path, name="middle"))
        await middle.listen()
        sharer = await stack.enter_async_context(node(tmp_path, middle, name="sharer"))
        await sharer.share(shared)
        await until(lambda: len(overlay_of(sharer)._engine.announced) == 3)
        assert await overlay_of(sharer).wait_published(PATIENCE)
        asker = await stack.enter_async_context(node(tmp_path, middle, name="asker", read_only=True))
        (b3,) = {entry.attributes[b"b3"] for entry in (await asker._sources.facts([b"cat"]))[0].holders}
        done = await asker.get(b"cat", tmp_path / "cat", b3=bytes.fromhex(b3.decode()))
        assert done.verified == "b3"


async def test_everything_is_listed_without_a_tracker(tmp_path: Path) -> None:
    limits = replace(DEFAULT, overlay_list_page=2)
    async with AsyncExitStack() as stack:
        sharers: list[Node] = []
        for number in range(2):
            files = {f"own{number}.{at}": b"%d" % at for at in range(5)} | {"common": b"the same"}
            sharer = await stack.enter_async_context(node(tmp_path, *sharers, name=f"sharer{number}"))
            await sharer.share(directory(tmp_path / f"shared{number}", **files))
            sharers.append(sharer)
        assert await overlay_of(sharers[1]).wait_published(PATIENCE)
        options = OverlayOptions(joins=[("127.0.0.1", overlay_of(sharers[0]).port)], read_only=True)
        asker = await stack.enter_async_context(
            open_node(overlay=options, cache=tmp_path / "asker.sqlite", limits=limits)
        )
        names = {entry.name for entry in await asker.list_files()}
        assert names == {b"common", *(b"own%d.%d" % (number, at) for number in range(2) for at in range(5))}
        assert {entry.name for entry in await asker.list_files(b"own1")} == {b"own1.%d" % at for at in range(5)}
        assert len((await asker.find([b"own?.3", b"common"]))[0]) == 3


async def test_nobody_answers(tmp_path: Path) -> None:
    limits = replace(DEFAULT, join_patience=0.3)
    options = OverlayOptions(joins=[("127.0.0.1", 1)], read_only=True)
    events: list[Event] = []
    async with open_node(
        overlay=options, cache=tmp_path / "cache.sqlite", limits=limits, report=events.append
    ) as asker:
        with pytest.raises(OverlayUnreachable, match=r"127\.0\.0\.1:1"):
            await asker.get(b"cat", tmp_path / "cat")


async def test_what_happens_is_reported(tmp_path: Path) -> None:
    first, second = list[Event](), list[Event]()
    async with open_node(overlay=OverlayOptions(), cache=tmp_path / "a.sqlite", report=first.append) as one:
        port = overlay_of(one).port
        options = OverlayOptions(joins=[("127.0.0.1", port)])
        async with open_node(overlay=options, cache=tmp_path / "b.sqlite", report=second.append) as two:
            await overlay_of(two).wait_connected(PATIENCE)
            await overlay_of(one).wait_connected(PATIENCE)
            for opened, events in ((one, first), (two, second)):
                assert events == []  # before where it listens is known
                await opened.listen()
    assert isinstance(first[0], Listening)
    assert [event for event in first[1:] if event != Alone(port, (), None)] == [Joined(1)]
    assert second[1:] == [Joined(1)]


async def test_one_port_number_for_files_and_the_overlay(tmp_path: Path) -> None:
    async with node(tmp_path) as one, node(tmp_path, name="two") as two:
        assert (await one.listen()).port == overlay_of(one).port
        assert (await two.listen()).port == overlay_of(two).port
        assert overlay_of(one).port != overlay_of(two).port


async def test_files_that_go_are_announced_no_longer(tmp_path: Path) -> None:
    shared = directory(tmp_path / "shared", cat=b"meow", dog=b"wuff")
    async with node(tmp_path) as sharer:
        await sharer.share(shared)
        announced = overlay_of(sharer)._engine.announced
        await until(lambda: len(announced) == 5)  # two for each file, and that there is anything
        assert name_key("osp2p", b"cat") in announced
        (shared / "cat").unlink()
        await until(lambda: len(announced) == 3)
        assert name_key("osp2p", b"dog") in announced


async def test_who_shares_many_files_is_asked_for_all_of_them(tmp_path: Path) -> None:
    shared = directory(tmp_path / "shared", **{f"file{number:02}": b"%d" % number for number in range(20)})
    limits = replace(DEFAULT, max_announced_files=5)
    with trio.fail_after(PATIENCE):
        async with open_node(overlay=OverlayOptions(), cache=tmp_path / "a.sqlite", limits=limits) as sharer:
            await sharer.share(shared)
            announced = overlay_of(sharer)._engine.announced
            assert many_key("osp2p") in announced
            assert sum(name_key("osp2p", b"file%02d" % number) in announced for number in range(20)) == 5
            async with node(tmp_path, sharer, name="asker", read_only=True) as asker:
                for number in range(20):
                    done = await asker.get(b"file%02d" % number, tmp_path / f"{number}")
                    assert done.verified == "b3"


async def test_a_download_goes_on_when_every_tracker_dies(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    shared = directory(tmp_path / "shared", large=content)
    async with AsyncExitStack() as stack:
        trackers = await stack.enter_async_context(trio.open_nursery())

        async def run(task_status: trio.TaskStatus[list[Address]]) -> None:
            await serve_tracker(
                network=TcpNetwork(),
                port=0,
                options=TrackerOptions(local=True),
                limits=DEFAULT,
                rng=random.Random(1),
                task_status=task_status,
            )

        (address, *_) = await trackers.start(run)
        tracker = f"127.0.0.1:{address.port}"
        holders: list[Node] = []
        for number in range(2):
            holder = await stack.enter_async_context(
                open_node(
                    trackers=[tracker],
                    overlay=OverlayOptions(
                        joins=[("127.0.0.1", overlay_of(other).port) for other in holders],
                    ),
                    cache=tmp_path / f"{number}.sqlite",
                    limit_up=2_000_000,
                )
            )
            await holder.share(shared)
            holders.append(holder)
        asker = await stack.enter_async_context(
            open_node(
                trackers=[tracker],
                overlay=OverlayOptions(joins=[("127.0.0.1", overlay_of(holders[0]).port)], read_only=True),
                cache=tmp_path / "asker.sqlite",
            )
        )
        with trio.fail_after(PATIENCE):
            async with asker.open_get([Wanted(b"large", tmp_path / "large")], GetOptions()) as events:
                await anext(events)
                trackers.cancel_scope.cancel()
                async for event in events:
                    last = event
            assert getattr(last, "verified", None) == "b3"
            assert (tmp_path / "large").read_bytes() == content
            # and what nobody told before is found and listed without any tracker
            assert [entry.name for entry in await asker.list_files()] == [b"large"]
            done = await asker.get(b"large", tmp_path / "again")
            assert done.verified == "b3"


async def test_keys_are_those_of_the_standard_text() -> None:
    assert content_key("osp2p", bytes(32)) != content_key("other", bytes(32))
    assert name_key("osp2p", b"a\nb") != name_key("osp2p", b"a b")
