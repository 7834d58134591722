"""Calls between nodes: found by address alone, proved on both sides, ended with their callers."""

from __future__ import annotations

import dataclasses
import math
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from osp2p.errors import (
    CallError,
    CallTimedOut,
    ConnectionLost,
    Fault,
    LocalProtocolError,
    MalformedLine,
    NetworkFailed,
    NodeNotFound,
    OverlayUnreachable,
    Refused,
)
from osp2p.limits import Limits
from osp2p.net import Connection, MemoryNetwork
from osp2p.overlay.item import MutableItem
from osp2p.rpc.calls import Calls, parse_target
from osp2p.rpc.contact import read_contact, sign_contact
from osp2p.rpc.directory import MemoryDirectory
from osp2p.rpc.document import FAILED, INVALID_ARGUMENTS
from osp2p.rpc.identity import new_identity
from osp2p.wire.address import Address
from tests.rpc.nodes import Clock, open_peer, virtual_now

Networks = list[MemoryNetwork]
Directories = list[MemoryDirectory]

ADDRESS = "ab" * 20


async def test_a_method_is_called_by_the_address_alone(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as callee,
        open_peer(networks[1], directories[1]) as caller,
    ):
        address = callee.calls.address
        assert await caller.calls.call(address, "clock.add", 2, 3) == 5
        assert await caller.calls.call(address, "clock.add", 2) == 3
        value: list[Any] = [None, True, -(1 << 40), 1.5, "ä\r\n", b"\0", {"a": [{}]}]
        assert await caller.calls.call(address, "clock.echo", value) == value
        assert await caller.calls.call(address, "clock.whoami") == caller.calls.address


