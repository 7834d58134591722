"""Plays a transcript's client against another server, and finds the first answer that is not as it was.

What is compared is the code of each reply, its data lines, and bodies by length and hash. Texts and context lines are
for people, and are not compared. Addresses, serial numbers and pauses differ from run to run, so one stands for any
other; data lines come in any order. The time that an answer takes does not matter, and nobody waits for an idle
connection to be ended again.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import trio

from osp2p.errors import ConnectionLost, LineTooLong, MalformedLine, TimedOut
from osp2p.grade.transcript import Entry, Kind, escape_text
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.wire.reply import Reply, ReplyParser

#: How long one answer may take.
ANSWER_WITHIN = 10.0

#: A server that ended a connection after so much silence did so because of it: that is not waited for.
IDLE = 5.0

_ADDRESS = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\])(?::|%3[Aa])\d{1,5}")
_NUMBERED = re.compile(r"(?:SERIAL|SINCE|RETRY) \d+")
_LIMITS = Limits(max_line=65536)
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Difference:
    """The first answer that is not as it was.

    Attributes:
        connection: its number in the transcript.
        sent: the line that was sent last on it, for people; "" for none.
        expected, found: what it was then, and what it is now, for people.
    """

    connection: int
    sent: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Part:
    """The connections of a transcript that can be played against one server.

    Attributes:
        entries: of these connections, in order, seen from the client: ``>`` is what it sends.
        connections: how many.
        left_out: how many others the transcript has.
    """

    entries: tuple[Entry, ...]
    connections: int
    left_out: int


def choose_part(entries: Sequence[Entry], to: str | None = None) -> Part:
    """Choose the connections to one server.

    Args:
        to: the address, as it stands behind ``connect``, of the server whose connections are meant; None: those that
            the writer of the transcript has accepted, or, if it has none, those to the first server that it asked.

    Raises:
        MalformedLine: there are none.
    """
    opened = {entry.connection: entry for entry in entries if entry.kind in ("accept", "connect")}
    accepted = {number for number, entry in opened.items() if entry.kind == "accept"}
    if to is None and not accepted and opened:
        to = next(iter(opened.values())).address
    chosen = accepted if to is None else {number for number, entry in opened.items() if entry.address == to}
    if not chosen:
        raise MalformedLine(f"the transcript has no connection{' to ' + to if to else ''}")
    part = [entry for entry in entries if entry.connection in chosen]
    seen = part if not accepted & chosen else list(_mirrored(part))
    return Part(tuple(seen), len(chosen), len(opened) - len(chosen))


def _mirrored(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same as the other side saw it. Who closes first is seen there as the end of his direction."""
    left: set[int] = set()
    for entry in entries:
        if entry.kind == "<!":
            left.add(entry.connection)
        if entry.kind == "close" and entry.connection not in left:
            yield replace(entry, kind="<!")
        if entry.way is None:
            yield entry
        else:
            kind = (">" if entry.way == "<" else "<") + entry.kind[1:]
            yield replace(entry, kind=cast(Kind, kind))


def shape(line: bytes) -> str:
    """A data line without what differs from run to run."""
    text = _ADDRESS.sub("ADDRESS", escape_text(line))
    return _NUMBERED.sub(lambda match: match[0].split()[0] + " NUMBER", text)


def shape_reply(reply: Reply, *, codes_only: bool) -> tuple[int, Counter[str]]:
    """What is compared of a reply."""
    return reply.code, Counter() if codes_only else Counter(map(shape, reply.data))


class _Talk:
    """One connection: what was sent last, and what the transcript has of the answer so far."""

    def __init__(self, lines: LineConnection) -> None:
        self.lines = lines
        self.parser = ReplyParser(_LIMITS.max_reply_lines, _LIMITS.max_reply_bytes)
        self.sent = ""
        self.last = 0.0
        self.ended = False
        self.owed = 1  # a greeting, if it is a tracker


