"""The serving side of CALL, met by strangers who write the bytes themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from osp2p.errors import ConnectionLost
from osp2p.limits import Limits
from osp2p.net import LineConnection, MemoryNetwork
from osp2p.rpc.document import NOT_WELL_FORMED, parse_response, write_call
from osp2p.rpc.identity import Identity, is_signed, new_identity
from osp2p.rpc.message import Call, parse_result_words, write_call_line
from osp2p.wire.reply import Reply
from osp2p.wire.request import parse_words
from tests.rpc.nodes import Clock, Peer, open_peer, virtual_now

Networks = list[MemoryNetwork]


class Stranger:
    """A caller who does as he likes."""

    def __init__(self, lines: LineConnection, peer: Peer) -> None:
        self.lines = lines
        self.peer = peer
        self.identity = new_identity()

    def call(self, document: bytes, method: str = "clock.add", **changes: Any) -> Call:
        call = Call(
            method=method,
            to=self.peer.calls.address,
            sender=self.identity.address,
            key=self.identity.key,
            nonce=os.urandom(16),
            time=virtual_now(),
            timeout=30_000,
            length=len(document),
        )
        return dataclasses.replace(call, **changes)

    def sign(self, call: Call, document: bytes, identity: Identity | None = None) -> bytes:
        return write_call_line(call, (identity or self.identity).sign(call.text(document)))

    async def send(self, data: bytes) -> None:
        await self.lines.connection.send(data)

    async def reply(self) -> Reply:
        return await self.lines.read_reply(trio.current_time() + 3600)

    async def result(self, call: Call, document: bytes) -> Any:
        """Read a result, and make sure that it is the node's."""
        reply = await self.reply()
        assert reply.code == 200, reply
        words = reply.data[0].split()
        length, key, signature = parse_result_words(words[1], parse_words(words[2:], attributes=True)[1])
        result = bytearray()
        while len(result) < length:
            buffer = bytearray(length - len(result))
            count = await self.lines.receive_into(memoryview(buffer))
            assert count
            result += buffer[:count]
        assert is_signed(key, signature, call.result_text(call.text(document), bytes(result)))
        return parse_response(bytes(result))

    async def is_closed(self) -> bool:
        """Whether the node has closed the connection, and said nothing more."""
        try:
            return await self.lines.read_line(trio.current_time() + 3600) is None
        except ConnectionLost:
            return True


@asynccontextmanager
async def open_stranger(networks: Networks, peer: Peer, host: int = 1) -> AsyncIterator[Stranger]:
    connection = await networks[host].connect(peer.where.host, peer.where.port)
    lines = LineConnection(connection, Limits())
    try:
        stranger = Stranger(lines, peer)
        await stranger.send(b"HELLO OSP2P/2\n")
        hello = await stranger.reply()
        assert b"FEATURE call " + peer.calls.address.encode() in hello.data
        yield stranger
    finally:
        lines.close()


DOCUMENT = write_call("clock.add", [2, 3])


