"""An evil peer is registered like a good one, attacks whoever fetches, and stays within its bounds."""

from __future__ import annotations

import hashlib
import ipaddress
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from osp2p.errors import ListenFailed, NotAllowed, TrackerUnreachable, UnknownAttack
from osp2p.evil import Attacked, Bounds, EvilPeer, list_attacks, run_evil_peer
from osp2p.wire.checksum import write_md5
from tests.standins.old_client import open_old_connection
from tests.standins.old_peer import open_old_peer
from tests.standins.old_tracker import OldTracker, open_old_tracker

CONTENT = random.Random(1).randbytes(50_000)
OTHER = random.Random(2).randbytes(700)
FILES = {b"a b.bin": CONTENT, b"other": OTHER}
SMALL = Bounds(connection_bytes=1_000_000, connection_seconds=0.6)


@asynccontextmanager
async def evil_world(mode: str, **options: Any) -> AsyncIterator[tuple[EvilPeer, OldTracker, list[Attacked]]]:
    """An old tracker, an honest old peer, and one evil peer that claims what it holds."""
    done: list[Attacked] = []
    chosen: dict[str, Any] = {"mode": mode, "seed": 7, "bounds": SMALL, "report": done.append} | options
    async with (
        open_old_tracker() as tracker,
        open_old_peer(FILES, tracker=(tracker.host, tracker.port)),
        trio.open_nursery() as nursery,
    ):
        peer = await nursery.start(partial(run_evil_peer, tracker.host, tracker.port, **chosen))
        yield peer, tracker, done
        nursery.cancel_scope.cancel()


async def fetch(peer: EvilPeer, name: bytes = b"a%20b.bin") -> tuple[bytes, str]:
    """Fetch as a downloader without any defence. Returns: what came, and how it ended."""
    received = bytearray()
    async with await trio.open_tcp_stream(peer.host, peer.port) as stream:
        await stream.send_all(b"GET %s OSP2P\n" % name)
        try:
            async for data in stream:
                received += data
        except trio.BrokenResourceError:
            return bytes(received), "reset"
    return bytes(received), "closed"


Check = Callable[[bytes], bool]
HALF = CONTENT[:25_000]

BODIES: dict[str, Check] = {
    "endless/zeros": lambda body: body == bytes(1_000_000),
    "endless/noise": lambda body: len(body) == 1_000_000,
    "endless/loop": lambda body: body == (CONTENT * 20),
    "endless/tail": lambda body: body == CONTENT + bytes(1_000_000 - len(CONTENT)),
    "endless/drip": lambda body: len(body) == 1,
    "silence/accept": lambda body: body == b"",
    "silence/unread": lambda body: body == b"",
    "silence/first-byte": lambda body: body == CONTENT[:1],
    "silence/middle": lambda body: body == HALF,
    "silence/last-byte": lambda body: body == CONTENT[:-1],
    "truncated/nothing": lambda body: body == b"",
    "truncated/first": lambda body: body == CONTENT[:1],
    "truncated/half": lambda body: body == HALF,
    "truncated/byte": lambda body: body == CONTENT[:-1],
    "truncated/reset": lambda body: HALF.startswith(body),
    "wrong/size-kept": lambda body: len(body) == len(CONTENT) and body != CONTENT,
    "wrong/bit": lambda body: sum((x ^ y).bit_count() for x, y in zip(body, CONTENT, strict=True)) == 1,
    "wrong/turned": lambda body: body == CONTENT[25_000:] + HALF,
    "wrong/file": lambda body: body == OTHER,
    "wrong/longer": lambda body: body[:-1] == CONTENT and len(body) == len(CONTENT) + 1,
    "garbage/noise": lambda body: 0 < len(body) <= 200_000 and body != CONTENT,
    "garbage/refusal": lambda body: body.startswith(b"500 "),
    "garbage/http": lambda body: body.startswith(b"HTTP/") and body.endswith(CONTENT),
    "garbage/reply": lambda body: body.startswith(b"DATA "),
    "garbage/terminal": lambda body: b"\x1b[2J" in body and b"\n" not in body,
}


