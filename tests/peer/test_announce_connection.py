"""The connection of a sharer to its tracker: ends and returns, waiting, and the address that is told."""

from __future__ import annotations

import hashlib

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from osp2p.errors import TrackerRefused, TrackerUnreachable
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork, TcpNetwork
from osp2p.peer.announce import Announcement, own_address, plain_alias, write_addr
from osp2p.peer.events import Registered, TrackerConnected, TrackerLost, TrackerSaid, Withdrawn
from osp2p.peer.node import open_node
from osp2p.peer.tracker_client import open_tracker
from osp2p.tracker import TrackerOptions
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from tests.peer.scripted import (
    GREETING,
    OUR_PORT,
    PORT,
    ScriptedTracker,
    here,
    new,
    new_tracker,
    old,
    open_old,
    open_scripted,
    sharing,
)
from tests.standins.old_client import open_old_connection
from tests.standins.old_tracker import open_old_tracker

LIMITS = Limits()
ONE = hashlib.md5(b"one", usedforsecurity=False).digest()
TWO = hashlib.md5(b"two", usedforsecurity=False).digest()
B3 = bytes(range(32))


# --- the connection ---


async def test_a_blank_line_now_and_then_keeps_the_connection(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (_, heard), sharing(network) as sharer:
        await sharer.settle()
        connected = trio.current_time()
        between = LIMITS.keepalive_interval + LIMITS.unasked_wait
        await trio.sleep(3 * between)
        times = [time - connected for time, line in heard.lines[0] if line == b""]
        assert times == pytest.approx([LIMITS.keepalive_interval + between * count for count in range(3)])
        sharer.offer(b"a")
        await sharer.settle()
        assert heard.heard[-1] == b"HAVE a"
        assert len(heard.connections) == 1


async def test_the_answer_to_a_blank_line_is_not_taken_for_the_next_one(autojump_clock: MockClock) -> None:
    """Old trackers may answer one; what is offered in the same moment is told them behind that answer."""
    network = here()
    scripted = ScriptedTracker(lambda line: b"500 what?\n" if not line or b"HELLO" in line else b"200 x\n", delay=0.5)
    async with open_scripted(network, scripted), sharing(network) as sharer:
        await sharer.settle()
        for name in (b"a", b"b"):
            await trio.sleep(LIMITS.keepalive_interval + 0.1)
            assert scripted.heard[-1] == b""
            sharer.offer(name)
            await sharer.settle()
            assert scripted.heard[-1] == b"HAVE " + name
        assert not sharer.of(Withdrawn)
        assert sharer.registered == (2, 2)
        await trio.sleep(200 * LIMITS.keepalive_interval)
        assert not sharer.of(TrackerLost)


async def test_our_own_tracker_keeps_a_sharer_that_has_nothing_to_say(autojump_clock: MockClock) -> None:
    network = here()
    async with new_tracker(network), sharing(network) as sharer:
        await sharer.settle()
        await trio.sleep(10 * LIMITS.idle_timeout)
        assert not sharer.of(TrackerLost)


async def test_a_keepalive_that_fails_is_the_end_of_a_connection_and_of_nothing_else(
    autojump_clock: MockClock,
) -> None:
    network = here()
    async with open_old(network) as (books, heard), sharing(network) as sharer:
        sharer.offer(b"a")
        await sharer.settle()
        # The tracker has gone in such a way that reading notices nothing.
        sending = heard.connections[0]
        sending._in.broken = True  # type: ignore[attr-defined]
        await trio.sleep(LIMITS.keepalive_interval + 1)
        assert len(sharer.of(TrackerLost)) == 1
        assert len(heard.connections) == 2
        assert len(books.holders(b"a")) >= 1


async def test_a_tracker_that_returns_is_told_everything_again(autojump_clock: MockClock) -> None:
    network = here()
    async with sharing(network) as sharer:
        async with open_old(network) as (books, _):
            sharer.offer(b"a", b"b", md5=ONE)
            await sharer.settle()
        sharer.offer(b"c")
        sharer.announcer.withdraw([b"a"])
        await trio.sleep(20)
        async with open_old(network) as (books, heard):
            await sharer.settle()
            assert sorted(books.registered[0].files) == [b"b", b"c"]
            assert books.checksums == {b"b": write_md5(ONE)}
            assert b"DONTHAVE a" not in heard.heard
    assert sharer.registered == (2, 2)
    assert len(sharer.of(TrackerConnected)) == 2


async def test_pauses_grow_up_to_a_limit_and_begin_anew(autojump_clock: MockClock) -> None:
    network = here()
    async with sharing(network) as sharer:
        await trio.sleep(30)
        pauses = [event.retry_in for event in sharer.events if isinstance(event, TrackerLost)]
        assert pauses[:6] == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]
        async with open_old(network):
            await sharer.settle()
            await trio.sleep(60)
            before = len(sharer.of(TrackerLost))
        await trio.sleep(3)
        pauses = [event.retry_in for event in sharer.events if isinstance(event, TrackerLost)][before:]
        assert pauses[:3] == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("takes", [b"ADDR", b"HAVE"])
