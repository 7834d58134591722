"""Keeping a tracker told: old and new ones, their limits and refusals, their ends and returns."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import trio
from trio.testing import MockClock

from osp2p.limits import Limits
from osp2p.peer.announce import Announcement
from osp2p.peer.events import TrackerConnected, Withdrawn
from osp2p.peer.tracker_client import open_tracker
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from tests.peer.scripted import (
    HOST,
    OUR_PORT,
    PORT,
    ScriptedTracker,
    here,
    new,
    new_tracker,
    open_old,
    open_scripted,
    sharing,
)

LIMITS = Limits()
ONE = hashlib.md5(b"one", usedforsecurity=False).digest()
TWO = hashlib.md5(b"two", usedforsecurity=False).digest()
B3 = bytes(range(32))


# --- telling ---


async def test_an_old_tracker_is_told_of_names_first_and_checksums_later(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, heard), sharing(network) as sharer:
        sharer.offer(b"a b", b"c")
        await sharer.settle()
        assert heard.heard == [b"HELLO OSP2P/2", b"ADDR an_na 10.0.0.2:11112", b"HAVE a%20b", b"HAVE c"]
        sharer.offer(b"c", md5=ONE)
        await sharer.settle()
        assert heard.heard[4:] == [b"HAVE c " + write_md5(ONE)]
        assert books.checksums == {b"c": write_md5(ONE)}
        assert heard.most_unanswered == 1
        assert sharer.registered == (2, 2)
        (connected,) = sharer.of(TrackerConnected)
        assert connected == TrackerConnected("10.0.0.1:11111", b"an_na", Address("10.0.0.2", OUR_PORT), False)
        assert sharer.announcer.address == Address("10.0.0.2", OUR_PORT)


async def test_a_new_tracker_is_told_everything_at_once(autojump_clock: MockClock) -> None:
    network = here()
    scripted = ScriptedTracker(new(lambda line: b"200 x\n"))
    offers = [
        (b"whole", Announcement(7, ONE, B3)),
        (b"part", Announcement(8, None, B3, partial=True)),
        *((b"f%03d" % number, Announcement(number)) for number in range(300)),
    ]
    async with open_scripted(network, scripted), sharing(network, offers=offers) as sharer:
        await sharer.settle()
        b3 = B3.hex().encode()
        assert scripted.heard[1] == b"ADDR an%20na 10.0.0.2:11112"
        assert scripted.heard[2:5] == [
            b"HAVE whole %s size=7 b3=%s" % (write_md5(ONE), b3),
            b"HAVE part size=8 b3=%s part=yes" % b3,
            b"HAVE f000 size=0",
        ]
        assert scripted.most_unanswered > 100
        assert sharer.registered == (302, 302)


async def test_our_own_tracker_lists_what_is_announced(autojump_clock: MockClock) -> None:
    network = here()
    async with new_tracker(network), sharing(network) as sharer, open_tracker(network, HOST, PORT, LIMITS) as asker:
        sharer.announcer.offer([(b"a", Announcement(7, ONE, B3)), (b"b", Announcement(3))])
        await sharer.settle()
        (facts, _) = await asker.facts([b"a", b"b"])
        assert (facts.md5, facts.b3, facts.size) == (ONE, B3, 7)
        assert [entry.address for entry in facts.holders] == [Address("10.0.0.2", OUR_PORT)]
        sharer.offer(b"a", size=9)  # the file has changed, and nothing is known of it yet
        await sharer.settle()
        (facts,) = await asker.facts([b"a"])
        assert (facts.md5, facts.b3, facts.size) == (None, None, 9)
        sharer.announcer.withdraw([b"a"])
        await sharer.settle()
        assert [entry.name for entry in await asker.list_files()] == [b"b"]
        assert sharer.registered == (1, 1)
        assert not sharer.of(Withdrawn)


async def test_what_is_known_is_not_said_again(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (_, heard), sharing(network) as sharer:
        sharer.offer(b"a", b"b", md5=ONE)
        await sharer.settle()
        said = len(heard.heard)
        sharer.offer(b"a", md5=ONE)
        sharer.offer(b"b", md5=TWO)
        sharer.offer(b"b", md5=ONE)
        sharer.announcer.withdraw([b"never shared"])
        await sharer.settle()
        sharer.offer(b"c")
        sharer.announcer.withdraw([b"c"])
        await sharer.settle()
        assert heard.heard[said:] == []


async def test_a_name_withdrawn_and_offered_again(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, heard), sharing(network) as sharer:
        sharer.offer(b"a")
        await sharer.settle()
        sharer.announcer.withdraw([b"a"])
        await sharer.settle()
        assert heard.heard[-1] == b"DONTHAVE a"
        assert not books.holders(b"a")
        sharer.offer(b"a")
        await sharer.settle()
        assert books.holders(b"a")


async def test_an_old_tracker_forgets_the_checksum_of_a_changed_file_with_the_file(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (_, heard), sharing(network) as sharer:
        sharer.offer(b"a", md5=ONE)
        await sharer.settle()
        said = len(heard.heard)
        sharer.offer(b"a", size=8)
        await sharer.settle()
        assert heard.heard[said:] == [b"DONTHAVE a", b"HAVE a"]


async def test_parts_are_nothing_for_an_old_tracker(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, heard), sharing(network) as sharer:
        sharer.offer(b"a")
        sharer.announcer.offer([(b"b", Announcement(7, partial=True)), (b"c", Announcement(7, partial=True))])
        await sharer.settle()
        assert sharer.registered == (1, 1)
        assert not books.holders(b"b")
        sharer.announcer.offer([(b"b", Announcement(7, ONE))])
        sharer.announcer.withdraw([b"c"])
        await sharer.settle()
        assert sharer.registered == (2, 2)
        sharer.announcer.offer([(b"a", Announcement(9, partial=True))])
        await sharer.settle()
        assert heard.heard[-1] == b"DONTHAVE a"
        assert sharer.registered == (1, 1)


async def test_changes_that_come_while_others_are_told_are_told_too(autojump_clock: MockClock) -> None:
    network = here()
    scripted = ScriptedTracker(lambda line: b"500 x\n" if b"HELLO" in line else b"200 x\n", delay=0.1)
    async with (
        open_scripted(network, scripted),
        sharing(network, limits=replace(LIMITS, hello_timeout=10, connect_timeout=20)) as sharer,
    ):
        sharer.offer(b"a", b"b", b"c", b"d")
        await trio.sleep(0.35)
        sharer.offer(b"a", md5=ONE)
        sharer.announcer.withdraw([b"b", b"d"])  # the tracker has not been told of d yet
        await sharer.settle()
        told = [b"HAVE a", b"HAVE b", b"HAVE c", b"HAVE a " + write_md5(ONE), b"DONTHAVE b"]
        assert scripted.heard[2:] == told


# --- refusals and limits ---


async def test_a_checksum_that_is_refused_withdraws_the_name_and_says_so(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, heard), sharing(network) as sharer:
        books.checksums[b"a"] = write_md5(TWO)
        sharer.offer(b"a", b"b")
        await sharer.settle()
        assert books.holders(b"a")
        sharer.offer(b"a", b"b", md5=ONE)
        await sharer.settle()
        assert not books.holders(b"a")
        assert heard.heard[-1] == b"DONTHAVE a"
        (withdrawn,) = sharer.of(Withdrawn)
        assert isinstance(withdrawn, Withdrawn)
        assert (withdrawn.name, withdrawn.tracker) == (b"a", HOST + ":11111")
        assert withdrawn.reason == "500 Another checksum is registered"
        assert sharer.registered == (1, 2)


async def test_a_refused_name_comes_back_with_another_content(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, _), sharing(network) as sharer:
        books.checksums[b"a"] = write_md5(TWO)
        sharer.offer(b"a", md5=ONE)
        await sharer.settle()
        assert not books.holders(b"a")
        sharer.offer(b"a", md5=TWO)
        await sharer.settle()
        assert books.holders(b"a")
        assert len(sharer.of(Withdrawn)) == 1
        sharer.offer(b"a", md5=ONE)
        await sharer.settle()
        assert not books.holders(b"a"), "what was registered is withdrawn when the change is refused"


async def test_another_connection_is_asked_again_for_what_the_last_one_refused(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, heard), sharing(network) as sharer:
        books.checksums[b"a"] = write_md5(TWO)
        sharer.offer(b"a", md5=ONE)
        await sharer.settle()
        books.checksums.clear()
        heard.connections[0].close()
        await trio.sleep(10)
        assert books.holders(b"a")
        assert sharer.registered == (1, 1)


async def test_a_name_refused_by_our_tracker_is_withdrawn_once(autojump_clock: MockClock) -> None:
    network = here()
    async with (
        new_tracker(network),
        open_tracker(network, HOST, PORT, LIMITS) as first,
        sharing(network) as sharer,
    ):
        await first.request(b"ADDR ben 10.0.0.2:4001\n")
        await first.request(b"HAVE a %s\n" % write_md5(TWO))
        sharer.offer(b"a", md5=ONE)
        await sharer.settle()
        sharer.offer(b"b")
        await sharer.settle()
        assert len(sharer.of(Withdrawn)) == 1
        assert sharer.registered == (1, 2)
        assert [entry.alias for entry in (await first.facts([b"a"]))[0].holders] == [b"ben"]


async def test_beyond_the_limit_of_files_it_is_told_how_many_are_registered(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, _), sharing(network) as sharer:
        sharer.offer(*(b"f%d" % number for number in range(1003)))
        await sharer.settle()
        assert sharer.registered == (1000, 1003)
        assert not sharer.of(Withdrawn)
        assert len(books.registered[0].files) == 1000
        assert not books.holders(b"f1002")


async def test_room_that_becomes_free_is_used(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, heard), sharing(network) as sharer:
        sharer.offer(*(b"f%d" % number for number in range(1003)))
        await sharer.settle()
        said = len(heard.heard)
        sharer.announcer.withdraw([b"f1000"])
        await sharer.settle()
        sharer.announcer.withdraw([b"f0"])
        await sharer.settle()
        assert sharer.registered == (1000, 1001)
        assert books.holders(b"f1001")
        assert heard.heard[said:] == [b"DONTHAVE f0", b"HAVE f1001"]


async def test_beyond_its_limit_an_old_tracker_still_learns_checksums(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, _), sharing(network) as sharer:
        names = [b"f%d" % number for number in range(1001)]
        sharer.offer(*names)
        await sharer.settle()
        sharer.offer(*names[:10], md5=ONE)
        await sharer.settle()
        assert books.checksums == {name: write_md5(ONE) for name in names[:10]}
        assert all(books.holders(name) for name in names[:1000])
        assert sharer.registered == (1000, 1001)
        books.checksums[names[20]] = write_md5(TWO)
        sharer.offer(names[20], md5=ONE)
        await sharer.settle()
        assert not books.holders(names[20])
        assert books.holders(names[1000]), "its place is another's now"
        assert len(sharer.of(Withdrawn)) == 1


async def test_a_tracker_that_takes_nothing_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    network = here()
    scripted = ScriptedTracker(lambda line: b"200 x\n" if line.startswith(b"ADDR") else b"300 no\n")
    async with open_scripted(network, scripted), sharing(network) as sharer:
        sharer.offer(b"a", b"b")
        await sharer.settle()
        sharer.announcer.withdraw([b"a"])
        await sharer.settle()
        await trio.sleep(100)
        assert sharer.registered == (0, 1)
        assert scripted.heard[2:] == [b"HAVE a", b"HAVE b"]
