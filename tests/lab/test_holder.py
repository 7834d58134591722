"""The lab's simple peers register, serve, trickle, and close as old ones do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from osp2p.errors import ConnectFailed, TrackerRefused
from osp2p.lab.holder import run_holder
from osp2p.limits import DEFAULT
from osp2p.wire.address import Address
from tests.standins.old_client import Listed, fetch_from, open_old_connection
from tests.standins.old_tracker import OldTracker, open_old_tracker

CONTENTS = {b"a b.bin": b"x" * 3000, b"empty": b""}


@asynccontextmanager
async def holding(rate: float | None = None) -> AsyncIterator[tuple[OldTracker, Listed]]:
    async with open_old_tracker() as tracker, trio.open_nursery() as nursery:
        where = await nursery.start(run_holder, Address(tracker.host, tracker.port), b"an na", CONTENTS, rate, DEFAULT)
        yield tracker, Listed(b"an na", where.host, where.port)
        nursery.cancel_scope.cancel()


async def test_it_is_listed_with_checksums() -> None:
    async with holding() as (tracker, listed), open_old_connection(tracker.host, tracker.port) as asker:
        assert [peer.port for peer in tracker.holders(b"a b.bin")] == [listed.port]
        assert set(tracker.checksums) == set(CONTENTS)
        answer = await asker.ask(b"MD5SUM empty")
        assert len(answer.split(b"\n")[0]) == 22


async def test_it_serves_and_closes() -> None:
    async with holding() as (_, listed):
        assert await fetch_from(listed, b"a%20b.bin") == CONTENTS[b"a b.bin"]
        assert await fetch_from(listed, b"nothing") == b""
        async with await trio.open_tcp_stream(listed.host, listed.port) as stream:
            await stream.send_all(b"HELLO OSP2P/2\n")
            assert await stream.receive_some(10) == b""


async def test_it_trickles_to_several_at_a_time() -> None:
    async with holding(rate=10_000) as (_, listed), trio.open_nursery() as nursery:
        begun = trio.current_time()

        async def fetch() -> None:
            assert await fetch_from(listed, b"a%20b.bin") == CONTENTS[b"a b.bin"]
            assert trio.current_time() - begun >= 0.25

        for _ in range(3):
            nursery.start_soon(fetch)


async def test_a_tracker_that_refuses_is_told() -> None:
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as first:
        await first.ask(b"ADDR anna 127.0.0.1:1")
        await first.ask(b"HAVE empty abcdefghijklmnopqrstua")
        with pytest.raises(TrackerRefused, match="HAVE empty"):
            await run_holder(Address(tracker.host, tracker.port), b"x", CONTENTS, None, DEFAULT)
    with pytest.raises(ConnectFailed):
        await run_holder(Address("127.0.0.1", 1), b"x", CONTENTS, None, DEFAULT)
