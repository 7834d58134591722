"""XML-RPC over HTTP on the same port: any language's client calls any node through its own.

``service.method`` is called here, ``ADDRESS.service.method`` at that node, in this node's name. So whoever may speak to
this door may speak for the node: only programs of this machine may, unless its user says otherwise. A browser on this
machine is not such a program, since any page can have it send requests. What gives it away is refused: ``Origin``,
``Sec-Fetch-Site``, a ``Host`` that is a name (which its owner may point at this machine), and every content type that a
page could send without being asked back.

Source: the XML-RPC specification; RFC 9112; the Fetch standard, for what a page can send.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from osp2p.errors import CallTimedOut, ConnectionLost, Fault, MalformedDocument, MalformedLine, Refused
from osp2p.limits import KIB, Limits
from osp2p.net import LineConnection, Visit
from osp2p.net.admission import source_of
from osp2p.net.errors import deadline
from osp2p.rpc.calls import Calls
from osp2p.rpc.document import NO_SUCH_METHOD, NOT_WELL_FORMED, Value, parse_call, write_fault
from osp2p.rpc.large import read_document
from osp2p.rpc.message import is_address
from osp2p.rpc.services import NO_METHOD, NO_SUCH_SERVICE, SYSTEM, fault_of, multicall
from osp2p.rpc.serving import Shares, write_bounded
from osp2p.wire.address import Address

if TYPE_CHECKING:
    import h11

logger = logging.getLogger("osp2p.rpc")

#: Where calls are posted to. Source: what clients do when nobody tells them.
PATHS = (b"/RPC2", b"/")

_READ_BYTES = 64 * KIB


class HttpError(Exception):
    """A request that is no call; carries the status that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class HttpDoor:
    """Answers XML-RPC over HTTP.

    Args:
        calls: of this node.
        anywhere: whether programs of other machines may call in this node's name, too.
    """

    def __init__(self, calls: Calls, limits: Limits, *, anywhere: bool = False) -> None:
        self._calls = calls
        self._limits = limits
        self._anywhere = anywhere
        self._running = trio.CapacityLimiter(limits.max_calls)
        self._of_strangers = Shares(limits.max_calls, limits.max_calls_per_host)

    async def serve_http(self, lines: LineConnection, first_line: bytes, visit: Visit) -> None:
        """Answer requests on one connection until it ends.

        Args:
            first_line: has been read already; without its LF.

        Raises:
            NetworkError: the connection failed, or the client has left.
        """
        import h11

        http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.max_http_head)
        exchange = _Exchange(http, lines, self._limits, self._calls.server.documents)
        http.receive_data(first_line + b"\n")
        try:
            while (document := await exchange.read_request(self._check)) is not None:
                visit.heard = True
                visit.busy = True
                end = await self._begin(lines.connection.remote)
                try:
                    answer = await self._answer(lines, document)
                finally:
                    end()
                visit.busy = False
                exchange.forget_body()
                await exchange.respond(200, b"text/xml", answer)
                if not await exchange.next():
                    return
        except h11.RemoteProtocolError as error:
            await exchange.refuse(HttpError(error.error_status_hint, str(error)))
        except HttpError as error:
            await exchange.refuse(error)
        finally:
            exchange.forget_body()

    async def _begin(self, remote: Address) -> Callable[[], None]:
        """Wait until one more call of a program of this machine may be carried out. Others are told to come again.

        Returns: what is to be called once it has been.

        Raises:
            HttpError.
        """
        if not remote.is_loopback:
            source = source_of(remote.host)
            if not self._of_strangers.take(source, 1):
                raise HttpError(503, "too many calls are carried out already")
            return partial(self._of_strangers.give_back, source, 1)
        try:
            self._running.acquire_nowait()  # the way that costs no turn of the scheduler
        except trio.WouldBlock:
            await self._running.acquire()
        return self._running.release

    def _check(self, request: h11.Request, lines: LineConnection) -> None:
        """Refuse whoever may not call, before his document is read.

        Raises:
            HttpError.
        """
        headers = dict(request.headers)
        if sum(len(name) + len(value) for name, value in request.headers) > self._limits.max_http_head:
            raise HttpError(431, f"the head of a request has at most {self._limits.max_http_head} bytes")
        if not self._anywhere and not lines.connection.remote.is_loopback:
            raise HttpError(403, "only programs of this machine may call through this node")
        if b"origin" in headers or b"sec-fetch-site" in headers:
            raise HttpError(403, "web pages may not call through this node")
        if b"host" in headers and not self._may_be_host(headers[b"host"]):
            raise HttpError(403, "a Host is localhost or an address here, not a name")
        if request.method != b"POST":
            raise HttpError(405, "calls are posted")
        if request.target not in PATHS:
            raise HttpError(404, "calls are posted to /RPC2")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"text/xml":
            raise HttpError(415, "a call is text/xml")
        if b"content-encoding" in headers:
            raise HttpError(415, "a call is not compressed")
        if int(headers.get(b"content-length", b"0")) > self._limits.max_call_body:
            raise HttpError(413, f"a call has at most {self._limits.max_call_body} bytes")

    def _may_be_host(self, header: bytes) -> bool:
        """Whether no name but ``localhost`` stands there: an address, with or without a port."""
        text = header.decode("latin-1").strip().lower()
        host = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback or self._anywhere
        except ValueError:
            return False

    async def _answer(self, lines: LineConnection, document: bytes) -> bytes:
        """Carry out a call for as long as its client is there. Returns: the document of the result or fault.

        Raises:
            ConnectionLost: the client has left.
        """
        remote = lines.connection.remote
        seconds = self._limits.max_call_time
        attendances = self._calls.server.attendances
        try:
            async with attendances.attend(lines, trio.current_time() + seconds) as attendance:
                method, arguments = await read_document(parse_call, document)
                return write_bounded(await self._call(remote, method, arguments), self._limits)
        except MalformedDocument as error:
            return write_fault(Fault(NOT_WELL_FORMED, str(error)))
        except Exception as error:
            logger.info("a call over HTTP failed", exc_info=error)
            return write_fault(_fault(error))
        if attendance.left:
            raise ConnectionLost(f"{remote}: left before its call was answered")
        return write_fault(fault_of(CallTimedOut(f"not done within {seconds:g} s")))

    async def _call(self, remote: Address, method: str, arguments: list[Value]) -> Any:
        if method == f"{SYSTEM}.multicall" and len(arguments) == 1 and isinstance(arguments[0], list):
            return await multicall(arguments[0], partial(self._call, remote), self._limits)
        address, _, rest = method.partition(".")
        if address.lower() == self._calls.address:
            method = rest
        elif is_address(address.lower()):
            return await self._calls.call(address.lower(), rest, *arguments, timeout=self._limits.max_call_time)
        stranger = None if remote.is_loopback else remote
        return await self._calls.answer_here(method, arguments, self._limits.max_call_time, stranger)


