"""The stand-in uploaders have each observed habit."""

from __future__ import annotations

import pytest
import trio

from tests.standins.old_client import Listed, fetch_from, open_old_connection
from tests.standins.old_peer import Habits, OldPeer, open_old_peer
from tests.standins.old_tracker import open_old_tracker

FILES = {b"a.txt": b"content of a", b"raw \xff.txt": b"x" * 3000}


def listed(peer: OldPeer) -> Listed:
    return Listed(b"old1", peer.host, peer.port)


async def test_sends_the_file_and_closes() -> None:
    async with open_old_peer(FILES) as peer:
        assert await fetch_from(listed(peer), b"a.txt") == b"content of a"
        assert await fetch_from(listed(peer), b"raw%20%FF.txt") == b"x" * 3000


@pytest.mark.parametrize("request_line", [b"HELLO OSP2P/2", b"GET a.txt", b"GET nothing OSP2P", b"CHECKUPLOAD x y"])
async def test_closes_without_a_byte_on_whatever_it_does_not_know(request_line: bytes) -> None:
    async with open_old_peer(FILES) as peer, await trio.open_tcp_stream(peer.host, peer.port) as stream:
        await stream.send_all(request_line + b"\n")
        assert await stream.receive_some(100) == b""
        assert peer.requests == [request_line]


async def test_serves_one_at_a_time() -> None:
    async with open_old_peer(FILES) as peer:
        async with await trio.open_tcp_stream(peer.host, peer.port):  # says nothing, and blocks everybody
            with trio.move_on_after(0.2) as blocked:
                await fetch_from(listed(peer), b"a.txt")
            assert blocked.cancelled_caught
        with trio.fail_after(5):
            assert await fetch_from(listed(peer), b"a.txt") == b"content of a"


async def test_forking_ones_serve_several() -> None:
    async with (
        open_old_peer(FILES, Habits(one_at_a_time=False)) as peer,
        await trio.open_tcp_stream(peer.host, peer.port),
    ):
        with trio.fail_after(5):
            assert await fetch_from(listed(peer), b"a.txt") == b"content of a"


async def test_serves_nobody_while_it_fetches() -> None:
    async with (
        open_old_tracker() as tracker,
        open_old_peer({b"b": b"bb"}, Habits(sends="nothing"), tracker=(tracker.host, tracker.port)),
        open_old_peer(FILES, tracker=(tracker.host, tracker.port), alias=b"old2", wants=[b"b"]) as peer,
    ):
        with trio.move_on_after(0.2) as blocked:
            await fetch_from(listed(peer), b"a.txt")
        assert blocked.cancelled_caught
        assert not peer.ready.is_set()


async def test_registers_and_serves_what_it_fetched() -> None:
    async with (
        open_old_tracker() as tracker,
        open_old_peer(FILES, tracker=(tracker.host, tracker.port)),
        open_old_peer({}, tracker=(tracker.host, tracker.port), alias=b"old2", wants=[b"a.txt"]) as peer,
    ):
        with trio.fail_after(5):
            await peer.ready.wait()
            assert await fetch_from(listed(peer), b"a.txt") == b"content of a"
        assert len(tracker.holders(b"a.txt")) == 2


async def test_never_closes_after_the_file() -> None:
    async with open_old_peer(FILES, Habits(closes=False)) as peer:
        for _ in range(2):  # and goes on serving
            async with await trio.open_tcp_stream(peer.host, peer.port) as stream:
                await stream.send_all(b"GET a.txt OSP2P\n")
                assert await stream.receive_some(100) == b"content of a"
                with trio.move_on_after(0.2) as silent:
                    await stream.receive_some(100)
                assert silent.cancelled_caught


async def test_trickles() -> None:
    async with open_old_peer(FILES, Habits(rate=10_000)) as peer:
        begun = trio.current_time()
        assert await fetch_from(listed(peer), b"raw%20%FF.txt") == b"x" * 3000
        assert trio.current_time() - begun >= 0.25


@pytest.mark.parametrize("says_quit", [False, True])
async def test_leaves_with_or_without_quit(says_quit: bool) -> None:
    async with open_old_tracker() as tracker:
        async with open_old_peer(FILES, Habits(says_quit=says_quit), tracker=(tracker.host, tracker.port)):
            assert len(tracker.registered) == 1
        while tracker.peers:
            await trio.lowlevel.checkpoint()
        assert (b"QUIT" in tracker.heard) is says_quit


async def test_registers_names_as_they_stand_on_its_disk() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as asker:
        files = {b"caf\xe9.txt": b"x"}
        async with open_old_peer(files, Habits(raw_names=True), tracker=(tracker.host, tracker.port)):
            assert b"HAVE caf\xe9.txt" in tracker.heard
            assert (await asker.ask(b"LIST")).startswith(b"FILE caf%E9.txt\n")