def test_every_attack_on_downloaders_is_checked_here() -> None:
    assert set(BODIES) <= {one.id for one in list_attacks("downloader", "old holder")}


@pytest.mark.parametrize("mode", BODIES)
async def test_each_attack_does_what_it_says(mode: str) -> None:
    async with evil_world(mode) as (peer, _, done):
        with trio.fail_after(10):
            body, end = await fetch(peer)
            while not done:
                await trio.lowlevel.checkpoint()
        assert BODIES[mode](body), body[:80]
        if mode != "silence/unread":  # it ends with an unread request, which the kernel answers with a reset
            assert end == ("reset" if mode == "truncated/reset" else "closed")
        (event,) = done
        assert event.attack == mode
        assert event.name == (b"" if mode == "silence/unread" else b"a b.bin")
        if mode != "truncated/reset":
            assert event.sent == len(body)
        if mode.startswith("silence") or mode == "endless/drip":
            assert event.ended == "time spent"
        elif mode.startswith("endless"):
            assert event.ended == "bytes spent"
        else:
            assert event.ended == "done"


async def test_it_claims_all_that_is_listed_and_is_listed_itself() -> None:
    async with evil_world("", alias=b"ev il") as (peer, tracker, _):
        assert sorted(peer.names) == [b"a b.bin", b"other"]
        assert [len(tracker.holders(name)) for name in peer.names] == [2, 2]
        assert any(one.alias == b"ev il" for one in tracker.registered)


async def test_it_claims_only_what_it_is_told_to() -> None:
    async with evil_world("", names=[b"other", b"new"]) as (peer, tracker, _):
        assert peer.names == (b"other", b"new")
        assert [len(tracker.holders(name)) for name in (b"a b.bin", b"other", b"new")] == [1, 2, 1]
        body, _end = await fetch(peer, b"new")
        assert body, "where nobody is honest there is noise to send"


async def test_it_claims_what_comes_later() -> None:
    async with (
        evil_world("", look_every=0.01) as (_, tracker, _done),
        open_old_peer({b"late": b"x"}, tracker=(tracker.host, tracker.port)),
    ):
        with trio.fail_after(10):
            while len(tracker.holders(b"late")) < 2:
                await trio.lowlevel.checkpoint()


async def test_it_repeats_the_checksum_that_the_tracker_knows() -> None:
    checksum = b"abcdefghijklmnopqrstua"
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as honest:
        await honest.ask(b"ADDR anna 127.0.0.1:1")
        await honest.ask(b"HAVE a " + checksum)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(run_evil_peer, tracker.host, tracker.port, seed=1))
            assert tracker.heard[-1] == b"HAVE a " + checksum
            nursery.cancel_scope.cancel()


async def test_the_same_seed_attacks_alike() -> None:
    bodies = []
    for seed in (1, 1, 2):
        async with evil_world("garbage/noise", seed=seed) as (peer, _, _done):
            bodies.append([(await fetch(peer))[0] for _ in range(3)])
    assert bodies[0] == bodies[1]
    assert bodies[0] != bodies[2]
    assert bodies[0][0] != bodies[0][1]


async def test_families_take_turns() -> None:
    async with evil_world("", bounds=Bounds(connection_bytes=1000, connection_seconds=0.05)) as (peer, _, done):
        for _ in range(5):
            await fetch(peer)
        while len(done) < 5:
            await trio.lowlevel.checkpoint()
        families = [event.attack.partition("/")[0] for event in done]
        assert sorted(families) == ["endless", "garbage", "silence", "truncated", "wrong"]


async def test_all_bytes_together_are_bounded() -> None:
    bounds = Bounds(connection_bytes=60_000, connection_seconds=5, total_bytes=100_000)
    async with evil_world("endless/zeros", bounds=bounds) as (peer, _, _done):
        assert [len((await fetch(peer))[0]) for _ in range(3)] == [60_000, 40_000, 0]


