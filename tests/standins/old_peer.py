"""Stand-ins for the uploading half of the peers of 2007, each observed habit an option."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import trio

from tests.standins.old_client import OldConnection, fetch
from tests.standins.old_tracker import quoted, unquoted


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How an old peer behaves. The defaults are the unmodified program's.

    Attributes:
        one_at_a_time: the next connection waits until this one is served (False: the descendants that fork).
        closes: whether the connection ends after the file; 18 of 43 left it open.
        sends: the file; or nothing at all, the connection staying open; or an end without a byte.
        rate: bytes per second at which the file trickles out; None: at once.
        says_quit: whether it leaves with QUIT.
        raw_names: whether it registers names as they stand on its disk, unquoted.
    """

    one_at_a_time: bool = True
    closes: bool = True
    sends: Literal["file", "nothing", "empty"] = "file"
    rate: float | None = None
    says_quit: bool = False
    raw_names: bool = False


class OldPeer:
    """An uploader; `open_old_peer` runs one.

    Attributes:
        host, port: where it listens.
        files: what it serves, by raw name.
        requests: the request lines that it has read.
        ready: set once it has registered and fetched everything, and serves.
    """

    def __init__(self, port: int, files: Mapping[bytes, bytes], habits: Habits) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.files = dict(files)
        self.habits = habits
        self.requests: list[bytes] = []
        self.ready = trio.Event()
        self._left_open: list[trio.SocketStream] = []

    async def register(self, tracker: OldConnection, alias: bytes) -> None:
        await tracker.read_answer()
        await tracker.ask(b"ADDR %s %s:%d" % (alias, self.host.encode(), self.port))
        for name in self.files:
            await tracker.ask(b"HAVE " + (name if self.habits.raw_names else quoted(name)))

    async def fetch_all(self, tracker: OldConnection, wants: Sequence[bytes]) -> None:
        """Fetch each file in turn; who connects meanwhile waits in the kernel's queue."""
        for name in wants:
            content = await fetch(tracker, quoted(name))
            if content is not None:
                self.files[name] = content
                await tracker.ask(b"HAVE " + quoted(name))

    async def serve(self, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                stream = await listener.accept()
                if self.habits.one_at_a_time:
                    await self._serve_one(stream)
                else:
                    nursery.start_soon(self._serve_one, stream)

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        try:
            content = await self._read_request(stream)
            if content is not None and self.habits.sends == "nothing":
                await trio.sleep_forever()
            if content is not None and self.habits.sends == "file":
                await self._send(stream, content)
                if not self.habits.closes:
                    self._left_open.append(stream)
        except trio.BrokenResourceError:
            return  # the downloader is gone
        finally:
            if stream not in self._left_open:
                stream.socket.close()

    async def _read_request(self, stream: trio.SocketStream) -> bytes | None:
        """Returns: the content asked for, or None for whatever is wrong, HELLO included."""
        line = b""
        while b"\n" not in line:
            data = await stream.receive_some(4096)
            if not data or len(line) > 4096:
                return None
            line += data
        line = line.partition(b"\n")[0]
        self.requests.append(line)
        words = line.split()
        if len(words) != 3 or words[0] != b"GET" or words[2] != b"OSP2P":
            return None
        return self.files.get(unquoted(words[1]))

    async def _send(self, stream: trio.SocketStream, content: bytes) -> None:
        if self.habits.rate is None:
            await stream.send_all(content)
            return
        step = max(1, int(self.habits.rate / 20))
        begun = trio.current_time()
        for start in range(0, len(content), step):
            await trio.sleep_until(begun + start / self.habits.rate)
            await stream.send_all(content[start : start + step])


@asynccontextmanager
async def open_old_peer(
    files: Mapping[bytes, bytes],
    habits: Habits = Habits(),
    *,
    tracker: tuple[str, int] | None = None,
    alias: bytes = b"old1",
    wants: Sequence[bytes] = (),
) -> AsyncIterator[OldPeer]:
    """Run an old peer on loopback until the block ends.

    With a tracker it registers before the block begins; fetching `wants` and serving go on beside the block.
    """
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1000)
    peer = OldPeer(listener.socket.getsockname()[1], files, habits)

    async def work(connection: OldConnection | None) -> None:
        if connection is not None:
            await peer.fetch_all(connection, wants)
        peer.ready.set()
        await peer.serve(listener)

    async with listener, trio.open_nursery() as nursery:
        if tracker is None:
            nursery.start_soon(work, None)
            yield peer
        else:
            async with await trio.open_tcp_stream(*tracker) as stream:
                connection = OldConnection(stream)
                await peer.register(connection, alias)
                nursery.start_soon(work, connection)
                yield peer
                if habits.says_quit:
                    await connection.ask(b"QUIT")
        nursery.cancel_scope.cancel()
    for left in peer._left_open:
        left.socket.close()
