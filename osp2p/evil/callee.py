"""Evil nodes that others call: each port is a node with a key of its own, and may say to be another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NoReturn

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from osp2p.evil.bounds import DEFAULT_BOUNDS, LOOPBACK, Bounds, Budget, OtherSideLeft, Subnet, Unsound
from osp2p.evil.datagrams import encode
from osp2p.evil.network import Listener, Network, SocketNetwork, Stream
from osp2p.evil.registry import Attack
from osp2p.evil.run import Report, ignore
from osp2p.evil.trap import Trap, listen
from osp2p.evil.wire import Wire
from osp2p.limits import DEFAULT, Limits

#: A document that may be given to the caller, and one that may not.
RIGHT = b"<?xml version='1.0'?><methodResponse><params><param><value>right</value></param></params></methodResponse>"
LIE = RIGHT.replace(b"right", b"a lie")


class Key:
    """A node's key, and what follows from it."""

    def __init__(self, seed: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.address = hashlib.sha1(self.public + b"osp2p", usedforsecurity=False).hexdigest().encode()

    def sign(self, text: bytes) -> bytes:
        """Sign a text."""
        return self._private.sign(text)

    def sign_contact(self, addresses: Sequence[tuple[str, int]], sequence: int) -> tuple[list[bytes], bytes]:
        """Make a contact record. Returns: the addresses in it, and the signature of all of it, as of a signed item."""
        listed = [b"%s:%d" % (host.encode(), port) for host, port in addresses]
        value = encode({b"a": list(listed)})
        return listed, self.sign(b"4:salt5:osp2p3:seqi%de1:v" % sequence + value)


@dataclass
class Visits:
    """Connections to all ports of one attack together: how many there were, are, and were at a time at most."""

    all: int = 0
    open: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that came: its method, caller and id, and the text that its caller signed."""

    method: bytes
    sender: bytes
    nonce: bytes
    text: bytes


class Called(Wire):
    """A program that has connected to call us.

    Attributes:
        host: its address.
        key: the key of the port that it connected to.
        other: a key of this connection alone.
        limits: what its limits are, as far as one knows.
        visits: connections of everybody.
    """

    def __init__(
        self, stream: Stream, budget: Budget, number: int, rng: Random, key: Key, visits: Visits, limits: Limits
    ) -> None:
        super().__init__(stream, budget, number, rng)
        self.host = stream.remote.host
        self.key = key
        self.other = Key(f"{rng.getrandbits(64)}")
        self.limits = limits
        self.visits = visits

    def check(self, condition: bool, text: str) -> None:
        """Say what a sound caller does. Raises: Unsound: it does not."""
        if not condition:
            raise Unsound(text)

    async def greet(self, key: Key | None = None) -> Key:
        """Answer HELLO as the node of a key; None: the port's."""
        key = key or self.key
        await self._line()
        await self.send(b"FEATURE call %s\n200 OSP2P/2\n" % key.address)
        return key

    async def _line(self) -> bytes:
        line = await self.read_line()
        if line is None:
            raise OtherSideLeft
        return line

    async def read_call(self) -> Asked:
        """Read a call and its document.

        Raises:
            OtherSideLeft: there is none.
        """
        words = (await self._line()).split()
        facts = dict(word.split(b"=", 1) for word in words[2:] if b"=" in word)
        length = facts.get(b"length", b"")
        if words[:1] != [b"CALL"] or not length.isdigit():
            raise OtherSideLeft
        document = b""
        while len(document) < int(length):
            data = await self.receive(int(length) - len(document))
            if not data:
                raise OtherSideLeft
            document += data
        names = (b"to", b"from", b"id", b"time", b"timeout", b"length")
        lines = [b"method " + words[1], *(name + b" " + facts.get(name, b"") for name in names)]
        lines.append(b"sha256 " + hashlib.sha256(document).hexdigest().encode())
        text = b"OSP2P/2 call\n" + b"".join(line + b"\n" for line in lines)
        return Asked(words[1], facts.get(b"from", b""), facts.get(b"id", b""), text)

    def sign(self, asked: Asked, document: bytes, key: Key) -> bytes:
        """The signature of a result."""
        return key.sign(
            b"OSP2P/2 result\nto %s\nfrom %s\nid %s\ncall %s\nlength %d\nsha256 %s\n"
            % (
                asked.sender, key.address, asked.nonce, hashlib.sha256(asked.text).hexdigest().encode(),
                len(document), hashlib.sha256(document).hexdigest().encode(),
            )
        )  # fmt: skip

    async def answer(
        self,
        asked: Asked,
        document: bytes,
        key: Key | None = None,
        *,
        signature: bytes = b"",
        length: int | None = None,
    ) -> None:
        """Answer a call; what is not said is right."""
        key = key or self.key
        signature = signature or self.sign(asked, document, key)
        length = len(document) if length is None else length
        head = b"RESULT %d key=%s sig=%s\n200 done\n"
        await self.send(head % (length, key.public.hex().encode(), signature.hex().encode()) + document)


async def run_evil_callee(
    attack: Attack,
    *,
    seed: int,
    network: Network | None = None,
    port: int = 0,
    bounds: Bounds = DEFAULT_BOUNDS,
    allowed: Sequence[Subnet] = LOOPBACK,
    limits: Limits = DEFAULT,
    report: Report = ignore,
    task_status: trio.TaskStatus[list[tuple[Key, str, int]]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Listen as nodes that take calls, and attack who calls; runs until cancelled.

    Args:
        attack: one whose role is ``callee``; it says as how many nodes (`Attack.sybils`).
        seed: of all that is random, the keys too.
        network: where it listens; None: this machine's.
        port: where the first of them listens; 0: any free port.
        bounds: how far it may go.
        allowed: the only networks whose hosts are attacked.
        limits: what the victims' are thought to be.
        report: told of each attack when it ends; may not raise.
        task_status: gets the key, the host and the port of each.

    Raises:
        ListenFailed: the port cannot be opened.

    Cancellation: all connections are closed.
    """
    trap = Trap(seed, bounds, allowed, report)
    visits = Visits()
    listeners: list[Listener] = []

    async def meet(stream: Stream, key: Key) -> None:
        number = trap.next_number()
        visits.all += 1
        visits.open += 1
        visits.most = max(visits.most, visits.open)
        try:
            met = Called(stream, trap.budget, number, trap.rng(attack, number), key, visits, limits)
            await trap.attack(attack, met)
        finally:
            visits.open -= 1

    try:
        nodes: list[tuple[Key, str, int]] = []
        async with trio.open_nursery() as nursery:
            for number in range(attack.sybils):
                place = await listen(network or SocketNetwork(None, None), 0 if number else port, allowed)
                listeners.append(place)
                key = Key(f"{seed} {number}")
                nodes.append((key, place.address.host, place.address.port))
                nursery.start_soon(trap.serve, place, partial(meet, key=key))
            task_status.started(nodes)
            await trio.sleep_forever()
    finally:
        for place in listeners:
            place.close()
    raise AssertionError("only cancellation ends it")


async def serve_rightly(called: Called, key: Key | None = None) -> None:
    """Answer all calls as one should, until the caller leaves."""
    key = await called.greet(key)
    with suppress(OtherSideLeft):
        while True:
            await called.answer(await called.read_call(), RIGHT, key)
