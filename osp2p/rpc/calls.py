"""A node's calls, as its user sees them: serve, call, find, call any or all."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import trio

from osp2p.errors import CallError, CallTimedOut, Fault, MalformedLine, Osp2pError
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.groups import one_error
from osp2p.rpc.calling import Caller
from osp2p.rpc.contact import sign_contact
from osp2p.rpc.directory import Directory
from osp2p.rpc.document import Value, parse_call, parse_response, write_call
from osp2p.rpc.finding import Finder, Provider, by_distance, was_not_run
from osp2p.rpc.handler import Context
from osp2p.rpc.identity import Identity
from osp2p.rpc.message import is_address, is_service, split_method
from osp2p.rpc.services import Services, fault_of
from osp2p.rpc.serving import CallServer, write_bounded
from osp2p.wire.address import Address, parse_port

logger = logging.getLogger("osp2p.rpc")

#: Seconds that a call may take when its caller says nothing.
TIMEOUT = 30.0


def wall_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def parse_target(text: str) -> tuple[str, tuple[Address, ...]]:
    """Read ``ADDRESS`` or ``ADDRESS@HOST:PORT``.

    Returns: the address, and where the node listens, if that was said.

    Raises:
        MalformedLine.
    """
    address, at, where = text.partition("@")
    if not is_address(address):
        raise MalformedLine("a node's address has 40 lower-case hex digits")
    if not at:
        return address, ()
    host, colon, port = where.rpartition(":")
    if not colon or not host:
        raise MalformedLine("behind the @ stands HOST:PORT or [IPV6]:PORT")
    return address, (Address(host.removeprefix("[").removesuffix("]"), parse_port(port.encode())),)


class Calls:
    """Serves and makes calls in the name of one identity.

    Args:
        network: where connections come from.
        directory: knows where nodes are.
        rng: chooses among those who have a service.
        now: milliseconds since 1970.
        nonce: makes so many bytes that were never made before.

    Attributes:
        address: this node's, 40 hex digits.
        services: what it serves.
        server: answers the calls of others.
    """

    def __init__(
        self,
        identity: Identity,
        network: Network,
        directory: Directory,
        limits: Limits,
        rng: random.Random,
        nonce: Callable[[int], bytes],
        now: Callable[[], int] = wall_clock,
    ) -> None:
        self._identity = identity
        self._directory = directory
        self._limits = limits
        self._rng = rng
        self._now = now
        self.address = identity.address
        self.services = Services(identity.address, limits)
        self.server = CallServer(identity, self.services, limits, now)
        self._caller = Caller(network, identity, directory, limits, now, nonce)
        self._finder = Finder(self._caller, directory, self.services, identity.address, limits)
        self._sequence = 0
        self._changed = trio.Event()
        self._told: set[str] = set()
        self._told_more = trio.Event()

    def serve(self, name: str, handler: object, version: str) -> None:
        """Serve a handler's public methods as a service.

        Raises:
            LocalProtocolError: it cannot be served, or the name is taken.
        """
        self.services.add(name, handler, version)
        self._changed.set()

    async def call(self, target: str, method: str, *arguments: object, timeout: float = TIMEOUT) -> Value:
        """Call a method of a node.

        Args:
            target: the node's address; ``@HOST:PORT`` behind it says where it listens, and nobody is asked for that.
            method: ``service.method``.
            arguments: what can travel: see `document`.
            timeout: seconds. An earlier deadline around the call is told to the node, too.

        Raises:
            MalformedLine, LocalProtocolError: it cannot be called like that.
            NodeNotFound, NetworkFailed, CallTimedOut, Refused, Fault.

        Cancellation: the call is cancelled there, too.
        """
        address, hints = parse_target(target)
        if address == self.address and self._finder.serving:
            return await self.call_here(method, arguments, timeout)
        return await self._caller.call(address, method, arguments, timeout, hints)

    async def call_here(self, method: str, arguments: Sequence[object], timeout: float = TIMEOUT) -> Value:
        """Call a method of this node. What cannot travel fails here as it would elsewhere; nothing is shared.

        Raises:
            MalformedLine, LocalProtocolError: it cannot be called like that.
            CallTimedOut, Refused, Fault.
        """
        split_method(method)
        copies = parse_call(write_call(method, arguments))[1]
        return parse_response(write_bounded(await self.answer_here(method, copies, timeout), self._limits))

    async def answer_here(
        self, method: str, arguments: Sequence[Value], timeout: float, remote: Address | None = None
    ) -> Any:
        """Call a method of this node with arguments that nobody else has.

        Args:
            remote: for whom, if that is another machine.

        Returns: what it returns, of which nobody has looked whether it can travel.

        Raises:
            MalformedLine: it cannot be called like that.
            CallTimedOut, Refused, Fault.
        """
        self.services.find(method)
        until = trio.current_time() + timeout
        around = trio.current_effective_deadline()
        context = Context(self.address, method, min(until, around), remote)
        try:
            with trio.move_on_at(until) if until < around else nullcontext():
                return await self.services.invoke(method, arguments, context)
        except Fault:
            raise
        except Exception as error:
            raise fault_of(error) from error
        raise CallTimedOut(f"{method}: no result within {timeout:g} s")

    # --- services ---

    async def find_service(self, name: str, *, near: str | None = None) -> list[Provider]:
        """Who has a service, each proved.

        Args:
            near: an address; the providers come in the order of their distance to it. None: the quickest first.

        Raises:
            MalformedLine: no service can have this name.
            NodeNotFound: nobody.
            NetworkFailed: nobody can be asked.
        """
        if not is_service(name):
            raise MalformedLine(f"{name!r} is no service: a letter, and up to 63 letters, digits, - or _")
        found = await self._finder.find(name)
        return by_distance(found, near) if near is not None else found

    async def call_any(
        self, method: str, *arguments: object, near: str | None = None, timeout: float = TIMEOUT
    ) -> Value:
        """Call a method of some node that has the service: the nearest to an address, or any.

        If one cannot be reached, or is busy, the next one is asked; never once a call may have been carried out.

        Raises:
            NodeNotFound: nobody has the service.
            NetworkFailed, CallTimedOut, Refused, Fault: the last one's error.
        """
        service, _ = split_method(method)
        error: CallError | None = None
        with trio.move_on_after(timeout):
            found = await self.find_service(service, near=near)
            if near is None:
                self._rng.shuffle(found)
            for provider in found:
                try:
                    return await self.call(provider.address, method, *arguments, timeout=timeout)
                except CallError as failure:
                    if isinstance(failure, Fault) or not was_not_run(failure):
                        raise
                    error = failure
            assert error is not None
            raise error
        raise CallTimedOut(f"{method}: no result within {timeout:g} s")

    async def call_all(self, method: str, *arguments: object, timeout: float = TIMEOUT) -> dict[str, Value | CallError]:
        """Call a method of every node that has the service, all at a time.

        Returns: by address each one's result, or why there is none.

        Raises:
            MalformedLine, LocalProtocolError: it cannot be called like that.
            NodeNotFound: nobody has the service.
            NetworkFailed: nobody can be asked.
        """
        service, _ = split_method(method)
        answers: dict[str, Value | CallError] = {}

        async def ask(address: str) -> None:
            try:
                answers[address] = await self.call(address, method, *arguments, timeout=timeout)
            except CallError as error:
                answers[address] = error

        found = await self.find_service(service)
        with one_error():
            async with trio.open_nursery() as nursery:
                for provider in found:
                    nursery.start_soon(ask, provider.address)
        return {provider.address: answers[provider.address] for provider in found}

    # --- being found ---

    async def run(self, addresses: Callable[[], Sequence[Address]]) -> None:
        """Take calls, and tell the directory where, and which services there are; again and again, until cancelled.

        Args:
            addresses: where this node listens now, the likeliest first; at least one.
        """
        self._finder.serving = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.server.attendances.run)
            nursery.start_soon(self._announce, addresses)

    async def _announce(self, addresses: Callable[[], Sequence[Address]]) -> None:
        failures = 0
        while True:
            self._changed = trio.Event()
            here = list(addresses())
            try:
                await self._tell(here)
            except Osp2pError as error:
                logger.log(logging.INFO if failures else logging.WARNING, "nobody is told where we are: %s", error)
                failures += 1
                pause = self._pause_after(failures)
            else:
                failures = 0
                pause = self._limits.contact_interval
            with trio.move_on_after(pause):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._outdo, here)
                    await self._wait_changed(here, addresses)
                    nursery.cancel_scope.cancel()

    def _pause_after(self, failures: int) -> float:
        """How many seconds to wait after so many failures, one after the other."""
        return min(self._limits.reconnect_first * 2.0 ** min(failures, 30), self._limits.contact_interval)

    async def _outdo(self, addresses: Sequence[Address]) -> None:
        """Go beyond a newer contact record of this node, if anybody has one: the clock was ahead, or is behind now.

        Whoever looks for the node takes the newest, where it may not be any more.
        """
        failures = 0
        while True:
            try:
                item = await self._directory.find(bytes.fromhex(self.address))
                if item is not None and item.sequence > self._sequence:
                    self._sequence = item.sequence + 1
                    logger.info(
                        "a newer contact record of this node is known: the clock is behind; ours goes beyond it"
                    )
                    await self._directory.publish(sign_contact(self._identity, addresses, self._sequence))
            except Osp2pError:
                failures += 1
                await trio.sleep(self._pause_after(failures))
            else:
                return

    async def _wait_changed(self, here: list[Address], addresses: Callable[[], Sequence[Address]]) -> None:
        """Wait until there is something new to tell: a service, or another place."""
        while not self._changed.is_set() and list(addresses()) == here:
            with trio.move_on_after(self._limits.contact_check):
                await self._changed.wait()

    async def _tell(self, addresses: Sequence[Address]) -> None:
        """Publish the contact record, and announce each service.

        Raises:
            Osp2pError: the directory took something not.
        """
        names = self.services.names
        self._sequence = max(self._sequence + 1, self._now())
        await self._directory.publish(sign_contact(self._identity, addresses, self._sequence))
        for name in names:
            await self._directory.announce(name, addresses[0].port)
        self._told.update(names)
        self._told_more.set()
        self._told_more = trio.Event()

    async def wait_announced(self) -> None:
        """Wait until the directory has been told of this node and of all that it serves now."""
        while not self._told.issuperset(self.services.names):
            await self._told_more.wait()

    async def close_rested(self) -> None:
        """Close connections to other nodes over which nothing was called for too long, until cancelled."""
        await self._caller.close_rested()

    def close(self) -> None:
        """Close every connection to other nodes; waits for nothing."""
        self._caller.close()
