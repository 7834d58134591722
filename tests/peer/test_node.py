"""A node as other programs use it: real sockets, real files, a tracker of ours and one of 2007."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.content.digest import digest_in_thread
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    ListenFailed,
    NobodyHasIt,
    TargetLocked,
    TrackerUnreachable,
    Unverified,
)
from osp2p.limits import Limits
from osp2p.net import TcpNetwork
from osp2p.peer import GetOptions, Node, Wanted, open_node
from osp2p.peer.events import (
    Event,
    FileAdded,
    FileRemoved,
    Registered,
    TransferDone,
    TransferFailed,
    TransferProgress,
)
from osp2p.tracker import TrackerOptions
from osp2p.wire.checksum import parse_md5, write_md5
from tests.standins.old_tracker import open_old_tracker
from tests.tracker.talk import start_tracker

OpenNode = Callable[..., AbstractAsyncContextManager[Node]]


@pytest.fixture
def node_of(tracker: str, tmp_path: Path) -> OpenNode:
    """Opens nodes that know the tracker, each with a digest cache of its own."""
    caches = iter(range(100))

    @asynccontextmanager
    async def open_one(**options: object) -> AsyncIterator[Node]:
        defaults: dict[str, object] = {
            "trackers": [tracker],
            "cache": tmp_path / f"cache{next(caches)}.sqlite",
            "rng": random.Random(2),
            "alias": b"tester",
        }
        async with open_node(**{**defaults, **options}) as node:  # type: ignore[arg-type]
            yield node

    return open_one


def fill(directory: Path, files: dict[str, bytes]) -> Path:
    """Write files into a directory."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


FILES = {
    "empty": b"",
    "small.txt": b"hello\n",
    "sub/deep/medium.bin": random.Random(3).randbytes(700_000),
    "large.bin": random.Random(4).randbytes(9_000_000),
    "odd name \u00e4 %41=&.txt": b"odd",
}


class Events(list[Event]):
    """What happened, and a way to wait for something to happen."""

    def __init__(self) -> None:
        super().__init__()
        self._more = trio.Event()

    def report(self, event: Event) -> None:
        self.append(event)
        self._more.set()

    async def wait(self, match: Callable[[Event], bool]) -> Event:
        with trio.fail_after(20):
            seen = 0
            while True:
                for event in self[seen:]:
                    if match(event):
                        return event
                seen = len(self)
                self._more = trio.Event()
                await self._more.wait()