async def test_a_call_is_answered_and_the_session_goes_on(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        for _ in range(3):
            call = stranger.call(DOCUMENT)
            await stranger.send(stranger.sign(call, DOCUMENT) + DOCUMENT)
            assert await stranger.result(call, DOCUMENT) == 5
        await stranger.send(b"HELP\n")
        reply = await stranger.reply()
        assert any(text.startswith(b"CALL service.method") for _, text in reply.context)


async def test_calls_may_be_sent_ahead_and_are_answered_in_order(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        documents = [write_call("clock.wait", [0.5]), DOCUMENT, write_call("clock.echo", ["x" * 100_000]), DOCUMENT]
        methods = ["clock.wait", "clock.add", "clock.echo", "clock.add"]
        calls = [stranger.call(document, method) for document, method in zip(documents, methods, strict=True)]
        async with trio.open_nursery() as nursery:
            sent = [stranger.sign(call, document) + document for call, document in zip(calls, documents, strict=True)]
            nursery.start_soon(stranger.send, b"".join(sent))
            for call, document, value in zip(calls, documents, ["done", 5, "x" * 100_000, 5], strict=True):
                assert await stranger.result(call, document) == value


async def test_a_call_may_arrive_byte_by_byte(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(DOCUMENT)
        for byte in stranger.sign(call, DOCUMENT) + DOCUMENT:
            await stranger.send(bytes([byte]))
        assert await stranger.result(call, DOCUMENT) == 5


LIES: dict[str, Callable[[Stranger, Call], tuple[Call, bytes]]] = {}


def lie(make: Callable[[Stranger, Call], tuple[Call, bytes]]) -> Callable[[Stranger, Call], tuple[Call, bytes]]:
    LIES[make.__name__] = make
    return make


@lie
def another_key_signs(stranger: Stranger, call: Call) -> tuple[Call, bytes]:
    return call, new_identity().sign(call.text(DOCUMENT))


@lie
def another_address_is_claimed(stranger: Stranger, call: Call) -> tuple[Call, bytes]:
    lying = dataclasses.replace(call, sender=new_identity().address)
    return lying, stranger.identity.sign(lying.text(DOCUMENT))


@lie
def the_nodes_own_address_is_claimed(stranger: Stranger, call: Call) -> tuple[Call, bytes]:
    lying = dataclasses.replace(call, sender=call.to)
    return lying, stranger.identity.sign(lying.text(DOCUMENT))


@lie
def another_document_was_signed(stranger: Stranger, call: Call) -> tuple[Call, bytes]:
    return call, stranger.identity.sign(call.text(DOCUMENT.replace(b"2", b"9")))


@lie
def a_result_was_signed(stranger: Stranger, call: Call) -> tuple[Call, bytes]:
    return call, stranger.identity.sign(call.result_text(b"", DOCUMENT))


@lie
def the_key_is_no_key(stranger: Stranger, call: Call) -> tuple[Call, bytes]:
    return dataclasses.replace(call, key=b"\xff" * 32), bytes(64)


@pytest.mark.parametrize("field", ["method", "nonce", "time", "timeout"])
async def test_whatever_is_changed_breaks_the_signature(
    autojump_clock: MockClock, networks: Networks, field: str
) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(DOCUMENT)
        signature = stranger.identity.sign(call.text(DOCUMENT))
        other: Any = {"method": "clock.echo", "nonce": bytes(16), "time": call.time + 1, "timeout": 7}[field]
        await stranger.send(write_call_line(dataclasses.replace(call, **{field: other}), signature) + DOCUMENT)
        assert (await stranger.reply()).code == 313
        assert await stranger.is_closed()


@pytest.mark.parametrize("make", LIES.values(), ids=LIES)
async def test_lies_are_refused(
    autojump_clock: MockClock, networks: Networks, make: Callable[[Stranger, Call], tuple[Call, bytes]]
) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call, signature = make(stranger, stranger.call(DOCUMENT))
        await stranger.send(write_call_line(call, signature) + DOCUMENT)
        assert (await stranger.reply()).code == 313
        assert await stranger.is_closed()
        assert peer.calls.services.service("clock").tallies["add"].calls == 0


async def test_a_replay_is_refused_from_anywhere(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer:
        async with open_stranger(networks, peer) as stranger:
            call = stranger.call(DOCUMENT)
            heard = stranger.sign(call, DOCUMENT) + DOCUMENT
            await stranger.send(heard)
            assert await stranger.result(call, DOCUMENT) == 5
            await stranger.send(heard)
            assert (await stranger.reply()).code == 314
        async with open_stranger(networks, peer, host=2) as eavesdropper:
            await eavesdropper.send(heard)
            assert (await eavesdropper.reply()).code == 314
            assert await eavesdropper.is_closed()
        await trio.sleep(61)
        async with open_stranger(networks, peer, host=2) as eavesdropper:
            await eavesdropper.send(heard)
            reply = await eavesdropper.reply()
            assert (reply.code, reply.data) == (315, (b"NOW %d" % virtual_now(),))
        assert peer.calls.services.service("clock").tallies["add"].calls == 1


async def test_a_call_of_before_the_start_is_refused(autojump_clock: MockClock, networks: Networks) -> None:
    await trio.sleep(10)
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(DOCUMENT, time=virtual_now() - 1)
        await stranger.send(stranger.sign(call, DOCUMENT) + DOCUMENT)
        assert (await stranger.reply()).code == 315


async def test_a_call_for_another_node_is_refused(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(DOCUMENT, to=new_identity().address)
        await stranger.send(stranger.sign(call, DOCUMENT) + DOCUMENT)
        assert (await stranger.reply()).code == 310
        call = stranger.call(DOCUMENT)
        await stranger.send(stranger.sign(call, DOCUMENT) + DOCUMENT)
        assert await stranger.result(call, DOCUMENT) == 5


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"hello",
        write_call("clock.echo", [1]),
        b'<!DOCTYPE x [<!ENTITY a "clock.add">]><methodCall><methodName>&a;</methodName></methodCall>',
        b"<methodCall><methodName>clock.add</methodName><params>" + b"<param><value>" * 9999,
    ],
    ids=["empty", "no XML", "another method", "entities", "unfinished"],
)
async def test_a_document_that_is_none_is_a_fault(
    autojump_clock: MockClock, networks: Networks, document: bytes
) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(document)
        await stranger.send(stranger.sign(call, document) + document)
        with pytest.raises(Exception) as caught:
            await stranger.result(call, document)
        assert getattr(caught.value, "code", None) == NOT_WELL_FORMED


@pytest.mark.parametrize(
    "damage",
    [
        (b" to=", b" too="),
        (b"CALL clock.add", b"CALL clock.add more"),
        (b"CALL clock.add", b"CALL"),
        (b"CALL clock.add", b"CALL clock._secret"),
        (b"CALL clock.add", b"CALL clock.%E4dd"),
        (b"length=", b"length=0"),
        (b"length=", b"length=-"),
        (b" id=", b" id=ff"),
        (b" sig=", b" sig=zz"),
        (b" key=", b" key=1 key="),
    ],
    ids=str,
)
async def test_a_malformed_line_ends_the_session(
    autojump_clock: MockClock, networks: Networks, damage: tuple[bytes, bytes]
) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(DOCUMENT)
        await stranger.send(stranger.sign(call, DOCUMENT).replace(*damage) + DOCUMENT)
        assert (await stranger.reply()).code == 500
        assert await stranger.is_closed()  # and nothing of the document was taken for a line
        assert peer.calls.services.service("clock").tallies["add"].calls == 0


async def test_a_huge_document_is_refused_before_it_comes(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(DOCUMENT, length=1 << 40)
        await stranger.send(stranger.sign(call, DOCUMENT))
        reply = await stranger.reply()
        assert (reply.code, reply.data) == (316, (b"MOST 1048576",))
        assert await stranger.is_closed()


async def test_a_slow_document_is_not_waited_for(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        began = trio.current_time()
        call = stranger.call(DOCUMENT)
        await stranger.send(stranger.sign(call, DOCUMENT))

        async def drip() -> None:
            with contextlib.suppress(ConnectionLost):
                for byte in DOCUMENT[:-1]:
                    await stranger.send(bytes([byte]))
                    await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert await stranger.is_closed()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began == pytest.approx(Limits().call_body_timeout, abs=0.1)
        assert peer.calls.server.documents._total == 0


async def test_documents_that_are_on_their_way_are_bounded(autojump_clock: MockClock, networks: Networks) -> None:
    limits = dataclasses.replace(Limits(), max_call_bytes=400_000)
    async with open_peer(networks[0], clock=Clock(), limits=limits) as peer:
        large = write_call("clock.echo", ["x" * 150_000])
        async with open_stranger(networks, peer) as one, open_stranger(networks, peer) as two:
            call = one.call(large, "clock.echo")
            await one.send(one.sign(call, large) + large[:-1])
            await trio.sleep(0.1)
            second = two.call(large, "clock.echo")
            await two.send(two.sign(second, large) + large)
            reply = await two.reply()
            assert (reply.code, reply.data) == (303, (b"RETRY 500",))
            await one.send(large[-1:])
            assert await one.result(call, large) == "x" * 150_000
            third = two.call(large, "clock.echo")
            await two.send(two.sign(third, large) + large)
            assert await two.result(third, large) == "x" * 150_000
        await trio.sleep(0.1)
        assert peer.calls.server.documents._total == 0


async def test_one_host_does_not_take_all_calls(autojump_clock: MockClock, networks: Networks) -> None:
    limits = dataclasses.replace(Limits(), max_calls=4, max_calls_per_host=2)
    clock = Clock()
    async with (
        open_peer(networks[0], clock=clock, limits=limits) as peer,
        open_peer(networks[1]) as greedy,
        open_peer(networks[2]) as modest,
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):
            nursery.start_soon(greedy.calls.call, peer.target, "clock.wait", 50)
        await trio.sleep(1)
        async with open_stranger(networks, peer) as stranger:
            call = stranger.call(DOCUMENT)
            await stranger.send(stranger.sign(call, DOCUMENT) + DOCUMENT)
            assert (await stranger.reply()).code == 303
        assert await modest.calls.call(peer.target, "clock.add", 1) == 2
        nursery.cancel_scope.cancel()


async def test_calls_that_cannot_be_remembered_are_refused(autojump_clock: MockClock, networks: Networks) -> None:
    limits = dataclasses.replace(Limits(), max_remembered_calls=4)
    async with open_peer(networks[0], clock=Clock(), limits=limits) as peer:
        async with open_stranger(networks, peer) as stranger:
            for code in (200, 200, 303):
                call = stranger.call(DOCUMENT)
                await stranger.send(stranger.sign(call, DOCUMENT) + DOCUMENT)
                if code == 200:
                    assert await stranger.result(call, DOCUMENT) == 5
                else:
                    assert (await stranger.reply()).code == code
        async with open_peer(networks[2]) as other:
            assert await other.calls.call(peer.target, "clock.add", 1) == 2


async def test_who_ends_his_direction_has_left(autojump_clock: MockClock, networks: Networks) -> None:
    clock = Clock()
    document = write_call("clock.wait", [3600])
    async with open_peer(networks[0], clock=clock) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(document, "clock.wait", timeout=10**7)
        await stranger.send(stranger.sign(call, document) + document)
        await clock.began.wait()
        await stranger.lines.connection.send_eof()
        await clock.cancelled.wait()
        assert trio.current_time() < 1


async def test_strangers_cannot_reach_what_is_private(autojump_clock: MockClock, networks: Networks) -> None:
    """The line refuses such names; a document that differs from its line is a fault."""
    document = write_call("clock._secret", [])
    async with open_peer(networks[0], clock=Clock()) as peer, open_stranger(networks, peer) as stranger:
        call = stranger.call(document, "clock.add")
        await stranger.send(stranger.sign(call, document) + document)
        with pytest.raises(Exception, match="another method"):
            await stranger.result(call, document)
