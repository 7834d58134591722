"""Calling another node: finding it, connecting to it, and carrying out each call at most once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import trio

from osp2p.errors import (
    CallTimedOut,
    MalformedDocument,
    NetworkFailed,
    NodeNotFound,
    Osp2pError,
    OverlayError,
    Refused,
)
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.groups import one_error
from osp2p.rpc.connection import CallConnection, NotSent, open_connection
from osp2p.rpc.contact import read_contact
from osp2p.rpc.directory import Directory
from osp2p.rpc.document import Value, parse_response, write_call
from osp2p.rpc.identity import Identity
from osp2p.rpc.large import read_document
from osp2p.rpc.message import NONCE_BYTES, Call, is_address, split_method, write_call_line
from osp2p.rpc.resting import RestingConnections
from osp2p.wire.address import Address


class _Node:
    """What is known of another node: where it listens, and how many calls are under way."""

    def __init__(self, most: int) -> None:
        self.addresses: tuple[Address, ...] = ()
        self.calls = trio.CapacityLimiter(most)

    async def begin(self) -> None:
        """Wait until one more call may be made; its end is told to `calls`."""
        try:
            self.calls.acquire_nowait()  # the way that costs no turn of the scheduler
        except trio.WouldBlock:
            await self.calls.acquire()


class Caller:
    """Makes calls in the name of an identity.

    A call that was sent on a kept connection which turned out to be dead is sent once more on a fresh one: the same
    call, with the same id, so that a node which has taken it already refuses it. Whatever keeps it from being answered
    then, it may have been carried out.

    Args:
        directory: knows where nodes are.
        now: milliseconds since 1970.
        nonce: makes so many bytes that were never made before.
    """

    def __init__(
        self,
        network: Network,
        identity: Identity,
        directory: Directory,
        limits: Limits,
        now: Callable[[], int],
        nonce: Callable[[int], bytes],
    ) -> None:
        self._network = network
        self._identity = identity
        self._directory = directory
        self._limits = limits
        self._now = now
        self._nonce = nonce
        self._nodes: OrderedDict[str, _Node] = OrderedDict()
        self._resting = RestingConnections(limits)

    async def call(
        self, to: str, method: str, arguments: Sequence[object], timeout: float, hints: Sequence[Address] = ()
    ) -> Value:
        """Call a method of another node.

        Args:
            to: the node's address, 40 hex digits.
            method: ``service.method``.
            timeout: seconds, for all of it; a deadline around it that comes earlier is told to the node, too.
            hints: where the node may listen; then nobody is asked for that.

        Raises:
            LocalProtocolError: the arguments cannot travel.
            MalformedLine: what is called cannot be a method.
            NodeNotFound, NetworkFailed, CallTimedOut, Refused, Fault.

        Cancellation: the end of the connection tells the node, which cancels the call.
        """
        split_method(method)
        document = write_call(method, arguments)
        node = self._node(to)
        at = min(trio.current_time() + timeout, trio.current_effective_deadline())
        result: bytes | None = None
        with trio.move_on_after(timeout):
            await node.begin()
            try:
                result = await self._exchange(node, _Request(self, to, method, document, at), hints)
            finally:
                node.calls.release()
        if result is None:
            raise CallTimedOut(f"{method} of {to}: no result within {timeout:g} s")
        return await self._read(result, method, to)

    async def call_whoever(self, where: Address, method: str) -> tuple[str, Value]:
        """Call a method without arguments of whichever node listens somewhere.

        Returns: its address, which it has proved, and the result.

        Raises:
            NetworkFailed, Refused, Fault.
        """
        connection = await open_connection(self._network, where, self._limits)
        to = connection.claimed_address
        if not is_address(to):
            connection.close()
            raise NetworkFailed(f"{where}: what it says to be its address is none")
        request = _Request(self, to, method, write_call(method, ()), trio.current_effective_deadline())
        node = self._node(to)
        # Whoever answers there may only pass on what the node says: he is not put before the places that it named.
        is_place = not node.addresses or where in node.addresses
        result = await self._over(connection, node, request, kept=False, keep=is_place)
        known = dict.fromkeys((*node.addresses, where))
        node.addresses = tuple(known)[: self._limits.max_contact_addresses]
        return to, await self._read(result, method, to)

    async def _read(self, result: bytes, method: str, to: str) -> Value:
        try:
            return await read_document(parse_response, result)
        except MalformedDocument as error:
            raise NetworkFailed(f"{method} of {to}: {error}", may_have_run=True) from error

    def sign(self, to: str, method: str, document: bytes, at: float) -> tuple[Call, bytes]:
        """Make a call of now. Returns: it, and its line."""
        seconds = max(0.0, min(at - trio.current_time(), self._limits.max_call_time))
        call = Call(
            method=method,
            to=to,
            sender=self._identity.address,
            key=self._identity.key,
            nonce=self._nonce(NONCE_BYTES),
            time=self._now(),
            timeout=int(seconds * 1000),
            length=len(document),
        )
        return call, write_call_line(call, self._identity.sign(call.text(document)))

    # --- connections ---

    def _node(self, to: str) -> _Node:
        """What is known of a node. Those that were not called for the longest time are forgotten."""
        node = self._nodes.get(to)
        if node is None:
            node = self._nodes[to] = _Node(self._limits.max_call_connections)
        self._nodes.move_to_end(to)
        if len(self._nodes) > self._limits.max_contacts:
            self._resting.close_all_to(self._nodes.popitem(last=False)[0])
        return node

    async def _exchange(self, node: _Node, request: _Request, hints: Sequence[Address]) -> bytes:
        """Make a call over a kept connection, or else a new one. Returns: the document of the result."""
        if (connection := self._resting.take(request.to)) is None:
            return await self._exchange_anew(node, request, hints)
        try:
            return await self._over(connection, node, request, kept=True)
        except NotSent:
            self._resting.close_all_to(request.to)  # it was started again, most likely: then the others are dead, too
        try:
            return await self._exchange_anew(node, request, hints)
        except (NodeNotFound, NetworkFailed, Refused) as error:
            raise NetworkFailed(f"cut off while the call was made, and then: {error}", may_have_run=True) from error

    async def _exchange_anew(self, node: _Node, request: _Request, hints: Sequence[Address]) -> bytes:
        """Make a call over a new connection."""
        connection = await self._connect(node, request.to, hints)
        try:
            return await self._over(connection, node, request, kept=False)
        except NetworkFailed:
            node.addresses = ()  # somebody else may be there by now, and claim to be it: the next call asks anew
            raise

    async def _over(
        self, connection: CallConnection, node: _Node, request: _Request, *, kept: bool, keep: bool = True
    ) -> bytes:
        """Make a call over a connection, which is kept only if all goes well, and if it may be."""
        try:
            call, line = request.signed()
            result = await connection.exchange(line, request.document, call, kept=kept)
        except BaseException:
            connection.close()
            raise
        if keep and self._nodes.get(request.to) is node:
            self._resting.add(request.to, connection)
        else:
            connection.close()  # where the node has been forgotten meanwhile, nobody would find it again
        return result

    async def _connect(self, node: _Node, to: str, hints: Sequence[Address]) -> CallConnection:
        """Connect to a node where it listens, as far as anybody knows.

        Raises:
            NodeNotFound, NetworkFailed.
        """
        known = tuple(hints) or node.addresses
        if known:
            try:
                return await self._connect_one_of(known, to)
            except NetworkFailed:
                if hints:
                    raise
        found = await self._find(to)
        connection = await self._connect_one_of(found, to)
        node.addresses = found
        return connection

    async def _find(self, to: str) -> tuple[Address, ...]:
        """Ask the directory where a node listens.

        Raises:
            NodeNotFound.
            NetworkFailed: nobody can be asked.
        """
        try:
            item = await self._directory.find(bytes.fromhex(to))
            contact = read_contact(item, to, self._limits.max_contact_addresses) if item is not None else None
        except OverlayError as error:
            raise NetworkFailed(f"cannot ask where {to} is: {error}") from error
        except Osp2pError as error:
            raise NodeNotFound(f"cannot find {to}: {error}") from error
        addresses = contact.addresses if contact is not None else ()
        if not self._directory.local:
            addresses = tuple(where for where in addresses if not where.is_loopback)
        if not addresses:
            raise NodeNotFound(f"nobody knows where {to} is")
        return addresses

    async def _connect_one_of(self, addresses: Sequence[Address], to: str) -> CallConnection:
        """Connect to the first address at which the node answers, trying one after the other, soon side by side.

        Raises:
            NetworkFailed: it answers at none.
        """
        race = _Race(self._network, to, self._limits)
        return await race.run(addresses[: self._limits.max_contact_addresses])

    async def close_rested(self) -> None:
        """Close connections that were kept for too long, until cancelled."""
        await self._resting.run()

    def close(self) -> None:
        """Close every kept connection; waits for nothing."""
        self._resting.close()


class _Request:
    """A call that is to be made. It is signed when it is sent first, and never again."""

    def __init__(self, caller: Caller, to: str, method: str, document: bytes, at: float) -> None:
        self.to = to
        self.document = document
        self._sign = partial(caller.sign, to, method, document, at)
        self._signed: tuple[Call, bytes] | None = None

    def signed(self) -> tuple[Call, bytes]:
        """The call, and its line."""
        if self._signed is None:
            self._signed = self._sign()
        return self._signed


class _Race:
    """Attempts to reach one node at several addresses.

    Source: RFC 8305 (the stagger).
    """

    def __init__(self, network: Network, to: str, limits: Limits) -> None:
        self._network = network
        self._to = to
        self._limits = limits
        self._won: CallConnection | None = None
        self._failures: list[str] = []

    async def run(self, addresses: Sequence[Address]) -> CallConnection:
        """Raises: NetworkFailed: nobody won."""
        try:
            with one_error():
                async with trio.open_nursery() as nursery:
                    for where in addresses:
                        failed = trio.Event()
                        nursery.start_soon(self._try, where, failed, nursery.cancel_scope)
                        with trio.move_on_after(self._limits.contact_stagger):
                            await failed.wait()
        except BaseException:
            if self._won is not None:
                self._won.close()
            raise
        if self._won is None:
            raise NetworkFailed(f"cannot reach {self._to}: {'; '.join(self._failures)}")
        return self._won

    async def _try(self, where: Address, failed: trio.Event, scope: trio.CancelScope) -> None:
        try:
            connection = await open_connection(self._network, where, self._limits)
        except NetworkFailed as error:
            self._failures.append(str(error))
            failed.set()
            return
        if connection.claimed_address == self._to and self._won is None:
            self._won = connection
            scope.cancel()
            return
        connection.close()
        self._failures.append(f"{where}: another node listens there")
        failed.set()
