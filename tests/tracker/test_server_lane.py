"""Long lists of a tracker: whole for all who ask, in turns of addresses, and bounded for those who never read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.net.lane import Lane, Making
from osp2p.wire.reply import Reply
from tests.net.lanes import count_turns
from tests.tracker.talk import PATIENCE, Client, client, running_tracker

LIMITS = Limits()

FILES = 3000

NOTHING = Reply(500, b"")


async def test_long_lists_are_whole_for_all_who_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = count_turns(monkeypatch)
    network = MemoryNetwork("10.0.0.1")
    with trio.fail_after(PATIENCE):
        async with running_tracker(network, port=11111), client(11111, "10.0.0.1", network.host("10.0.0.2")) as peer:
            await peer.send(b"HELLO OSP2P/2\nADDR a 10.0.0.2:1\n" + b"".join(b"HAVE f%d\n" % n for n in range(FILES)))
            for _ in range(FILES + 2):
                await peer.reply()
            found: list[int] = []

            async def ask(number: int) -> None:
                async with client(11111, "10.0.0.1", network.host(f"10.0.1.{number}")) as talk:
                    await talk.send(b"WANT f1\nLIST\nLIST\nWANT f2\n")
                    replies = [await talk.reply() for _ in range(4)]
                    found.extend(len(reply.data) for reply in replies if reply is not None)

            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(ask, number)
            assert sorted(found) == sorted([1, FILES, FILES, 1] * 10)
            assert turns == {f"10.0.1.{number}": 2 for number in range(10)}


async def test_who_waits_for_a_turn_hears_what_was_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = trio.Event()
    make = Lane.make

    async def made_late(lane: Lane, source: str, making: Making) -> bytes:
        if source == "10.0.1.1":
            async with lane.turn(source):
                await gate.wait()
        return await make(lane, source, making)

    monkeypatch.setattr(Lane, "make", made_late)
    network = MemoryNetwork("10.0.0.1")
    with trio.fail_after(PATIENCE):
        async with (
            running_tracker(network, port=11111),
            client(11111, "10.0.0.1", network.host("10.0.0.2")) as peer,
            client(11111, "10.0.0.1", network.host("10.0.1.1")) as first,
            client(11111, "10.0.0.1", network.host("10.0.1.2")) as second,
        ):
            await peer.send(b"HELLO OSP2P/2\nADDR a 10.0.0.2:1\n" + b"".join(b"HAVE f%d\n" % n for n in range(FILES)))
            for _ in range(FILES + 2):
                await peer.reply()
            await first.send(b"LIST\n")
            await wait_all_tasks_blocked()
            await second.send(b"WANT f1\nLIST\nWANT f2\n")
            assert len((await second.reply() or NOTHING).data) == 1
            gate.set()
            assert [len((await talk.reply() or NOTHING).data) for talk in (first, second, second)] == [FILES, FILES, 1]


async def test_those_who_never_read_their_lists_are_closed_where_there_are_too_many() -> None:
    network = MemoryNetwork("10.0.0.1", capacity=1000)
    limits = replace(LIMITS, max_unsent_answers=200_000)
    with trio.fail_after(PATIENCE):
        async with (
            running_tracker(network, limits=limits, port=11111),
            client(11111, "10.0.0.1", network.host("10.0.0.2")) as peer,
        ):
            await peer.ask(b"HELLO OSP2P/2")
            await peer.ask(b"ADDR a 10.0.0.2:1")
            for number in range(FILES):
                await peer.ask(b"HAVE f%d" % number)
            readers = [await network.host(f"10.0.1.{number}").connect("10.0.0.1", 11111) for number in range(12)]
            slow = [Client(reader) for reader in readers]
            for talk in slow:
                await talk.reply()
                await talk.send(b"LIST\n")
                await wait_all_tasks_blocked()
            async with client(11111, "10.0.0.1", network.host("10.0.0.3")) as honest:
                assert len(await honest.data(b"LIST")) == FILES
            replies = [await talk.reply() for talk in slow]
            assert [reply is None for reply in replies] == sorted([reply is None for reply in replies], reverse=True)
            assert 0 < replies.count(None) < len(replies)
