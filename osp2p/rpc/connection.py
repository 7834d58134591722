"""One connection to another node, over which calls go, one at a time."""

from __future__ import annotations

import dataclasses

import trio

from osp2p.errors import (
    CallTimedOut,
    ConnectionLost,
    MalformedLine,
    NetworkError,
    NetworkFailed,
    Refused,
    RemoteProtocolError,
)
from osp2p.limits import KIB, Limits
from osp2p.net import LineConnection, Network
from osp2p.net.errors import deadline
from osp2p.rpc.identity import address_of, is_signed
from osp2p.rpc.message import Call, parse_result_words
from osp2p.rpc.serving import NOT_THIS_NODE, REPLAYED, TOO_LATE
from osp2p.wire.address import Address
from osp2p.wire.reply import Reply
from osp2p.wire.request import parse_words

HELLO = b"HELLO OSP2P/2\n"

#: Begins the line of HELLO's answer in which a node says that it takes calls; its address follows.
FEATURE = b"FEATURE call "

#: What an answer to HELLO or CALL may have of lines and bytes: a few dozen features, a few remarks.
_MAX_LINES = 100
_MAX_BYTES = 16 * KIB


class NotSent(Exception):
    """A kept connection turned out to be dead before the node answered anything."""


class CallConnection:
    """A connection behind HELLO, to whatever listens there. Made by `open_connection`.

    Attributes:
        claimed_address: of the node, as it says.
        used_at: when it was used last, by the clock of whoever keeps it.
    """

    def __init__(self, lines: LineConnection, claimed_address: str, limits: Limits) -> None:
        self._lines = lines
        self._limits = limits
        self.claimed_address = claimed_address
        self.used_at = trio.current_time()

    @property
    def remote(self) -> Address:
        """The other side's address and port."""
        return self._lines.connection.remote

    async def exchange(self, line: bytes, document: bytes, call: Call, *, kept: bool) -> bytes:
        """Send a call, and wait for its result.

        Args:
            line, document: of the call.
            kept: whether the connection was used before, so that the node may have closed it meanwhile.

        Returns: the document of the result, which is the node's: its signature holds.

        Raises:
            NotSent: the connection was dead; the same call may be sent again on another one.
            Refused: the node does not do it.
            NetworkFailed: the connection failed, or the answer is not the node's.

        Cancellation: close the connection; the node cancels the call.
        """
        try:
            await self._lines.connection.send(line + document)
            reply = await self._lines.read_reply(float("inf"))
        except NetworkError as error:
            if kept:
                raise NotSent from error
            raise NetworkFailed(str(error), may_have_run=True) from error
        except RemoteProtocolError as error:
            raise NetworkFailed(f"{self.remote}: {error}", may_have_run=True) from error
        if not reply.ok:
            raise self._refusal(reply)
        try:
            return await self._read_result(reply, call, document)
        except (NetworkError, RemoteProtocolError) as error:
            raise NetworkFailed(f"{self.remote}: {error}", may_have_run=True) from error

    def _refusal(self, reply: Reply) -> Refused | NetworkFailed | CallTimedOut:
        text = reply.text.decode("utf-8", "replace")
        if reply.code == NOT_THIS_NODE:
            return NetworkFailed(f"{self.remote}: {text}")
        if reply.code == REPLAYED:
            return NetworkFailed(f"{self.remote}: the connection failed while the call was made", may_have_run=True)
        if reply.code == TOO_LATE:  # its method had begun: to call that a refusal would invite a second call
            return CallTimedOut(f"{self.remote}: {text}")
        return Refused(reply.code, text)

    async def _read_result(self, reply: Reply, call: Call, document: bytes) -> bytes:
        """Read the bytes behind a reply, and prove them.

        Raises:
            NetworkError, RemoteProtocolError.
        """
        words = reply.data[0].split() if reply.data else []
        if len(words) < 2 or words[0] != b"RESULT":
            raise MalformedLine("answers CALL without a RESULT line")
        length, key, signature = parse_result_words(words[1], parse_words(words[2:], attributes=True)[1])
        if length > self._limits.max_call_body:
            raise MalformedLine(f"sends a result of {length} bytes")
        result = await self._read_body(length)
        if address_of(key) != call.to:
            raise MalformedLine(f"answers as {address_of(key)} in the place of {call.to}")
        if not is_signed(key, signature, call.result_text(call.text(document), result)):
            raise MalformedLine("the signature of the result is wrong")
        return result

    async def _read_body(self, length: int) -> bytes:
        if (here := self._lines.take_buffered(length)) is not None:
            return here
        body = bytearray()
        buffer = memoryview(bytearray(min(length, 64 * KIB)))
        while len(body) < length:
            count = await self._lines.receive_into(buffer[: length - len(body)])
            if not count:
                raise ConnectionLost(f"{self.remote}: closed in the middle of a result")
            body += buffer[:count]
        return bytes(body)

    def close(self) -> None:
        """Close the connection; waits for nothing."""
        self._lines.close()


async def open_connection(network: Network, where: Address, limits: Limits) -> CallConnection:
    """Connect to whatever listens somewhere, and say HELLO.

    Raises:
        NetworkFailed: nobody listens there, or nobody who takes calls.
    """
    try:
        with deadline(trio.current_time() + limits.connect_timeout, str(where)):
            connection = await network.connect(where.host, where.port)
            lines = LineConnection(
                connection, dataclasses.replace(limits, max_reply_lines=_MAX_LINES, max_reply_bytes=_MAX_BYTES)
            )
            try:
                await connection.send(HELLO)
                reply = await lines.read_reply(float("inf"))
                return CallConnection(lines, _claimed_address(reply, where), limits)
            except BaseException:
                lines.close()
                raise
    except (NetworkError, RemoteProtocolError) as error:
        raise NetworkFailed(str(error)) from error


def _claimed_address(reply: Reply, where: Address) -> str:
    """Raises: MalformedLine: the node takes no calls."""
    for line in reply.data:
        if reply.ok and line.startswith(FEATURE):
            return line.removeprefix(FEATURE).strip().decode("ascii", "replace")
    raise MalformedLine(f"{where}: whoever listens there takes no calls")
