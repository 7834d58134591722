"""The verb CALL, the serving side: a call is proved, carried out, and answered with a result that is proved too."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio

from osp2p.errors import (
    ConnectionLost,
    Fault,
    LocalProtocolError,
    MalformedDocument,
    Refused,
)
from osp2p.limits import KIB, Limits
from osp2p.net import LineConnection, Visit
from osp2p.net.admission import source_of
from osp2p.net.errors import deadline
from osp2p.rpc.document import INTERNAL_ERROR, NOT_WELL_FORMED, parse_call, write_fault, write_result
from osp2p.rpc.handler import Context
from osp2p.rpc.identity import Identity, address_of, is_signed
from osp2p.rpc.large import read_document
from osp2p.rpc.leaving import Attendances
from osp2p.rpc.message import Call, parse_call_words, write_result_line
from osp2p.rpc.replay import Full, Replayed, ReplayGuard, Stale
from osp2p.rpc.services import Services, fault_of
from osp2p.wire.reply import write_reply
from osp2p.wire.request import Request

logger = logging.getLogger("osp2p.rpc")

#: Codes of refusals. Source: docs/rpc.md.
BUSY = 303
NOT_THIS_NODE = 310
BAD_SIGNATURE = 313
REPLAYED = 314
WRONG_TIME = 315
TOO_LARGE = 316
TOO_LATE = 317

_READ_BYTES = 64 * KIB


class Session(Protocol):
    """What CALL needs of a session behind HELLO."""

    ended: bool
    visit: Visit

    @property
    def lines(self) -> LineConnection:
        """The connection."""

    async def flush(self) -> None:
        """Send what waits to be sent."""

    async def put(self, data: bytes) -> None:
        """Put bytes behind what waits to be sent."""


class _Refusal(Exception):
    """A call that is not carried out.

    Args:
        data: data lines for a program.
        ends: whether the connection cannot go on, or does not deserve to.
    """

    def __init__(self, code: int, text: str, data: Sequence[bytes] = (), *, ends: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.data = data
        self.ends = ends


class Shares:
    """Something of which there is so much altogether, and so much for one source."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._taken: Counter[str] = Counter()
        self._total = 0

    def take(self, source: str, count: int) -> bool:
        """Take some. Returns: False if there is not enough left; then nothing was taken."""
        if self._total + count > self._most or self._taken[source] + count > self._most_of_one:
            return False
        self._total += count
        self._taken[source] += count
        return True

    def give_back(self, source: str, count: int) -> None:
        """Give back what was taken."""
        self._total -= count
        self._taken[source] -= count
        if not self._taken[source]:
            del self._taken[source]


