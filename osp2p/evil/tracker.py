"""As much of a tracker's client as an evil peer needs: one command at a time, in raw lines."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from osp2p.errors import ConnectFailed, ConnectionLost, TrackerUnreachable
from osp2p.evil.bounds import Subnet, find_allowed
from osp2p.evil.network import Network, Stream
from osp2p.evil.words import quote, unquote
from osp2p.limits import Limits

_TERMINATOR = re.compile(rb"\d\d\d(?:\s|$)")
_CONTEXT = re.compile(rb"\d\d\d-")
_PEER = re.compile(rb"PEER \S+ (\d+\.\d+\.\d+\.\d+):(\d+)")


class Tracker:
    """A connection to a tracker; `open_tracker` opens one.

    Attributes:
        local_host: our own address as this connection shows it: what to register.
        hello: whether the tracker has answered HELLO.
    """

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._buffer = b""
        self._turn = trio.Lock()
        self.local_host = stream.local.host
        self.hello = False

    async def ask(self, line: bytes) -> tuple[int, list[bytes]]:
        """Send one line. Returns: the code and the data lines of its answer.

        Raises:
            TrackerUnreachable: the tracker is gone, answers too late or too much.
        """
        async with self._turn:
            try:
                with trio.fail_after(self._limits.reply_timeout):
                    await self._stream.send(line + b"\n")
                    return await self.read_answer()
            except (ConnectionLost, trio.TooSlowError) as error:
                raise TrackerUnreachable("the tracker does not answer any more") from error

    async def keep_alive(self) -> None:
        """Send a blank line, which has no answer."""
        async with self._turn:
            try:
                await self._stream.send(b"\n")
            except ConnectionLost as error:
                raise TrackerUnreachable("the tracker is gone") from error

    async def read_answer(self) -> tuple[int, list[bytes]]:
        """Read the next answer, or the greeting."""
        data: list[bytes] = []
        size = 0
        while size <= self._limits.max_reply_bytes:
            line = (await self._read_line()).rstrip(b"\r")
            size += len(line) + 1
            if _TERMINATOR.match(line):
                return int(line[:3]), data
            if not _CONTEXT.match(line):
                data.append(line)
        raise TrackerUnreachable("the tracker's answer has no end")

    async def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            received = await self._stream.receive(65536)
            if not received or len(self._buffer) > self._limits.max_reply_bytes:
                raise TrackerUnreachable("the tracker closed the connection")
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def say_hello(self) -> None:
        """Say that we speak OSP2P/2; a tracker that does not has said so by its answer."""
        code, _ = await self.ask(b"HELLO OSP2P/2")
        self.hello = 200 <= code < 300

    async def register(self, alias: bytes, port: int) -> None:
        """Log in as a peer that listens on `port`."""
        await self.ask(b"ADDR %s %s:%d" % (quote(alias), self.local_host.encode(), port))

    async def find_checksum(self, name: bytes) -> bytes | None:
        """A file's checksum, as the tracker writes it."""
        _, lines = await self.ask(b"MD5SUM " + quote(name))
        return lines[0].strip() or None if lines else None

    async def find_facts(self, name: bytes) -> dict[bytes, bytes]:
        """What the tracker says of a file: SIZE, B3 and MD5, as far as it knows them."""
        if not self.hello:
            checksum = await self.find_checksum(name)
            return {b"MD5": checksum} if checksum else {}
        _, lines = await self.ask(b"STAT " + quote(name))
        return {key: value for key, _, value in (line.partition(b" ") for line in lines) if value}

    async def claim(
        self, name: bytes, checksum: bytes | None, size: int | None = None, b3: bytes | None = None
    ) -> bool:
        """Register as a holder. Returns: whether the tracker believes us."""
        line = b"HAVE " + quote(name)
        if checksum:
            line += b" " + quote(checksum)
        if self.hello:
            line += b"" if size is None else b" size=%d" % size
            line += b" b3=" + b3 if b3 else b""
        code, _ = await self.ask(line)
        return 200 <= code < 300

    async def list_names(self) -> list[bytes]:
        """The names that it lists, each once."""
        _, lines = await self.ask(b"LIST")
        names = [unquote(line[5:].split()[0]) for line in lines if line.startswith(b"FILE ") and line[5:].split()]
        return list(dict.fromkeys(names))

    async def find_holders(self, name: bytes) -> list[tuple[str, int]]:
        """Who holds a file, ourselves included."""
        _, lines = await self.ask(b"WANT " + quote(name))
        found = [_PEER.match(line) for line in lines]
        return [(match[1].decode(), int(match[2])) for match in found if match]


@asynccontextmanager
async def open_tracker(
    network: Network, host: str, port: int, allowed: Sequence[Subnet], limits: Limits
) -> AsyncIterator[Tracker]:
    """Connect to a tracker and read its greeting.

    Raises:
        NotAllowed: it is in no network that may be attacked.
        TrackerUnreachable: nobody answers there in time.
    """
    text = f"no tracker answers at {host}:{port}"
    try:
        with trio.fail_after(limits.connect_timeout):
            address = await find_allowed(host, port, allowed)
            stream = await network.connect(address, port)
    except (ConnectFailed, trio.TooSlowError) as error:
        raise TrackerUnreachable(text) from error
    tracker = Tracker(stream, limits)
    try:
        try:
            with trio.fail_after(limits.greeting_timeout):
                await tracker.read_answer()
        except (ConnectionLost, trio.TooSlowError) as error:
            raise TrackerUnreachable(text) from error
        yield tracker
    finally:
        stream.close()
