"""What an attack has in its hands: the other side, its randomness, and the bounds that it cannot pass.

Everything that an attack sends goes through `Wire.send`, so no attack can send more, or to anybody else, than whoever
started it allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random

import trio

from osp2p.errors import ConnectFailed, ListenFailed
from osp2p.evil.bounds import BoundReached, Bounds, Budget, OtherSideLeft, Subnet, Unsound, is_allowed
from osp2p.evil.datagrams import Port
from osp2p.evil.network import DatagramNetwork, Listener, Network, Stream
from osp2p.evil.wire import Wire
from osp2p.evil.words import b3_of, unquote, write_checksum
from osp2p.limits import DEFAULT, Limits

_READ_BYTES = 65536


class Target:
    """A tracker or an uploader that we go to.

    Attributes:
        host, port: where it listens.
        name: for an uploader: a file that it serves, raw bytes.
        forbidden: for an uploader: names that lie on its disk and must not be served, raw bytes.
        names: for a tracker, whose downloaders are meant: what they may fetch, raw bytes.
        limits: what the target's limits are, as far as one knows: attacks aim at them.
        rng: the attack's randomness.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        host: str,
        port: int,
        budget: Budget,
        rng: Random,
        *,
        name: bytes = b"",
        forbidden: Sequence[bytes] = (),
        names: Sequence[bytes] = (),
        limits: Limits = DEFAULT,
        allowed: Sequence[Subnet] = (),
    ) -> None:
        self.host = host
        self.port = port
        self.name = name
        self.forbidden = tuple(forbidden)
        self.names = tuple(names)
        self.at_work: Callable[[], None] = _nothing
        self.limits = limits
        self.rng = rng
        self._seed = rng.getrandbits(64)
        self._networks = tuple(networks)
        self._budget = budget
        self._allowed = tuple(allowed)
        self._open: dict[Wire, None] = {}
        self._listeners: list[Listener] = []
        self.wires: list[Wire] = []
        self.ports: list[Port] = []

    @property
    def bounds(self) -> Bounds:
        """How far this attack may go."""
        return self._budget.bounds

    def begin(self) -> None:
        """Say, once, that what the attack prepares for downloaders is there."""
        at_work, self.at_work = self.at_work, _nothing
        at_work()

    @property
    def sent(self) -> int:
        """Bytes so far, on all connections."""
        return sum(wire.sent for wire in self.wires) + sum(port.sent for port in self.ports)

    @property
    def received(self) -> int:
        """Bytes so far, on all connections."""
        return sum(wire.received for wire in self.wires) + sum(port.received_bytes for port in self.ports)

    async def connect(self, source: int = 0, to: tuple[str, int] | None = None) -> Wire:
        """Open one more connection; it is closed when the attack ends.

        Args:
            source: from which of our addresses, where there are several.
            to: whom, if not the target: somebody that it named.

        Raises:
            BoundReached: there are as many connections as there may be.
            OtherSideLeft: nobody takes it (any more), or it may not be attacked.
        """
        number = len(self.wires)
        if len(self._open) >= self._budget.bounds.connections:
            raise BoundReached
        host, port = to or (self.host, self.port)
        if not is_allowed(host, self._allowed):
            raise OtherSideLeft
        network = self._networks[source % len(self._networks)]
        try:
            stream = await network.connect(host, port)
        except ConnectFailed as error:
            raise OtherSideLeft from error
        wire = _CountedWire(stream, self._budget, number, Random(f"{self._seed} {number}"), self._open)
        self.wires.append(wire)
        self._open[wire] = None
        return wire

    async def greet(self, source: int = 0, *, hello: bool = False) -> Wire:
        """Open one more connection to a tracker and read its greeting.

        Args:
            hello: whether to say HELLO.

        Raises:
            Unsound: there is none.
            BoundReached, OtherSideLeft.
        """
        wire = await self.connect(source)
        if await wire.read_answer() is None:
            raise OtherSideLeft
        if hello:
            await wire.ask(b"HELLO OSP2P/2")
        return wire

    async def log_in(self, alias: bytes = b"evil", port: int = 9, source: int = 0, *, hello: bool = False) -> Wire:
        """Open one more connection to a tracker and register as a peer."""
        wire = await self.greet(source, hello=hello)
        answer = await wire.ask(b"ADDR %s %s:%d" % (alias, wire.local_host.encode(), port))
        if answer.code >= 300:
            raise Unsound(f"refuses a well-formed ADDR with {answer.last.decode('ascii', 'replace')}")
        return wire

    async def session(self, source: int = 0) -> Wire:
        """Open one more connection to an uploader and say HELLO.

        Raises:
            OtherSideLeft: it does not speak OSP2P/2, and is not to be attacked in it.
        """
        wire = await self.connect(source)
        await wire.send(b"HELLO OSP2P/2\n")
        answer = await wire.read_answer()
        if answer is None or answer.code >= 300:
            raise OtherSideLeft
        return wire

    async def open_udp(self, source: int = 0) -> Port:
        """Open one more port for datagrams to the target; it is closed when the attack ends.

        Raises:
            BoundReached: there are as many as there may be.
            OtherSideLeft: there are no datagrams where we are.
        """
        network = self._networks[source % len(self._networks)]
        if not isinstance(network, DatagramNetwork):
            raise OtherSideLeft
        if len(self.ports) >= self._budget.bounds.connections:
            raise BoundReached
        number = len(self.ports)
        sock = await network.open_datagrams(0)
        rng = Random(f"{self._seed} udp {number}")
        port = Port(sock, (self.host, self.port), self._budget, number, rng)
        self.ports.append(port)
        return port

    async def enter(self, source: int = 0) -> Port:
        """Open one more port for datagrams, and find out of what network the target is.

        Raises:
            OtherSideLeft: no node answers there.
            BoundReached.
        """
        port = await self.open_udp(source)
        if not await port.learn_network():
            raise OtherSideLeft
        return port

    async def serve(
        self, contents: Mapping[bytes, bytes], meet: Callable[[Victim], Awaitable[None]]
    ) -> tuple[int, Callable[[], Awaitable[None]]]:
        """Listen on a free port, where a tracker and downloaders can reach us.

        Args:
            contents: of the files that we claim to have; who asks for another one gets nothing.
            meet: what happens to each who connects.

        Returns: the port, and what serves it until the attack ends.
        """
        network = self._networks[0]
        is_here = ipaddress.ip_address(self.host).is_loopback
        listener = await (network.listen(0) if is_here else network.listen(0, "0.0.0.0"))
        self._listeners.append(listener)

        async def run(stream: Stream, number: int) -> None:
            victim = Victim(stream, self._budget, number, Random(f"{self._seed} {number}"), contents, self.limits)
            try:
                with suppress(OtherSideLeft, BoundReached):
                    await meet(victim)
            finally:
                victim.close()

        async def accept() -> None:
            with suppress(ListenFailed):
                async with trio.open_nursery() as nursery:
                    for number in count():
                        nursery.start_soon(run, await listener.accept(), number)

        return listener.address.port, accept

    def check(self, condition: bool, text: str) -> None:
        """Say what a sound target does.

        Raises:
            Unsound: it does not.
        """
        if not condition:
            raise Unsound(text)

    def close(self) -> None:
        """Close all connections; waits for nothing."""
        for wire in list(self._open):
            wire.close()
        for listener in self._listeners:
            listener.close()
        for port in self.ports:
            port.close()