async def test_everything_shared_is_fetched_and_proved(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", FILES)
    shared = Events()
    async with node_of(report=shared.report) as sharer, node_of() as getter:
        assert await sharer.share(source) == len(FILES)
        await shared.wait(lambda event: event == Registered(shared_tracker(shared), len(FILES), len(FILES)))
        names = [entry.name for entry in await getter.list_files()]
        assert set(names) == {os.fsencode(name) for name in FILES}
        wanted = [Wanted(name, tmp_path / "target" / os.fsdecode(name)) for name in names]
        done: dict[bytes, TransferDone] = {}
        async with getter.open_get(wanted) as events:
            async for event in events:
                assert not isinstance(event, TransferFailed)
                if isinstance(event, TransferDone):
                    done[event.name] = event
    for name, data in FILES.items():
        result = done[os.fsencode(name)]
        assert (tmp_path / "target" / name).read_bytes() == data
        assert result.size == len(data)
        assert result.verified in ("md5", "b3")
        assert not result.already
    assert list((tmp_path / "target").rglob(".*")) == []


def shared_tracker(events: Events) -> str:
    """The label of the tracker that a sharer registered at."""
    return next(event.tracker for event in events if isinstance(event, Registered))


async def test_a_directory_is_live(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a": b"1"})
    shared = Events()
    async with node_of(report=shared.report) as sharer, node_of() as getter:
        await sharer.share(source)
        (source / "b").write_bytes(b"new")
        await shared.wait(lambda event: event == FileAdded(b"b", 3))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert [entry.name for entry in await getter.list_files()] == [b"a", b"b"]
        (source / "a").unlink()
        await shared.wait(lambda event: event == FileRemoved(b"a"))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert [entry.name for entry in await getter.list_files()] == [b"b"]
        (source / "b").write_bytes(b"newer")
        await shared.wait(lambda event: event == FileAdded(b"b", 5, changed=True))
        done = await getter.get(b"b", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"newer"
        assert done.size == 5


async def test_what_is_there_already_is_not_fetched(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a": b"same" * 1000})
    target = fill(tmp_path / "target", {"a": b"same" * 1000})
    shared = Events()
    async with node_of(report=shared.report) as sharer, node_of() as getter:
        await sharer.share(source)
        await registered_with_digests(getter, b"a")
        done = await getter.get(b"a", target / "a")
    assert done.already
    assert done.fetched == 0
    assert os.listdir(target) == ["a"]


async def registered_with_digests(node: Node, name: bytes) -> bytes:
    """Wait until a tracker knows what proves a file. Returns: its MD5."""
    with trio.fail_after(20):
        while True:
            try:
                return await node.checksum(name)
            except NobodyHasIt:
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_another_content_is_not_written_over(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a": b"theirs"})
    target = fill(tmp_path / "target", {"a": b"mine"})
    async with node_of() as sharer, node_of() as getter:
        await sharer.share(source)
        await registered_with_digests(getter, b"a")
        done = await getter.get(b"a", target / "a")
        assert done.path == target / "a~1~"
        assert (target / "a").read_bytes() == b"mine"
        forced = await getter.get(b"a", target / "a", GetOptions(force=True))
    assert forced.path == target / "a"
    assert (target / "a").read_bytes() == b"theirs"


async def test_nobody_has_it(node_of: OpenNode, tmp_path: Path) -> None:
    async with node_of() as getter:
        with pytest.raises(NobodyHasIt):
            await getter.get(b"nothing", tmp_path / "nothing")
        with pytest.raises(NobodyHasIt):
            await getter.checksum(b"nothing")
    assert not (tmp_path / "nothing").exists()


async def test_no_tracker_is_one_plain_error(tmp_path: Path) -> None:
    listener = await TcpNetwork().listen(0)
    port = listener.address.port
    listener.close()
    async with open_node(trackers=[str(port)], cache=tmp_path / "cache") as node:
        with trio.fail_after(5):
            with pytest.raises(TrackerUnreachable):
                await node.get(b"a", tmp_path / "a")
            with pytest.raises(TrackerUnreachable):
                async with node.open_get([Wanted(b"a", tmp_path / "a")]) as events:
                    async for _ in events:
                        pass
            with pytest.raises(TrackerUnreachable):
                await node.share(fill(tmp_path / "source", {"a": b"1"}))


async def test_one_target_is_fetched_once_at_a_time(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a": FILES["large.bin"]})
    async with node_of() as sharer, node_of(limit_down=2_000_000) as getter:
        await sharer.share(source)
        await registered_with_digests(getter, b"a")
        started = trio.Event()

        def report(event: Event) -> None:
            if isinstance(event, TransferProgress):
                started.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(getter.get, b"a", tmp_path / "a", GetOptions(), report)
            await started.wait()
            with pytest.raises(TargetLocked):
                await getter.get(b"a", tmp_path / "a")
            nursery.cancel_scope.cancel()
        assert not (tmp_path / "a").exists()


async def test_a_cancelled_fetch_is_resumed(node_of: OpenNode, tmp_path: Path) -> None:
    data = FILES["large.bin"]
    source = fill(tmp_path / "source", {"a": data})
    async with node_of() as sharer:
        await sharer.share(source)
        async with node_of(limit_down=4_000_000) as first:
            await registered_with_digests(first, b"a")
            with trio.CancelScope() as scope:

                def report(event: Event) -> None:
                    if isinstance(event, TransferProgress) and event.done > 2_000_000:
                        scope.cancel()

                await first.get(b"a", tmp_path / "a", report=report)
        assert scope.cancelled_caught
        assert not (tmp_path / "a").exists()
        async with node_of() as second:
            done = await second.get(b"a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data
    assert done.resumed > 1_000_000
    assert done.fetched == len(data) - done.resumed


async def test_proof_can_be_demanded(node_of: OpenNode, tmp_path: Path, nursery: trio.Nursery) -> None:
    async with node_of() as getter:
        await register_by_hand(getter, nursery, b"bare", None, b"content")
        with pytest.raises(Unverified):
            await getter.get(b"bare", tmp_path / "bare", GetOptions(require_verified=True))
        done = await getter.get(b"bare", tmp_path / "bare")
    assert done.verified is None
    assert (tmp_path / "bare").read_bytes() == b"content"


async def register_by_hand(node: Node, nursery: trio.Nursery, name: bytes, md5: bytes | None, body: bytes) -> None:
    """Be an old peer: register a name by hand, and send `body` to whoever connects."""
    listener = await TcpNetwork().listen(0, "127.0.0.1")

    async def serve() -> None:
        try:
            while True:
                connection = await listener.accept()
                await connection.receive(4096)
                await connection.send(body)
                connection.close()
        finally:
            listener.close()

    nursery.start_soon(serve)
    host, port = node.tracker_addresses[0]
    stream = await trio.open_tcp_stream(host, port)
    await stream.receive_some(4096)
    for line in [
        b"ADDR old 127.0.0.1:%d\n" % listener.address.port,
        b"HAVE %s %s\n" % (name, write_md5(md5) if md5 else b""),
    ]:
        await stream.send_all(line)
        assert (await stream.receive_some(4096)).startswith(b"200")
    nursery.start_soon(keep_open, stream)


async def keep_open(stream: trio.SocketStream) -> None:
    async with stream:
        await trio.sleep_forever()


async def test_a_wrong_content_is_never_under_the_final_name(
    node_of: OpenNode, tmp_path: Path, nursery: trio.Nursery
) -> None:
    async with node_of() as getter:
        await register_by_hand(getter, nursery, b"lie", bytes(16), b"not what the checksum says")
        with pytest.raises(ChecksumMismatch):
            await getter.get(b"lie", tmp_path / "lie")
    assert os.listdir(tmp_path) == ["cache0.sqlite"] or not (tmp_path / "lie").exists()


async def test_dead_holders_are_a_network_error(node_of: OpenNode, tmp_path: Path, nursery: trio.Nursery) -> None:
    listener = await TcpNetwork().listen(0, "127.0.0.1")
    listener.close()
    async with node_of() as getter:
        host, port = getter.tracker_addresses[0]
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.receive_some(4096)
            await stream.send_all(b"ADDR gone 127.0.0.1:%d\nHAVE x\n" % listener.address.port)
            await stream.receive_some(4096)
            with trio.fail_after(10), pytest.raises(ConnectFailed):
                await getter.get(b"x", tmp_path / "x")


async def test_globs_and_names(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"p/a.jpg": b"1", "p/b.jpg": b"2", "p/[x].jpg": b"3", "q": b"4"})
    async with node_of() as sharer, node_of() as getter:
        await sharer.share(source)
        assert await getter.expand([b"p/*.jpg", b"q", b"p/a.jpg"]) == [b"p/[x].jpg", b"p/a.jpg", b"p/b.jpg", b"q"]
        assert await getter.expand([b"p/[x].jpg"]) == [b"p/[x].jpg"]
        assert await getter.expand([b"unknown"]) == [b"unknown"]
        with pytest.raises(NobodyHasIt):
            await getter.expand([b"*.png"])


async def test_a_seed_shares_what_it_fetched(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a": b"seed me"})
    async with node_of() as getter, node_of() as third:
        async with node_of() as sharer:
            await sharer.share(source)
            await registered_with_digests(getter, b"a")
            async with getter.open_get([Wanted(b"a", tmp_path / "got")], GetOptions(seed=True)) as events:
                assert [event async for event in events if isinstance(event, TransferDone)]
        done = await third.get(b"a", tmp_path / "third")
    assert (tmp_path / "third").read_bytes() == b"seed me"
    assert done.sources[0].fetched == 7


async def test_what_was_fetched_is_offered_only_as_long_as_it_is_there(node_of: OpenNode, tmp_path: Path) -> None:
    """A large file, which a swarm shares without being asked to, and which --seed shares, too."""
    source = fill(tmp_path / "source", {"a": FILES["large.bin"]})
    async with node_of() as getter, node_of() as third:
        async with node_of() as sharer:
            await sharer.share(source)
            await registered_with_digests(getter, b"a")
            await getter.get(b"a", tmp_path / "got", GetOptions(seed=True))
        (tmp_path / "got").unlink()
        with trio.fail_after(10):
            while await third.list_files():
                await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(NobodyHasIt):
            await third.get(b"a", tmp_path / "third")


async def test_the_tracker_may_go_and_come_back(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a": b"1", "b": b"2"})
    network = TcpNetwork()
    listener = await network.listen(0)
    port = listener.address.port
    listener.close()
    shared = Events()

    async with open_node(trackers=[str(port)], cache=tmp_path / "cache", report=shared.report) as sharer:
        async with trio.open_nursery() as first:
            await start_tracker(first, network, port=port)
            await sharer.share(source)
            first.cancel_scope.cancel()
        async with trio.open_nursery() as second:
            await start_tracker(second, network, port=port)
            shared.clear()
            await shared.wait(lambda event: isinstance(event, Registered) and event.registered == 2)
            assert [entry.name for entry in await sharer.list_files()] == [b"a", b"b"]
            second.cancel_scope.cancel()


async def test_a_limit_of_files_is_told_honestly(tmp_path: Path, nursery: trio.Nursery) -> None:
    addresses, _ = await start_tracker(nursery, limits=replace(Limits(), max_files=3))
    source = fill(tmp_path / "source", {f"f{number}": b"x" for number in range(5)})
    shared = Events()
    async with open_node(trackers=[str(addresses[0].port)], cache=tmp_path / "cache", report=shared.report) as sharer:
        await sharer.share(source)
        event = await shared.wait(lambda event: isinstance(event, Registered))
    assert isinstance(event, Registered)
    assert (event.registered, event.total) == (3, 5)


async def test_the_checksum_is_the_files(node_of: OpenNode, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"empty": b""})
    async with node_of() as sharer, node_of() as getter:
        await sharer.share(source)
        digest = await registered_with_digests(getter, b"empty")
    assert digest == bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")
    assert parse_md5(write_md5(digest)) == digest


async def test_a_sharer_is_known_over_both_families(tmp_path: Path, nursery: trio.Nursery) -> None:
    class BothFamilies(TcpNetwork):
        """Where localhost has both families, which is not so on every machine."""

        async def resolve(self, host: str) -> list[str]:
            return ["127.0.0.1", "::1"]

    try:
        (await TcpNetwork().listen(0, "::1")).close()
    except ListenFailed:
        pytest.skip("this machine has no IPv6")

    addresses, _ = await start_tracker(nursery, options=TrackerOptions(local=True))
    source = fill(tmp_path / "source", {"a": b"both"})
    tracker = f"localhost:{addresses[0].port}"
    network = BothFamilies()
    async with open_node(trackers=[tracker], cache=tmp_path / "c1", network=network) as sharer:
        await sharer.share(source)
        async with open_node(trackers=[tracker], cache=tmp_path / "c2") as getter:
            with trio.fail_after(10):
                while {peer.address.host for peer in await getter.list_peers()} != {"127.0.0.1", "::1"}:
                    await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_content_that_the_user_names_is_proved_over_the_base_protocol_too(
    tmp_path: Path, node_of: OpenNode, nursery: trio.Nursery
) -> None:
    body = b"what an old peer has"
    (tmp_path / "same").write_bytes(body)
    b3 = (await digest_in_thread(tmp_path / "same")).digests.b3
    async with (
        open_old_tracker() as old,
        open_node(trackers=[f"{old.host}:{old.port}"], cache=tmp_path / "c") as getter,
    ):
        await register_by_hand(getter, nursery, b"old", None, body)
        with pytest.raises(ChecksumMismatch):
            await getter.get(b"old", tmp_path / "wrong", b3=bytes(32))
        assert not (tmp_path / "wrong").exists()
        done = await getter.get(b"old", tmp_path / "right", b3=b3)
    assert done.verified == "b3"
    assert (tmp_path / "right").read_bytes() == body


async def test_many_small_files_arrive_whatever_is_odd_about_some(node_of: OpenNode, tmp_path: Path) -> None:
    files = {f"d{number % 7}/f{number}": b"%d" % number * 50 for number in range(300)}
    files["large"] = FILES["large.bin"]
    source = fill(tmp_path / "source", files)
    target = fill(tmp_path / "target", {"d0/f0": b"mine", "d1/f1": files["d1/f1"]})
    async with node_of() as sharer, node_of() as getter:
        await sharer.share(source)
        for name in files:
            await registered_with_digests(getter, name.encode())
        (source / "d2" / "f2").write_bytes(b"changed since it was listed")
        wanted = [Wanted(name.encode(), target / name) for name in files]
        wanted.append(Wanted(b"nobody/has/this", target / "nothing"))
        ended: dict[bytes, Event] = {}
        async with getter.open_get(wanted) as events:
            async for event in events:
                if isinstance(event, TransferDone | TransferFailed):
                    assert event.name not in ended
                    ended[event.name] = event
    assert isinstance(ended.pop(b"nobody/has/this"), TransferFailed)
    assert (target / "d0/f0").read_bytes() == b"mine"
    assert (target / "d0/f0~1~").read_bytes() == files["d0/f0"]
    again = ended.pop(b"d1/f1")
    assert isinstance(again, TransferDone)
    assert again.already
    changed = ended.pop(b"d2/f2")  # the old content, the new one, or neither: never something else
    if isinstance(changed, TransferDone):
        assert (target / "d2/f2").read_bytes() in (files["d2/f2"], b"changed since it was listed")
    for wire, result in ended.items():
        assert isinstance(result, TransferDone)
        assert result.verified == "b3"
        if wire != b"d0/f0":
            assert (target / os.fsdecode(wire)).read_bytes() == files[os.fsdecode(wire)]
    assert list(target.rglob(".*")) == []