class CallServer:
    """Answers calls. `answer` is the verb's handler.

    Args:
        identity: the node's.
        services: what can be called.
        now: milliseconds since 1970.

    Attributes:
        attendances: the calls that are carried out; somebody has to run it, so that callers who leave are noticed.
        documents: how many bytes of documents there may be, however they come.
    """

    def __init__(self, identity: Identity, services: Services, limits: Limits, now: Callable[[], int]) -> None:
        self._identity = identity
        self._services = services
        self._limits = limits
        self._now = now
        self.attendances = Attendances(limits)
        self._guard = ReplayGuard(limits, now())
        self.documents = Shares(limits.max_call_bytes, limits.max_call_bytes // 2)
        self._calls = Shares(limits.max_calls, limits.max_calls_per_host)

    async def answer(self, session: Session, request: Request) -> None:
        """Answer one call.

        Raises:
            MalformedLine: the line of the call; the session is over, as nobody knows where the document ends.
            NetworkError: the connection failed, or the caller has left.

        Cancellation: what the call awaits is cancelled. So it is when the caller leaves.
        """
        call, signature = parse_call_words(request.words[0], request.attributes)
        source = source_of(session.lines.connection.remote.host)
        held = 0
        try:
            document = session.lines.take_buffered(min(call.length, self._limits.max_call_body))
            if document is None or len(document) < call.length:
                document = await self._read(session.lines, call.length, source)
                held = len(document)
            await session.put(await self._serve(session, call, signature, document, source))
        except _Refusal as refusal:
            session.ended = session.ended or refusal.ends
            await session.put(write_reply(refusal.code, str(refusal).encode(), refusal.data))
        finally:
            self.documents.give_back(source, held)

    async def _read(self, lines: LineConnection, length: int, source: str) -> bytes:
        """Read the document behind a call's line. What finds no room is read over, so that the connection can go on.

        Returns: the document, whose bytes are to be given back.

        Raises:
            _Refusal, NetworkError.
        """
        if length > self._limits.max_call_body:
            most = self._limits.max_call_body
            raise _Refusal(TOO_LARGE, f"a document has at most {most} bytes here", [b"MOST %d" % most], ends=True)
        document = bytearray()
        fits = False
        try:
            with deadline(trio.current_time() + self._limits.call_body_timeout, str(lines.connection.remote)):
                fits = await self._receive(lines, length, document, source)
        finally:
            if not fits:
                self.documents.give_back(source, len(document))
        if not fits:
            raise self._busy("too many bytes of calls are under way")
        return bytes(document)

    async def _receive(self, lines: LineConnection, length: int, document: bytearray, source: str) -> bool:
        """Put received bytes to a document, as long as there is room for them. Returns: whether it is whole.

        Raises:
            ConnectionLost.
        """
        buffer = memoryview(bytearray(min(length, _READ_BYTES)))
        fits = True
        while length:
            count = await lines.receive_into(buffer[:length])
            if not count:
                raise ConnectionLost(f"{lines.connection.remote}: closed in the middle of a document")
            length -= count
            if fits := fits and self.documents.take(source, count):
                document += buffer[:count]
        return fits

    def _busy(self, text: str, retry_ms: int | None = None) -> _Refusal:
        return _Refusal(BUSY, text, [b"RETRY %d" % (retry_ms or int(self._limits.busy_retry * 1000))])

    async def _serve(self, session: Session, call: Call, signature: bytes, document: bytes, source: str) -> bytes:
        """Carry a call out. Returns: the whole reply."""
        if not self._calls.take(source, 1):
            raise self._busy("too many calls are carried out already")
        session.visit.busy = True
        try:
            text = self._prove(call, signature, document, source)
            result = await self._carry_out(call, document, session)
        finally:
            session.visit.busy = False
            self._calls.give_back(source, 1)
        key, sign = self._identity.key, self._identity.sign
        line = write_result_line(len(result), key, sign(call.result_text(text, result)))
        return write_reply(200, b"done", [line]) + result

    def _prove(self, call: Call, signature: bytes, document: bytes, source: str) -> bytes:
        """Make sure that a call is its caller's, for this node, of now, and new.

        What costs nothing is looked at first; who lies about a signature loses the connection.

        Returns: the text that was signed.

        Raises:
            _Refusal.
        """
        if call.to != self._identity.address:
            raise _Refusal(NOT_THIS_NODE, f"this is not {call.to}")
        text = call.text(document)
        now = self._now()
        try:
            self._guard.check_time(call.time, now)
            if address_of(call.key) != call.sender or not is_signed(call.key, signature, text):
                raise _Refusal(BAD_SIGNATURE, "the signature is not the caller's", ends=True)
            self._services.find(call.method)
            self._guard.take(call.sender, call.nonce, call.time, now, source)
        except Stale as error:
            raise _Refusal(WRONG_TIME, str(error), [b"NOW %d" % now]) from None
        except Replayed:
            raise _Refusal(REPLAYED, "this call was taken before", ends=True) from None
        except Full as full:
            raise self._busy("too many calls are remembered", full.retry_ms) from None
        except Refused as refused:
            raise _Refusal(refused.code, str(refused)) from None
        return text

    async def _carry_out(self, call: Call, document: bytes, session: Session) -> bytes:
        """Read the document, call the method, write the result, for as long as the caller is there.

        Returns: the document of the result, or of the fault: whatever the method raises is one.

        Raises:
            ConnectionLost: the caller has left.
            _Refusal: it was not done in time.
        """
        await session.flush()
        remote = session.lines.connection.remote
        seconds = min(call.timeout / 1000, self._limits.max_call_time)
        until = trio.current_time() + seconds
        try:
            async with self.attendances.attend(session.lines, until) as attendance:
                return await self._invoke(call, document, Context(call.sender, call.method, until, remote))
        except Exception as error:
            logger.info("%s of %s failed", call.method, call.sender, exc_info=error)
            return write_fault(fault_of(error))
        if attendance.left:
            raise ConnectionLost(f"{remote}: left before its call was answered")
        raise _Refusal(TOO_LATE, f"not done within {seconds:g} s")

    async def _invoke(self, call: Call, document: bytes, context: Context) -> bytes:
        """Raises: Fault, and what the method raises."""
        try:
            method, arguments = await read_document(parse_call, document)
        except MalformedDocument as error:
            raise Fault(NOT_WELL_FORMED, str(error)) from None
        if method != call.method:
            raise Fault(NOT_WELL_FORMED, "the document calls another method than the line")
        value = await self._services.invoke(method, arguments, context)
        return write_bounded(value, self._limits)


def write_bounded(value: Any, limits: Limits) -> bytes:
    """Write the document of a result.

    It is written here and not in a thread, where it could be written while its owner changes it.

    Raises:
        Fault: it cannot travel, or is too large.
    """
    try:
        document = write_result(value)
    except LocalProtocolError as error:
        raise Fault(INTERNAL_ERROR, f"the result cannot be sent: {error}") from None
    if len(document) > limits.max_call_body:
        raise Fault(INTERNAL_ERROR, f"the result has more than {limits.max_call_body} bytes")
    return document
