"""A stand-in for the tracker of 2007: what it did, holes included, in plain trio.

It shares no code with osp2p, so that a misunderstanding there is not repeated here. It writes each reply by itself,
knows no HELLO, refuses even repeats once a peer has 1000 files, keeps a checksum for ever, takes a bare HAVE after a
rejected one, and prints aliases raw. By hand: ``python -m tests.standins.old_tracker [-pPORT] [-f]``.
"""

from __future__ import annotations

import ipaddress
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

MAX_LINE = 4096
MAX_FILES = 1000
MAX_ALIAS = 2047
FAKES = 250

_CHECKSUM = re.compile(rb"[A-Za-z0-9_@]{21}[a-d]")
_WORDS = {
    b"HELP": (0,), b"ADDR": (2,), b"HAVE": (1, 2), b"DONTHAVE": (1,), b"WANT": (1,), b"LIST": (0,), b"WHO": (0,),
    b"MD5SUM": (1,), b"CHECKPEER": (2,), b"NOTIFY": (0,), b"NONOTIFY": (0,), b"BLOCKNOTIFY": (0,),
}  # fmt: skip


def unquoted(word: bytes) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), word)


def quoted(name: bytes) -> bytes:
    return re.sub(rb"[^A-Za-z0-9$\-_.+!*'(),]", lambda match: b"%%%02X" % match[0][0], name)


def read_address(word: bytes) -> tuple[str, int] | None:
    host, colon, port = word.rpartition(b":")
    try:
        address = ipaddress.IPv4Address(host.decode("ascii"))
        number = int(port) if colon and port.isdigit() else 0
    except ValueError:
        return None
    return (str(address), number) if 0 < number < 65536 and not address.is_unspecified else None


@dataclass(eq=False)
class Peer:
    """One connection, and what it registered."""

    stream: trio.SocketStream
    host: str
    alias: bytes = b""
    port: int = 0
    files: list[bytes] = field(default_factory=list)
    wants_notify: bool = False
    arrivals: trio.MemorySendChannel[bytes] | None = None
    queue: trio.MemoryReceiveChannel[bytes] | None = None

    @property
    def line(self) -> bytes:
        return b"PEER %s %s:%d\n" % (self.alias, self.host.encode(), self.port)


