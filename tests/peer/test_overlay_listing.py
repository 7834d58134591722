"""Lists of sharers that the overlay names: put together, and bounded, whatever strangers say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import trio
from trio.testing import MockClock

from osp2p.limits import KIB, Limits
from osp2p.net import LineConnection, MemoryNetwork
from osp2p.overlay.node import Overlay
from osp2p.peer.overlay_listing import list_overlay
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry
from osp2p.wire.reply import write_reply
from osp2p.wire.request import parse_request

LIMITS = Limits()
B3 = b"b3=" + b"0" * 64

#: The page that a sharer gives behind a name.
Page = Callable[[bytes], Iterable[bytes]]


class Named:
    """An overlay that names sharers."""

    network = "osp2p"

    def __init__(self, peers: list[Address]) -> None:
        self._peers = peers

    async def wait_connected(self, patience: float) -> None:
        pass

    @asynccontextmanager
    async def open_search(self, key: bytes) -> AsyncIterator[trio.MemoryReceiveChannel[list[Address]]]:
        send, receive = trio.open_memory_channel[list[Address]](1)
        send.send_nowait(self._peers)
        send.close()
        with receive:
            yield receive


async def listed(limits: Limits, *sharers: Page, told: list[str] | None = None) -> list[FileEntry]:
    """What is found where there are these sharers.

    Args:
        told: gets what is said of limits.
    """
    remarks: list[str] = []
    network = MemoryNetwork()

    async def serve(number: int, page: Page, task_status: trio.TaskStatus[None]) -> None:
        listener = await network.listen(number)
        task_status.started()
        connection = await listener.accept()
        lines = LineConnection(connection, limits)
        await lines.read_line(float("inf"))
        await connection.send(b"200 hello\n")
        while (line := await lines.read_line(float("inf"))) is not None:
            request = parse_request(line, attributes=True)
            assert request is not None
            await connection.send(write_reply(200, b"so it is", page(request.attributes.get(b"after", b""))))

    async with trio.open_nursery() as nursery:
        for number, page in enumerate(sharers, 1):
            await nursery.start(serve, number, page)
        peers = [Address(network.address, number) for number, _ in enumerate(sharers, 1)]
        found = await list_overlay(cast(Overlay, Named(peers)), network, b"", limits, remarks.append)
        nursery.cancel_scope.cancel()
    assert remarks == (told or [])
    return found


def once(*lines: bytes) -> Page:
    return lambda after: lines if not after else ()


async def test_lists_are_put_together_each_content_of_a_name_once(autojump_clock: MockClock) -> None:
    mine, theirs = once(b"FILE a size=1 " + B3, b"FILE b size=2"), once(b"FILE a size=1 " + B3, b"FILE a size=3")
    found = await listed(LIMITS, mine, theirs)
    assert [(entry.name, entry.attributes.get(b"size")) for entry in found] == [
        (b"a", b"3"),
        (b"a", b"1"),
        (b"b", b"2"),
    ]


async def test_a_line_that_cannot_be_read_says_nothing_about_others(autojump_clock: MockClock) -> None:
    found = await listed(LIMITS, once(b"FILE a", b"NOTHING", b"FILE b"))
    assert [entry.name for entry in found] == [b"a", b"b"]


async def test_attributes_that_mean_nothing_are_not_kept(autojump_clock: MockClock) -> None:
    many = b" ".join(b"k%d=" % number for number in range(600))
    (entry,) = await listed(LIMITS, once(b"FILE a size=1 " + many))
    assert entry.attributes == {b"size": b"1"}


async def test_lists_without_end_take_no_more_memory_than_may_be(autojump_clock: MockClock) -> None:
    def endless(first: int) -> Page:
        def page(after: bytes) -> Iterable[bytes]:
            start = int(after[:10] or b"%d" % first) + 1
            return [b"FILE %010d%s" % (number, b"x" * 900) for number in range(start, start + 100)]

        return page

    limits = replace(LIMITS, max_listed_bytes=500 * KIB)
    told = ["the overlay's list is cut off at 512000 bytes (max_listed_bytes)"]
    found = await listed(limits, endless(0), endless(500_000), told=told)
    assert 400 <= len(found) <= 512 * 1024 // 900
    for most in (200, 250):
        told = [f"the overlay's list is cut off at {most} files (max_listed_files)"]
        limits = replace(LIMITS, max_listed_files=most)
        assert len(await listed(limits, endless(0), endless(500_000), told=told)) == most


async def test_sharers_that_are_not_asked_are_told_of(autojump_clock: MockClock) -> None:
    told = ["only 2 of those who share were asked what they have (max_found_peers)"]
    assert len(await listed(replace(LIMITS, max_found_peers=2), once(b"FILE a"), once(b"FILE b"), told=told)) == 2


async def test_one_who_gives_his_list_too_slowly_is_told_of(autojump_clock: MockClock) -> None:
    def dripping(after: bytes) -> Iterable[bytes]:
        return [b"FILE %010d" % (int(after or b"0") + 1)]

    limits = replace(LIMITS, listing_timeout=0.0)
    assert await listed(limits, dripping, told=["the overlay's list is cut off at 0 s (listing_timeout)"]) == []
