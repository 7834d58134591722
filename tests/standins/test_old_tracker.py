"""The stand-in tracker does what the tracker of 2007 did, its holes included."""

from __future__ import annotations

import trio

from tests.standins.old_client import open_old_connection
from tests.standins.old_tracker import FAKES, MAX_FILES, open_old_tracker

ONE = b"abcdefghijklmnopqrstua"
OTHER = b"bbcdefghijklmnopqrstua"


async def test_registers_and_forgets_with_the_connection() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as asker:
        async with open_old_connection(tracker.host, tracker.port) as holder:
            assert await holder.ask(b"HAVE a.txt") == b"300 ADDR first\n"
            assert (await holder.ask(b"ADDR anna 10.0.0.1:4001")).startswith(b"220-")
            assert (await holder.ask(b"have a%20b.txt\r")).startswith(b"200")
            assert (await asker.ask(b"LIST")).startswith(b"FILE a%20b.txt\n200 ")
            assert (await asker.ask(b"WANT a%20b.txt")).startswith(b"PEER anna 127.0.0.1:4001\n200 ")
        while tracker.registered:
            await trio.lowlevel.checkpoint()
        assert (await asker.ask(b"WANT a%20b.txt")).startswith(b"300")


async def test_says_500_to_hello_and_goes_on() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as peer:
        assert (await peer.ask(b"HELLO OSP2P/2")).startswith(b"500 ")
        assert (await peer.ask(b"LIST")).startswith(b"200 ")


async def test_refuses_even_repeats_beyond_its_limit_of_files() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as peer:
        await peer.ask(b"ADDR anna 127.0.0.1:4001")
        for number in range(MAX_FILES - 1):
            await peer.ask(b"HAVE f%d" % number)
        assert (await peer.ask(b"HAVE f0")).startswith(b"220 ")
        assert (await peer.ask(b"HAVE last")).startswith(b"200 ")
        assert (await peer.ask(b"HAVE beyond")).startswith(b"300 ")
        assert (await peer.ask(b"HAVE f0 " + ONE)).startswith(b"300 ")


async def test_keeps_a_checksum_for_ever_and_takes_a_bare_have_after_a_rejected_one() -> None:
    async with open_old_tracker() as tracker:
        async with open_old_connection(tracker.host, tracker.port) as first:
            await first.ask(b"ADDR anna 127.0.0.1:4001")
            assert (await first.ask(b"HAVE a " + ONE)).startswith(b"200 ")
        async with open_old_connection(tracker.host, tracker.port) as second:
            await second.ask(b"ADDR ben 127.0.0.1:4002")
            assert (await second.ask(b"MD5SUM a")).startswith(ONE)
            assert (await second.ask(b"HAVE a " + OTHER)).startswith(b"500 ")
            assert (await second.ask(b"HAVE a")).startswith(b"200 ")


async def test_prints_aliases_raw() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as peer:
        await peer.ask(b"ADDR x%0APEER%20injected%2010.0.0.1:1%0A 127.0.0.1:4001")
        assert b"\nPEER injected 10.0.0.1:1\n" in await peer.ask(b"WHO")


async def test_fakes_fill_every_answer_beyond_an_old_buffer() -> None:
    async with open_old_tracker(fakes=True) as tracker, await trio.open_tcp_stream(tracker.host, tracker.port) as peer:
        await peer.send_all(b"ADDR anna 127.0.0.1:4001\nHAVE a\nWANT nothing\nWANT a\nQUIT\n")
        everything = b"".join([data async for data in peer])
        assert everything.count(b"PEER fake") == FAKES
        assert everything.count(b"PEER anna") == 1
        assert b"300 Nobody" in everything


async def test_tells_of_arrivals() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as waiting:
        (called,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await waiting.ask(b"ADDR anna 127.0.0.1:%d" % called.socket.getsockname()[1])
        await waiting.ask(b"NOTIFY")
        await waiting.stream.send_all(b"BLOCKNOTIFY\n")
        async with called, open_old_connection(tracker.host, tracker.port) as new:
            while b"BLOCKNOTIFY" not in tracker.heard:
                await trio.lowlevel.checkpoint()
            await new.ask(b"ADDR ben 127.0.0.1:4002")
            assert (await waiting.read_answer()).startswith(b"PEER ben 127.0.0.1:4002\n200 ")
            async with await called.accept() as call:
                assert b"".join([data async for data in call]) == b"NOTIFY ben 127.0.0.1:4002 OSP2P\n"