class OldTracker:
    """The tracker; `open_old_tracker` runs one.

    Attributes:
        host, port: where it listens.
        peers: everybody who is connected.
        checksums: by name; nothing is ever removed.
        heard: every line that it has read, for tests to look at.
    """

    def __init__(self, port: int, *, fakes: bool, nursery: trio.Nursery) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.fakes = fakes
        self.peers: list[Peer] = []
        self.checksums: dict[bytes, bytes] = {}
        self.heard: list[bytes] = []
        self._nursery = nursery

    @property
    def registered(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.port]

    def holders(self, name: bytes) -> list[Peer]:
        return [peer for peer in self.registered if name in peer.files]

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            peer = Peer(stream, stream.socket.getpeername()[0])
        except OSError:
            return  # it was reset before we looked
        self.peers.append(peer)
        try:
            await stream.send_all(
                b"200-Hello.\n200-This is a tracker like those of 2007.\n200 HELP lists the commands\n"
            )
            await self._read_lines(peer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it left without QUIT, as most do
        finally:
            self.peers.remove(peer)

    async def _read_lines(self, peer: Peer) -> None:
        buffer = b""
        while True:
            line, newline, rest = buffer.partition(b"\n")
            if len(line) > MAX_LINE:
                await peer.stream.send_all(b"220 Line too long, goodbye\n")
                return
            if not newline:
                data = await peer.stream.receive_some(65536)
                if not data:
                    return
                buffer += data
                continue
            buffer = rest
            self.heard.append(line)
            words = line.split()
            if not words:
                continue
            verb = words[0].upper()
            reply = await self.answer(peer, verb, [unquoted(word) for word in words[1:]])
            await peer.stream.send_all(reply)
            if verb in (b"QUIT", b"Q"):
                return

    async def answer(self, peer: Peer, verb: bytes, words: list[bytes]) -> bytes:
        if verb in (b"QUIT", b"Q"):
            return b"200 Goodbye\n"
        if len(words) not in _WORDS.get(verb, ()):
            return b"500 Syntax error\n"
        match verb:
            case b"HELP":
                return b"".join(b"200-%s\n" % known for known in _WORDS) + b"200 QUIT\n"
            case b"ADDR":
                return self._addr(peer, *words)
            case b"HAVE":
                return self._have(peer, *words)
            case b"DONTHAVE":
                return self._donthave(peer, *words)
            case b"WANT":
                return self._want(*words)
            case b"LIST":
                names = sorted({name for one in self.registered for name in one.files})
                return b"".join(b"FILE %s\n" % quoted(name) for name in names) + b"200 Number of files: %d\n" % len(
                    names
                )
            case b"WHO":
                everybody = self._with_fakes(self.registered)
                return b"".join(everybody) + b"200 Number of peers: %d\n" % len(everybody)
            case b"MD5SUM":
                known = self.checksums.get(words[0])
                return known + b"\n200 There it is\n" if known else b"300 No checksum known\n"
            case b"CHECKPEER":
                return self._checkpeer(*words)
            case b"NOTIFY" | b"NONOTIFY":
                return self._notify(peer, verb == b"NOTIFY")
            case _:
                return await self._blocknotify(peer)

    def _addr(self, peer: Peer, alias: bytes, word: bytes) -> bytes:
        address = read_address(word)
        if peer.port:
            return b"300 Already registered\n"
        if address is None or len(alias) > MAX_ALIAS:
            return b"300 Bad alias or address\n"
        peer.alias, peer.port = alias, address[1]
        for other in self.registered:
            if other is not peer:
                self._tell(other, peer)
        if address[0] != peer.host:
            return b"220-That is not your address.\n220-I take the one that I see.\n200 Registered\n"
        return b"200 Registered\n"

    def _have(self, peer: Peer, name: bytes, checksum: bytes | None = None) -> bytes:
        if not peer.port:
            return b"300 ADDR first\n"
        if checksum is not None and not _CHECKSUM.fullmatch(checksum):
            return b"500 Bad checksum\n"
        if checksum is not None and self.checksums.get(name, checksum) != checksum:
            return b"500 Another checksum is registered\n"
        if len(peer.files) >= MAX_FILES:
            return b"300 Too many files\n"
        if checksum is not None:
            self.checksums[name] = checksum
        if name in peer.files:
            return b"220 Known already\n"
        peer.files.append(name)
        return b"200 Registered\n"

    def _donthave(self, peer: Peer, name: bytes) -> bytes:
        if name in peer.files:
            peer.files.remove(name)
        return b"200 Withdrawn\n"

    def _want(self, name: bytes) -> bytes:
        holders = self.holders(name)
        if not holders:
            return b"300 Nobody has it\n"
        lines = self._with_fakes(holders)
        return b"".join(lines) + b"200 Number of peers: %d\n" % len(lines)

    def _with_fakes(self, peers: list[Peer]) -> list[bytes]:
        lines = [peer.line for peer in peers]
        if self.fakes:  # nobody listens on port 1 of these
            lines += [b"PEER fake%d 127.66.%d.%d:1\n" % (i, i // 250, 1 + i % 250) for i in range(FAKES)]
        random.shuffle(lines)
        return lines

    def _checkpeer(self, alias: bytes, word: bytes) -> bytes:
        address = read_address(word)
        for peer in self.registered:
            if (peer.alias, (peer.host, peer.port)) == (alias, address):
                return (b"FILE %s\n" % quoted(peer.files[0]) if peer.files else b"") + b"200 Logged in\n"
        return b"300 Not logged in\n"

    def _notify(self, peer: Peer, on: bool) -> bytes:
        if not peer.port:
            return b"300 ADDR first\n" if on else b"220 Nothing to do\n"
        peer.wants_notify = on
        return b"200 As you wish\n"

    async def _blocknotify(self, peer: Peer) -> bytes:
        if peer.queue is None:
            peer.arrivals, peer.queue = trio.open_memory_channel[bytes](100)
        return await peer.queue.receive() + b"200 A new peer\n"

    def _tell(self, peer: Peer, new: Peer) -> None:
        if peer.arrivals is not None:
            try:
                peer.arrivals.send_nowait(new.line)
            except trio.WouldBlock:
                pass  # its queue is full: it hears of this one no more
        if peer.wants_notify:
            self._nursery.start_soon(self._call, peer, new)

    async def _call(self, peer: Peer, new: Peer) -> None:
        try:
            async with await trio.open_tcp_stream(peer.host, peer.port) as stream:
                await stream.send_all(b"NOTIFY %s %s:%d OSP2P\n" % (new.alias, new.host.encode(), new.port))
        except OSError:
            return  # it asked to be called and does not listen


@asynccontextmanager
async def open_old_tracker(port: int = 0, *, fakes: bool = False) -> AsyncIterator[OldTracker]:
    """Run an old tracker on loopback until the block ends."""
    (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=1000)
    async with trio.open_nursery() as nursery:
        tracker = OldTracker(listener.socket.getsockname()[1], fakes=fakes, nursery=nursery)
        nursery.start_soon(trio.serve_listeners, tracker.serve, [listener])
        yield tracker
        nursery.cancel_scope.cancel()


async def main(arguments: list[str]) -> None:
    port = next((int(argument[2:]) for argument in arguments if argument.startswith("-p")), 11111)
    async with open_old_tracker(port, fakes="-f" in arguments):
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
