"""New peers and old ones behind a tracker of 2007: real sockets, real files, our node and stand-ins."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.content.digest import digest_in_thread
from osp2p.errors import ChecksumMismatch, NobodyHasIt
from osp2p.limits import Limits
from osp2p.peer import Node, open_node
from osp2p.peer.events import Event, SourceFailed, TransferDone, TransferProgress
from tests.standins.old_peer import Habits, OldPeer, open_old_peer
from tests.standins.old_tracker import OldTracker, open_old_tracker

LARGE = random.Random(1).randbytes(6_000_000)

OpenNode = Callable[..., AbstractAsyncContextManager[Node]]


@pytest.fixture
async def tracker() -> AsyncIterator[OldTracker]:
    async with open_old_tracker() as opened:
        yield opened


@pytest.fixture
def node_of(tracker: OldTracker, tmp_path: Path) -> OpenNode:
    """Opens nodes that know the tracker, each with a digest cache of its own."""
    numbers = iter(range(100))

    @asynccontextmanager
    async def open_one(
        shared: dict[str, bytes] | None = None, report: Callable[[Event], None] = lambda event: None, **options: object
    ) -> AsyncIterator[Node]:
        number = next(numbers)
        cache = tmp_path / f"cache{number}.sqlite"
        async with open_node(
            trackers=[f"127.0.0.1:{tracker.port}"],
            cache=cache,
            alias=b"n%d" % number,
            report=report,
            **options,  # type: ignore[arg-type]
        ) as node:
            if shared is not None:
                directory = tmp_path / f"shared{number}"
                directory.mkdir()
                for name, body in shared.items():
                    (directory / name).write_bytes(body)
                heard = len(tracker.heard)
                await node.share(directory)
                await told_checksums(tracker, heard, shared)
            yield node

    return open_one


def haves(lines: Sequence[bytes]) -> list[list[bytes]]:
    return [line.split() for line in lines if line.startswith(b"HAVE")]


async def told_checksums(tracker: OldTracker, since: int, names: Collection[str]) -> None:
    """Wait until somebody has told the tracker the checksums of files."""
    with trio.fail_after(20):
        while not set(names) <= {
            words[1].decode()
            for words in map(bytes.split, tracker.heard[since:])
            if words[:1] == [b"HAVE"] and words[2:]
        }:
            await trio.testing.wait_all_tasks_blocked(0.01)


def old_peer(tracker: OldTracker, name: bytes, body: bytes, **habits: object) -> AbstractAsyncContextManager[OldPeer]:
    return open_old_peer({name: body}, Habits(**habits), tracker=("127.0.0.1", tracker.port))  # type: ignore[arg-type]


async def get(node: Node, name: bytes, target: Path, **options: object) -> tuple[TransferDone, list[Event]]:
    events: list[Event] = []
    with trio.fail_after(30):
        done = await node.get(name, target, report=events.append, **options)  # type: ignore[arg-type]
    return done, events


async def test_new_peers_give_chunks_and_the_checksum_proves_the_whole(node_of: OpenNode, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(node_of({"film": LARGE}, limit_up=4e6))
        node = await stack.enter_async_context(node_of())
        done, _ = await get(node, b"film", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == LARGE
    assert done.verified == "md5"
    assert len([source for source in done.sources if source.fetched]) == 2
    assert not any(source.error for source in done.sources)


async def test_what_is_interrupted_is_resumed(node_of: OpenNode, tmp_path: Path) -> None:
    async with node_of({"film": LARGE}, limit_up=3e6), node_of() as node:
        with trio.move_on_after(20) as scope:

            def stop(event: Event) -> None:
                if isinstance(event, TransferProgress) and event.done > 1_000_000:
                    scope.cancel()

            await node.get(b"film", tmp_path / "film", report=stop)
        assert scope.cancelled_caught
        assert not (tmp_path / "film").exists()
        done, _ = await get(node, b"film", tmp_path / "film")
    assert done.resumed > 900_000
    assert done.fetched <= len(LARGE) - done.resumed
    assert (tmp_path / "film").read_bytes() == LARGE


async def test_old_peers_are_no_hindrance(node_of: OpenNode, tracker: OldTracker, tmp_path: Path) -> None:
    """One is busy, one serves, one is gone; nobody waits for long, and each is probed once."""
    async with AsyncExitStack() as stack:
        busy = await stack.enter_async_context(old_peer(tracker, b"film", LARGE, sends="nothing"))
        stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", busy.port))
        await stream.send_all(b"GET film OSP2P\n")
        serving = await stack.enter_async_context(old_peer(tracker, b"film", LARGE))
        await stack.enter_async_context(node_of({"film": LARGE}))
        node = await stack.enter_async_context(node_of())
        began = trio.current_time()
        done, _ = await get(node, b"film", tmp_path / "film")
        assert trio.current_time() - began < 5
        again, _ = await get(node, b"film", tmp_path / "again")
    assert (done.verified, again.verified) == ("md5", "md5")
    assert sum(line.startswith(b"HELLO") for line in serving.requests) == 1
    assert (tmp_path / "film").read_bytes() == (tmp_path / "again").read_bytes() == LARGE


async def test_a_link_is_fetched_from_new_peers_and_from_old_ones(
    node_of: OpenNode, tracker: OldTracker, tmp_path: Path
) -> None:
    (tmp_path / "same").write_bytes(LARGE)
    b3 = (await digest_in_thread(tmp_path / "same")).digests.b3
    async with old_peer(tracker, b"film", b"another film"), node_of() as node:
        with pytest.raises(ChecksumMismatch):
            await get(node, b"film", tmp_path / "one", b3=b3)
        async with old_peer(tracker, b"film", LARGE):
            done, events = await get(node, b"film", tmp_path / "two", b3=b3)
            assert done.verified == "b3"
            assert len([source for source in done.sources if source.fetched == len(LARGE)]) == 1
        tracker.checksums.clear()
        async with node_of({"film": LARGE}):
            done, events = await get(node, b"film", tmp_path / "three", b3=b3)
            assert done.verified == "b3"
            assert any(isinstance(event, TransferProgress) and event.size == len(LARGE) for event in events)
            assert not any(isinstance(event, SourceFailed) for event in events)
    assert (tmp_path / "two").read_bytes() == (tmp_path / "three").read_bytes() == LARGE


async def test_many_files_of_a_new_peer(node_of: OpenNode, tmp_path: Path) -> None:
    files = {f"f{number}": b"%d" % number * 1000 for number in range(30)}
    async with node_of(files), node_of() as node:
        for name, body in files.items():
            done, _ = await get(node, name.encode(), tmp_path / name)
            assert (done.verified, (tmp_path / name).read_bytes()) == ("md5", body)


async def test_fakes_cost_no_visible_pause(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        tracker = await stack.enter_async_context(open_old_tracker(fakes=True))
        await stack.enter_async_context(old_peer(tracker, b"film", b"a film"))
        tracker.checksums[b"film"] = b"meCD5cC82IAmdNP4PDNjHb"
        limits = replace(Limits(), retry_window=0.1)
        node = await stack.enter_async_context(
            open_node(trackers=[f"127.0.0.1:{tracker.port}"], cache=tmp_path / "c", limits=limits)
        )
        began = trio.current_time()
        with pytest.raises(ChecksumMismatch):
            await get(node, b"film", tmp_path / "film")
        assert trio.current_time() - began < 5
        with pytest.raises(NobodyHasIt):
            await get(node, b"nothing", tmp_path / "nothing")