def _nothing() -> None:
    """Nobody waits for an attack's beginning."""


class _CountedWire(Wire):
    """A wire that leaves its place to another once it is closed."""

    def __init__(self, stream: Stream, budget: Budget, number: int, rng: Random, places: dict[Wire, None]) -> None:
        super().__init__(stream, budget, number, rng)
        self._places = places

    def close(self) -> None:
        super().close()
        self._places.pop(self, None)

    def reset(self) -> None:
        super().reset()
        self._places.pop(self, None)


class Victim(Wire):
    """A downloader that has connected to us to fetch a file.

    Attributes:
        host: its address.
        name: what it asked for, raw bytes; b"" until that is read.
        rng: this connection's randomness.
        limits: what its limits are, as far as one knows.
    """

    def __init__(
        self,
        stream: Stream,
        budget: Budget,
        number: int,
        rng: Random,
        contents: Mapping[bytes, bytes],
        limits: Limits = DEFAULT,
    ) -> None:
        super().__init__(stream, budget, number, rng)
        self.host = stream.remote.host
        self.name = b""
        self.limits = limits
        self._contents = contents

    def unread(self, data: bytes) -> None:
        """Put bytes back, to be read again."""
        self._buffer = data + self._buffer

    async def peek_hello(self) -> bool:
        """Wait for the first line, which stays unread. Returns: whether it is HELLO."""
        line = await self._request_line()
        self.unread(line + b"\n")
        return line[:5].upper() == b"HELLO"

    async def _request_line(self) -> bytes:
        line = await self.read_line()
        if line is None or len(line) > _READ_BYTES:
            raise OtherSideLeft
        return line

    async def read_name(self) -> bytes:
        """Read a request of 2007. Returns: the name of the file that it asks for.

        Raises:
            OtherSideLeft: it closed, or said something else than GET (HELLO among it): we end as an old peer would.
        """
        words = (await self._request_line()).split()
        if len(words) < 2 or words[0].upper() != b"GET":
            raise OtherSideLeft
        self.name = unquote(words[1])
        return self.name

    async def read_content(self) -> bytes:
        """Read the request. Returns: what `content_of` gives for it."""
        return self.content_of(await self.read_name())

    def content_of(self, name: bytes) -> bytes:
        """What a file really holds, or noise if no honest holder gives it to us.

        Raises:
            OtherSideLeft: it is none of those that we claim to have, where we claim to have certain ones only: whoever
                asks for it is led here by others, and we end as an old peer would.
        """
        try:
            return self._contents[name]
        except KeyError:
            raise OtherSideLeft from None

    def other_content(self) -> bytes:
        """What another file really holds; noise where there is no other."""
        others = sorted(name for name in self._contents if name != self.name)
        return self._contents[self.rng.choice(others)] if others else self.rng.randbytes(1000)


