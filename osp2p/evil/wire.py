"""One connection of an attack: raw bytes, counted, with evidence of what went either way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal

import trio

from osp2p.errors import ConnectionLost
from osp2p.evil.bounds import BoundReached, Bounds, Budget, OtherSideLeft, Unsound
from osp2p.evil.network import Stream

_READ_BYTES = 65536

#: Longest line and most lines of an answer that are read: an attacker, too, has to expect evil.
_MAX_LINE = 1024 * 1024
_MAX_LINES = 300_000

_TERMINATOR = re.compile(rb"\d\d\d(?:\s|$)")
_CONTEXT = re.compile(rb"\d\d\d-")

Ended = Literal["open", "theirs", "reset", "ours"]
"""Who ended a connection: nobody yet; the other side, or with a reset; or we."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What went over one connection.

    Attributes:
        number: of the connection, in the order in which the attack opened them.
        parts: pairs of the direction (``">"`` sent, ``"<"`` received) and bytes, in order, up to a bound.
        sent, received: bytes in all.
        ended: see `Ended`.
    """

    number: int
    parts: tuple[tuple[str, bytes], ...]
    sent: int
    received: int
    ended: Ended


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply to a command: its code, its data lines, its context lines and its last line."""

    code: int
    data: tuple[bytes, ...]
    context: tuple[bytes, ...]
    last: bytes


class Record:
    """Evidence of one connection, bounded; and a digest of all that was sent."""

    def __init__(self, most: int) -> None:
        self._room = {">": most, "<": most}
        self._parts: list[tuple[str, bytearray]] = []
        self._hash = hashlib.blake2b(digest_size=16)

    def note(self, direction: str, data: bytes) -> None:
        """Keep as much of it as there is room for."""
        if direction == ">":
            self._hash.update(data)
        kept = data[: self._room[direction]]
        self._room[direction] -= len(kept)
        if not kept:
            return
        if not self._parts or self._parts[-1][0] != direction:
            self._parts.append((direction, bytearray()))
        self._parts[-1][1].extend(kept)

    @property
    def digest(self) -> bytes:
        """Of everything that was sent."""
        return self._hash.digest()

    def parts(self) -> tuple[tuple[str, bytes], ...]:
        """What was kept."""
        return tuple((direction, bytes(data)) for direction, data in self._parts)


