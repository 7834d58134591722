"""What fetches ask the trackers: contents of a name, and no answer that names ourselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import MockClock

from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.peer.questions import Questions
from osp2p.peer.tracker_client import TrackerClient, open_tracker
from osp2p.peer.tracker_facts import ListedContent, TrackerFacts
from osp2p.peer.trackers import Trackers
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry, PeerEntry
from osp2p.wire.link import parse_link
from tests.peer.scripted import HOST, PORT, ScriptedTracker, here, new, new_tracker, open_scripted

LIMITS = Limits()
X, Y, Z = bytes([1] * 32), bytes([2] * 32), bytes([3] * 32)
FILM = Wanted(b"a film", Path("film"))


@asynccontextmanager
async def registrant(network: MemoryNetwork, number: int, *lines: bytes) -> AsyncIterator[TrackerClient]:
    """A peer on a host of its own, that has said these lines with success."""
    host = network.host(f"10.0.5.{number}")
    async with open_tracker(host, HOST, PORT, LIMITS) as client:
        for line in (b"ADDR p%d 10.0.5.%d:4000" % (number, number), *lines):
            assert (await client.request(line + b"\n")).ok
        yield client


@asynccontextmanager
async def asking(
    network: MemoryNetwork, own: Callable[[], set[Address]] = set, hosts: tuple[str, ...] = (HOST,)
) -> AsyncIterator[Questions]:
    trackers = Trackers(network, [(host, PORT) for host in hosts], LIMITS)
    yield Questions(lambda: trackers, trackers.holder_counts, own, LIMITS)
    trackers.close()


def have(b3: bytes, size: int, part: bytes = b"") -> bytes:
    return b"HAVE a%%20film size=%d b3=%s%s" % (size, b3.hex().encode(), part)


async def test_all_contents_of_a_name_are_known_and_who_has_them(autojump_clock: MockClock) -> None:
    network = here()
    async with (
        new_tracker(network),
        registrant(network, 1, have(X, 700), b"HAVE a%20film%20too size=5 b3=" + Z.hex().encode()),
        registrant(network, 2, have(Y, 800)),
        registrant(network, 3, have(Y, 800)),
        registrant(network, 4, have(Y, 800, b" part=yes")),
        asking(network) as questions,
    ):
        (facts,) = await questions.facts([FILM])
        assert facts.b3 == X
        assert [(content.b3, content.size) for content in facts.contents] == [(X, 700), (Y, 800)]
        named = await questions.contents(FILM, facts.contents)
        assert [(content.size, content.holders, content.partial) for content in named] == [(700, 1, 0), (800, 2, 1)]
        link = parse_link(named[1].link)
        assert (link.host, link.port, link.name, link.b3) == (HOST, PORT, b"a film", Y)
        assert len(await questions.holders(FILM, Y)) == 3


async def test_what_was_listed_with_one_content_is_not_asked_about_again(autojump_clock: MockClock) -> None:
    network = here()
    asked: list[bytes] = []

    def answer(line: bytes) -> bytes:
        asked.append(line)
        return b"300 no\n"

    async with (
        open_scripted(
            network, ScriptedTracker(lambda line: b"FEATURE pages 9\n200 x\n" if b"HELLO" in line else answer(line))
        ),
        asking(network) as questions,
    ):
        once = Wanted(b"once", Path("x"), listed=FileEntry(b"once", {b"size": b"1", b"b3": b"1" * 64}))
        twice = Wanted(b"twice", Path("x"), listed=FileEntry(b"twice"))
        await questions.facts([once, twice, FILM, Wanted(b"named", Path("x"), b3=X)])
        lists = [line for line in asked if line.startswith(b"LIST")]
        assert sorted(lists) == [b"LIST prefix=a%20film max=1", b"LIST prefix=twice max=1"]


async def test_a_tracker_without_pages_is_not_asked_for_one(autojump_clock: MockClock) -> None:
    network = here()
    async with open_scripted(network, ScriptedTracker(new())) as tracker, asking(network) as questions:
        (facts,) = await questions.facts([FILM])
        assert facts.contents == ()
        assert not any(line.startswith(b"LIST") for line in tracker.heard)


async def test_what_two_trackers_mean_by_a_name_are_two_contents(autojump_clock: MockClock) -> None:
    network = here()

    def knows(b3: bytes) -> ScriptedTracker:
        def answer(line: bytes) -> bytes:
            if line.startswith(b"HELLO"):
                return b"FEATURE pages 9\n200 x\n"
            if line.startswith(b"LIST"):
                return b"FILE a%%20film size=5 b3=%s\nFILE a%%20filmstrip b3=%s\n200 x\n" % ((b3.hex().encode(),) * 2)
            if line.startswith(b"STAT"):
                return b"SIZE 5\nB3 %s\nPEERS 3\n200 x\n" % b3.hex().encode()
            return b"PEER p 10.0.5.1:1 v=2\n200 x\n"

        return ScriptedTracker(answer)

    async with (
        open_scripted(network, knows(X)),
        open_scripted(network, knows(Y), "10.0.0.9"),
        asking(network, hosts=(HOST, "10.0.0.9")) as questions,
    ):
        (facts,) = await questions.facts([FILM])
        assert facts.b3 == X
        assert [content.b3 for content in facts.contents] == [X, Y]
        links = [parse_link(content.link) for content in await questions.contents(FILM, facts.contents)]
        assert [link.host for link in links] == [HOST, "10.0.0.9"]


async def test_more_contents_than_a_name_can_have_are_not_kept(autojump_clock: MockClock) -> None:
    network = here()
    lines = b"".join(b"FILE a%%20film b3=%064x\n" % number for number in range(1000))

    def answer(line: bytes) -> bytes:
        if line.startswith(b"HELLO"):
            return b"FEATURE pages 9\n200 x\n"
        return lines + b"200 x\n" if line.startswith(b"LIST") else b"300 no\n"

    async with open_scripted(network, ScriptedTracker(answer)), asking(network) as questions:
        (facts,) = await questions.facts([FILM])
        assert len(facts.contents) == LIMITS.max_contents_per_name


async def test_we_are_nobodys_holder(autojump_clock: MockClock) -> None:
    network = here()
    own = {Address("10.0.5.1", 4000)}
    async with (
        new_tracker(network),
        registrant(network, 1, have(X, 700)),
        registrant(network, 2, have(X, 700)),
        asking(network, lambda: own) as questions,
    ):
        (facts,) = await questions.facts([FILM])
        (named,) = await questions.facts([Wanted(b"a film", Path("x"), b3=X)])
        others = await questions.holders(FILM, X)
        for holders in (facts.holders, named.holders, others):
            assert [entry.address.host for entry in holders] == ["10.0.5.2"]


async def test_a_fetch_that_is_under_way_needs_no_tracker(autojump_clock: MockClock) -> None:
    async with asking(here()) as questions:
        with trio.fail_after(60):
            assert (await questions.facts_again(FILM)).holders == ()
            assert await questions.holders(FILM, X) == []
            assert await questions.contents(FILM, ()) == ()


async def test_what_is_known_without_a_tracker_has_its_counts_and_a_link_without_one(autojump_clock: MockClock) -> None:
    async with asking(here()) as questions:
        (named,) = await questions.contents(FILM, [ListedContent(X, 700, "", (3, 1))])
        assert (named.holders, named.partial) == (3, 1)
        assert named.link == f"osp2p:///a%20film#b3={X.hex()}"


class _SlowSource:
    """Takes a second for each content, and counts who waits."""

    def __init__(self) -> None:
        self.waiting = self.most = 0

    async def facts(self, names: Sequence[bytes], unlisted: Collection[bytes] = ()) -> list[TrackerFacts]:
        return [TrackerFacts((), b3=X) for _ in names]

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await trio.sleep(1)
        self.waiting -= 1
        return TrackerFacts((), b3=b3)

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        return []


async def test_many_links_are_asked_about_at_a_time_and_answered_in_order(autojump_clock: MockClock) -> None:
    source = _SlowSource()

    async def count(name: bytes, contents: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        return {}

    questions = Questions(lambda: source, count, set, LIMITS)
    links = [Wanted(b"f%d" % number, Path(str(number)), bytes([number]) * 32) for number in range(40)]
    began = trio.current_time()
    facts = await questions.facts([*links, FILM, links[0]])
    assert trio.current_time() - began < 4
    assert [fact.b3 for fact in facts] == [*(link.b3 for link in links), X, links[0].b3]
    assert source.most == LIMITS.max_parallel_files
