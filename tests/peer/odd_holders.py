"""Holders that speak OSP2P/2 by hand: honest in every answer but those that a twist puts in their place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from osp2p.content.chunks import chunk_bounds, chunk_size
from osp2p.errors import NetworkError
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection
from osp2p.wire.ranges import parse_ranges
from osp2p.wire.request import Request, parse_request
from tests.peer.swarm import Truth

#: Sends what it likes in the place of an honest answer.
Twist = Callable[[Connection, Request, bytes], Awaitable[None]]

#: Makes another answer of an honest one.
Change = Callable[[Request, bytes], bytes]


class OddHolder:
    """A holder of everything.

    Attributes:
        requests: what it was asked, one list for each connection.
    """

    def __init__(self, truth: Truth, twist: Twist) -> None:
        self.truth = truth
        self._twist = twist
        self._next_any = 0
        self.requests: list[list[Request]] = []

    @property
    def verbs(self) -> list[bytes]:
        """Each verb that it was asked, in order."""
        return [request.verb for requests in self.requests for request in requests]

    async def serve(self, connection: Connection) -> None:
        """Serve one connection."""
        lines = LineConnection(connection, Limits())
        asked: list[Request] = []
        self.requests.append(asked)
        try:
            while (line := await lines.read_line(float("inf"))) is not None:
                request = parse_request(line, attributes=True)
                assert request is not None
                asked.append(request)
                await self._twist(connection, request, self.answer(request))
        except NetworkError:
            return

    def answer(self, request: Request) -> bytes:
        """The honest answer."""
        size = self.truth.content.size
        if request.verb == b"HELLO":
            return b"FEATURE any\n200 hello\n"
        if request.verb == b"STAT":
            return b"SIZE %d\nB3 %s\nSERIAL 1\nHAVE all\n200 here\n" % (size, self.truth.content.b3.hex().encode())
        if request.verb == b"CHUNKS":
            return list_answer(self.truth.hashes)
        assert request.verb == b"GET"
        if b"any" in request.attributes:
            ranges = parse_ranges(request.attributes[b"any"], self.truth.content.count - 1, 1000)
            chunks = [index for first, last in ranges for index in range(first, last + 1)]
            chunk = chunks[self._next_any % len(chunks)]
            self._next_any += 1
            body = self.truth.chunk(chunk)
            return b"DATA %d chunk=%d\n200 here\n" % (len(body), chunk) + body
        first, _, last = request.attributes[b"range"].partition(b"-")
        each = chunk_size(size)
        body = b"".join(self.truth.chunk(index) for index in range(int(first) // each, int(last) // each + 1))
        assert len(body) == int(last) - int(first) + 1
        return b"DATA %d\n200 here\n" % len(body) + body


def list_answer(hashes: bytes) -> bytes:
    """A chunk list as it is sent."""
    digits = hashes.hex().encode()
    lines = [b"CHUNK %d %s\n" % (index, digits[64 * index : 64 * index + 64]) for index in range(len(hashes) // 32)]
    return b"".join(lines) + b"200 here\n"


def asked_for(request: Request, truth: Truth, honest: bytes) -> int:
    """The first chunk that an answer to GET brings."""
    if b"any" in request.attributes:
        return int(honest.split(b"chunk=")[1].split(b"\n")[0])
    return int(request.attributes[b"range"].partition(b"-")[0]) // chunk_bounds(truth.content.size, 0)[1]


def twisting(verb: bytes, change: Change, after: int = 0) -> Twist:
    """Changes the answers to one verb, but for the first `after` of them."""
    seen = 0

    async def twist(connection: Connection, request: Request, honest: bytes) -> None:
        nonlocal seen
        if request.verb == verb:
            seen += 1
            if seen > after:
                honest = change(request, honest)
        await connection.send(honest)

    return twist


def silent_after(verb: bytes, count: int, after: int = 0) -> Twist:
    """Sends so many bytes of an answer to a verb, and then nothing any more; but for the first `after` of them."""
    seen = 0

    async def twist(connection: Connection, request: Request, honest: bytes) -> None:
        nonlocal seen
        seen += request.verb == verb
        if request.verb == verb and seen > after:
            await connection.send(honest[:count])
            await trio.sleep_forever()
        await connection.send(honest)

    return twist


def closing_after(verb: bytes, count: int, *, reset: bool = False) -> Twist:
    """Sends so many bytes of an answer to a verb, and closes."""

    async def twist(connection: Connection, request: Request, honest: bytes) -> None:
        if request.verb != verb:
            await connection.send(honest)
            return
        await connection.send(honest[:count])
        if reset:
            connection.abort()
        else:
            connection.close()

    return twist


def trickling(rate: float) -> Twist:
    """Sends chunks at so many bytes per second."""

    async def twist(connection: Connection, request: Request, honest: bytes) -> None:
        step = max(1, int(rate / 10)) if request.verb == b"GET" else len(honest)
        for start in range(0, len(honest), step):
            await connection.send(honest[start : start + step])
            if request.verb == b"GET":
                await trio.sleep(0.1)

    return twist


async def honest(connection: Connection, request: Request, answer: bytes) -> None:
    """No twist at all."""
    await connection.send(answer)