@dataclass(frozen=True, slots=True)
class Fact:
    """What is true of one file, for a tracker that lies about it.

    Attributes:
        size, b3, md5: as the protocol writes them; b"" where it is not known.
        holders: addresses of honest holders, as ``host:port``.
    """

    size: int = 0
    b3: bytes = b""
    md5: bytes = b""
    holders: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, content: bytes, holders: Sequence[bytes] = ()) -> Fact:
        """What is true of a file with this content."""
        return cls(len(content), b3_of(content) if content else b"", write_checksum(content), tuple(holders))


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true: for an evil tracker.

    Attributes:
        facts: of each name.
        host, port: where the evil tracker itself listens.
    """

    facts: Mapping[bytes, Fact] = field(default_factory=dict)
    host: str = ""
    port: int = 0


class Caller(Wire):
    """A program that has connected to us because it takes us for a tracker.

    Attributes:
        truth: what a sound tracker would say.
        limits: what its limits are, as far as one knows.
        latest: who came to this tracker lately, itself among them.
        began: when it came.
        asked: the verbs that it has sent.
    """

    def __init__(
        self,
        stream: Stream,
        budget: Budget,
        number: int,
        rng: Random,
        truth: Truth,
        limits: Limits = DEFAULT,
        latest: Collection[Caller] = (),
    ) -> None:
        super().__init__(stream, budget, number, rng)
        self.host = stream.remote.host
        self.truth = truth
        self.limits = limits
        self.latest = latest
        self.began = trio.current_time()
        self.asked: list[bytes] = []

    def fact(self, name: bytes) -> Fact:
        """What is true of a name."""
        return self.truth.facts.get(name, Fact())
