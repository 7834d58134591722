"""Company for a graded downloader: holders as honest as those of 2007, and a tracker that believes any name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import trio

from osp2p.errors import ConnectionLost, TrackerRefused
from osp2p.limits import DEFAULT
from osp2p.net import Connection, LineConnection, Network, serve_connections
from osp2p.net.groups import one_error
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from osp2p.wire.reply import write_reply
from osp2p.wire.request import Request, parse_request, write_request
from osp2p.wire.word import quote

_LOOPBACK = "127.0.0.1"


def checksum_of(content: bytes) -> bytes:
    """A content's checksum as the protocol writes it."""
    return write_md5(hashlib.md5(content, usedforsecurity=False).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a holder behaves.

    Attributes:
        closes: whether it closes behind the file; many old ones do not.
        answers: whether it serves at all, or closes without a byte.
        checksums: whether it registers them.
    """

    closes: bool = True
    answers: bool = True
    checksums: bool = True


HONEST = Manners()
"""As the program of 2007 behaved."""


async def run_holder(
    network: Network,
    tracker: Address,
    alias: bytes,
    contents: Mapping[bytes, bytes],
    manners: Manners = HONEST,
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Be a holder that speaks the base protocol alone; runs until cancelled.

    Args:
        contents: what it serves, by raw name.
        task_status: gets its address once everything is registered.

    Raises:
        NetworkError, TrackerRefused: the tracker does not take it, or is gone.
    """
    listener = await network.listen(0, _LOOPBACK)

    async def serve(connection: Connection) -> None:
        lines = LineConnection(connection, DEFAULT)
        line = await lines.read_line(trio.current_time() + DEFAULT.request_timeout)
        request = parse_request(line) if line else None
        if request is None or not _is_for(request, contents) or not manners.answers:
            return
        await connection.send(contents[request.words[0]])
        if manners.closes:
            await connection.send_eof()
        with trio.move_on_after(DEFAULT.linger_timeout if manners.closes else float("inf")):
            while await connection.receive(4096):  # its close, so that no unread byte turns ours into a reset
                pass

    try:
        connection = await network.connect(tracker.host, tracker.port)
        try:
            with one_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(serve_connections, listener, serve, DEFAULT)
                    lines = LineConnection(connection, DEFAULT)
                    await _register(lines, alias, listener.address, contents, manners)
                    task_status.started(listener.address)
                    await trio.sleep_forever()
        finally:
            connection.close()
    finally:
        listener.close()
    raise AssertionError("only cancellation ends it")


def _is_for(request: Request, contents: Mapping[bytes, bytes]) -> bool:
    words = request.words
    return request.verb == b"GET" and len(words) == 2 and words[1].upper() == b"OSP2P" and words[0] in contents


async def _register(
    lines: LineConnection, alias: bytes, own: Address, contents: Mapping[bytes, bytes], manners: Manners
) -> None:
    await lines.read_reply(trio.current_time() + DEFAULT.greeting_timeout)
    requests = [write_request(b"ADDR", alias, str(own).encode())]
    for name, content in contents.items():
        requests.append(write_request(b"HAVE", name, *([checksum_of(content)] if manners.checksums else [])))
    at = trio.current_time() + DEFAULT.reply_timeout
    await lines.send(b"".join(requests), at)
    for request in requests:
        reply = await lines.read_reply(at)
        if not reply.ok:
            raise TrackerRefused(reply.code, f"the tracker refuses {request!r}: {reply.text!r}")


class LooseTracker:
    """A tracker that takes any name, as that of 2007 did, and knows nothing but what it is told."""

    def __init__(self) -> None:
        self._holders: dict[bytes, list[bytes]] = {}
        self._checksums: dict[bytes, bytes] = {}

    async def serve(
        self, network: Network, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until cancelled."""
        listener = await network.listen(0, _LOOPBACK)
        try:
            task_status.started(listener.address)
            await serve_connections(listener, self._converse, DEFAULT)
        finally:
            listener.close()

    async def _converse(self, connection: Connection) -> None:
        lines = LineConnection(connection, DEFAULT)
        await connection.send(write_reply(200, b"at your service"))
        own = b""
        try:
            while (line := await lines.read_line(float("inf"))) is not None:
                request = parse_request(line)
                if request is not None:
                    if request.verb == b"ADDR" and len(request.words) == 2:
                        own = b"PEER %s %s" % (quote(request.words[0]), request.words[1])
                    await connection.send(self._answer(request, own))
                    if request.verb in (b"QUIT", b"Q"):
                        return
        except ConnectionLost:
            return

    def _answer(self, request: Request, own: bytes) -> bytes:
        match request.verb, request.words:
            case b"HELP" | b"QUIT" | b"Q" | b"ADDR", _:
                return write_reply(200, b"done")
            case b"LIST", _:
                return write_reply(200, b"that is all", [b"FILE " + quote(name) for name in self._holders])
            case b"WHO", _:
                everybody = {line: None for lines in self._holders.values() for line in lines}
                return write_reply(200, b"that is all", everybody)
            case b"HAVE", (name, *checksum):
                self._holders.setdefault(name, []).append(own)
                self._checksums.update((name, one) for one in checksum)
                return write_reply(200, b"registered")
            case b"WANT", (name,) if name in self._holders:
                return write_reply(200, b"that is all", self._holders[name])
            case b"MD5SUM", (name,) if name in self._checksums:
                return write_reply(200, b"as registered", [self._checksums[name]])
            case b"WANT" | b"MD5SUM", (_,):
                return write_reply(300, b"nobody has it")
            case _:
                return write_reply(500, b"what?")
