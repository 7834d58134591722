"""Several trackers as one: who is asked, what is put together, and which addresses nobody here could reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from osp2p.errors import (
    ConnectionLost,
    LocalProtocolError,
    NobodyHasIt,
    TrackerError,
    TrackerRefused,
    TrackerUnreachable,
)
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork, TcpNetwork, serve_connections
from osp2p.net.memory import MemoryConnection
from osp2p.peer.tracker_client import TrackerClient
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.peer.trackers import Trackers, merge_facts
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from osp2p.wire.entry import PeerEntry
from tests.peer.scripted import GREETING, HOST, PORT, Answer, ScriptedTracker, here, new, old, open_scripted
from tests.standins.old_peer import open_old_peer
from tests.standins.old_tracker import open_old_tracker

LIMITS = Limits()
ONE, TWO = b"1" * 16, b"2" * 16
X, Y = b"x" * 32, b"y" * 32


def peer(number: int, **attributes: bytes) -> PeerEntry:
    return PeerEntry(b"p%d" % number, Address("10.1.0.1", number), {k.encode(): v for k, v in attributes.items()})


@asynccontextmanager
async def trackers_of(
    *answers: Answer, network: MemoryNetwork | None = None, limits: Limits = LIMITS
) -> AsyncIterator[tuple[Trackers, list[ScriptedTracker]]]:
    """A node's trackers, of which the first is at HOST and the others follow."""
    network = network or here()
    scripted = [ScriptedTracker(answer) for answer in answers]
    hosts = [f"10.0.1.{number}" for number in range(len(answers))]
    async with trio.open_nursery() as nursery:
        for host, tracker in zip(hosts, scripted, strict=True):
            nursery.start_soon(_run, network, tracker, host)
        await trio.testing.wait_all_tasks_blocked()
        trackers = Trackers(network, [(host, PORT) for host in hosts], limits)
        yield trackers, scripted
        trackers.close()
        nursery.cancel_scope.cancel()


async def _run(network: MemoryNetwork, tracker: ScriptedTracker, host: str) -> None:
    async with open_scripted(network, tracker, host):
        await trio.sleep_forever()


def lists(*names: bytes) -> Answer:
    data = b"".join(b"FILE %s\n" % name for name in names)
    return lambda line: {b"LIST": data + b"200 x\n"}.get(line, b"500 x\n")


# --- who is asked ---


async def test_all_are_asked_and_their_answers_put_together(autojump_clock: MockClock) -> None:
    async with trackers_of(lists(b"c", b"a"), lists(b"b", b"a")) as (trackers, scripted):
        assert [entry.name for entry in await trackers.list_files()] == [b"a", b"b", b"c"]
        assert [entry.name for entry in await trackers.list_files(b"b")] == [b"b"]
        assert all(len(tracker.connections) == 1 for tracker in scripted)


async def test_peers_of_several_trackers_are_named_once(autojump_clock: MockClock) -> None:
    who = b"PEER a 10.0.0.3:1\nPEER b 10.0.0.3:1\n"
    async with trackers_of(lambda line: who + b"200 x\n", lambda line: who + b"PEER c 10.0.0.3:1\n200 x\n") as (
        trackers,
        _,
    ):
        assert [entry.alias for entry in await trackers.list_peers()] == [b"a", b"b", b"c"]


async def test_no_tracker_at_all(autojump_clock: MockClock) -> None:
    with pytest.raises(TrackerUnreachable, match="-t HOST:PORT"):
        await Trackers(here(), [], LIMITS).list_files()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([lambda line: b"300 not you\n"], TrackerRefused),
        ([lambda line: b"300 not you\n", lambda line: None], TrackerRefused),
        ([lambda line: None, lambda line: None], TrackerUnreachable),
    ],
)
async def test_without_any_answer_the_most_telling_failure_is_raised(
    autojump_clock: MockClock, answers: Sequence[Answer], expected: type[TrackerError]
) -> None:
    async with trackers_of(*answers) as (trackers, _):
        with pytest.raises(expected) as caught:
            await trackers.list_files()
        assert type(caught.value) is expected


