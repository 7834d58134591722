"""What trackers say of files and peers, and what of it is not believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from osp2p.errors import (
    NobodyHasIt,
    TimedOut,
    TrackerError,
    TrackerRefused,
)
from osp2p.limits import Limits
from osp2p.net import TcpNetwork
from osp2p.peer.tracker_client import TrackerClient, open_tracker
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from tests.peer.scripted import (
    HOST,
    PORT,
    Answer,
    client_of,
    here,
    new,
    new_tracker,
    old,
    open_old,
)
from tests.standins.old_peer import open_old_peer
from tests.standins.old_tracker import open_old_tracker

LIMITS = Limits()
MD5 = hashlib.md5(b"content", usedforsecurity=False).digest()
B3 = bytes(range(32))


# --- facts ---


async def test_facts_of_an_old_tracker(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, _), open_tracker(network, HOST, PORT, LIMITS) as client:
        books.checksums[b"a b"] = write_md5(MD5)
        for number in range(3):
            async with open_tracker(network, HOST, PORT, LIMITS) as holder:
                await holder.request(b"ADDR p%d 10.0.0.2:%d\n" % (number, 4000 + number))
                await holder.request(b"HAVE a%20b\n")
                (facts,) = await client.facts([b"a b"])
                assert facts.md5 == MD5
                assert (facts.b3, facts.size) == (None, None)
                assert [entry.address.port for entry in facts.holders] == [4000 + number]
        assert await client.checksum(b"a b") == MD5
        assert await client.facts_of(b"a b", B3) == TrackerFacts((), b3=B3)
        with pytest.raises(NobodyHasIt):
            await client.checksum(b"b")


async def test_facts_over_real_sockets() -> None:
    async with (
        open_old_tracker(fakes=True) as tracker,
        open_old_peer({b"caf\xe9": b"content"}, tracker=(tracker.host, tracker.port)) as peer,
        open_tracker(TcpNetwork(), tracker.host, tracker.port, LIMITS) as client,
    ):
        (facts,) = await client.facts([b"caf\xe9"])
        assert len(facts.holders) == 251
        assert Address(peer.host, peer.port) in [entry.address for entry in facts.holders]
        assert len(await client.holders(b"caf\xe9", B3)) == 251
        assert len(await client.list_peers()) == 251


GARBAGE = [
    b"PEER",
    b"PEER onlyalias",
    b"PEER a 10.0.0.1:0",
    b"PEER a 10.0.0.1:65536",
    b"PEER a 10.0.0.256:1",
    b"PEER a 0.0.0.0:1",
    b"PEER a localhost:1",
    b"PEER a 10.0.0.1:1 v=2 v=2",
    b"PEER a 10.0.0.1:1 more words",
    b"FILE a",
    b"\x00\xff",
    b"",
]


@pytest.mark.parametrize("hello", [True, False])
async def test_peer_lines_that_cannot_be_read_take_nothing_from_the_others(
    autojump_clock: MockClock, hello: bool
) -> None:
    lines = [b"PEER one 10.0.0.3:1", *GARBAGE, b"PEER two 10.0.0.3:2"]

    def answer(line: bytes) -> bytes | None:
        if line.startswith(b"HELLO"):
            return b"200 hello\n" if hello else b"500 what\n"
        return b"\n".join(lines) + b"\n200 so many\n"

    async with client_of(answer) as (client, _):
        (facts,) = await client.facts([b"a"])
        assert [entry.alias for entry in facts.holders] == [b"one", b"two"]
        assert [entry.alias for entry in await client.list_peers()] == [b"one", b"two"]
        assert (facts.md5, facts.b3, facts.size) == (None, None, None)


async def test_an_old_trackers_raw_alias_with_an_equals_sign_is_a_peer(autojump_clock: MockClock) -> None:
    async with client_of(lambda line: b"PEER a=b 10.0.0.3:1\n200 x\n" if b"HELLO" not in line else b"500 x\n") as (
        client,
        _,
    ):
        (facts,) = await client.facts([b"a"])
        assert [entry.alias for entry in facts.holders] == [b"a=b"]
        assert len(await client.list_peers()) == 1


async def test_an_old_tracker_names_no_ipv6(autojump_clock: MockClock) -> None:
    for answer, count in ((old, 0), (new(), 1)):

        def with_peer(line: bytes, answer: Answer = answer) -> bytes | None:
            return b"PEER a [2001:db8::1]:1\n200 x\n" if line.startswith(b"WANT") else answer(line)

        async with client_of(with_peer) as (client, _):
            assert [len(fact.holders) for fact in await client.facts([b"a"])] == [count]


async def test_no_more_than_max_holders_are_remembered(autojump_clock: MockClock) -> None:
    peers = b"".join(b"PEER p 10.0.0.3:%d\n" % number for number in range(1, 50))
    async with client_of(lambda line: peers + b"200 x\n", limits=replace(LIMITS, max_holders=10)) as (client, _):
        assert [len(fact.holders) for fact in await client.facts([b"a", b"b"])] == [10, 10]


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        (b"SIZE 7\nB3 %s\nMD5 %s\n200 x\n" % (B3.hex().encode(), write_md5(MD5)), (MD5, B3, 7)),
        (b"SIZE 7\nSIZE\n200 x\n", (None, None, None)),
        (b"SIZE -7\nB3 xyz\nMD5 short\nPEERS many\n200 x\n", (None, None, None)),
        (b"SIZE 99999999999999999999\nB3 %s\n200 x\n" % B3.hex().upper().encode(), (None, None, None)),
        (b"SIZE 7\n300 no\n", (None, None, None)),
        (b"200 nothing\n", (None, None, None)),
    ],
)
async def test_what_stat_says(autojump_clock: MockClock, stat: bytes, expected: tuple[object, ...]) -> None:
    async with client_of(new(lambda line: stat if line.startswith(b"STAT") else b"300 no\n")) as (client, _):
        (facts,) = await client.facts([b"a"])
        assert (facts.md5, facts.b3, facts.size) == expected


@pytest.mark.parametrize("reply", [b"200 x\n", b"short\n200 x\n", b"z" * 22 + b"\n200 x\n", b"300 no\n"])
async def test_no_checksum_that_can_be_read_is_none(autojump_clock: MockClock, reply: bytes) -> None:
    async with client_of(lambda line: b"500 x\n" if b"HELLO" in line else reply) as (client, _):
        with pytest.raises(NobodyHasIt):
            await client.checksum(b"a")
        assert (await client.facts([b"a"]))[0].md5 is None


async def test_names_that_no_line_can_hold_are_nobodys(autojump_clock: MockClock) -> None:
    async with client_of(new(lambda line: b"PEER p 10.0.0.3:1\n200 x\n")) as (client, tracker):
        facts = await client.facts([b"", b"a", b"\xff" * 1025, b"a"])
        assert [len(fact.holders) for fact in facts] == [0, 1, 0, 1]
        assert await client.holders(b"", B3) == []
        assert await client.facts_of(b"\xff" * 1025, B3) == TrackerFacts((), b3=B3)
        with pytest.raises(NobodyHasIt):
            await client.checksum(b"")
        assert tracker.heard == [b"HELLO OSP2P/2", b"WANT a", b"STAT a"]


# --- lists ---


async def test_a_list_comes_page_by_page(autojump_clock: MockClock) -> None:
    network = here()
    limits = replace(LIMITS, max_list_page=7)
    names = [b"dir/%03d %%=" % number for number in range(50)]
    async with new_tracker(network, limits), open_tracker(network, HOST, PORT, LIMITS) as client:
        await client.request(b"ADDR a 10.0.0.2:1\n")
        for name in names:
            await client.request(
                b"HAVE " + name.replace(b"%", b"%25").replace(b" ", b"%20").replace(b"=", b"%3D") + b"\n"
            )
        assert [entry.name for entry in await client.list_files()] == names
        assert [entry.name for entry in await client.list_files(b"dir/01")] == names[10:20]


async def test_an_old_list_is_filtered_here(autojump_clock: MockClock) -> None:
    listed = b"FILE a%20b\nFILE c\nFILE\nFILE too many\nFILE a=1\n200 3 files\n"
    async with client_of(lambda line: b"500 x\n" if b"HELLO" in line else listed) as (client, tracker):
        assert [entry.name for entry in await client.list_files()] == [b"a b", b"c", b"a=1"]
        assert [entry.name for entry in await client.list_files(b"a")] == [b"a b", b"a=1"]
        assert tracker.heard.count(b"LIST") == 2


@pytest.mark.parametrize(
    "pages",
    [
        lambda after: b"FILE same\n200 x\n",
        lambda after: b"not a file\n200 x\n",
        lambda after: b"200 x\n",
    ],
)
async def test_pages_without_anything_new_are_the_end(
    autojump_clock: MockClock, pages: Callable[[bytes], bytes]
) -> None:
    async with client_of(new(pages)) as (client, tracker):
        assert len(await client.list_files()) <= 1
        assert len(tracker.heard) <= 3


async def test_a_list_without_end_is_an_error(autojump_clock: MockClock) -> None:
    count = iter(range(10_000_000))

    def page(line: bytes) -> bytes:
        return b"FILE f%08d\nFILE f%08d\n200 x\n" % (next(count), next(count))

    async with client_of(new(page), limits=replace(LIMITS, max_listed_files=100)) as (client, _):
        with pytest.raises(TrackerError, match="more than 100 files"):
            await client.list_files()
    async with client_of(new(page), delay=20.0, limits=replace(LIMITS, hello_timeout=30, connect_timeout=40)) as (
        client,
        _,
    ):
        started = trio.current_time()
        with pytest.raises(TimedOut):
            await client.list_files()
        assert trio.current_time() - started == LIMITS.listing_timeout


@pytest.mark.parametrize("ask", [TrackerClient.list_files, TrackerClient.list_peers])
async def test_a_refusal_tells_the_trackers_words(
    autojump_clock: MockClock, ask: Callable[[TrackerClient], object]
) -> None:
    async with client_of(lambda line: b"300 not \xff you\n") as (client, _):
        with pytest.raises(TrackerRefused, match="300 not") as caught:
            await ask(client)  # type: ignore[misc]
        assert caught.value.code == 300
