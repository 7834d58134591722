"""Simple peers inside the lab's own process: hundreds of them cost nothing, and they can be slow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NoReturn

import trio

from osp2p.errors import ConnectionLost, TrackerRefused
from osp2p.limits import Limits
from osp2p.net import Connection, LineConnection, TcpNetwork, serve_connections
from osp2p.net.groups import one_error
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from osp2p.wire.request import parse_request, write_request

#: How many pieces a second a slow one sends.
_PIECES = 20


async def run_holder(
    tracker: Address,
    alias: bytes,
    contents: Mapping[bytes, bytes],
    rate: float | None,
    limits: Limits,
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Be a peer that speaks the base protocol alone; runs until cancelled.

    Args:
        tracker: where it registers, with checksums.
        alias: what it calls itself.
        contents: what it serves, by raw name.
        rate: bytes per second at which a file trickles out; None: at once.
        limits: those of talking to a tracker and of serving.
        task_status: gets its address once everything is registered.

    Raises:
        NetworkError, TrackerRefused: the tracker does not take it, or is gone.
    """
    network = TcpNetwork()
    listener = await network.listen(0, "127.0.0.1")

    async def serve(connection: Connection) -> None:
        lines = LineConnection(connection, limits)
        line = await lines.read_line(trio.current_time() + limits.request_timeout)
        request = parse_request(line) if line else None
        if request is None or request.verb != b"GET" or not request.words or request.words[0] not in contents:
            return  # as an old peer: closes without a byte
        await _send(connection, contents[request.words[0]], rate)
        await connection.send_eof()
        with trio.move_on_after(limits.linger_timeout):
            while await connection.receive(4096):  # its close, so that no unread byte turns ours into a reset
                pass

    try:
        connection = await network.connect(tracker.host, tracker.port)
        try:
            with one_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(serve_connections, listener, serve, limits)
                    lines = LineConnection(connection, limits)
                    await _register(lines, alias, listener.address.port, contents, limits)
                    task_status.started(listener.address)
                    while True:
                        await trio.sleep(limits.keepalive_interval)
                        await lines.send(b"\n", trio.current_time() + limits.send_timeout)
        finally:
            connection.close()
    finally:
        listener.close()
    raise AssertionError("the loop has no end")


async def _register(
    lines: LineConnection, alias: bytes, port: int, contents: Mapping[bytes, bytes], limits: Limits
) -> None:
    await lines.read_reply(trio.current_time() + limits.greeting_timeout)
    requests = [write_request(b"ADDR", alias, f"127.0.0.1:{port}".encode())]
    for name, content in contents.items():
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        requests.append(write_request(b"HAVE", name, write_md5(digest)))
    at = trio.current_time() + limits.reply_timeout
    await lines.send(b"".join(requests), at)
    for request in requests:
        reply = await lines.read_reply(at)
        if not reply.ok:
            raise TrackerRefused(reply.code, f"the tracker refuses {request!r}: {reply.text!r}")


async def _send(connection: Connection, content: bytes, rate: float | None) -> None:
    if rate is None:
        await connection.send(content)
        return
    step = max(1, int(rate / _PIECES))
    begun = trio.current_time()
    for start in range(0, len(content), step):
        await trio.sleep_until(begun + start / rate)
        try:
            await connection.send(content[start : start + step])
        except ConnectionLost:
            return  # the downloader has had enough
