"""What a caller believes of an answer: nothing that is not signed by the node that was called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from osp2p.errors import CallError, CallTimedOut, NetworkFailed, Osp2pError, Refused
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, MemoryNetwork, serve_connections
from osp2p.rpc.directory import MemoryDirectory
from osp2p.rpc.document import write_result
from osp2p.rpc.identity import Identity, new_identity
from osp2p.rpc.message import Call, parse_call_words, write_result_line
from osp2p.wire.address import Address
from osp2p.wire.request import parse_words
from tests.rpc.nodes import Clock, Peer, open_peer

Networks = list[MemoryNetwork]

Answer = Callable[[Identity, Call, bytes], bytes]


def result(identity: Identity, call: Call, document: bytes, body: bytes, *, key: bytes | None = None) -> bytes:
    """An honest result."""
    text = call.result_text(call.text(document), body)
    return write_result_line(len(body), key or identity.key, identity.sign(text)) + b"\n200 done\n" + body


def signed_by_another(identity: Identity, call: Call, document: bytes) -> bytes:
    return result(new_identity(), call, document, write_result(5))


def signed_by_another_under_the_nodes_key(identity: Identity, call: Call, document: bytes) -> bytes:
    return result(new_identity(), call, document, write_result(5), key=identity.key)


def of_another_call(identity: Identity, call: Call, document: bytes) -> bytes:
    return result(identity, call, document + b" ", write_result(5))


def changed_on_the_way(identity: Identity, call: Call, document: bytes) -> bytes:
    return result(identity, call, document, write_result(5)).replace(b">5<", b">6<")


def no_document(identity: Identity, call: Call, document: bytes) -> bytes:
    return result(identity, call, document, b"hello")


def no_result_line(identity: Identity, call: Call, document: bytes) -> bytes:
    return b"200 done\n"


def another_data_line(identity: Identity, call: Call, document: bytes) -> bytes:
    return b"DATA 5\n200 done\nhello"


def too_long(identity: Identity, call: Call, document: bytes) -> bytes:
    return write_result_line(1 << 40, identity.key, bytes(64)) + b"\n200 done\n"


def cut_off(identity: Identity, call: Call, document: bytes) -> bytes:
    return result(identity, call, document, write_result(5))[:-1]


def nothing(identity: Identity, call: Call, document: bytes) -> bytes:
    return b""


def an_endless_reply(identity: Identity, call: Call, document: bytes) -> bytes:
    return b"REMARK\n" * 1_000


def a_negative_length(identity: Identity, call: Call, document: bytes) -> bytes:
    return b"RESULT -5 key=%s sig=%s\n200 done\n" % (b"00" * 32, b"00" * 64)


LYING: list[Answer] = [
    signed_by_another,
    signed_by_another_under_the_nodes_key,
    of_another_call,
    changed_on_the_way,
    no_document,
    no_result_line,
    another_data_line,
    too_long,
    cut_off,
    nothing,
    an_endless_reply,
    a_negative_length,
]


class Impostor:
    """Listens in the place of a node and answers as a test wants it."""

    def __init__(self, network: MemoryNetwork, identity: Identity) -> None:
        self.network = network
        self.identity = identity
        self.lines: list[bytes] = []
        self.hello = b"FEATURE call " + identity.address.encode() + b"\n200 hello\n"
        self.answer: Answer = nothing

    async def serve(self, connection: Connection) -> None:
        lines = LineConnection(connection, Limits())
        try:
            while (line := await lines.read_line(trio.current_time() + 3600)) is not None:
                if line.startswith(b"HELLO"):
                    await connection.send(self.hello)
                    continue
                words, attributes = parse_words(line.split()[1:], attributes=True)
                call, _ = parse_call_words(words[0], attributes)
                document = bytearray()
                while len(document) < call.length:
                    buffer = bytearray(call.length - len(document))
                    document += buffer[: await lines.receive_into(memoryview(buffer))]
                self.lines.append(line)
                answer = self.answer(self.identity, call, bytes(document))
                if not answer:
                    return
                await connection.send(answer)
                if self.answer in (cut_off, another_data_line):
                    return
        except Osp2pError:
            return


@asynccontextmanager
async def open_impostor(networks: Networks) -> AsyncIterator[tuple[Impostor, Peer, str]]:
    impostor = Impostor(networks[0], new_identity())
    listener = await networks[0].listen(7)
    async with trio.open_nursery() as nursery, open_peer(networks[1]) as caller:
        nursery.start_soon(serve_connections, listener, impostor.serve, Limits())
        yield impostor, caller, f"{impostor.identity.address}@10.0.0.1:7"
        listener.close()
        nursery.cancel_scope.cancel()


async def test_the_impostor_could_be_honest(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_impostor(networks) as (impostor, caller, target):
        impostor.answer = lambda identity, call, document: result(identity, call, document, write_result(5))
        assert await caller.calls.call(target, "clock.add", 2, 3) == 5


@pytest.mark.parametrize("answer", LYING, ids=lambda answer: answer.__name__)
async def test_an_answer_that_is_not_the_nodes_is_none(
    autojump_clock: MockClock, networks: Networks, answer: Answer
) -> None:
    async with open_impostor(networks) as (impostor, caller, target):
        impostor.answer = answer
        with pytest.raises(NetworkFailed) as failed:
            await caller.calls.call(target, "clock.add", 2, 3)
        assert failed.value.may_have_run
        assert len(impostor.lines) == 1


@pytest.mark.parametrize(
    "hello",
    [
        b"200 hello\n",
        b"FEATURE content b3\n200 hello\n",
        b"FEATURE call\n200 hello\n",
        b"FEATURE call \xff\xff\n200 hello\n",
        b"FEATURE call " + b"ab" * 20 + b"\n200 hello\n",
        b"500 what\n",
        b"hello\n" * 5000,
        b"x" * 100_000,
    ],
)
async def test_a_call_is_sent_only_to_who_seems_to_be_the_node(
    autojump_clock: MockClock, networks: Networks, hello: bytes
) -> None:
    async with open_impostor(networks) as (impostor, caller, target):
        impostor.hello = hello
        with pytest.raises(NetworkFailed) as failed:
            await caller.calls.call(target, "clock.add", 2, 3)
        assert not failed.value.may_have_run
        assert impostor.lines == []


async def test_silence_ends_with_the_time(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_impostor(networks) as (impostor, caller, target):
        impostor.answer = lambda identity, call, document: b"REMARK\n"
        with pytest.raises(CallTimedOut):
            await caller.calls.call(target, "clock.add", 2, 3, timeout=5)


@pytest.mark.parametrize(("code", "kind"), [(303, Refused), (310, NetworkFailed), (314, NetworkFailed), (399, Refused)])
async def test_refusals_are_told_by_their_codes(
    autojump_clock: MockClock, networks: Networks, code: int, kind: type[CallError]
) -> None:
    async with open_impostor(networks) as (impostor, caller, target):
        impostor.answer = lambda identity, call, document: b"%d no \xff\n" % code
        with pytest.raises(kind) as caught:
            await caller.calls.call(target, "clock.add", 2, 3)
        if isinstance(caught.value, Refused):
            assert caught.value.code == code


async def test_a_dead_connection_has_the_same_call_sent_again_once(
    autojump_clock: MockClock, networks: Networks
) -> None:
    """The id stays, so that a node which took it and died behind that does not take it twice."""
    async with open_impostor(networks) as (impostor, caller, target):
        answers: list[Answer] = [
            lambda identity, call, document: result(identity, call, document, write_result(5)),
            nothing,
            lambda identity, call, document: result(identity, call, document, write_result(6)),
            nothing,
            nothing,
        ]

        def answer(identity: Identity, call: Call, document: bytes) -> bytes:
            return answers.pop(0)(identity, call, document)

        impostor.answer = answer
        assert await caller.calls.call(target, "clock.add", 2, 3) == 5
        assert await caller.calls.call(target, "clock.add", 2, 3) == 6
        assert len(impostor.lines) == 3
        assert impostor.lines[0] != impostor.lines[1] == impostor.lines[2]
        with pytest.raises(NetworkFailed) as failed:
            await caller.calls.call(target, "clock.add", 2, 3)
        assert failed.value.may_have_run
        assert len(impostor.lines) == 5


@pytest.mark.parametrize(
    "then", ["gone", b"303 busy\n", b"315 older than this node's start\n", b"312 no such method\n"]
)
async def test_a_call_that_was_cut_off_may_have_run_whatever_comes_then(
    autojump_clock: MockClock, networks: Networks, then: bytes | str
) -> None:
    """The node took it, died behind that, and was started again or not: a second node must not be asked instead."""
    async with open_impostor(networks) as (impostor, caller, target):
        impostor.answer = lambda identity, call, document: result(identity, call, document, write_result(5))
        assert await caller.calls.call(target, "clock.add", 2, 3) == 5

        def die(identity: Identity, call: Call, document: bytes) -> bytes:
            if isinstance(then, str):
                networks[0].hosts.pop(Address("10.0.0.1", 7))
            else:
                impostor.answer = lambda identity, call, document: then
            return b""

        impostor.answer = die
        with pytest.raises(NetworkFailed) as failed:
            await caller.calls.call(target, "clock.add", 2, 3)
        assert failed.value.may_have_run


async def test_an_impostor_poisons_nothing(autojump_clock: MockClock, networks: Networks) -> None:
    """Who claims an address, and cannot prove it, changes nothing about how its owner is called."""

    class Good:
        async def add(self, a: int, b: int) -> int:
            return a + b

    async with open_impostor(networks) as (impostor, caller, _), open_peer(networks[2], good=Good()) as good:
        impostor.hello = b"FEATURE call " + good.calls.address.encode() + b"\n200 hello\n"
        impostor.answer = signed_by_another
        for _ in range(2):
            with pytest.raises(NetworkFailed):
                await caller.calls._caller.call_whoever(Address(impostor.network.address, 7), "good.info")
            assert await caller.calls.call(good.target, "good.add", 1, 2) == 3


async def test_an_impostor_in_the_place_that_a_node_has_left_keeps_nobody_from_it(
    autojump_clock: MockClock, networks: Networks, directories: list[MemoryDirectory]
) -> None:
    identity = new_identity()
    async with open_peer(networks[1], directories[1]) as caller:
        async with open_peer(networks[0], directories[0], identity=identity, clock=Clock(), port=7):
            assert await caller.calls.call(identity.address, "clock.add", 2, 3) == 5
        await trio.sleep(0.01)  # the later record is the newer one
        impostor = Impostor(networks[0], identity)
        impostor.answer = signed_by_another
        listener = await networks[0].listen(7)
        async with (
            open_peer(networks[2], directories[2], identity=identity, clock=Clock()),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(serve_connections, listener, impostor.serve, Limits())
            with pytest.raises(NetworkFailed):
                await caller.calls.call(identity.address, "clock.add", 2, 3)
            assert len(impostor.lines) == 1
            assert await caller.calls.call(identity.address, "clock.add", 2, 3) == 5
            listener.close()
            nursery.cancel_scope.cancel()


async def test_who_passes_on_what_a_node_says_is_not_put_in_its_place(
    autojump_clock: MockClock, networks: Networks, directories: list[MemoryDirectory]
) -> None:
    """Anybody can announce a service, and prove with another node's answers that that node is there."""
    relayed: list[bytes] = []

    async def relay(connection: Connection) -> None:
        onward = await networks[2].connect(callee.where.host, callee.where.port)

        async def copy(source: Connection, target: Connection) -> None:
            while data := await source.receive(65536):
                if data.startswith(b"CALL"):
                    relayed.append(data.split()[1])
                await target.send(data)
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(copy, connection, onward)
                nursery.start_soon(copy, onward, connection)
        finally:
            onward.close()

    listener = await networks[2].listen(7)
    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as callee,
        open_peer(networks[1], directories[1]) as caller,
        trio.open_nursery() as relaying,
    ):
        relaying.start_soon(serve_connections, listener, relay, Limits())
        assert await caller.calls.call(callee.calls.address, "clock.add", 1) == 2
        address, _ = await caller.calls._caller.call_whoever(Address("10.0.0.3", 7), "clock.info")
        assert (address, relayed) == (callee.calls.address, [b"clock.info"])
        for _ in range(2):
            assert await caller.calls.call(callee.calls.address, "clock.add", 1) == 2
            caller.calls.close()  # the second call needs a connection of its own
        assert relayed == [b"clock.info"]
        listener.close()
        relaying.cancel_scope.cancel()