class _Differs(Exception):
    def __init__(self, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found


class Replay:
    """Plays one part.

    Args:
        host, port: the server.
        codes_only: whether only codes are compared.
    """

    def __init__(self, network: Network, host: str, port: int, *, codes_only: bool = False) -> None:
        self._network = network
        self._host = host
        self._port = port
        self._codes_only = codes_only
        self._talks: dict[int, _Talk] = {}
        #: How many answers were compared.
        self.compared = 0

    async def run(self, entries: Iterable[Entry]) -> Difference | None:
        """Play it. Returns: the first difference; None if there is none.

        Raises:
            ConnectFailed: nobody listens there.
            MalformedLine: the client sent what a transcript does not hold.

        Cancellation: all connections are closed.
        """
        try:
            for entry in entries:
                try:
                    await self._step(entry)
                except _Differs as differs:
                    sent = self._talks[entry.connection].sent
                    return Difference(entry.connection, sent, differs.expected, differs.found)
        finally:
            for talk in self._talks.values():
                talk.lines.close()
        return None

    async def _step(self, entry: Entry) -> None:
        if entry.kind in ("accept", "connect"):
            connection = await self._network.connect(self._host, self._port)
            self._talks[entry.connection] = _Talk(LineConnection(connection, _LIMITS))
            return
        talk = self._talks.get(entry.connection)
        if talk is None or talk.ended:
            return
        if entry.way == ">":
            await self._send(talk, entry)
        elif entry.way == "<":
            await self._compare(talk, entry)
        else:
            talk.ended = True
            (talk.lines.connection.abort if entry.kind == "lost" else talk.lines.close)()
        talk.last = entry.seconds

    async def _send(self, talk: _Talk, entry: Entry) -> None:
        if entry.kind == ">=":
            raise MalformedLine(f"the client sent {entry.size} bytes that no transcript holds: it cannot be played")
        try:
            if entry.kind == ">!":
                await talk.lines.connection.send_eof()
                return
            talk.sent = escape_text(entry.data)
            talk.owed += bool(entry.data.strip())
            end = b"\n" if entry.kind == ">" else b""
            await talk.lines.send(entry.data + end, trio.current_time() + ANSWER_WITHIN)
        except ConnectionLost:
            raise _Differs("the connection stood", "it is closed") from None
        except TimedOut:
            raise _Differs("it was read", f"nothing is read for {ANSWER_WITHIN:g} s") from None

    async def _compare(self, talk: _Talk, entry: Entry) -> None:
        if entry.kind == "<":
            reply = talk.parser.feed_line(entry.data)
            if reply is not None and talk.owed:
                talk.owed -= 1
                await self._compare_reply(talk, reply)
            elif reply is not None:  # nobody asked: the server says goodbye, for reasons of its own
                talk.ended = True
                talk.lines.close()
        elif entry.kind == "<=":
            await self._compare_body(talk, entry)
        elif entry.kind == "<!" and entry.seconds - talk.last < IDLE:
            await self._compare_end(talk)

    async def _compare_reply(self, talk: _Talk, expected: Reply) -> None:
        self.compared += 1
        try:
            found = await talk.lines.read_reply(trio.current_time() + ANSWER_WITHIN)
        except (ConnectionLost, LineTooLong, TimedOut) as error:
            what = "the end of the connection" if isinstance(error, ConnectionLost) else f"no answer: {error}"
            raise _Differs(_show(expected), what) from None
        if shape_reply(expected, codes_only=self._codes_only) != shape_reply(found, codes_only=self._codes_only):
            raise _Differs(_show(expected), _show(found))

    async def _compare_body(self, talk: _Talk, expected: Entry) -> None:
        self.compared += 1
        digest, size = hashlib.sha256(), 0
        buffer = memoryview(bytearray(_READ_BYTES))
        with trio.move_on_after(ANSWER_WITHIN):
            try:
                while size < expected.size:
                    count = await talk.lines.receive_into(buffer[: expected.size - size])
                    if not count:
                        break
                    digest.update(buffer[:count])
                    size += count
            except ConnectionLost:
                size = -1
        if (size, digest.hexdigest()) != (expected.size, expected.sha256) and not self._codes_only:
            found = "the connection is broken" if size < 0 else _show_body(size, digest.hexdigest())
            raise _Differs(_show_body(expected.size, expected.sha256), found)

    async def _compare_end(self, talk: _Talk) -> None:
        self.compared += 1
        data = b""
        with trio.move_on_after(ANSWER_WITHIN) as scope:
            try:
                buffer = bytearray(_READ_BYTES)
                data = bytes(buffer[: await talk.lines.receive_into(memoryview(buffer))])
            except ConnectionLost:
                data = b""
        if scope.cancelled_caught:
            raise _Differs("the end of the connection", f"it stands for {ANSWER_WITHIN:g} s")
        if data:
            raise _Differs("the end of the connection", f"more bytes: {escape_text(data[:60])}")


def _show(reply: Reply) -> str:
    """A reply in a line, for people."""
    data = "; ".join(map(escape_text, reply.data[:5]))
    more = f" … {len(reply.data)} lines" if len(reply.data) > 5 else ""
    text = f"{reply.code} {escape_text(reply.text)}".rstrip()
    return f"{text}, with {data}{more}" if data else text


def _show_body(size: int, sha256: str) -> str:
    return f"{size} bytes, SHA-256 {sha256[:16]}…"