async def test_a_tracker_that_hangs_up_at_once_is_not_told_everything_all_the_time(
    autojump_clock: MockClock, takes: bytes
) -> None:
    network = here()

    def answer(line: bytes) -> bytes | None:
        if line.startswith(b"HELLO"):
            return b"500 x\n"
        return b"200 x\n" if takes == b"HAVE" and line.startswith(b"ADDR") else None

    scripted = ScriptedTracker(answer)
    async with open_scripted(network, scripted), sharing(network, offers=[(b"a", Announcement(1))]):
        await trio.sleep(60)
        assert 10 < len(scripted.connections) < 25


@pytest.mark.parametrize(
    "last", [b"", b"200 this tracker ends; goodbye\n", b"half", b"x" * 10_000, b"\xff\x00" * 20 + b"\n"]
)
async def test_however_a_tracker_ends_it_is_reported_and_tried_again(autojump_clock: MockClock, last: bytes) -> None:
    network = here()
    async with open_old(network) as (_, heard), sharing(network) as sharer:
        sharer.offer(b"a")
        await sharer.settle()
        await heard.connections[0].send(last)
        heard.connections[0].close()
        await trio.sleep(1)
        (lost,) = sharer.of(TrackerLost)
        assert isinstance(lost, TrackerLost)
        assert lost.reason
        assert lost.retry_in == LIMITS.reconnect_first
        if last.startswith(b"200"):
            assert lost.reason == "this tracker ends; goodbye"
        await sharer.settle()
        assert heard.heard[-1] == b"HAVE a"
        assert len(heard.connections) == 2


async def test_a_tracker_that_ends_in_the_middle_of_a_batch_is_told_the_batch_again(autojump_clock: MockClock) -> None:
    network = here()
    left = iter(range(30))

    def answer(line: bytes) -> bytes | None:
        return b"500 x\n" if b"HELLO" in line else None if next(left, None) == 20 else b"200 x\n"

    scripted = ScriptedTracker(answer)
    names = [b"f%02d" % number for number in range(50)]
    async with open_scripted(network, scripted), sharing(network) as sharer:
        sharer.offer(*names)
        await sharer.settle()
        assert [line for _, line in scripted.lines[-1]][2:] == [b"HAVE " + name for name in names]
        assert sharer.registered == (50, 50)


@pytest.mark.parametrize(
    "greeting",
    [b"", b"200-" + b"x" * 100, b"x" * 5000, b"\x00garbage\xff\n" * 1000, b"300 not you\n", b"200-a\n" * 9999],
)
async def test_trackers_that_do_not_greet_well_are_tried_again(autojump_clock: MockClock, greeting: bytes) -> None:
    network = here()
    scripted = ScriptedTracker(old, greeting)
    async with open_scripted(network, scripted), sharing(network) as sharer:
        sharer.offer(b"a")
        with pytest.raises((TrackerUnreachable, TrackerRefused)):
            await sharer.announcer.wait_first_round()
        scripted.greeting = GREETING
        scripted.answer = lambda line: b"200 x\n"
        await sharer.settle()
        assert sharer.registered == (1, 1)


async def test_answers_that_are_garbage_end_the_connection_alone(autojump_clock: MockClock) -> None:
    network = here()
    scripted = ScriptedTracker(lambda line: b"\xff" * 5000 if line.startswith(b"HAVE") else b"200 x\n")
    async with open_scripted(network, scripted), sharing(network) as sharer:
        sharer.offer(b"a")
        await trio.sleep(10)
        assert len(sharer.of(TrackerLost)) > 2
        scripted.answer = lambda line: b"junk\n200-more\n200 x\n"
        await sharer.settle()
        assert sharer.registered == (1, 1)


async def test_remarks_on_our_registration_are_passed_on_and_no_more_than_a_few(autojump_clock: MockClock) -> None:
    network = here()
    remarks = b"".join(b"220-remark %d\n" % number for number in range(1000))
    scripted = ScriptedTracker(lambda line: remarks + b"220 you are not listed\n")
    async with open_scripted(network, scripted), sharing(network) as sharer:
        await sharer.settle()
        said = [event.text for event in sharer.events if isinstance(event, TrackerSaid)]
        assert said == [*(b"remark %d" % number for number in range(10)), b"you are not listed"]