async def test_one_connection_serves_many_calls(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as callee, open_peer(networks[1]) as caller:
        before = next(networks[0]._ports)
        for number in range(20):
            assert await caller.calls.call(callee.target, "clock.add", number) == number + 1
        assert next(networks[0]._ports) == before + 2


async def test_no_connection_outlives_what_was_known_of_its_node(
    autojump_clock: MockClock, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Connection] = []
    connect = networks[2].connect

    async def record(host: str, port: int) -> Connection:
        made.append(await connect(host, port))
        return made[-1]

    monkeypatch.setattr(networks[2], "connect", record)
    async with (
        open_peer(networks[0], clock=Clock()) as slow,
        open_peer(networks[1], clock=Clock()) as quick,
        open_peer(networks[2], limits=Limits(max_contacts=1)) as caller,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(caller.calls.call, slow.target, "clock.wait", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert await caller.calls.call(quick.target, "clock.add", 1) == 2
        await trio.sleep(2)
        caller.calls.close()
        assert len(made) == 2
        for connection in made:
            with pytest.raises(ConnectionLost):
                await connection.send(b"\n")


async def test_what_is_wrong_is_said(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as callee, open_peer(networks[1]) as caller:
        call = caller.calls.call
        for method, code in (("nothing.add", 311), ("clock.nothing", 312)):
            with pytest.raises(Refused) as refused:
                await call(callee.target, method)
            assert refused.value.code == code
        with pytest.raises(Fault) as fault:
            await call(callee.target, "clock.fail", "not today")
        assert (fault.value.code, str(fault.value)) == (FAILED, "ValueError: not today")
        for arguments in ((), (1, 2, 3), ("1", 2), (1.5,), (True,)):
            with pytest.raises(Fault) as fault:
                await call(callee.target, "clock.add", *arguments)
            assert fault.value.code == INVALID_ARGUMENTS
        assert await call(callee.target, "clock.add", 1) == 2


@pytest.mark.parametrize("method", ["add", "clock.", ".add", "clock._secret", "clock.hidden_", "a b.c"])
async def test_private_and_malformed_names_are_refused_by_the_caller(
    autojump_clock: MockClock, networks: Networks, method: str
) -> None:
    async with open_peer(networks[0], clock=Clock()) as callee, open_peer(networks[1]) as caller:
        with pytest.raises(MalformedLine):
            await caller.calls.call(callee.target, method)
        with pytest.raises(MalformedLine):
            await callee.calls.call(callee.calls.address, method)
        assert "clock.hidden_" not in await caller.calls.call(callee.target, "system.listMethods")  # type: ignore[operator]


async def test_what_cannot_travel_is_not_sent(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as callee, open_peer(networks[1]) as caller:
        for value in (math.nan, 1 << 64, object(), "\0"):
            for calls in (caller.calls, callee.calls):
                with pytest.raises(LocalProtocolError):
                    await calls.call(callee.target, "clock.echo", value)


async def test_results_that_cannot_travel_are_faults(autojump_clock: MockClock, networks: Networks) -> None:
    limits = dataclasses.replace(Limits(), max_call_body=5000)

    class Odd:
        async def number(self) -> float:
            return math.inf

        async def large(self) -> bytes:
            return bytes(5000)

    async with open_peer(networks[0], limits=limits, odd=Odd()) as callee, open_peer(networks[1]) as caller:
        for calls in (caller.calls, callee.calls):
            with pytest.raises(Fault, match="inf"):
                await calls.call(callee.target, "odd.number")
            with pytest.raises(Fault, match="5000 bytes"):
                await calls.call(callee.target, "odd.large")


async def test_calls_to_oneself_stay_in_the_process(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer:
        before = next(networks[0]._ports)
        value = [1]
        back = await peer.calls.call(peer.calls.address, "clock.echo", value)
        assert back == value
        assert back is not value
        assert await peer.calls.call(peer.calls.address, "clock.whoami") == peer.calls.address
        with pytest.raises(Refused):
            await peer.calls.call(peer.calls.address, "nothing.add")
        with pytest.raises(Fault, match="ValueError: no"):
            await peer.calls.call(peer.calls.address, "clock.fail", "no")
        with pytest.raises(CallTimedOut):
            await peer.calls.call(peer.calls.address, "clock.wait", 60, timeout=1)
        assert next(networks[0]._ports) == before + 1


# --- time ---


async def test_a_call_ends_in_time_on_both_sides(autojump_clock: MockClock, networks: Networks) -> None:
    clock = Clock()
    async with open_peer(networks[0], clock=clock) as callee, open_peer(networks[1]) as caller:
        began = trio.current_time()
        with pytest.raises(CallTimedOut):
            await caller.calls.call(callee.target, "clock.wait", 3600, timeout=5)
        assert trio.current_time() - began == pytest.approx(5)
        await clock.cancelled.wait()
        assert trio.current_time() - began == pytest.approx(5)


async def test_deadlines_travel(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as callee, open_peer(networks[1]) as caller:
        assert await caller.calls.call(callee.target, "clock.left", timeout=7) == pytest.approx(7, abs=0.01)
        with trio.move_on_after(3):
            assert await caller.calls.call(callee.target, "clock.left", timeout=7) == pytest.approx(3, abs=0.01)


async def test_deadlines_travel_on_with_the_calls_that_a_method_makes(
    autojump_clock: MockClock, networks: Networks
) -> None:
    async with open_peer(networks[0], clock=Clock()) as last, open_peer(networks[1]) as middle:

        class Relay:
            async def left(self) -> Any:
                return await middle.calls.call(last.target, "clock.left", timeout=1000)

        middle.calls.serve("relay", Relay(), "1")
        async with open_peer(networks[2]) as caller:
            assert await caller.calls.call(middle.target, "relay.left", timeout=4) == pytest.approx(4, abs=0.01)


async def test_a_cancelled_caller_cancels_the_callee(autojump_clock: MockClock, networks: Networks) -> None:
    clock = Clock()
    async with open_peer(networks[0], clock=clock) as callee, open_peer(networks[1]) as caller:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.calls.call, callee.target, "clock.wait", 3600)
            await clock.began.wait()
            nursery.cancel_scope.cancel()
        await clock.cancelled.wait()
        assert trio.current_time() - began < 0.1
        assert await caller.calls.call(callee.target, "clock.add", 1) == 2


async def test_a_node_bounds_how_long_it_works(autojump_clock: MockClock, networks: Networks) -> None:
    limits = dataclasses.replace(Limits(), max_call_time=10.0)
    async with open_peer(networks[0], clock=Clock(), limits=limits) as callee, open_peer(networks[1]) as caller:
        with pytest.raises(CallTimedOut, match="not done within 10 s"):
            await caller.calls.call(callee.target, "clock.wait", 3600, timeout=1000)


async def test_clocks_may_be_apart_a_little(autojump_clock: MockClock, networks: Networks) -> None:
    for seconds, fits in ((-40, False), (-20, True), (20, True), (40, False)):
        async with open_peer(networks[0], clock=Clock(), now=lambda: 1_700_000_000_000 + 50_000) as callee:
            callee.calls.server._guard._oldest -= 60_000  # it runs for long already
            async with open_peer(networks[1], now=lambda: 1_700_000_000_000 + 50_000 + seconds * 1000) as caller:  # noqa: B023
                if fits:
                    assert await caller.calls.call(callee.target, "clock.add", 1) == 2
                    continue
                with pytest.raises(Refused) as refused:
                    await caller.calls.call(callee.target, "clock.add", 1)
                assert refused.value.code == 315


# --- finding nodes ---


async def test_nobody_is_found_where_nobody_is(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    async with open_peer(networks[0], directories[0]) as caller:
        with pytest.raises(NodeNotFound):
            await caller.calls.call(ADDRESS, "clock.add", 1)
        with pytest.raises(NetworkFailed) as failed:
            await caller.calls.call(f"{ADDRESS}@10.0.0.9:5", "clock.add", 1)
        assert not failed.value.may_have_run
        with pytest.raises(NetworkFailed, match="another node listens there"):
            await caller.calls.call(f"{ADDRESS}@{caller.where}", "clock.add", 1)


class Unreachable(MemoryDirectory):
    """A directory behind a network that is down."""

    async def find(self, target: bytes) -> MutableItem | None:
        raise OverlayUnreachable("nobody answers")

    async def providers(self, service: str) -> Sequence[Address]:
        raise OverlayUnreachable("nobody answers")


async def test_a_directory_that_cannot_be_asked_is_the_networks_fault(
    autojump_clock: MockClock, networks: Networks
) -> None:
    async with open_peer(networks[0], Unreachable()) as caller:
        for ask in (
            lambda: caller.calls.call(ADDRESS, "clock.add", 1),
            lambda: caller.calls.call_any("clock.add", 1),
            lambda: caller.calls.call_all("clock.add", 1),
            lambda: caller.calls.find_service("clock"),
        ):
            with pytest.raises(NetworkFailed, match="nobody answers") as failed:
                await ask()
            assert not failed.value.may_have_run


async def test_a_node_is_followed_to_another_place(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    identity = new_identity()
    async with open_peer(networks[2], directories[2]) as caller:
        for place in (0, 1):
            async with open_peer(networks[place], directories[place], identity=identity, clock=Clock()) as callee:
                await trio.sleep(0.01)
                assert await caller.calls.call(callee.calls.address, "clock.add", 1) == 2


async def test_a_node_that_listens_elsewhere_says_so(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    identity = new_identity()
    calls = Calls(identity, networks[0], directories[0], Limits(), random.Random(1), os.urandom, virtual_now)
    places = [Address("10.0.0.1", 5)]

    async def known() -> list[Address]:
        item = await directories[1].find(bytes.fromhex(identity.address))
        return [] if item is None else list(read_contact(item, identity.address, 8).addresses)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.run, lambda: places)
        await calls.wait_announced()
        assert await known() == places
        places = [Address("10.0.0.7", 5)]
        await trio.sleep(11)
        assert await known() == places
        nursery.cancel_scope.cancel()


async def test_a_clock_that_was_put_back_hides_nobody(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    """Whoever looks for a node takes its newest record: that of the start before, if nothing were done about it."""
    identity = new_identity()
    before = sign_contact(identity, [Address("10.0.0.9", 5)], virtual_now() + 86_400_000)
    await directories[0].publish(before)
    calls = Calls(identity, networks[0], directories[0], Limits(), random.Random(1), os.urandom, virtual_now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.run, lambda: [Address("10.0.0.1", 5)])
        await trio.sleep(1)
        item = await directories[1].find(bytes.fromhex(identity.address))
        nursery.cancel_scope.cancel()
    assert item is not None
    assert item.sequence == before.sequence + 1
    assert read_contact(item, identity.address, 8).addresses == (Address("10.0.0.1", 5),)


async def test_a_node_that_was_started_again_is_called_again(autojump_clock: MockClock, networks: Networks) -> None:
    identity = new_identity()
    async with open_peer(networks[1]) as caller:
        for _ in range(3):
            async with open_peer(networks[0], identity=identity, clock=Clock(), port=5000) as callee:
                await trio.sleep(0.01)
                assert await caller.calls.call(callee.target, "clock.add", 1) == 2


async def test_an_address_that_answers_is_found_among_dead_ones(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    """A host that swallows everything costs the stagger, not the time until it is given up."""
    listener = await networks[2].listen(9)
    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as callee,
        open_peer(networks[1], directories[1]) as caller,
    ):
        hints = (Address("10.0.0.3", 9), Address("10.0.0.9", 9), callee.where)
        began = trio.current_time()
        assert await caller.calls._caller.call(callee.calls.address, "clock.add", [1], 30, hints) == 2
        assert trio.current_time() - began < 1
    listener.close()


def test_targets_are_read() -> None:
    assert parse_target(ADDRESS) == (ADDRESS, ())
    assert parse_target(f"{ADDRESS}@host.example:5") == (ADDRESS, (Address("host.example", 5),))
    assert parse_target(f"{ADDRESS}@[::1]:5") == (ADDRESS, (Address("::1", 5),))
    for text in ("", "ab", ADDRESS.upper(), f"{ADDRESS}@", f"{ADDRESS}@host", f"{ADDRESS}@host:0", f"{ADDRESS}@:5"):
        with pytest.raises(MalformedLine):
            parse_target(text)


# --- finding services ---


async def test_services_are_found_and_the_nearest_is_called(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as one,
        open_peer(networks[1], directories[1], clock=Clock()) as two,
        open_peer(networks[2], directories[2], other=Clock()) as three,
        open_peer(networks[3], directories[3]) as caller,
    ):
        found = await caller.calls.find_service("clock")
        assert {provider.address for provider in found} == {one.calls.address, two.calls.address}
        assert {provider.version for provider in found} == {"1.0"}
        for near in (one, two):
            nearest = await caller.calls.find_service("clock", near=near.calls.address)
            assert nearest[0].address == near.calls.address
            assert len(nearest) == 2
        assert await caller.calls.call_any("clock.add", 1) == 2
        assert await caller.calls.call_any("other.add", 1, near=one.calls.address) == 2
        with pytest.raises(NodeNotFound):
            await caller.calls.find_service("nothing")
        with pytest.raises(NodeNotFound):
            await caller.calls.call_any("nothing.add")
        own = await three.calls.find_service("other")
        assert [provider.address for provider in own] == [three.calls.address]
        assert own[0].where is None


@pytest.mark.parametrize("name", ["größe", "two words", "a\nb", "", "clock.add", "ab" * 20])
async def test_no_service_is_looked_for_that_can_have_no_such_name(
    autojump_clock: MockClock, networks: Networks, directories: Directories, name: str
) -> None:
    """Whatever is announced under the key of such a name: nothing of it gets into a line."""
    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as callee,
        open_peer(networks[1], directories[1]) as caller,
    ):
        await directories[0].announce(name, callee.where.port)
        with pytest.raises(MalformedLine):
            await caller.calls.find_service(name)


async def test_a_caller_with_the_identity_of_a_server_calls_it(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    """A command on the machine of a server has the same identity, and is another process."""
    identity = new_identity()
    async with open_peer(networks[0], directories[0], identity=identity, clock=Clock()) as server:
        limits = Limits()
        caller = Calls(identity, networks[0], directories[0], limits, random.Random(1), os.urandom, virtual_now)
        assert [provider.address for provider in await caller.find_service("clock")] == [server.calls.address]
        assert await caller.call(server.calls.address, "clock.whoami") == identity.address
        assert await caller.call_any("clock.add", 1) == 2
        assert [provider.where for provider in await caller.find_service("system")] == [server.where]
        caller.close()


async def test_who_claims_a_service_proves_it(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as one,
        open_peer(networks[1], directories[1], other=Clock()) as liar,
        open_peer(networks[2], directories[2]) as caller,
    ):
        directories[0].services["clock"] = dict.fromkeys([Address("10.0.0.9", 1), liar.where, one.where, caller.where])
        found = await caller.calls.find_service("clock")
        assert [provider.address for provider in found] == [one.calls.address]


async def test_silent_providers_hold_nobody_up_for_long(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    listener = await networks[2].listen(9)
    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as one,
        open_peer(networks[1], directories[1]) as caller,
    ):
        directories[0].services["clock"] = dict.fromkeys([Address("10.0.0.3", 9), one.where])
        began = trio.current_time()
        assert len(await caller.calls.find_service("clock")) == 1
        assert trio.current_time() - began <= 1.01
        directories[0].services["clock"] = dict.fromkeys([Address("10.0.0.3", 9)])
        with pytest.raises(NodeNotFound):
            await caller.calls.find_service("clock")
        assert trio.current_time() - began <= 6.1
    listener.close()


async def test_all_are_called_and_what_failed_is_told(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    class Sad:
        async def add(self, a: int) -> int:
            raise Fault(7, "not me")

    async with (
        open_peer(networks[0], directories[0], clock=Clock()) as good,
        open_peer(networks[1], directories[1], clock=Sad()) as sad,
        open_peer(networks[2], directories[2]) as caller,
    ):
        answers = await caller.calls.call_all("clock.add", 1)
        assert answers.pop(good.calls.address) == 2
        error = answers.pop(sad.calls.address)
        assert isinstance(error, Fault)
        assert (error.code, error.text) == (7, "not me")
        assert not answers


async def test_what_cannot_travel_is_one_error_however_many_are_called(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    async with (
        open_peer(networks[0], directories[0], clock=Clock()),
        open_peer(networks[1], directories[1], clock=Clock()),
        open_peer(networks[2], directories[2]) as caller,
    ):
        with pytest.raises(LocalProtocolError):
            await caller.calls.call_all("clock.echo", object())
        with pytest.raises(LocalProtocolError):
            await caller.calls.call_any("clock.echo", object())


async def test_any_goes_on_to_the_next_unless_it_may_have_run(
    autojump_clock: MockClock, networks: Networks, directories: Directories
) -> None:
    limits = dataclasses.replace(Limits(), max_calls=1, max_calls_per_host=1)
    clock = Clock()
    async with (
        open_peer(networks[0], directories[0], clock=clock, limits=limits) as busy,
        open_peer(networks[1], directories[1], clock=Clock()) as free,
        open_peer(networks[2], directories[2]) as caller,
    ):
        found = await caller.calls.find_service("clock", near=busy.calls.address)
        assert len(found) == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.calls.call, busy.calls.address, "clock.wait", 3600)
            await clock.began.wait()
            with pytest.raises(Refused) as refused:
                await caller.calls.call(busy.calls.address, "clock.add", 1)
            assert refused.value.code == 303
            assert await caller.calls.call_any("clock.whoami", near=busy.calls.address) == caller.calls.address
            nursery.cancel_scope.cancel()
        with pytest.raises(CallError):
            await caller.calls.call_any("clock.wait", 3600, near=free.calls.address, timeout=2)
