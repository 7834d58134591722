"""Stand-ins for the downloading half of the peers of 2007: how they talk to a tracker, and how they fetch.

They wait for each answer with one buffer of 4096 bytes, end on a PEER line that they cannot read, try the listed peers
in reverse order and keep what the first one sends that sends anything.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

BUFFER = 4096
MAX_PEER_LINE = 256

_PEER_LINE = re.compile(rb"PEER (\S+) (\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}):(\d+)")


class ProgramExits(Exception):
    """The old program would have ended here, with a message on its terminal."""


@dataclass(frozen=True)
class Listed:
    """One PEER line."""

    alias: bytes
    host: str
    port: int


def read_peer_line(line: bytes) -> Listed:
    """Read a PEER line as the old programs did.

    Raises:
        ProgramExits: anything that does not fit its format or its buffer.
    """
    match = _PEER_LINE.fullmatch(line)
    if match is None or len(line) > MAX_PEER_LINE or not 0 < int(match[3]) < 65536:
        raise ProgramExits(f"unexpected answer to WANT: {line[:80]!r}")
    if any(int(part) > 255 for part in match[2].split(b".")):
        raise ProgramExits(f"no address: {match[2]!r}")
    return Listed(match[1], match[2].decode(), int(match[3]))


class OldConnection:
    """A connection to a tracker, one command at a time.

    Attributes:
        answers: every reply so far, the greeting first.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.answers: list[bytes] = []

    async def read_answer(self) -> bytes:
        """Read until a terminator that ends what has been received.

        Each place is looked at once, when what follows it is here: a terminator whose own line came in two segments is
        looked at too early, and the program then waits for ever. (So a caller sets a deadline.)

        Raises:
            ProgramExits: the buffer is full, or the tracker closed.
        """
        buffer, looked = b"", 0
        while True:
            while looked + 4 < len(buffer):
                at_start = looked == 0 or buffer[looked - 1] == 0x0A
                if at_start and re.match(rb"\d\d\d\s", buffer[looked : looked + 4]) and buffer.endswith(b"\n"):
                    self.answers.append(buffer)
                    return buffer
                looked += 1
            if len(buffer) == BUFFER:
                raise ProgramExits("the tracker's answer does not fit the buffer")
            data = await self.stream.receive_some(BUFFER - len(buffer))
            if not data:
                raise ProgramExits("the tracker closed the connection")
            buffer += data

    async def ask(self, line: bytes) -> bytes:
        """Send one command and wait for its answer. `line` stands as it is; names in it are sent raw."""
        await self.stream.send_all(line + b"\n")
        return await self.read_answer()

    async def want(self, name: bytes) -> list[Listed]:
        """Ask who has a file. Returns: the holders, the last listed first.

        Raises:
            ProgramExits: see `read_answer` and `read_peer_line`.
        """
        answer = await self.ask(b"WANT " + name)
        holders = [read_peer_line(line) for line in answer.split(b"\n") if line and not re.match(rb"\d\d\d", line)]
        return holders[::-1]


async def fetch_from(holder: Listed, name: bytes) -> bytes:
    """Fetch a file from one peer: all that it sends until it closes, b"" if it sends nothing or cannot be reached."""
    try:
        stream = await trio.open_tcp_stream(holder.host, holder.port)
    except OSError:
        return b""
    async with stream:
        try:
            await stream.send_all(b"GET %s OSP2P\n" % name)
            return b"".join([data async for data in stream])
        except trio.BrokenResourceError:
            return b""


async def fetch(connection: OldConnection, name: bytes) -> bytes | None:
    """Fetch a file: the first holder, in reverse order, that gives a byte. Returns: what came, or None."""
    for holder in await connection.want(name):
        if content := await fetch_from(holder, name):
            return content
    return None


@asynccontextmanager
async def open_old_connection(host: str, port: int) -> AsyncIterator[OldConnection]:
    """Connect to a tracker and read its greeting; leave without QUIT."""
    async with await trio.open_tcp_stream(host, port) as stream:
        connection = OldConnection(stream)
        await connection.read_answer()
        yield connection