@pytest.mark.parametrize("listed", [True, False])
async def test_who_is_answered_220_looks_whether_it_is_listed(autojump_clock: MockClock, listed: bool) -> None:
    """A tracker with -x says 220 to strangers, and to all that they register, and lists nothing of it."""
    network = here()

    def answer(line: bytes) -> bytes:
        if line.startswith(b"CHECKPEER"):
            return b"FILE a\n200 x\n" if listed else b"300 nobody\n"
        return b"500 x\n" if line.startswith(b"HELLO") else b"220 noted\n"

    scripted = ScriptedTracker(answer)
    async with open_scripted(network, scripted), sharing(network) as sharer:
        sharer.offer(b"a")
        if listed:
            await sharer.settle()
            assert sharer.registered == (1, 1)
        else:
            with pytest.raises(TrackerRefused, match="does not list this peer: noted"):
                await sharer.announcer.wait_first_round()
            assert not sharer.of(Registered)
            assert b"HAVE a" not in scripted.heard
        assert scripted.heard[1:3] == [b"ADDR an_na 10.0.0.2:11112", b"CHECKPEER an_na 10.0.0.2:11112"]


async def test_our_own_tracker_with_x_lists_no_stranger(autojump_clock: MockClock) -> None:
    network = here()
    async with new_tracker(network, options=TrackerOptions(own_host_only=True)), sharing(network) as sharer:
        with pytest.raises(TrackerRefused, match="own host"):
            await sharer.announcer.wait_first_round()


# --- waiting ---


async def test_the_first_round_fails_and_later_ones_do_not(autojump_clock: MockClock) -> None:
    network = here()
    async with sharing(network) as sharer:
        with pytest.raises(TrackerUnreachable):
            await sharer.announcer.wait_first_round()
        assert trio.current_time() <= 5.0
        async with open_old(network):
            await sharer.settle()
            await sharer.announcer.wait_first_round()
        await trio.sleep(10)
        await sharer.announcer.wait_first_round()


async def test_a_tracker_that_hangs_up_at_addr_fails_the_first_round(autojump_clock: MockClock) -> None:
    network = here()
    scripted = ScriptedTracker(lambda line: None if line.startswith(b"ADDR") else b"500 x\n")
    async with open_scripted(network, scripted), sharing(network) as sharer:
        with trio.fail_after(10), pytest.raises(TrackerUnreachable):
            await sharer.announcer.wait_first_round()


async def test_what_greets_and_then_answers_nothing_fails_the_first_round_soon(autojump_clock: MockClock) -> None:
    network = here()
    async with open_scripted(network, ScriptedTracker(lambda line: b"")), sharing(network) as sharer:
        with pytest.raises(TrackerUnreachable, match=r"^tracker 10\.0\.0\.1:11111: not done in time$"):
            await sharer.announcer.wait_first_round()
        assert trio.current_time() <= LIMITS.hello_timeout + LIMITS.answer_timeout + 0.1


async def test_a_tracker_that_does_not_take_us_fails_the_first_round(autojump_clock: MockClock) -> None:
    network = here()
    scripted = ScriptedTracker(lambda line: b"300 go \xff away\n")
    async with open_scripted(network, scripted), sharing(network) as sharer:
        with pytest.raises(TrackerRefused, match="go") as caught:
            await sharer.announcer.wait_first_round()
        assert caught.value.code == 300


async def test_nothing_to_share_is_settled_when_the_tracker_is_there(autojump_clock: MockClock) -> None:
    network = here()
    async with sharing(network) as sharer:
        with trio.move_on_after(100) as waiting:
            await sharer.announcer.wait_settled()
        assert waiting.cancelled_caught
        async with open_old(network):
            await sharer.settle()
            assert sharer.registered == (0, 0)


async def test_what_is_offered_is_unsettled_until_it_is_answered(autojump_clock: MockClock) -> None:
    network = here()
    scripted = ScriptedTracker(lambda line: b"200 x\n")
    async with open_scripted(network, scripted), sharing(network) as sharer:
        await sharer.settle()
        scripted.delay = 2.0
        started = trio.current_time()
        sharer.offer(b"a")
        await sharer.settle()
        assert trio.current_time() - started == pytest.approx(2.0)


async def test_cancelled_it_leaves_and_the_tracker_forgets(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, _):
        async with sharing(network) as sharer:
            sharer.offer(b"a")
            await sharer.settle()
        await wait_all_tasks_blocked()
        assert books.peers == []


