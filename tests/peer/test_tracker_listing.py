"""What a tracker without measure may make a client keep."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trio.testing import MockClock

from osp2p.errors import TrackerError
from tests.peer.scripted import LIMITS, client_of, new


async def test_attributes_that_mean_nothing_are_not_kept(autojump_clock: MockClock) -> None:
    many = b" ".join(b"x%d=" % number for number in range(500))
    answers = {
        b"LIST": b"FILE a size=7 b3=%s part=yes %s\n200 x\n" % (b"0" * 64, many),
        b"WHO": b"PEER a 10.0.0.9:5 v=2 %s\n200 x\n" % many,
    }
    async with client_of(new(lambda line: answers[line.split()[0]])) as (client, _):
        (file,) = await client.list_files()
        (peer,) = await client.list_peers()
    assert file.attributes == {b"size": b"7", b"b3": b"0" * 64, b"part": b"yes"}
    assert peer.attributes == {b"v": b"2"}


async def test_a_list_without_end_is_given_up_by_its_bytes(autojump_clock: MockClock) -> None:
    pages = 0

    def answer(line: bytes) -> bytes:
        nonlocal pages
        pages += 1
        return b"".join(b"FILE %06d%s\n" % (pages * 10 + number, b"n" * 900) for number in range(10)) + b"200 x\n"

    limits = replace(LIMITS, max_listed_bytes=100_000, max_listed_files=5_000)
    async with client_of(new(answer), limits=limits) as (client, _):
        with pytest.raises(TrackerError, match="more files than can be kept"):
            await client.list_files()
    assert pages == 11
