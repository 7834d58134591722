"""The client of one tracker: old and new ones, lists, facts, and trackers that misbehave in every way."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from osp2p.errors import (
    ConnectionLost,
    LineTooLong,
    TimedOut,
    TrackerError,
    TrackerRefused,
    TrackerUnreachable,
)
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.peer.tracker_client import open_tracker
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from tests.peer.scripted import (
    GREETING,
    HOST,
    PORT,
    Answer,
    ScriptedTracker,
    client_of,
    here,
    new,
    new_tracker,
    old,
    open_old,
    open_scripted,
)

LIMITS = Limits()
MD5 = hashlib.md5(b"content", usedforsecurity=False).digest()
B3 = bytes(range(32))


# --- connecting ---


async def test_a_new_tracker_is_spoken_to_in_osp2p2(autojump_clock: MockClock) -> None:
    async with client_of(new()) as (client, tracker):
        assert client.hello
        assert client.features == {b"b3": b"", b"local": b"on"}
        assert tracker.heard == [b"HELLO OSP2P/2"]
        assert client.label == f"{HOST}:{PORT}"
        assert client.remote == Address(HOST, PORT)
        assert client.local.host == "10.0.0.2"


async def test_our_own_tracker_and_the_client_understand_each_other(autojump_clock: MockClock) -> None:
    network = here()
    async with new_tracker(network), open_tracker(network, HOST, PORT, LIMITS) as client:
        assert client.hello
        assert (await client.request(b"ADDR anna 10.0.0.2:4001\n")).ok
        have = b"HAVE cat.jpg %s size=7 b3=%s\n" % (write_md5(MD5), B3.hex().encode())
        assert (await client.request(have)).ok
        (facts, nothing) = await client.facts([b"cat.jpg", b"dog.jpg"])
        assert (facts.md5, facts.b3, facts.size) == (MD5, B3, 7)
        assert [entry.address for entry in facts.holders] == [Address("10.0.0.2", 4001)]
        assert nothing == TrackerFacts(())
        assert await client.checksum(b"cat.jpg") == MD5
        assert [entry.name for entry in await client.list_files()] == [b"cat.jpg"]
        assert [entry.alias for entry in await client.list_peers()] == [b"anna"]
        assert [entry.alias for entry in await client.holders(b"cat.jpg", B3)] == [b"anna"]
        assert replace(await client.facts_of(b"cat.jpg", B3), holders=()) == TrackerFacts((), MD5, B3, 7)
        await client.quit()
        assert "goodbye" not in await client.wait_closed()
        with pytest.raises(ConnectionLost):
            await client.list_files()


async def test_an_old_tracker_answers_500_and_is_spoken_to_as_in_2007(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (_, heard), open_tracker(network, HOST, PORT, LIMITS) as client:
        assert not client.hello
        assert await client.list_files() == []
        assert heard.heard == [b"HELLO OSP2P/2", b"LIST"]
        assert len(heard.connections) == 1


@pytest.mark.parametrize("reaction", ["closes", "silent", "half a line"])
async def test_one_that_cannot_bear_hello_is_asked_again_without(autojump_clock: MockClock, reaction: str) -> None:
    replies = {"closes": None, "silent": b"", "half a line": b"50"}

    def answer(line: bytes) -> bytes | None:
        return replies[reaction] if line.startswith(b"HELLO") else old(line)

    async with client_of(answer) as (client, tracker):
        assert not client.hello
        assert await client.list_files() == []
        assert [[line for _, line in lines] for lines in tracker.lines] == [[b"HELLO OSP2P/2"], [b"LIST"]]
        assert trio.current_time() < LIMITS.connect_timeout


async def cannot_open(network: MemoryNetwork, expected: type[TrackerError] = TrackerUnreachable) -> str:
    with pytest.raises(expected) as caught:
        async with open_tracker(network, HOST, PORT, LIMITS):
            pytest.fail("no tracker, and yet a client")
    assert type(caught.value) is expected
    return str(caught.value)


async def test_nobody_there(autojump_clock: MockClock) -> None:
    assert await cannot_open(here()) == "no tracker answers at 10.0.0.1:11111: connection refused"


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "what listens at 10.0.0.1:11111 is no tracker: it greets with 'SSH-2.0-OpenSSH_9.2'",
        ),
        (b"\n\r\n\x1b[2J\xff\n", r"what listens at 10.0.0.1:11111 is no tracker: it greets with '\x1b[2J\\xff'"),
        (b"", "what listens at 10.0.0.1:11111 is no tracker, or a busy one: it does not greet in time"),
        (b"200-x", "what listens at 10.0.0.1:11111 is no tracker, or a busy one: it does not greet in time"),
        (b"2" * 5000, "what listens at 10.0.0.1:11111 is no tracker, or a busy one: it has a greeting without end"),
    ],
)
async def test_a_server_of_another_kind_is_told_from_a_tracker(
    autojump_clock: MockClock, greeting: bytes, said: str
) -> None:
    network = here()
    async with open_scripted(network, ScriptedTracker(old, greeting)):
        assert await cannot_open(network) == said
        assert trio.current_time() == (LIMITS.connect_timeout if "in time" in said else 0)


async def test_a_server_that_closes_without_a_word(autojump_clock: MockClock) -> None:
    network = here()
    tracker = ScriptedTracker(old, b"")
    tracker.serve = lambda connection: _close(connection)  # type: ignore[method-assign]
    async with open_scripted(network, tracker):
        text = (
            "what listens at 10.0.0.1:11111 is no tracker, or a busy one: it closes the connection without a greeting"
        )
        assert await cannot_open(network) == text


async def _close(connection: Connection) -> None:
    connection.close()


async def test_a_mail_server_is_not_one_where_nobody_has_the_file(autojump_clock: MockClock) -> None:
    async with client_of(lambda line: b"500 unrecognized\n") as (client, _):
        with pytest.raises(TrackerRefused, match="refused WANT: 500 unrecognized"):
            await client.facts([b"a", b"b"])
    odd = iter([b"500 what?\n", b"300 no\n", b"300 nobody\n", b"300 no\n"])
    async with client_of(lambda line: next(odd) if line.startswith((b"WANT", b"MD5")) else b"500 ?\n") as (client, _):
        assert [fact.holders for fact in await client.facts([b"a", b"b"])] == [(), ()]


@pytest.mark.parametrize("greeting", [b"", b"200", b"200-hello\n", b"SSH-2.0-x\r\n", b"200-" + b"x" * 3000])
async def test_no_whole_greeting_within_five_seconds(autojump_clock: MockClock, greeting: bytes) -> None:
    network = here()
    async with open_scripted(network, ScriptedTracker(old, greeting)) as tracker:
        await cannot_open(network)
        assert trio.current_time() <= 5.0
        await trio.sleep(1)
        assert len(tracker.connections) == 1


async def test_a_late_connection_and_a_late_greeting_share_the_five_seconds(autojump_clock: MockClock) -> None:
    class Slow(MemoryNetwork):
        async def connect(self, host: str, port: int) -> object:  # type: ignore[override]
            await trio.sleep(3)
            return await super().connect(host, port)

    network = Slow("10.0.0.2")
    async with open_scripted(network, ScriptedTracker(old, b"")):
        await cannot_open(network)
    assert trio.current_time() <= 5.0


async def test_one_that_greets_endlessly(autojump_clock: MockClock) -> None:
    network = here()

    async def greet_for_ever() -> None:
        listener = await network.host(HOST).listen(PORT)
        listening.set()
        connection = await listener.accept()
        with pytest.raises(ConnectionLost):
            while True:
                await connection.send(b"200-and another thing\n" * 100)
                await trio.sleep(0.01)

    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(greet_for_ever)
        await listening.wait()
        await cannot_open(network)
    assert trio.current_time() <= 5.1


@pytest.mark.parametrize("greeting", [b"x" * 5000 + b"\n", b"\x00\xff\n" * 300_000])
async def test_one_that_greets_with_too_much(autojump_clock: MockClock, greeting: bytes) -> None:
    network = here()
    async with open_scripted(network, ScriptedTracker(old, greeting)):
        await cannot_open(network)
    assert trio.current_time() < 5.0


async def test_one_that_does_not_let_us_in(autojump_clock: MockClock) -> None:
    network = here()
    async with open_scripted(network, ScriptedTracker(old, b"300 too many\n")):
        assert "300 too many" in await cannot_open(network, TrackerRefused)


async def test_cancelled_while_connecting_it_leaves_no_connection(autojump_clock: MockClock) -> None:
    network = here()
    for greeting, answer in ((b"", old), (GREETING, lambda line: b"")):
        async with open_scripted(network, ScriptedTracker(answer, greeting)) as tracker:
            with trio.move_on_after(1):
                async with open_tracker(network, HOST, PORT, LIMITS):
                    pytest.fail("the tracker has not answered")
            with pytest.raises(ConnectionLost):
                for _ in range(2):
                    await tracker.connections[0].send(b"x")


# --- requests ---


async def test_an_old_tracker_gets_one_command_at_a_time(autojump_clock: MockClock) -> None:
    async with client_of(old, delay=0.01) as (client, tracker):
        await client.facts([b"a%d" % number for number in range(20)])
        assert tracker.most_unanswered == 1
        assert len(tracker.heard) == 41


async def test_a_new_tracker_gets_many_at_a_time(autojump_clock: MockClock) -> None:
    async with client_of(new()) as (client, tracker):
        await client.facts([b"a%d" % number for number in range(200)])
        assert tracker.most_unanswered > 100


async def test_answers_that_nobody_reads_do_not_keep_requests_from_being_read(autojump_clock: MockClock) -> None:
    """The tracker reads nothing while it writes, as a simple one does, and little fits into the network."""
    network = MemoryNetwork("10.0.0.2", capacity=1000)
    peers = b"".join(b"PEER p%d 10.0.0.3:%d\n" % (number, 1 + number) for number in range(200)) + b"200 x\n"

    async def answer_in_turn() -> None:
        listener = await network.host(HOST).listen(PORT)
        listening.set()
        connection = await listener.accept()
        await connection.send(GREETING)
        rest = b""
        while data := await connection.receive(65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                await connection.send(b"200 hello\n" if line.startswith(b"HELLO") else peers)

    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_in_turn)
        await listening.wait()
        async with open_tracker(network, HOST, PORT, LIMITS) as client:
            facts = await client.facts([b"x" * 500 + b"%d" % number for number in range(100)])
            assert [len(fact.holders) for fact in facts] == [200] * 100


async def test_several_tasks_take_turns(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (books, heard), open_tracker(network, HOST, PORT, LIMITS) as client:
        for number in range(10):
            books.checksums[b"f%d" % number] = write_md5(bytes([number] * 16))
        found: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            found[number] = await client.checksum(b"f%d" % number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, number)
        assert found == {number: bytes([number] * 16) for number in range(10)}
        assert heard.most_unanswered == 1


async def test_a_cancelled_request_ruins_the_connection_for_the_next(autojump_clock: MockClock) -> None:
    async with client_of(old, delay=1.0) as (client, _):
        with trio.move_on_after(0.5):
            await client.list_files()
        with pytest.raises(ConnectionLost, match="closed"):
            await client.list_peers()
        with pytest.raises(ConnectionLost, match="closed"):
            await client.keep_alive()


@pytest.mark.parametrize("hello", [True, False])
async def test_silence_ends_a_request(autojump_clock: MockClock, hello: bool) -> None:
    answer: Answer = new(lambda line: b"") if hello else (lambda line: b"500 no\n" if b"HELLO" in line else b"")
    async with client_of(answer) as (client, _):
        with pytest.raises(TimedOut):
            await client.facts([b"a", b"b"])
    assert trio.current_time() == pytest.approx(LIMITS.reply_timeout, abs=0.1)


async def test_a_reply_that_drips_has_an_absolute_end(autojump_clock: MockClock) -> None:
    network = here()

    async def drip() -> None:
        listener = await network.host(HOST).listen(PORT)
        listening.set()
        connection = await listener.accept()
        await connection.send(GREETING)
        await connection.receive(100)
        await connection.send(b"500 no\n")
        with pytest.raises(ConnectionLost):
            while True:
                await connection.send(b"FILE a\n")
                await trio.sleep(1)

    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        await listening.wait()
        async with open_tracker(network, HOST, PORT, LIMITS) as client:
            with pytest.raises(TimedOut):
                await client.list_files()
    assert trio.current_time() < LIMITS.reply_timeout + 2


async def test_an_answer_without_end_is_not_kept(autojump_clock: MockClock) -> None:
    limits = replace(LIMITS, max_reply_lines=1000)
    async with client_of(lambda line: b"500 no\n" if b"HELLO" in line else b"FILE a\n" * 1001, limits=limits) as (
        client,
        _,
    ):
        with pytest.raises(LineTooLong):
            await client.list_files()
        with pytest.raises(ConnectionLost):
            await client.list_files()


@pytest.mark.parametrize("line", [b"PEER " + b"x" * 900, b"x"])
async def test_many_answers_are_not_kept_without_end_either(autojump_clock: MockClock, line: bytes) -> None:
    """Each by itself is within its limit; short lines weigh something, too."""
    limits = replace(LIMITS, max_reply_bytes=100_000)
    async with client_of(new(lambda _: (line + b"\n") * 40 + b"200 ok\n"), limits=limits) as (client, tracker):
        assert len(await client.facts([b"a"])) == 1
        with pytest.raises(LineTooLong, match="too long to be kept"):
            await client.facts([b"a%d" % number for number in range(400)])
        assert tracker.answered < 200


# --- the end ---


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (b"", "it closed the connection"),
        (b"200 this tracker ends; goodbye\n", "this tracker ends; goodbye"),
        (b"220-x\n220 Line too long, goodbye\n", "Line too long, goodbye"),
        (b"half a li", "closed in the middle of a line"),
        (b"x" * 5000 + b"\n", "longer than 4096"),
    ],
)
async def test_why_a_tracker_is_gone(autojump_clock: MockClock, last: bytes, reason: str) -> None:
    async with client_of(old) as (client, tracker):
        await tracker.connections[0].send(last)
        tracker.connections[0].close()
        assert reason in await client.wait_closed()


async def test_a_reset_is_a_reason_too(autojump_clock: MockClock) -> None:
    async with client_of(old) as (client, tracker):
        tracker.connections[0].abort()
        assert "reset" in await client.wait_closed()


async def test_a_few_unasked_lines_are_borne_and_an_endless_talk_is_not(autojump_clock: MockClock) -> None:
    async with client_of(old) as (client, tracker):
        await tracker.connections[0].send(b"500 what is a blank line?\n")
        with trio.move_on_after(1):
            pytest.fail(await client.wait_closed())
        assert await client.list_files() == []
        await tracker.connections[0].send(b"la\n" * 1000)
        assert await client.wait_closed() == "it talks without being asked"


async def test_to_wait_often_is_not_to_be_talked_to(autojump_clock: MockClock) -> None:
    async with client_of(old) as (client, tracker):
        for _ in range(2 * LIMITS.max_unasked_lines):
            with trio.move_on_after(0.01):
                pytest.fail(await client.wait_closed())
        tracker.connections[0].close()
        assert await client.wait_closed() == "it closed the connection"


async def test_what_was_said_before_a_question_is_no_answer_to_it(autojump_clock: MockClock) -> None:
    async with client_of(new(lambda line: b"FILE a\n200 x\n")) as (client, tracker):
        await tracker.connections[0].send(b"500 what is a blank line?\n500 and another\n")
        with trio.move_on_after(1):
            await client.wait_closed()
        await tracker.connections[0].send(b"FILE x\n500 and this\n")
        await client._lines.wait_begun(trio.current_time() + 1)
        assert [entry.name for entry in await client.list_files()] == [b"a"]


async def test_blank_lines_of_a_tracker_say_nothing(autojump_clock: MockClock) -> None:
    answers = {b"MD5SUM": b"\n\r\n" + write_md5(b"1" * 16) + b"\n\n200 x\n", b"LIST": b"\nFILE a\n \n200 x\n\n"}
    async with client_of(lambda line: answers.get(line.split()[0], b"500 x\n")) as (client, _):
        assert await client.checksum(b"a") == b"1" * 16
        assert [entry.name for entry in await client.list_files()] == [b"a"]
        assert await client.checksum(b"a") == b"1" * 16


async def test_quit_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    async with client_of(lambda line: b"500 x\n" if b"HELLO" in line else b"") as (client, tracker):
        await client.quit()
        assert tracker.heard[-1] == b"QUIT"
        assert trio.current_time() <= LIMITS.quit_timeout + 0.1


async def test_a_blank_line_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (_, heard), open_tracker(network, HOST, PORT, LIMITS) as client:
        await client.keep_alive()
        assert await client.list_files() == []
        assert heard.heard == [b"HELLO OSP2P/2", b"", b"LIST"]


# --- a few names ---


async def test_a_few_names_are_asked_for_at_once_and_each_is_named_once(autojump_clock: MockClock) -> None:
    network = here()
    async with new_tracker(network), open_tracker(network, HOST, PORT, LIMITS) as client:
        await client.request(b"ADDR anna 10.0.0.2:4001\n")
        for name in (b"Fi1", b"a", b"b", b"fi1", b"fi2", b"fi3"):
            await client.request(b"HAVE %s\n" % name)
        assert await client.list_some([b"", b"fi", b"Fi"], 2) == [b"Fi1", b"a", b"fi1", b"fi2"]
        assert await client.list_some([b"x" * (LIMITS.max_name + 1)], 2) == []


async def test_a_tracker_without_pages_is_asked_for_its_list_once(autojump_clock: MockClock) -> None:
    network = here()
    async with open_old(network) as (_, heard), open_tracker(network, HOST, PORT, LIMITS) as client:
        for line in (b"ADDR anna 10.0.0.2:4001\n", b"HAVE film.mkv\n"):
            await client.request(line)
        assert await client.list_some([b"", b"fi", b"Fi"], 2) == [b"film.mkv"]
        assert heard.heard.count(b"LIST") == 1