async def test_a_victim_that_leaves_is_let_go() -> None:
    async with evil_world("silence", bounds=Bounds(connection_seconds=60)) as (peer, _, done):
        async with await trio.open_tcp_stream(peer.host, peer.port) as stream:
            await stream.send_all(b"GET other OSP2P\n")
        with trio.fail_after(5):
            while not done:
                await trio.lowlevel.checkpoint()
        assert done[0].ended in ("left", "done")


async def test_a_hello_is_answered_as_by_an_old_peer() -> None:
    async with evil_world("wrong") as (peer, _, _done), await trio.open_tcp_stream(peer.host, peer.port) as stream:
        await stream.send_all(b"HELLO OSP2P/2\n")
        assert await stream.receive_some(100) == b""


async def test_nobody_outside_the_allowed_networks_is_attacked() -> None:
    only = [ipaddress.ip_network("127.0.0.2/32")]
    async with open_old_tracker() as tracker:
        with pytest.raises(NotAllowed, match=r"127\.0\.0\.2/32"):
            await run_evil_peer(tracker.host, tracker.port, seed=1, allowed=only)
        assert not tracker.heard
    both = [ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("192.0.2.0/24")]
    async with evil_world("wrong", allowed=both) as (peer, _, done):
        with trio.socket.socket() as stranger:
            await stranger.bind(("127.0.0.3", 0))
            await stranger.connect((peer.host, peer.port))
            assert await stranger.recv(100) == b""
        assert not done
        assert (await fetch(peer))[0]


async def test_what_cannot_begin_says_so() -> None:
    with pytest.raises(UnknownAttack):
        await run_evil_peer("127.0.0.1", 1, "nonsense", seed=1)
    with pytest.raises(TrackerUnreachable, match=r"127\.0\.0\.1:1"):
        await run_evil_peer("127.0.0.1", 1, seed=1)
    async with open_old_tracker() as tracker:
        with pytest.raises(ListenFailed):
            await run_evil_peer(tracker.host, tracker.port, seed=1, port=tracker.port)


async def test_what_is_known_is_not_fetched() -> None:
    async with evil_world("truncated/byte", known={b"other": b"12345"}) as (peer, _, done):
        assert (await fetch(peer, b"other"))[0] == b"1234"
        assert (await fetch(peer))[0] == CONTENT[:-1]
    assert [event.name for event in done] == [b"other", b"a b.bin"]


async def test_what_other_evil_peers_say_is_not_taken_for_the_content() -> None:
    async with evil_world("silence/first-byte") as (first, tracker, _), trio.open_nursery() as nursery:
        await tracker_learns_checksums(tracker)
        start = partial(run_evil_peer, tracker.host, tracker.port, "truncated/byte", seed=1, alias=b"second")
        with trio.fail_after(10):
            second = await nursery.start(start)
            assert (await fetch(second))[0] == CONTENT[:-1]
        assert first.port != second.port
        nursery.cancel_scope.cancel()


async def tracker_learns_checksums(tracker: OldTracker) -> None:
    async with open_old_connection(tracker.host, tracker.port) as peer:
        await peer.ask(b"ADDR third 127.0.0.1:1")
        for name, content in FILES.items():
            await peer.ask(b"HAVE %s %s" % (name.replace(b" ", b"%20"), write_md5(hashlib.md5(content).digest())))


async def test_an_empty_file_is_not_asked_for_and_attacked_with_noise() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as honest:
        await honest.ask(b"ADDR anna 127.0.0.1:1")
        await honest.ask(b"HAVE empty " + write_md5(hashlib.md5(b"").digest()))
        async with trio.open_nursery() as nursery:
            peer = await nursery.start(partial(run_evil_peer, tracker.host, tracker.port, "wrong/bit", seed=1))
            assert b"WANT empty" not in tracker.heard
            assert len((await fetch(peer, b"empty"))[0]) >= 1000
            nursery.cancel_scope.cancel()


async def test_a_lost_tracker_ends_it_with_one_error() -> None:
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[EvilPeer]) -> None:
            with pytest.raises(TrackerUnreachable):
                await run_evil_peer(tracker.host, tracker.port, seed=1, look_every=0.01, task_status=task_status)

        async with open_old_tracker() as tracker:
            await nursery.start(run)