class Wire:
    """One connection: raw bytes, counted.

    Attributes:
        number: of the connection, in the order in which the attack opened them.
        rng: this connection's randomness.
        sent, received: bytes so far.
        ended: see `Ended`.
    """

    def __init__(self, stream: Stream, budget: Budget, number: int, rng: Random) -> None:
        self.number = number
        self.rng = rng
        self.sent = 0
        self.received = 0
        self.ended: Ended = "open"
        self._stream = stream
        self._budget = budget
        self._buffer = b""
        bounds = budget.bounds
        self._record = Record(bounds.evidence_bytes if number < bounds.evidence_connections else 0)

    @property
    def bounds(self) -> Bounds:
        """How far this attack may go."""
        return self._budget.bounds

    @property
    def local_host(self) -> str:
        """Our own address, as this connection shows it."""
        return self._stream.local.host

    @property
    def digest(self) -> bytes:
        """Of everything that was sent."""
        return self._record.digest

    @property
    def exchange(self) -> Exchange:
        """What went over it so far."""
        return Exchange(self.number, self._record.parts(), self.sent, self.received, self.ended)

    # --- bytes ---

    async def send(self, data: bytes) -> None:
        """Send all of `data`, or as much as the bounds allow.

        Raises:
            BoundReached, OtherSideLeft.
        """
        room = min(self._budget.bounds.connection_bytes - self.sent, self._budget.left)
        part = data[: max(0, room)]
        self.sent += len(part)
        self._budget.left -= len(part)
        self._record.note(">", part)
        try:
            await self._stream.send(part)
        except ConnectionLost as error:
            self._note_end("reset")
            raise OtherSideLeft from error
        if len(part) < len(data):
            raise BoundReached

    async def receive(self, max_bytes: int = _READ_BYTES) -> bytes:
        """Wait for bytes. Returns: some, or b"" when the other side has closed, or broken, the connection."""
        if self._buffer:
            data, self._buffer = self._buffer[:max_bytes], self._buffer[max_bytes:]
            return data
        return await self._receive(max_bytes)

    async def _receive(self, max_bytes: int = _READ_BYTES) -> bytes:
        try:
            data = await self._stream.receive(max_bytes)
        except ConnectionLost:
            data = b""
            self._note_end("reset")
        if not data:
            self._note_end("theirs")
        self.received += len(data)
        self._record.note("<", data)
        return data

    def _note_end(self, how: Ended) -> None:
        if self.ended == "open":
            self.ended = how

    # --- lines ---

    async def read_line(self) -> bytes | None:
        """Read one line without its line end; None when the other side has closed."""
        while b"\n" not in self._buffer:
            data = await self._receive()
            if not data:
                return None
            self._buffer += data
            if len(self._buffer) > _MAX_LINE and b"\n" not in self._buffer:
                raise Unsound("sends a line without an end")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    async def read_answer(self) -> Answer | None:
        """Read one whole answer; None when the other side has closed instead."""
        data: list[bytes] = []
        context: list[bytes] = []
        while len(data) + len(context) < _MAX_LINES:
            line = await self.read_line()
            if line is None:
                return None
            if _TERMINATOR.match(line):
                return Answer(int(line[:3]), tuple(data), tuple(context), line)
            (context if _CONTEXT.match(line) else data).append(line)
        raise Unsound("sends an answer without an end")

    async def ask(self, line: bytes) -> Answer:
        """Send a line and read the answer.

        Raises:
            Unsound: the other side closes instead.
            BoundReached, OtherSideLeft.
        """
        await self.send(line + b"\n")
        answer = await self.read_answer()
        if answer is None:
            raise Unsound(f"closes instead of answering {_show(line)}")
        return answer

    async def expect(self, line: bytes, *codes: int) -> Answer:
        """Send a line whose answer must have one of these codes; 3 means 300 to 399, and so on.

        Raises:
            Unsound: it has another one, or there is none.
        """
        answer = await self.ask(line)
        if answer.code not in codes and answer.code // 100 not in codes:
            raise Unsound(f"answers {_show(line)} with {_show(answer.last)}")
        return answer

    async def ask_all(self, lines: Sequence[bytes], batch: int = 200) -> list[Answer]:
        """Send lines, many at a time, and read an answer to each.

        Raises:
            Unsound: the other side closes instead.
        """
        answers: list[Answer] = []
        for start in range(0, len(lines), batch):
            some = lines[start : start + batch]
            await self.send(b"".join(line + b"\n" for line in some))
            for line in some:
                answer = await self.read_answer()
                if answer is None:
                    raise Unsound(f"closes instead of answering {_show(line)}")
                answers.append(answer)
        return answers

    # --- ends ---

    async def hold(self) -> None:
        """Read until the other side closes."""
        while await self.receive():
            pass

    async def expect_nothing(self) -> None:
        """Read until the other side closes, which it must do without a byte."""
        if data := await self.receive():
            raise Unsound(f"sends {_show(data)} where it should have closed without a byte")

    async def linger(self) -> None:
        """Keep the connection open without reading from it until time is up."""
        await trio.sleep_forever()

    async def half_close(self) -> None:
        """End our direction; the other one goes on."""
        try:
            await self._stream.send_eof()
        except ConnectionLost as error:
            raise OtherSideLeft from error

    def close(self) -> None:
        """Close; waits for nothing."""
        self._note_end("ours")
        self._stream.close()

    def reset(self) -> None:
        """Break the connection: the other side gets an error, not an end."""
        self._note_end("ours")
        try:
            self._stream.abort()
        except ConnectionLost:
            self._stream.close()


def _show(data: bytes) -> str:
    text = ascii(data[:60])[1:]
    return text if len(data) <= 60 else f"{text[:-1]}…'"


async def beside(other: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[None]]) -> None:
    """Do one thing, and another one beside it that ends with it.

    Raises:
        Unsound, BoundReached, OtherSideLeft: as `work`; `Unsound` as `other`, too.
    """
    ends: list[Exception] = []

    async def run(task: Callable[[], Awaitable[None]], *, leads: bool) -> None:
        try:
            await task()
        except (BoundReached, OtherSideLeft) as error:
            ends.extend([error] if leads else [])
        except Unsound as error:
            ends.insert(0, error)
            nursery.cancel_scope.cancel()
        if leads:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run, other, leads=False))
        nursery.start_soon(partial(run, work, leads=True))
    if ends:
        raise ends[0]


async def together(*works: Callable[[], Awaitable[None]]) -> None:
    """Do several things at a time, until all have ended.

    Raises:
        Unsound: the first that was met; it ends the others.
        BoundReached: one of them used up what may be sent.
        OtherSideLeft: the other side has left all of them.
    """
    ends: list[Exception] = []

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (Unsound, BoundReached, OtherSideLeft) as error:
            ends.append(error)
            if not isinstance(error, OtherSideLeft):
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(run, work)
    for kind in (Unsound, BoundReached):
        for error in ends:
            if isinstance(error, kind):
                raise error
    if works and len(ends) == len(works):
        raise OtherSideLeft