def _fault(error: Exception) -> Fault:
    if isinstance(error, MalformedLine) or (isinstance(error, Refused) and error.code in (NO_SUCH_SERVICE, NO_METHOD)):
        return Fault(NO_SUCH_METHOD, str(error))
    return fault_of(error)


class _Exchange:
    """The bytes of requests and responses on one connection."""

    def __init__(self, http: h11.Connection, lines: LineConnection, limits: Limits, documents: Shares) -> None:
        self._http = http
        self._lines = lines
        self._limits = limits
        self._documents = documents
        self._source = source_of(lines.connection.remote.host)
        self._held = 0
        self._head_only = False

    async def read_request(self, check: Any) -> bytes | None:
        """Read a request.

        Args:
            check: is given its head, and may refuse it.

        Returns: its body, which counts until `forget_body`; None if the client has ended instead.

        Raises:
            HttpError, h11.RemoteProtocolError, NetworkError.
        """
        with deadline(trio.current_time() + self._limits.call_body_timeout, str(self._lines.connection.remote)):
            return await self._read_request(check)

    async def _read_request(self, check: Any) -> bytes | None:
        import h11

        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(self._lines.take_what_is_here() or await self._receive())
            elif isinstance(event, h11.Request):
                self._head_only = event.method == b"HEAD"
                check(event, self._lines)
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._limits.max_call_body:
                    raise HttpError(413, f"a call has at most {self._limits.max_call_body} bytes")
                if not self._documents.take(self._source, len(event.data)):
                    raise HttpError(503, "too many bytes of calls are under way")
                self._held += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            else:
                return None

    async def _receive(self) -> bytes:
        """Wait for more bytes. Returns: none when the client has ended its direction."""
        return await self._lines.connection.receive(_READ_BYTES)

    def forget_body(self) -> None:
        """The body that was read last is of no more use."""
        self._documents.give_back(self._source, self._held)
        self._held = 0

    async def respond(self, status: int, content_type: bytes, body: bytes, *, close: bool = False) -> None:
        """Send a response."""
        import h11

        headers = [(b"Content-Type", content_type), (b"Content-Length", b"%d" % len(body))]
        if close:
            headers.append((b"Connection", b"close"))
        if status == 405:
            headers.append((b"Allow", b"POST"))
        response = h11.Response(status_code=status, headers=headers)
        await self._send(response, h11.Data(data=b"" if self._head_only else body), h11.EndOfMessage())

    async def _send(self, *events: Any) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        await self._lines.send(data, trio.current_time() + self._limits.send_timeout)

    async def refuse(self, error: HttpError) -> None:
        """Say what is wrong with a request; the connection is of no more use."""
        import h11

        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.respond(error.status, b"text/plain; charset=utf-8", f"{error}\n".encode(), close=True)

    async def next(self) -> bool:
        """Wait for the next request. Returns: False if there will be none."""
        import h11

        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        try:
            if self._http.trailing_data[0]:
                await trio.lowlevel.checkpoint()  # whoever sends requests ahead does not have all turns
            else:
                await self._lines.wait_begun(trio.current_time() + self._limits.idle_timeout)
        except ConnectionLost:
            return False
        return True
