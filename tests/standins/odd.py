"""Odd old ones: requests that no grammar knows, commands of several children on one connection, names of raw bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import trio

from tests.standins.old_client import OldConnection

CHECKUPLOAD = b"CHECKUPLOAD cat3.jpg successful!\n"

#: Names as some old peers really registered them: not quoted, bytes above 127 as they stand on their disk.
RAW_NAMES = (b"caf\xe9.txt", b"\xfcbung3.pdf", b"\xe5\x9b\xbe.png")


async def send_odd_request(host: str, port: int, line: bytes = CHECKUPLOAD) -> bytes:
    """Connect, send one line, and read until the other side closes. Returns: what it said."""
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all(line)
        try:
            return b"".join([data async for data in stream])
        except trio.BrokenResourceError:
            return b""


async def run_forked_children(connection: OldConnection, scripts: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Let several children send their lines over one tracker connection that none of them owns.

    None waits for an answer: with the parent's socket in all their hands, an answer is read by whoever comes first.

    Args:
        connection: its greeting has been read.
        scripts: each child's lines, without LF.

    Returns: the terminators of all answers, in the order in which they came.
    """
    socket = connection.stream.socket

    async def child(lines: Sequence[bytes]) -> None:
        for line in lines:
            await socket.send(line + b"\n")

    async with trio.open_nursery() as nursery:
        for lines in scripts:
            nursery.start_soon(child, lines)
        received = b""
        terminators: list[bytes] = []
        while len(terminators) < sum(map(len, scripts)):
            data = await socket.recv(4096)
            if not data:
                raise ConnectionError("the tracker closed the connection of the children")
            received += data
            complete = received[: received.rfind(b"\n") + 1]
            terminators = re.findall(rb"(?m)^\d\d\d .*$", complete)
        return terminators