async def test_trackers_that_cannot_be_reached_are_all_named(autojump_clock: MockClock) -> None:
    with pytest.raises(TrackerUnreachable) as caught:
        await Trackers(here(), [("10.0.0.1", 5), ("10.0.0.1", 4), ("10.0.0.1", 5)], LIMITS).list_files()
    assert str(caught.value) == (
        "no tracker answers at 10.0.0.1:4: connection refused; no tracker answers at 10.0.0.1:5: connection refused"
    )


async def test_one_answer_is_enough(autojump_clock: MockClock) -> None:
    async with trackers_of(lambda line: None, lists(b"a"), lambda line: b"x" * 5000) as (trackers, _):
        assert [entry.name for entry in await trackers.list_files()] == [b"a"]


async def test_a_checksum_comes_from_whoever_knows_one(autojump_clock: MockClock) -> None:
    def knows(md5: bytes) -> Answer:
        return lambda line: write_md5(md5) + b"\n200 x\n" if line == b"MD5SUM a" else b"300 x\n"

    async with trackers_of(old, knows(ONE), knows(TWO)) as (trackers, _):
        assert await trackers.checksum(b"a") == ONE
        with pytest.raises(NobodyHasIt):
            await trackers.checksum(b"b")


async def test_nobody_has_it_says_more_than_an_unreachable_tracker(autojump_clock: MockClock) -> None:
    async with trackers_of(old, lambda line: None) as (trackers, _):
        with pytest.raises(NobodyHasIt):
            await trackers.checksum(b"a")


async def test_a_fault_of_ours_is_no_group(autojump_clock: MockClock) -> None:
    async def wrong(client: TrackerClient) -> None:
        raise LocalProtocolError("ours")

    async with trackers_of(old, old) as (trackers, _):
        with pytest.raises(LocalProtocolError):
            await trackers._ask_all(wrong)


# --- connections that come and go ---


async def test_a_connection_is_kept_and_one_that_was_lost_is_opened_again(autojump_clock: MockClock) -> None:
    async with trackers_of(lists(b"a")) as (trackers, (tracker,)):
        await trackers.list_files()
        await trackers.list_files()
        assert len(tracker.connections) == 1
        tracker.connections[0].close()
        assert [entry.name for entry in await trackers.list_files()] == [b"a"]
        assert len(tracker.connections) == 2


async def test_a_tracker_that_hangs_up_at_a_question_is_asked_again_and_not_for_ever(autojump_clock: MockClock) -> None:
    patience = iter([True, False, False, True, True])

    def answer(line: bytes) -> bytes | None:
        if line.startswith(b"HELLO"):
            return b"500 x\n"
        return b"200 x\n" if next(patience, False) else None

    async with trackers_of(answer) as (trackers, (tracker,)):
        for connections in (1, 3, 3):
            await trackers.list_files()
            assert len(tracker.connections) == connections
        with pytest.raises(TrackerUnreachable, match="gives no answer"):
            await trackers.list_files()
        assert len(tracker.connections) == 5
        with pytest.raises(TrackerUnreachable, match="gives no answer"):
            await trackers.list_files()
        assert len(tracker.connections) == 7


async def test_answers_that_no_tracker_gives_are_not_asked_for_again(autojump_clock: MockClock) -> None:
    async with trackers_of(lambda line: b"500 x\n" if b"HELLO" in line else b"x" * 5000) as (trackers, (tracker,)):
        for count in (1, 2):
            with pytest.raises(TrackerUnreachable, match="longer than"):
                await trackers.list_files()
            assert len(tracker.connections) == count
            with pytest.raises(ConnectionLost):
                for _ in range(2):
                    await tracker.connections[-1].send(b"x")


async def test_a_cancelled_question_takes_nothing_from_the_next(autojump_clock: MockClock) -> None:
    async with trackers_of(lists(b"a")) as (trackers, (tracker,)):
        await trackers.list_files()
        tracker.delay = 1.0
        with trio.move_on_after(0.5):
            await trackers.list_files()
        assert [entry.name for entry in await trackers.list_files()] == [b"a"]


async def test_many_questions_at_a_time_share_one_connection(autojump_clock: MockClock) -> None:
    async with trackers_of(lists(b"a")) as (trackers, (tracker,)):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(trackers.list_files)
        assert len(tracker.connections) == 1
        tracker.connections[0].close()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(trackers.list_files)
        assert len(tracker.connections) == 2