async def test_an_old_tracker_on_real_sockets() -> None:
    async with (
        open_old_tracker() as tracker,
        sharing(TcpNetwork(), host=tracker.host, port=tracker.port) as sharer,
        open_old_connection(tracker.host, tracker.port) as asker,
    ):
        sharer.offer(b"caf\xe9 1", b"b")
        sharer.offer(b"b", md5=ONE)
        with trio.fail_after(5):
            await sharer.announcer.wait_settled()
        (listed,) = await asker.want(b"caf%E9%201")
        assert (listed.host, listed.port) == ("127.0.0.1", OUR_PORT)
        assert (await asker.ask(b"MD5SUM b")).startswith(write_md5(ONE))


# --- addresses ---


class Laptop(MemoryNetwork):
    """A host with an address in a LAN, whose connections to itself use loopback."""

    def local_addresses(self) -> list[str]:
        return ["192.168.1.5", "127.0.0.1"]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (None, "127.0.0.1"),
        (b"", "192.168.1.5"),
        (b"FEATURE local\n", "127.0.0.1"),
    ],
)
async def test_the_address_of_a_sharer_on_its_trackers_host(
    autojump_clock: MockClock, features: bytes | None, expected: str
) -> None:
    network = Laptop("127.0.0.1")

    def answer(line: bytes) -> bytes | None:
        if line.startswith(b"HELLO"):
            return b"500 x\n" if features is None else features + b"200 hello\n"
        return b"200 x\n"

    scripted = ScriptedTracker(answer)
    async with open_scripted(network, scripted, "127.0.0.1"), sharing(network, host="127.0.0.1") as sharer:
        await sharer.settle()
        assert scripted.heard[1].split()[2] == expected.encode() + b":11112"
        assert sharer.announcer.address == Address(expected, OUR_PORT)


async def test_our_own_tracker_lists_the_lan_address_of_a_sharer_on_its_host(autojump_clock: MockClock) -> None:
    network = Laptop("127.0.0.1")
    for local, expected in ((False, "192.168.1.5"), (True, "127.0.0.1")):
        async with (
            new_tracker(network, host=network, options=TrackerOptions(local=local)),
            sharing(network, host="127.0.0.1") as sharer,
            open_tracker(network, "127.0.0.1", PORT, LIMITS) as asker,
        ):
            await sharer.settle()
            assert [entry.address.host for entry in await asker.list_peers()] == [expected]
            assert own_address(asker, network, 5) == Address(expected, 5)


@pytest.mark.parametrize(
    ("tracker", "features", "expected"),
    [
        ("127.0.0.1", b"", "192.168.1.5"),
        ("127.0.0.1", b"FEATURE local\n", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),  # one of 2007, which lists its own host's peers at 127.x
        ("localhost", b"", "192.168.1.5"),
        ("10.0.0.1", b"FEATURE local\n", "10.0.0.1"),
    ],
)
async def test_where_a_tracker_is_for_others(
    autojump_clock: MockClock, tracker: str, features: bytes | None, expected: str
) -> None:
    network = Laptop("127.0.0.1")
    scripted = ScriptedTracker(lambda line: b"500 x\n" if features is None else features + b"200 hello\n")
    async with (
        open_scripted(network, scripted, "127.0.0.1"),
        open_node(trackers=[f"{tracker}:{PORT}"], network=network) as node,
    ):
        assert await node.tracker_for_others() == (expected, PORT)


async def test_a_tracker_on_this_machine_that_does_not_answer_is_taken_to_be_for_others(
    autojump_clock: MockClock,
) -> None:
    async with open_node(trackers=["127.0.0.1:5"], network=Laptop("127.0.0.1")) as node:
        assert await node.tracker_for_others() == ("192.168.1.5", 5)


async def test_without_any_other_address_loopback_stays(autojump_clock: MockClock) -> None:
    network = MemoryNetwork("127.0.0.1")
    async with (
        open_scripted(network, ScriptedTracker(new()), "127.0.0.1"),
        open_tracker(network, "127.0.0.1", PORT, LIMITS) as client,
    ):
        assert own_address(client, network, 5) == Address("127.0.0.1", 5)


def test_an_alias_is_quoted_and_an_address_is_not() -> None:
    assert write_addr(b"a\nb=\xff", Address("10.0.0.1", 5)) == b"ADDR a%0Ab%3D%FF 10.0.0.1:5\n"
    assert plain_alias(b"a b\n\xff-1.x=%20") == b"a_b__-1.x__20"
    assert len(plain_alias(b"a" * 5000)) <= 100
    assert write_addr(b"a", Address("::1", 5)) == b"ADDR a [::1]:5\n"
