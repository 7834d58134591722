"""OSP2P/2 between peers, the serving side: many requests on one connection, pipelined, answered in order."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import TypeAlias

import trio

from osp2p.content.chunks import HASH_LENGTH, chunk_bounds, chunk_count, chunk_size
from osp2p.errors import (
    LineTooLong,
    MalformedLine,
    Osp2pError,
    RemoteProtocolError,
    SourceChanged,
    StoreError,
    UnsafeName,
)
from osp2p.limits import KIB, Limits
from osp2p.net import Connection, LineConnection, Visit
from osp2p.net.errors import disk_errors
from osp2p.net.lane import Making, make_at_once
from osp2p.peer.events import Report, Uploaded
from osp2p.peer.offer import Offer, Shelf
from osp2p.peer.sending import Sender
from osp2p.peer.slots import UploadSlots
from osp2p.wire.chunk_list import write_chunk_lines
from osp2p.wire.entry import FileEntry, parse_b3, parse_number, write_file_line
from osp2p.wire.ranges import parse_ranges, write_ranges
from osp2p.wire.reply import write_reply
from osp2p.wire.request import Request
from osp2p.wire.table import VerbTable

#: Bodies up to this length are copied behind their reply, so that many small files leave in one system call.
_SMALL = 64 * KIB

#: After how many requests that were sent ahead the other connections have a turn.
_LINES_AT_ONCE = 64

#: A chunk list of more than so many is made when it is this client's turn.
_MANY_CHUNKS = 500

#: So many lines of a long reply are made in one go.
_SLICE_LINES = 200

#: What HELLO is answered with.
FEATURES = (b"FEATURE content b3", b"FEATURE range", b"FEATURE any", b"FEATURE held")


class _Refusal(RemoteProtocolError):
    """A request that is understood and not served: its code, and data lines for a program."""

    def __init__(self, code: int, text: str, data: Sequence[bytes] = ()) -> None:
        super().__init__(text, code)
        self.data = data


class Session:
    """One connection behind HELLO.

    Args:
        lines: the connection; HELLO has been read.
        shelf: what may be served, and nothing else.
        report: takes `Uploaded`.
        visit: is told that the client has been heard, and that it is being served; None: nobody is.
        verbs: what is understood here; None: only what concerns files.
        features: the lines that HELLO is answered with.

    Where the protocol leaves a choice:

    - STAT with a ``since=`` that this holder knows is answered with ``SINCE n`` and only the chunks gained since then;
      without it, or with one that is unknown (of an earlier process, for one), with all of them. Once everything is
      here, that is ``HAVE all``, but for ``since=`` the last serial: then nothing has changed.
    - Of equally seldom sent chunks in ``any=``, the first one that was not sent on this connection yet. A chunk counts
      as sent when it is chosen, so that of many who ask at a time each is given another one.
    - A line that is too long is answered 500, and ends the connection.
    """

    def __init__(
        self,
        lines: LineConnection,
        shelf: Shelf,
        sender: Sender,
        slots: UploadSlots,
        limits: Limits,
        report: Report,
        visit: Visit | None = None,
        verbs: PeerVerbs | None = None,
        features: Iterable[bytes] = FEATURES,
    ) -> None:
        self.lines = lines
        self.visit = visit or Visit(lines.connection)
        self.verbs = verbs or VERBS
        self._features = features
        self.shelf = shelf
        self.limits = limits
        self._sender = sender
        self._slots = slots
        self._report = report
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._told: dict[Offer, int] = {}
        self._open: tuple[Offer, int] | None = None
        self._sent = 0
        self._served_at = float("-inf")
        self._given: tuple[Offer | None, int] = (None, 0)
        self.ended = False

    @property
    def _connection(self) -> Connection:
        return self.lines.connection

    async def run(self) -> None:
        """Answer until the other side ends, says QUIT, or breaks a limit.

        Raises:
            NetworkError: the connection failed.
            SourceChanged, StoreError: in the middle of an answer; the connection is of no more use.
        """
        await self.reply(200, b"hello", self._features)
        try:
            answered = 0
            while not self.ended and (line := await self._next_line()) is not None:
                await self._answer(line)
                answered += 1
                if answered % _LINES_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
        except LineTooLong as error:
            await self.reply(500, str(error).encode())
        finally:
            self._close_file()
            self._slots.lane.release(self.visit)
        await self.flush()

    async def _next_line(self) -> bytes | None:
        """The next request. What is waiting to be sent goes out before this waits.

        A file does not stay open for who asks for nothing more: it may be one that has been removed to free its space.
        """
        line = self.lines.buffered_line()
        if line is None:
            await self.flush()
            idle_until = trio.current_time() + self.limits.idle_timeout
            if self._open is not None:
                with trio.move_on_at(self._served_at + self.limits.served_grace):
                    return await self.lines.read_line(idle_until, self.limits.line_timeout)
                self._close_file()
            line = await self.lines.read_line(idle_until, self.limits.line_timeout)
        return line

    async def _answer(self, line: bytes) -> None:
        try:
            found = self.verbs.parse(line, hello=True)
            if found is not None:
                verb, request = found
                self.visit.heard = True
                await verb.handler(self, request)
        except _Refusal as refusal:
            await self.reply(refusal.code, str(refusal).encode(), refusal.data)
        except MalformedLine as error:
            self.ended = self.ended or self.verbs.has_body(line)
            await self.reply(500, str(error).encode())

    async def reply(self, code: int, text: bytes, data: Iterable[bytes] = ()) -> None:
        """Put a reply behind what is waiting to be sent."""
        await self.put(write_reply(code, text, data))

    async def put(self, data: bytes) -> None:
        """Put bytes behind what is waiting to be sent."""
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= self.limits.max_unsent:
            await self.flush()

    async def flush(self) -> None:
        """Send what waits to be sent.

        Raises:
            NetworkError.
        """
        if self._out:
            data, self._out, self._out_bytes = b"".join(self._out), [], 0
            await self.lines.send(data, trio.current_time() + self.limits.send_timeout)
            self._slots.lane.release(self.visit)

    async def reply_in_turn(self, making: Making) -> None:
        """Put a long reply behind what is waiting to be sent, when it is the turn of this client's address."""
        reply = await self._slots.lane.make(self.visit.source, making)
        self._slots.lane.hold(self.visit, len(reply))
        await self.put(reply)

    def find(self, request: Request) -> Offer:
        """The offer that a request means.

        Raises:
            MalformedLine: a b3 that is none.
            _Refusal: 300 where nothing has that name, 301 where it is another content, 303 while it is not known.
        """
        text = request.attributes.get(b"b3")
        b3 = parse_b3(text) if text is not None else None
        offer = self.shelf.find(request.words[0], b3)
        if offer is None:
            raise _Refusal(300, "no file of that name is shared here")
        if b3 is not None and offer.b3 is None:
            raise _Refusal(303, "its content is being computed", [b"RETRY 1000"])
        if b3 is not None and offer.b3 is not None and offer.b3 != b3:
            raise _Refusal(301, "that name has another content here", [b"B3 " + offer.b3.hex().encode()])
        return offer

    def _news(self, offer: Offer) -> bytes:
        """The attribute that tells of the chunks gained since this connection was last told, or nothing.

        What does not fit into the line is told when it does, or by the next STAT.
        """
        told = self._told.get(offer)
        if offer.chunks is None or told is None or told == offer.serial:
            return b""
        words = list(islice(write_ranges(offer.gained_since(told) or (), self.limits.max_line // 2), 2))
        if len(words) != 1:
            return b""
        self._told[offer] = offer.serial
        return b" new=" + words[0]

    def note_told(self, offer: Offer) -> None:
        """Remember that this connection knows all of the offer's chunks now."""
        if len(self._told) >= self.limits.max_watched_offers:
            self._told.pop(next(iter(self._told)))
        self._told[offer] = offer.serial

    def choose(self, offer: Offer, ranges: Sequence[tuple[int, int]]) -> int | None:
        """Choose a chunk for somebody who takes any in `ranges`; None if none of them is here."""
        given = self._given[1] if self._given[0] is offer else 0
        chunk = offer.least_sent(ranges, given)
        if chunk is not None:
            self._given = (offer, given | 1 << chunk)
        return chunk

    async def send_body(self, offer: Offer, offset: int, length: int, chunk: int | None) -> None:
        """Send a DATA reply and the bytes behind it.

        Raises:
            _Refusal: the file cannot be opened any more, or there is no upload slot.
            SourceChanged, StoreError, NetworkError: it failed in the middle; the connection is of no more use.
        """
        with self._slots.slot(self._connection.remote.host, self.visit) as free:
            if not free:
                raise _Refusal(303, "too many uploads", [b"RETRY %d" % int(self.limits.busy_retry * 1000)])
            fd = self._file(offer)
            details = b" chunk=%d" % chunk if chunk is not None else b""
            head = write_reply(200, b"here it comes", [b"DATA %d%s%s" % (length, details, self._news(offer))])
            if length:
                size = chunk_size(offer.size)
                offer.count_sent(offset // size, (offset + length - 1) // size)
            try:
                if length <= _SMALL:
                    await self.put(head + _read_exactly(fd, offset, length))
                else:
                    self._out.append(head)
                    await self.flush()
                    await self._sender.send_range(self._connection, fd, offset, length)
                if offer.chunks is None:
                    check_unchanged(fd, offer)
            except Osp2pError as error:
                self._connection.abort()
                self._tell_sent(offer, error)
                raise
            self._sent += length
            self._served_at = trio.current_time()

    def _file(self, offer: Offer) -> int:
        """The open file of an offer; the last one stays open for the next request."""
        if self._open is not None and self._open[0] is offer:
            return self._open[1]
        self._close_file()
        try:
            fd = offer.open()
        except (UnsafeName, StoreError):
            raise _Refusal(300, "that file is not shared any more") from None
        self._open = (offer, fd)
        return fd

    def _close_file(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._tell_sent(self._open[0])
            self._open = None

    def _tell_sent(self, offer: Offer, error: Osp2pError | None = None) -> None:
        """Report what was sent of a file since it was opened: one event, however many requests there were."""
        if self._sent or error is not None:
            self._report(Uploaded(offer.name, self._connection.remote, self._sent, error))
        self._sent = 0


def _read_exactly(fd: int, offset: int, length: int) -> bytes:
    with disk_errors("a shared file"):
        data = os.pread(fd, length, offset)
    if len(data) != length:
        raise SourceChanged("a shared file became shorter while it was being sent")
    return data


def check_unchanged(fd: int, offer: Offer) -> None:
    """Make sure that an open whole file is still what was offered.

    Raises:
        SourceChanged.
    """
    with disk_errors("a shared file"):
        now = os.fstat(fd)
    if now.st_size != offer.size or (offer.mtime_ns is not None and now.st_mtime_ns != offer.mtime_ns):
        raise SourceChanged("a shared file changed while it was being sent")


# --- the verbs ---

PeerVerbs: TypeAlias = VerbTable[Callable[[Session, Request], Awaitable[None]]]

VERBS: PeerVerbs = VerbTable()


@VERBS.verb("HELP", (0, 0), "HELP", "this list")
async def _help(session: Session, request: Request) -> None:
    context = [(200, f"{verb.usage}: {verb.help}".encode()) for verb in session.verbs]
    await session.put(write_reply(200, b"that is all", context=context))


@VERBS.verb("LIST", (0, 0), "LIST [prefix=] [after=] [max=]", "what is shared here, in name order, page by page")
async def _list(session: Session, request: Request) -> None:
    page = session.limits.max_list_page
    count = min(page, parse_number(request.attributes.get(b"max", b"%d" % page), 2**31, "max"))
    prefix, after = request.attributes.get(b"prefix", b""), request.attributes.get(b"after", b"")
    await session.reply_in_turn(_make_list(session.shelf, prefix, after, count, session.limits.max_answer_bytes))


def _make_list(shelf: Shelf, prefix: bytes, after: bytes, count: int, room: int) -> Making:
    """Make a page of LIST. What changes meanwhile is on it or not; every name is on it once at most, in order."""
    lines: list[bytes] = []
    while room > 0 and len(lines) < count:
        before = len(lines)
        for offer in shelf.page(prefix, after, min(_SLICE_LINES, count - before)):
            attributes = {b"size": b"%d" % offer.size}
            if offer.b3 is not None:
                attributes[b"b3"] = offer.b3.hex().encode()
            lines.append(write_file_line(FileEntry(offer.name, attributes)))
            after = offer.name
            room -= len(lines[-1])
            if room <= 0:
                break
        if len(lines) < before + _SLICE_LINES:
            break
        yield
    return write_reply(200, b"%d files" % len(lines), lines)


@VERBS.verb("STAT", (1, 1), "STAT file [b3=] [since=SERIAL wait=SECONDS]", "what is here of a file")
async def _stat(session: Session, request: Request) -> None:
    offer = session.find(request)
    since: int | None = None
    if b"since" in request.attributes:
        since = parse_number(request.attributes[b"since"], 2**63 - 1, "since")
        wait = parse_number(request.attributes.get(b"wait", b"0"), 2**31, "wait")
        await session.flush()
        with trio.move_on_after(min(wait, session.limits.max_held_stat)):
            await offer.wait_changed(since)
        offer = session.find(request)  # it may be withdrawn meanwhile, or be a whole file now
    gained = offer.gained_since(since)
    lines = [b"SIZE %d" % offer.size]
    if offer.b3 is not None:
        lines.append(b"B3 " + offer.b3.hex().encode())
    lines.append(b"SERIAL %d" % offer.serial)
    if since is not None and gained is not None and (since == offer.serial or not offer.complete):
        lines.append(b"SINCE %d" % since)
        lines += [b"HAVE " + word for word in write_ranges(gained, session.limits.max_line // 2)]
    elif offer.complete:
        lines.append(b"HAVE all")
    else:
        lines += [b"HAVE " + word for word in write_ranges(offer.ranges(), session.limits.max_line // 2)]
    session.note_told(offer)
    await session.reply(200, b"all of it is here" if offer.complete else b"a part of it is here", lines)


@VERBS.verb("CHUNKS", (1, 2), "CHUNKS file [first-last] [b3=]", "the hashes of a file's chunks")
async def _chunks(session: Session, request: Request) -> None:
    offer = session.find(request)
    hashes = offer.hashes
    if hashes is None and offer.b3 is not None and offer.load_hashes is not None:
        try:
            hashes = await offer.load_hashes()
        except StoreError:
            raise _Refusal(300, "that file is not shared any more") from None
    if hashes is None:
        raise _Refusal(303, "its chunks are being hashed", [b"RETRY 1000"])
    first, last = 0, chunk_count(offer.size) - 1
    if len(request.words) == 2:
        ((first, last),) = parse_ranges(request.words[1], last, 1)
    making = _make_chunks(offer.size, hashes, first, last)
    if last - first > _MANY_CHUNKS:
        await session.reply_in_turn(making)
    else:
        await session.put(make_at_once(making))


def _make_chunks(size: int, hashes: bytes, first: int, last: int) -> Making:
    """Make a chunk list, or a part of one."""
    lines: list[bytes] = []
    for start in range(first, last + 1, _SLICE_LINES):
        end = min(start + _SLICE_LINES, last + 1)
        lines += write_chunk_lines(hashes[start * HASH_LENGTH : end * HASH_LENGTH], start)
        if end <= last:
            yield
    return write_reply(200, b"%d chunks of %d bytes" % (len(lines), chunk_size(size)), lines)


@VERBS.verb("GET", (2, 2), "GET file OSP2P/2 [range=first-last | any=ranges] [b3=]", "bytes of a file")
async def _get(session: Session, request: Request) -> None:
    if request.words[1].upper() != b"OSP2P/2":
        raise MalformedLine("behind HELLO, write GET file OSP2P/2")
    offer = session.find(request)
    chunk: int | None = None
    if b"any" in request.attributes:
        if b"b3" not in request.attributes or b"range" in request.attributes:
            raise MalformedLine("any= stands with b3= and without range=")
        most = chunk_count(offer.size) - 1
        chunk = session.choose(offer, parse_ranges(request.attributes[b"any"], most, session.limits.max_ranges))
        if chunk is None:
            raise _Refusal(302, "none of these chunks is here")
        offset, length = chunk_bounds(offer.size, chunk)
    else:
        offset, length = _parse_byte_range(request.attributes.get(b"range"), offer.size)
        each = chunk_size(offer.size)
        if length and not offer.has(offset // each, (offset + length - 1) // each):
            raise _Refusal(302, "not all of that range is here")
    await session.send_body(offer, offset, length, chunk)


def _parse_byte_range(text: bytes | None, size: int) -> tuple[int, int]:
    """Read ``first-last``, byte offsets from 0, both inclusive. Returns: offset and length; without a range, all.

    Raises:
        MalformedLine: another form, reversed, or beyond the end.
    """
    if text is None:
        return 0, size
    first, dash, last = text.partition(b"-")
    if not dash or not size:
        raise MalformedLine("a range is first-last, byte offsets that the file has")
    start = parse_number(first, size - 1, "a range's first byte")
    end = parse_number(last, size - 1, "a range's last byte")
    if end < start:
        raise MalformedLine("a range's last byte does not come before its first")
    return start, end - start + 1


@VERBS.verb("QUIT", (0, None), "QUIT", "end the connection")
async def _quit(session: Session, request: Request) -> None:
    session.ended = True
    await session.reply(200, b"goodbye")