class OneIsGone(MemoryNetwork):
    """A network in which the first tracker's host does not answer."""

    async def connect(self, host: str, port: int) -> MemoryConnection:
        if host == "10.0.1.0":
            await trio.sleep_forever()
        return await super().connect(host, port)


async def test_a_tracker_that_is_gone_holds_nobody_up_for_long(autojump_clock: MockClock) -> None:
    async with trackers_of(lists(b"a"), lists(b"b"), network=OneIsGone("10.0.0.2")) as (trackers, _):
        started = trio.current_time()
        for _ in range(10):
            assert [entry.name for entry in await trackers.list_files()] == [b"b"]
        assert trio.current_time() - started == LIMITS.tracker_patience
        await trio.sleep(LIMITS.reconnect_most)
        await trackers.list_files()
        assert trio.current_time() - started == 2 * LIMITS.tracker_patience + LIMITS.reconnect_most


async def test_a_tracker_that_greets_and_falls_silent_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with trackers_of(lambda line: b"500 x\n" if b"HELLO" in line else b"", lists(b"b")) as (trackers, _):
        started = trio.current_time()
        for _ in range(10):
            assert [entry.name for entry in await trackers.list_files()] == [b"b"]
        assert trio.current_time() - started == LIMITS.tracker_patience


@pytest.mark.parametrize("reused", [False, True])
async def test_the_silence_of_the_only_tracker_is_borne_for_a_few_seconds(
    autojump_clock: MockClock, reused: bool
) -> None:
    answers = iter([b"500 x\n", b"FILE a\n200 x\n"] if reused else [b"500 x\n"])
    async with trackers_of(lambda line: next(answers, b"")) as (trackers, _):
        if reused:
            await trackers.list_files()
        started = trio.current_time()
        with pytest.raises(TrackerUnreachable, match="not done in time"):
            await trackers.list_files()
        assert trio.current_time() - started == LIMITS.answer_timeout


async def test_an_answer_that_has_begun_is_waited_for(autojump_clock: MockClock) -> None:
    async def slow(connection: Connection) -> None:
        await connection.send(GREETING)
        await connection.receive(100)
        await connection.send(b"500 x\n")
        await connection.receive(100)
        for _ in range(20):
            await connection.send(b"FILE a\n")
            await trio.sleep(1)
        await connection.send(b"200 x\n")

    network = here()
    async with trackers_of(lists(b"b"), network=network) as (_, _), trio.open_nursery() as nursery:
        listener = await network.host("10.0.1.9").listen(PORT)
        nursery.start_soon(serve_connections, listener, slow, LIMITS)
        trackers = Trackers(network, [("10.0.1.0", PORT), ("10.0.1.9", PORT)], LIMITS)
        assert [entry.name for entry in await trackers.list_files()] == [b"a", b"b"]
        assert trio.current_time() == 20
        trackers.close()
        nursery.cancel_scope.cancel()


async def test_the_only_tracker_is_asked_again_each_time(autojump_clock: MockClock) -> None:
    network = here()
    trackers = Trackers(network, [(HOST, PORT)], LIMITS)
    with pytest.raises(TrackerUnreachable):
        await trackers.list_files()
    async with open_scripted(network, ScriptedTracker(lists(b"a"))):
        assert [entry.name for entry in await trackers.list_files()] == [b"a"]
        trackers.close()


# --- addresses ---


@pytest.mark.parametrize("hello", [True, False])
async def test_loopback_addresses_of_a_tracker_elsewhere_are_left_out(autojump_clock: MockClock, hello: bool) -> None:
    peers = b"PEER a 127.0.0.1:1\nPEER b 10.0.0.3:1\nPEER c 127.66.0.1:1\n200 x\n"

    def answer(line: bytes) -> bytes | None:
        return peers if line.startswith(b"WANT") else old(line)

    async with trackers_of(new(answer) if hello else answer) as (trackers, _):
        (facts,) = await trackers.facts([b"a"])
        assert [entry.alias for entry in facts.holders] == [b"b"]
        assert [entry.alias for entry in await trackers.holders(b"a", X)] == [b"b"]
        assert [entry.alias for entry in (await trackers.facts_of(b"a", X)).holders] == [b"b"]


