"""Datagrams to a node of the overlay: the smallest twins of its grammar, and ports that count what they send."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from random import Random
from typing import TypeAlias

import trio

from osp2p.evil.bounds import BoundReached, Budget
from osp2p.evil.network import DatagramSocket, Place
from osp2p.evil.wire import Exchange, Record

Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value]"


# --- the grammar ---


def encode(value: Value) -> bytes:
    """Write a value in bencoding."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"


def decode(data: bytes) -> Value | None:
    """Read a value in bencoding; None if it is none."""
    try:
        value, end = _decode(data, 0)
    except (ValueError, IndexError, RecursionError):
        return None
    return value if end == len(data) else None


def _decode(data: bytes, at: int) -> tuple[Value, int]:
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items: list[Value] = []
        at += 1
        while data[at : at + 1] != b"e":
            item, at = _decode(data, at)
            items.append(item)
        if kind == b"l":
            return items, at + 1
        pairs = zip(items[::2], items[1::2], strict=True)
        return {key: value for key, value in pairs if isinstance(key, bytes)}, at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    if end > len(data):
        raise ValueError("cut off")
    return data[colon + 1 : end], end


def pack(host: str, port: int) -> bytes:
    """Write an address as messages hold it."""
    return ipaddress.ip_address(host).packed + port.to_bytes(2, "big")


# --- a port that counts ---


class Port:
    """One port of an attack's: datagrams to the target, counted, with evidence.

    Attributes:
        number: of the port, in the order in which the attack opened them.
        rng: its randomness.
        id: what it calls itself, 20 bytes.
        network: of whom it claims to be a node; b"": of nobody.
        received: whole datagrams of the target, so far.
    """

    def __init__(self, sock: DatagramSocket, target: tuple[str, int], budget: Budget, number: int, rng: Random) -> None:
        self.number = number
        self.rng = rng
        self.id = rng.randbytes(20)
        self.network = b""
        self.sent = 0
        self.received: list[dict[bytes, Value]] = []
        self.received_bytes = 0
        self._socket = sock
        self._target = type(sock.address)(*target)  # type: ignore[call-arg]
        self._budget = budget
        bounds = budget.bounds
        self._record = Record(bounds.evidence_bytes if number < bounds.evidence_connections else 0)

    @property
    def place(self) -> Place:
        """Where it is."""
        return self._socket.address

    @property
    def digest(self) -> bytes:
        """Of everything that was sent."""
        return self._record.digest

    @property
    def exchange(self) -> Exchange:
        """What went over it so far."""
        return Exchange(self.number, self._record.parts(), self.sent, self.received_bytes, "open")

    async def send(self, data: bytes) -> None:
        """Send one datagram. Raises: BoundReached."""
        await trio.lowlevel.checkpoint()
        if len(data) > min(self._budget.left, self._budget.bounds.connection_bytes - self.sent):
            raise BoundReached
        self.sent += len(data)
        self._budget.left -= len(data)
        self._record.note(">", data)
        self._socket.send(data, self._target)

    async def receive(self, seconds: float) -> dict[bytes, Value] | None:
        """Wait for a message of the target; None if none comes in time. What others send, and what is none, is lost."""
        with trio.move_on_after(seconds):
            while True:
                data, source = await self._socket.receive()
                if (source.host, source.port) != (self._target.host, self._target.port):
                    continue
                self.received_bytes += len(data)
                self._record.note("<", data)
                message = decode(data)
                if isinstance(message, dict):
                    self.received.append(message)
                    return message
        return None

    def write_query(self, method: bytes, arguments: Mapping[bytes, Value], transaction: bytes) -> bytes:
        """A query's datagram."""
        top: dict[bytes, Value] = {b"t": transaction, b"y": b"q", b"q": method, b"a": {b"id": self.id, **arguments}}
        return encode(top | ({b"net": self.network} if self.network else {}))

    async def ask(
        self, method: bytes, arguments: Mapping[bytes, Value] | None = None, seconds: float = 2.0
    ) -> dict[bytes, Value] | None:
        """Ask, and wait for the answer: the whole message; None if there is none in time. Our pings are answered."""
        transaction = self.rng.randbytes(4)
        await self.send(self.write_query(method, arguments or {}, transaction))
        until = trio.current_time() + seconds
        while (message := await self.receive(until - trio.current_time())) is not None:
            if message.get(b"t") == transaction and message.get(b"y") in (b"r", b"e"):
                return message
            await self.answer(message)
        return None

    async def answer(self, message: Mapping[bytes, Value], values: Mapping[bytes, Value] | None = None) -> None:
        """Answer a query of the target's."""
        transaction = message.get(b"t")
        if message.get(b"y") == b"q" and isinstance(transaction, bytes):
            top: dict[bytes, Value] = {b"t": transaction, b"y": b"r", b"r": {b"id": self.id, **(values or {})}}
            await self.send(encode(top | ({b"net": self.network} if self.network else {})))

    async def learn_network(self) -> bool:
        """Find out of what network the target is. Returns: False if nobody answers."""
        self.network = b"another!"
        refusal = await self.ask(b"ping", {b"pad": bytes(100)})
        found = refusal.get(b"net") if refusal else None
        self.network = found if isinstance(found, bytes) else b""
        return bool(self.network) or await self.ask(b"ping") is not None

    def close(self) -> None:
        """Close the port."""
        self._socket.close()


def returned(message: Mapping[bytes, Value] | None) -> dict[bytes, Value]:
    """What a response returns; nothing of an error, or of silence."""
    values = message.get(b"r") if message else None
    return values if isinstance(values, dict) else {}


def refused(message: Mapping[bytes, Value] | None) -> int:
    """The code of an error; 0 of a response, or of silence."""
    parts = message.get(b"e") if message else None
    return parts[0] if isinstance(parts, list) and parts and isinstance(parts[0], int) else 0