async def test_loopback_addresses_of_a_tracker_on_loopback_are_holders() -> None:
    async with (
        open_old_tracker() as tracker,
        open_old_peer({b"a": b"content"}, tracker=(tracker.host, tracker.port)) as holder,
    ):
        trackers = Trackers(TcpNetwork(), [(tracker.host, tracker.port)], LIMITS)
        (facts,) = await trackers.facts([b"a"])
        trackers.close()
        assert [entry.address for entry in facts.holders] == [Address(holder.host, holder.port)]


# --- what is put together ---


def facts(*ports: int, md5: bytes | None = None, b3: bytes | None = None, size: int | None = None) -> TrackerFacts:
    return TrackerFacts(tuple(peer(port) for port in ports), md5, b3, size)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], facts()),
        ([facts(1), facts(2, 1)], facts(1, 2)),
        ([facts(1, size=7)], facts(1, size=7)),
        ([facts(1, size=7), facts(2, size=8)], facts(1, 2)),
        # who knows something decides, wherever it stands; who knows nothing contradicts nobody
        ([facts(1), facts(2, md5=ONE)], facts(1, 2, md5=ONE)),
        ([facts(1, md5=ONE), facts(2, md5=TWO)], facts(1, md5=ONE)),
        ([facts(1, b3=X), facts(2, b3=Y), facts(3, b3=X)], facts(1, 3, b3=X)),
        # what one lacks comes from another that certainly means the same
        ([facts(1, md5=ONE), facts(2, md5=ONE, b3=X, size=7)], facts(1, 2, md5=ONE, b3=X, size=7)),
        ([facts(1, md5=ONE), facts(2, b3=Y), facts(3, md5=ONE, b3=X)], facts(1, 3, md5=ONE, b3=X)),
        ([facts(1, b3=X), facts(2, b3=X, md5=ONE)], facts(1, 2, md5=ONE, b3=X)),
        # and not from one that may mean another
        ([facts(1, b3=X), facts(2, md5=ONE, size=7)], facts(1, 2, b3=X)),
        ([facts(1, md5=ONE, b3=X), facts(2, md5=ONE, b3=Y, size=7)], facts(1, md5=ONE, b3=X)),
        ([facts(1, md5=ONE, size=0), facts(2, md5=ONE, size=7)], facts(1, 2, md5=ONE, size=0)),
    ],
)
def test_facts_of_several_trackers(told: list[TrackerFacts], expected: TrackerFacts) -> None:
    assert merge_facts(told) == expected


def test_of_one_holder_the_entry_that_says_most_is_kept() -> None:
    spoken = peer(1, v=b"2", size=b"7")
    for told in ([facts(1), TrackerFacts((spoken,))], [TrackerFacts((spoken,)), facts(1)]):
        assert merge_facts(told).holders == (spoken,)


maybe_md5 = st.sampled_from([None, ONE, TWO])
maybe_b3 = st.sampled_from([None, X, Y])
told_facts = st.builds(
    lambda ports, md5, b3, size: facts(*ports, md5=md5, b3=b3, size=size),
    st.lists(st.integers(1, 5), max_size=3, unique=True),
    maybe_md5,
    maybe_b3,
    st.sampled_from([None, 1, 2]),
)


@given(st.lists(told_facts, max_size=5))
def test_what_is_put_together_contradicts_the_deciding_tracker_nowhere(told: list[TrackerFacts]) -> None:
    """The first that names a content is kept as it is, what is added was said of that content, and holders are those
    of trackers that do not contradict it."""
    merged = merge_facts(told)
    decides = next((fact for fact in told if fact.md5 or fact.b3), None)
    if decides is None:
        assert (merged.md5, merged.b3) == (None, None)
        assert {e.address for e in merged.holders} == {e.address for fact in told for e in fact.holders}
        return
    assert decides.md5 in (None, merged.md5)
    assert decides.b3 in (None, merged.b3)
    assert {entry.address for entry in decides.holders} <= {entry.address for entry in merged.holders}
    for fact in told:
        for entry in fact.holders:
            contradicts = (fact.md5 and merged.md5 and fact.md5 != merged.md5) or (
                fact.b3 and merged.b3 and fact.b3 != merged.b3
            )
            if contradicts and not any(entry in other.holders for other in told if other is not fact):
                assert entry not in merged.holders
    assert merge_facts([merged]) == merged
    assert merge_facts([replace(decides), *told]).md5 == merged.md5
